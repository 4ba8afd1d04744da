"""Chunks of readings: how long, compressed after when, kept how long.

How long a chunk is can be said in either edition; that TimescaleDB compresses and forgets by itself only where its
edition offers that (:mod:`.edition`). Compressed chunks take late readings, find what contradicts them and keep the
daily snapshot as others do. What is forgotten are readings: the registers at midnight, which bills rest on, stay.
"""

import re
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from ingest_server.database.edition import Served, served_by
from protocols.errors import UsageError

KEEP_DAYS_MIN = 400  # what `congto ingest gaps` and a correction of last year's bill look back
COMPRESS_DAYS_MIN = 2  # chunks that live readings go into are not compressed
# An entry of the key with its values is 44 octets (PostgreSQL, "Database Page Layout": item pointer 4, header 8,
# columns aligned to 32); filled in an order of chance its pages are 0.7 full (measured: docs/decisions/0012).
KEY_OCTETS = 65
LENGTHS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 72, 168))
UNITS = {"h": "hours", "d": "days", "y": "years"}
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdy])", re.ASCII)
DAYS_OF = {"h": 1 / 24, "d": 1, "y": 365}

SELECT_SHAPE = """
    select d.time_interval, h.compression_enabled
    from timescaledb_information.dimensions d
    join timescaledb_information.hypertables h using (hypertable_schema, hypertable_name)
    where hypertable_name = 'reading'
"""
SELECT_POLICIES = """
    select config ->> 'compress_after', config ->> 'drop_after'
    from timescaledb_information.jobs
    where hypertable_name = 'reading' and proc_name in ('policy_compression', 'policy_retention')
"""
SELECT_CHUNKS = """
    select count(*), count(*) filter (where is_compressed) from timescaledb_information.chunks
    where hypertable_name = 'reading'
"""
SELECT_OCTETS = "select coalesce(hypertable_size('reading'), 0)"
SELECT_EXPECTED = """
    select coalesce(sum(1440 / interval_min), 0), pg_size_bytes(current_setting('effective_cache_size'))
    from channel join meter using (meter_id)
"""
SET_LENGTH = "select set_chunk_time_interval('reading', %s::interval)"
# A segment a channel: its readings lie side by side, and a late one opens that segment alone. Chunks of a day are
# joined to a week when they are compressed: a segment of 336 readings packs better than one of 48.
ENABLE = """
    alter table reading set (timescaledb.enable_columnstore, timescaledb.segmentby = 'channel_id',
        timescaledb.orderby = 'measured_at', timescaledb.compress_chunk_time_interval = '7 days')
"""
REMOVE_COMPRESSION = "call remove_columnstore_policy('reading', if_exists => true)"
ADD_COMPRESSION = "call add_columnstore_policy('reading', after => {}::interval)"
REMOVE_RETENTION = "select remove_retention_policy('reading', if_exists => true)"
ADD_RETENTION = "select add_retention_policy('reading', drop_after => {}::interval)"
SELECT_COMPRESSED = """
    select format('%I.%I', chunk_schema, chunk_name) from timescaledb_information.chunks
    where hypertable_name = 'reading' and is_compressed order by range_start
"""
DECOMPRESS = "call convert_to_rowstore({}::regclass)"
DISABLE = "alter table reading set (timescaledb.enable_columnstore = false)"


class Span(NamedTuple):
    """A length of time as a person writes it: ``14d``, ``5y``, ``12h``."""

    number: int
    unit: str

    @property
    def days(self) -> float:
        """About how many days."""
        return self.number * DAYS_OF[self.unit]

    @property
    def interval(self) -> str:
        """As PostgreSQL says it."""
        return f"{self.number} {UNITS[self.unit]}"


class Standing(NamedTuple):
    """How the readings lie."""

    served: Served
    length: timedelta
    fitting: timedelta
    readings_a_day: int
    memory_octets: int
    chunks: int
    compressed: int
    octets: int
    compress_after: str | None
    keep: str | None


