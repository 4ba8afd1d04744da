"""Profiles: a buffer of rows becomes columns of integers (Blue Book 4.3.6, class 7).

Theory of operation: a meter's rows look alike. The octets that say what a row holds (tags and lengths) sit at fixed
places as long as the layout does not change, so a run of equal rows is found by comparing strided slices, and unpacked
by one ``struct`` call; no value tree is built. Rows of any other shape (null-compressed ones begin a run of their own;
nested values are decoded one by one) take the general path and give the same result.
"""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from protocols.dlms import axdr
from protocols.dlms.cosem_time import epoch_seconds
from protocols.dlms.data import COUNTED_OCTETS, FIXED_OCTETS, INTEGER_STRUCTS, TAGS, Data, Tag, items_of
from protocols.dlms.quirks import STRICT, Quirks
from protocols.dlms.selective import CLOCK_CLASS, CaptureObject, capture_object_of
from protocols.errors import RemoteProtocolError

COLUMNS_MAX = 127  # a structure's count in one octet; the widest profile seen has 40
LAYOUTS_MAX = 8  # shapes of rows that are worth compiling; further ones are decoded value by value
RUN_GROWTH_MAX = 4096  # rows looked ahead at once

Cell: TypeAlias = bool | int | bytes | Data | None
"""A number, octets (strings and date-times), null, or a whole value when it is none of these."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """The rows of a buffer by columns, as the meter sent them: ``columns[c][r]``, None where it sent null."""

    row_count: int
    columns: tuple[list[Cell], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a row of one shape keeps what: its length, its structural octets, how to unpack its values."""

    octets: int
    fixed: tuple[tuple[int, int], ...]  # (offset, octet)
    unpacker: struct.Struct
    places: tuple[int, ...]  # the columns whose values are unpacked
    null_places: tuple[int, ...]
    matches: Callable[[bytes, int], object]  # whether a row of this layout is at an offset


def decode_buffer(octets: bytes, column_count: int | None = None) -> Buffer:
    """Decode a profile's buffer (attribute 2) to columns.

    Parameters
    ----------
    octets
        The A-XDR encoding, as in ``BufferResult.octets``.
    column_count
        How many columns are expected; any number when None.

    Raises
    ------
    RemoteProtocolError
        When it is no array of structures of one width, or octets are missing or left over.
    """
    if octets[:1] == bytes((Tag.COMPACT_ARRAY,)):
        return _from_rows(items_of(axdr.decode(octets)), column_count)
    if octets[:1] != bytes((Tag.ARRAY,)):
        found = TAGS[octets[0]].word if octets and octets[0] in TAGS else octets[:1].hex() or "nothing"
        raise RemoteProtocolError(f"found {found} where an array of rows was expected", offset=0)
    rows, at = axdr.decode_length(octets, 1)
    if rows > len(octets) - at:
        raise RemoteProtocolError(f"{rows} rows are announced, {len(octets) - at} octets are left", offset=1)
    width = column_count
    if rows and width is None:
        width = octets[at + 1] if at + 1 < len(octets) else 0
    columns: tuple[list[Cell], ...] = tuple([] for _ in range(width or 0))
    left = rows
    known: list[Layout] = []
    while left:
        layout: Layout | None
        for layout in known:
            if layout.matches(octets, at):
                break
        else:
            if at + 2 > len(octets) or octets[at] != Tag.STRUCTURE or octets[at + 1] != width or width > COLUMNS_MAX:
                raise RemoteProtocolError(f"expected a row of {width} columns (02{width or 0:02x})", offset=at)
            layout = _layout(octets, at, width) if len(known) < LAYOUTS_MAX else None
            if layout is None:
                row, at = axdr.decode_from(octets, at)
                for column, element in zip(columns, items_of(row, width), strict=True):
                    column.append(_cell(element))
                left -= 1
                continue
            known.append(layout)
        count = _run(octets, at, layout, left)
        _unpack(octets, at, layout, count, columns)
        at += count * layout.octets
        left -= count
    if at != len(octets):
        raise RemoteProtocolError(f"{len(octets) - at} octets follow the rows", offset=at)
    return Buffer(rows, columns)


