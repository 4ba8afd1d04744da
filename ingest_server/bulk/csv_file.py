"""Readings as CSV (RFC 4180), one a row; all that a reading holds comes back as it was.

::

    meter,obis,at,value,quality
    M-0001,1.0.1.8.0,2025-09-30T17:00:00Z,1204331,ACTUAL
    M-0001,1.0.1.8.0,2025-09-30T17:30:00Z,1204539,MANUAL+CLOCK_UNCERTAIN

``at`` has its offset from UTC; ``value`` is an integer in the base unit of the OBIS code (Wh); ``quality`` is ACTUAL or
names of :class:`~protocols.telemetry.reading.Quality` joined by ``+``.

A file is read by blocks of lines, which NumPy takes apart (:mod:`.csv_block`). In any doubt, such as quotes, the
line is read by itself, strictly; what is no reading then is a bad line, told with its number, and the others stand.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import BinaryIO, TextIO

import numpy as np

from ingest_server.bulk.csv_block import Block, parse_block
from ingest_server.bulk.part import BadLine, ChannelNumbers, Part
from ingest_server.bulk.row import Row, check_value, counts_up, instant, instant_ms, known_meter, known_obis
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality, Reading

COLUMNS = ("meter", "obis", "at", "value", "quality")
BLOCK_OCTETS = 4 << 20  # some 80,000 readings
LINE_OCTETS_MAX = 4096  # a reading takes some hundred
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_FLAGS = {flag.name: flag for flag in Quality if flag.name}


def read_csv(file: BinaryIO, name: str, tell: Callable[[int], None] = lambda _: None) -> Iterator[Part]:
    """Yield the readings in ``file``; ``tell`` is told how many octets of it more have been read.

    Raises :class:`UsageError` naming file, line, what is wrong and the cure if it is no such file at all.
    """
    head = file.readline(LINE_OCTETS_MAX)
    found = head.decode(errors="replace").removeprefix("\ufeff").strip("\r\n")
    if tuple(next(csv.reader([found]), [])) != COLUMNS:
        raise UsageError(f"{name}: line 1: found the columns {found[:80]!r}; expected {','.join(COLUMNS)}")
    tell(len(head))
    number, rest, names = 2, b"", Names()
    while block := file.read(BLOCK_OCTETS):
        tell(len(block))
        whole, line_end, rest = (rest + block).rpartition(b"\n")
        if len(rest) > LINE_OCTETS_MAX:
            raise UsageError(f"{name}: {len(rest)} octets without a line end; a line has at most {LINE_OCTETS_MAX}")
        if line_end:  # an empty line is one as well
            yield names.part(whole + b"\n", number)
            number += whole.count(b"\n") + 1
    if rest:
        yield names.part(rest + b"\n", number)


class Names:
    """Reads blocks of one file; knows the names that were met in it."""

    def __init__(self) -> None:
        self._numbers = ChannelNumbers()
        self._known: dict[bytes, int] = {}  # by meter and OBIS code as they stand in the file

    def part(self, lines: bytes, first: int) -> Part:
        """Return the readings in ``lines``, of which the first has the number ``first``."""
        if self._numbers.begin_part():
            self._known.clear()
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n")
        block = parse_block(lines, self._channel, lambda text: _quality(text.decode(errors="replace")))
        (negative,) = np.nonzero(block.plain & (block.value < 0))
        for place in negative.tolist():
            block.plain[place] = not counts_up(self._numbers.channels[block.channel[place]][1])
        bad = self._mend(lines, block, first)
        channels, good = self._numbers.channels, block.plain
        if good.all():
            return Part(channels, block.channel, block.at_ms, block.value, block.quality)
        return Part(channels, block.channel[good], block.at_ms[good], block.value[good], block.quality[good], bad=bad)

    def _mend(self, lines: bytes, block: Block, first: int) -> list[BadLine]:
        """Read the lines that are not plain one by one into the block; return those that hold no reading."""
        bad: list[BadLine] = []
        for place in np.flatnonzero(~block.plain).tolist():
            text = lines[block.begin[place] : block.end[place]].decode(errors="replace")
            try:
                meter, obis, *rest = read_line(text)
            except (UsageError, csv.Error) as error:
                bad.append(BadLine(place - len(bad), first + place, str(error), text))
                continue
            block.plain[place] = True
            block.channel[place] = self._numbers.number(meter, obis)
            block.at_ms[place], block.value[place], block.quality[place] = rest
        return bad

    def _channel(self, text: bytes) -> int:
        found = self._known.get(text)
        if found is None:
            meter, _, obis = text.decode(errors="replace").partition(",")
            found = self._known[text] = self._numbers.number(known_meter(meter), known_obis(obis))
        return found


def write_csv(rows: Iterable[Row], out: TextIO) -> int:
    """Write the readings; return how many."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for count, (reading, _) in enumerate(rows, 1):  # noqa: B007  # the last number is the answer
        writer.writerow(_fields(reading))
    return count


def read_line(text: str) -> Reading:
    """Return the reading in one line, which may be quoted; raise :class:`UsageError` or :class:`csv.Error`."""
    if len(text) > LINE_OCTETS_MAX:
        raise UsageError(f"{len(text)} characters; a line has at most {LINE_OCTETS_MAX}")
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    fields = found[0] if len(found) == 1 else []
    if len(fields) != len(COLUMNS):
        raise UsageError(f"found {len(fields)} fields; expected {len(COLUMNS)}: {','.join(COLUMNS)}")
    meter, obis, at, value, quality = fields
    if not _INTEGER.fullmatch(value):
        raise UsageError(f"value {value[:40]!r}: expected an integer in the base unit of the OBIS code, such as Wh")
    code = known_obis(obis)
    return Reading(known_meter(meter), code, _at_ms(at), check_value(int(value), code), _quality(quality))


@lru_cache(maxsize=4096)  # the meters of a file are mostly read at the same times
def _at_ms(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"at {text[:40]!r}: expected a time with its offset, such as 2025-10-01T00:00:00+07:00")
    return instant_ms(found)


@lru_cache(maxsize=256)
def _quality(text: str) -> int:
    if text in {"", "ACTUAL"}:
        return 0
    names = text.split("+")
    strange = [name for name in names if name not in _FLAGS]
    if strange or len(set(names)) != len(names):
        raise UsageError(f"quality {text[:60]!r}: expected ACTUAL or {', '.join(_FLAGS)}, joined by +")
    return int(sum(_FLAGS[name] for name in names))


@lru_cache(maxsize=256)
def quality_text(quality: int) -> str:
    """Return flags as a file has them, such as ``MANUAL+CLOCK_UNCERTAIN``; ``ACTUAL`` for none."""
    return "+".join(name for name, flag in _FLAGS.items() if quality & flag) or "ACTUAL"


def _fields(reading: Reading) -> tuple[object, ...]:
    at = instant(reading.measured_at_ms)
    text = at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond // 1000:03}" if at.microsecond else "") + "Z"
    return (reading.meter, reading.obis, text, reading.value, quality_text(reading.quality))
