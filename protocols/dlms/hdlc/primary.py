"""The client's end of an HDLC link: it polls, the meter answers (normal response mode; IEC 62056-46, 6.4.4).

States and steps are the table :data:`TRANSITIONS`; a pair that is absent is an error of whoever took the step.

Theory of operation: every command frame that ends a turn carries the poll bit, and the turn comes back with the final
bit. When the line falls silent nobody knows whether the command or the answer was lost, so the primary asks with RR:
the secondary's N(R) tells whether the command arrived, and what the secondary has not seen acknowledged it repeats.
Nothing is executed twice and no late answer is taken for another one, because both are numbered.
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
from protocols.dlms.link import APDU_OCTETS_MAX, NEED_DATA, ApduReceived, LinkDown, LinkEvent, LinkUp, NeedData
from protocols.dlms.quirks import STRICT, Quirks
from protocols.errors import LocalProtocolError, RemoteProtocolError

RETRIES_MAX = 3  # IEC 62056-46, 6.4.4.7.2 leaves the number to the implementation; three is what meters assume
BUSY_POLLS_MAX = 200  # polls answered with "nothing yet": 20 s of a meter that needs 100 ms a turn


class PrimaryState(Enum):
    """Where the link stands, seen from the client."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    IDLE = "idle"
    AWAITING_REPLY = "awaiting reply"
    DISCONNECTING = "disconnecting"


class Step(Enum):
    """What may happen to the link: frames sent and received, and the end of an APDU."""

    SEND_SNRM = "send SNRM"
    SEND_I = "send I"
    SEND_DISC = "send DISC"
    RECEIVE_UA = "receive UA"
    RECEIVE_DM = "receive DM"
    RECEIVE_FRMR = "receive FRMR"
    RECEIVE_I = "receive I"
    RECEIVE_RR = "receive RR"
    RECEIVE_RNR = "receive RNR"
    COMPLETE = "the answer is complete"
    GIVE_UP = "nobody answers"


_S, _T = PrimaryState, Step
TRANSITIONS: Mapping[tuple[PrimaryState, Step], PrimaryState] = {
    (_S.DISCONNECTED, _T.SEND_SNRM): _S.CONNECTING,
    (_S.CONNECTING, _T.RECEIVE_UA): _S.IDLE,
    (_S.CONNECTING, _T.RECEIVE_DM): _S.DISCONNECTED,
    (_S.CONNECTING, _T.RECEIVE_FRMR): _S.DISCONNECTED,
    (_S.CONNECTING, _T.GIVE_UP): _S.DISCONNECTED,
    (_S.IDLE, _T.SEND_I): _S.AWAITING_REPLY,
    (_S.IDLE, _T.SEND_DISC): _S.DISCONNECTING,
    (_S.IDLE, _T.RECEIVE_DM): _S.DISCONNECTED,
    (_S.IDLE, _T.RECEIVE_FRMR): _S.DISCONNECTED,
    (_S.IDLE, _T.GIVE_UP): _S.DISCONNECTED,
    (_S.AWAITING_REPLY, _T.RECEIVE_I): _S.AWAITING_REPLY,
    (_S.AWAITING_REPLY, _T.RECEIVE_RR): _S.AWAITING_REPLY,
    (_S.AWAITING_REPLY, _T.RECEIVE_RNR): _S.AWAITING_REPLY,
    (_S.AWAITING_REPLY, _T.RECEIVE_DM): _S.DISCONNECTED,
    (_S.AWAITING_REPLY, _T.RECEIVE_FRMR): _S.DISCONNECTED,
    (_S.AWAITING_REPLY, _T.SEND_DISC): _S.DISCONNECTING,
    (_S.AWAITING_REPLY, _T.COMPLETE): _S.IDLE,
    (_S.AWAITING_REPLY, _T.GIVE_UP): _S.DISCONNECTED,
    (_S.DISCONNECTING, _T.RECEIVE_UA): _S.DISCONNECTED,
    (_S.DISCONNECTING, _T.RECEIVE_DM): _S.DISCONNECTED,
    (_S.DISCONNECTING, _T.RECEIVE_FRMR): _S.DISCONNECTED,
    (_S.DISCONNECTING, _T.GIVE_UP): _S.DISCONNECTED,
}

_RECEIVED = {
    FrameType.UA: Step.RECEIVE_UA,
    FrameType.DM: Step.RECEIVE_DM,
    FrameType.FRMR: Step.RECEIVE_FRMR,
    FrameType.I: Step.RECEIVE_I,
    FrameType.RR: Step.RECEIVE_RR,
    FrameType.RNR: Step.RECEIVE_RNR,
}


