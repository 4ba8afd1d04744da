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

from ingest_server.database.binary_rows import Field, encode_rows
from ingest_server.database.copy import HEADER, TRAILER, encode_readings
from protocols.errors import UsageError

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
        "uses",
    },
}
"""The tables in the order they are loaded, and the columns a file may have."""
REGISTER_COLUMNS = ("channel", "day", "value_wh")

WITHOUT_ROW_CHECKS = "set local session_replication_role = replica"
WITH_ROW_CHECKS = "set local session_replication_role = origin"
LAST_CHANNEL = "select coalesce(max(channel_id), 0) from channel"
COPY_READINGS = "copy reading (channel_id, measured_at, value, quality) from stdin (format binary)"
COPY_DAILY = "copy daily_register (channel_id, taken_on, value, quality) from stdin (format binary)"
ORPHANS = {
    "metering_point.customer_id": "select 1 from metering_point p left join customer c using (customer_id) "
    "where c.customer_id is null limit 1",
    "metering_point.book_id": "select 1 from metering_point p left join reading_book b using (book_id) "
    "where p.book_id is not null and b.book_id is null limit 1",
    "meter.gateway_id": "select 1 from meter left join gateway g using (gateway_id) where g.gateway_id is null limit 1",
    "channel.meter_id": "select 1 from channel c left join meter m using (meter_id) where m.meter_id is null limit 1",
    "installation.metering_point_id": "select 1 from installation i left join metering_point p "
    "using (metering_point_id) where p.metering_point_id is null limit 1",
    "installation.meter_id": "select 1 from installation i left join meter m using (meter_id) "
    "where m.meter_id is null limit 1",
    "contract.metering_point_id": "select 1 from contract c left join metering_point p using (metering_point_id) "
    "where p.metering_point_id is null limit 1",
}
ANALYZE = ("customer", "metering_point", "meter", "channel", "installation", "contract", "daily_register", "reading")

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
    loaded = {}
    try:
        with connection.transaction():
            checked_by_row = _skip_row_checks(connection)
            base = _one(connection, LAST_CHANNEL)
            for name in COLUMNS:
                if files[name].is_file():
                    loaded[name] = _copy_file(connection, name, files[name], progress)
            if files["register"].is_file():
                loaded["register"] = _copy_registers(connection, base, files["register"], progress)
            if not checked_by_row:
                connection.execute(WITH_ROW_CHECKS)
                _check_references(connection, directory)
    except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as error:
        place = f"{error.diag.context or ''}".partition("\n")[0]
        raise UsageError(f"{directory}: {error.diag.message_primary} ({place}); nothing was loaded") from error
    connection.commit()
    for table in ANALYZE:
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(table)))
    connection.commit()
    return loaded


def _skip_row_checks(connection: Connection[Any]) -> bool:
    """Have references checked at the end where we may; say whether each row is checked instead."""
    try:
        with connection.transaction():
            connection.execute(WITHOUT_ROW_CHECKS)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def _one(connection: Connection[Any], query: Any) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate gives a row"
    return int(row[0])


def _copy_file(connection: Connection[Any], name: str, path: Path, progress: Progress) -> int:
    of, done = path.stat().st_size, 0
    with path.open("rb") as file:
        columns = file.readline().decode().rstrip("\n").split("\t")
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
            if tuple(file.readline().decode().rstrip("\n").split("\t")) != REGISTER_COLUMNS:
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


def _check_references(connection: Connection[Any], directory: Path) -> None:
    for column, query in ORPHANS.items():
        if connection.execute(query).fetchone() is not None:
            raise UsageError(f"{directory}: a row's {column} names what is not there; nothing was loaded")
