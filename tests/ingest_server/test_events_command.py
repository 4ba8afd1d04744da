"""An operator's list of what happened at the meters."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.database.events import Asked, Place, select_events
from ingest_server.registry import load_registry
from protocols.telemetry.event import EventKind, MeterEvent
from tests.ingest_server.stored_directly import DAY_MS, START_MS, registry, store_transactions
from tests.ingest_server.test_events import events

pytestmark = pytest.mark.integration

ALL = Asked(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
DAYS = ("--from", "2025-10-01", "--to", "2025-10-03")
TOLD = [
    MeterEvent(EventKind.LOG, "g1-M0", START_MS, object="0.0.99.98.0.255", code=1),
    MeterEvent(EventKind.LOG, "g1-M0", START_MS, object="0.0.99.98.0.255", code=2),
    MeterEvent(EventKind.RELAY, "g1-M1", START_MS + DAY_MS, object="0.0.96.3.10.255", code=0, value=2, text="open"),
    MeterEvent(EventKind.PUSH, "g1-M1", START_MS + 2 * DAY_MS, body=b"\x02\0", text="alarm"),
    MeterEvent(EventKind.CLOCK, "g1-M0", START_MS - 1, value=-3200),  # the last millisecond of the day before
]


@pytest.fixture(scope="module")
def told(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, registry("g1", 2) + registry("g2", 1), "test.toml")
    store_transactions(module_database, [[events(*TOLD)]])
    return module_database


@pytest.fixture
def dsn(told, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", told)
    return told


def listed(capsys, *words):
    assert main(["ingest", "events", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_civil_days_are_from_midnight_to_midnight_and_the_newest_event_is_first(dsn, capsys):
    found = listed(capsys, *DAYS)
    assert [each["kind"] for each in found["events"]] == ["push", "relay", "log", "log"]
    assert found["events"][1] | {"received_at": ""} == {
        "meter": "g1-M1",
        "gateway": "g1",
        "happened_at": "2025-10-01T17:00:00+00:00",
        "received_at": "",
        "kind": "relay",
        "object": "0.0.96.3.10",
        "code": 0,
        "value": 2,
        "text": "open",
        "body": None,
    }
    assert [each["kind"] for each in listed(capsys, "--from", "2025-09-30", "--to", "2025-09-30")["events"]] == [
        "clock"
    ]
    assert len(listed(capsys, "--from", "2025-09-01")["events"]) == 5


@pytest.mark.parametrize(
    ("words", "count"),
    [(["--meter", "g1-M0"], 2), (["--kind", "push"], 1), (["--gateway", "g2"], 0), (["--meter", "g2-M0"], 0)],
)
def test_events_are_chosen_by_meter_gateway_and_kind(dsn, capsys, words, count):
    assert len(listed(capsys, *DAYS, *words)["events"]) == count


def test_a_list_that_is_cut_says_so_and_a_terminal_only_shows(dsn, capsys):
    assert listed(capsys, *DAYS, "--newest", "3")["more"]
    assert main(["ingest", "events", *DAYS, "--newest", "1"]) == 0
    shown = capsys.readouterr().out
    assert "g1 g1-M1 push: alarm, 2 octets" in shown
    assert "1 events; there are more" in shown
    assert main(["ingest", "events", *DAYS, "--kind", "log"]) == 0
    assert "2025-09-30T17:00:00Z g1 g1-M0 log: object 0.0.99.98.0, code 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--newest", "0"],
        ["--from", "2025-10-02", "--to", "2025-10-01"],
        ["--gateway", "g9"],
        ["--meter", "nobody"],
        ["--to", "9999-12-31"],
    ],
)
def test_what_cannot_be_listed_is_a_usage_error(dsn, words):
    assert main(["ingest", "events", *words]) == 2


@pytest.mark.parametrize("most", [1, 2, 3])
def test_lists_of_any_length_one_after_the_other_are_the_whole_list(dsn, most):
    with connect(dsn) as connection:
        for asked in (ALL, ALL._replace(meter="g1-M0"), ALL._replace(from_at=ALL.from_at + timedelta(days=1))):
            whole = select_events(connection, asked, 100)
            found, place = [], None
            while page := select_events(connection, asked, most, place):
                found += page
                place = Place(page[-1].happened_at, page[-1].meter, page[-1].fingerprint)
            assert found == whole
            assert len(whole) == (3 if asked.meter else 5)
