import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.database.audit import Verdict, compare
from ingest_server.database.readings import DAY_MS, ReadingTotal
from ingest_server.pipeline.message import Message
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Reading, reading_digest
from protocols.telemetry.receipt import DayTaken, State, Status
from tests.ingest_server.stored_directly import (
    GENERATION,
    HALF_HOUR_MS,
    START_MS,
    message,
    registry,
    store_transactions,
)

FIRST_ON = date(2025, 9, 30)
READINGS = [Reading("g1-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, step) for step in range(100)]


def by_day(readings):
    days = {}
    for reading in readings:
        days.setdefault(FIRST_ON + timedelta(days=(reading.measured_at_ms // DAY_MS) - START_MS // DAY_MS), []).append(
            reading
        )
    return [(on, len(found), reading_digest(found)) for on, found in sorted(days.items())]


@given(st.integers(0, 99), st.sampled_from(["missing", "extra", "altered"]))
def test_any_single_reading_missing_extra_or_altered_is_found_on_its_day(at, fault):
    taken = list(READINGS)
    stored = list(READINGS)
    reading = READINGS[at]
    if fault == "missing":
        stored.remove(reading)
    elif fault == "extra":
        stored.append(reading._replace(obis="1.0.2.8.0"))
    else:
        stored[at] = reading._replace(value=reading.value + 1)
    audits = compare(
        "g1",
        [DayTaken(*day) for day in by_day(taken)],
        [ReadingTotal(*day) for day in by_day(stored)],
    )
    ((on, verdict),) = [(each.on, each.verdict) for each in audits if each.verdict is not Verdict.SAME]
    assert verdict.value == fault
    assert on == FIRST_ON + timedelta(days=reading.measured_at_ms // DAY_MS - START_MS // DAY_MS)


def test_a_day_of_which_nothing_is_stored_and_one_of_which_nothing_was_taken_are_found():
    days = [DayTaken(FIRST_ON, 5, 1), DayTaken(FIRST_ON + timedelta(days=2), 5, 1)]
    stored = [ReadingTotal(FIRST_ON + timedelta(days=number), 5, 1) for number in (-1, 1, 2, 3)]
    assert [each.verdict.value for each in compare("g1", days, stored)] == ["missing", "extra", "same"]
    assert compare("g1", [], stored) == []


@pytest.mark.integration
def test_a_gateways_status_or_its_agents_answer_is_held_against_what_is_stored(database, monkeypatch, capsys, tmp_path):
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
    assert main(["audit", "readings"]) == 1
    assert "no digests from g1" in capsys.readouterr().err
    days = tuple(DayTaken(*day) for day in by_day(READINGS))
    status = Status("g1", State.ONLINE, START_MS, GENERATION, 0, len(READINGS), "0.1.0", days)
    store_transactions(database, [[message("g1", 1, READINGS), Message("congto/v1/g1/status", status.encode())]])
    assert main(["audit", "readings"]) == 0
    assert capsys.readouterr().out == f"{len(days)} days compared, 0 differ\n"
    with connect(database) as connection:
        connection.execute(
            "update reading set value = value + 1 where measured_at = to_timestamp(%s)", [START_MS / 1000]
        )
    assert main(["audit", "readings", "--gateway", "g1"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "g1 2025-09-30: altered, taken 14, stored 14"
    said = [{"day": str(on), "readings": count, "digest": f"{digest:016x}"} for on, count, digest in by_day(READINGS)]
    answer = tmp_path / "said.json"
    answer.write_text(json.dumps({"gateway": "g1", "unreceipted": 3, "days": said}))
    assert main(["audit", "readings", "--said", str(answer), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [day["verdict"] for day in found["days"]] == ["altered", *["same"] * (len(days) - 1)]
    assert found["waiting"] == {"g1": 3}
    answer.write_text('{"gateway": "g1", "days": [7]}')
    assert main(["audit", "readings", "--said", str(answer)]) == 2
