"""Batches that the quarantine had no room for are asked for again, once there is room or their meter is registered."""

import asyncio
import json
import uuid

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.cli import main
from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.asking import ask_once
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.quarantine import ROW_OCTETS, Limits
from ingest_server.registry import load_registry
from protocols.telemetry.event import EventKind, MeterEvent, encode_events
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.reading import Reading
from protocols.telemetry.resend import Resend, decode_resend
from tests.ingest_server.processes import DEADLINE_S, READY, Gateway, Ingest
from tests.ingest_server.stored_directly import (
    GENERATION,
    START_MS,
    message,
    registry,
    store_transactions,
)

pytestmark = pytest.mark.integration

SMALL = Limits(6 * ROW_OCTETS, 60 * ROW_OCTETS, renew_s=0.0)
SLOT_MS = 1_800_000


@pytest.fixture
def dsn(database, monkeypatch):
    migrate(database)
    register(database, 1)
    monkeypatch.setenv("CONGTO_DSN", database)
    return database


def register(dsn, meters):
    with connect(dsn) as connection:
        load_registry(connection, registry("g1", meters), "test.toml")


def strange(sequence, meter=1):
    return message("g1", sequence, [Reading(f"g1-M{meter}", "1.0.1.8.0", START_MS + sequence * SLOT_MS, sequence)])


def ask(dsn, limits=SMALL):
    """Return what the gateways are asked just now."""
    asked = []

    async def publish(_topic, payload):
        asked.append(decode_resend(payload))
        return True

    async def once():
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await ask_once(connection, publish, limits, 0.0)

    asyncio.run(once())
    return asked


def kept(dsn):
    with connect(dsn) as connection:
        rows = connection.execute("select payload from quarantine order by quarantine_id").fetchall()
    return {json.loads(payload)["sequence"] for (payload,) in rows}


def sequences(request):
    return {each for first, last in request.sequences for each in range(first, last + 1)}


def flood(dsn, count=30):
    """Send batches of a meter that is not registered, each in its own transaction; return those that are given up."""
    store_transactions(dsn, [[strange(number)] for number in range(1, count + 1)], SMALL)
    given_up = set(range(1, count + 1)) - kept(dsn)
    assert len(given_up) > count // 2
    assert ask(dsn) == []  # no room, and nothing is registered that was not
    return given_up


