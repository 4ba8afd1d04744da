"""A month of half hours in the store, channels arriving in random order, and the registry that they hang on.

The bulk of it is put in without key and triggers and gets its key afterwards, which takes a third of the time and
leaves the same rows in the same places of the heap; the chunk that is open when measuring begins is filled row by row
as ingest fills it, so its index is as random arrival leaves it.
"""

import multiprocessing
import time
from collections.abc import Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray

from ingest_server.database import connect
from ingest_server.database.copy import HEADER, TRAILER, encode_readings
from tests.bench._ingest_world import COPY_READINGS, HALF_HOUR_MS, START_MS

DAYS = 31  # October 2025 in Vietnam
STEPS = 48 * DAYS
OPEN_STEPS = 34  # half hours of the last chunk, which begins at midnight UTC
BOOK_POINTS = 1000
A_TRANSACTION = 50_000  # rows, as many as the pipeline takes
LOADERS = 2

REGISTER = """
    insert into gateway (gateway_id) select 'g' || n from generate_series(0, %(channels)s / 1000) n;
    insert into meter (meter_id, gateway_id, model)
    select 'M' || lpad(n::text, 7, '0'), 'g' || n / 1000, 'eastron_sdm120' from generate_series(1, %(channels)s) n;
    insert into channel (meter_id, obis, unit)
    select 'M' || lpad(n::text, 7, '0'), '1.0.1.8.0', 'Wh' from generate_series(1, %(channels)s) n order by n;
    insert into reading_book (book_id, unit, reading_day)
    select 'B' || n, 'PB0101', 1 from generate_series(0, %(channels)s / %(points)s) n;
    insert into customer (customer_id, name)
    select 'PB0101' || lpad(n::text, 7, '0'), 'customer ' || n from generate_series(1, %(channels)s) n;
    insert into metering_point (metering_point_id, customer_id, book_id)
    select 'PB0101' || lpad(n::text, 7, '0') || '001', 'PB0101' || lpad(n::text, 7, '0'), 'B' || n / %(points)s
    from generate_series(1, %(channels)s) n;
    insert into installation (metering_point_id, meter_id, installed_at)
    select 'PB0101' || lpad(n::text, 7, '0') || '001', 'M' || lpad(n::text, 7, '0'), '2025-01-01'
    from generate_series(1, %(channels)s) n;
    insert into contract (metering_point_id, valid_from, category)
    select 'PB0101' || lpad(n::text, 7, '0') || '001', '2025-01-01', 'residential'
    from generate_series(1, %(channels)s) n;
"""
WITHOUT_TRIGGERS = "set session_replication_role = replica"
DROP_KEY = "alter table reading drop constraint reading_pkey"
SELECT_KEY = (
    "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'reading'::regclass and contype = 'p'"
)
INSERT_DAILY = """
    insert into daily_register (channel_id, taken_on, value, quality)
    select n, date '2025-10-01' + day, n * 1000::bigint + 48 * day, 0
    from generate_series(0, %(days)s) day, generate_series(1, %(channels)s) n
"""
ANALYZE = "vacuum (analyze) reading, daily_register"


def register(dsn: str, channels: int) -> None:
    """Register meters of one channel each, numbered from 1, with customers and reading books."""
    with psycopg.ClientCursor(connect(dsn)) as cursor:
        cursor.execute(REGISTER, {"channels": channels, "points": BOOK_POINTS})
        cursor.execute("analyze")
        cursor.connection.commit()
        cursor.connection.close()


def half_hour(channels: int, step: int) -> list[bytes]:
    """Return the readings of a half hour in an order of chance, as the COPY of each transaction."""
    order: NDArray[np.int32] = np.random.default_rng(step).permutation(channels).astype(np.int32) + 1
    made = []
    for first in range(0, channels, A_TRANSACTION):
        chosen = order[first : first + A_TRANSACTION]
        at_ms = np.full(len(chosen), START_MS + step * HALF_HOUR_MS)
        rows = encode_readings(chosen, at_ms, chosen.astype(np.int64) * 1000 + step, np.zeros(len(chosen), np.int16))
        made.append(HEADER + rows + TRAILER)
    return made


def copy(connection: psycopg.Connection[tuple[object, ...]], parts: Sequence[bytes]) -> float:
    """Store each part in a transaction of its own; return the seconds that took."""
    started = time.perf_counter()
    for part in parts:
        with connection.cursor() as cursor, cursor.copy(COPY_READINGS) as stream:
            stream.write(part)
        connection.commit()
    return time.perf_counter() - started


def fill(dsn: str, channels: int) -> None:
    """Store a month of readings of ``channels`` channels, and the registers at its midnights."""
    with connect(dsn) as connection:
        (key,) = connection.execute(SELECT_KEY).fetchone() or ("",)
        connection.execute(DROP_KEY)
    closed = STEPS - OPEN_STEPS
    fork = multiprocessing.get_context("fork")
    loaders = [
        fork.Process(target=_load, args=(dsn, channels, range(first, closed, LOADERS))) for first in range(LOADERS)
    ]
    for each in loaders:
        each.start()
    for each in loaders:
        each.join()
        assert each.exitcode == 0, "a loader failed"
    with connect(dsn) as connection:
        connection.execute("set local maintenance_work_mem = '1GB'")
        connection.execute(f"alter table reading add {key}".encode())
        connection.execute(WITHOUT_TRIGGERS)
        connection.execute(INSERT_DAILY, {"days": DAYS, "channels": channels})
        connection.commit()
        for step in range(closed, STEPS):
            copy(connection, half_hour(channels, step))
        connection.autocommit = True
        connection.execute(ANALYZE)


def _load(dsn: str, channels: int, steps: range) -> None:
    with connect(dsn) as connection:
        connection.execute(WITHOUT_TRIGGERS)
        connection.execute("set synchronous_commit = off")
        connection.commit()
        for step in steps:
            copy(connection, half_hour(channels, step))
