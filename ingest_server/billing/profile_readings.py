"""The load profiles of a chunk, read from its snapshot: whole for bills that are made of them, else their sums.

A meter sends its load profile as energy of intervals (1.0.1.29.0, stamped with the interval's end), or as its total
register at the end of each. The first is held against the register of every bill; of a chunk without such channels, and
without bills by intervals, nothing is asked.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from psycopg import Connection

from billing_core.consumption import consume
from billing_core.intervals import MISSING as NO_INTERVAL
from ingest_server.billing.by_interval import Needs, cut_interval, parts_by_interval
from ingest_server.billing.columns import MISSING, TOTAL, Int64Array, Parts
from ingest_server.billing.period import instant_of
from ingest_server.billing.profile_columns import (
    HALF_HOUR_MIN,
    INTERVAL_MINUTES,
    MINUTE_US,
    NO_SUMS,
    Profile,
    ProfileSums,
    Schedules,
)
from ingest_server.billing.schedules import programmes_of
from ingest_server.database.binary_rows import Field, fetch_columns
from protocols.telemetry.reading import Quality

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC, where PostgreSQL's binary timestamps begin
ESTIMATED = int(Quality.ESTIMATED | Quality.SUBSTITUTED)
PROFILE_PERCENT = 25  # of its intervals: a register that was read more seldom says nothing of when
PROFILES_AT_ONCE = 500  # a month of half hours of each is 24 MB of readings
SUM_WH_MAX = 10**15  # what is more can't be right, and is told as what it is

SOURCES = {False: "reading", True: "billing_reading"}
SELECT_INTERVAL_MINUTES = """
    select m.meter_id, m.interval_min from meter m where m.meter_id = any (%(meters)s::text[])
"""
# Where people put nothing beside the readings, which is nearly everywhere, the table itself is read, at a tenth of the
# cost. All parts between the same two instants are asked for at once.
SELECT_OVERLAID = """
    select exists (select from reading_overlay
                   where channel_id = any (%(channels)s::integer[]) and measured_at between %(from_at)s and %(to_at)s)
"""
_SELECT_PROFILES = """
    select channel_id, measured_at, value, quality from {source}
    where channel_id = any (%(channels)s::integer[]) and measured_at > %(from_at)s and measured_at <= %(to_at)s
      and quality & %(suspect)s = 0
"""
_SELECT_SUMS = """
    select channel_id, count(*)::integer, least(coalesce(sum(value), 0), %(sum_max)s)::bigint from {source}
    where channel_id = any (%(channels)s::integer[]) and measured_at > %(from_at)s and measured_at <= %(to_at)s
      and quality & %(suspect)s = 0 and value >= 0
    group by channel_id
