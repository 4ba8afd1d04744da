"""Connections to PostgreSQL with TimescaleDB, and where their DSN comes from.

A password never stands in a command's arguments, where every user of the machine reads it: a DSN with one comes from
the environment (``CONGTO_DSN``) or from a file.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow

from ingest_server.database.edition import check_readable
from protocols.errors import UnavailableError, UsageError

DSN_VARIABLE = "CONGTO_DSN"
CONNECT_TIMEOUT_S = 10
# Civil time exists only in billing and on screens: a session never shows or takes times in another zone.
SET_UTC = "set time zone 'UTC'"
# What a statement is told where the schema is missing, or older than this version (PostgreSQL, appendix A, class 42).
SCHEMA_ERRORS = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)


def connect(dsn: str) -> psycopg.Connection[TupleRow]:
    """Return a connection with its time zone set to UTC; a transaction begins with the first statement.

    Raises
    ------
    UsageError
        If the DSN can't be read, or readings are compressed and the database's edition can't read them.
    UnavailableError
        If the database does not answer or refuses us.
    """
    try:
        connection = psycopg.connect(dsn, **connection_options(dsn))
        connection.execute(SET_UTC)
        check_readable(connection)
        connection.commit()
    except psycopg.OperationalError as error:
        raise unavailable(error) from error
    return connection


def connection_options(dsn: str) -> dict[str, Any]:
    """Return what is added to ``dsn``; raise :class:`UsageError` if it is none."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise UsageError(
            f"DSN: {str(error).strip()}; expected postgresql://USER@HOST/DATABASE or key=value pairs"
        ) from error
    return {} if "connect_timeout" in given else {"connect_timeout": CONNECT_TIMEOUT_S}


@contextmanager
def translated() -> Iterator[None]:
    """Make errors of the database that a statement may meet in the block into those that say who must act.

    Raises
    ------
    UsageError
        If the schema is missing or older than this version.
    UnavailableError
        If the database has gone away.
    """
    try:
        yield
    except SCHEMA_ERRORS as error:
        raise older_schema(error) from error
    except psycopg.OperationalError as error:
        raise unavailable(error) from error


def unavailable(error: psycopg.Error) -> UnavailableError:
    """Return the error that says that the database can't be used now, and what to do."""
    return UnavailableError(f"database: {one_line(error)}; check that it runs and that the DSN names it")


def older_schema(error: psycopg.Error) -> UsageError:
    """Return the error that says that the database lacks something of this version's schema."""
    what = one_line(error).partition(" LINE ")[0]
    return UsageError(
        f"database: the schema is missing or older than this version ({what}): run `congto ingest migrate`"
    )


def one_line(error: psycopg.Error) -> str:
    """Return what the database said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def add_dsn_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--dsn`` and ``--dsn-file`` to a command."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--dsn",
        metavar="DSN",
        help=f"database, such as postgresql://congto@localhost/congto, without a password (default: ${DSN_VARIABLE})",
    )
    group.add_argument("--dsn-file", metavar="FILE", type=Path, help="file that holds the DSN, with its password")


def dsn_from(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the DSN that the arguments or the environment give; raise :class:`UsageError` if there is none."""
    if arguments.dsn is not None:
        connection_options(arguments.dsn)
        if conninfo.conninfo_to_dict(arguments.dsn).get("password"):
            raise UsageError(
                f"--dsn: holds a password, which every user of this machine can read there; put the DSN into "
                f"${DSN_VARIABLE} or a file for --dsn-file"
            )
        return str(arguments.dsn)
    if arguments.dsn_file is not None:
        try:
            return str(arguments.dsn_file.read_text(encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--dsn-file {arguments.dsn_file}: {error}; expected a text file with the DSN") from error
    if environment.get(DSN_VARIABLE):
        return environment[DSN_VARIABLE]
    raise UsageError(f"no database given: use --dsn, --dsn-file or ${DSN_VARIABLE}")
