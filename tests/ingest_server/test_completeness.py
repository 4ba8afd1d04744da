import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.database.completeness import add_up, channel_days, reading_gaps, sequence_gaps
from ingest_server.registry import load_registry
from protocols.errors import UsageError
from protocols.telemetry.reading import Reading
from tests.ingest_server.stored_directly import HALF_HOUR_MS, START_MS, message, registry, store_transactions

pytestmark = pytest.mark.integration

START = datetime.fromtimestamp(START_MS / 1000, UTC)
FIRST_ON, LAST_ON = date(2025, 10, 1), date(2025, 10, 2)
HALF_HOUR = timedelta(minutes=30)
SLOTS = 96
AFTER = START + timedelta(days=10)


@pytest.fixture(scope="module")
def dsn(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, registry("g1", 1, '["1.0.1.8.0"]') + registry("g2", 1, '["1.0.1.8.0"]'), "test.toml")
        connection.execute("update meter set registered_at = %s", [START - timedelta(days=5)])
    return module_database


def put(connection, slots, offset_s=0):
    connection.execute("truncate reading")
    rows = [(START + slot * HALF_HOUR + timedelta(seconds=offset_s),) for slot in sorted(slots)]
    statement = "insert into reading select channel_id, %s, 1, 0 from channel where meter_id = 'g1-M0'"
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def slots_of(gap):
    first = (gap.first_at - START) // HALF_HOUR
    assert gap.end_at - gap.first_at == gap.intervals * HALF_HOUR
    return range(first, first + gap.intervals)


@given(st.sets(st.integers(0, SLOTS - 1)), st.integers(0, 1799), st.integers(0, SLOTS * 30))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_gaps_are_exactly_the_intervals_without_a_reading(dsn, slots, offset_s, age_min):
    as_of = START + timedelta(minutes=age_min)
    ended = {slot for slot in range(SLOTS) if START + (slot + 1) * HALF_HOUR <= as_of}
    with connect(dsn) as connection:
        put(connection, slots, offset_s)
        gaps = reading_gaps(connection, FIRST_ON, LAST_ON, "g1", as_of)
        days = channel_days(connection, FIRST_ON, LAST_ON, "g1", as_of)
        connection.rollback()
    missing = [slot for gap in gaps for slot in slots_of(gap)]
    assert sorted(missing) == sorted(ended - slots)
    assert all(gap.age == as_of - gap.first_at for gap in gaps)
    assert sum(row.expected for row in days) == len(ended)
    assert sum(row.found for row in days) == len(ended & slots)
    by_day = {row.on: row.found for row in days}
    assert all(by_day[day] == len({slot for slot in ended & slots if slot // 48 == day.day - 1}) for day in by_day)


def test_nothing_is_expected_before_a_meter_hangs_and_after_it_was_removed(dsn):
    with connect(dsn) as connection:
        put(connection, [])
        connection.execute("""
            insert into customer values ('PD01000012345', 'Hoa');
            insert into metering_point values ('PD01000012345001', 'PD01000012345')
        """)
        connection.execute(
            "insert into installation values ('PD01000012345001', 'g1-M0', %s, %s)",
            [START + timedelta(hours=3, minutes=10), START + timedelta(hours=5, minutes=10)],
        )
        (gap,) = reading_gaps(connection, FIRST_ON, LAST_ON, "g1", AFTER)
        (day,) = channel_days(connection, FIRST_ON, LAST_ON, "g1", AFTER)
        connection.rollback()
    assert list(slots_of(gap)) == [7, 8, 9]
    assert (day.expected, day.found) == (3, 0)


def test_sums_are_by_gateway_feeder_meter_channel_or_day(dsn):
    with connect(dsn) as connection:
        put(connection, range(48))
        connection.execute("update meter set feeder = '471-E1.2' where meter_id = 'g1-M0'")
        rows = channel_days(connection, FIRST_ON, LAST_ON, None, AFTER)
        connection.rollback()
    assert [(each.name, each.share) for each in add_up(rows, "gateway")] == [("g2", 0.0), ("g1", 0.5)]
    assert [(each.name, each.share) for each in add_up(rows, "day")] == [("2025-10-02", 0.0), ("2025-10-01", 0.5)]
    assert [each.name for each in add_up(rows, "channel")] == ["g2-M0 1.0.1.8.0", "g1-M0 1.0.1.8.0"]
    assert [(each.name, each.share) for each in add_up(rows, "feeder")] == [("none named", 0.0), ("471-E1.2", 0.5)]
    assert [each.name for each in add_up(rows, "meter")] == ["g2-M0", "g1-M0"]


def test_sequences_that_never_came_are_shown_until_they_come(dsn, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    rows = [Reading("g1-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, step) for step in range(SLOTS)]
    store_transactions(dsn, [[message("g1", 2, rows[:10])], [message("g1", 5, rows[10:])]])
    with connect(dsn) as connection:
        assert [(gap.first, gap.last) for gap in sequence_gaps(connection, "g1")] == [(1, 1), (3, 4)]
        assert sequence_gaps(connection, "g2") == []
    command = ["ingest", "gaps", "--gateway", "g1", "--from", "2025-10-01", "--to", "2025-10-02"]
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 gaps in readings, 2 in sequences"
    store_transactions(dsn, [[message("g1", sequence, rows[:1]) for sequence in (1, 3, 4)]])
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"readings": [], "sequences": []}
    assert main(["ingest", "completeness", "--from", "2025-10-01", "--to", "2025-10-02", "--by", "meter"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["g1-M0", "96", "of", "96", "100.000", "%"]
    assert main(["ingest", "gaps", "--from", "2025-10-02", "--to", "2025-10-01"]) == 2


def test_a_gateway_that_is_not_registered_is_refused(dsn):
    with connect(dsn) as connection, pytest.raises(UsageError, match="not registered"):
        reading_gaps(connection, FIRST_ON, LAST_ON, "g9", AFTER)


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "0001-01-01", "--to", "0001-01-02"],
        ["--to", "9999-12-31"],
        ["--from", "2024-01-01", "--to", "2025-10-01"],
    ],
)
@pytest.mark.parametrize("action", ["gaps", "completeness"])
def test_days_of_which_no_reading_can_be_are_a_usage_error(dsn, capsys, monkeypatch, action, words):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    assert main(["ingest", action, *words]) == 2
    assert "expected" in capsys.readouterr().err


def test_a_gap_tells_its_age_in_days_hours_and_minutes(dsn, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    with connect(dsn) as connection:
        put(connection, range(10, SLOTS))
    assert main(["ingest", "gaps", "--gateway", "g1", "--from", "2025-10-01", "--to", "2025-10-02"]) == 1
    shown = capsys.readouterr().out.splitlines()[0]
    assert re.search(
        r"g1-M0 1\.0\.1\.8\.0: 10 missing from 2025-09-30T17:00Z to 2025-09-30T22:00Z, for \d+ d \d+ h$", shown
    )


def test_where_nothing_is_expected_completeness_says_so(dsn, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    assert main(["ingest", "completeness", "--from", "2020-10-01", "--to", "2020-10-02"]) == 0
    assert "no reading is expected" in capsys.readouterr().out
