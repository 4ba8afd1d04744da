"""Acknowledgements go to the broker in the order in which its messages came, whatever is committed first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.acknowledging import Unacknowledged
from ingest_server.pipeline.settings import BUNDLE_ROWS_MAX
from ingest_server.registry import load_registry
from protocols.telemetry.batch import ROWS_MAX, encode_batch
from protocols.telemetry.reading import Reading
from tests.ingest_server.flooding_broker import FloodingBroker
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest
from tests.ingest_server.stored_directly import GENERATION, START_MS, message, registry, store_transactions

PACKETS = st.lists(st.integers(1, 65_535), unique=True, max_size=40)
# Transactions that take what came, one after the other, and are settled in any order.
PLAYS = PACKETS.flatmap(
    lambda packets: st.tuples(
        st.just(packets), st.lists(st.integers(1, 5), min_size=len(packets), max_size=len(packets)), st.randoms()
    )
)
MESSAGES = 3 * BUNDLE_ROWS_MAX // ROWS_MAX


@given(PLAYS)
def test_whatever_is_settled_first_acknowledgements_keep_the_order_of_the_messages(play):
    packets, sizes, random = play
    unacknowledged, transactions, told = Unacknowledged(), [], []
    at = 0
    for size in sizes:
        transactions.append(packets[at : at + size])
        at += size
    coming = list(packets)
    settled = set()
    while coming or any(transactions):
        if coming and random.random() < 0.5:
            unacknowledged.came(coming.pop(0))
            continue
        whole = [each for each in transactions if not set(each) & set(coming)]
        if not whole:
            unacknowledged.came(coming.pop(0))
            continue
        done = random.choice(whole)
        transactions.remove(done)
        settled |= set(done)
        told += unacknowledged.settle(done)
        assert told == packets[: len(told)]
        assert set(told) <= settled
        assert len(told) == len(packets) or packets[len(told)] not in settled
    assert told == packets


def test_of_an_earlier_connection_nothing_is_waited_for():
    unacknowledged = Unacknowledged()
    unacknowledged.came(1)
    unacknowledged.came(2)
    assert unacknowledged.settle([2]) == []
    unacknowledged.clear()
    unacknowledged.came(2)
    assert unacknowledged.settle([]) == []
    assert unacknowledged.settle([2]) == [2]


@pytest.mark.integration
def test_a_transaction_that_overtakes_another_is_not_acknowledged_before_it(database):
    """The first message's gateway is held by a lock, so the transactions behind it are committed before its own."""
    migrate(database)
    quick = [f"quick{number}" for number in range(MESSAGES)]
    with connect(database) as connection:
        load_registry(connection, registry("slow", 1) + "".join(registry(name, 1) for name in quick), "test.toml")
    # Who makes a chunk holds up all that go into it until the commit: so it is there before.
    store_transactions(database, [[message(quick[0], 1, [Reading("quick0-M0", "1.0.2.8.0", START_MS, 1)])]])
    held = [Reading("slow-M0", "1.0.1.8.0", START_MS, 1)]
    messages = [("congto/v1/slow/readings", encode_batch("slow", GENERATION, 1, held))]
    for name in quick:
        readings = [Reading(f"{name}-M0", "1.0.1.8.0", START_MS + number, number) for number in range(ROWS_MAX)]
        messages.append((f"congto/v1/{name}/readings", encode_batch(name, GENERATION, 2, readings)))
    broker = FloodingBroker(messages, once=True)
    program = Ingest(database, broker.url)
    try:
        with connect(database) as holding, connect(database) as looking:
            looking.autocommit = True
            holding.execute("select from gateway where gateway_id = 'slow' for update")
            program.start()
            program.wait_for(READY)
            overtaken = "select count(*) >= %s from reading"
            assert wait_until(lambda: looking.execute(overtaken, [BUNDLE_ROWS_MAX]).fetchone() == (True,), DEADLINE_S)
            holding.rollback()
            assert wait_until(lambda: len(broker.acknowledged) == len(messages), DEADLINE_S)
        assert broker.acknowledged == list(range(1, len(messages) + 1))
        assert program.end()[0] == 0
    finally:
        program.kill()
        broker.close()
