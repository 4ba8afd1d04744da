"""The store with much in it: COPY against an empty table, and the three questions that everybody asks.

How many rows: $CONGTO_BENCH_STORE_ROWS, 15 million if it is not set. The figures of 200 million are in
docs/campaigns/store.md.
"""

import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg import conninfo, sql

from deploy.runtime.lifecycle import Running
from ingest_server.api.queries import SELECT_READINGS
from ingest_server.billing.period import Period
from ingest_server.database import connect, migrate
from ingest_server.database.binary_rows import Field, fetch_columns
from tests.bench import _ingest_world as ingest_world
from tests.bench import _store_world as world

ROWS_VARIABLE = "CONGTO_BENCH_STORE_ROWS"
ROWS_DEFAULT = 10_000 * world.STEPS
NEW_STEPS = 20  # half hours that arrive while it is measured
QUESTIONS = 30
DAILY_CHANNELS = 10_000
OCTOBER = Period(date(2025, 10, 1), date(2025, 10, 31))
EMPTY = "store_empty"
SELECT_DAILY = """
    select channel_id, used_on - date '2000-01-01', energy from daily_energy
    where used_on between %(first)s and %(last)s and channel_id = any (%(channels)s) and energy is not null
"""
SELECT_OCTETS = (
    "select sum(table_bytes + coalesce(toast_bytes, 0)), sum(index_bytes) from chunks_detailed_size('reading')"
)
SELECT_BOOK = """
    select channel_id::bigint, b.value, e.value
    from metering_point
    join installation i using (metering_point_id)
    join channel c using (meter_id)
    join daily_register b using (channel_id)
    join daily_register e using (channel_id)
    where book_id = %(book)s and i.installed_at < %(end_at)s and (removed_at is null or removed_at > %(start_at)s)
      and b.taken_on = %(first_on)s and e.taken_on = %(next_on)s
"""


def measure() -> list[dict[str, Any]]:
    """Return the figures of the store."""
    channels = max(1000, int(os.environ.get(ROWS_VARIABLE, ROWS_DEFAULT)) // world.STEPS)
    with ingest_world.bare_servers() as servers:
        empty = _empty_database(servers)
        for dsn in (empty, servers.dsn):
            migrate(dsn)
            world.register(dsn, channels)
        world.fill(servers.dsn, channels)
        return rows_of(servers.dsn, empty, channels)


def rows_of(dsn: str, empty: str, channels: int) -> list[dict[str, Any]]:
    """Return the figures of the filled database, copying beside it into the empty one."""
    stored = f"{channels * world.STEPS / 1e6:.0f} million rows"
    heap, index = _octets(dsn)
    each = channels * world.STEPS
    full_rate, empty_rate = _copy_rates(dsn, empty, channels)
    asked = min(channels, DAILY_CHANNELS)
    rng = np.random.default_rng(0)
    with connect(dsn) as connection:
        month_ms = _best_ms(lambda: _month(connection, int(rng.integers(1, channels + 1))))
        day_ms = _best_ms(lambda: _daily(connection, asked, 1))
        days_ms = _best_ms(lambda: _daily(connection, asked, world.DAYS))
        book_ms = _best_ms(lambda: _book(connection, int(rng.integers(0, channels // world.BOOK_POINTS))))
    row, ratio = ingest_world.row, full_rate / empty_rate
    return [
        row("store: COPY into the empty table, channels by chance", empty_rate, "readings/s", "reference", met=True),
        row(f"store: the same beside {stored} ÷ empty", ratio, "ratio", "≥ 0.60", met=ratio >= 0.6),
        row(f"store: a meter's month from {stored}", month_ms, "ms", "≤ 10", met=month_ms <= 10),
        row(f"store: a day's energy of {asked:,} meters", day_ms, "ms", "≤ 1,000", met=day_ms <= 1000),
        row("store: each day's energy of their month", days_ms, "ms", "reference", met=True),
        row("store: a reading book's billing registers", book_ms, "ms", "≤ 1,000", met=book_ms <= 1000),
        row("store: a reading on disk, its row", heap / each, "octets", "stated", met=True),
        row("store: a reading on disk, its key with values", index / each, "octets", "stated", met=True),
    ]


def _empty_database(servers: Running) -> str:
    with psycopg.connect(servers.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(EMPTY)))
    return conninfo.make_conninfo(servers.dsn, dbname=EMPTY)


def _octets(dsn: str) -> tuple[int, int]:
    with connect(dsn) as connection:
        heap, index = connection.execute(SELECT_OCTETS).fetchone() or (0, 0)
    return int(heap), int(index)


def _copy_rates(dsn: str, empty: str, channels: int) -> tuple[float, float]:
    """Return readings a second into both, half hour by half hour in turn, so that other loads meet both alike."""
    took = {dsn: 0.0, empty: 0.0}
    with connect(dsn) as full, connect(empty) as other:
        for step in range(world.STEPS, world.STEPS + NEW_STEPS):
            parts = world.half_hour(channels, step)
            pair = [(dsn, full), (empty, other)]
            for name, connection in pair if step % 2 else reversed(pair):
                took[name] += world.copy(connection, parts)
    return channels * NEW_STEPS / took[dsn], channels * NEW_STEPS / took[empty]


def _best_ms(ask: Callable[[], int]) -> float:
    """Return how long the quickest of many took, each of something else: a busy machine only adds to its time."""
    took = []
    for _ in range(QUESTIONS):
        started = time.perf_counter()
        found = ask()
        took.append((time.perf_counter() - started) * 1000)
        assert found, "the question found nothing"
    return min(took)


def _month(connection: psycopg.Connection[Any], channel: int) -> int:
    """Ask as the API does, of another meter each time."""
    span = {"from_at": OCTOBER.start_at, "to_at": OCTOBER.end_at, "after_at": OCTOBER.start_at.replace(year=2000)}
    found = connection.execute(SELECT_READINGS, {"channel": channel, "rows_max": 10_000, **span}).fetchall()
    connection.commit()
    assert len(found) == world.STEPS, len(found)
    return len(found)


def _daily(connection: psycopg.Connection[Any], channels: int, days: int) -> int:
    span = {"first": OCTOBER.first_on, "last": date(2025, 10, days), "channels": list(range(1, channels + 1))}
    fields = {"channel": Field("i4"), "day": Field("i4"), "energy": Field("i8")}
    found = fetch_columns(connection, SELECT_DAILY, span, fields)
    connection.commit()
    assert len(found["energy"]) == channels * days, len(found["energy"])
    return len(found["energy"])


def _book(connection: psycopg.Connection[Any], number: int) -> int:
    """Ask for what the registers of a book's points said at both ends of the month."""
    span = {"book": f"B{number}", "start_at": OCTOBER.start_at, "end_at": OCTOBER.end_at}
    span |= {"first_on": OCTOBER.first_on, "next_on": OCTOBER.last_on + timedelta(days=1)}
    found = fetch_columns(connection, SELECT_BOOK, span, {name: Field("i8") for name in ("channel", "start", "end")})
    connection.commit()
    return len(found["channel"])
