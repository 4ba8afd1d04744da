"""The spool's file: how it is opened, where it is, and what it says of itself to whoever only looks."""

import contextlib
import hashlib
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.spool_notes import DayTaken
from protocols.errors import UsageError
from protocols.telemetry.loss import Reason

BUSY_TIMEOUT_S = 10.0
CHECK_OCTETS_MAX = 64 << 20  # a whole check of this takes about a second; a larger file is checked as it is read
PAGE_OCTETS = 4096
CACHE_KIB = 4096
SUSPECT, TORN, BEGUN = ".suspect", ".torn", ".begun"
FORMAT_AT, FORMATS = 18, (1, 2)  # where the head names the versions for writing and reading: rollback journal, log
LOST = "select reason, batches, readings from loss_total"
# What tells one machine from another of the same image: systemd's identity, and the board's serial number.
IDENTITIES = (Path("/etc/machine-id"), Path("/proc/device-tree/serial-number"), Path("/sys/class/dmi/id/product_uuid"))


def connect_file(path: Path | None) -> sqlite3.Connection:
    """Return a connection to the spool's file, or to memory: no transactions of its own, usable from any thread."""
    place = ":memory:" if path is None else path
    db = sqlite3.connect(place, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    db.execute(f"pragma page_size={PAGE_OCTETS}")
    db.execute(f"pragma cache_size=-{CACHE_KIB}")
    return db


def draw_generation() -> str:
    """Return the name of a new generation."""
    return secrets.token_hex(8)


def place_of(path: Path) -> str:
    """Return what changes when the file is copied, restored from a backup, or moved to another machine."""
    parts = [str(path.stat().st_ino)]
    for identity in IDENTITIES:
        try:
            parts.append(identity.read_text(encoding="ascii", errors="replace").strip("\0\n "))
        except OSError:
            parts.append("")
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def mark_suspect(path: Path) -> None:
    """Note durably beside the file that it was found damaged, so that the next start does not trust it."""
    _mark(path.with_name(f"{path.name}{SUSPECT}"))


def mark_torn(path: Path) -> None:
    """Note durably beside the file that its log is torn: once SQLite has opened it, the log need not tell any more."""
    _mark(path.with_name(f"{path.name}{TORN}"))


def mark_begun(path: Path) -> None:
    """Note durably beside the file, once, that there was a spool: one that is gone later does not begin in silence.

    A disk that does not take the mark does not hold up the agent: it is tried again at the next start.
    """
    mark = path.with_name(f"{path.name}{BEGUN}")
    with contextlib.suppress(OSError):
        if not mark.exists():
            _mark(mark)


def was_begun(path: Path) -> bool:
    """Return whether there was a spool before, whatever is there now."""
    with contextlib.suppress(OSError):  # a mark that can't be read says nothing
        return path.with_name(f"{path.name}{BEGUN}").exists()
    return False


def _mark(mark: Path) -> None:
    with contextlib.suppress(OSError):
        mark.write_text(f"{mark.suffix}\n", encoding="ascii")
        sync(mark)
        sync(mark.parent)


def sync(path: Path) -> None:
    """Return when a file, or a directory's names, are on the disk; raise :class:`OSError` if they can't be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite complains of what is in the file, and not of what it may not do.

    It does not know a table or a column that the spool has, for the schema was altered; or there is no code, for it is
    Python's own complaint: a text is no text.
    """
    if not isinstance(error, sqlite3.OperationalError):
        return True
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_ERROR


def is_of_unknown_format(path: Path) -> bool:
    """Return whether the file's head names other versions of the format than there are: SQLite would not write it.

    https://sqlite.org/fileformat2.html, section 1.3.3. Not while this process has the file open in SQLite: closing it
    here would take SQLite's locks on it away (https://sqlite.org/howtocorrupt.html, section 2.2), and whoever opens
    and closes the spool meanwhile would remove the log under it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(FORMAT_AT + 2)
    except OSError:
        return False
    return any(each not in FORMATS for each in head[FORMAT_AT:])


@dataclass(frozen=True, slots=True)
class Summary:
    """What a spool says of itself: readings ever taken, batches numbered and not yet receipted, by UTC day.

    ``lost`` are batches and readings given up, by reason.
    """

    generation: str
    taken: int
    last_sequence: int
    unreceipted: int
    days: tuple[DayTaken, ...]
    lost: dict[Reason, tuple[int, int]]


def read_summary(path: Path) -> Summary:
    """Return the summary of the spool at ``path``, which an agent may be using; raise :class:`UsageError`."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            db.execute("begin")  # one snapshot for all of it
            (taken,) = db.execute("select value from meta where key = 'taken'").fetchone()
            query = "select generation, last_sequence from life order by life desc limit 1"
            generation, last_sequence = db.execute(query).fetchone()
            (unreceipted,) = db.execute("select count(*) from batch where settled_ms < 0").fetchone()
            rows = db.execute("select day, readings, digest from day order by day").fetchall()
            lost = {Reason(reason): (batches, readings) for reason, batches, readings in db.execute(LOST)}
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: is no spool that can be read: {error}") from error
    days = tuple(DayTaken(day, readings, int(digest, 16)) for day, readings, digest in rows)
    return Summary(generation, taken, last_sequence, unreceipted, days, lost)
