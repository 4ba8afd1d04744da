"""Questions about the readings that are stored."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from protocols.errors import UsageError
from protocols.telemetry.reading import DIGEST_MODULUS, Reading, reading_digest

FETCH_ROWS = 20_000
DAY_MS = 86_400_000

SELECT_GATEWAYS = "select gateway_id from gateway order by gateway_id"
SELECT_METER = "select from meter where meter_id = %s"
SELECT_READINGS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
    from reading
    join channel using (channel_id)
    join meter using (meter_id)
    where gateway_id = %s
"""


class ReadingTotal(NamedTuple):
    """How many readings of one UTC day are stored, and their digest (``reading_digest``)."""

    on: date
    readings: int
    digest: int


def gateways(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """Return the registered gateways, in alphabetical order."""
    return [gateway for (gateway,) in connection.execute(SELECT_GATEWAYS)]


def check_gateway(connection: psycopg.Connection[TupleRow], gateway: str | None) -> None:
    """Raise :class:`UsageError` if ``gateway`` is not registered; ``None`` stands for all of them."""
    if gateway is not None and gateway not in gateways(connection):
        raise UsageError(f"gateway {gateway!r} is not registered; `congto registry show` lists those that are")


def check_meter(connection: psycopg.Connection[TupleRow], meter: str | None) -> None:
    """Raise :class:`UsageError` if ``meter`` is not registered; ``None`` stands for all of them."""
    if meter is not None and connection.execute(SELECT_METER, [meter]).fetchone() is None:
        raise UsageError(f"meter {meter!r} is not registered; is it written as in the registry's file?")


def reading_totals(connection: psycopg.Connection[TupleRow], gateway: str) -> list[ReadingTotal]:
    """Return count and digest of what is stored for the meters of ``gateway``, by UTC day.

    A gateway that keeps the same sums of what it spooled can compare: one reading missing, extra or altered shows.
    Raises :class:`UsageError` if the gateway is not registered.
    """
    check_gateway(connection, gateway)
    count: dict[int, int] = defaultdict(int)
    digest: dict[int, int] = defaultdict(int)
    for reading in _readings(connection, gateway):
        day = reading.measured_at_ms // DAY_MS
        count[day] += 1
        digest[day] += reading_digest((reading,))
    return [
        ReadingTotal(datetime.fromtimestamp(day * 86_400, UTC).date(), count[day], digest[day] % DIGEST_MODULUS)
        for day in sorted(count)
    ]


def _readings(connection: psycopg.Connection[TupleRow], gateway: str) -> Iterator[Reading]:
    # A named cursor, which needs a transaction, leaves the rows at the server until they are fetched.
    with connection.transaction(), connection.cursor("readings") as cursor:
        cursor.itersize = FETCH_ROWS
        for row in cursor.execute(SELECT_READINGS, [gateway]):
            yield Reading(*row)
