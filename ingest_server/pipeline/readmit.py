"""Taking up what lies in the quarantine, after the meter was registered or the program mended."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from ingest_server.pipeline.bundle import Arrival, make_bundle
from ingest_server.pipeline.message import Message, decode, gateway_of
from ingest_server.pipeline.registered import Registered
from ingest_server.pipeline.store import Connection, open_connection, store
from ingest_server.pipeline.suspects import Stored
from protocols.telemetry.batch import Batch
from protocols.telemetry.event import EventMessage

# Only what lies there now: what this run puts there in exchange has a higher number.
SELECT_LAST = "select coalesce(max(quarantine_id), 0) from quarantine"
SELECT_NEXT = """
    select quarantine_id, topic, payload
    from quarantine
    where quarantine_id > %s and quarantine_id <= %s
    order by quarantine_id
    limit 1
"""


@dataclass(slots=True)
class Readmitted:
    """How many messages were taken up, how many stay, and what became of the rows."""

    messages: int = 0
    left: int = 0
    new: int = 0
    duplicate: int = 0
    conflict: int = 0

    def add(self, stored: Stored) -> None:
        """Count one message that was taken up."""
        self.messages += 1
        self.new += stored.new
        self.duplicate += stored.duplicate
        self.conflict += stored.conflict


async def readmit(dsn: str, now_ms: int) -> Readmitted:
    """Store what can now be taken of the quarantined readings; each message in a transaction of its own.

    A message of which nothing can be taken stays as it is. One of which a part can be taken is replaced by the rest
    with its reason. Running it again, or while ingest runs, does no harm.
    """
    done = Readmitted()
    connection = await open_connection(dsn)
    async with connection:
        registered = Registered()
        async for number, message in _quarantined(connection):
            decoded = decode(message)
            if not isinstance(decoded, Batch | EventMessage):
                done.left += 1  # a status says nothing any more
                continue
            await registered.load(connection, [gateway_of(decoded)])
            bundle = make_bundle([Arrival(message, decoded)], registered.channels, lambda _: 0, now_ms)
            if not bundle.events and not any(len(each.rows) for each in bundle.admissions):
                done.left += 1
                continue
            done.add(
                await store(
                    connection, replace(bundle, suspects=frozenset(range(len(bundle.admissions))), readmitted=number)
                )
            )
    return done


async def _quarantined(connection: Connection) -> AsyncIterator[tuple[int, Message]]:
    cursor = await connection.execute(SELECT_LAST)
    (last,) = await cursor.fetchone() or (0,)
    number = 0
    while True:
        cursor = await connection.execute(SELECT_NEXT, [number, last])
        row = await cursor.fetchone()
        if row is None:
            return
        number, topic, payload = row
        yield number, Message(topic, payload)
