"""What the spool notes with each cycle: counts and digests by day, meters' last slots, holes in their series.

Used by :class:`edge_agent.spool.Spool`, which holds the lock and the transaction.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from edge_agent.cycle import Cycle, Hole
from protocols.telemetry.reading import DIGEST_MODULUS, Reading, reading_digest

DAY_MS = 86_400_000
SET_DAY = """
    insert into day values (?, ?, ?)
    on conflict (day) do update set readings = excluded.readings, digest = excluded.digest
"""
SET_SLOT = "insert into slot values (?, ?, ?) on conflict (meter, series) do update set slot_ms = excluded.slot_ms"
SET_HOLE = """
    insert into hole values (?, ?, ?) on conflict (meter, from_ms) do update set to_ms = max(to_ms, excluded.to_ms)
"""
SET_REGISTER = """
    insert into register values (?, ?, ?)
    on conflict (meter) do update set crc = excluded.crc, payload = excluded.payload
"""


@dataclass(frozen=True, slots=True)
class DayTaken:
    """How many readings of a UTC day (counted from 1970) were taken, and their digest."""

    day: int
    readings: int
    digest: int


def count(db: sqlite3.Connection, readings: Sequence[Reading]) -> None:
    """Add ``readings`` to the counts and digests of their days."""
    days: dict[int, list[Reading]] = {}
    for reading in readings:
        days.setdefault(reading.measured_at_ms // DAY_MS, []).append(reading)
    count_days(db, {day: (len(taken), reading_digest(taken)) for day, taken in days.items()})


def count_days(db: sqlite3.Connection, counted: Mapping[int, tuple[int, int]], sign: int = 1) -> None:
    """Add numbers of readings and their digests to those of their days, or take them out with a negative ``sign``."""
    for day, (readings, digest_of) in counted.items():
        row = db.execute("select readings, digest from day where day = ?", (day,)).fetchone()
        before, digest = (row[0], int(row[1], 16)) if row else (0, 0)
        digest = (digest + sign * digest_of) % DIGEST_MODULUS
        db.execute(SET_DAY, (day, before + sign * readings, f"{digest:016x}"))


def days(db: sqlite3.Connection, most: int) -> list[DayTaken]:
    """Return the last days of which readings were taken, ``most`` at most, ascending."""
    rows = db.execute("select day, readings, digest from day order by day desc limit ?", (most,)).fetchall()
    return [DayTaken(day, readings, int(digest, 16)) for day, readings, digest in reversed(rows)]


def note(db: sqlite3.Connection, cycle: Cycle) -> None:
    """Note the slots that were read, what counters said, holes, and what of holes need not be tried again."""
    db.executemany(SET_REGISTER, [(meter, crc32(found), found) for meter, found in cycle.registers.items()])
    db.executemany(SET_SLOT, [(each.meter, each.series, each.slot_ms) for each in cycle.slots])
    db.executemany(SET_HOLE, [(each.meter, each.from_ms, each.to_ms) for each in cycle.holes])
    for part in cycle.filled:
        found = db.execute(
            "select from_ms, to_ms from hole where meter = ? and from_ms <= ? and to_ms >= ?",
            (part.meter, part.to_ms, part.from_ms),
        ).fetchall()
        for from_ms, to_ms in found:
            db.execute("delete from hole where meter = ? and from_ms = ?", (part.meter, from_ms))
            if from_ms < part.from_ms:
                db.execute(SET_HOLE, (part.meter, from_ms, part.from_ms - 1))
            if to_ms > part.to_ms:
                db.execute(SET_HOLE, (part.meter, part.to_ms + 1, to_ms))


def slots(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return the last stored slot by meter and series."""
    return {(meter, series): at for meter, series, at in db.execute("select * from slot")}


def holes(db: sqlite3.Connection) -> list[Hole]:
    """Return the holes that are not filled, the oldest first."""
    return [Hole(*row) for row in db.execute("select * from hole order by from_ms, meter")]


def registers(db: sqlite3.Connection) -> dict[str, bytes]:
    """Return what each meter's counters said last; nothing of a meter whose row was altered."""
    rows = db.execute("select meter, crc, cast(payload as blob) from register")
    return {meter: payload for meter, crc, payload in rows if crc32(payload) == crc}
