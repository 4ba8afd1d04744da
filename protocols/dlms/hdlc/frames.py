"""HDLC frames of format type 3: encode, decode, and find them in a stream (IEC 62056-46, 6.4; ISO/IEC 13239).

A frame is ``7E``, a format field with type, segmentation bit and length, destination and source address, control,
then, if there is an information field, a check of the header (HCS) and the field, and a check of all (FCS), ``7E``.

Theory of operation: frames are found *by their length*. There is no octet stuffing, so ``7E`` may occur inside. One
flag may close a frame and open the next. What precedes a flag is noise and is dropped. A frame whose header or whole
check is wrong is reported once, as :class:`~protocols.errors.RemoteProtocolError`, and the search goes on right after
its opening flag, so a true frame that noise seemed to swallow is found.
"""

from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocols.dlms.link import NEED_DATA, NeedData
from protocols.errors import LocalProtocolError, RemoteProtocolError

FLAG: Final = 0x7E
FRAME_OCTETS_MAX = 0x7FF  # IEC 62056-46, 6.4.2.2: eleven bits of length
ADDRESS_SIZES = (1, 2, 4)  # IEC 62056-46, 6.4.2.3


class FrameType(IntEnum):
    """Control fields with the poll/final bit off, and for I, RR, RNR also their counters (ISO/IEC 13239, 5.5)."""

    I = 0x00  # noqa: E741  the standard's name
    RR = 0x01
    RNR = 0x05
    UI = 0x03
    DM = 0x0F
    DISC = 0x43
    UA = 0x63
    SNRM = 0x83
    FRMR = 0x87


POLL_FINAL: Final = 0x10


class DamagedFrameError(RemoteProtocolError):
    """A frame that does not hold; ``what`` is ``hcs``, ``fcs``, ``length`` or ``flag``."""

    def __init__(self, what: str, message: str, offset: int) -> None:
        super().__init__(message, offset=offset)
        self.what = what


@dataclass(frozen=True, slots=True)
class Address:
    """A station: an upper address (client SAP, logical device) and, for a server, perhaps a lower one (physical).

    ``size`` is 1, 2 or 4 octets on the wire; one octet has no lower address.
    """

    upper: int
    lower: int | None = None
    size: int = 1

    def __post_init__(self) -> None:
        bits = 14 if self.size == 4 else 7
        if self.size not in ADDRESS_SIZES or (self.lower is None) != (self.size == 1):
            raise LocalProtocolError(
                f"address {self.upper}/{self.lower} in {self.size} octets: expected upper alone in 1, both in 2 or 4"
            )
        if not 0 <= self.upper < 1 << bits or not 0 <= (self.lower or 0) < 1 << bits:
            raise LocalProtocolError(f"address {self.upper}/{self.lower} does not fit into {self.size} octets")

    def __str__(self) -> str:
        return str(self.upper) if self.lower is None else f"{self.upper}/{self.lower}"

    def encode(self) -> bytes:
        """Return the octets: seven bits each, the last one marked by its lowest bit."""
        if self.lower is None:
            return bytes((self.upper << 1 | 1,))
        if self.size == 2:
            return bytes((self.upper << 1, self.lower << 1 | 1))
        septets = (self.upper >> 7, self.upper & 0x7F, self.lower >> 7, self.lower & 0x7F)
        return bytes(septet << 1 | (place == 3) for place, septet in enumerate(septets))


