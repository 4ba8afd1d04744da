"""A few connections to the database, shared by all requests, each read-only.

A request that finds all of them busy waits a little and is then told to come back (503), so the database never sees
more than its share of connections and no request waits for ever. A connection that broke, or that the server closed
while it lay idle, is replaced.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from ingest_server.database import connect
from ingest_server.database.connection import SCHEMA_ERRORS
from protocols.errors import UnavailableError

CONNECTIONS_MAX = 8  # a console's worth of clerks; PostgreSQL allows 100 by default, ingest and billing need theirs
WAIT_S = 10.0  # for a connection; a browser's reader gives up about then
STATEMENT_TIMEOUT_MS = 15_000  # no query of this API takes a second; a minute of one would block seven others

NO_SCHEMA = "the database has no tables of this version: run `congto ingest migrate`, or tell whoever runs the server"
# Without the reason: it may name hosts and users. The log has it.
AWAY = "the database does not answer; try again, and tell whoever runs the server"

SET_READ_ONLY = "set default_transaction_read_only = on"
SET_TIMEOUT = f"set statement_timeout = {STATEMENT_TIMEOUT_MS}"


class Connections:
    """At most :data:`CONNECTIONS_MAX` connections to one database."""

    def __init__(self, dsn: str, connections_max: int = CONNECTIONS_MAX) -> None:
        self._dsn = dsn
        self._free = threading.BoundedSemaphore(connections_max)
        self._idle: queue.LifoQueue[Connection[Any]] = queue.LifoQueue(connections_max)

    @contextmanager
    def take(self, wait_s: float = WAIT_S) -> Iterator[Connection[Any]]:
        """Lend a connection, whose statements each see what is committed at that time.

        Raises
        ------
        UnavailableError
            If the database does not answer, breaks off, takes too long, or all connections stay busy.
        """
        if not self._free.acquire(timeout=wait_s):
            raise UnavailableError("all database connections are busy; try again")
        try:
            connection = self._idle_one() or self._open()
            try:
                yield connection
            finally:
                if connection.closed or connection.broken:
                    connection.close()
                else:
                    self._idle.put_nowait(connection)
        except SCHEMA_ERRORS as error:
            raise UnavailableError(NO_SCHEMA) from error
        except psycopg.errors.QueryCanceled as error:
            raise UnavailableError("the database took too long; ask for less, or try again") from error
        except psycopg.OperationalError as error:
            raise UnavailableError(AWAY) from error
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what lies idle; connections still lent are closed by their requests' end of process."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _idle_one(self) -> Connection[Any] | None:
        """Return an idle connection that still answers, or none."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return None
            try:
                connection.execute("select 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection

    def _open(self) -> Connection[Any]:
        try:
            connection = connect(self._dsn)
        except UnavailableError as error:
            raise UnavailableError(AWAY) from error
        connection.autocommit = True
        connection.execute(SET_READ_ONLY)
        connection.execute(SET_TIMEOUT)
        return connection
