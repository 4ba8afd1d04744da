"""Rows that may be stored already: compared by NumPy as a plain loop would, and whoever else stores them meanwhile."""

import asyncio

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.admission import Admission, Rows
from ingest_server.pipeline.compare import compare, order
from ingest_server.pipeline.store import open_connection
from ingest_server.pipeline.suspects import Stored, store_carefully, store_compared
from ingest_server.registry import load_registry
from protocols.telemetry.batch import Header
from protocols.telemetry.reading import Reading
from tests.ingest_server.processes import DEADLINE_S
from tests.ingest_server.stored_directly import (
    GENERATION,
    HALF_HOUR_MS,
    START_MS,
    message,
    registry,
    store_transactions,
)

KEYS = st.tuples(st.integers(1, 4), st.integers(0, 3))
MESSAGES = st.lists(st.lists(st.tuples(KEYS, st.integers(0, 2)), min_size=1, max_size=8), min_size=1, max_size=5)


def columns(rows):
    return Rows(
        np.array([key[0] for key, _ in rows], np.int32),
        np.array([key[1] for key, _ in rows], np.int64),
        np.array([value for _, value in rows], np.int64),
        np.zeros(len(rows), np.int16),
    )


def listed(staged):
    rows = staged.rows
    return sorted(zip(rows.channel_id.tolist(), rows.at_ms.tolist(), rows.value.tolist(), strict=True))


@given(MESSAGES, st.dictionaries(KEYS, st.integers(0, 2)))
def test_rows_are_new_there_already_or_in_conflict(messages, stored):
    staged = order([(columns(rows), number) for number, rows in enumerate(messages, 1)])
    keys = list(zip(staged.rows.channel_id.tolist(), staged.rows.at_ms.tolist(), strict=True))
    place = [at for at, key in enumerate(keys) if key in stored]
    found = compare(staged, np.array(place, np.int64), np.array([stored[keys[at]] for at in place], np.int64))
    stands, new, conflicts, duplicates = dict(stored), [], [], 0
    for key, value in (row for rows in messages for row in rows):
        if key not in stands:
            stands[key] = value
            new.append((*key, value))
        elif stands[key] != value:
            conflicts.append((*key, value))
        else:
            duplicates += 1
    assert (listed(found.new), listed(found.conflicts), found.duplicates) == (
        sorted(new),
        sorted(conflicts),
        duplicates,
    )


@pytest.fixture
def dsn(database):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
    return database


def rows_of(dsn, table):
    with connect(dsn) as connection:
        return sorted(connection.execute(f"select channel_id, measured_at, value, quality from {table}").fetchall())


@pytest.mark.integration
def test_the_careful_way_does_what_the_fast_one_does(dsn):
    parts = [
        [((1, 0), 5), ((1, 1), 5), ((1, 2), 5)],
        [((1, 1), 5), ((1, 2), 6), ((1, 3), 7)],
        [((1, 2), 6), ((1, 2), 8), ((1, 0), 5)],
    ]
    seen = []

    async def store_all(way):
        async with await open_connection(dsn) as connection:
            for rows in parts:
                admission = Admission(Header("g1", GENERATION, 1), columns(rows))
                async with connection.transaction(), connection.cursor() as cursor:
                    seen.append(await way(cursor, [(admission, 1)]))

    results = []
    for way in (store_compared, store_carefully):
        seen.clear()
        asyncio.run(store_all(way))
        results.append((list(seen), rows_of(dsn, "reading"), rows_of(dsn, "reading_conflict")))
        with connect(dsn) as connection:
            connection.execute("truncate reading, reading_conflict")
    assert results[0] == results[1]
    assert results[0][0] == [Stored(3, 0, 0), Stored(1, 1, 1), Stored(0, 2, 1)]


@pytest.mark.integration
def test_a_row_that_somebody_stores_between_the_look_and_the_copy_is_compared_as_well(dsn):
    """The other transaction holds the row until we wait for it."""
    reading = Reading("g1-M0", "1.0.1.8.0", START_MS, 7)
    other = psycopg.connect(dsn)
    (channel,) = other.execute("select channel_id from channel where obis = '1.0.1.8.0'").fetchone()
    store_transactions(dsn, [[message("g1", 1, [reading._replace(measured_at_ms=START_MS + HALF_HOUR_MS)])]])
    insert = "insert into reading values (%s, to_timestamp(%s), 8, 0)"
    other.execute(insert, [channel, START_MS // 1000])
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    async def store_meanwhile():
        suspect = message("g1", 1, [reading])  # a sequence that was there before
        storing = asyncio.create_task(asyncio.to_thread(store_transactions, dsn, [[suspect]]))
        with psycopg.connect(dsn, autocommit=True) as watching:
            seen = await asyncio.to_thread(wait_until, lambda: watching.execute(waits).fetchone() == (1,), DEADLINE_S)
        other.commit()
        await storing
        return seen

    assert asyncio.run(store_meanwhile())
    other.close()
    assert [row[2] for row in rows_of(dsn, "reading")] == [8, 7]
    assert [row[2] for row in rows_of(dsn, "reading_conflict")] == [7]
