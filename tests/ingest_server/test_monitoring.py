"""Completeness that is looked at all the time, for the metrics."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.database import connect, migrate
from ingest_server.database.completeness import add_up, channel_days
from ingest_server.pipeline.counts import Counts
from ingest_server.pipeline.metrics import Snapshot, parse_metrics, render_metrics
from ingest_server.pipeline.monitoring import EVERY_S, Share, pause_s, shares
from ingest_server.registry import load_registry
from ingest_server.top import make_table
from protocols.telemetry.reading import Reading
from tests.ingest_server.stored_directly import HALF_HOUR_MS, START_MS, message, registry, store_transactions

NOW = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=1, hours=6)  # the second day's sixth hour has ended
FEEDER = '471-"E1"'


def test_expected_and_found_readings_are_metrics_whatever_a_feeder_is_called():
    some = [Share("all", "", "today", 10, 7), Share("feeder", 'a"b\\c\nd', "yesterday", 4, 4)]
    text = render_metrics(Snapshot(Counts(), True, True, 0, 0, False, 0.0, shares=some))
    assert 'expected_readings{by="feeder",name="a\\"b\\\\c\\nd",day="yesterday"} 4\n' in text
    now = parse_metrics(text)
    assert now['found_readings{by="all",name="",day="today"}'] == 7
    assert any("of today's readings there" in str(cell) for cell in make_table(now, now, 1.0, []).columns[0].cells)


@given(st.floats(0, 1e5))
def test_looking_takes_a_twentieth_of_the_time_at_most(took_s):
    assert pause_s(took_s) >= max(EVERY_S, 20 * took_s)


@pytest.mark.integration
def test_shares_are_what_the_command_counts_by_gateway_and_feeder_and_together(database):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 2) + registry("g2", 1), "test.toml")
        connection.execute("update meter set registered_at = %s", [NOW - timedelta(days=9)])
        connection.execute("update meter set feeder = %s where meter_id = 'g1-M1'", [FEEDER])
    slots = [*range(40), 50, 52]
    readings = [Reading("g1-M1", "1.0.1.8.0", START_MS + slot * HALF_HOUR_MS, slot, 0) for slot in slots]
    store_transactions(database, [[message("g1", 1, readings)]])

    async def look():
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            return await shares(connection, NOW)

    found = {(each.by, each.name, each.day): (each.expected, each.found) for each in asyncio.run(look())}
    with connect(database) as connection:
        rows = {
            day: channel_days(
                connection, (on := (NOW + timedelta(hours=7)).date() - timedelta(days=ago)), on, None, NOW
            )
            for ago, day in enumerate(("today", "yesterday"))
        }
    wanted = {
        (by, "" if each.name == "none named" else each.name, day): (each.expected, each.found)
        for day, those in rows.items()
        for by in ("gateway", "feeder")
        for each in add_up(those, by)
    }
    assert found.pop(("all", "", "yesterday")) == (6 * 48, 40)
    assert found.pop(("all", "", "today")) == (6 * 12, 2)
    assert found == wanted
    assert found["feeder", FEEDER, "yesterday"] == (2 * 48, 40)
