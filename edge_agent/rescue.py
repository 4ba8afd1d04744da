"""Opening a spool, and what is done when it is damaged: it is set aside, and what can be read of it goes on.

A new file begins with a new generation. Batches that are whole by their checksum go into it under their own generation
and numbers and are sent as they would have been; numbers of which nothing is left are declared as lost. What can't be
read of slots, holes and days is begun anew: slots are read again, and of days before that the status says nothing.
"""

import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from edge_agent import giving_up, spool_seals, spool_sound
from edge_agent.carving import Carver, Row
from edge_agent.giving_up import Lost, is_billing
from edge_agent.spool_file import (
    SUSPECT,
    TORN,
    connect_file,
    draw_generation,
    is_damage,
    is_of_unknown_format,
    mark_begun,
    mark_torn,
)
from edge_agent.spool_log import HEAD_OCTETS, LogState, look_at_log
from edge_agent.spool_notes import DAY_MS
from edge_agent.spool_seals import GENERATION, LIFE_SHIFT, SEQUENCE_MASK, WAITING, Life, is_settled, seal_settled
from edge_agent.spool_swap import begin_fresh, finish_swap, keep_beside, swap
from edge_agent.spooling import Spool
from protocols.errors import ProtocolError, UnavailableError, UsageError
from protocols.telemetry.event import decode_events
from protocols.telemetry.loss import Reason
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import join_ranges

ROWS_AT_ONCE = 500
LIFE_MAX = 1 << 20  # a file that was damaged or copied so often is none
INSERT_EVENT = "insert or ignore into event values (?, ?, ?, ?)"
INSERT_BATCH = "insert into batch values (?, ?, ?, ?, ?, ?, ?, ?)"
SETTLED_BEFORE = "update batch set settled_ms = max(settled_ms, ?) where key = ?"


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
                mark_begun(path)
            except BaseException:
                spool.close()
                raise
            return spool, path if swapped else None
    except sqlite3.OperationalError as error:
        if not (is_damage(error) or is_of_unknown_format(path)):
            raise UnavailableError(f"{path}: can't be opened: {error}; see to the directory and its rights") from error
    except (sqlite3.DatabaseError, TypeError, ValueError, LookupError):
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
    mark_begun(path)
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
    """Return the note of a generation, in its table or the second one; none of another row.

    Its number is the rowid and stands nowhere else. Before version 5 there was no seal.
    """
    match columns:
        case [None, bytes(name), *numbers]:
            row = (rowid, name.decode("latin-1"), *numbers)
            return spool_seals.sound(row) or _unsealed(row)
        case [bytes(key), bytes(value)]:
            return spool_seals.parse_copy(key.decode("latin-1"), value.decode("latin-1"))
    return None


def _unsealed(row: tuple[Any, ...]) -> Life | None:
    match row:
        case (int(life), str(name), int(last_sequence), int(last_event)) if GENERATION.fullmatch(name):
            return Life(life, name, last_sequence & SEQUENCE_MASK, last_event & SEQUENCE_MASK, kept_from=0)
    return None


def _batch(rowid: int, columns: list[int | bytes | None], payload: bytes) -> tuple[Kept, str]:
    batch = decode_readings(payload)
    life = max(rowid >> LIFE_SHIFT, 1)  # before version 3 the rowid was the sequence
    times = (min(batch.at_ms), max(batch.at_ms))
    key = (life << LIFE_SHIFT) + batch.sequence
    settled_ms = _settled_ms(key, columns[6] if len(columns) == 8 else None)
    billing = any(is_billing(obis) for _, obis in batch.channels)
    kept = Kept(key, batch.generation, (int(billing), len(batch), *times), settled_ms, payload)
    return kept, batch.gateway


def _event(rowid: int, columns: list[int | bytes | None], payload: bytes) -> tuple[Kept, str]:
    header = decode_events(payload).header
    life = max(rowid >> LIFE_SHIFT, 1)
    key = (life << LIFE_SHIFT) + header.sequence
    settled_ms = _settled_ms(key, columns[2])
    return Kept(key, header.generation, (0, 0, 0, 0), settled_ms, payload, is_event=True), header.gateway


def _settled_ms(key: int, found: object) -> int:
    """Return when a row was receipted. What is no sealed time waits: at worst the server gets it a second time."""
    return found if isinstance(found, int) and is_settled(key, found) else WAITING


