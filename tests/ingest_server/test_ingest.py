"""Ingest as it is run: real broker, real TimescaleDB, the program as a process."""

import json
import uuid

import pytest

from deploy.cli import main
from ingest_server.database import connect, migrate
from ingest_server.database.readings import reading_totals
from ingest_server.registry import load_registry
from protocols.telemetry.batch import decode_batch, encode_batch
from protocols.telemetry.reading import Quality, Reading, reading_digest
from protocols.telemetry.receipt import State, Status
from tests.ingest_server.processes import READY, Gateway, Ingest

pytestmark = pytest.mark.integration

START_MS = 1_759_251_600_000
HALF_HOUR_MS = 1_800_000
DAY_MS = 86_400_000
SELECT_READINGS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
    from reading join channel using (channel_id) join meter using (meter_id)
    where gateway_id = %s
"""


def registry(gateway, meters):
    rows = [
        f'[[meter]]\nid = "{gateway}-M{number}"\ngateway = "{gateway}"\nmodel = "eastron_sdm120"\n'
        'channels = ["1.0.1.8.0", "1.0.2.8.0"]\n'
        for number in range(meters)
    ]
    return f'[[gateway]]\nid = "{gateway}"\n' + "".join(rows)


def half_hours(gateway, first, count, meters=2):
    return [
        Reading(f"{gateway}-M{meter}", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, 1000 * step + meter)
        for step in range(first, first + count)
        for meter in range(meters)
    ]


@pytest.fixture(scope="module")
def dsn(module_database):
    migrate(module_database)
    return module_database


@pytest.fixture(scope="module")
def connection(dsn):
    with connect(dsn) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture(scope="module")
def ingest(dsn, runtime):
    program = Ingest(dsn, runtime.broker_url)
    program.start()
    program.wait_for(READY)
    yield program
    program.clear()


@pytest.fixture
def gateway(ingest, connection, runtime):
    name = f"gw-{uuid.uuid4().hex[:8]}"
    load_registry(connection, registry(name, 2), "test.toml")
    gateway = Gateway(runtime.broker_url, name)
    yield gateway
    gateway.close()


def stored(connection, gateway):
    return sorted(Reading(*row) for row in connection.execute(SELECT_READINGS, [gateway.name]))


def quarantined(connection, gateway):
    select = "select reason, payload, times from quarantine where topic like %s order by quarantine_id"
    return connection.execute(select, [f"congto/v1/{gateway.name}/%"]).fetchall()


def unregistered(connection, gateway):
    found = [(reason, payload) for reason, payload, _ in quarantined(connection, gateway)]
    return [each for each in found if each[0].endswith(f"not registered at gateway {gateway.name}")]


def conflicts(connection, gateway):
    select = """
        select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality, generation, sequence
        from reading_conflict join channel using (channel_id) where gateway_id = %s order by value
    """
    return connection.execute(select, [gateway.name]).fetchall()


def test_readings_are_stored_and_receipted(gateway, connection):
    for first in range(0, 30, 3):
        gateway.send(half_hours(gateway.name, first, 3))
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(gateway.sent)
    found = connection.execute("select received from gateway_sequence where gateway_id = %s", [gateway.name]).fetchone()
    assert str(found[0]) == "{[1, 11)}"
    assert quarantined(connection, gateway) == conflicts(connection, gateway) == []


def test_a_batch_sent_again_is_stored_once_and_receipted_again(gateway, connection):
    gateway.send(half_hours(gateway.name, 0, 4))
    gateway.wait_for_receipts()
    receipts = gateway.receipts
    gateway.publish(encode_batch(gateway.name, gateway.generation, 1, gateway.sent))
    gateway.wait_until(lambda: gateway.receipts > receipts)
    # In another batch of another generation, as after a lost spool, and together with something new.
    gateway.generation = "0" * 16
    gateway.send([*half_hours(gateway.name, 0, 4), *half_hours(gateway.name, 10, 1)])
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(set(gateway.sent))
    assert conflicts(connection, gateway) == []


def test_another_value_for_the_same_reading_is_kept_as_a_conflict(gateway, connection):
    first, second = half_hours(gateway.name, 0, 1)
    gateway.send([first, second])
    gateway.wait_for_receipts()
    other = first._replace(value=first.value + 5, quality=Quality.PROFILE)
    for _ in range(2):
        gateway.send([other, second])
        gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted([first, second])
    assert conflicts(connection, gateway) == [(*other, gateway.generation, 2)]


def test_a_sequence_used_again_for_other_readings_loses_none(gateway, connection):
    """As a gateway restored from a backup, or its clone, does."""
    gateway.send(half_hours(gateway.name, 0, 2))
    gateway.wait_for_receipts()
    receipts = gateway.receipts
    others = half_hours(gateway.name, 5, 2)
    gateway.publish(encode_batch(gateway.name, gateway.generation, 1, others))
    gateway.wait_until(lambda: gateway.receipts > receipts)
    assert stored(connection, gateway) == sorted(gateway.sent + others)


def test_what_cannot_be_taken_is_quarantined_and_its_neighbours_stored(gateway, connection):
    strange = Reading("M-strange", "1.0.1.8.0", START_MS, 1)
    gateway.publish(b"poison\x00\xff")
    gateway.publish(b"[" * 100_000)
    gateway.publish(b'{"schema":"congto.status.v1"}', kind="status")
    gateway.publish(encode_batch("gw-somebody-else", gateway.generation, 1, [strange]))
    gateway.send([*half_hours(gateway.name, 0, 2), strange])
    gateway.publish(b"poison\x00\xff")
    gateway.send(half_hours(gateway.name, 2, 1))
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(set(gateway.sent) - {strange})
    found = {reason: (payload, times) for reason, payload, times in quarantined(connection, gateway)}
    assert found["not UTF-8 (at octet 7)"] == (b"poison\x00\xff", 2)
    assert len(found) == 5
    payload, times = found[f"meter M-strange not registered at gateway {gateway.name}"]
    assert (payload, times) == (encode_batch(gateway.name, gateway.generation, 1, [strange]), 1)


def test_a_meter_registered_while_ingest_runs_is_taken(gateway, connection):
    meters = half_hours(gateway.name, 0, 1, meters=3)
    gateway.send(meters)
    gateway.wait_for_receipts()
    assert len(stored(connection, gateway)) == 2
    load_registry(connection, registry(gateway.name, 3), "test.toml")
    gateway.send(meters)
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(meters)


def test_what_was_quarantined_is_taken_up_once_its_meter_is_registered(gateway, connection, dsn, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", dsn)
    assert main(["ingest", "readmit"]) == 0  # what other tests have left
    gateway.send(half_hours(gateway.name, 0, 2, meters=4))
    gateway.wait_for_receipts()
    gateway.publish(b"poison")
    load_registry(connection, registry(gateway.name, 3), "test.toml")
    assert main(["ingest", "readmit"]) == 0
    assert "readings: 2 new, 0 there already, 0 in conflict" in capsys.readouterr().out.splitlines()[-1]
    ((_, payload),) = unregistered(connection, gateway)
    assert {reading.meter for reading in decode_batch(payload).readings()} == {f"{gateway.name}-M3"}
    load_registry(connection, registry(gateway.name, 4), "test.toml")
    assert main(["ingest", "readmit"]) == 0
    assert main(["ingest", "readmit"]) == 0
    assert "0 messages taken up" in capsys.readouterr().out.splitlines()[-1]
    assert stored(connection, gateway) == sorted(gateway.sent)
    assert unregistered(connection, gateway) == []


def test_a_meter_that_moved_to_another_gateway_is_no_longer_taken_from_the_first(gateway, connection):
    gateway.send(half_hours(gateway.name, 0, 1))
    gateway.wait_for_receipts()
    moved = registry(gateway.name, 1).replace(f'gateway = "{gateway.name}"', f'gateway = "{gateway.name}-b"')
    load_registry(connection, f'[[gateway]]\nid = "{gateway.name}-b"\n' + moved, "test.toml")
    gateway.send(half_hours(gateway.name, 1, 1))
    gateway.wait_for_receipts()
    ((reason, _, _),) = quarantined(connection, gateway)
    assert reason == f"meter {gateway.name}-M0 not registered at gateway {gateway.name}"


def test_a_status_is_kept_with_the_time_of_the_last_contact(gateway, connection):
    select = "select state, last_contact_at is not null, status ->> 'taken' from gateway where gateway_id = %s"
    assert connection.execute(select, [gateway.name]).fetchone() == ("unknown", False, None)
    status = Status(gateway.name, State.ONLINE, START_MS, gateway.generation, 0, 12, "0.1.0")
    gateway.publish(status.encode(), kind="status")
    gateway.send(half_hours(gateway.name, 0, 1))
    gateway.wait_for_receipts()
    assert connection.execute(select, [gateway.name]).fetchone() == ("online", True, "12")


def test_the_digest_of_each_day_is_that_of_what_was_sent(gateway, connection, dsn, capsys, monkeypatch):
    gateway.send(half_hours(gateway.name, 0, 60))
    gateway.wait_for_receipts()
    by_day = {}
    for reading in gateway.sent:
        by_day.setdefault(reading.measured_at_ms // DAY_MS, []).append(reading)
    expected = [(len(readings), reading_digest(readings)) for _, readings in sorted(by_day.items())]
    assert [(total.readings, total.digest) for total in reading_totals(connection, gateway.name)] == expected
    monkeypatch.setenv("CONGTO_DSN", dsn)
    assert main(["ingest", "digest", "--gateway", gateway.name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)[gateway.name]
    assert [(day["readings"], int(day["digest"], 16)) for day in shown] == expected
    assert shown[0]["day"] == "2025-09-30"
    # The comparison would be worth nothing if it did not see a single altered reading.
    alter = """
        update reading set value = value + 1
        where measured_at = to_timestamp(%s) and channel_id = (
            select min(channel_id) from channel join meter using (meter_id) where gateway_id = %s)
    """
    assert connection.execute(alter, [START_MS // 1000, gateway.name]).rowcount == 1
    assert [(total.readings, total.digest) for total in reading_totals(connection, gateway.name)] != expected
    assert main(["ingest", "digest", "--gateway", "nobody"]) == 2


def test_it_stops_when_asked_and_goes_on_where_it_was(gateway, connection, ingest):
    gateway.send(half_hours(gateway.name, 0, 5))
    gateway.wait_for_receipts()
    status, said = ingest.end()
    assert status == 0
    assert "ingest.stopped" in said
    gateway.send(half_hours(gateway.name, 5, 5))
    ingest.start()
    assert "session_present=True" in ingest.wait_for(r"broker\.connected")
    gateway.wait_for_receipts()
    assert stored(connection, gateway) == sorted(gateway.sent)
