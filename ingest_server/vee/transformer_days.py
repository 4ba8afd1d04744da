"""Days behind transformers: what each point took and gave, what the transformer gave, and whom V15 suspects.

A day's energy is the difference of its two midnights' registers. A point whose meter was exchanged on a day is not
known on it; of a feeder with such a point, or one that was not read, that day takes no part.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.rounding import ENERGY_WH_MAX
from billing_core.validation.balance import v15_balance
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period, midnight_of

DAYS_BEFORE = 28

# Registers of import and export of the meters that hung at a feeder's points in the window.
SELECT_HUNG = """
    select m.feeder, i.metering_point_id, c.channel_id, c.obis = %(export)s, i.multiplier,
           i.installed_at, i.removed_at
    from meter m
    join installation i using (meter_id)
    join channel c on c.meter_id = m.meter_id and c.obis in (%(total)s, %(export)s)
    where m.feeder = any (%(feeders)s::text[]) and m.meter_id <> all (%(meters)s::text[]) and i.role = 'supply'
      and i.installed_at < %(to_at)s and (i.removed_at is null or i.removed_at > %(from_at)s)
    order by m.feeder, i.metering_point_id
"""
SELECT_MIDNIGHTS = """
    select channel_id, taken_on, value from vee_midnight
    where channel_id = any (%(channels)s::integer[]) and taken_on between %(first_on)s and %(until_on)s
"""
SELECT_TOTALS = (
    "select meter_id, channel_id from channel where meter_id = any (%(meters)s::text[]) and obis = %(total)s"
)


class Fed(NamedTuple):
    """A transformer, the feeder that hangs on it, and its meter."""

    transformer: str
    feeder: str
    meter: str
    multiplier: int


class Suspect(NamedTuple):
    """A point that its transformer contradicts, and on which days of the month; numbers as the rule tells them."""

    point: str
    first_on: date
    last_on: date
    evidence: Mapping[str, float]


class _Window(NamedTuple):
    first_on: date
    days: int


def suspects_of(connection: Connection[Any], fed: Sequence[Fed], period: Period) -> dict[str, list[Suspect]]:
    """Return whom V15 suspects behind each transformer in a month, by the transformer's name."""
    if not fed:
        return {}
    window = _Window(period.first_on - timedelta(days=DAYS_BEFORE), DAYS_BEFORE + period.days)
    until_on = window.first_on + timedelta(days=window.days)
    asked = {
        "total": MeterRegister.SG.value,
        "export": MeterRegister.EXPORT.value,
        "feeders": sorted({each.feeder for each in fed}),
        "meters": sorted({each.meter for each in fed}),
        "from_at": midnight_of(window.first_on),
        "to_at": midnight_of(until_on),
        "first_on": window.first_on,
        "until_on": until_on,
    }
    hung = connection.execute(SELECT_HUNG, asked).fetchall()
    own = dict(connection.execute(SELECT_TOTALS, asked).fetchall())
    channels = sorted({row[2] for row in hung} | set(own.values()))
    shown = {each: np.full(window.days + 1, -1, dtype=np.int64) for each in channels}
    for channel, day, value in connection.execute(SELECT_MIDNIGHTS, asked | {"channels": channels}):
        shown[channel][(day - window.first_on).days] = value
    points = {key: row for row, key in enumerate(dict.fromkeys((row[0], row[1]) for row in hung))}
    taken, given, known = _of_points(hung, points, shown, window)
    feeders = {each.feeder: row for row, each in enumerate(fed)}
    supplied = np.zeros((len(fed), window.days), dtype=np.int64)
    told = np.zeros(supplied.shape, dtype=np.bool_)
    for row, each in enumerate(fed):
        supplied[row], told[row] = _daily(shown[own[each.meter]], each.multiplier)
    behind = np.array([feeders[feeder] for feeder, _ in points], dtype=np.int64)
    finding = v15_balance(taken, given, known, transformer=behind, supplied_wh=supplied, supplied=told)
    found: dict[str, list[Suspect]] = {}
    for (feeder, point), row in points.items():
        days = DAYS_BEFORE + np.flatnonzero(finding.mask[row, DAYS_BEFORE:])
        if days.size:
            first, last = int(days[0]), int(days[-1])
            evidence = finding.at(row, first) | {
                "unaccounted_wh": int(finding.evidence["unaccounted_wh"][row, days].sum())
            }
            span = [window.first_on + timedelta(days=day) for day in (first, last)]
            found.setdefault(fed[feeders[feeder]].transformer, []).append(Suspect(point, span[0], span[1], evidence))
    return found


def _of_points(
    hung: Sequence[tuple[Any, ...]],
    points: Mapping[tuple[str, str], int],
    shown: Mapping[int, NDArray[np.int64]],
    window: _Window,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return what points took and gave a day, and where that is known. [points × days]"""
    shape = (len(points), window.days)
    taken, given = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    known, dark = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    midnights = [midnight_of(window.first_on + timedelta(days=day)) for day in range(window.days + 1)]
    for feeder, point, channel, export, multiplier, installed_at, removed_at in hung:
        row = points[feeder, point]
        energy, read = _daily(shown[channel], multiplier)
        hangs = np.array([installed_at <= at and (removed_at is None or removed_at >= at) for at in midnights])
        here = hangs[1:] & hangs[:-1]
        if export:  # a register of export that is never read is no export
            given[row, here] = np.where(read, energy, 0)[here]
            dark[row] |= here & ~read & bool((shown[channel] >= 0).any())
        else:
            taken[row, here & read] = energy[here & read]
            known[row] |= here & read
    return taken, given, known & ~dark


def _daily(shown: NDArray[np.int64], multiplier: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the energy between midnights, and where both were read and the register did not fall. [Wh, days]"""
    energy = np.diff(shown) * multiplier
    read = (shown[1:] >= 0) & (shown[:-1] >= 0) & (energy >= 0) & (energy <= ENERGY_WH_MAX)
    return np.where(read, energy, 0), read
