"""What the spool gives up, and in which order, when it may not grow; and how losses are kept until they are told.

What was receipted goes first, the oldest receipt first: it is kept only in case the server's database is restored from
a backup. Batches go, and when that is not enough messages of events. Then instantaneous readings that wait, the oldest
first; then billing registers, the oldest first: registers are cumulative, so those that are left still say what was
consumed. A batch that waits leaves a row in ``lost`` behind, which is sent in its place; and if it was never sent, a
hole for each meter that remembers its load profile.

Used by :class:`edge_agent.spool.Spool`, which holds the lock and the transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from edge_agent.spool_seals import LIFE_SHIFT, SEQUENCE_MASK
from protocols.errors import ProtocolError
from protocols.obis import Obis
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import Ranges, join_ranges

AT_ONCE = 64  # batches looked at in a step
ROW_OCTETS = 64  # of a batch beside its payload, in the table and its indexes
TOLD_MAX = 10_000  # ranges of losses that are kept after they were told
RANGES_TOLD_MAX = 1000  # a message
INSTANTANEOUS = 7  # IEC 62056-61, value group D: instantaneous value

ORDER = (
    """
    select key, readings, from_ms, to_ms, settled_ms, length(payload) from batch
    where settled_ms >= 0 order by settled_ms limit ?
    """,
    """
    select key, readings, from_ms, to_ms, settled_ms, length(payload) from batch
    where settled_ms < 0 and billing = 0 order by key limit ?
    """,
    """
    select key, readings, from_ms, to_ms, settled_ms, length(payload) from batch
    where settled_ms < 0 order by key limit ?
    """,
)
RECEIPTED_EVENTS = "select key, length(payload) from event where settled_ms >= 0 order by key limit ?"
LENGTHEN_HOLE = "update hole set to_ms = ? where meter = ? and to_ms = ?"
ADD_HOLE = """
    insert into hole values (?, ?, ?) on conflict (meter, from_ms) do update set to_ms = max(to_ms, excluded.to_ms)
"""
ADD_TOTAL = """
    insert into loss_total values (?, ?, ?)
    on conflict (reason) do update set batches = batches + excluded.batches, readings = readings + excluded.readings
"""
FORGET_TOLD = """
    delete from lost where told = 1 and first <= (select first from lost where told = 1 order by first desc limit 1
    offset ?)