def _from_rows(rows: Sequence[Data], column_count: int | None) -> Buffer:
    width = len(items_of(rows[0])) if column_count is None and rows else column_count or 0
    columns: tuple[list[Cell], ...] = tuple([] for _ in range(width))
    for row in rows:
        for column, element in zip(columns, items_of(row, width), strict=True):
            column.append(_cell(element))
    return Buffer(len(rows), columns)


def _cell(element: Data) -> Cell:
    content = element.content
    if content is None or (isinstance(content, bool | int | bytes) and element.tag not in _FLOATS):
        return content
    return element


_FLOATS = frozenset({Tag.FLOAT32, Tag.FLOAT64})
_CODES: dict[int, tuple[str, int]] = {
    int(tag): (number.format[1:], number.size) for tag, number in INTEGER_STRUCTS.items()
}
_CODES[int(Tag.BOOLEAN)] = ("?", 1)
_CODES |= {int(tag): (f"{size}s", size) for tag, size in FIXED_OCTETS.items() if tag not in _FLOATS}
_COUNTED = frozenset(map(int, COUNTED_OCTETS))


def _layout(octets: bytes, at: int, width: int) -> Layout | None:
    """Return the layout of the row at ``at``; None when it is not made of simple values, or not all there."""
    start, end = at, len(octets)
    fixed = [(0, int(Tag.STRUCTURE)), (1, width)]
    parts = [">2x"]
    places: list[int] = []
    nulls: list[int] = []
    at += 2
    for place in range(width):
        if at >= end:
            return None
        tag = octets[at]
        fixed.append((at - start, tag))
        known = _CODES.get(tag)
        (nulls if tag == Tag.NULL_DATA else places).append(place)
        at += 1
        if known is not None:
            parts.append("x" + known[0])
            at += known[1]
        elif tag in _COUNTED and at < end and octets[at] < 0x80:
            fixed.append((at - start, octets[at]))
            parts.append(f"xx{octets[at]}s")
            at += 1 + octets[at]
        elif tag == Tag.NULL_DATA:
            parts.append("x")
        else:
            return None
    if at > end:
        return None
    size = at - start
    unpacker = struct.Struct("".join(parts))
    return Layout(size, tuple(fixed), unpacker, tuple(places), tuple(nulls), _matcher(fixed, size))


def _matcher(fixed: list[tuple[int, int]], size: int) -> Callable[[bytes, int], object]:
    """Return the compiled pattern of a row: its structural octets, and anything between them."""
    pattern, end = b"", 0
    for offset, octet in fixed:
        pattern += b".{%d}" % (offset - end) + re.escape(bytes((octet,)))
        end = offset + 1
    return re.compile(pattern + b".{%d}" % (size - end), re.DOTALL).match


