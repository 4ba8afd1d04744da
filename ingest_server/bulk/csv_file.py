"""Readings as CSV (RFC 4180), one a row; all that a reading holds comes back as it was.

::

    meter,obis,at,value,quality
    M-0001,1.0.1.8.0,2025-09-30T17:00:00Z,1204331,ACTUAL
    M-0001,1.0.1.8.0,2025-09-30T17:30:00Z,1204539,MANUAL+CLOCK_UNCERTAIN

``at`` has its offset from UTC; ``value`` is an integer in the base unit of the OBIS code (Wh); ``quality`` is ACTUAL or
names of :class:`~protocols.telemetry.reading.Quality` joined by ``+``.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import TextIO

from ingest_server.bulk.row import Row, check_value, instant, instant_ms, known_meter, known_obis
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality, Reading

COLUMNS = ("meter", "obis", "at", "value", "quality")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_FLAGS = {flag.name: flag for flag in Quality if flag.name}


def read_csv(lines: Iterable[str], name: str) -> Iterator[Row]:
    """Yield the readings in ``lines``; raise :class:`UsageError` naming file, line, what is wrong and the cure."""
    reader = csv.reader(lines, strict=True)
    try:
        head = next(reader, [])
        if tuple(head) != COLUMNS:
            raise UsageError(f"found the columns {','.join(head)[:80]!r}; expected {','.join(COLUMNS)}")
        for fields in reader:
            yield _row(fields)
    except (UsageError, csv.Error) as error:
        raise UsageError(f"{name}: line {reader.line_num or 1}: {error}") from error


def write_csv(rows: Iterable[Row], out: TextIO) -> int:
    """Write the readings; return how many."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for count, (reading, _) in enumerate(rows, 1):  # noqa: B007  # the last number is the answer
        writer.writerow(_fields(reading))
    return count


def _row(fields: list[str]) -> Row:
    if len(fields) != len(COLUMNS):
        raise UsageError(f"found {len(fields)} fields; expected {len(COLUMNS)}: {','.join(COLUMNS)}")
    meter, obis, at, value, quality = fields
    if not _INTEGER.fullmatch(value):
        raise UsageError(f"value {value[:40]!r}: expected an integer in the base unit of the OBIS code, such as Wh")
    return Row(
        Reading(known_meter(meter), known_obis(obis), _at_ms(at), check_value(int(value)), _quality(quality)), None
    )


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
def _quality_text(quality: int) -> str:
    return "+".join(name for name, flag in _FLAGS.items() if quality & flag) or "ACTUAL"


def _fields(reading: Reading) -> tuple[object, ...]:
    at = instant(reading.measured_at_ms)
    text = at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond // 1000:03}" if at.microsecond else "") + "Z"
    return (reading.meter, reading.obis, text, reading.value, _quality_text(reading.quality))
