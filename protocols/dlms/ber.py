"""The little of BER that ACSE needs (ITU-T X.690): one-octet tags, definite lengths."""

from collections.abc import Iterator

from protocols.dlms.octets import Cursor


def encode_tlv(tag: int, content: bytes) -> bytes:
    """Return tag, length and content; ACSE of DLMS stays below 64 kB."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    return bytes((tag, 0x81, size) if size < 0x100 else (tag, 0x82, size >> 8, size & 0xFF)) + content


def decode_tlvs(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element; RemoteProtocolError for a broken one."""
    cursor = Cursor(octets)
    while cursor.left:
        tag = cursor.u8("a BER tag")
        yield tag, cursor.counted(f"element {tag:02x}")
