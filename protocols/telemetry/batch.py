"""The readings message: one JSON object of columns, compressed when that pays.

::

    {"schema": "congto.readings.v1", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463", "sequence": 17,
     "channels": [["M-0001", "1.0.1.8.0"], ["M-0001", "1.0.2.8.0"]],
     "channel": [0, 0, 1],
     "at": [1759251600000, 1800000, -1800000],
     "value": [1204331, 208, -1204539],
     "quality": [0, 0, 0]}

Rows are ordered by channel, then time. ``at`` and ``value`` hold each row's difference to the row before it, the first
row's to zero, so that a column is decoded by one cumulative sum. Values lie within ±(2⁶² − 1): differences then fit
into 64 bits. A message of more than a kilobyte is compressed with zstd; the frame's magic number tells.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from operator import lt
from types import MappingProxyType
from typing import Any, NamedTuple

import zstandard

from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis
from protocols.telemetry.fields import check_schema, take_generation, take_identifier
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.sequences import SEQUENCE_MAX, Ranges
from protocols.telemetry.strict_json import parse_object
from protocols.telemetry.topics import check_identifiers

SCHEMA = "congto.readings.v1"
ROWS_MAX = 10_000  # a message of that many rows is about 60 kB; a gateway's cycle is at most some thousand rows
MESSAGE_OCTETS_MAX = 1 << 20  # the broker's message_size_limit is set to the same
TEXT_OCTETS_MAX = 4 << 20  # 10,000 rows of 20-digit columns and as many channels, with room
VALUE_MAX = (1 << 62) - 1
AT_MS_MIN = 946_684_800_000  # 2000-01-01: no meter of ours is older
AT_MS_MAX = 4_102_444_800_000  # 2100-01-01
COMPRESS_FROM_OCTETS = 1024
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
QUALITY_MAX = sum(Quality)


class Clocks(NamedTuple):
    """What the gateway knew of clocks when it took a batch: its own time, and meters' clocks less its own. [ms]"""

    taken_at_ms: int | None = None
    offsets_ms: Mapping[str, int] = MappingProxyType({})


NO_CLOCKS = Clocks()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one readings message says: four columns of one length, and the dictionary that ``channel`` points into.

    ``at_ms`` is in milliseconds since 1970 UTC, ``value`` in the base unit of the channel's OBIS code. A message of
    schema 2 may hold several batches joined: ``sequences`` are theirs, ``sequence`` is the first.
    """

    gateway: str
    generation: str
    sequence: int
    channels: tuple[tuple[str, str], ...]
    channel: array[int]
    at_ms: array[int]
    value: array[int]
    quality: array[int]
    sequences: Ranges = ()
    clocks: Clocks = NO_CLOCKS

    def __len__(self) -> int:
        return len(self.channel)

    @property
    def header(self) -> Header:
        """Whose batches these are."""
        return Header(self.gateway, self.generation, self.sequence, self.sequences)

    def readings(self) -> Iterator[Reading]:
        """Yield the rows one by one."""
        for channel, at_ms, value, quality in zip(self.channel, self.at_ms, self.value, self.quality, strict=True):
            yield Reading(*self.channels[channel], at_ms, value, quality)


@dataclass(frozen=True, slots=True)
class Header:
    """Which batch of which gateway's spool a message carries; several joined if it says ``sequences``."""

    gateway: str
    generation: str
    sequence: int
    sequences: Ranges = ()

    @property
    def settles(self) -> Ranges:
        """The sequences that are settled when the message is."""
        return self.sequences or ((self.sequence, self.sequence),)

    @property
    def spool(self) -> tuple[str, str]:
        """The gateway and the generation of its spool: sequences count within it."""
        return (self.gateway, self.generation)


def encode_batch(gateway: str, generation: str, sequence: int, readings: Sequence[Reading]) -> bytes:
    """Return the message that carries ``readings``; raise :class:`LocalProtocolError` if it can't."""
    if not 0 < len(readings) <= ROWS_MAX:
        raise LocalProtocolError(f"{len(readings)} readings: a message carries 1 to {ROWS_MAX}")
    ordered = sorted(readings)
    index: dict[tuple[str, str], int] = {}
    for reading in ordered:
        index.setdefault((reading.meter, reading.obis), len(index))
        if abs(reading.value) > VALUE_MAX:
            raise LocalProtocolError(f"{reading}: the value does not lie within ±(2⁶² − 1)")
    message = {
        "schema": SCHEMA,
        "gateway": gateway,
        "generation": generation,
        "sequence": sequence,
        "channels": list(index),
        "channel": [index[reading.meter, reading.obis] for reading in ordered],
        "at": _differences([reading.measured_at_ms for reading in ordered]),
        "value": _differences([reading.value for reading in ordered]),
        "quality": [int(reading.quality) for reading in ordered],
    }
    return compress(json.dumps(message, separators=(",", ":")).encode())