def _insert(db: sqlite3.Connection, part: list[Kept]) -> None:
    for kept in part:
        life, sequence = _know_life(db, kept.key >> LIFE_SHIFT, kept.generation), kept.key & SEQUENCE_MASK
        _come_to(db, Life(life, kept.generation, *((0, sequence) if kept.is_event else (sequence, 0)), kept_from=0))
        key, crc = (life << LIFE_SHIFT) + sequence, crc32(kept.payload)
        settled_ms = seal_settled(key, kept.settled_ms) if kept.settled_ms >= 0 else WAITING
        if kept.is_event:
            db.execute(INSERT_EVENT, (key, crc, settled_ms, kept.payload))
            continue
        known = db.execute("select crc from batch where key = ?", (key,)).fetchone()
        if known is None:
            db.execute(INSERT_BATCH, (key, crc, *kept.batch, settled_ms, kept.payload))
        elif known[0] == crc:  # an older version of the row: receipted is receipted
            db.execute(SETTLED_BEFORE, (settled_ms, key))


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
        moved = spool_seals.of(db, newest)
        spool_seals.remove(db, newest)
        spool_seals.put(db, moved._replace(life=life + 1))
    spool_seals.put(db, Life(life, generation, kept_from=0))
    return int(life)


def _come_to(db: sqlite3.Connection, found: Life) -> None:
    """Note how far a generation had come by another source as well."""
    known = spool_seals.of(db, found.life)
    come = Life(*known[:2], *map(max, known[2:], found[2:]))
    if come != known:
        spool_seals.put(db, come)


def _take_notes(db: sqlite3.Connection, aside: Path, lives: list[Life]) -> None:
    """Copy what can be read of the small tables, and how far the old generations had come, by ``lives`` as well."""
    noted = [spool_seals.sound(row) or _unsealed(row) for row in _read(aside, "select * from life")]
    noted += [spool_seals.parse_copy(*row) for row in _read(aside, spool_seals.SELECT_COPIES)]
    for found in (*noted, *lives):
        if found is not None and 0 < found.life < LIFE_MAX:
            _come_to(db, found._replace(life=_know_life(db, found.life, found.generation)))
    for name, table in spool_sound.TABLES.items():
        rows = [row for row in _read(aside, table.select) if spool_sound.is_sound(name, row)]
        if rows:
            db.executemany(table.insert, rows)
        elif name == "day":
            (newest_ms,) = db.execute("select coalesce(max(to_ms), 0) from batch").fetchone()
            db.execute("insert into meta values ('days_from', ?)", (newest_ms // DAY_MS + 1,))
    before = _read(aside, "select value from meta where key = 'damaged'")
    count = before[0][0] if before and isinstance(before[0][0], int) else 0
    db.execute("insert into meta values ('damaged', ?)", (1 + count,))


def _read(aside: Path, select: str) -> list[Any]:
    """Return the rows of a table in a damaged file, if it can be read."""
    try:
        with closing(sqlite3.connect(aside)) as old:
            return old.execute(select).fetchall()
    except (sqlite3.Error, ValueError, OverflowError):  # ValueError: a text that is not UTF-8 any more
        return []


def _declare_missing(db: sqlite3.Connection) -> None:
    """Declare the numbers of the old generations under which nothing is left, from the first on that was kept.

    Where nobody knows which was kept, it is the first that is left.
    """
    lives = spool_seals.load(db)
    for each in lives[:-1]:
        base = each.life << LIFE_SHIFT
        first = base + (each.kept_from or _first_left(db, base, each.last_sequence))
        for gap_first, gap_last in join_ranges(giving_up.missing(db, first, base + each.last_sequence)):
            giving_up.note(db, Lost(gap_first, gap_last, 0, 0, 0), Reason.DAMAGE)
    spool_seals.note_kept(db)
    sent_up_to = lives[-1].life << LIFE_SHIFT  # all of before: nobody knows
    db.execute("update meta set value = ? where key = 'sent_up_to'", (sent_up_to,))


def _first_left(db: sqlite3.Connection, base: int, last: int) -> int:
    query = "select min(key) from batch where key > ? and key <= ?"
    (found,) = db.execute(query, (base, base + last)).fetchone()
    return 1 if found is None else int(found) & SEQUENCE_MASK
