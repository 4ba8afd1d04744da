"""Opening a spool, and what is done when it is damaged: it is set aside, and what can be read of it goes on.

A new file begins with a new generation. Batches that are whole by their checksum go into it under their own generation
and numbers and are sent as they would have been; numbers of which nothing is left are declared as lost. What can't be
read of slots, holes and days is begun anew: slots are read again, and of days before that the status says nothing.
"""

import gc
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from edge_agent import giving_up
from edge_agent.carving import Carver, Row
from edge_agent.giving_up import Lost, is_billing
from edge_agent.spool_file import SUSPECT, TORN, connect_file, draw_generation, is_damage, mark_torn
from edge_agent.spool_log import HEAD_OCTETS, LogState, look_at_log
from edge_agent.spool_notes import DAY_MS
from edge_agent.spool_schema import LIFE_SHIFT, SEQUENCE_MASK, WAITING
from edge_agent.spool_swap import begin_fresh, finish_swap, keep_beside, swap
from edge_agent.spooling import Spool
from protocols.errors import ProtocolError, UnavailableError, UsageError
from protocols.telemetry.event import decode_events
from protocols.telemetry.loss import Reason
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import join_ranges

ROWS_AT_ONCE = 500
LIFE_MAX = 1 << 20  # a file that was damaged or copied so often is none
DAYS_MAX = 100_000  # since 1970
# Small tables: how they are read and written, and what must be in their columns; a row with anything else is damaged.
TABLES_KEPT: Mapping[str, tuple[str, str, tuple[type, ...]]] = {
    "day": ("select * from day", "insert or ignore into day values (?, ?, ?)", (int, int, str)),
    "slot": ("select * from slot", "insert or ignore into slot values (?, ?, ?)", (str, str, int)),
    "hole": ("select * from hole", "insert or ignore into hole values (?, ?, ?)", (str, int, int)),
    "log_read": ("select * from log_read", "insert or ignore into log_read values (?, ?, ?)", (str, str, int)),
    "register": ("select * from register", "insert or ignore into register values (?, ?, ?)", (str, int, bytes)),
    "lost": (
        "select * from lost",
        "insert or ignore into lost values (?, ?, ?, ?, ?, ?, ?)",
        (int, int, str, int, int, int, int),
    ),
    "loss_total": ("select * from loss_total", "insert or ignore into loss_total values (?, ?, ?)", (str, int, int)),
}
LIFE = ("select * from life", (int, str, int, int))
_DIGITS = re.compile("[0-9a-f]{16}")
COME_TO = {
    False: "update life set last_sequence = max(last_sequence, ?) where life = ?",
    True: "update life set last_event = max(last_event, ?) where life = ?",
}
INSERT_EVENT = "insert or ignore into event values (?, ?, ?, ?)"
INSERT_BATCH = "insert into batch values (?, ?, ?, ?, ?, ?, ?, ?)"
SETTLED_BEFORE = "update batch set settled_ms = max(settled_ms, ?) where key = ?"


Life = tuple[int, str, int, int]
"""A generation's number in the file, its name, its last sequence and last event."""


class Kept(NamedTuple):
    """A batch or a message of events out of a damaged file, whole by its checksum, with its generation."""

    key: int
    generation: str
    batch: tuple[int, int, int, int]  # billing, readings, from, to; zeros for events
    settled_ms: int
    payload: bytes
    is_event: bool = False


def open_spool(
    path: Path,
    gateway: str,
    octets_max: int,
    *,
    connect: Callable[[Path | None], sqlite3.Connection] = connect_file,
    draw: Callable[[], str] = draw_generation,
) -> tuple[Spool, Path | None]:
    """Return the spool at ``path``, and where its predecessor was moved if that was damaged.

    Raises
    ------
    UsageError
        If the spool is not this gateway's or this version's.
    UnavailableError
        If it can't be opened at all.
    """
    swapped = finish_swap(path)
    suspect = path.with_name(f"{path.name}{SUSPECT}")
    torn = path.with_name(f"{path.name}{TORN}")
    log = look_at_log(path)  # before SQLite opens it, and cuts it where it is damaged
    try:
        if not suspect.exists() and log is not LogState.CUT and not _is_emptied(path):
            if log is LogState.TORN:
                mark_torn(path)
            spool = Spool(path, gateway, octets_max, connect=connect, draw_generation=draw)
            try:
                if log is LogState.TORN or torn.exists():  # if the last commit is damaged, its numbers were given
                    spool.renew("the last commit in its log is not whole")
                    torn.unlink(missing_ok=True)
                else:
                    spool.sync_what_shows()
            except BaseException:
                spool.close()
                raise
            return spool, path if swapped else None
    except sqlite3.OperationalError as error:
        if not is_damage(error):
            raise UnavailableError(f"{path}: can't be opened: {error}; see to the directory and its rights") from error
    except (sqlite3.DatabaseError, TypeError, ValueError, IndexError):
        pass  # TypeError and the others: a row that must be there is not, or is of another kind
    # The connection that found the damage closes when the last trace of it is gone, and removes the log by its name:
    # that must not be the new file's.
    gc.collect()
    if not path.exists():
        path.write_text("", encoding="ascii")
    aside = keep_beside(path)
    fresh = Spool(begin_fresh(path), gateway, octets_max, connect=connect, draw_generation=draw)
    try:
        rescue(aside, fresh)
    finally:
        fresh.close()
    swap(path)
    return Spool(path, gateway, octets_max, connect=connect, draw_generation=draw), aside