def decode_batch(payload: bytes) -> Batch:
    """Return what a readings message says.

    Raises
    ------
    RemoteProtocolError
        If anything in it breaks the contract; the whole message is then refused. Bounded in time and memory.
    """
    message = parse_object(decompress(payload))
    header = _header(message)
    channels = take_channels(message.get("channels"))
    length = len(_list(message, "channel"))
    if not 0 < length <= ROWS_MAX:
        raise RemoteProtocolError(f"{length} rows: expected 1 to {ROWS_MAX}")
    batch = Batch(
        header.gateway,
        header.generation,
        header.sequence,
        channels,
        channel=_column(message, "channel", length, 0, len(channels) - 1),
        at_ms=_column(message, "at", length, AT_MS_MIN, AT_MS_MAX, summed=True),
        value=_column(message, "value", length, -VALUE_MAX, VALUE_MAX, summed=True),
        quality=_column(message, "quality", length, 0, QUALITY_MAX),
    )
    _check_order(batch)
    return batch


def decode_header(payload: bytes) -> Header:
    """Return whose batch a readings message is, even if its columns break the contract.

    The server keeps such a message in the quarantine and can then still say so in a receipt. Raises
    :class:`RemoteProtocolError` if not even that can be told.
    """
    return _header(parse_object(decompress(payload)))


def compress(text: bytes) -> bytes:
    """Return ``text``, compressed if it is longer than a kilobyte."""
    return zstandard.ZstdCompressor(level=3).compress(text) if len(text) > COMPRESS_FROM_OCTETS else text


def decompress(payload: bytes) -> bytes:
    """Return the text of a message; raise :class:`RemoteProtocolError` if it is too long or not a zstd frame."""
    if len(payload) > MESSAGE_OCTETS_MAX:
        raise RemoteProtocolError(f"{len(payload)} octets: a message has at most {MESSAGE_OCTETS_MAX}")
    if not payload.startswith(ZSTD_MAGIC):
        return payload
    try:
        # A frame that names a large size is refused before anything is allocated for it.
        size = zstandard.frame_content_size(payload)
        if size > TEXT_OCTETS_MAX:
            raise RemoteProtocolError(f"unpacks to {size} octets: a message has at most {TEXT_OCTETS_MAX}")
        return zstandard.ZstdDecompressor(max_window_size=TEXT_OCTETS_MAX).decompress(
            payload, max_output_size=TEXT_OCTETS_MAX, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise RemoteProtocolError(f"not a whole zstd frame of at most {TEXT_OCTETS_MAX} octets: {error}") from error


def _differences(column: Sequence[int]) -> list[int]:
    return [now - before for now, before in zip(column, [0, *column[:-1]], strict=True)]


def _header(message: dict[str, Any]) -> Header:
    check_schema(message, SCHEMA)
    sequence = message.get("sequence")
    if type(sequence) is not int or not 1 <= sequence <= SEQUENCE_MAX:
        raise RemoteProtocolError(f"sequence {str(sequence)[:40]}: expected an integer from 1 to 2⁵³ − 1")
    return Header(take_identifier(message, "gateway"), take_generation(message), sequence)


def _list(message: dict[str, Any], key: str) -> list[Any]:
    found = message.get(key)
    if type(found) is not list:
        raise RemoteProtocolError(f"{key}: expected a list, found {type(found).__name__}")
    return found


def take_channels(found: Any) -> tuple[tuple[str, str], ...]:
    """Return the dictionary of channels, pairs of meter and OBIS code in its shortest form."""
    if type(found) is not list or not 0 < len(found) <= ROWS_MAX:
        raise RemoteProtocolError(f"channels: expected a list of 1 to {ROWS_MAX} pairs")
    if set(map(type, found)) != {list} or set(map(len, found)) != {2}:
        raise RemoteProtocolError("channels: expected pairs of meter and OBIS code")
    meters, codes = zip(*found, strict=True)
    if set(map(type, meters)) | set(map(type, codes)) != {str}:
        raise RemoteProtocolError("channels: expected pairs of texts, meter and OBIS code")
    try:
        check_identifiers(meters, "meter")
        canonical = {code: _canonical(code) for code in set(codes)}
    except UsageError as error:
        raise RemoteProtocolError(f"channels: {str(error)[:200]}") from error
    channels = tuple(zip(meters, map(canonical.__getitem__, codes), strict=True))
    if len(set(channels)) != len(channels):
        raise RemoteProtocolError("channels: a meter has an OBIS code twice")
    return channels


@lru_cache(maxsize=1024)  # a meter has some dozen OBIS codes, and a country's meters have the same
def _canonical(obis: str) -> str:
    return str(Obis.parse(obis))


def _column(
    message: dict[str, Any], key: str, length: int, lowest: int, highest: int, *, summed: bool = False
) -> array[int]:
    found = _list(message, key)
    if len(found) != length:
        raise RemoteProtocolError(f"{key}: {len(found)} elements, but channel has {length}")
    if set(map(type, found)) != {int}:
        raise RemoteProtocolError(f"{key}: expected integers only")
    values = list(accumulate(found)) if summed else found
    if min(values) < lowest or max(values) > highest:
        raise RemoteProtocolError(f"{key}: a value lies outside {lowest} to {highest}")
    return array("q", values)


def _check_order(batch: Batch) -> None:
    """Refuse rows out of order; that also refuses the same channel and time twice in one message."""
    rows = list(zip(batch.channel, batch.at_ms, strict=True))
    if not all(map(lt, rows, islice(rows, 1, None))):
        raise RemoteProtocolError("rows: expected ascending by channel, then time, each pair once")
