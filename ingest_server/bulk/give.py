"""Stored readings, in the order in which files have them."""

from collections.abc import Iterator
from datetime import date

import psycopg
from psycopg.rows import TupleRow

from ingest_server.bulk.row import Row
from protocols.errors import UsageError
from protocols.telemetry.reading import Reading

FETCH_ROWS = 20_000

# Days are civil; as civil_day() in the database.
SELECT_ROWS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality,
        reading_flag_of(channel_id, measured_at)
    from reading
    join channel using (channel_id)
    join meter using (meter_id)
    where (%(gateway)s::text is null or gateway_id = %(gateway)s) and (%(meter)s::text is null or meter_id = %(meter)s)
        and (%(obis)s::text[] is null or obis = any(%(obis)s))
        and measured_at >= coalesce(%(first_on)s::date - interval '7 hours', '-infinity')
        and measured_at < coalesce(%(last_on)s::date + interval '17 hours', 'infinity')
    order by meter_id, obis, measured_at
"""
SELECT_METER = "select from meter where meter_id = %s"


def stored_rows(
    connection: psycopg.Connection[TupleRow],
    *,
    gateway: str | None,
    meter: str | None,
    obis: list[str] | None,
    first_on: date | None,
    last_on: date | None,
) -> Iterator[Row]:
    """Yield the readings chosen, by meter, OBIS code and time; ``None`` chooses all.

    Raises :class:`UsageError` if the meter is not registered.
    """
    if meter is not None and connection.execute(SELECT_METER, [meter]).fetchone() is None:
        raise UsageError(f"meter {meter!r} is not registered")
    given = {"gateway": gateway, "meter": meter, "obis": obis, "first_on": first_on, "last_on": last_on}
    with connection.transaction(), connection.cursor("export") as cursor:
        cursor.itersize = FETCH_ROWS
        for *reading, flag in cursor.execute(SELECT_ROWS, given):
            yield Row(Reading(*reading), flag)
