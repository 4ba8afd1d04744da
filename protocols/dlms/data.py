"""COSEM data: the types of Blue Book 4.1.5, as light values.

What a meter says stays exactly what it said: integers are integers, everything else is octets; floats stay four or
eight octets (:func:`float_of` reads them), strings stay octets (:func:`text_of`), scalers are applied elsewhere.
"""

import struct
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from protocols.errors import RemoteProtocolError


class Tag(IntEnum):
    """Tags of the common data types, Blue Book 4.1.5; the word of the standard is :attr:`word`."""

    NULL_DATA = 0
    ARRAY = 1
    STRUCTURE = 2
    BOOLEAN = 3
    BIT_STRING = 4
    DOUBLE_LONG = 5
    DOUBLE_LONG_UNSIGNED = 6
    OCTET_STRING = 9
    VISIBLE_STRING = 10
    UTF8_STRING = 12
    BCD = 13
    INTEGER = 15
    LONG = 16
    UNSIGNED = 17
    LONG_UNSIGNED = 18
    COMPACT_ARRAY = 19
    LONG64 = 20
    LONG64_UNSIGNED = 21
    ENUM = 22
    FLOAT32 = 23
    FLOAT64 = 24
    DATE_TIME = 25
    DATE = 26
    TIME = 27
    DELTA_INTEGER = 28
    DELTA_LONG = 29
    DELTA_DOUBLE_LONG = 30
    DELTA_UNSIGNED = 31
    DELTA_LONG_UNSIGNED = 32
    DELTA_DOUBLE_LONG_UNSIGNED = 33
    DONT_CARE = 255

    @property
    def word(self) -> str:
        """The name in the standard: ``double-long-unsigned``."""
        return self.name.lower().replace("_", "-")


class BitString(NamedTuple):
    """``length`` bits, most significant first, in ``octets``."""

    length: int
    octets: bytes


Content: TypeAlias = bool | int | bytes | BitString | tuple["Data", ...] | None


class Data(NamedTuple):
    """One value: its tag and what it holds.

    ``content`` is None (null, don't care), bool, int, octets (strings, floats, dates and times), a
    :class:`BitString`, or a tuple of :class:`Data` (array, structure, compact array).
    """

    tag: Tag
    content: Content


NULL = Data(Tag.NULL_DATA, None)
DONT_CARE = Data(Tag.DONT_CARE, None)

INTEGER_STRUCTS: dict[Tag, struct.Struct] = {
    Tag.DOUBLE_LONG: struct.Struct(">i"),
    Tag.DOUBLE_LONG_UNSIGNED: struct.Struct(">I"),
    Tag.BCD: struct.Struct(">b"),
    Tag.INTEGER: struct.Struct(">b"),
    Tag.LONG: struct.Struct(">h"),
    Tag.UNSIGNED: struct.Struct(">B"),
    Tag.LONG_UNSIGNED: struct.Struct(">H"),
    Tag.LONG64: struct.Struct(">q"),
    Tag.LONG64_UNSIGNED: struct.Struct(">Q"),
    Tag.ENUM: struct.Struct(">B"),
    Tag.DELTA_INTEGER: struct.Struct(">b"),
    Tag.DELTA_LONG: struct.Struct(">h"),
    Tag.DELTA_DOUBLE_LONG: struct.Struct(">i"),
    Tag.DELTA_UNSIGNED: struct.Struct(">B"),
    Tag.DELTA_LONG_UNSIGNED: struct.Struct(">H"),
    Tag.DELTA_DOUBLE_LONG_UNSIGNED: struct.Struct(">I"),
}
FIXED_OCTETS: dict[Tag, int] = {Tag.FLOAT32: 4, Tag.FLOAT64: 8, Tag.DATE_TIME: 12, Tag.DATE: 5, Tag.TIME: 4}
COUNTED_OCTETS = frozenset({Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING})
CONSTRUCTED = frozenset({Tag.ARRAY, Tag.STRUCTURE, Tag.COMPACT_ARRAY})
TAGS: dict[int, Tag] = {int(tag): tag for tag in Tag}


# -- constructors -----------------------------------------------------------------------------------------------------


def structure(*elements: Data) -> Data:
    """Return a structure of ``elements``."""
    return Data(Tag.STRUCTURE, elements)


def array(*elements: Data) -> Data:
    """Return an array of ``elements``."""
    return Data(Tag.ARRAY, elements)


def octets(content: bytes) -> Data:
    """Return an octet-string."""
    return Data(Tag.OCTET_STRING, bytes(content))


def visible(text: str) -> Data:
    """Return a visible-string; the text is ASCII."""
    return Data(Tag.VISIBLE_STRING, text.encode("ascii"))


def unsigned(value: int) -> Data:
    """Return an unsigned (8 bits)."""
    return Data(Tag.UNSIGNED, value)


def integer(value: int) -> Data:
    """Return an integer (8 bits, signed)."""
    return Data(Tag.INTEGER, value)


def long_unsigned(value: int) -> Data:
    """Return a long-unsigned (16 bits)."""
    return Data(Tag.LONG_UNSIGNED, value)


def double_long_unsigned(value: int) -> Data:
    """Return a double-long-unsigned (32 bits)."""
    return Data(Tag.DOUBLE_LONG_UNSIGNED, value)


def enum(value: int) -> Data:
    """Return an enum."""
    return Data(Tag.ENUM, value)


# -- accessors: say what was found and what was expected --------------------------------------------------------------


def integer_of(data: Data) -> int:
    """Return the number in ``data``; RemoteProtocolError when it is none."""
    if isinstance(data.content, int) and not isinstance(data.content, bool):
        return data.content
    raise RemoteProtocolError(f"found {data.tag.word} where a number was expected")


def octets_of(data: Data) -> bytes:
    """Return the octets in ``data``; RemoteProtocolError when it has none."""
    if isinstance(data.content, bytes):
        return data.content
    raise RemoteProtocolError(f"found {data.tag.word} where octets were expected")


def items_of(data: Data, count: int | None = None) -> tuple[Data, ...]:
    """Return the elements of an array or structure; RemoteProtocolError unless it is one of ``count`` elements."""
    if data.tag not in CONSTRUCTED or not isinstance(data.content, tuple) or isinstance(data.content, BitString):
        raise RemoteProtocolError(f"found {data.tag.word} where an array or a structure was expected")
    elements: tuple[Data, ...] = data.content
    if count is not None and len(elements) != count:
        raise RemoteProtocolError(f"found {len(elements)} elements where {count} were expected")
    return elements


def float_of(data: Data) -> float:
    """Return the number of a float32 or float64; RemoteProtocolError for anything else."""
    if data.tag in (Tag.FLOAT32, Tag.FLOAT64) and isinstance(data.content, bytes):
        return float(struct.unpack(">f" if data.tag is Tag.FLOAT32 else ">d", data.content)[0])
    raise RemoteProtocolError(f"found {data.tag.word} where a floating-point number was expected")


def text_of(data: Data) -> str:
    """Return a string's text; octets outside of ASCII (UTF-8 in a utf8-string) appear as escapes."""
    return octets_of(data).decode("utf-8" if data.tag is Tag.UTF8_STRING else "ascii", "backslashreplace")