@dataclass(frozen=True, slots=True)
class HdlcParameters:
    """Whom to talk to, and how.

    ``client_sap`` is the client's address (16 is the public client). ``server_size`` is 1, 2 or 4 octets; with one
    octet ``server_physical`` stays None.
    """

    client_sap: int = 16
    server_logical: int = 1
    server_physical: int | None = None
    server_size: int = 1
    limits: LinkLimits = field(default_factory=LinkLimits)
    retries_max: int = RETRIES_MAX

    @property
    def client(self) -> Address:
        """The client's address."""
        return Address(self.client_sap)

    @property
    def server(self) -> Address:
        """The server's address."""
        return Address(self.server_logical, self.server_physical, self.server_size)


class HdlcPrimary:
    """A client's link to one meter."""

    def __init__(self, parameters: HdlcParameters, quirks: Quirks = STRICT) -> None:
        self._parameters = parameters
        self._client, self._server = parameters.client, parameters.server
        self._quirks = quirks
        self._reader = FrameReader()
        self._out = bytearray()
        self._events: deque[LinkEvent] = deque()
        self._unasked = bytearray()
        self.state = PrimaryState.DISCONNECTED
        self._reset(parameters.limits)

    def _reset(self, limits: LinkLimits) -> None:
        self._outbox = Outbox(limits.info_octets_tx, limits.window_tx)
        self._inbox = Inbox()
        self._retries = 0
        self._busy_polls = 0

    # -- what the layer above asks for --------------------------------------------------------------------------------

    def open(self) -> None:
        """Send SNRM."""
        self._step_locally(Step.SEND_SNRM)
        self._reset(self._parameters.limits)
        self._send_snrm()

    def close(self) -> None:
        """Send DISC."""
        self._step_locally(Step.SEND_DISC)
        self._retries = 0
        self._send(FrameType.DISC | POLL_FINAL)

    def send_apdu(self, apdu: bytes) -> None:
        """Send ``apdu`` with the LLC header of a command."""
        self._step_locally(Step.SEND_I)
        self._outbox.load(LLC_COMMAND + apdu)
        self._busy_polls = 0
        self._send_window()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._reader.receive_data(data)

    def receive_silence(self) -> None:
        """Repeat the question, or give up after ``retries_max`` repetitions."""
        self.forget()
        if self.state is PrimaryState.DISCONNECTED:
            return
        if self.state is PrimaryState.IDLE:  # The answer came and was unusable; asking again would act twice.
            self._down(Step.GIVE_UP, "no usable answer")
            return
        self._retries += 1
        if self._retries > self._parameters.retries_max:
            self._down(Step.GIVE_UP, f"no answer after {self._parameters.retries_max} repetitions")
        elif self.state is PrimaryState.CONNECTING:
            self._send_snrm()
        elif self.state is PrimaryState.DISCONNECTING:
            self._send(FrameType.DISC | POLL_FINAL)
        elif self.state is PrimaryState.AWAITING_REPLY:
            self._poll()

    def forget(self) -> None:
        """Drop an incomplete frame and an incomplete push."""
        self._reader.forget()
        self._unasked.clear()

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> LinkEvent | NeedData:
        """Return what happened next; RemoteProtocolError for a damaged or impossible frame."""
        while not self._events:
            frame = self._reader.next_frame()
            if frame is NEED_DATA:
                return NEED_DATA
            assert isinstance(frame, Frame)
            self._receive(frame)
        return self._events.popleft()

    # -- frames -------------------------------------------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        if frame.source == self._client and frame.destination == self._server and self._client != self._server:
            return  # A two-wire line echoes what we send; between equal addresses that cannot be seen.
        if frame.destination.upper != self._client.upper:  # Landis+Gyr pushes to a client of two octets, CE FF.
            return  # Another client's answer, on a line with several masters.
        if frame.source != self._server and not self._quirks.any_server_address:
            raise RemoteProtocolError(f"server {frame.source} answered, expected {self._server}")
        kind = frame.type
        if kind is FrameType.UI:
            self._receive_unasked(frame)
            return
        step = _RECEIVED.get(kind) if kind is not None else None
        if step is None:
            raise RemoteProtocolError(f"a meter sent control field {frame.control:#04x}, which only clients may")
        if (self.state, step) not in TRANSITIONS:
            if self.state is PrimaryState.IDLE or step is Step.RECEIVE_UA:
                return  # A late repetition: its question is answered.
            raise RemoteProtocolError(f"{step.value} while {self.state.value}")
        if kind is FrameType.UA:
            self._receive_ua(frame)
        elif kind in (FrameType.DM, FrameType.FRMR):
            words = {FrameType.DM: "the meter is disconnected (DM)", FrameType.FRMR: "the meter rejects a frame (FRMR"}
            detail = f" {frame.information.hex()})" if kind is FrameType.FRMR else ""
            closing = self.state is PrimaryState.DISCONNECTING
            self._down(step, "disconnected" if closing else words[kind] + detail)
        else:
            self._receive_numbered(frame, kind)

    def _receive_unasked(self, frame: Frame) -> None:
        """Join the UI frames of a push; Iskraemeco AM550 does not repeat the LLC header, others do."""
        information = frame.information
        if self._unasked:
            information = information.removeprefix(LLC_RESPONSE)
        if len(self._unasked) + len(information) > APDU_OCTETS_MAX:
            self._unasked.clear()
            raise RemoteProtocolError(f"a push of more than {APDU_OCTETS_MAX} octets")
        self._unasked += information
        if not frame.segmented:
            whole = bytes(self._unasked)
            self._unasked.clear()
            if not (self._quirks.push_without_llc and whole[:1] != LLC_RESPONSE[:1]):
                whole = strip_llc(whole, LLC_RESPONSE)
            self._events.append(ApduReceived(whole, confirmed=False))

    def _receive_ua(self, frame: Frame) -> None:
        closing = self.state is PrimaryState.DISCONNECTING
        if closing:
            self._down(Step.RECEIVE_UA, "disconnected")
            return
        limits = self._parameters.limits.meet(LinkLimits.decode(frame.information))
        self.state = TRANSITIONS[self.state, Step.RECEIVE_UA]
        self._reset(limits)
        self._events.append(
            LinkUp(limits.info_octets_tx, limits.info_octets_rx, limits.window_tx, limits.window_rx),
        )

    def _receive_numbered(self, frame: Frame, kind: FrameType | None) -> None:
        """Take an I, RR or RNR frame."""
        progress = self._outbox.acknowledge(frame.receive_number)
        if kind is FrameType.I and frame.send_number == self._inbox.expected:
            if not self._outbox.finished:
                raise RemoteProtocolError("an answer that does not acknowledge the question")
            progress = True
            whole = self._inbox.take(frame.send_number, frame.information, frame.segmented)
            if whole is not None:
                self.state = TRANSITIONS[self.state, Step.COMPLETE]
                self._retries = 0
                self._events.append(ApduReceived(strip_llc(whole, LLC_RESPONSE)))
                return
        if progress:
            self._retries = self._busy_polls = 0
        if frame.poll_final:
            self._take_turn(kind)

    def _take_turn(self, kind: FrameType | None) -> None:
        """The final bit gives us the turn: send more, send again, or ask for the answer."""
        self._busy_polls += 1
        if self._busy_polls > BUSY_POLLS_MAX:
            self._down(Step.GIVE_UP, f"the meter has no answer after {BUSY_POLLS_MAX} polls")
        elif kind is FrameType.RNR or self._outbox.finished:
            self._poll()
        else:
            self._send_window()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send(self, control: int, information: bytes = b"", segmented: bool = False) -> None:
        self._out += Frame(self._server, self._client, control, information, segmented).encode()

    def _send_snrm(self) -> None:
        limits = self._parameters.limits
        self._send(FrameType.SNRM | POLL_FINAL, b"" if limits == LinkLimits() else limits.encode())

    def _send_window(self) -> None:
        for numbered in self._outbox.window():
            control = information_control(numbered.number, self._inbox.expected, numbered.last)
            self._send(control, numbered.information, numbered.segmented)

    def _poll(self) -> None:
        self._send(supervisory_control(FrameType.RR, self._inbox.expected, True))

    # -- states -------------------------------------------------------------------------------------------------------

    def _step_locally(self, step: Step) -> None:
        try:
            self.state = TRANSITIONS[self.state, step]
        except KeyError:
            raise LocalProtocolError(f"cannot {step.value} while {self.state.value}") from None

    def _down(self, step: Step, reason: str) -> None:
        self.state = TRANSITIONS[self.state, step]
        self._events.append(LinkDown(reason))