def _run(octets: bytes, at: int, layout: Layout, rows_max: int) -> int:
    """Return how many rows from ``at`` on have ``layout``; looks ahead twice as far each time it was right."""
    size = layout.octets
    rows_max = min(rows_max, (len(octets) - at) // size)
    if rows_max == 1 or not layout.matches(octets, at + size):
        return 1
    count, step = 2, 2
    while count < rows_max:
        ahead = min(step, rows_max - count)
        start = at + count * size
        end = start + ahead * size
        for offset, octet in layout.fixed:
            strided = octets[start + offset : end : size]
            if strided.count(octet) != len(strided):
                ahead = min(ahead, len(strided) - len(strided.lstrip(bytes((octet,)))))
                end = start + ahead * size
                if not ahead:
                    return count
        count += ahead
        if ahead < step:
            break
        step = min(step * 2, RUN_GROWTH_MAX)
    return count


def _unpack(octets: bytes, at: int, layout: Layout, count: int, columns: tuple[list[Cell], ...]) -> None:
    if count == 1:
        cells = layout.unpacker.unpack_from(octets, at)
        for place, cell in zip(layout.places, cells, strict=True):
            columns[place].append(cell)
        for place in layout.null_places:
            columns[place].append(None)
        return
    rows = layout.unpacker.iter_unpack(memoryview(octets)[at : at + count * layout.octets])
    for place, values in zip(layout.places, zip(*rows, strict=True), strict=True):
        columns[place].extend(values)
    for place in layout.null_places:
        columns[place].extend([None] * count)


# -- interpretation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """A profile that can be used: ``at[r]`` in seconds since 1970 UTC, ``columns[c][r]`` for each capture object."""

    at: list[int]
    capture_objects: tuple[CaptureObject, ...]
    columns: tuple[list[Cell], ...]

    def column(self, wanted: CaptureObject) -> list[Cell]:
        """Return the column of ``wanted``; KeyError when it is not captured."""
        try:
            return self.columns[self.capture_objects.index(wanted)]
        except ValueError:
            raise KeyError(wanted) from None


def decode_capture_objects(data: Data) -> tuple[CaptureObject, ...]:
    """Decode attribute 3 of a profile: what its columns are."""
    return tuple(capture_object_of(element) for element in items_of(data))


def interpret(
    buffer: Buffer,
    capture_objects: Sequence[CaptureObject],
    *,
    period_s: int,
    assumed_deviation_minutes: int | None = None,
    quirks: Quirks = STRICT,
) -> Table:
    """Give columns their meaning: times in UTC, null-compressed values filled in (Blue Book 4.3.6.2.2).

    A null time is the time of the row before plus the capture period; any other null repeats the value before it
    (or stays None, where ``quirks.null_is_missing``, or when there is none before it: an odd column is no reason to
    lose the others).
    The clock may be any column. Octets of a date-time column stay octets in ``columns``.

    Parameters
    ----------
    period_s
        Attribute 4 of the profile, the capture period. [s]
    assumed_deviation_minutes
        From local time to UTC, where the meter does not say it; -420 in Vietnam.

    Raises
    ------
    RemoteProtocolError
        When columns and capture objects differ in number, there is no clock, or no time to count from.
    """
    if len(buffer.columns) != len(capture_objects) and buffer.row_count:
        raise RemoteProtocolError(f"{len(buffer.columns)} columns, but {len(capture_objects)} capture objects")
    clocks = [place for place, captured in enumerate(capture_objects) if captured.class_id == CLOCK_CLASS]
    if not clocks:
        raise RemoteProtocolError("no column is a clock (class 8), so rows have no time")
    if not buffer.row_count:
        return Table([], tuple(capture_objects), tuple([] for _ in capture_objects))
    at = _times(buffer.columns[clocks[0]], period_s, assumed_deviation_minutes, quirks)
    columns = [
        column if place in clocks or quirks.null_is_missing or None not in column else _repeat(column)
        for place, column in enumerate(buffer.columns)
    ]
    if quirks.repeated_rows:
        at, columns = _without_repetitions(at, columns)
    return Table(at, tuple(capture_objects), tuple(columns))


def _without_repetitions(at: list[int], columns: list[list[Cell]]) -> tuple[list[int], list[list[Cell]]]:
    """Leave out the rows that say again, with the same clock, what the row before said."""
    rows = list(zip(at, *columns, strict=True))
    kept = [place for place, row in enumerate(rows) if not place or row != rows[place - 1]]
    return [at[place] for place in kept], [[column[place] for place in kept] for column in columns]


def _times(column: list[Cell], period_s: int, assumed_deviation_minutes: int | None, quirks: Quirks) -> list[int]:
    said = [cell for cell in column if isinstance(cell, bytes)]
    if len(said) + column.count(None) != len(column):
        raise RemoteProtocolError("the clock's column holds something that is neither a date-time nor null")
    inverted, winter = quirks.inverted_deviation, quirks.winter_deviation
    seconds = epoch_seconds(said, assumed_deviation_minutes, inverted=inverted, winter=winter)
    if len(said) == len(column):
        return seconds
    if column[0] is None or period_s < 1:
        raise RemoteProtocolError("a null time needs a row before it and a capture period")
    at: list[int] = []
    rest = iter(seconds)
    for cell in column:
        at.append(at[-1] + period_s if cell is None else next(rest))
    return at


def _repeat(column: list[Cell]) -> list[Cell]:
    """Fill nulls with the value before; one with none before it stays None: the meter has not said it."""
    filled: list[Cell] = []
    last: Cell = None
    for cell in column:
        if cell is not None:
            last = cell
        filled.append(last)
    return filled
