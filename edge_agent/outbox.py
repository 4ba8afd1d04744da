"""The events that wait in the spool's file, and how far each event log has been read, in the same transactions.

Used by :class:`edge_agent.spool.Spool`, which holds the lock and the transaction. When more than
:data:`MESSAGES_MAX` messages wait, the oldest go: meters keep their logs themselves, and readings matter more.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.telemetry.event import EVENTS_MAX, MeterEvent, encode_events

MESSAGES_MAX = 10_000

SCHEMA = """
    create table event (sequence integer primary key, payload blob not null);
    create table log_read (meter text, log text, up_to_ms integer not null, primary key (meter, log)) without rowid;
"""
INSERT_MESSAGE = "insert into event (sequence, payload) values (?, ?)"
DROP_OLDEST = "delete from event where sequence <= ?"
SET_LAST = "insert into meta values ('last_event', ?) on conflict (key) do update set value = excluded.value"
SET_READ = """
    insert into log_read values (?, ?, ?)
    on conflict (meter, log) do update set up_to_ms = max(up_to_ms, excluded.up_to_ms)
"""


@dataclass(frozen=True, slots=True)
class LogRead:
    """A meter's event log was read up to the entry at ``up_to_ms`` by the meter's clock."""

    meter: str
    log: str
    up_to_ms: int


def last_event(db: sqlite3.Connection) -> int:
    """Return the sequence of the last message of events."""
    row = db.execute("select value from meta where key = 'last_event'").fetchone()
    return int(row[0]) if row else 0


def put(
    db: sqlite3.Connection, gateway: str, generation: str, events: Sequence[MeterEvent], read: Sequence[LogRead]
) -> None:
    """Number and keep ``events``, and note how far logs were read."""
    sequence = last_event(db)
    for at in range(0, len(events), EVENTS_MAX):
        sequence += 1
        part = events[at : at + EVENTS_MAX]
        db.execute(INSERT_MESSAGE, (sequence, encode_events(gateway, generation, sequence, part)))
    if events:
        db.execute(SET_LAST, (sequence,))
        db.execute(DROP_OLDEST, (sequence - MESSAGES_MAX,))
    db.executemany(SET_READ, [(each.meter, each.log, each.up_to_ms) for each in read])


def messages(db: sqlite3.Connection, count: int) -> list[tuple[int, bytes]]:
    """Return the oldest messages that wait."""
    return db.execute("select sequence, payload from event order by sequence limit ?", (count,)).fetchall()


def forget(db: sqlite3.Connection, sequence: int) -> None:
    """Remove a message that the broker has."""
    db.execute("delete from event where sequence = ?", (sequence,))


def logs_read(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return how far each log was read, by meter and log."""
    return {(meter, log): up_to_ms for meter, log, up_to_ms in db.execute("select * from log_read")}
