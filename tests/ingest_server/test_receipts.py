"""Receipts wait for nobody, and nobody waits for them."""

import asyncio
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.admission import Admission, Rows
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.receipts import Receipts
from ingest_server.pipeline.settings import RECEIPTS_UNDER_WAY_MAX
from ingest_server.registry import load_registry
from protocols.telemetry.batch import Header, encode_batch
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import decode_receipt
from tests.ingest_server.flooding_broker import FloodingBroker
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest
from tests.ingest_server.stored_directly import GENERATION, START_MS, registry

NOTHING = Rows(*(np.zeros(0, kind) for kind in ("i4", "i8", "i8", "i2")))
BATCHES = st.lists(st.tuples(st.sampled_from(["g1", "g2"]), st.integers(1, 400)), max_size=300)


def reading(gateway, turn):
    return Reading(f"{gateway}-M0", "1.0.1.8.0", START_MS + turn, turn)


@given(BATCHES, st.integers(1, 5))
def test_what_was_settled_is_told_however_it_was_joined(batches, step):
    async def tell():
        told = set()

        async def publish(_topic, payload):
            receipt = decode_receipt(payload)
            for first, last in receipt.sequences:
                told.update((receipt.gateway, sequence) for sequence in range(first, last + 1))
            return True

        receipts = Receipts()
        for at in range(0, len(batches), step):
            part = batches[at : at + step]
            receipts.add(Bundle([Admission(Header(gateway, GENERATION, number), NOTHING) for gateway, number in part]))
        await receipts.send_waiting(publish)
        return told

    assert asyncio.run(tell()) == set(batches)


@pytest.mark.integration
def test_storing_goes_on_while_no_receipt_is_acknowledged(database):
    """Acknowledgements stand behind messages, and these are not read while the inbox is full: nothing may wait."""
    migrate(database)
    names = [f"g{number}" for number in range(2 * RECEIPTS_UNDER_WAY_MAX)]
    with connect(database) as connection:
        load_registry(connection, "".join(registry(name, 1) for name in names), "test.toml")
    messages = [
        (
            f"congto/v1/{name}/readings",
            encode_batch(name, GENERATION, turn, [Reading(f"{name}-M0", "1.0.1.8.0", START_MS + turn, turn)]),
        )
        for turn in range(1, 20)
        for name in names
    ]
    broker = FloodingBroker(messages, once=True, mute=True)
    program = Ingest(database, broker.url)
    program.client_id = f"mute-{uuid.uuid4().hex[:8]}"
    try:
        program.start()
        program.wait_for(READY)
        with connect(database) as connection:
            connection.autocommit = True
            count = "select count(*) from reading"
            assert wait_until(lambda: connection.execute(count).fetchone() == (len(messages),), DEADLINE_S)
        status, said = program.end()
        assert (status, "broker.lost" in said) == (0, False)
    finally:
        program.kill()
        broker.close()