def decode_address(data: bytes, at: int) -> tuple[Address, int]:
    """Return the address at octet ``at`` and the octet after it; RemoteProtocolError unless it has 1, 2 or 4 octets."""
    end = at
    while end < len(data) and end - at < 4 and not data[end] & 1:
        end += 1
    if end >= len(data) or not data[end] & 1:
        raise RemoteProtocolError("an address does not end within four octets", offset=at)
    septets = [octet >> 1 for octet in data[at : end + 1]]
    match septets:
        case [upper]:
            return Address(upper), end + 1
        case [upper, lower]:
            return Address(upper, lower, 2), end + 1
        case [upper_high, upper_low, lower_high, lower_low]:
            return Address(upper_high << 7 | upper_low, lower_high << 7 | lower_low, 4), end + 1
    raise RemoteProtocolError("an address of three octets, expected 1, 2 or 4", offset=at)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``control`` is the octet as sent, ``information`` is empty when there is none."""

    destination: Address
    source: Address
    control: int
    information: bytes = b""
    segmented: bool = False

    @property
    def type(self) -> FrameType | None:
        """What kind of frame this is; None for a control field that DLMS does not use."""
        if not self.control & 1:
            return FrameType.I
        base = self.control & (0x0F if self.control & 3 == 1 else 0xEF)
        return _TYPES.get(base)

    @property
    def poll_final(self) -> bool:
        """The poll bit of a command, the final bit of a response."""
        return bool(self.control & POLL_FINAL)

    @property
    def send_number(self) -> int:
        """N(S) of an I frame."""
        return self.control >> 1 & 7

    @property
    def receive_number(self) -> int:
        """N(R) of an I, RR or RNR frame."""
        return self.control >> 5

    def encode(self) -> bytes:
        """Return the frame with its flags and checks."""
        header = self.destination.encode() + self.source.encode() + bytes((self.control,))
        length = 2 + len(header) + 2 + (len(self.information) + 2 if self.information else 0)
        if length > FRAME_OCTETS_MAX:
            raise LocalProtocolError(f"a frame of {length} octets, at most {FRAME_OCTETS_MAX} are possible")
        body = (0xA000 | self.segmented << 11 | length).to_bytes(2, "big") + header
        if self.information:
            body += check(body) + self.information
        return b"\x7e" + body + check(body) + b"\x7e"


_TYPES: dict[int, FrameType] = {int(kind): kind for kind in FrameType if kind is not FrameType.I}
_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def check(octets: bytes) -> bytes:
    """Return HCS or FCS over ``octets``: CRC-16/X.25, low octet first (ISO/IEC 13239, annex A).

    X.25 is the bit-reversed form of what ``crc_hqx`` computes in C: reverse each octet, start at ones, invert.
    """
    crc = crc_hqx(octets.translate(_REVERSED), 0xFFFF) ^ 0xFFFF
    return bytes((_REVERSED[crc >> 8], _REVERSED[crc & 0xFF]))


def information_control(send_number: int, receive_number: int, poll_final: bool) -> int:
    """Return the control field of an I frame."""
    return receive_number << 5 | poll_final << 4 | send_number << 1


def supervisory_control(kind: FrameType, receive_number: int, poll_final: bool) -> int:
    """Return the control field of RR or RNR."""
    return receive_number << 5 | poll_final << 4 | kind


class FrameReader:
    """Finds frames in a stream of octets.

    ``receive_data`` stores; :meth:`next_frame` gives a frame, NEED_DATA, or raises for a damaged one. After an error
    the reader is ready to go on. It holds at most one incomplete frame beside what the caller just gave.
    """

    def __init__(self, on_noise: Callable[[bytes], None] | None = None) -> None:
        self._buffer = bytearray()
        self._on_noise = on_noise

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._buffer += data

    def forget(self) -> None:
        """Drop an incomplete frame: the line fell silent inside it."""
        self._buffer.clear()

    @property
    def pending(self) -> int:
        """How many octets wait for the rest of their frame."""
        return len(self._buffer)

    def next_frame(self) -> Frame | NeedData:
        """Return the next frame or NEED_DATA; raise RemoteProtocolError for one that is damaged (and drop it)."""
        buffer = self._buffer
        while True:
            start = buffer.find(FLAG)
            if start != 0 and buffer:
                self._drop(start if start > 0 else len(buffer))
            while len(buffer) > 1 and buffer[1] == FLAG:
                del buffer[0]
            if len(buffer) < 3:
                return NEED_DATA
            if buffer[1] & 0xF0 == 0xA0:
                break
            self._drop(1)  # A flag that opens no frame: the end of one whose start was lost, or noise.
        length = (buffer[1] & 0x07) << 8 | buffer[2]
        try:
            head = _decode_header(bytes(buffer[1 : min(len(buffer), 1 + length, 16)]), length)
            if head is None or len(buffer) < length + 2:
                return NEED_DATA
            frame = _decode_rest(bytes(buffer[1 : length + 2]), head)
        except RemoteProtocolError:
            self._drop(1)
            raise
        del buffer[: length + 1]  # The closing flag stays: it may open the next frame.
        return frame

    def _drop(self, count: int) -> None:
        if self._on_noise is not None:
            self._on_noise(bytes(self._buffer[:count]))
        del self._buffer[:count]


@dataclass(frozen=True, slots=True)
class _Header:
    destination: Address
    source: Address
    control: int
    end: int  # octets up to and with the control field


def _decode_header(octets: bytes, length: int) -> _Header | None:
    """Decode what is there of a frame after its flag; None when the header is not complete yet."""
    ends: list[int] = []
    at = 2
    for _ in range(2):
        while at < len(octets) and not octets[at] & 1 and at - (ends[-1] if ends else 2) < 4:
            at += 1
        if at >= len(octets) and len(octets) < min(length, 15):
            return None
        at += 1
        ends.append(at)
    destination, at = decode_address(octets, 2)
    source, at = decode_address(octets, at)
    if length < at + 3:
        raise DamagedFrameError("length", f"a frame length of {length} is too short for its header", 0)
    if at >= len(octets):
        return None
    if length <= at + 4:  # One octet for a check is impossible, but only the whole frame tells wrong from cut.
        return _Header(destination, source, octets[at], at + 1)
    if len(octets) < at + 3:
        return None
    if check(octets[: at + 1]) != octets[at + 1 : at + 3]:
        raise DamagedFrameError("hcs", "the check of a frame's header (HCS) is wrong", at + 1)
    return _Header(destination, source, octets[at], at + 1)


def _decode_rest(octets: bytes, header: _Header) -> Frame:
    """Check a whole frame, given from its format field to its closing flag, and return it."""
    length = len(octets) - 1
    if octets[length] != FLAG:
        raise DamagedFrameError("flag", "no flag (7E) closes the frame", length)
    if length == header.end + 3:
        raise DamagedFrameError("length", f"a frame length of {length} leaves one octet for a check of two", 0)
    if check(octets[: length - 2]) != octets[length - 2 : length]:
        raise DamagedFrameError("fcs", "the check of a frame (FCS) is wrong", length - 2)
    return Frame(
        destination=header.destination,
        source=header.source,
        control=header.control,
        information=octets[header.end + 2 : length - 2],
        segmented=bool(octets[0] & 0x08),
    )
