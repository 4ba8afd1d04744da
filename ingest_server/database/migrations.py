"""The schema, as numbered SQL files that are carried out once each, in order, forward only.

Each of ``ingest_server/sql/NNNN_what.sql`` runs in a transaction of its own, under an advisory lock: a second migrator
waits and then finds nothing to do, a killed one leaves nothing half done, and gives up its lock within a second. What
ran is recorded with the SHA-256 of the file, so that a file changed afterwards, or a database newer than this code, is
refused instead of guessed at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.connection import connect, unavailable
from protocols.errors import UnavailableError, UsageError

LOCK_KEY = 0x636F6E67746F  # "congto": no other advisory lock in this database is ours with that number
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# So that the server gives up a statement whose client was killed, and with it the lock, instead of finishing it first.
WATCH_CLIENT = "set client_connection_check_interval = '1s'"
LOCK = "select pg_advisory_lock(%s)"
CREATE_EXTENSION = "create extension if not exists timescaledb"
CREATE_RECORD = """
    create table if not exists schema_migration (
        version    integer primary key,
        name       text not null,
        sha256     text not null,
        applied_at timestamptz not null default now()
    )
"""
SELECT_APPLIED = "select version, name, sha256 from schema_migration order by version"
INSERT_APPLIED = "insert into schema_migration (version, name, sha256) values (%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return sha256(self.sql).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """Return the migrations that come with this code, in order."""
    found = []
    for entry in (files("ingest_server") / "sql").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name.removesuffix(".sql"), entry.read_bytes()))
    return tuple(sorted(found, key=lambda migration: migration.version))


def pending(migrations: Sequence[Migration], applied: Sequence[tuple[int, str, str]]) -> tuple[Migration, ...]:
    """Return which of ``migrations`` have to run, given the (version, name, SHA-256) that were ``applied``.

    Raises
    ------
    UsageError
        If the database is newer than this code, or a file is not the one that ran.
    """
    known = {migration.version: migration for migration in migrations}
    for version, name, digest in applied:
        if version not in known:
            raise UsageError(
                f"database: has migration {name}, which this congto does not know: it is newer; upgrade congto"
            )
        if known[version].sha256 != digest:
            raise UsageError(
                f"database: ran {name} with SHA-256 {digest[:12]}…, this congto has {known[version].name} with "
                f"{known[version].sha256[:12]}…; install the congto that made the database, changes go into a new file"
            )
    done = {version for version, _, _ in applied}
    return tuple(migration for migration in migrations if migration.version not in done)


def migrate(dsn: str, migrations: Sequence[Migration] | None = None) -> tuple[str, ...]:
    """Bring the database to this code's schema; return the names of the migrations that ran just now.

    Raises
    ------
    UsageError
        If the database is newer than this code, or was made by another version of a file.
    UnavailableError
        If the database does not answer, lacks TimescaleDB, or breaks off; nothing is left half done.
    """
    connection = connect(dsn)
    try:
        return _migrate(connection, load_migrations() if migrations is None else migrations)
    except psycopg.Error as error:
        raise unavailable(error) from error
    finally:
        connection.close()  # which gives the lock back, whatever happened


def _migrate(connection: psycopg.Connection[TupleRow], migrations: Sequence[Migration]) -> tuple[str, ...]:
    connection.execute(WATCH_CLIENT)
    connection.execute(LOCK, [LOCK_KEY])
    try:
        connection.execute(CREATE_EXTENSION)
    except psycopg.errors.Error as error:
        raise UnavailableError(
            f"database: TimescaleDB can't be had ({str(error).strip().splitlines()[0]}); install it, set "
            "shared_preload_libraries = 'timescaledb', and run `create extension timescaledb` as its owner"
        ) from error
    connection.execute(CREATE_RECORD)
    connection.commit()
    ran = []
    for migration in pending(migrations, connection.execute(SELECT_APPLIED).fetchall()):
        connection.execute(migration.sql)
        connection.execute(INSERT_APPLIED, [migration.version, migration.name, migration.sha256])
        connection.commit()
        ran.append(migration.name)
    return tuple(ran)
