"""The meter's end of an HDLC link: it speaks when it is polled (normal response mode; IEC 62056-46, 6.4.4).

One object is one meter address on the line and holds a link for each client address. It is the mirror of
:mod:`protocols.dlms.hdlc.primary`: what the client has not acknowledged is sent again when it polls.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from protocols.dlms.hdlc.frames import (
    POLL_FINAL,
    Address,
    Frame,
    FrameReader,
    FrameType,
    information_control,
    supervisory_control,
)
from protocols.dlms.hdlc.negotiation import LinkLimits
from protocols.dlms.hdlc.sequence import LLC_COMMAND, LLC_RESPONSE, Inbox, Outbox, strip_llc
from protocols.dlms.link import CLIENTS_MAX, NEED_DATA, ClientApdu, ClientLink, LinkDown, LinkUp, NeedData
from protocols.errors import LocalProtocolError, RemoteProtocolError


class SecondaryState(Enum):
    """Where a link stands, seen from the meter."""

    DISCONNECTED = "disconnected"
    CONNECTED = "connected"


_S = SecondaryState
TRANSITIONS: Mapping[tuple[SecondaryState, FrameType], SecondaryState] = {
    (_S.DISCONNECTED, FrameType.SNRM): _S.CONNECTED,
    (_S.DISCONNECTED, FrameType.DISC): _S.DISCONNECTED,
    (_S.DISCONNECTED, FrameType.UI): _S.DISCONNECTED,
    (_S.CONNECTED, FrameType.SNRM): _S.CONNECTED,
    (_S.CONNECTED, FrameType.DISC): _S.DISCONNECTED,
    (_S.CONNECTED, FrameType.I): _S.CONNECTED,
    (_S.CONNECTED, FrameType.RR): _S.CONNECTED,
    (_S.CONNECTED, FrameType.RNR): _S.CONNECTED,
    (_S.CONNECTED, FrameType.UI): _S.CONNECTED,
}


@dataclass(frozen=True, slots=True)
class HdlcServerParameters:
    """The meter's address and limits. ``server_size`` is 1, 2 or 4 octets; the client's choice of size is answered."""

    server_logical: int = 1
    server_physical: int | None = None
    limits: LinkLimits = field(default_factory=LinkLimits)


@dataclass(slots=True)
class _Session:
    client: Address
    server: Address
    state: SecondaryState
    outbox: Outbox
    inbox: Inbox
    limits: LinkLimits
    has_turn: bool = False


class HdlcSecondary:
    """A meter on a line, for any number of clients up to CLIENTS_MAX."""

    def __init__(self, parameters: HdlcServerParameters) -> None:
        self._parameters = parameters
        self._reader = FrameReader()
        self._sessions: dict[int, _Session] = {}
        self._out = bytearray()
        self._events: deque[ClientApdu | ClientLink] = deque()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._reader.receive_data(data)

    def receive_silence(self) -> None:
        """Drop an incomplete frame: the line fell silent inside it."""
        self._reader.forget()

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> ClientApdu | ClientLink | NeedData:
        """Return what happened next; RemoteProtocolError for a damaged frame, which the meter leaves unanswered."""
        while not self._events:
            frame = self._reader.next_frame()
            if not isinstance(frame, Frame):
                return NEED_DATA
            if self._is_ours(frame.destination) and frame.source.size == 1:
                self._receive(frame)
        return self._events.popleft()

    def send_apdu(self, client_sap: int, apdu: bytes) -> None:
        """Answer the client; what does not fit into the window follows when it polls."""
        session = self._sessions.get(client_sap)
        if session is None or session.state is not SecondaryState.CONNECTED:
            raise LocalProtocolError(f"client {client_sap} has no link")
        session.outbox.load(LLC_RESPONSE + apdu)
        if session.has_turn:
            self._send_window(session)

    def send_unconfirmed(self, client_sap: int, apdu: bytes) -> None:
        """Send ``apdu`` unasked, in one UI frame (push)."""
        logical, physical = self._parameters.server_logical, self._parameters.server_physical
        size = 1 if physical is None else 2 if max(logical, physical) < 0x80 else 4
        server = Address(logical, physical, size)
        self._out += Frame(Address(client_sap), server, FrameType.UI | POLL_FINAL, LLC_RESPONSE + apdu).encode()

    def _is_ours(self, address: Address) -> bool:
        """Whether a frame is for us; a client that sends one octet means the logical device alone."""
        if address.upper != self._parameters.server_logical:
            return False
        return address.lower is None or address.lower == (self._parameters.server_physical or 0)

    # -- frames -------------------------------------------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        client_sap = frame.source.upper
        session = self._sessions.get(client_sap)
        state = session.state if session else SecondaryState.DISCONNECTED
        kind = frame.type
        if kind is FrameType.UI:
            self._events.append(ClientApdu(client_sap, strip_llc(frame.information, LLC_COMMAND), confirmed=False))
        elif kind is FrameType.SNRM:
            self._receive_snrm(frame)
        elif kind is FrameType.DISC:
            connected = session is not None and state is SecondaryState.CONNECTED
            self._send_to(frame, FrameType.UA if connected else FrameType.DM)
            if session is not None and connected:
                session.state = TRANSITIONS[state, FrameType.DISC]
                self._events.append(ClientLink(client_sap, LinkDown("disconnected")))
        elif session is None or state is SecondaryState.DISCONNECTED:
            if frame.poll_final:
                self._send_to(frame, FrameType.DM)
        elif kind is None or (state, kind) not in TRANSITIONS:
            self._reject(session, frame, 0x01)  # W: the control field is undefined (ISO/IEC 13239, 5.5.3.4.2)
        elif len(frame.information) > session.limits.info_octets_rx:
            self._reject(session, frame, 0x04)  # Y: the information field is too long
        else:
            self._receive_numbered(session, frame, kind)

    def _receive_snrm(self, frame: Frame) -> None:
        client_sap = frame.source.upper
        if client_sap not in self._sessions and len(self._sessions) >= CLIENTS_MAX:
            closed = [sap for sap, old in self._sessions.items() if old.state is SecondaryState.DISCONNECTED]
            if not closed:
                self._send_to(frame, FrameType.DM)
                return
            del self._sessions[closed[0]]
        limits = self._parameters.limits.meet(LinkLimits.decode(frame.information))
        outbox = Outbox(limits.info_octets_tx, limits.window_tx)
        self._sessions[client_sap] = _Session(
            frame.source, frame.destination, SecondaryState.CONNECTED, outbox, Inbox(), limits
        )
        self._send_to(frame, FrameType.UA, limits.encode())
        up = LinkUp(limits.info_octets_tx, limits.info_octets_rx, limits.window_tx, limits.window_rx)
        self._events.append(ClientLink(client_sap, up))

    def _receive_numbered(self, session: _Session, frame: Frame, kind: FrameType) -> None:
        """Take an I, RR or RNR frame."""
        try:
            session.outbox.acknowledge(frame.receive_number)
        except RemoteProtocolError:
            self._reject(session, frame, 0x08)  # Z: N(R) is impossible
            return
        session.has_turn = frame.poll_final
        whole = None
        if kind is FrameType.I and frame.send_number == session.inbox.expected:
            whole = session.inbox.take(frame.send_number, frame.information, frame.segmented)
        if whole is not None:
            session.outbox.abandon()
            self._events.append(ClientApdu(session.client.upper, strip_llc(whole, LLC_COMMAND)))
            return  # The answer gives the turn back.
        if frame.poll_final:
            if session.outbox.finished or kind is FrameType.RNR:
                self._send_supervisory(session)
            else:
                self._send_window(session)

    def _reject(self, session: _Session, frame: Frame, reason: int) -> None:
        """Send FRMR: the rejected control field, V(S) and V(R), the reason; the link is then to be set up again."""
        numbers = session.inbox.expected << 5 | session.outbox.next_number << 1
        self._send_to(frame, FrameType.FRMR, bytes((frame.control, numbers, reason)))
        session.state = SecondaryState.DISCONNECTED
        self._events.append(ClientLink(session.client.upper, LinkDown("the client broke the rules (FRMR)")))

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send_to(self, frame: Frame, kind: FrameType, information: bytes = b"") -> None:
        self._out += Frame(frame.source, frame.destination, kind | POLL_FINAL, information).encode()

    def _send_supervisory(self, session: _Session) -> None:
        control = supervisory_control(FrameType.RR, session.inbox.expected, True)
        self._out += Frame(session.client, session.server, control).encode()
        session.has_turn = False

    def _send_window(self, session: _Session) -> None:
        for numbered in session.outbox.window():
            control = information_control(numbered.number, session.inbox.expected, numbered.last)
            self._out += Frame(
                session.client, session.server, control, numbered.information, numbered.segmented
            ).encode()
        session.has_turn = False
