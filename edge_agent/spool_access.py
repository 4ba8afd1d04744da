"""The spool's database: one piece of work at a time, in transactions, and what SQLite complains of told apart.

There are three kinds: the disk reports an error (:class:`DiskFailedError`), it refuses (:class:`UnavailableError`), or
the file is not what was written (:class:`sqlite3.DatabaseError`). After the first and the last the file is marked, so
that the next start does not trust it (:mod:`edge_agent.rescue`).
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.failures import DiskFailedError
from edge_agent.spool_file import PAGE_OCTETS, is_damage, mark_suspect
from edge_agent.spool_seals import seal_settled
from protocols.errors import UnavailableError

COMMIT_OCTETS = 8 * PAGE_OCTETS  # of the log for one transaction beside payloads, about


class SpoolAccess:
    """An open database, in a file or in memory."""

    def __init__(self, path: Path | None, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self._lock = threading.Lock()
        self._log_octets = 0  # written since the log was written back, about
        db.create_function("seal_settled", 2, seal_settled, deterministic=True)

    @property
    def octets(self) -> int:
        """How much the file holds, free pages within it not counted."""
        (pages,), (free,) = (self._db.execute(f"pragma {each}").fetchone() for each in ("page_count", "freelist_count"))
        return int(pages - free) * PAGE_OCTETS

    def size(self) -> int:
        """Return :attr:`octets`, whoever else is at work."""
        with self._reading():
            return self.octets

    def close(self) -> None:
        """Close the file; what was removed is settled first."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, self._translated():
            try:
                yield
            except (TypeError, ValueError, LookupError) as error:  # a value of another kind than was written
                if self.path is not None:
                    mark_suspect(self.path)
                raise sqlite3.DatabaseError(f"{self.path}: holds what was never written: {error}") from error

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[None]:
        """Write in one transaction; not synced unless ``durable``: at worst what it settles is sent again."""
        with self._translated():
            if not durable:
                self._db.execute("pragma synchronous=normal")
            try:
                with self._transaction():
                    yield
                self._log_octets += COMMIT_OCTETS
            finally:
                if not durable:
                    self._db.execute("pragma synchronous=full")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
                if self.path is not None:  # what the file shows now may not be on the disk: it is written anew
                    mark_suspect(self.path)
                raise DiskFailedError(f"{self.path}: {error}; replace the disk") from error
            if self.path is not None and is_damage(error):
                mark_suspect(self.path)
                raise sqlite3.DatabaseError(f"{self.path}: {error}") from error
            raise UnavailableError(f"{self.path}: can't be written: {error}; see to the disk") from error
        except sqlite3.DatabaseError:
            if self.path is not None:
                mark_suspect(self.path)
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
