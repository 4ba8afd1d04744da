"""Connections to SQLite that tell again what the simulated disk makes them forget.

Python's ``sqlite3`` resets a statement while an exception of its own is set, and the reset calls the VFS to give up a
lock. A callback written in Python that is entered so loses the exception, and ``sqlite3`` returns without a result and
without an error: a SystemError. No VFS of the system's does that. It happens only where octets of the file are no text
any more: in the name of a column, that is a UnicodeDecodeError of ``execute``; in a value, an OperationalError of
whatever fetches the row. They are raised here in the place of the SystemError.
"""

import sqlite3
from typing import Any


class Rows(sqlite3.Cursor):
    """A cursor whose lost exceptions are found."""

    def __next__(self) -> Any:
        """Return the next row."""
        try:
            return super().__next__()
        except SystemError as error:
            raise _no_text() from error

    def fetchone(self) -> Any:
        """Return the next row, or none."""
        try:
            return super().fetchone()
        except SystemError as error:
            raise _no_text() from error

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        try:
            return super().fetchall()
        except SystemError as error:
            raise _no_text() from error


class TellingConnection(sqlite3.Connection):
    """A connection whose lost exceptions are found."""

    def cursor(self, factory: Any = Rows) -> Any:
        """Return a cursor that finds them too."""
        return super().cursor(factory)

    def execute(self, sql: str, *arguments: Any) -> Any:
        """Run a statement."""
        try:
            return super().execute(sql, *arguments)
        except SystemError as error:
            raise UnicodeDecodeError("utf-8", b"", 0, 0, "the name of a column is no text") from error


def _no_text() -> sqlite3.OperationalError:
    return sqlite3.OperationalError("could not decode to UTF-8")


def telling(connect: Any) -> Any:
    """Return ``connect`` with such connections; one with a class of its own, as a planted mistake has, keeps it."""

    def open_telling(*words: Any, **options: Any) -> Any:
        return connect(*words, **{"factory": TellingConnection, **options})

    return open_telling
