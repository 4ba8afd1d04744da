"""A-XDR: the encoding of COSEM data (IEC 61334-6 as profiled by IEC 62056-5-3).

``encode(decode(x)) == x`` for every ``x`` in its shortest form.

Theory of operation: the input is hostile. An array's count is believed only up to the octets that are left, because
each element takes at least one; compact arrays, whose elements may take none, have a budget of elements. Nesting is
limited, so recursion is bounded. Therefore time and memory are linear in the input.
"""

import struct
from collections.abc import Callable
from typing import TypeAlias

from protocols.dlms.data import (
    COUNTED_OCTETS,
    DONT_CARE,
    FIXED_OCTETS,
    INTEGER_STRUCTS,
    NULL,
    TAGS,
    BitString,
    Content,
    Data,
    Tag,
    items_of,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError

NESTING_MAX = 24  # no class of Blue Book 4 nests deeper than 8 (script tables in schedules); three times that
COMPACT_ELEMENTS_PER_OCTET_MAX = 32  # of a compact array, whose nulls take no octets; a row of 128 and one number


# -- lengths ----------------------------------------------------------------------------------------------------------


def decode_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length or count (IEC 61334-6, 6.10: short or long form, up to four octets) and the octet after it."""
    if at >= len(data):
        raise RemoteProtocolError("the data ends where a length was expected", offset=at)
    first = data[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if not 1 <= size <= 4:
        raise RemoteProtocolError(f"found a length of {size} octets, expected 1 to 4", offset=at)
    end = at + 1 + size
    if end > len(data):
        raise RemoteProtocolError("the data ends inside a length", offset=at)
    return int.from_bytes(data[at + 1 : end], "big"), end


def encode_length(length: int) -> bytes:
    """Return ``length`` in its shortest form."""
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    if size > 4:
        raise LocalProtocolError(f"a length of {length} does not fit into four octets")
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


# -- decoding ---------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> Data:
    """Decode one value that fills ``data``; RemoteProtocolError when it is broken or octets are left over."""
    value, end = decode_from(data, 0)
    if end != len(data):
        raise RemoteProtocolError(f"{len(data) - end} octets follow the value", offset=end)
    return value


def decode_from(data: bytes, at: int = 0) -> tuple[Data, int]:
    """Decode one value at octet ``at``; return it and the octet after it. RemoteProtocolError when it is broken."""
    return _decode(data, at, 0)


def _decode(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    if at >= len(data):
        raise RemoteProtocolError("the data ends where a value was expected", offset=at)
    tag = TAGS.get(data[at])
    if tag is None:
        raise RemoteProtocolError(f"found the unknown data type {data[at]}", offset=at)
    if tag is Tag.COMPACT_ARRAY:
        return _decode_compact(data, at + 1, depth)
    if tag is Tag.ARRAY or tag is Tag.STRUCTURE:
        if depth >= NESTING_MAX:
            raise RemoteProtocolError(f"values are nested deeper than {NESTING_MAX}", offset=at)
        count, position = decode_length(data, at + 1)
        if count > len(data) - position:
            raise RemoteProtocolError(
                f"{tag.word} announces {count} elements, but {len(data) - position} octets are left", offset=at
            )
        elements = []
        for _ in range(count):
            element, position = _decode(data, position, depth + 1)
            elements.append(element)
        return Data(tag, tuple(elements)), position
    return _decode_simple(tag, data, at + 1)


def _decode_simple(tag: Tag, data: bytes, at: int) -> tuple[Data, int]:
    """Decode the content of a type that is not constructed; its tag has been read."""
    number = INTEGER_STRUCTS.get(tag)
    if number is not None:
        end = _end(data, at, number.size, tag)
        return Data(tag, int(number.unpack_from(data, at)[0])), end
    if tag in COUNTED_OCTETS:
        length, at = decode_length(data, at)
        end = _end(data, at, length, tag)
        return Data(tag, data[at:end]), end
    if tag is Tag.NULL_DATA:
        return NULL, at
    if tag is Tag.BOOLEAN:
        return Data(tag, data[at : _end(data, at, 1, tag)] != b"\0"), at + 1
    if tag is Tag.BIT_STRING:
        length, at = decode_length(data, at)
        end = _end(data, at, (length + 7) // 8, tag)
        return Data(tag, BitString(length, data[at:end])), end
    if tag is Tag.DONT_CARE:
        return DONT_CARE, at
    end = _end(data, at, FIXED_OCTETS[tag], tag)
    return Data(tag, data[at:end]), end


def _end(data: bytes, at: int, size: int, tag: Tag) -> int:
    if size > len(data) - at:
        raise RemoteProtocolError(f"{tag.word} needs {size} octets, {len(data) - at} are left", offset=at)
    return at + size


_Reader: TypeAlias = Callable[[bytes, int], tuple[Data, int]]


def _decode_compact(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    """Decode a compact array: a type description, then the elements' contents without tags (Blue Book 4.1.5)."""
    budget = [0]
    reader, at = _read_description(data, at, depth + 1, budget)
    length, at = decode_length(data, at)
    end = _end(data, at, length, Tag.COMPACT_ARRAY)
    contents = data[:end]
    budget[0] = COMPACT_ELEMENTS_PER_OCTET_MAX * (length + 4)
    elements = []
    while at < end:
        before = at
        element, at = reader(contents, at)
        if at == before:
            raise RemoteProtocolError("a compact array's element takes no octets but octets are there", offset=at)
        elements.append(element)
    return Data(Tag.COMPACT_ARRAY, tuple(elements)), end


def _read_description(data: bytes, at: int, depth: int, budget: list[int]) -> tuple[_Reader, int]:
    """Turn a type description into a function that reads one element."""
    if depth >= NESTING_MAX:
        raise RemoteProtocolError(f"type descriptions are nested deeper than {NESTING_MAX}", offset=at)
    if at >= len(data):
        raise RemoteProtocolError("the data ends where a type description was expected", offset=at)
    tag = TAGS.get(data[at])
    if tag is None or tag is Tag.COMPACT_ARRAY:
        raise RemoteProtocolError(f"found type {data[at]} in a type description", offset=at)
    at += 1
    if tag is Tag.ARRAY:
        end = _end(data, at, 2, tag)
        count = int.from_bytes(data[at:end], "big")
        element, at = _read_description(data, end, depth + 1, budget)
        parts: tuple[_Reader, ...] = (element,)
        repeat = count
    elif tag is Tag.STRUCTURE:
        count, at = decode_length(data, at)
        if count > len(data) - at:
            raise RemoteProtocolError(f"a structure of {count} types in {len(data) - at} octets", offset=at)
        members = []
        for _ in range(count):
            element, at = _read_description(data, at, depth + 1, budget)
            members.append(element)
        parts, repeat = tuple(members), 1
    else:
        simple = tag
        return (lambda contents, position: _decode_simple(simple, contents, position)), at
    constructed = tag

    def read(contents: bytes, position: int) -> tuple[Data, int]:
        budget[0] -= len(parts) * repeat
        if budget[0] < 0:
            raise RemoteProtocolError("a compact array of mostly nulls is longer than any meter's", offset=position)
        elements = []
        for _ in range(repeat):
            for part in parts:
                element, position = part(contents, position)
                elements.append(element)
        return Data(constructed, tuple(elements)), position

    return read, at


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode(value: Data) -> bytes:
    """Return the octets of ``value``; LocalProtocolError when its content does not fit its tag."""
    parts: list[bytes] = []
    _encode(value, parts, 0)
    return b"".join(parts)


def _encode(value: Data, parts: list[bytes], depth: int) -> None:
    tag, content = value
    if tag is Tag.COMPACT_ARRAY:
        _encode_compact(value, parts, depth)
        return
    parts.append(bytes((tag,)))
    if tag is Tag.ARRAY or tag is Tag.STRUCTURE:
        if not isinstance(content, tuple) or depth >= NESTING_MAX:
            raise LocalProtocolError(f"{tag.word} needs a tuple of values, nested at most {NESTING_MAX} deep")
        parts.append(encode_length(len(content)))
        for element in content:
            if not isinstance(element, Data):
                raise LocalProtocolError(f"{tag.word} holds {type(element).__name__}, expected Data")
            _encode(element, parts, depth + 1)
        return
    parts.append(_encode_simple(tag, content))


def _encode_simple(tag: Tag, content: Content) -> bytes:
    number = INTEGER_STRUCTS.get(tag)
    try:
        if number is not None:
            return number.pack(content)
    except struct.error as error:
        raise LocalProtocolError(f"{content!r} is no {tag.word}: {error}") from error
    if tag in (Tag.NULL_DATA, Tag.DONT_CARE) and content is None:
        return b""
    if tag is Tag.BOOLEAN and isinstance(content, bool):
        return b"\1" if content else b"\0"
    if tag is Tag.BIT_STRING and isinstance(content, BitString) and len(content.octets) == (content.length + 7) // 8:
        return encode_length(content.length) + content.octets
    if isinstance(content, bytes):
        if tag in COUNTED_OCTETS:
            return encode_length(len(content)) + content
        if FIXED_OCTETS.get(tag) == len(content):
            return content
    raise LocalProtocolError(f"{content!r} is no content of a {tag.word}")


def _encode_compact(value: Data, parts: list[bytes], depth: int) -> None:
    elements = value.content if isinstance(value.content, tuple) else ()
    description = _describe(elements[0], depth + 1) if elements else bytes((Tag.NULL_DATA,))
    contents: list[bytes] = []
    for element in elements:
        if not isinstance(element, Data) or _describe(element, depth + 1) != description:
            raise LocalProtocolError("the elements of a compact array must all have the type of the first")
        _encode_bare(element, contents)
    body = b"".join(contents)
    parts += [bytes((Tag.COMPACT_ARRAY,)), description, encode_length(len(body)), body]


def _describe(value: Data, depth: int) -> bytes:
    if depth >= NESTING_MAX or value.tag is Tag.COMPACT_ARRAY:
        raise LocalProtocolError("a compact array holds neither compact arrays nor values nested too deep")
    if value.tag not in (Tag.ARRAY, Tag.STRUCTURE):
        return bytes((value.tag,))
    kinds = [_describe(element, depth + 1) for element in items_of(value)]
    if value.tag is Tag.STRUCTURE:
        return bytes((value.tag,)) + encode_length(len(kinds)) + b"".join(kinds)
    if len(set(kinds)) > 1 or len(kinds) > 0xFFFF:
        raise LocalProtocolError("an array inside a compact array needs elements of one type, at most 65535")
    return bytes((value.tag,)) + len(kinds).to_bytes(2, "big") + (kinds[0] if kinds else bytes((Tag.NULL_DATA,)))


def _encode_bare(value: Data, contents: list[bytes]) -> None:
    if value.tag in (Tag.ARRAY, Tag.STRUCTURE):
        for element in items_of(value):
            _encode_bare(element, contents)
    else:
        contents.append(_encode_simple(value.tag, value.content))