def parse_span(text: str) -> Span:
    """Return the span written in ``text``; raise :class:`ValueError` if it is none."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no span of time; write it as 14d, 5y or 12h")
    return Span(int(match[1]), match[2])


def fitting_length(readings_a_day: int, memory_octets: int) -> timedelta:
    """Return the longest of :data:`LENGTHS` that a chunk may have so that its key takes a quarter of the memory.

    Readings come in any order of channels, so each goes to another page of the open chunk's key: pages that are not in
    memory are read and written once a reading. A chunk of readings a week apart from the next is one index more for
    each query, so no shorter than needed. A day, if nothing is known.
    """
    if not readings_a_day:
        return timedelta(days=1)
    fitting = [
        each for each in LENGTHS if readings_a_day * KEY_OCTETS * (each / timedelta(days=1)) <= memory_octets / 4
    ]
    return max(fitting, default=LENGTHS[0])


def check(compress_after: Span | None, keep: Span | None) -> None:
    """Raise :class:`UsageError` if readings would be forgotten too early, or compressed while they are coming."""
    if compress_after is not None and compress_after.days < COMPRESS_DAYS_MIN:
        raise UsageError(
            f"--compress-after: expected {COMPRESS_DAYS_MIN}d or more; live readings go into younger chunks"
        )
    if keep is not None and keep.days < KEEP_DAYS_MIN:
        raise UsageError(f"--keep: expected {KEEP_DAYS_MIN}d or more, which corrections of bills may still need")
    if compress_after is not None and keep is not None and keep.days <= compress_after.days:
        raise UsageError("--keep: expected more than --compress-after; else nothing is ever compressed")


def standing(connection: psycopg.Connection[Any]) -> Standing:
    """Return how the readings lie; raise :class:`UsageError` if there is no schema."""
    served = served_by(connection)
    length = _shape(connection)[0]
    expected, memory = map(int, _one(connection, SELECT_EXPECTED))
    chunks, compressed = _one(connection, SELECT_CHUNKS)
    (octets,) = _one(connection, SELECT_OCTETS)
    found = connection.execute(SELECT_POLICIES).fetchall()
    return Standing(
        served=served,
        length=length,
        fitting=fitting_length(expected, memory),
        readings_a_day=expected,
        memory_octets=memory,
        chunks=chunks,
        compressed=compressed,
        octets=int(octets),
        compress_after=next((row[0] for row in found if row[0] is not None), None),
        keep=next((row[1] for row in found if row[1] is not None), None),
    )


def set_length(connection: psycopg.Connection[Any], length: timedelta) -> None:
    """Let chunks that are made from now on be so long."""
    connection.execute(SET_LENGTH, [length])


def set_compression(connection: psycopg.Connection[Any], after: Span | None) -> None:
    """Have chunks compressed by themselves once they are ``after`` old, or no more; those that are stay so."""
    if after is None:
        connection.execute(REMOVE_COMPRESSION)
        return
    if not _shape(connection)[1]:
        connection.execute(ENABLE)
    connection.execute(REMOVE_COMPRESSION)
    connection.execute(sql.SQL(ADD_COMPRESSION).format(sql.Literal(after.interval)))


def set_retention(connection: psycopg.Connection[Any], keep: Span | None) -> None:
    """Have readings older than ``keep`` removed by themselves, or none any more."""
    connection.execute(REMOVE_RETENTION)
    if keep is not None:
        connection.execute(sql.SQL(ADD_RETENTION).format(sql.Literal(keep.interval)))


def decompress(connection: psycopg.Connection[Any]) -> int:
    """Make every compressed chunk one that either edition reads, each in a transaction; return how many there were.

    May be killed and run again.
    """
    chunks = [name for (name,) in connection.execute(SELECT_COMPRESSED)]
    for name in chunks:
        connection.execute(sql.SQL(DECOMPRESS).format(sql.Literal(name)))
        connection.commit()
    if _shape(connection)[1]:
        connection.execute(DISABLE)
        connection.commit()
    return len(chunks)


def _shape(connection: psycopg.Connection[Any]) -> tuple[timedelta, bool]:
    row = connection.execute(SELECT_SHAPE).fetchone()
    if row is None:
        raise UsageError("database: has no table of readings; run `congto ingest migrate`")
    return row[0], row[1]


def _one(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None, "an aggregate gives a row"
    return tuple(row)