def _is_emptied(path: Path) -> bool:
    """Return whether the file is empty or gone while its log has commits: SQLite would remove the log in silence."""
    log = path.with_name(f"{path.name}-wal")
    is_empty = not path.exists() or path.stat().st_size == 0
    return is_empty and log.exists() and log.stat().st_size > HEAD_OCTETS


def rescue(aside: Path, spool: Spool) -> None:
    """Take over into ``spool``, which is new, what can be read of the damaged file ``aside``."""
    carver = Carver(aside)
    try:
        lives: list[Life] = []
        kept = _whole(carver.rows(), spool.gateway, lives)
        with suppress(UnavailableError):  # a full disk: what is not taken over stays in the file that was set aside
            while part := list(islice(kept, ROWS_AT_ONCE)):
                spool.take_over(lambda db, part=part: _insert(db, part))  # type: ignore[misc]  # bound at once
            spool.take_over(lambda db: _take_notes(db, aside, lives))
            spool.take_over(_declare_missing)
    finally:
        carver.close()
    spool.reload()


def _whole(rows: Iterator[Row], gateway: str, lives: list[Life]) -> Iterator[Kept]:
    """Yield the batches and events that are as they were written; add to ``lives`` what tells how far they had come."""
    for rowid, columns in rows:
        payload = columns[-1] if columns else None
        if (life := _life(rowid, columns)) is not None:
            lives.append(life)
        if not isinstance(payload, bytes) or len(columns) not in (2, 4, 8):
            continue
        if len(columns) > 2 and columns[1] != crc32(payload):
            continue
        with suppress(ProtocolError, UsageError):
            found = _event(rowid, columns, payload) if len(columns) == 4 else _batch(rowid, columns, payload)
            if found[1] == gateway:
                yield found[0]


def _life(rowid: int, columns: list[int | bytes | None]) -> Life | None:
    """Return a row of the table of generations, none for another. Its number is the rowid and stands nowhere else."""
    match columns:
        case [None, bytes(name), int(last_sequence), int(last_event)] if _DIGITS.fullmatch(name.decode("latin-1")):
            return rowid, name.decode("latin-1"), last_sequence, last_event
    return None


def _batch(rowid: int, columns: list[int | bytes | None], payload: bytes) -> tuple[Kept, str]:
    batch = decode_readings(payload)
    life = max(rowid >> LIFE_SHIFT, 1)  # before version 3 the rowid was the sequence
    times = (min(batch.at_ms), max(batch.at_ms))
    told = columns[6] if len(columns) == 8 else WAITING
    billing = any(is_billing(obis) for _, obis in batch.channels)
    kept = Kept(
        (life << LIFE_SHIFT) + batch.sequence,
        batch.generation,
        (int(billing), len(batch), *times),
        told if isinstance(told, int) else WAITING,
        payload,
    )
    return kept, batch.gateway


def _event(rowid: int, columns: list[int | bytes | None], payload: bytes) -> tuple[Kept, str]:
    header = decode_events(payload).header
    life = max(rowid >> LIFE_SHIFT, 1)
    settled_ms = columns[2] if isinstance(columns[2], int) else WAITING
    key = (life << LIFE_SHIFT) + header.sequence
    return Kept(key, header.generation, (0, 0, 0, 0), settled_ms, payload, is_event=True), header.gateway


