"""The journal of commands: what was asked under which key, how far it has come, and what was answered.

::

    received ──> begun ──> done
                   └─────> unknown

``begun`` is on the disk before a meter, the spool or the configuration is touched, and the answer before it is sent.
So a kill at any moment leaves one of: nothing (the server asks again), ``received`` (nothing was done yet), ``begun``
(something may have been done: it is read back, not repeated), or an answer, which is sent again.

A file of its own beside the spool, SQLite in WAL mode with ``synchronous=FULL``: the spool is set aside when it is
damaged, and what was asked must not be forgotten with it.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from protocols.errors import UnavailableError, UsageError

VERSION = 1
ENTRIES_MAX = 10_000  # a command a minute for a week; beyond it commands are refused, not forgotten
OCTETS_MAX = 64 << 20  # likewise; an answer with two months of a profile has some 100 kB
KEEP_MS = 7 * 86_400_000  # after its expiry a command is refused for that alone; this is for a clock that is set back
BUSY_TIMEOUT_S = 10.0
TELL_MAX = 50

SCHEMA = f"""
    create table meta (key text primary key, value) without rowid;
    create table command (
        key text primary key,
        digest blob not null,
        payload blob not null,
        expires_ms integer not null,
        state text not null check (state in ('received', 'begun', 'done', 'unknown')),
        reply blob,
        told integer not null default 0
    ) without rowid;
    pragma user_version = {VERSION};
"""
INSERT = "insert into command (key, digest, payload, expires_ms, state) values (?, ?, ?, ?, 'received')"
SELECT = "select key, digest, payload, state, reply from command where key = ?"
UNFINISHED = "select key, digest, payload, state, reply from command where state in ('received', 'begun') order by key"
FORGET = "delete from command where state in ('done', 'unknown') and told = 1 and expires_ms < ?"
SIZE = """
    select (select count(*) from command), page_size * (page_count - freelist_count)
    from pragma_page_size, pragma_page_count, pragma_freelist_count
"""
FINISH = "update command set state = ?, reply = ?, payload = x'', told = 0 where key = ?"
UNTOLD = "select key, reply from command where reply is not null and told = 0 order by key limit ?"


class State(Enum):
    """How far a command has come."""

    RECEIVED = "received"
    BEGUN = "begun"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of the journal; ``reply`` is there when it is finished."""

    key: str
    digest: bytes
    payload: bytes
    state: State
    reply: bytes | None


class Journal:
    """An open journal; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or begin the journal; raise :class:`sqlite3.DatabaseError` if the file is damaged."""
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        run = self._connection.execute
        run("pragma journal_mode = wal")
        run("pragma synchronous = full")
        version = run("pragma user_version").fetchone()[0]
        if version > VERSION:
            raise UsageError(f"{path}: written by a newer version ({version}, this one knows {VERSION}); update congto")
        if version == 0:
            self._connection.executescript(f"begin immediate; {SCHEMA} commit;")
        if run("pragma quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError(f"{path}: damaged")

    def find(self, key: str) -> Entry | None:
        """Return what is known of ``key``."""
        with self._translated():
            row = self._connection.execute(SELECT, (key,)).fetchone()
        return None if row is None else _entry(row)

    def receive(self, key: str, payload: bytes, expires_ms: int, now_ms: int) -> bool:
        """Take a command that is not known yet; say False if there is no room."""
        with self._transaction():
            self._connection.execute(FORGET, (now_ms - KEEP_MS,))
            entries, octets = self._connection.execute(SIZE).fetchone()
            if entries >= ENTRIES_MAX or octets >= OCTETS_MAX:
                return False
            self._connection.execute(INSERT, (key, digest_of(payload), payload, expires_ms))
            return True

    def begin(self, key: str) -> None:
        """Note that what is asked may have an effect from now on."""
        with self._transaction():
            self._connection.execute("update command set state = 'begun' where key = ?", (key,))

    def finish(self, key: str, state: State, reply: bytes) -> None:
        """Note the answer, which is then to be told."""
        with self._transaction():
            self._connection.execute(FINISH, (state.value, reply, key))

    def tell_again(self, key: str) -> None:
        """Have the recorded answer sent once more."""
        with self._transaction():
            self._connection.execute("update command set told = 0 where key = ?", (key,))

    def untold(self) -> list[tuple[str, bytes]]:
        """Return keys and answers that the broker does not have yet, some at a time."""
        with self._translated():
            return list(self._connection.execute(UNTOLD, (TELL_MAX,)))

    def told(self, key: str) -> None:
        """Note that the broker has the answer. Losing this note costs one more answer."""
        with self._transaction():
            self._connection.execute("update command set told = 1 where key = ?", (key,))

    def unfinished(self) -> list[Entry]:
        """Return what was received or begun, and not finished."""
        with self._translated():
            return [_entry(row) for row in self._connection.execute(UNFINISHED)]

    def lost_at_ms(self) -> int | None:
        """Return when an older journal was lost, if one was: commands from before may have been carried out."""
        row = self._connection.execute("select value from meta where key = 'lost_at_ms'").fetchone()
        return None if row is None else int(row[0])

    def note_loss(self, at_ms: int) -> None:
        """Note that the journal before this one was lost."""
        with self._transaction():
            self._connection.execute("insert or replace into meta values ('lost_at_ms', ?)", (at_ms,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnavailableError(
                f"the journal of commands: {error}; look at the disk and the file's rights"
            ) from error


def open_journal(path: Path, now_ms: int) -> tuple[Journal, Path | None]:
    """Return the journal at ``path``, and where a damaged one was put.

    Raises
    ------
    UnavailableError
        If there can be no journal: no disk, no rights.
    """
    try:
        return Journal(path), None
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"{path}: {error}; look at the disk and the file's rights") from error
    except sqlite3.DatabaseError:
        aside = path.with_name(f"{path.name}.damaged-{now_ms}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        journal = Journal(path)
        journal.note_loss(now_ms)
        return journal, aside


def digest_of(payload: bytes) -> bytes:
    """Return what tells whether a key came with the same content."""
    return hashlib.sha256(payload).digest()


def _entry(row: tuple[str, bytes, bytes, str, bytes | None]) -> Entry:
    key, digest, payload, state, reply = row
    return Entry(key, digest, payload, State(state), reply)
