"""Pushes that break the rules of A-XDR, read by the quirk that names the meter.

Both put something where a type's tag belongs, so each is walked with the shape it is known to have; what has another
shape is refused as without the quirk.
"""

from protocols.dlms.data import Data, Tag, array, integer, long_unsigned, octets, structure
from protocols.dlms.octets import Cursor
from protocols.dlms.quirks import Quirks
from protocols.errors import RemoteProtocolError

_SWAPPED = b"\x06\x09"
_FIELD_F = 0xFF  # value group F of a logical name that is not historical


def decode_push_data(cursor: Cursor, quirks: Quirks) -> Data:
    """Decode the value of a DataNotification; RemoteProtocolError when ``quirks`` don't help either."""
    start = cursor.at
    try:
        return cursor.data()
    except RemoteProtocolError:
        cursor.at = start
        if quirks.untyped_descriptors:
            return _with_untyped_descriptors(cursor)
        if quirks.swapped_tag_and_length:
            return _with_swapped_names(cursor)
        raise


def _with_swapped_names(cursor: Cursor) -> Data:
    """An array of structures, each beginning with a logical name (Landis+Gyr ZMF100)."""
    _expect(cursor, Tag.ARRAY)
    elements = []
    for _ in range(cursor.count("an array")):
        _expect(cursor, Tag.STRUCTURE)
        parts = []
        for place in range(cursor.count("a structure")):
            head = cursor.octets[cursor.at : cursor.at + 8]
            if place == 0 and head[:2] == _SWAPPED and head[7:] == bytes((_FIELD_F,)):
                cursor.take(2, "a tag and a length")
                parts.append(octets(cursor.take(6, "a logical name")))
            else:
                parts.append(cursor.data())
        elements.append(structure(*parts))
    return array(*elements)


def _with_untyped_descriptors(cursor: Cursor) -> Data:
    """A structure of a number and an array of pairs: nine octets without a tag, and a value (XT211).

    The nine octets become a structure of class, logical name and index, as the standard would write them.
    """
    _expect(cursor, Tag.STRUCTURE)
    if cursor.count("a structure") != 2:
        raise RemoteProtocolError("expected a structure of two", offset=cursor.at)
    kind = cursor.data()
    _expect(cursor, Tag.ARRAY)
    pairs = []
    for _ in range(cursor.count("an array")):
        _expect(cursor, Tag.STRUCTURE)
        if cursor.count("a structure") != 2:
            raise RemoteProtocolError("expected a descriptor and a value", offset=cursor.at)
        class_id, name = cursor.u16("a class"), cursor.take(6, "a logical name")
        descriptor = structure(long_unsigned(class_id), octets(name), integer(cursor.i8("an index")))
        pairs.append(structure(descriptor, cursor.data()))
    return structure(kind, array(*pairs))


def _expect(cursor: Cursor, tag: Tag) -> None:
    found = cursor.u8(f"the tag of {tag.word}")
    if found != tag:
        raise RemoteProtocolError(f"found tag {found}, expected {tag.word}", offset=cursor.at - 1)
