"""``congto registry bulk``: a whole company's tables at once, from files, all or nothing.

The files are those of another system's export (or of ``congto sim customers``): one per table, in the text form of
PostgreSQL's COPY, a line of column names first. References between them are checked after loading, all at once, which
for millions of rows takes a fraction of what checking row by row does. Registers go into readings and, being taken at
civil midnights, into the daily snapshot.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection, sql

from billing_core.codes import Category
from ingest_server.database.binary_rows import Field, encode_rows
from ingest_server.database.copy import HEADER, TRAILER, encode_readings
from ingest_server.registry.contract import WITHOUT_VOLTAGE, Combined, Days, contradiction, priced_voltages
from protocols.errors import UsageError
from protocols.utf8 import decode_text

OCTETS_AT_ONCE = 1 << 22
DAY_MS, CIVIL_OFFSET_MS = 86_400_000, 7 * 3_600_000
POSTGRES_EPOCH_DAY = 10_957
COLUMNS = {
    "gateway": {"gateway_id"},
    "reading_book": {"book_id", "unit", "reading_day", "cycle", "reader"},
    "customer": {"customer_id", "name", "address"},
    "metering_point": {"metering_point_id", "customer_id", "book_id"},
    "meter": {"meter_id", "gateway_id", "model", "serial", "digits", "interval_min"},
    "channel": {"meter_id", "obis", "unit"},
    "installation": {"metering_point_id", "meter_id", "installed_at", "removed_at", "multiplier", "role"},
    "contract": {
        *("metering_point_id", "valid_from", "valid_to", "category", "voltage", "households", "three_rates"),
        *("solar_regime", "contracted_kw", "tenants", "undeclared_rental", "refused_three_rates", "two_component"),
        *("uses", "rate_plan", "customer_id"),
    },
    "register_reset": {"meter_id", "reset_at", "obis", "before", "after", "source"},
    "meter_schedule": {"meter_id", "since_at", "schedule", "source"},
}
"""The tables in the order they are loaded, and the columns a file may have."""
REGISTER_COLUMNS = ("channel", "day", "value_wh")

WITHOUT_ROW_CHECKS = "set local session_replication_role = replica"
WITH_ROW_CHECKS = "set local session_replication_role = origin"
# Nobody else draws numbers of channels until we are done, so those of the file follow one another.
LOCK_CHANNELS = "lock table channel in share row exclusive mode"
LAST_CHANNEL = "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('channel', 'channel_id')::regclass), 0)"
COPY_READINGS = "copy reading (channel_id, measured_at, value, quality) from stdin (format binary)"
COPY_DAILY = "copy daily_register (channel_id, taken_on, value, quality) from stdin (format binary)"
REFERENCES = (
    ("metering_point", "customer_id", "customer"),
    ("metering_point", "book_id", "reading_book"),
    ("meter", "gateway_id", "gateway"),
    ("channel", "meter_id", "meter"),
    ("installation", "metering_point_id", "metering_point"),
    ("installation", "meter_id", "meter"),
    ("contract", "metering_point_id", "metering_point"),
    ("contract", "customer_id", "customer"),
    ("register_reset", "meter_id", "meter"),
    ("meter_schedule", "meter_id", "meter"),
)
"""Table, column, and the table whose key of the same name it refers to."""
# Rows of this transaction lie behind what the table was when it began, or in its last pages that had room: PostgreSQL
# makes up to 64 at a time. A table that grows by a hundredth is not read whole to check that hundredth.
PAGES_WITH_ROOM = 128
SELECT_PAGES = "select pg_relation_size(%(table)s::regclass) / current_setting('block_size')::integer"
COUNT_NEW = "select count(*) from {table} where xmin = pg_current_xact_id()::xid and ctid >= %(since)s::tid"
COUNT_ORPHANS = """
    with unknown as materialized (
        select own.{column} as key from {table} own
        where own.ctid >= %(own_since)s::tid and own.{column} is not null
          and not exists (
              select from {other} new where new.ctid >= %(other_since)s::tid and new.{column} = own.{column})
    )
    select count(*) from unknown where not exists (select from {other} where {other}.{column} = unknown.key)
"""
# The newest contract of each kind that is new here; one with a rate plan has prices of its own.
SELECT_KINDS = """
    select category, voltage, max(valid_from) from contract
    where xmin = pg_current_xact_id()::xid and ctid >= %(since)s::tid and rate_plan is null
    group by category, voltage order by category, voltage
"""
SELECT_ONE_OF_KIND = """
    select metering_point_id from contract
    where category = %(category)s and voltage is not distinct from %(voltage)s and valid_from = %(valid_from)s
      and xmin = pg_current_xact_id()::xid and ctid >= %(since)s::tid
    order by metering_point_id limit 1
