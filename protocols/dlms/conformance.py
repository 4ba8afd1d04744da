"""The conformance block: which services an association offers (IEC 62056-5-3, table of xDLMS conformance)."""

from enum import IntFlag

from protocols.errors import RemoteProtocolError


class Conformance(IntFlag):
    """Bits of the 24-bit string, first bit highest; names as in the standard."""

    GENERAL_PROTECTION = 1 << 22
    GENERAL_BLOCK_TRANSFER = 1 << 21
    READ = 1 << 20
    WRITE = 1 << 19
    UNCONFIRMED_WRITE = 1 << 18
    DELTA_VALUE_ENCODING = 1 << 17
    ATTRIBUTE0_SUPPORTED_WITH_SET = 1 << 15
    PRIORITY_MGMT_SUPPORTED = 1 << 14
    ATTRIBUTE0_SUPPORTED_WITH_GET = 1 << 13
    BLOCK_TRANSFER_WITH_GET_OR_READ = 1 << 12
    BLOCK_TRANSFER_WITH_SET_OR_WRITE = 1 << 11
    BLOCK_TRANSFER_WITH_ACTION = 1 << 10
    MULTIPLE_REFERENCES = 1 << 9
    INFORMATION_REPORT = 1 << 8
    DATA_NOTIFICATION = 1 << 7
    ACCESS = 1 << 6
    PARAMETERIZED_ACCESS = 1 << 5
    GET = 1 << 4
    SET = 1 << 3
    SELECTIVE_ACCESS = 1 << 2
    EVENT_NOTIFICATION = 1 << 1
    ACTION = 1 << 0

    @property
    def words(self) -> list[str]:
        """The names in the standard, in the order of the bits."""
        return [bit.name.lower().replace("_", "-") for bit in type(self) if bit in self and bit.name]


LOGICAL_NAMES = (
    Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ
    | Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE
    | Conformance.BLOCK_TRANSFER_WITH_ACTION
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.GET
    | Conformance.SET
    | Conformance.SELECTIVE_ACCESS
    | Conformance.ACTION
)

SHORT_NAMES = (
    Conformance.READ
    | Conformance.WRITE
    | Conformance.BLOCK_TRANSFER_WITH_GET_OR_READ
    | Conformance.BLOCK_TRANSFER_WITH_SET_OR_WRITE
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.PARAMETERIZED_ACCESS
)

_TAG = b"\x5f\x1f\x04\x00"  # [APPLICATION 31], four octets, no unused bits
_TAG_OLD = b"\x5f\x04\x00"  # the coding of the first editions: the tag in one octet


def encode_conformance(conformance: Conformance) -> bytes:
    """Return tag, length and bits."""
    return _TAG + int(conformance).to_bytes(3, "big")


def decode_conformance(data: bytes, at: int) -> tuple[Conformance, int]:
    """Return the block at octet ``at`` and the octet after it; the coding of the first editions is taken, too."""
    for tag in (_TAG, _TAG_OLD):
        if data.startswith(tag, at) and len(data) >= at + len(tag) + 3:
            end = at + len(tag) + 3
            bits = int.from_bytes(data[at + len(tag) : end], "big")
            return Conformance(bits & int(~Conformance(0))), end
    raise RemoteProtocolError(f"found {data[at : at + 4].hex()}, expected a conformance block (5f1f0400)", offset=at)