def test_once_the_meter_is_registered_the_gateway_is_asked_for_just_these(dsn, capsys):
    given_up = flood(dsn)
    assert main(["ingest", "quarantine", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["groups"][0]["to_ask"] == len(given_up)
    assert main(["ingest", "quarantine"]) == 1
    assert f"; {len(given_up)} batches of them are to be asked for again" in capsys.readouterr().out
    register(dsn, 2)
    (request,) = ask(dsn)
    assert (request.gateway, request.generation, sequences(request)) == ("g1", GENERATION, given_up)
    store_transactions(dsn, [[strange(number)] for number in given_up], SMALL)
    assert ask(dsn) == []
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from reading").fetchone() == (len(given_up),)
        assert connection.execute("select count(*) from quarantine_given_up").fetchone() == (0,)
        assert connection.execute("select count(*) from resend_request").fetchone() == (0,)
    assert main(["ingest", "readmit"]) == 0
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from reading").fetchone() == (30,)


def test_once_there_is_room_it_is_asked_and_what_has_none_again_is_noted_again(dsn):
    given_up = flood(dsn)
    assert main(["ingest", "quarantine", "--forget-all", "--gateway", "g1"]) == 0
    (request,) = ask(dsn)
    assert sequences(request) == given_up
    store_transactions(dsn, [[strange(number)] for number in given_up], SMALL)
    with connect(dsn) as connection:
        noted = connection.execute("select sum(upper(r) - lower(r)) from quarantine_given_up, unnest(sequences) r")
        assert noted.fetchone() == (len(given_up - kept(dsn)),)
    assert ask(dsn) == []


def test_what_the_gateway_declares_lost_is_asked_for_no_more(dsn):
    given_up = flood(dsn)
    register(dsn, 2)
    lost = Loss("g1", GENERATION, tuple((each, each) for each in sorted(given_up)), Reason.EXPIRED)
    store_transactions(dsn, [[Message("congto/v1/g1/readings", lost.encode())]], SMALL)
    assert ask(dsn) == []


def test_another_meter_that_is_registered_is_worth_one_request(dsn):
    """Whether it cures anything can't be told before the batches come; if it does not they are noted again."""
    given_up = flood(dsn)
    with connect(dsn) as connection:
        other = '[[meter]]\nid = "other"\ngateway = "g1"\nmodel = "eastron_sdm120"\nchannels = ["1.0.1.8.0"]\n'
        load_registry(connection, other, "test.toml")
    assert [sequences(each) for each in ask(dsn)] == [given_up]
    store_transactions(dsn, [[strange(number)] for number in sorted(given_up)], SMALL)
    assert ask(dsn) == []
    register(dsn, 2)
    assert [sequences(each) >= given_up - kept(dsn) for each in ask(dsn)] == [True]


def test_events_that_were_given_up_are_asked_for_as_well(dsn):
    def events(sequence):
        event = MeterEvent(EventKind.LOG, "g1-M1", START_MS + sequence, object="0.0.99.98.0.255", code=sequence)
        return Message("congto/v1/g1/events", encode_events("g1", GENERATION, sequence, [event]))

    store_transactions(dsn, [[events(number)] for number in range(1, 21)], SMALL)
    assert ask(dsn) == []
    register(dsn, 2)
    (request,) = ask(dsn)
    assert len(kept(dsn)) + sum(last - first + 1 for first, last in request.events) == 20
    assert request.sequences == ()
    store_transactions(dsn, [[events(number)] for number in range(1, 21)], SMALL)
    assert ask(dsn) == []


@pytest.fixture(scope="module")
def flooded(module_database):
    migrate(module_database)
    register(module_database, 1)
    return module_database


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=6), min_size=1, max_size=10))
def test_each_batch_that_was_refused_is_kept_or_noted_and_none_is_both_but_by_parts(flooded, floods):
    with connect(flooded) as connection:
        connection.execute("truncate quarantine, quarantine_group, quarantine_given_up, gateway_sequence")
    store_transactions(flooded, [[strange(number) for number in each] for each in floods], SMALL)
    with connect(flooded) as connection:
        rows = connection.execute("select lower(r), upper(r) from quarantine_given_up, unnest(sequences) r").fetchall()
    noted = {each for first, end in rows for each in range(first, end)}
    assert kept(flooded) | noted == {number for each in floods for number in each}


class KeepingGateway(Gateway):
    """A gateway that keeps what was receipted, and sends it again on request."""

    def __init__(self, *arguments):
        self.kept = {}
        self.asked = 0
        super().__init__(*arguments)

    def publish(self, payload, kind="readings"):
        self.kept[json.loads(payload)["sequence"]] = payload
        super().publish(payload, kind)

    def on_request(self, request: Resend) -> None:
        self.asked += 1
        for each in sequences(request):
            super().publish(self.kept[each])


def test_a_real_ingest_gets_back_what_it_gave_up_once_the_meter_is_registered(database, runtime, monkeypatch):
    """The gateway's readings overflow a quarantine of 1 MiB; then a clerk registers the meter."""
    migrate(database)
    monkeypatch.setenv("CONGTO_DSN", database)
    name = f"gw-{uuid.uuid4().hex[:8]}"
    with connect(database) as connection:
        load_registry(connection, registry(name, 1), "test.toml")
    program = Ingest(database, runtime.broker_url)
    program.start("--quarantine-mib", "1", "--resend-after", "1")
    try:
        program.wait_for(READY)
        gateway = KeepingGateway(runtime.broker_url, name)
        for number in range(2000):
            gateway.send([Reading(f"{name}-M1", "1.0.1.8.0", START_MS + number * 60_000, number)])
        gateway.wait_for_receipts()
        program.wait_for(r"quarantine\.full")
        with connect(database) as connection:
            (given_up,) = connection.execute("select sum(given_up) from quarantine_group").fetchone()
            assert given_up > 100
            assert connection.execute("select count(*) from reading").fetchone() == (0,)
            load_registry(connection, registry(name, 2), "test.toml")
        program.wait_for(r"resend\.asked")
        assert main(["ingest", "readmit"]) == 0
        with psycopg.connect(database, autocommit=True) as connection:
            count = "select count(*), count(distinct value) from reading"
            assert wait_until(lambda: connection.execute(count).fetchone() == (2000, 2000), DEADLINE_S)
        status, said = program.end()
        assert status == 0
        assert said.count("message.quarantined") <= 5, said
        assert gateway.asked > 0
        gateway.close()
    finally:
        program.clear()
