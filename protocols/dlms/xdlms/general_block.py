"""General block transfer: any APDU in numbered blocks, several on their way at once (IEC 62056-5-3)."""

from dataclasses import dataclass

from protocols.dlms import axdr
from protocols.dlms.octets import Cursor
from protocols.errors import RemoteProtocolError

GENERAL_BLOCK = 0xE0
WINDOW_MAX = 63  # six bits of block-control
OCTETS_MAX = 1 << 24  # what blocks may add up to: 10,000 profile rows of 200 columns


@dataclass(frozen=True, slots=True)
class GeneralBlock:
    """One block; ``acknowledged`` is the highest block of the other direction that arrived without a gap."""

    number: int
    octets: bytes
    last: bool = True
    streaming: bool = False
    window: int = 0
    acknowledged: int = 0

    def encode(self) -> bytes:
        """Return the APDU."""
        control = self.last << 7 | self.streaming << 6 | self.window
        numbers = self.number.to_bytes(2, "big") + self.acknowledged.to_bytes(2, "big")
        return bytes((GENERAL_BLOCK, control)) + numbers + axdr.encode_length(len(self.octets)) + self.octets


def decode_general_block(cursor: Cursor) -> GeneralBlock:
    """Decode what follows the tag."""
    control = cursor.u8("block-control")
    number, acknowledged = cursor.u16("a block number"), cursor.u16("an acknowledged block number")
    octets = cursor.counted("a block")
    cursor.end("the block")
    return GeneralBlock(number, octets, bool(control & 0x80), bool(control & 0x40), control & 0x3F, acknowledged)


class BlockAssembly:
    """Blocks joined in order, as a push streams them: none is asked for again."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._number = 0

    def add(self, block: GeneralBlock) -> bytes | None:
        """Add ``block``; return the whole APDU after the last one. RemoteProtocolError when a block is missing."""
        if block.number == 1:
            self._octets.clear()
            self._number = 0
        if block.number != self._number + 1:
            self._octets.clear()
            expected, self._number = self._number + 1, 0
            raise RemoteProtocolError(f"general block {block.number} came where {expected} was expected")
        if len(self._octets) + len(block.octets) > OCTETS_MAX:
            self._octets.clear()
            raise RemoteProtocolError(f"general blocks of more than {OCTETS_MAX} octets")
        self._octets += block.octets
        self._number = block.number
        if not block.last:
            return None
        whole = bytes(self._octets)
        self._octets.clear()
        self._number = 0
        return whole
