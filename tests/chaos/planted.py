"""``python -m tests.chaos.planted BUG WORDS…``: a `congto` command with a bug, to see that the harness finds it.

None of this is shipped. Each is a bug that somebody could make in good faith, and that many systems of this kind have.
The last is none: it shows that an early acknowledgement costs nothing here, for nothing is concluded from it.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import paho.mqtt.client as mqtt
import psycopg

from deploy import cli
from edge_agent import app, publisher, spooling
from edge_agent.connection import Connection, Letter
from edge_agent.publisher import Publisher
from edge_agent.spool_seals import LIFE_SHIFT
from edge_agent.spooling import Spool
from ingest_server.pipeline import bundle, receipts
from ingest_server.pipeline.broker import Broker
from ingest_server.pipeline.bundle import Arrival, Bundle
from ingest_server.pipeline.message import Message, Rejected
from ingest_server.pipeline.pipeline import Pipeline
from protocols.telemetry.batch import Batch, Header
from protocols.telemetry.loss import is_loss
from protocols.telemetry.readings import decode_header
from protocols.telemetry.sequences import Ranges


class HastyConnection:
    """A connection that tells what the broker has acknowledged."""

    def __init__(self, connection: Connection, acknowledged: Callable[[str, bytes], Any]) -> None:
        self._connection = connection
        self._acknowledged = acknowledged

    async def subscribe(self, topic: str) -> None:
        await self._connection.subscribe(topic)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self._connection.publish(topic, payload, retain=retain)
        await self._acknowledged(topic, payload)

    def messages(self) -> AsyncIterator[Letter]:
        return self._connection.messages()


class HastyPublisher(Publisher):
    """Deletes a batch when the broker has acknowledged it."""

    def __init__(self, *arguments: Any, connect: Any, **others: Any) -> None:
        @asynccontextmanager
        async def connect_hastily(will: Letter) -> AsyncIterator[Connection]:
            async with connect(will) as connection:
                yield HastyConnection(connection, self._forget)

        super().__init__(*arguments, connect=connect_hastily, **others)

    async def _forget(self, topic: str, payload: bytes) -> None:
        if not topic.endswith("/readings") or is_loss(payload):
            return
        header = decode_header(payload)
        for spool in self._store.spools:
            await self._store._run(_remove, spool, header)
        self._window.note_receipt(header.generation, header.settles, self._loop.time())
        self._store.grown.set()


def _remove(spool: Spool, header: Header) -> None:
    life = next((life for life, name in spool.generations.items() if name == header.generation), None)
    if life is None:
        return
    with spool._lock, spool._writing():
        for first, last in header.settles:
            bounds = ((life << LIFE_SHIFT) + first, (life << LIFE_SHIFT) + last)
            spool.batches -= spool._db.execute("delete from batch where key between ? and ?", bounds).rowcount


def delete_on_acknowledgement() -> None:
    app.Publisher = HastyPublisher  # type: ignore[misc]


def forget_what_1970_receipted() -> None:
    """Stamp a receipt with whatever the clock says, so that it seems long ago once the clock is set."""
    spooling.SETTLE = "update batch set settled_ms = ? where key between ? and ? and settled_ms < 0"
    publisher.STATUS_EVERY_S = 0.5  # with each status what is old is forgotten


def _settles(arrivals: Sequence[Arrival]) -> tuple[list[Message], Bundle]:
    """Return what settles ``arrivals`` without storing them."""
    headers = [each.header for _, each in arrivals if isinstance(each, Batch)]
    return [message for message, _ in arrivals], Bundle(rejected=[Rejected("", b"", "", each) for each in headers])


def receipt_before_commit() -> None:
    store = Pipeline._store

    async def store_late(pipeline: Pipeline, arrivals: list[Arrival]) -> None:
        await pipeline._settled(*_settles(arrivals))
        await store(pipeline, arrivals)

    Pipeline._store = store_late  # type: ignore[method-assign]


def give_up_on_errors() -> None:
    async def settle(pipeline: Pipeline, arrivals: list[Arrival]) -> None:
        try:
            await pipeline._store_or_split(arrivals)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            await pipeline._disconnect()
            await pipeline._settled(*_settles(arrivals))

    Pipeline._settle = settle  # type: ignore[method-assign]


def receipt_all_before() -> None:
    encode = receipts.encode_receipts

    def encode_all(spool: tuple[str, str], batches: Ranges, events: Ranges) -> list[tuple[str, bytes]]:
        return encode(spool, ((1, max(last for _, last in batches)),) if batches else (), events)

    receipts.encode_receipts = encode_all


def store_twice() -> None:
    """Store without looking: no key in the table, nothing suspected."""
    with psycopg.connect(os.environ["CONGTO_DSN"], autocommit=True) as connection:
        connection.execute("alter table reading drop constraint if exists reading_pkey")
    bundle.find_suspects = lambda *_: frozenset()


def acknowledge_early() -> None:
    """No bug: batches that the broker has forgotten by then are sent again, for they have no receipt."""
    take = Broker._on_message

    def take_and_acknowledge(broker: Broker, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        take(broker, client, userdata, message)
        client.ack(message.mid, message.qos)

    Broker._on_message = take_and_acknowledge  # type: ignore[method-assign]
    Broker.acknowledge = lambda broker, _messages: broker._flush()  # type: ignore[method-assign]


BUGS = {
    each.__name__: each
    for each in (
        delete_on_acknowledgement,
        forget_what_1970_receipted,
        receipt_before_commit,
        give_up_on_errors,
        receipt_all_before,
        store_twice,
        acknowledge_early,
    )
}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
