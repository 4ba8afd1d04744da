"""The fast way to decode a readings message of schema 2: its columns by NumPy, what repeats itself remembered.

Takes and refuses exactly what :func:`~protocols.telemetry.columns.decode_columns` does: in any doubt that one decides.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, QUALITY_MAX, ROWS_MAX, VALUE_MAX, Batch
from protocols.telemetry.columns import PLANES_MAX, decode_columns, take_clocks, take_groups, take_head, take_header
from protocols.telemetry.remembered import RememberedChannels, remembered
from protocols.telemetry.strict_json import parse_object

Column = NDArray[np.int64]
_ONE = np.uint64(1)
STEP_MAX = 1 << 47  # with 10,000 rows no sum of such steps leaves 64 bits; larger ones go the slow way


class Groups(NamedTuple):
    """The channels of a message, and how many each code of each group has."""

    channels: RememberedChannels
    runs: tuple[int, ...]


def decode_planes(text: bytes) -> Batch:
    """Return what a message of schema 2, unpacked, says; raise :class:`RemoteProtocolError` if it breaks a rule."""
    found = _decode(text)
    return decode_columns(text) if found is None else found


def _decode(text: bytes) -> Batch | None:
    """Return what ``text`` says; ``None`` if it is not surely right."""
    start, mark, rest = text.partition(b',"groups":')
    groups_text, end, columns = rest.partition(b"}\n")
    groups = _remembered_groups(groups_text) if mark and end else None
    if groups is None:
        return None
    length = len(groups.channels)
    taken = _take(columns, 0, length)
    if taken is None:
        return None
    counts, at = np.add.accumulate(taken[0]), taken[1]
    rows = int(counts.sum())
    if int(counts.min()) < 1 or rows > ROWS_MAX:
        return None
    lengths = [length, rows - length, rows]
    ends = np.add.accumulate(counts)
    first = 0
    for run in groups.runs:
        begin = int(ends[first - 1]) if first else 0
        first += run
        lengths += [run, int(ends[first - 1]) - begin - run]
    parts = []
    for wanted in lengths:
        found = _take(columns, at, wanted)
        if found is None:
            return None
        parts.append(found[0])
        at = found[1]
    if at != len(columns):
        return None
    starts = np.concatenate(([0], ends[:-1]))
    at_ms = _undo(starts, counts, np.add.accumulate(parts[0]), parts[1])
    value = _undo(
        starts, counts, np.concatenate([np.add.accumulate(part) for part in parts[3::2]]), np.concatenate(parts[4::2])
    )
    quality = parts[2]
    channel = np.repeat(np.arange(length), counts)
    if not (
        _within(at_ms, AT_MS_MIN, AT_MS_MAX)
        and _within(value, -VALUE_MAX, VALUE_MAX)
        and _within(quality, 0, QUALITY_MAX)
        and (not len(parts[1]) or int(parts[1].min()) > 0)
    ):
        return None
    return _batch(start, groups, (channel, at_ms, value, quality))


def _batch(start: bytes, groups: Groups, columns: tuple[Column, Column, Column, Column]) -> Batch | None:
    try:
        head, _ = take_head(start + b"}\n")
        if "groups" in head:
            return None
        header, clocks = take_header(head), take_clocks(head)
    except RemoteProtocolError:
        return None
    channel, at_ms, value, quality = map(_array, columns)
    return Batch(
        header.gateway,
        header.generation,
        header.sequence,
        groups.channels,
        channel=channel,
        at_ms=at_ms,
        value=value,
        quality=quality,
        sequences=header.sequences,
        clocks=clocks,
    )


@remembered
def _remembered_groups(text: bytes) -> Groups | None:
    try:
        head = parse_object(b'{"groups":%b}' % text)
        channels, runs = take_groups(head)
        return Groups(RememberedChannels(channels), tuple(runs)) if len(head) == 1 else None
    except RemoteProtocolError:
        return None


def _take(octets: bytes, at: int, length: int) -> tuple[Column, int] | None:
    """Return the column at ``at`` and where the next begins; ``None`` if it is cut short or may overflow sums."""
    if at >= len(octets):
        return None
    planes = octets[at]
    end = at + 1 + planes * length
    if planes > PLANES_MAX or end > len(octets):
        return None
    if not planes or not length:
        return np.zeros(length, np.int64), end
    folded = np.zeros((length, PLANES_MAX), np.uint8)
    folded[:, :planes] = np.frombuffer(octets, np.uint8, planes * length, at + 1).reshape(planes, length).T
    unsigned = folded.view("<u8").reshape(length)
    # 2n is n, 2n + 1 is −n − 1: all bits of n turned.
    column: Column = (unsigned >> _ONE).view(np.int64) ^ -(unsigned & _ONE).view(np.int64)
    return (column, end) if planes <= 6 or _within(column, -STEP_MAX, STEP_MAX) else None


def _undo(starts: Column, counts: Column, firsts: Column, steps: Column) -> Column:
    """Return a column from each channel's first row and the differences of the others to the one before."""
    if not len(steps):
        return firsts
    rows = np.zeros(int(counts.sum()), np.int64)
    inner = np.ones(len(rows), bool)
    inner[starts] = False
    rows[inner] = steps
    sums: Column = np.add.accumulate(rows)
    before: Column = np.repeat(firsts - sums[starts], counts)
    return sums + before


def _within(column: Column, lowest: int, highest: int) -> bool:
    return not len(column) or bool(lowest <= np.minimum.reduce(column) and np.maximum.reduce(column) <= highest)


def _array(column: Column) -> array[int]:
    made = array("q")
    made.frombytes(column.tobytes())
    return made