"""
SELECT_UNKNOWN_PLAN = """
    select metering_point_id, rate_plan from contract
    where xmin = pg_current_xact_id()::xid and ctid >= %(since)s::tid and rate_plan is not null
      and rate_plan not in (select name from rate_plan)
    order by metering_point_id limit 1
"""
# What new contracts say together, and the first point that says it; one household is what stands where none is given.
SELECT_COMBINED = """
    select min(metering_point_id), category, households <> 1, tenants is not null, three_rates, undeclared_rental,
           refused_three_rates, two_component, uses is not null, rate_plan is not null
    from contract
    where xmin = pg_current_xact_id()::xid and ctid >= %(since)s::tid
    group by 2, 3, 4, 5, 6, 7, 8, 9, 10 order by 1
"""
BEGIN, END = "(0,0)", "(4294967294,0)"
VACUUM = ("customer", "metering_point", "meter", "channel", "installation", "contract", "daily_register", "reading")

Progress = Callable[[str, int, int], None]
"""Called with the table, octets read, and octets there are."""


def load_bulk(
    connection: Connection[Any], directory: Path, progress: Progress = lambda _table, _done, _of: None
) -> dict[str, int]:
    """Load the files in ``directory``; return how many rows each table got.

    Raises
    ------
    UsageError
        If there is no such file, a column is unknown, a row is refused by the database or refers to nothing. Then
        nothing was loaded.
    """
    files = {name: directory / f"{name}.tsv" for name in (*COLUMNS, "register")}
    if not any(path.is_file() for path in files.values()):
        raise UsageError(f"{directory}: found none of {', '.join(path.name for path in files.values())}")
    loaded: dict[str, int] = {}
    pages: dict[str, int] = {}
    try:
        with connection.transaction():
            checked_by_row = _skip_row_checks(connection)
            connection.execute(LOCK_CHANNELS)
            base = _one(connection, LAST_CHANNEL)
            for name in COLUMNS:
                if files[name].is_file():
                    pages[name] = _one(connection, SELECT_PAGES, {"table": name})
                    loaded[name] = _copy_file(connection, name, files[name], progress)
            if files["register"].is_file():
                loaded["register"] = _copy_registers(connection, base, files["register"], progress)
            since = {name: _since(connection, name, pages[name], loaded[name]) for name in pages}
            if not checked_by_row:
                connection.execute(WITH_ROW_CHECKS)
                _check_references(connection, directory, since)
            if "contract" in since:
                _check_prices(connection, files["contract"], since["contract"])
                _check_plans(connection, files["contract"], since["contract"])
                _check_combined(connection, files["contract"], since["contract"])
    except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as error:
        place = f"{error.diag.context or ''}".partition("\n")[0]
        raise UsageError(f"{directory}: {error.diag.message_primary} ({place}); nothing was loaded") from error
    connection.commit()
    _vacuum(connection)
    return loaded


def _vacuum(connection: Connection[Any]) -> None:
    """Have the new pages seen, so that indexes alone answer, and the first who reads them need not write them again."""
    before, connection.autocommit = connection.autocommit, True
    try:
        for table in VACUUM:
            connection.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))
    finally:
        connection.autocommit = before


def _skip_row_checks(connection: Connection[Any]) -> bool:
    """Have references checked at the end where we may; say whether each row is checked instead."""
    try:
        with connection.transaction():
            connection.execute(WITHOUT_ROW_CHECKS)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def _one(connection: Connection[Any], query: Any, parameters: dict[str, Any] | None = None) -> int:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None, "an aggregate gives a row"
    return int(row[0])


def _copy_file(connection: Connection[Any], name: str, path: Path, progress: Progress) -> int:
    of, done = path.stat().st_size, 0
    with path.open("rb") as file:
        columns = decode_text(file.readline(), str(path)).rstrip("\n").split("\t")
        unknown = [column for column in columns if column not in COLUMNS[name]]
        if unknown:
            raise UsageError(f"{path}: column {unknown[0]!r} is unknown; known are {', '.join(sorted(COLUMNS[name]))}")
        statement = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                while octets := file.read(OCTETS_AT_ONCE):
                    copy.write(octets)
                    done += len(octets)
                    progress(name, done, of)
            return cursor.rowcount


def _copy_registers(connection: Connection[Any], base: int, path: Path, progress: Progress) -> int:
    """Load registers into readings, and once more into the daily snapshot, whose trigger did not run."""
    fields = {"channel": Field("i4"), "day": Field("i4"), "value": Field("i8"), "quality": Field("i2")}
    replica = connection.execute("show session_replication_role").fetchone() == ("replica",)
    count = 0
    for statement in (COPY_READINGS, COPY_DAILY) if replica else (COPY_READINGS,):
        count, done, of = 0, 0, path.stat().st_size
        with path.open("rb") as file, connection.cursor().copy(statement) as copy:
            if tuple(decode_text(file.readline(), str(path)).rstrip("\n").split("\t")) != REGISTER_COLUMNS:
                raise UsageError(f"{path}: expected the columns {', '.join(REGISTER_COLUMNS)}")
            copy.write(HEADER)
            while lines := file.readlines(OCTETS_AT_ONCE):
                rows = _numbers(lines, path)
                channel, quality = rows[:, 0] + base, np.zeros(len(rows), dtype=np.int16)
                if statement is COPY_READINGS:
                    at_ms = rows[:, 1] * DAY_MS - CIVIL_OFFSET_MS
                    copy.write(encode_readings(channel.astype(np.int32), at_ms, rows[:, 2], quality))
                else:
                    day = rows[:, 1] - POSTGRES_EPOCH_DAY
                    columns: dict[str, Any] = {"channel": channel, "day": day, "value": rows[:, 2], "quality": quality}
                    copy.write(encode_rows(fields, columns))
                count += len(rows)
                done += sum(map(len, lines))
                progress("register", done, of)
            copy.write(TRAILER)
    return count


def _numbers(lines: list[bytes], path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return lines of three whole numbers as rows."""
    text = b"".join(lines)
    if text.translate(None, b"0123456789-\t\n"):
        raise UsageError(f"{path}: found something other than whole numbers; expected {', '.join(REGISTER_COLUMNS)}")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    if numbers.size != len(REGISTER_COLUMNS) * len(lines):
        raise UsageError(f"{path}: found a line without exactly {len(REGISTER_COLUMNS)} numbers")
    return numbers.reshape(-1, len(REGISTER_COLUMNS))


