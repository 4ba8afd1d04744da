"""The events that wait in the spool's file, and how far each event log has been read, in the same transactions.

Used by :class:`edge_agent.spool.Spool`, which holds the lock and the transaction. A message of events stays until
:data:`MESSAGES_MAX` newer ones push it out, receipted or not: so it can be sent again when the server asks for it, and
meters keep their logs themselves.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from edge_agent.spool_seals import LIFE_SHIFT, WAITING, Life
from protocols.telemetry.event import EVENTS_MAX, MeterEvent, encode_events

MESSAGES_MAX = 10_000

INSERT_MESSAGE = "insert into event values (?, ?, ?, ?)"
KEEP_NEWEST = """
    delete from event where key <= (select key from event order by key desc limit 1 offset ?)
"""
SET_READ = """
    insert into log_read values (?, ?, ?)
    on conflict (meter, log) do update set up_to_ms = max(up_to_ms, excluded.up_to_ms)
"""
SELECT_WAITING = (
    "select key, crc, cast(payload as blob) from event where settled_ms < 0 and key > ? order by key limit ?"
)


@dataclass(frozen=True, slots=True)
class LogRead:
    """A meter's event log was read up to the entry at ``up_to_ms`` by the meter's clock."""

    meter: str
    log: str
    up_to_ms: int


def put(
    db: sqlite3.Connection, gateway: str, life: Life, events: Sequence[MeterEvent], read: Sequence[LogRead]
) -> Life:
    """Number and keep ``events``, and note how far logs were read; return how far ``life`` has come now."""
    sequence = life.last_event
    for at in range(0, len(events), EVENTS_MAX):
        sequence += 1
        payload = encode_events(gateway, life.generation, sequence, events[at : at + EVENTS_MAX])
        db.execute(INSERT_MESSAGE, ((life.life << LIFE_SHIFT) + sequence, crc32(payload), WAITING, payload))
    if events:
        db.execute(KEEP_NEWEST, (MESSAGES_MAX,))
    db.executemany(SET_READ, [(each.meter, each.log, each.up_to_ms) for each in read])
    return life._replace(last_event=sequence)


def messages(db: sqlite3.Connection, after: int, count: int) -> list[tuple[int, bytes]]:
    """Return the oldest messages that wait beyond the key ``after``; a damaged one is dropped, for its log is kept."""
    rows = db.execute(SELECT_WAITING, (after, count)).fetchall()
    damaged = [(key,) for key, crc, payload in rows if payload is None or crc32(payload) != crc]
    db.executemany("delete from event where key = ?", damaged)
    return [(key, payload) for key, crc, payload in rows if (key,) not in damaged]


def settle(db: sqlite3.Connection, first: int, last: int, now_ms: int) -> int:
    """Note that messages in the closed range of keys are receipted; return how many waited."""
    statement = "update event set settled_ms = seal_settled(key, ?) where key between ? and ? and settled_ms < 0"
    return db.execute(statement, (now_ms, first, last)).rowcount


def wait_again(db: sqlite3.Connection, first: int, last: int) -> int:
    """Let messages in the closed range of keys wait for a receipt again; return how many there were."""
    statement = "update event set settled_ms = ? where key between ? and ? and settled_ms >= 0"
    return db.execute(statement, (WAITING, first, last)).rowcount


def logs_read(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return how far each log was read, by meter and log."""
    return {(meter, log): up_to_ms for meter, log, up_to_ms in db.execute("select * from log_read")}
