"""A whole database as a directory of files, and back: without other programs, whatever TimescaleDB stands below.

::

    DIR/manifest.json       which migrations had run, and of each table its columns, rows and SHA-256
    DIR/reading.copy.zst    PostgreSQL's binary COPY, compressed

A backup is one snapshot of a running database. It appears under its name when it is whole. A restore goes into an empty
database, in one transaction, after each file was found to be what the manifest says; then the newer migrations run. One
that was killed before that transaction has left tables without a row, and may be done again. That gateways are to be
asked for what came since is noted in the same transaction, so it can't be forgotten after it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from graphlib import TopologicalSorter
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import zstandard
from psycopg import IsolationLevel, sql
from psycopg.rows import TupleRow

from ingest_server.database.connection import connect
from ingest_server.database.migrations import load_migrations, migrate, pending
from ingest_server.database.missing import want_all
from protocols.errors import UsageError

MANIFEST = "manifest.json"
FORMAT = "congto.backup.v1"
PIECE_OCTETS = 1 << 20

SELECT_TABLES = """
    select c.relname::text, array_agg(a.attname::text order by a.attnum)
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> 'schema_migration'
    group by c.relname
"""
SELECT_REFERENCES = """
    select conrelid::regclass::text, confrelid::regclass::text
    from pg_constraint
    where contype = 'f' and connamespace = 'public'::regnamespace
"""
SELECT_APPLIED = "select version, name, sha256 from schema_migration order by version"
SELECT_IDENTITIES = """
    select table_name::text, column_name::text
    from information_schema.columns
    where table_schema = 'public' and is_identity = 'YES'
"""
SELECT_RECORD = "select to_regclass('public.schema_migration')"


def back_up(dsn: str, directory: Path, now: datetime) -> dict[str, int]:
    """Write a backup into ``directory``, which must not exist; return the rows of each table.

    Raises :class:`UsageError` if it exists or can't be made.
    """
    if directory.exists():
        raise UsageError(f"{directory} exists; name a new directory for each backup")
    unfinished = directory.with_name(f"{directory.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(mode=0o700)
        with connect(dsn) as connection:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            tables = {
                table: _write_table(connection, table, columns, unfinished / f"{table}.copy.zst")
                for table, columns in sorted(connection.execute(SELECT_TABLES).fetchall())
            }
            applied = connection.execute(SELECT_APPLIED).fetchall()
        manifest = {"format": FORMAT, "taken_at": now.isoformat(), "migrations": applied, "tables": tables}
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        unfinished.rename(directory)
    except OSError as error:
        raise UsageError(f"{directory}: {error}; expected a place with room for a directory") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {table: each["rows"] for table, each in tables.items()}


def restore(dsn: str, directory: Path) -> dict[str, int]:
    """Fill the empty database at ``dsn`` with a backup, and bring it to this schema; return the rows of each table.

    Raises
    ------
    UsageError
        If the database holds anything, the backup is damaged, or it is of a newer congto; nothing is then changed.
    """
    manifest = _load_manifest(directory)
    tables: dict[str, dict[str, Any]] = manifest["tables"]
    for table, each in tables.items():
        if _digest(directory / f"{table}.copy.zst") != each["sha256"]:
            raise UsageError(f"{directory / table}.copy.zst: is not what {MANIFEST} says; take another backup")
    known = load_migrations()
    later = pending(known, [(version, name, digest) for version, name, digest in manifest["migrations"]])
    then = [each for each in known if each not in later]
    with connect(dsn) as connection:
        if not _is_empty(connection, {each.version for each in then}):
            raise UsageError(
                "database: is not empty; restore into a new one (`createdb`), and switch over when it is well"
            )
    migrate(dsn, then)
    with connect(dsn) as connection:
        for table in _in_order(connection):
            if table in tables:
                _read_table(connection, table, tables[table], directory / f"{table}.copy.zst")
        for table, column in connection.execute(SELECT_IDENTITIES).fetchall():
            connection.execute(_set_identity(table, column))
        noted = _note_what_came_since(connection)
    migrate(dsn)
    if not noted:
        with connect(dsn) as connection:
            want_all(connection)
    return {table: each["rows"] for table, each in tables.items()}


def _is_empty(connection: psycopg.Connection[TupleRow], versions: set[int]) -> bool:
    """Return whether there is no table, or none with a row and no migration beyond ``versions``."""
    tables = [table for table, _ in connection.execute(SELECT_TABLES).fetchall()]  # as of a restore that broke off
    record = connection.execute(SELECT_RECORD).fetchone()
    if record is None or record[0] is None:
        return not tables
    if any(version not in versions for version, _, _ in connection.execute(SELECT_APPLIED).fetchall()):
        return False
    return not any(_has_rows(connection, table) for table in tables)


def _has_rows(connection: psycopg.Connection[TupleRow], table: str) -> bool:
    return connection.execute(sql.SQL("select from {} limit 1").format(sql.Identifier(table))).fetchone() is not None


def _note_what_came_since(connection: psycopg.Connection[TupleRow]) -> bool:
    """Have gateways asked for what came after the backup was taken; return whether its schema can note that."""
    try:
        with connection.transaction():
            want_all(connection)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return False
    return True


def _in_order(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """Return the tables, each after those that it refers to. What triggers fill comes after its source."""
    graph: dict[str, set[str]] = {table: set() for table, _ in connection.execute(SELECT_TABLES).fetchall()}
    for table, target in connection.execute(SELECT_REFERENCES).fetchall():
        if table != target:
            graph[table].add(target)
    graph.setdefault("daily_register", set()).add("reading")
    return list(TopologicalSorter(graph).static_order())


def _write_table(
    connection: psycopg.Connection[TupleRow], table: str, columns: list[str], path: Path
) -> dict[str, Any]:
    # A select, for a bare COPY of a hypertable gives nothing.
    statement = sql.SQL("copy (select {} from {}) to stdout (format binary)").format(
        _names(columns), sql.Identifier(table)
    )
    counted = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
    assert counted is not None, "a count returns one row"
    digest = sha256()
    with (
        path.open("xb") as file,
        zstandard.ZstdCompressor(level=3).stream_writer(file) as packed,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for piece in copy:
            digest.update(piece)
            packed.write(piece)
    return {"columns": columns, "rows": counted[0], "sha256": digest.hexdigest()}


def _read_table(connection: psycopg.Connection[TupleRow], table: str, each: dict[str, Any], path: Path) -> None:
    name = sql.Identifier(table)
    # What triggers have made of other tables meanwhile. Where there is nothing a table may refuse to forget.
    if _has_rows(connection, table):
        connection.execute(sql.SQL("delete from {}").format(name))
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(name, _names(each["columns"]))
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for piece in _pieces(path):
                copy.write(piece)
        if cursor.rowcount != each["rows"]:
            raise UsageError(f"{path}: has {cursor.rowcount} rows, {MANIFEST} says {each['rows']}; take another backup")


def _set_identity(table: str, column: str) -> sql.Composed:
    return sql.SQL(
        "select setval(pg_get_serial_sequence({table}, {column}), coalesce(max({name}), 0) + 1, false) from {source}"
    ).format(table=table, column=column, name=sql.Identifier(column), source=sql.Identifier(table))


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _digest(path: Path) -> str:
    digest = sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as unpacked:
            while piece := unpacked.read(PIECE_OCTETS):
                yield piece
    except (OSError, zstandard.ZstdError) as error:
        raise UsageError(f"{path}: {error}; the backup is damaged, take another") from error


def _load_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; expected a directory that `congto ingest backup` has made") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path}: expected format {FORMAT}; is it of a newer congto?")
    return found
