import asyncio

import pytest

from ingest_server.database import connect, migrate
from ingest_server.pipeline.bundle import Arrival, make_bundle
from ingest_server.pipeline.message import Message, Rejected, decode
from ingest_server.pipeline.readmit import readmit
from ingest_server.registry import load_registry
from protocols.telemetry.event import EventKind, MeterEvent, decode_events, encode_events
from protocols.telemetry.receipt import decode_receipt
from tests.ingest_server.stored_directly import GENERATION, NOW_MS, START_MS, receipts_of, registry, store_transactions

POWER_FAIL = MeterEvent(EventKind.LOG, "g1-M0", START_MS, object="0.0.99.98.0", code=1)
EVENTS = [
    POWER_FAIL,
    MeterEvent(EventKind.LOG, "g1-M0", START_MS, object="0.0.99.98.0", code=2),
    MeterEvent(EventKind.CLOCK, "g1-M0", START_MS + 1, value=-3200),
    MeterEvent(EventKind.PUSH, "g1-M1", START_MS, body=b"\x02\x00", text="alarm"),
]
SELECT = "select meter_id, kind, object, code, value, text, body from meter_event order by meter_id, happened_at, code"


def events(*found, sequence=1, gateway="g1"):
    return Message(f"congto/v1/{gateway}/events", encode_events(gateway, GENERATION, sequence, found))


def test_events_of_strange_meters_are_quarantined_and_their_neighbours_taken():
    message = events(*EVENTS)
    found = make_bundle([Arrival(message, decode(message))], lambda _: None, lambda _: 0, NOW_MS)
    (rejected,) = found.rejected
    assert (rejected.reason, found.events) == ("gateway g1 is not registered", [])
    ((topic, payload),) = receipts_of(found)
    assert topic == "congto/v1/g1/receipts"
    assert (decode_receipt(payload).sequences, decode_receipt(payload).events) == ((), ((1, 1),))
    assert list(decode_events(rejected.payload).events) == EVENTS


def test_a_message_of_events_that_breaks_the_contract_is_receipted_if_it_says_whose_it_is():
    """Its gateway would send it for ever."""
    payload = events(*EVENTS, sequence=7).payload.replace(b'"kind":"clock"', b'"kind":"cloak"')
    message = Message("congto/v1/g1/events", payload)
    found = make_bundle([Arrival(message, decode(message))], lambda _: None, lambda _: 0, NOW_MS)
    assert len(found.rejected) == 1
    ((_, receipt),) = receipts_of(found)
    assert (decode_receipt(receipt).sequences, decode_receipt(receipt).events) == ((), ((7, 7),))
    elsewhere = Message("congto/v1/g2/events", payload)
    assert make_bundle([Arrival(elsewhere, decode(elsewhere))], lambda _: None, lambda _: 0, NOW_MS).told == []


def test_events_in_another_gateways_name_are_quarantined():
    message = events(POWER_FAIL)
    rejected = decode(Message("congto/v1/g2/events", message.payload))
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "the topic is of gateway g2, the payload of g1"


@pytest.mark.integration
def test_an_event_is_a_row_however_often_it_comes_and_a_strange_meters_once_it_is_registered(database):
    migrate(database)
    with connect(database) as connection:
        load_registry(connection, registry("g1", 1), "test.toml")
        store_transactions(database, [[events(*EVENTS)], [events(POWER_FAIL, sequence=2), events(*EVENTS)]])
        known = [
            ("g1-M0", "log", "0.0.99.98.0", 1, None, None, None),
            ("g1-M0", "log", "0.0.99.98.0", 2, None, None, None),
            ("g1-M0", "clock", None, None, -3200, None, None),
        ]
        assert connection.execute(SELECT).fetchall() == known
        assert connection.execute("select times from quarantine").fetchall() == [(2,)]
        load_registry(connection, registry("g1", 2), "test.toml")
        assert asyncio.run(readmit(database, NOW_MS)).messages == 1
        connection.rollback()
        assert connection.execute(SELECT).fetchall() == [
            *known,
            ("g1-M1", "push", None, None, None, "alarm", b"\x02\0"),
        ]
        assert connection.execute("select * from quarantine").fetchall() == []
