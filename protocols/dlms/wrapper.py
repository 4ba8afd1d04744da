"""The wrapper of DLMS/COSEM over TCP and UDP (IEC 62056-47, 6.4): version, source and destination wPort, length.

Both roles. TCP delivers in order, so silence means the link is gone. Reads may hold part of an APDU or several.
"""

from collections import deque
from dataclasses import dataclass

from protocols.dlms.link import (
    CLIENTS_MAX,
    NEED_DATA,
    ApduReceived,
    ClientApdu,
    ClientLink,
    LinkDown,
    LinkEvent,
    LinkUp,
    NeedData,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError

VERSION = 1  # IEC 62056-47, 6.4.2
HEADER_OCTETS = 8
APDU_OCTETS_MAX = 0xFFFF  # the length field has 16 bits


@dataclass(frozen=True, slots=True)
class WrapperParameters:
    """Whom to talk to: the client's wPort (16 is the public client) and the server's (1 is management)."""

    client_sap: int = 16
    server_logical: int = 1


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One APDU with its wPorts."""

    source: int
    destination: int
    apdu: bytes

    def encode(self) -> bytes:
        """Return header and APDU."""
        if len(self.apdu) > APDU_OCTETS_MAX:
            raise LocalProtocolError(f"an APDU of {len(self.apdu)} octets, the wrapper holds {APDU_OCTETS_MAX}")
        numbers = (VERSION, self.source, self.destination, len(self.apdu))
        return b"".join(number.to_bytes(2, "big") for number in numbers) + self.apdu


class WrapperReader:
    """Cuts a TCP stream into wrapped APDUs."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._buffer += data

    def next_wrapped(self) -> Wrapped | NeedData:
        """Return the next wrapped APDU or NEED_DATA.

        RemoteProtocolError when the version is wrong: in a byte stream the next boundary is then unknown, so all that
        was received is dropped and the connection should be closed.
        """
        buffer = self._buffer
        if len(buffer) >= 2 and buffer[:2] != b"\0\1":
            found = bytes(buffer[:2]).hex()
            buffer.clear()
            raise RemoteProtocolError(f"found wrapper version {found}, expected 0001", offset=0)
        if len(buffer) < HEADER_OCTETS:
            return NEED_DATA
        source, destination, length = (int.from_bytes(buffer[at : at + 2], "big") for at in (2, 4, 6))
        if len(buffer) < HEADER_OCTETS + length:
            return NEED_DATA
        apdu = bytes(buffer[HEADER_OCTETS : HEADER_OCTETS + length])
        del buffer[: HEADER_OCTETS + length]
        return Wrapped(source, destination, apdu)


class WrapperLink:
    """A client's link through the wrapper. The connection itself is the caller's."""

    def __init__(self, parameters: WrapperParameters) -> None:
        self._parameters = parameters
        self._reader = WrapperReader()
        self._events: deque[LinkEvent] = deque()
        self._out = bytearray()
        self._up = False

    def open(self) -> None:
        """Say that the link is up; the wrapper has no handshake of its own."""
        if self._up:
            raise LocalProtocolError("the link is open already")
        self._up = True
        self._events.append(LinkUp())

    def close(self) -> None:
        """Say that the link is down."""
        if self._up:
            self._events.append(LinkDown("disconnected"))
        self._up = False

    def send_apdu(self, apdu: bytes) -> None:
        """Send ``apdu``."""
        if not self._up:
            raise LocalProtocolError("the link is not open")
        self._out += Wrapped(self._parameters.client_sap, self._parameters.server_logical, apdu).encode()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._reader.receive_data(data)

    def receive_silence(self) -> None:
        """Give up: TCP would have delivered."""
        if self._up:
            self._up = False
            self._events.append(LinkDown("no answer"))

    def forget(self) -> None:
        """Nothing to do: what TCP has delivered in part it will deliver whole."""

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> LinkEvent | NeedData:
        """Return what happened next."""
        if self._events:
            return self._events.popleft()
        wrapped = self._reader.next_wrapped()
        if not isinstance(wrapped, Wrapped):
            return NEED_DATA
        expected = (self._parameters.server_logical, self._parameters.client_sap)
        if (wrapped.source, wrapped.destination) != expected:
            raise RemoteProtocolError(f"wPorts {wrapped.source} to {wrapped.destination}, expected {expected}")
        return ApduReceived(wrapped.apdu)


@dataclass(frozen=True, slots=True)
class WrapperServerParameters:
    """The server's wPort."""

    server_logical: int = 1


class WrapperServer:
    """A meter's end of one TCP connection. A client's link goes up with its first APDU and down with the connection."""

    def __init__(self, parameters: WrapperServerParameters) -> None:
        self._parameters = parameters
        self._reader = WrapperReader()
        self._clients: set[int] = set()
        self._events: deque[ClientApdu | ClientLink] = deque()
        self._out = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._reader.receive_data(data)

    def receive_silence(self) -> None:
        """Nothing to do: TCP delivers."""

    def data_to_send(self) -> bytes:
        """Return the octets to write, each of them once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> ClientApdu | ClientLink | NeedData:
        """Return what happened next; RemoteProtocolError when the stream is broken: close the connection."""
        if self._events:
            return self._events.popleft()
        wrapped = self._reader.next_wrapped()
        if not isinstance(wrapped, Wrapped):
            return NEED_DATA
        if wrapped.destination != self._parameters.server_logical:
            raise RemoteProtocolError(
                f"wPort {wrapped.destination} is not served, expected {self._parameters.server_logical}"
            )
        received = ClientApdu(wrapped.source, wrapped.apdu)
        if wrapped.source in self._clients:
            return received
        if len(self._clients) >= CLIENTS_MAX:
            raise RemoteProtocolError(f"more than {CLIENTS_MAX} clients on one connection")
        self._clients.add(wrapped.source)
        self._events.append(received)
        return ClientLink(wrapped.source, LinkUp())

    def send_apdu(self, client_sap: int, apdu: bytes) -> None:
        """Answer the client."""
        self._out += Wrapped(self._parameters.server_logical, client_sap, apdu).encode()

    def send_unconfirmed(self, client_sap: int, apdu: bytes) -> None:
        """Send ``apdu`` unasked (push)."""
        self.send_apdu(client_sap, apdu)
