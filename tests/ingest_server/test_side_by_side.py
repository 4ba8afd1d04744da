"""Two transactions at once: the same readings and conflicts as one after the other gives, whoever is cut off."""

import asyncio
import contextlib
from random import Random

import psycopg
import pytest

from ingest_server.database import connect, migrate
from ingest_server.pipeline import gatherer as gatherer_module
from ingest_server.pipeline import pipeline as pipeline_module
from ingest_server.pipeline.bundle import Arrival, make_bundle
from ingest_server.pipeline.gatherer import Gatherer
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message, decode
from ingest_server.pipeline.pipeline import Pipeline, Together
from ingest_server.pipeline.registered import Registered
from ingest_server.pipeline.settings import TRANSACTIONS_AT_ONCE
from ingest_server.pipeline.store import open_connection, store
from ingest_server.registry import load_registry
from protocols.telemetry.event import EventKind, MeterEvent, encode_events
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import State, Status
from tests.ingest_server.stored_directly import (
    GENERATION,
    HALF_HOUR_MS,
    NOW_MS,
    START_MS,
    message,
    registry,
    store_transactions,
)
from tests.ingest_server.test_order import SELECT_CONFLICTS, SELECT_ENERGY, SELECT_READINGS, STREAMS, energy_of, streams

pytestmark = pytest.mark.integration

ROWS = 60  # of a transaction: some twenty messages, so that one world takes some dozens
SPOOL = 400
DEADLINE_S = 60.0
CUT_OFF = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid = any(%s)"


@pytest.fixture(scope="module")
def dsn(module_database):
    migrate(module_database)
    with connect(module_database) as connection:
        load_registry(connection, "".join(registry(f"g{number}", 1) for number in range(STREAMS)), "test.toml")
    return module_database


class Watching:
    """Counts how many transactions are under way, and can cut one off when it has begun."""

    def __init__(self, dsn, monkeypatch, chance=None):
        self.most = self._now = 0
        self.cut = 0
        store = pipeline_module.store

        async def watched(connection, bundle, limits):
            self._now += 1
            self.most = max(self.most, self._now)
            try:
                cut = None
                if chance is not None and chance.random() < 0.2:
                    self.cut += 1
                    cut = asyncio.create_task(asyncio.to_thread(cut_off, dsn, connection.info.backend_pid))
                try:
                    return await store(connection, bundle, limits)
                finally:
                    if cut is not None:
                        await cut
            finally:
                self._now -= 1

        monkeypatch.setattr(pipeline_module, "store", watched)


def cut_off(dsn, pid):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(CUT_OFF, [[pid]])


def run(dsn, messages):
    """Let two pipelines store ``messages``, all that ever comes; return how often each was settled."""
    settled = []
    all_settled = asyncio.Event()

    async def note(done, _bundle):
        settled.extend(done)
        if len(settled) >= len(messages):
            all_settled.set()

    async def work():
        inbox = Inbox()
        gatherer, together = Gatherer(inbox), Together()
        for each in messages:
            inbox.put(each)
        pipelines = [Pipeline(dsn, gatherer, together, note) for _ in range(TRANSACTIONS_AT_ONCE)]
        gathering = asyncio.create_task(gatherer.gather())
        storing = [asyncio.create_task(each.store()) for each in pipelines]
        async with asyncio.timeout(DEADLINE_S):
            await all_settled.wait()
        gatherer.stop()
        await asyncio.gather(*storing)
        gathering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gathering

    asyncio.run(work())
    return settled