"""


class Lost(NamedTuple):
    """A range of batches that were given up, by key. ``readings`` and times are 0 where nobody knows."""

    first: int
    last: int
    readings: int
    from_ms: int
    to_ms: int


class Given(NamedTuple):
    """What was given up to make room: octets, receipted batches, and batches that waited.

    ``holes`` are slots of batches that were never sent, which load profiles may fill.
    """

    octets: int
    settled: int
    batches: int
    holes: int


class Healing(NamedTuple):
    """Which meters have load profiles, how often they are read [ms], and up to which key batches may have been sent.

    What may have been sent may be stored: its slots are no holes, or one key would get two values.
    """

    every_ms: Mapping[str, int]
    sent_up_to: int


NO_HEALING = Healing({}, 0)


@lru_cache(maxsize=1024)
def is_billing(obis: str) -> bool:
    """Return whether a reading counts for bills: all but instantaneous values do."""
    return Obis.parse(obis).d != INSTANTANEOUS


def make_room(db: sqlite3.Connection, octets: int, *, spare_billing: bool, healing: Healing = NO_HEALING) -> Given:
    """Give up batches until ``octets`` are free or none is left that may go.

    ``spare_billing`` says that what comes is instantaneous: it pushes no billing register out.
    """
    freed = settled = batches = holes = 0
    for query in ORDER[:-1] if spare_billing else ORDER:
        if query is not ORDER[0] and freed < octets:
            freed += _forget_events(db, octets - freed)
        while freed < octets and (rows := db.execute(query, (AT_ONCE,)).fetchall()):
            for key, count, from_ms, to_ms, settled_ms, size in rows:
                if freed >= octets:
                    break
                if settled_ms < 0 and healing.every_ms and key > healing.sent_up_to:
                    holes += _note_holes(db, key, healing.every_ms)
                db.execute("delete from batch where key = ?", (key,))
                freed += size + ROW_OCTETS
                if settled_ms < 0:
                    note(db, Lost(key, key, count, from_ms, to_ms), Reason.SPACE)
                    batches += 1
                else:
                    settled += 1
    return Given(freed, settled, batches, holes)


def _forget_events(db: sqlite3.Connection, octets: int) -> int:
    """Forget receipted messages of events, the oldest first, until ``octets`` are free; return how many are."""
    freed = 0
    while freed < octets and (rows := db.execute(RECEIPTED_EVENTS, (AT_ONCE,)).fetchall()):
        for key, size in rows:
            if freed >= octets:
                break
            db.execute("delete from event where key = ?", (key,))
            freed += size + ROW_OCTETS
    return freed


def _note_holes(db: sqlite3.Connection, key: int, every_ms: Mapping[str, int]) -> int:
    """Note the slots of a batch that is given up and was never sent as holes; return how many there are.

    They are read again from the meters' load profiles when there is room. One that follows a hole makes it longer.
    """
    (payload,) = db.execute("select cast(payload as blob) from batch where key = ?", (key,)).fetchone()
    try:
        readings = decode_readings(payload).readings()
        slots = sorted(
            {
                (each.meter, each.measured_at_ms)
                for each in readings
                if each.meter in every_ms and each.measured_at_ms % every_ms[each.meter] == 0 and is_billing(each.obis)
            }
        )
    except ProtocolError:  # the disk has altered it
        return 0
    for meter, at_ms in slots:
        if not db.execute(LENGTHEN_HOLE, (at_ms, meter, at_ms - every_ms[meter])).rowcount:
            db.execute(ADD_HOLE, (meter, at_ms, at_ms))
    return len(slots)


def note(db: sqlite3.Connection, lost: Lost, reason: Reason) -> None:
    """Keep a loss until it is told; it joins the one before if they touch and have one reason."""
    db.execute(ADD_TOTAL, (reason.value, lost.last - lost.first + 1, lost.readings))
    before = db.execute("select * from lost where first < ? order by first desc limit 1", (lost.first,)).fetchone()
    if before is not None and (before[1], before[2], before[6]) == (lost.first - 1, reason.value, 0):
        known = before[3] > 0 and lost.readings > 0
        db.execute(
            "update lost set last = ?, readings = ?, from_ms = ?, to_ms = ? where first = ?",
            (
                lost.last,
                before[3] + lost.readings if known else 0,
                min(before[4], lost.from_ms),
                max(before[5], lost.to_ms) if known else 0,
                before[0],
            ),
        )
    else:
        row = (lost.first, lost.last, reason.value, lost.readings, lost.from_ms, lost.to_ms)
        db.execute("insert or replace into lost values (?, ?, ?, ?, ?, ?, 0)", row)


def untold(db: sqlite3.Connection, gateway: str, generations: Mapping[int, str]) -> list[Loss]:
    """Return the losses that no receipt has named yet, as messages: one for each generation and reason."""
    query = "select first, last, reason, readings, from_ms, to_ms from lost where told = 0 order by first limit ?"
    gathered: dict[tuple[int, str], list[Lost]] = {}
    for first, last, reason, readings, from_ms, to_ms in db.execute(query, (RANGES_TOLD_MAX,)):
        gathered.setdefault((first >> LIFE_SHIFT, reason), []).append(Lost(first, last, readings, from_ms, to_ms))
    found = []
    for (life, reason), rows in gathered.items():
        known = all(row.readings for row in rows)
        found.append(
            Loss(
                gateway,
                generations[life],
                join_ranges((row.first & SEQUENCE_MASK, row.last & SEQUENCE_MASK) for row in rows),
                Reason(reason),
                sum(row.readings for row in rows) if known else None,
                min(row.from_ms for row in rows) if known else None,
                max(row.to_ms for row in rows) if known else None,
            )
        )
    return found


def note_told(db: sqlite3.Connection, first: int, last: int) -> int:
    """Note that the server knows of the losses in the closed range of keys; return how many ranges it learned of."""
    count = db.execute("update lost set told = 1 where first >= ? and last <= ? and told = 0", (first, last)).rowcount
    if count:
        db.execute(FORGET_TOLD, (TOLD_MAX,))
    return count


def tell_again(db: sqlite3.Connection, first: int, last: int) -> None:
    """Let losses in the closed range of keys be told once more."""
    db.execute("update lost set told = 0 where last >= ? and first <= ?", (first, last))


def missing(db: sqlite3.Connection, first: int, last: int) -> Ranges:
    """Return the keys of a closed range under which there is neither a batch nor a loss."""
    there: Iterable[tuple[int, int]] = [
        (max(begin, first), min(end, last))
        for begin, end in (
            *((key, key) for (key,) in db.execute("select key from batch where key between ? and ?", (first, last))),
            *db.execute("select first, last from lost where last >= ? and first <= ?", (first, last)),
        )
    ]
    found, at = [], first
    for begin, end in join_ranges(there):
        if at < begin:
            found.append((at, begin - 1))
        at = end + 1
    return (*found, (at, last)) if at <= last else tuple(found)


def totals(db: sqlite3.Connection) -> dict[Reason, tuple[int, int]]:
    """Return how many batches and readings were ever given up, by reason."""
    return {Reason(reason): (batches, readings) for reason, batches, readings in db.execute("select * from loss_total")}
