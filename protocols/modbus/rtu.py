"""The master's half of Modbus RTU, without I/O: octets in, events out.

A reply on this wire does not say which question it answers: it carries the unit, the function and a length, and a
checksum that is right for a late answer too. So the master must know what it asked, and take nothing else::

    client = RtuClient()
    line.write(client.send(ReadRegisters(1, Function.READ_INPUT, 0x48, 4)))
    client.receive_data(line.read())
    event = client.next_event()      # NEED_DATA, the reply, ExceptionReply, or RemoteProtocolError

* Our own request heard again (an adapter with echo) is dropped.
* Up to :data:`LEADING_NOISE_MAX` octets before the reply are dropped: a driver that is switched on makes such a pulse.
* More than :data:`TRAILING_NOISE_MAX` octets after it are an error: there was another frame on the line, and nobody
  can say which of the two answers this question.

What time decides is the caller's: that a reply did not come, and how long a late one may still come (see
``edge_agent.modbus_rtu``). After an error the caller lets the line fall silent and calls :meth:`RtuClient.send` again.
"""

from enum import Enum
from typing import Final

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.modbus.crc import crc16
from protocols.modbus.messages import EXCEPTION_BIT, ExceptionReply, Reply, Request

REQUEST_OCTETS = 8  # of a read: unit, function, address (2), count (2), checksum (2)
REPLY_OVERHEAD_OCTETS = 5  # of a read's reply: unit, function, octet count, checksum (2)
FRAME_OVERHEAD_OCTETS = 3  # unit, checksum (2)
EXCEPTION_OCTETS = 5  # unit, function with the high bit set, code, checksum (2)
FRAME_OCTETS_MAX = 256  # Modbus over Serial Line V1.02, section 2.5.1
LEADING_NOISE_MAX = 4
TRAILING_NOISE_MAX = 2  # less than any frame has


class ChecksumError(RemoteProtocolError):
    """The reply's checksum is wrong: noise on the line."""


class NeedData(Enum):
    """The reply is not complete yet."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA


def encode_request(request: Request) -> bytes:
    """Return the frame that asks for ``request``."""
    body = bytes((request.unit,)) + request.pdu()
    return body + crc16(body)


def encode_reply(reply: Reply) -> bytes:
    """Return the frame of ``reply``: the other half's, for simulators and tests."""
    body = bytes((reply.request.unit,)) + reply.pdu()
    return body + crc16(body)


class RtuClient:
    """One question at a time, and its answer."""

    def __init__(self) -> None:
        self._request: Request | None = None
        self._frame = b""
        self._echo_expected = False
        self._buffer = bytearray()

    def send(self, request: Request) -> bytes:
        """Return the octets of ``request``; forget everything received before."""
        self._request = request
        self._frame = encode_request(request)
        self._echo_expected = True
        self._buffer.clear()
        return self._frame

    def receive_data(self, data: bytes) -> None:
        """Take what came from the line, in pieces of any size."""
        self._buffer += data

    def next_event(self) -> Reply | NeedData:
        """Return what the octets received so far say.

        Raises
        ------
        RemoteProtocolError
            If they cannot be, or become, the reply to the question.
        LocalProtocolError
            If nothing was asked.
        """
        request = self._request
        if request is None:
            raise LocalProtocolError("no question is open; call send() first")
        if self._echo_expected and not self._drop_echo():
            return NEED_DATA
        start = self._find_start(request)
        buffer = self._buffer[start:]
        if len(buffer) < 2:
            return NEED_DATA
        length = self._frame_length(request, buffer)
        if length is None or len(buffer) < length:
            return NEED_DATA
        frame, rest = bytes(buffer[:length]), len(buffer) - length
        if crc16(frame[:-2]) != frame[-2:]:
            raise ChecksumError(f"checksum {frame[-2:].hex()}: expected {crc16(frame[:-2]).hex()}", offset=start)
        if rest > TRAILING_NOISE_MAX:
            raise RemoteProtocolError(f"{rest} octets after the reply: another frame was on the line", offset=length)
        self._request = None
        self._buffer.clear()
        return ExceptionReply(request, frame[2]) if frame[1] & EXCEPTION_BIT else request.parse(frame[1:-2])

    @staticmethod
    def _frame_length(request: Request, buffer: bytearray) -> int | None:
        if buffer[1] & EXCEPTION_BIT:
            return EXCEPTION_OCTETS
        length = request.reply_length(bytes(buffer[1:]))
        return None if length is None else length + FRAME_OVERHEAD_OCTETS

    def _drop_echo(self) -> bool:
        """Drop our own request from the front of what was received; say whether that is decided."""
        heard = self._buffer[: len(self._frame)]
        if heard == self._frame:
            del self._buffer[: len(self._frame)]
        elif self._frame.startswith(heard):
            return False  # a reply shares at most its first octets with the request
        self._echo_expected = False
        return True

    def _find_start(self, request: Request) -> int:
        """Return where the reply's frame begins, as far as its header has come."""
        normal = bytes((request.unit,)) + request.reply_head
        refused = bytes((request.unit, request.function | EXCEPTION_BIT))
        for start in range(LEADING_NOISE_MAX + 1):
            header = bytes(self._buffer[start : start + len(normal)])
            if normal.startswith(header) or refused == header[:2] or refused.startswith(header):
                return start
        raise RemoteProtocolError(
            f"found {bytes(self._buffer[:8]).hex(' ')}: expected a reply that begins with {normal.hex(' ')}", offset=0
        )
