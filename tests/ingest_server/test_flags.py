"""What a file says of its readings is kept by stretch, and comes out for just the readings it was said of."""

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_server.database import connect, migrate
from ingest_server.database.migrations import load_migrations
from ingest_server.pipeline.admission import Rows
from ingest_server.pipeline.flags import DAY_MS, find_covered, find_stretches, store_flags
from ingest_server.pipeline.store import open_connection
from tests.ingest_server.stored_directly import START_MS

MINUTE_MS = 60_000
TEXTS = ("E52", "S14", "F99")
# (channel, minute) → the number of its text; minutes over three UTC days, in uneven and in even steps.
SAID = st.dictionaries(
    st.tuples(st.integers(1, 3), st.integers(0, 200).map(lambda number: number * 20)), st.integers(1, 3), max_size=80
)


def rows_of(keys) -> Rows:
    channel, minute = np.array([*keys], np.int64).reshape(-1, 2).T
    return Rows(
        channel.astype(np.int32),
        START_MS + minute * MINUTE_MS,
        np.zeros(len(channel), np.int64),
        np.zeros(len(channel), np.int16),
    )


@given(SAID.filter(bool), st.randoms(use_true_random=False))
def test_stretches_hold_each_reading_with_its_flag_and_no_other(said, chance):
    keys = list(said)
    chance.shuffle(keys)
    found = find_stretches(rows_of(keys), np.array([said[key] for key in keys], np.int32))
    held = []
    columns = (found.channel_id, found.first_ms, found.last_ms, found.step_ms, found.number)
    for channel, first, last, step, number in zip(*(each.tolist() for each in columns), strict=True):
        assert first // DAY_MS == last // DAY_MS
        times = range(first, last + 1, step) if step else (first,)
        held += [((channel, (at - START_MS) // MINUTE_MS), number) for at in times]
    assert len(held) == len(said)
    assert dict(held) == said


def test_a_day_of_estimates_is_one_stretch():
    found = find_stretches(rows_of((1, 420 + 30 * step) for step in range(48)), np.ones(48, np.int32))
    assert len(found.number) == 1
    assert found.step_ms.tolist() == [30 * MINUTE_MS]


@given(SAID, SAID)
def test_covered_is_what_lies_on_a_stretch(said, asked):
    stretches = []
    if said:
        found = find_stretches(rows_of(said), np.array([*said.values()], np.int32))
        stretches = [
            *zip(
                *(getattr(found, each).tolist() for each in ("channel_id", "first_ms", "last_ms", "step_ms")),
                strict=True,
            )
        ]
    assert find_covered(rows_of(asked), stretches).tolist() == [key in said for key in asked]


@pytest.fixture(scope="module")
def migrated(module_database):
    migrate(module_database)
    return module_database


@pytest.mark.integration
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAID, SAID)
def test_what_was_said_first_stands_and_each_reading_finds_its_own(migrated, first, then):
    async def store_both() -> None:
        async with await open_connection(migrated) as connection, connection.cursor() as cursor:
            await cursor.execute("truncate reading_flag")
            for said in (first, then):
                await store_flags(cursor, rows_of(said), np.array([*said.values()], np.int32), TEXTS)

    asyncio.run(store_both())
    expected = then | first
    with connect(migrated) as connection:
        for channel, minute in [*expected, (1, 7), (2, 30), (3, 4010)]:
            at_ms = START_MS + minute * MINUTE_MS
            (found,) = connection.execute(
                "select reading_flag_of(%s, to_timestamp(%s / 1000.0))", [channel, at_ms]
            ).fetchone()
            number = expected.get((channel, minute))
            assert found == (TEXTS[number - 1] if number else None)


@pytest.mark.integration
def test_flags_of_single_readings_are_still_found_after_the_migration(database):
    known = load_migrations()
    migrate(database, [each for each in known if each.version < 21])
    with connect(database) as connection:
        connection.execute(
            "insert into reading_flag values (1, '2025-10-01 00:30Z', 'E52'), (1, '2025-10-01 01:00Z', 'S14')"
        )
    migrate(database)
    times = "{2025-10-01 00:30Z,2025-10-01 01:00Z,2025-10-01 01:30Z}"
    select = f"select reading_flag_of(1, at) from unnest('{times}'::timestamptz[]) at"
    with connect(database) as connection:
        assert [flag for (flag,) in connection.execute(select)] == ["E52", "S14", None]