def _since(connection: Connection[Any], table: str, pages: int, rows: int) -> str:
    """Return the place from which on all rows just loaded lie; the beginning where some found room in old pages."""
    since = f"({max(pages - PAGES_WITH_ROOM, 0)},0)"
    counted = sql.SQL(COUNT_NEW).format(table=sql.Identifier(table))
    return since if _one(connection, counted, {"since": since}) == rows else BEGIN


def _check_references(connection: Connection[Any], directory: Path, since: dict[str, str]) -> None:
    for table, column, other in REFERENCES:
        if table not in since:
            continue
        names = {"table": table, "column": column, "other": other}
        query = sql.SQL(COUNT_ORPHANS).format(**{name: sql.Identifier(text) for name, text in names.items()})
        places = {"own_since": since[table], "other_since": since.get(other, END)}
        if _one(connection, query, places):
            raise UsageError(f"{directory}: a row's {table}.{column} names what is not there; nothing was loaded")


def _check_plans(connection: Connection[Any], path: Path, since: str) -> None:
    """Refuse contracts that name a rate plan which is not there."""
    unknown = connection.execute(SELECT_UNKNOWN_PLAN, {"since": since}).fetchone()
    if unknown:
        raise UsageError(
            f"{path}: {unknown[0]}: rate plan {unknown[1]!r} is not there; load its [[rate_plan]] with congto registry "
            "load first, or correct the name; nothing was loaded"
        )


def _check_combined(connection: Connection[Any], path: Path, since: str) -> None:
    """Refuse contracts that say what contradicts itself, as the registry's file does."""
    for point, *said in connection.execute(SELECT_COMBINED, {"since": since}).fetchall():
        if found := contradiction(Combined(*said)):
            raise UsageError(f"{path}: {point}: {': '.join(found)}; nothing was loaded")


def _check_prices(connection: Connection[Any], path: Path, since: str) -> None:
    """Refuse contracts of a category, or at a voltage, that no act in force from their first day on prices."""
    for category, voltage, valid_from in connection.execute(SELECT_KINDS, {"since": since}).fetchall():
        known = Category(category) if category in [each.value for each in Category] else None
        priced = () if known is None else priced_voltages(known, Days(valid_from, None))
        if priced and (known in WITHOUT_VOLTAGE or voltage in [each.value for each in priced]):
            continue
        kind = {"category": category, "voltage": voltage, "valid_from": valid_from, "since": since}
        point = connection.execute(SELECT_ONE_OF_KIND, kind).fetchone()
        named = "" if point is None else f"{point[0]}, "
        listed = ", ".join(each.value for each in priced) or "no voltage"
        raise UsageError(
            f"{path}: {named}valid_from {valid_from}: no act in force from then on prices {category} at {voltage}, "
            f"only at {listed}; correct category or voltage; nothing was loaded"
        )