"""
SELECT_PROFILES = {overlaid: _SELECT_PROFILES.format(source=source) for overlaid, source in SOURCES.items()}
SELECT_SUMS = {overlaid: _SELECT_SUMS.format(source=source) for overlaid, source in SOURCES.items()}
Span: TypeAlias = tuple[int, int]
"""Two instants. [microseconds since 1970 UTC]"""
_PROFILE = {"channel": Field("i4"), "at_us": Field("i8"), "value": Field("i8"), "quality": Field("i2")}
_SUM = {"channel": Field("i4"), "found": Field("i4"), "total": Field("i8")}


def gather_profiles(connection: Connection[Any], parts: Parts, needs: Needs) -> tuple[tuple[Profile, ...], ProfileSums]:
    """Return the load profiles of parts that are billed by them, and sums of those that others have."""
    wanted = parts_by_interval(parts, needs)
    billed = np.flatnonzero(wanted.rates | wanted.demand)
    held = np.flatnonzero((parts.profile != MISSING) & ~parts.generation & ~(wanted.rates | wanted.demand))
    if not billed.size and not held.size:
        return (), NO_SUMS
    minutes = _interval_minutes(connection, parts, np.concatenate([billed, held]))
    return _profiles(connection, parts, billed, minutes), _sums(connection, parts, held, minutes)


def _interval_minutes(connection: Connection[Any], parts: Parts, rows: Int64Array) -> dict[str, int]:
    meters = sorted({parts.meter_id[row] for row in rows.tolist()})
    return dict(connection.execute(SELECT_INTERVAL_MINUTES, {"meters": meters}).fetchall())


def _fetch(
    connection: Connection[Any], queries: dict[bool, Any], layout: dict[str, Field], channels: Int64Array, span: Span
) -> dict[str, Any]:
    """Return what is stored of channels after one instant and up to another, and counts."""
    asked = {
        "channels": channels.tolist(),
        "from_at": instant_of(span[0]),
        "to_at": instant_of(span[1]),
        "suspect": int(Quality.SUSPECT),
        "sum_max": SUM_WH_MAX,
    }
    row = connection.execute(SELECT_OVERLAID, asked).fetchone()
    assert row is not None, "exists gives a row"
    return fetch_columns(connection, queries[bool(row[0])], asked, layout)


def _by_span(start_us: Int64Array, end_us: Int64Array) -> Iterator[tuple[Span, Int64Array]]:
    """Yield the different spans of time, and the places that have each."""
    spans, which = np.unique(np.stack([start_us, end_us], axis=1), axis=0, return_inverse=True)
    for place, (start, end) in enumerate(spans.tolist()):
        yield (start, end), np.flatnonzero(which.reshape(-1) == place)


def _sums(connection: Connection[Any], parts: Parts, rows: Int64Array, minutes: dict[str, int]) -> ProfileSums:
    if not rows.size:
        return NO_SUMS
    length, start, end = _lengths(parts, rows, minutes), parts.start_us[rows], parts.end_us[rows]
    begin = -(-start // length) * length  # what an interval across the part's beginning has is unknown
    found, total = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
    for span, places in _by_span(begin, end):
        channels = parts.profile[rows[places]]
        stored = _fetch(connection, SELECT_SUMS, _SUM, channels, span)
        order = np.argsort(channels)
        at = places[order[np.searchsorted(channels, stored["channel"], sorter=order)]]
        found[at], total[at] = stored["found"], stored["total"]
    return ProfileSums(
        part=rows,
        wanted=end // length - begin // length,
        found=found,
        total_wh=total,
        whole=(start % length == 0) & (end % length == 0),
    )


def _lengths(parts: Parts, rows: Int64Array, minutes: dict[str, int]) -> Int64Array:
    return np.array([minutes[parts.meter_id[row]] for row in rows.tolist()], dtype=np.int64) * MINUTE_US


def _profiles(
    connection: Connection[Any], parts: Parts, rows: Int64Array, minutes: dict[str, int]
) -> tuple[Profile, ...]:
    """Return the profiles of ``rows`` that have any; none whose intervals say too little of hours and half hours."""
    rows = rows[[minutes[parts.meter_id[row]] in INTERVAL_MINUTES for row in rows.tolist()]]
    lots = (rows[at : at + PROFILES_AT_ONCE] for at in range(0, rows.size, PROFILES_AT_ONCE))
    return tuple(profile for lot in lots for profile in _lot(connection, parts, lot, minutes))


def _lot(connection: Connection[Any], parts: Parts, rows: Int64Array, minutes: dict[str, int]) -> list[Profile]:
    own = parts.profile[rows]
    channels = np.where(own != MISSING, own, parts.channel[rows, TOTAL])
    last_at = instant_of(int(parts.end_us[rows].max()))
    schedules = programmes_of(connection, [parts.meter_id[row] for row in rows.tolist()], last_at)
    found: dict[int, Profile] = {}
    for span, places in _by_span(parts.start_us[rows], parts.end_us[rows]):
        stored = _fetch(connection, SELECT_PROFILES, _PROFILE, channels[places], span)
        stored = {name: column[np.lexsort((stored["at_us"], stored["channel"]))] for name, column in stored.items()}
        first, after = (np.searchsorted(stored["channel"], channels[places], side) for side in ("left", "right"))
        for place, begin, end in zip(places.tolist(), first.tolist(), after.tolist(), strict=True):
            row = int(rows[place])
            readings = {name: column[begin:end] for name, column in stored.items()}
            channel, meter = int(channels[place]), parts.meter_id[row]
            intervals = len(_grid(*span, minutes[meter])[1]) - 1
            if (end - begin) * 100 >= (intervals - 1) * PROFILE_PERCENT:
                found[row] = _profile(parts, row, channel, readings, minutes=minutes[meter], schedules=schedules[meter])
    return [found[row] for row in rows.tolist() if row in found]


def _profile(
    parts: Parts, row: int, channel: int, readings: dict[str, Int64Array], *, minutes: int, schedules: Schedules
) -> Profile:
    at_us = readings["at_us"] + POSTGRES_EPOCH_US
    from_us, bounds = _grid(int(parts.start_us[row]), int(parts.end_us[row]), minutes)
    taken = _energies if channel == parts.profile[row] else _register_steps
    estimated = (readings["quality"] & ESTIMATED) != 0
    return Profile(
        part=row,
        channel=channel,
        from_us=from_us,
        minutes=minutes,
        energy_wh=taken(parts, row, bounds, at_us, readings["value"]),
        estimated=int(estimated[np.isin(at_us, bounds)].sum()),
        schedules=schedules,
    )


def _grid(start_us: int, end_us: int, minutes: int) -> tuple[int, Int64Array]:
    """Return where the first interval begins, and all ends of intervals, the first one's beginning among them."""
    step = max(minutes, HALF_HOUR_MIN) * MINUTE_US
    from_us, until_us = start_us // step * step, -(-end_us // step) * step
    return from_us, np.arange(from_us, until_us + 1, minutes * MINUTE_US, dtype=np.int64)


def _energies(parts: Parts, row: int, bounds: Int64Array, at_us: Int64Array, value: Int64Array) -> Int64Array:
    """Return the energy of intervals as the meter keeps it.

    Of one in which the meter was taken down, or its registers were set, nobody knows what lies within the part: it is
    what the register counted besides.
    """
    start_us, end_us = int(parts.start_us[row]), int(parts.end_us[row])
    stored = dict(zip(at_us.tolist(), value.tolist(), strict=True))
    found = np.array([stored.get(us, NO_INTERVAL) for us in bounds[1:].tolist()], dtype=np.int64)
    found[(bounds[1:] <= start_us) | (bounds[:-1] >= end_us)] = 0
    cut = cut_interval(start_us, end_us, bounds)
    if cut is not None:
        found[cut] = NO_INTERVAL
    return np.maximum(found, NO_INTERVAL)


def _register_steps(parts: Parts, row: int, bounds: Int64Array, at_us: Int64Array, value: Int64Array) -> Int64Array:
    """Return the energy of intervals as differences of the register that was read at their ends."""
    start_us, end_us = int(parts.start_us[row]), int(parts.end_us[row])
    first, last = parts.value[row, TOTAL].tolist()
    stored = dict(zip(at_us.tolist(), value.tolist(), strict=True)) | {start_us: first, end_us: last}
    index = np.array([stored.get(us, NO_INTERVAL) for us in np.clip(bounds, start_us, end_us).tolist()], dtype=np.int64)
    known = (index[:-1] >= 0) & (index[1:] >= 0)
    steps = consume(np.where(known, index[:-1], 0), np.where(known, index[1:], 0), digits=int(parts.digits[row]))
    return np.where(known, steps.energy_wh, NO_INTERVAL)
