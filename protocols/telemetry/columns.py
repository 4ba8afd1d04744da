"""The readings message of schema 2: a head of JSON, then columns in octets; a third of schema 1 on the wire.

::

    {"schema": "congto.readings.v2", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463", "sequences": [[17, 21]],
     "groups": [[["M-0001", "M-0002"], ["1.0.1.8.0", "1.0.2.8.0"]]]}⏎ … octets …

Gateways pay for octets, and most of a message repeats itself: names, times, the high digits of registers. What does not
are the low digits, and text takes a third more for them than they have. So a column of integers is written as *planes*:
the lowest octet of each element, then the next of each, and so on; an octet before says how many planes there are. zstd
finds the high planes nearly empty and packs the low ones by frequency; blocks end where a plane ends, so that each has
a table of its own. Elements are differences, signed, as 2n or −2n − 1.

A *group* is meters that have the same OBIS codes. Channels are numbered group by group, in a group code by code, in a
code meter by meter: neighbours then have values of one size. The columns, for C channels and R rows in order of channel
and time:

1. rows of each channel [C], each less the one before;
2. time of each channel's first row [C], each less the one before;
3. times of the other rows [R − C], each less the one before in its channel;
4. quality [R];
5. for each code of each group: values of its channels' first rows, each less the one before, and then those of the
   other rows, each less the one before in its channel.

One message may hold several batches joined, for an hour of a channel takes less than four half hours apart. Its
``sequences`` are the batches that it settles.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, islice, pairwise
from typing import Any

import zstandard

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.telemetry.batch import (
    AT_MS_MAX,
    AT_MS_MIN,
    COMPRESS_FROM_OCTETS,
    NO_CLOCKS,
    QUALITY_MAX,
    ROWS_MAX,
    VALUE_MAX,
    Batch,
    Clocks,
    Header,
    take_channels,
)
from protocols.telemetry.fields import check_schema, take_generation, take_identifier, take_integer
from protocols.telemetry.reading import Reading
from protocols.telemetry.sequences import Ranges, take_ranges
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.readings.v2"
_START = b'{"schema":"congto.readings.v2",'
PLANES_MAX = 8
BLOCK_OCTETS_MIN = 128  # a plane of fewer octets does not repay a block's head and table
LEVEL = 3
OFFSET_MS_MAX = 1 << 52  # a clock that was never set differs by 50 years, which is 2⁴⁰·⁵ ms


Rows = list[tuple[int, int, int]]
"""A channel's readings: time [ms since 1970 UTC], value, quality."""


def is_columns(text: bytes) -> bool:
    """Return whether ``text``, unpacked, is a message of schema 2 as an encoder writes it."""
    return text.startswith(_START)


def encode_columns(
    gateway: str, generation: str, sequences: Ranges, readings: Iterable[Reading], clocks: Clocks = NO_CLOCKS
) -> bytes:
    """Return the message that carries ``readings`` of the batches ``sequences``.

    Raises
    ------
    LocalProtocolError
        If they are none or too many, a value is too large, or a channel has a time twice.
    """
    channels: dict[tuple[str, str], Rows] = {}
    for meter, obis, at_ms, value, quality in readings:
        channels.setdefault((meter, obis), []).append((at_ms, value, quality))
    for rows in channels.values():
        rows.sort()
    return encode_channels(gateway, generation, sequences, channels, clocks)


def encode_channels(
    gateway: str,
    generation: str,
    sequences: Ranges,
    channels: Mapping[tuple[str, str], Rows],
    clocks: Clocks = NO_CLOCKS,
) -> bytes:
    """Return the message as :func:`encode_columns` does, from rows by channel, which ascend by time."""
    groups = _groups(channels)
    runs = [[channels[meter, code] for meter in meters] for meters, codes in groups for code in codes]
    ordered = list(chain.from_iterable(runs))
    for rows in ordered:
        if len(rows) > 1 and any(before[0] >= after[0] for before, after in pairwise(rows)):
            raise LocalProtocolError("a channel has a time twice; a message carries it once")
    if not 0 < (count := sum(map(len, ordered))) <= ROWS_MAX:
        raise LocalProtocolError(f"{count} readings: a message carries 1 to {ROWS_MAX}")
    if max(abs(value) for rows in ordered for _, value, _ in rows) > VALUE_MAX:
        raise LocalProtocolError("a value does not lie within ±(2⁶² − 1)")
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "gateway": gateway,
        "generation": generation,
        "sequences": sequences,
    }
    if clocks.taken_at_ms is not None:
        head["taken_at"] = clocks.taken_at_ms
    if clocks.offsets_ms:
        head["clock_offsets"] = sorted(clocks.offsets_ms.items())
    head["groups"] = groups
    parts = [json.dumps(head, separators=(",", ":")).encode() + b"\n"]
    _put(parts, _differences(map(len, ordered)))
    _put(parts, _differences(rows[0][0] for rows in ordered))
    _put(parts, _steps(ordered, 0))
    _put(parts, [quality for rows in ordered for _, _, quality in rows])
    for run in runs:
        _put(parts, _differences(rows[0][1] for rows in run))
        _put(parts, _steps(run, 1))
    return _pack(parts)