def check(dsn, seed):
    """Send everything in some order: what any order gives must be there, each message settled once."""
    sent, transactions = streams(Random(seed))
    messages = [each for transaction in transactions for each in transaction]
    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_conflict, gateway_sequence, daily_register")
    settled = run(dsn, messages)
    assert sorted(map(id, settled)) == sorted(map(id, messages))
    with connect(dsn) as connection:
        readings = connection.execute(SELECT_READINGS).fetchall()
        conflicts = connection.execute(SELECT_CONFLICTS).fetchall()
        assert len({row[:2] for row in readings}) == len(readings)
        assert sorted(readings + conflicts) == sorted({(row.meter, row.measured_at_ms, row.value) for row in sent})
        assert set(connection.execute(SELECT_ENERGY)) == energy_of(readings)
        assert connection.execute("select count(*) from gateway_sequence_gap").fetchone() == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_transactions_side_by_side_give_what_one_after_the_other_gives(dsn, monkeypatch, seed):
    monkeypatch.setattr(gatherer_module, "BUNDLE_ROWS_MAX", ROWS)
    Watching(dsn, monkeypatch)
    check(dsn, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_connection_that_is_cut_off_in_its_transaction_costs_nothing(dsn, monkeypatch, seed):
    monkeypatch.setattr(gatherer_module, "BUNDLE_ROWS_MAX", ROWS)
    watching = Watching(dsn, monkeypatch, Random(seed))
    check(dsn, seed)
    assert watching.cut > 0


def test_batches_that_were_never_seen_do_run_side_by_side(dsn, monkeypatch):
    monkeypatch.setattr(gatherer_module, "BUNDLE_ROWS_MAX", ROWS)
    watching = Watching(dsn, monkeypatch)
    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_conflict, gateway_sequence, daily_register")
    rows = [Reading("g0-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, step) for step in range(SPOOL)]
    run(dsn, [message("g0", number + 1, [row]) for number, row in enumerate(rows)])
    assert watching.most == TRANSACTIONS_AT_ONCE
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from reading").fetchone() == (SPOOL,)


def test_only_while_it_stores_does_a_pipeline_stand_still(dsn):
    """However long nothing came before: who looks once an hour must not be told that an hour is lost."""
    inbox, together = Inbox(), Together()
    gatherer = Gatherer(inbox)
    still_s = []

    async def note(_done, _bundle):
        still_s.append(pipeline.still_s)
        gatherer.stop()

    pipeline = Pipeline(dsn, gatherer, together, note)

    async def work():
        gathering = asyncio.create_task(gatherer.gather())
        inbox.put(message("g1", 1, [Reading("g1-M0", "1.0.1.8.0", START_MS, 1)]))
        assert pipeline.still_s == 0.0
        await pipeline.store()
        gathering.cancel()

    asyncio.run(work())
    assert len(still_s) == 1
    assert 0.0 < still_s[0] < DEADLINE_S
    assert pipeline.still_s == 0.0


def test_two_that_meet_the_same_gateways_in_batches_and_statuses_lock_nobody_out(dsn):
    """Each has a batch of one of two gateways and the other's status; each is stored again and again, at once."""
    both = ("g0", "g1")
    turns = 60

    def bundle(turn, of, other):
        status = Status(other, State.ONLINE, START_MS, GENERATION, 0, 1, "0.1.0")
        event = MeterEvent(EventKind.LOG, f"{other}-M0", START_MS + turn, code=turn)
        rows = [Reading(f"{of}-M0", "1.0.1.8.0", START_MS + turn * HALF_HOUR_MS, turn)]
        messages = [
            message(of, turn, rows, "e" * 16),
            Message(f"congto/v1/{other}/status", status.encode()),
            Message(f"congto/v1/{other}/events", encode_events(other, "e" * 16, turn, [event])),
        ]
        return [Arrival(each, decode(each)) for each in messages]

    async def one(of, other):
        registered = Registered()
        async with await open_connection(dsn) as connection:
            await registered.load(connection, both)
            for turn in range(1, turns + 1):
                arrivals = bundle(turn, of, other)
                await store(connection, make_bundle(arrivals, registered.channels, lambda _: 0, NOW_MS))

    async def at_once():
        await asyncio.gather(one(*both), one(*reversed(both)))

    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_conflict, gateway_sequence, daily_register")
    asyncio.run(at_once())
    with connect(dsn) as connection:
        assert connection.execute("select count(*) from reading").fetchone() == (2 * turns,)


def test_of_two_statuses_the_one_that_came_later_stays_whichever_is_stored_first(dsn):
    def came(state, arrived_us):
        status = Status("g0", state, START_MS, GENERATION, 0, 1, "0.1.0")
        return Message("congto/v1/g0/status", status.encode(), arrived_us=arrived_us)

    def stands(*messages):
        with connect(dsn) as connection:
            connection.execute("update gateway set status_arrived_at = null")
        store_transactions(dsn, [[each] for each in messages])
        with connect(dsn) as connection:
            return connection.execute("select state from gateway where gateway_id = 'g0'").fetchone()

    now_us = NOW_MS * 1000
    will, back = came(State.OFFLINE, now_us), came(State.ONLINE, now_us + 1)
    assert stands(will, back) == stands(back, will) == ("online",)
    far = came(State.OFFLINE, 1 << 52)  # our clock was ahead by a century, and was set back
    assert stands(far, back) == ("online",)
