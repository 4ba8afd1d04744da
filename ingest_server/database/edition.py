"""Which edition of TimescaleDB serves the database, and whether it can read what is stored.

The Apache edition is enough for congto; the one under the Timescale licence compresses and forgets by itself
(:mod:`.policies`). Asked for a chunk that the other edition has compressed, the Apache edition says nothing and returns
none of its rows (seen with 2.19.3). So each of our sessions asks first: a total that lacks a month would be believed.
"""

from enum import Enum
from typing import Any, NamedTuple

import psycopg

from protocols.errors import UsageError

COLUMNSTORE_SINCE = (2, 18)  # the names `columnstore` in its SQL; before, `compression`

SELECT_EDITION = """
    select current_setting('timescaledb.license', true), extversion from pg_extension where extname = 'timescaledb'
"""
# Raised by the database itself, so that every kind of session can ask; 57P03 (cannot_connect_now) is an error that
# ingest waits out, keeping what it has. A table that was never compressed costs two look-ups in small tables.
CHECK_READABLE = """
    do $$
    begin
        if current_setting('timescaledb.license', true) is distinct from 'apache' then
            return;
        end if;
        if to_regclass('timescaledb_information.hypertables') is null then
            return;  -- before the first migration
        end if;
        if exists (select from timescaledb_information.hypertables where compression_enabled)
            and exists (select from timescaledb_information.chunks where is_compressed)
        then
            raise exception using errcode = '57P03', message = 'readings are compressed, which the Apache edition of '
                'TimescaleDB can''t read: start it with timescaledb.license = timescale, and before a change of '
                'edition run `congto ingest policies --compress-after never --decompress`';
        end if;
    end
    $$
"""


class Edition(Enum):
    """By licence, as TimescaleDB names it."""

    APACHE = "apache"
    TIMESCALE = "timescale"


class Served(NamedTuple):
    """What serves the database."""

    edition: Edition
    version: str

    @property
    def offers_policies(self) -> bool:
        """Whether it compresses and forgets by itself."""
        found = tuple(int(part) for part in self.version.split("-")[0].split(".")[:2])
        return self.edition is Edition.TIMESCALE and found >= COLUMNSTORE_SINCE


def served_by(connection: psycopg.Connection[Any]) -> Served:
    """Return edition and version; raise :class:`UsageError` if there is no TimescaleDB in the database."""
    row = connection.execute(SELECT_EDITION).fetchone()
    if row is None or row[0] is None:
        raise UsageError("database: has no TimescaleDB; run `congto ingest migrate`")
    return Served(Edition(row[0]), row[1])


def check_readable(connection: psycopg.Connection[Any]) -> None:
    """Raise :class:`UsageError` if the database holds readings that this edition would leave out in silence."""
    try:
        connection.execute(CHECK_READABLE)
    except psycopg.errors.CannotConnectNow as error:
        raise UsageError(f"database: {error.diag.message_primary}") from error