def decode_columns(text: bytes) -> Batch:
    """Return what a message of schema 2, unpacked, says; raise :class:`RemoteProtocolError` if it breaks the contract.

    Bounded in time and memory by the length of ``text``.
    """
    head, columns = take_head(text)
    channels, runs = take_groups(head)
    reader = _Reader(columns)
    counts = list(accumulate(reader.take(len(channels))))
    rows = sum(counts)
    if min(counts) < 1 or rows > ROWS_MAX:
        raise RemoteProtocolError(f"{rows} rows: expected 1 to {ROWS_MAX}, each channel with one at least")
    at_ms = _undo(counts, reader.take(len(channels)), reader.take(rows - len(channels)))
    quality = reader.take(rows)
    value: list[int] = []
    first = 0
    for length in runs:
        part = counts[first : first + length]
        value += _undo(part, reader.take(length), reader.take(sum(part) - length))
        first += length
    reader.finish()
    _check(at_ms, AT_MS_MIN, AT_MS_MAX, "at")
    _check(value, -VALUE_MAX, VALUE_MAX, "value")
    _check(quality, 0, QUALITY_MAX, "quality")
    channel = array("q", chain.from_iterable([index] * count for index, count in enumerate(counts)))
    if rows > len(channels) and any(
        channel[row] == channel[row - 1] and at_ms[row] <= at_ms[row - 1] for row in range(1, rows)
    ):  # that also refuses the same channel and time twice
        raise RemoteProtocolError("rows: expected each channel's times to ascend")
    header = take_header(head)
    return Batch(
        header.gateway,
        header.generation,
        header.sequence,
        channels,
        channel=channel,
        at_ms=array("q", at_ms),
        value=array("q", value),
        quality=array("q", quality),
        sequences=header.sequences,
        clocks=take_clocks(head),
    )


