"""What should have come and did not: gaps with their age, shares of expected readings, sequences that never came."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.readings import check_gateway

CIVIL_OFFSET = timedelta(hours=7)  # Vietnam's, without daylight saving; as civil_day() in the database

SELECT_GAPS = """
    select gateway_id, meter_id, obis, first_at, end_at, intervals, age
    from reading_gaps(%(after)s, %(before)s, %(gateway)s, %(as_of)s)
    order by age desc, gateway_id, meter_id, obis
"""
SELECT_COMPLETENESS = """
    select c.gateway_id, meter_id, obis, on_day, expected, found, feeder
    from reading_completeness(%(first_on)s, %(last_on)s, %(gateway)s, %(as_of)s) c
    join meter using (meter_id)
"""
SELECT_SEQUENCE_GAPS = """
    select gateway_id, generation, first, last, updated_at
    from gateway_sequence_gap
    where %(gateway)s::text is null or gateway_id = %(gateway)s
    order by gateway_id, generation, first
"""


class Gap(NamedTuple):
    """Intervals of a channel without a reading, half-open; ``age`` is counted from the first."""

    gateway: str
    meter: str
    obis: str
    first_at: datetime
    end_at: datetime
    intervals: int
    age: timedelta


class SequenceGap(NamedTuple):
    """Batches ``first`` to ``last`` of a spool that never came although later ones did."""

    gateway: str
    generation: str
    first: int
    last: int
    updated_at: datetime


class ChannelDay(NamedTuple):
    """How many readings of a channel were expected on a civil day, and in how many intervals there was one."""

    gateway: str
    meter: str
    obis: str
    on: date
    expected: int
    found: int
    feeder: str | None = None


class Completeness(NamedTuple):
    """The same, added up for what ``name`` names."""

    name: str
    expected: int
    found: int

    @property
    def share(self) -> float:
        """The part of the expected readings that are there, 0 to 1."""
        return self.found / self.expected


NAMES: dict[str, Callable[[ChannelDay], str]] = {
    "gateway": lambda row: row.gateway,
    "feeder": lambda row: row.feeder or "none named",
    "meter": lambda row: row.meter,
    "channel": lambda row: f"{row.meter} {row.obis}",
    "day": lambda row: row.on.isoformat(),
}


def reading_gaps(
    connection: psycopg.Connection[TupleRow], first_on: date, last_on: date, gateway: str | None, as_of: datetime
) -> list[Gap]:
    """Return the gaps within the civil days from ``first_on`` to ``last_on``, the oldest first.

    Raises :class:`UsageError` if ``gateway`` is not registered; ``None`` stands for all.
    """
    check_gateway(connection, gateway)
    midnight = datetime.min.time()
    given = {
        "after": datetime.combine(first_on, midnight, as_of.tzinfo) - CIVIL_OFFSET,
        "before": datetime.combine(last_on + timedelta(days=1), midnight, as_of.tzinfo) - CIVIL_OFFSET,
        "gateway": gateway,
        "as_of": as_of,
    }
    return [Gap(*row) for row in connection.execute(SELECT_GAPS, given)]


def sequence_gaps(connection: psycopg.Connection[TupleRow], gateway: str | None) -> list[SequenceGap]:
    """Return the batches that never came, of one gateway or of all."""
    return [SequenceGap(*row) for row in connection.execute(SELECT_SEQUENCE_GAPS, {"gateway": gateway})]


def channel_days(
    connection: psycopg.Connection[TupleRow], first_on: date, last_on: date, gateway: str | None, as_of: datetime
) -> list[ChannelDay]:
    """Return expected and found readings of each channel and civil day; what was not to come yet is not expected.

    Raises :class:`UsageError` if ``gateway`` is not registered; ``None`` stands for all.
    """
    check_gateway(connection, gateway)
    given = {"first_on": first_on, "last_on": last_on, "gateway": gateway, "as_of": as_of}
    return [ChannelDay(*row) for row in connection.execute(SELECT_COMPLETENESS, given)]


def add_up(rows: Sequence[ChannelDay], by: str) -> list[Completeness]:
    """Return ``rows`` added up by one of :data:`NAMES`, the least complete first."""
    expected: dict[str, int] = {}
    found: dict[str, int] = {}
    for row in rows:
        name = NAMES[by](row)
        expected[name] = expected.get(name, 0) + row.expected
        found[name] = found.get(name, 0) + row.found
    sums = [Completeness(name, expected[name], found[name]) for name in expected]
    return sorted(sums, key=lambda each: (each.share, each.name))