def _insert(db: sqlite3.Connection, part: list[Kept]) -> None:
    for kept in part:
        life, sequence = _know_life(db, kept.key >> LIFE_SHIFT, kept.generation), kept.key & SEQUENCE_MASK
        db.execute(COME_TO[kept.is_event], (sequence, life))
        key, crc = (life << LIFE_SHIFT) + sequence, crc32(kept.payload)
        if kept.is_event:
            db.execute(INSERT_EVENT, (key, crc, kept.settled_ms, kept.payload))
            continue
        known = db.execute("select crc from batch where key = ?", (key,)).fetchone()
        if known is None:
            db.execute(INSERT_BATCH, (key, crc, *kept.batch, kept.settled_ms, kept.payload))
        elif known[0] == crc:  # an older version of the row: receipted is receipted
            db.execute(SETTLED_BEFORE, (kept.settled_ms, key))


def _know_life(db: sqlite3.Connection, life: int, generation: str) -> int:
    """Give an old generation its number back and return it; the new one, which is the last, makes room for it.

    A name is sound by its batch's checksum, a number by nothing: a generation keeps the first number that was read,
    and one whose number another has, or nobody can have, gets the next free one.
    """
    known = db.execute("select life from life where generation = ?", (generation,)).fetchone()
    if known:
        return int(known[0])
    (newest,) = db.execute("select max(life) from life").fetchone()
    taken = db.execute("select 1 from life where life = ? and life < ?", (life, newest)).fetchone()
    if taken or not 0 < life < LIFE_MAX:
        life = newest
    if life >= newest:
        db.execute("update life set life = ? where life = ?", (life + 1, newest))
    db.execute("insert into life (life, generation) values (?, ?)", (life, generation))
    return int(life)


def _take_notes(db: sqlite3.Connection, aside: Path, lives: list[Life]) -> None:
    """Copy what can be read of the small tables, and how far the old generations had come, by ``lives`` as well."""
    for life, generation, last_sequence, last_event in [*_read(aside, *LIFE), *lives]:
        if 0 < life < LIFE_MAX and _DIGITS.fullmatch(generation):
            statement = "update life set last_sequence = max(last_sequence, ?), last_event = max(last_event, ?) "
            counted = (last_sequence & SEQUENCE_MASK, last_event & SEQUENCE_MASK, _know_life(db, life, generation))
            db.execute(statement + "where life = ?", counted)
    for table, (select, insert, types) in TABLES_KEPT.items():
        rows = [row for row in _read(aside, select, types) if _is_sound(table, row)]
        if rows:
            db.executemany(insert, rows)
        elif table == "day":
            (newest_ms,) = db.execute("select coalesce(max(to_ms), 0) from batch").fetchone()
            db.execute("insert into meta values ('days_from', ?)", (newest_ms // DAY_MS + 1,))
    before = _read(aside, "select value from meta where key = 'damaged'", (int,))
    db.execute("insert into meta values ('damaged', ?)", (1 + (before[0][0] if before else 0),))


def _read(aside: Path, select: str, types: tuple[type, ...]) -> list[Any]:
    """Return the rows of a table in a damaged file, if it can be read, as far as their columns are of these types."""
    try:
        with closing(sqlite3.connect(aside)) as old:
            rows = old.execute(select).fetchall()
    except (sqlite3.Error, ValueError, OverflowError):  # ValueError: a text that is not UTF-8 any more
        return []
    return [row for row in rows if tuple(map(type, row)) == types]


def _is_sound(table: str, row: tuple[Any, ...]) -> bool:
    """Return whether what else reads the row can: digests are digits, reasons are known, octets as they were."""
    if table == "day":
        return _DIGITS.fullmatch(row[2]) is not None and abs(row[0]) < DAYS_MAX and row[1] >= 0
    if table in ("lost", "loss_total"):
        return row[2 if table == "lost" else 0] in {reason.value for reason in Reason}
    return table != "register" or crc32(row[2]) == int(row[1])


def _declare_missing(db: sqlite3.Connection) -> None:
    """Declare the numbers of the old generations, from the first batch that is left on, under which nothing is left."""
    (newest,) = db.execute("select max(life) from life").fetchone()
    for life, last in db.execute("select life, last_sequence from life where life < ?", (newest,)).fetchall():
        base = life << LIFE_SHIFT
        query = "select coalesce(min(key), ?) from batch where key > ? and key <= ?"
        (first,) = db.execute(query, (base + 1, base, base + last)).fetchone()
        for gap_first, gap_last in join_ranges(giving_up.missing(db, first, base + last)):
            giving_up.note(db, Lost(gap_first, gap_last, 0, 0, 0), Reason.DAMAGE)