def take_head(text: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the head and the octets of the columns of a message."""
    head, end, columns = text.partition(b"\n")
    if not end:
        raise RemoteProtocolError("expected a line end after the head")
    message = parse_object(head)
    check_schema(message, SCHEMA)
    return message, columns


def take_header(head: dict[str, Any]) -> Header:
    """Return whose batches the message with ``head`` carries."""
    sequences = take_ranges(head, "sequences", ordered=True)
    return Header(take_identifier(head, "gateway"), take_generation(head), sequences[0][0], sequences)


def take_groups(head: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], list[int]]:
    """Return the channels in their order, and how many each code of each group has."""
    groups = head.get("groups")
    if type(groups) is not list or not 0 < len(groups) <= ROWS_MAX:
        raise RemoteProtocolError("groups: expected a list of pairs, meters and OBIS codes")
    total = 0
    for group in groups:
        if type(group) is not list or list(map(type, group)) != [list, list] or not all(group):
            raise RemoteProtocolError("groups: expected pairs of lists, meters and OBIS codes, none empty")
        total += len(group[0]) * len(group[1])
        if total > ROWS_MAX:
            raise RemoteProtocolError(f"groups: more than {ROWS_MAX} channels")
    channels = take_channels([[meter, code] for meters, codes in groups for code in codes for meter in meters])
    return channels, [len(meters) for meters, codes in groups for _ in codes]


def take_clocks(head: dict[str, Any]) -> Clocks:
    """Return what the message says of clocks."""
    found = head.get("clock_offsets", [])
    if type(found) is not list or len(found) > ROWS_MAX:
        raise RemoteProtocolError(f"clock_offsets: expected a list of at most {ROWS_MAX} pairs")
    offsets = {}
    for pair in found:
        if type(pair) is not list or [type(each) for each in pair] != [str, int]:
            raise RemoteProtocolError("clock_offsets: expected pairs of meter and milliseconds")
        named = {"meter": pair[0], "offset": pair[1]}
        offsets[take_identifier(named, "meter")] = take_integer(named, "offset", -OFFSET_MS_MAX, OFFSET_MS_MAX)
    taken = take_integer(head, "taken_at", AT_MS_MIN, AT_MS_MAX) if "taken_at" in head else None
    return Clocks(taken, offsets)


def _groups(channels: Iterable[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    codes: dict[str, list[str]] = {}
    for meter, code in sorted(channels):
        codes.setdefault(meter, []).append(code)
    groups: dict[tuple[str, ...], list[str]] = {}
    for meter, own in codes.items():
        groups.setdefault(tuple(own), []).append(meter)
    return [(meters, list(own)) for own, meters in groups.items()]


def _differences(column: Iterable[int]) -> list[int]:
    found, before = [], 0
    for now in column:
        found.append(now - before)
        before = now
    return found


def _steps(channels: Sequence[Rows], column: int) -> list[int]:
    return [
        after[column] - before[column]
        for rows in channels
        if len(rows) > 1
        for before, after in zip(rows, islice(rows, 1, None), strict=False)
    ]


def _put(parts: list[bytes], column: Sequence[int]) -> None:
    """Append the planes of ``column``, the octet with their number at the end of what is there already."""
    folded = array("Q", [2 * each if each >= 0 else -2 * each - 1 for each in column])
    planes = (max(folded, default=0).bit_length() + 7) // 8
    parts[-1] += bytes([planes])
    octets = _little(folded).tobytes()
    parts += [octets[plane::8] for plane in range(planes)]


def _little(column: array[int]) -> array[int]:
    if array("H", [1]).tobytes() != b"\x01\x00":
        column.byteswap()
    return column


def _pack(parts: Sequence[bytes]) -> bytes:
    """Return one zstd frame of ``parts``, the larger ones in blocks of their own; or no frame if that is shorter."""
    size = sum(map(len, parts))
    text = b"".join(parts)
    if size <= COMPRESS_FROM_OCTETS:
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(text)
        return packed if len(packed) < size else text
    stream = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=size)
    packed = b""
    for part in parts:
        packed += stream.compress(part)
        if len(part) >= BLOCK_OCTETS_MIN:
            packed += stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return packed + stream.flush()


class _Reader:
    """Takes columns from the front of the octets."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, length: int) -> list[int]:
        """Return the next column, ``length`` integers."""
        if self._at >= len(self._octets):
            raise RemoteProtocolError("columns: cut short")
        planes = self._octets[self._at]
        end = self._at + 1 + planes * length
        if planes > PLANES_MAX or end > len(self._octets):
            raise RemoteProtocolError("columns: cut short, or more than 8 planes")
        if not planes:
            self._at = end
            return [0] * length
        folded = bytearray(8 * length)
        for plane in range(planes):
            begin = self._at + 1 + plane * length
            folded[plane::8] = self._octets[begin : begin + length]
        self._at = end
        column = array("Q")
        column.frombytes(folded)
        return [-(each >> 1) - 1 if each & 1 else each >> 1 for each in _little(column)]

    def finish(self) -> None:
        """Refuse octets that are left."""
        if self._at != len(self._octets):
            raise RemoteProtocolError(f"columns: {len(self._octets) - self._at} octets too many")


def _undo(counts: Sequence[int], firsts: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return a column from its differences; :func:`_check` finds what leaves its bounds, as no sum wraps here."""
    if not steps:
        return list(accumulate(firsts))
    column: list[int] = []
    used = 0
    for count, first in zip(counts, accumulate(firsts), strict=True):
        column += accumulate(steps[used : used + count - 1], initial=first)
        used += count - 1
    return column


def _check(column: Sequence[int], lowest: int, highest: int, name: str) -> None:
    if min(column) < lowest or max(column) > highest:
        raise RemoteProtocolError(f"{name}: a value lies outside {lowest} to {highest}")
