"""DLMS/COSEM over wired M-Bus, as meters push it (IEC 62056-7-3; EN 13757-2 for the frame, EN 13757-3 for transport).

A long frame is ``68 L L 68``, L octets, their sum modulo 256, ``16``. The octets are C, A, CI, source and destination
SAP, then a part of the APDU; CI holds the part's number in its low nibble and, in 10, whether it is the last.
"""

from dataclasses import dataclass

from protocols.dlms.link import APDU_OCTETS_MAX, NEED_DATA, NeedData
from protocols.errors import LocalProtocolError, RemoteProtocolError

START, STOP = 0x68, 0x16
LAST_PART, PART_NUMBER = 0x10, 0x0F
HEAD_OCTETS = 5  # C, A, CI, both SAPs
PART_OCTETS = 245  # of an APDU in one frame, as Austrian meters send it; L is at most 255 (EN 13757-2, 5.2)


@dataclass(frozen=True, slots=True)
class MbusFrame:
    """One long frame; ``ci`` tells which part of an APDU ``octets`` are."""

    control: int
    address: int
    ci: int
    source_sap: int
    destination_sap: int
    octets: bytes

    @property
    def part(self) -> int:
        """The part's number, from 0, modulo 16."""
        return self.ci & PART_NUMBER

    @property
    def last(self) -> bool:
        """Whether this is the APDU's last part."""
        return bool(self.ci & LAST_PART)

    def encode(self) -> bytes:
        """Return the frame."""
        body = bytes((self.control, self.address, self.ci, self.source_sap, self.destination_sap)) + self.octets
        if len(body) > 0xFF:
            raise LocalProtocolError(f"an M-Bus frame of {len(body)} octets, at most 255 are possible")
        return bytes((START, len(body), len(body), START)) + body + bytes((sum(body) & 0xFF, STOP))


class MbusReader:
    """Finds long frames in a stream; what is none is noise."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Store octets as they come."""
        self._buffer += data

    def forget(self) -> None:
        """Drop an incomplete frame: the line fell silent inside it."""
        self._buffer.clear()

    def next_frame(self) -> MbusFrame | NeedData:
        """Return the next frame or NEED_DATA; raise RemoteProtocolError for one that is damaged (and drop it)."""
        buffer = self._buffer
        while True:
            start = buffer.find(START)
            del buffer[: start if start >= 0 else len(buffer)]
            if len(buffer) < 4:
                return NEED_DATA
            length = buffer[1]
            if buffer[2] == length and buffer[3] == START and length >= HEAD_OCTETS:
                break
            del buffer[0]
        if len(buffer) < length + 6:
            return NEED_DATA
        body, checksum, stop = bytes(buffer[4 : length + 4]), buffer[length + 4], buffer[length + 5]
        if sum(body) & 0xFF != checksum or stop != STOP:
            del buffer[0]
            raise RemoteProtocolError("the checksum or the end of an M-Bus frame is wrong", offset=length + 4)
        del buffer[: length + 6]
        control, address, ci, source, destination = body[:HEAD_OCTETS]
        return MbusFrame(control, address, ci, source, destination, body[HEAD_OCTETS:])


class PartAssembly:
    """The parts of an APDU, joined in order."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._next = 0

    def add(self, frame: MbusFrame) -> bytes | None:
        """Add a part; return the APDU after the last. RemoteProtocolError when one is missing or it grows too long."""
        if frame.part == 0 and not (self._octets and self._next % 16 == 0):
            self._octets.clear()
            self._next = 0
        if frame.part != self._next % 16 or len(self._octets) + len(frame.octets) > APDU_OCTETS_MAX:
            expected = self._next % 16
            self.forget()
            raise RemoteProtocolError(
                f"part {frame.part} of a push came where {expected} was expected, or it is too long"
            )
        self._octets += frame.octets
        self._next += 1
        if not frame.last:
            return None
        whole = bytes(self._octets)
        self.forget()
        return whole

    def forget(self) -> None:
        """Drop what has come."""
        self._octets.clear()
        self._next = 0


def encode_push(apdu: bytes, *, source_sap: int = 1, destination_sap: int = 103, address: int = 0xFF) -> bytes:
    """Return the frames of a push: SND_UD (53) to everybody, from management to the consumer interface."""
    pieces = [apdu[at : at + PART_OCTETS] for at in range(0, max(len(apdu), 1), PART_OCTETS)]
    frames = []
    for number, piece in enumerate(pieces):
        ci = number & PART_NUMBER | (LAST_PART if number == len(pieces) - 1 else 0)
        frames.append(MbusFrame(0x53, address, ci, source_sap, destination_sap, piece).encode())
    return b"".join(frames)
