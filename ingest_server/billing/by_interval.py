"""Bills by load profile: three rates of a meter that has but one register, and demand without a register of it.

The register is what is billed, the profile says when (:mod:`billing_core.intervals`). Each meter's profile is held
against its register and made to sum to it to the Wh; the rates follow the schedule that the meter was programmed with.
The highest half hour is that of all meters of the bill together, so an exchange within a half hour halves no demand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import RATES as RATE_REGISTERS
from billing_core.codes import Hold as EngineHold
from billing_core.codes import member_of
from billing_core.consumption import consume
from billing_core.intervals import MISSING as NO_INTERVAL
from billing_core.intervals import Profiles, energy_by_rate, highest_demand_w, reconcile
from billing_core.rounding import DEMAND_W_MAX, ENERGY_WH_MAX
from billing_core.tariff import Tariffs
from billing_core.time_of_use import Programme
from ingest_server.billing.columns import (
    DEMAND,
    MISSING,
    NONE,
    RATES,
    TOTAL,
    BoolArray,
    Int64Array,
    Parts,
    Points,
    Terms,
    day_of,
)
from ingest_server.billing.holds import Holds, doubted_readings
from ingest_server.billing.period import civil_text, instant_of
from ingest_server.billing.profile_columns import HALF_HOUR_MIN, MINUTE_US, Profile, Schedules
from ingest_server.billing.sentences import Sentence
from ingest_server.billing.terms import plan_of

SHARE_PERMILLE, RESOLUTIONS = 5, 2  # rule V30 of billing_core/validation/parameters.toml
MEASURED_AT_ONCE = 500  # profiles, each some thousand intervals, in a handful of arrays
WH_SHOWN = 1_000  # the coarsest unit of a display


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What each row of a chunk asks of its meters: three rates, and the highest demand. [n]"""

    rates: BoolArray
    demand: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ByInterval:
    """Which parts have their rates, and which their demand, from the load profile. [parts]"""

    rates: BoolArray
    demand: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of the profiles, in order of :attr:`Points.profiles`; zeros where the bill is held.

    Parameters
    ----------
    rates_wh
        At the three rates, 0 where nobody asks. [Wh, k × 3]
    register_wh, difference_wh
        What the register counted, and by how much the profile said less. [Wh, k]
    demand_w
        Highest half hour of each row that is asked of profiles, ``NONE`` elsewhere. [W, n]
    """

    rates_wh: Int64Array
    register_wh: Int64Array
    difference_wh: Int64Array
    demand_w: Int64Array


def needs_of_terms(terms: Sequence[Terms], place: Int64Array) -> Needs:
    """Return what the contracts of rows ask; ``place`` is that of each row's terms in the run's list. [n]"""
    plans = [plan_of(each) for each in terms]
    demand = [
        each.two_component or (plan is not None and bool(plan.demand)) for each, plan in zip(terms, plans, strict=True)
    ]
    rates = np.array([*(each.three_rates for each in terms), False], dtype=np.bool_)  # a place of −1 is nobody's
    return Needs(rates=rates[place], demand=np.array([*demand, False], dtype=np.bool_)[place])


def parts_by_interval(parts: Parts, needs: Needs) -> ByInterval:
    """Say of which parts the profile is asked: those whose meter has a total, but not the registers that are needed."""
    able = ~parts.generation & (parts.channel[:, TOTAL] != MISSING)
    rated = (parts.channel[:, RATES] != MISSING).any(axis=1)
    return ByInterval(
        rates=able & needs.rates[parts.point] & ~rated,
        demand=able & needs.demand[parts.point] & (parts.channel[:, DEMAND] == MISSING),
    )


def by_interval(points: Points, needs: Needs) -> ByInterval:
    """Say which parts' profiles make bills: those asked that have one; of others the registers stay what is asked."""
    there = np.zeros(len(points.parts.point), dtype=np.bool_)
    there[[each.part for each in points.profiles]] = True
    asked = parts_by_interval(points.parts, needs)
    return ByInterval(rates=asked.rates & there, demand=asked.demand & there)


def with_profiles(asked: BoolArray, wanted: ByInterval) -> BoolArray:
    """Return which registers parts are asked for where profiles say the rest. [parts × registers]"""
    found = asked.copy()
    found[wanted.rates, RATES] = False
    found[wanted.demand, DEMAND] = False
    found[wanted.rates | wanted.demand, TOTAL] = True
    return found


def tolerance_wh(parts: Parts, rows: Int64Array, register_wh: Int64Array) -> Int64Array:
    """Return by how much profiles and registers may differ: two steps of the register, or half a per cent. [Wh]"""
    step = np.gcd(np.gcd.reduce(parts.value[rows, TOTAL], axis=1), WH_SHOWN)
    found: Int64Array = np.maximum(
        RESOLUTIONS * step * parts.multiplier[rows], np.abs(register_wh) * SHARE_PERMILLE // 1_000
    )
    return found


def hold_sums(points: Points, asked: BoolArray, used_wh: Int64Array, holds: Holds) -> None:
    """Hold points whose load profile, which nothing is billed by, says another energy than the register.

    A profile with gaps says so only where it has more than the register counted.
    """
    sums, parts = points.sums, points.parts
    if not sums.part.size:
        return
    rows, factor = sums.part, parts.multiplier[sums.part]
    there = ~doubted_readings(parts, rows, TOTAL) & holds.free()[parts.point[rows]]
    counted = consume(*parts.value[rows, TOTAL].T, digits=parts.digits[rows], multiplier=np.where(there, factor, 1))
    rated = asked[rows, RATES].all(axis=1)
    register = np.where(rated & ~there, used_wh[rows, RATES].sum(axis=1), counted.energy_wh)
    known = (there & (counted.hold == 0)) | (rated & holds.free()[parts.point[rows]])
    total = np.minimum(sums.total_wh, ENERGY_WH_MAX // np.maximum(factor, 1)) * factor
    allowed = tolerance_wh(parts, rows, register)
    whole = sums.whole & (sums.found == sums.wanted)
    wrong = known & ((total - register > allowed) | (whole & (register - total > allowed)))
    for place in np.flatnonzero(wrong).tolist():
        row = int(rows[place])
        sentence = _against_register(parts, row, int(total[place]), int(register[place]), int(allowed[place]))
        holds.add(int(parts.point[row]), EngineHold.INTERVALS_AGAINST_REGISTER.value, sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What profiles are measured for, and what has come of them so far."""

    points: Points
    wanted: ByInterval
    tariffs: Tariffs
    holds: Holds
    used_wh: Int64Array
    measured: Measured
    half_hours: dict[int, list[tuple[int, Int64Array]]]


def measure(
    points: Points, wanted: ByInterval, used_wh: Int64Array, tariffs: Tariffs, holds: Holds
) -> tuple[Int64Array, Measured]:
    """Return ``used_wh`` with rates and demand from profiles, and what came of each profile; hold what can't be."""
    k = len(points.profiles)
    measured = Measured(
        rates_wh=np.zeros((k, len(RATE_REGISTERS)), dtype=np.int64),
        register_wh=np.zeros(k, dtype=np.int64),
        difference_wh=np.zeros(k, dtype=np.int64),
        demand_w=np.full(len(points), NONE, dtype=np.int64),
    )
    if not k:
        return used_wh, measured
    work = _Work(
        points=points,
        wanted=wanted,
        tariffs=tariffs,
        holds=holds,
        used_wh=used_wh.copy(),
        measured=measured,
        half_hours={},
    )
    for places in _alike(points.profiles, holds.free()[points.parts.point]).values():
        for first in range(0, len(places), MEASURED_AT_ONCE):
            _measure_alike(work, places[first : first + MEASURED_AT_ONCE])
    free = holds.free()
    first_part = {int(points.parts.point[each.part]): each.part for each in reversed(points.profiles)}
    for row, pieces in work.half_hours.items():
        if free[row]:
            measured.demand_w[row] = min(_highest(pieces), DEMAND_W_MAX + 1)
            work.used_wh[first_part[row], DEMAND] = measured.demand_w[row]
    return work.used_wh, measured


def _alike(profiles: Sequence[Profile], free: BoolArray) -> dict[tuple[int, int, int, Schedules], list[int]]:
    """Return the places of profiles of bills that are not held, by what they have in common."""
    found: dict[tuple[int, int, int, Schedules], list[int]] = {}
    for place, each in enumerate(profiles):
        if free[each.part]:
            found.setdefault((each.from_us, len(each.energy_wh), each.minutes, each.schedules), []).append(place)
    return found


def _measure_alike(work: _Work, places: list[int]) -> None:
    """Measure profiles over the same intervals of meters that were programmed alike."""
    points = work.points
    rows = np.array([points.profiles[place].part for place in places], dtype=np.int64)
    register = work.used_wh[rows, TOTAL]
    profiles = _multiplied(points, places, rows, register)
    allowed = tolerance_wh(points.parts, rows, register)
    found = reconcile(profiles, register, allowed)
    work.measured.register_wh[places] = register
    for at in np.flatnonzero(found.hold).tolist():
        row, energy = int(rows[at]), profiles.energy_wh[at]
        reason = member_of(EngineHold, int(found.hold[at]))
        if reason is EngineHold.INTERVAL_MISSING:
            sentence = _missing(points.parts, row, points.profiles[places[at]], energy)
        else:
            figures = (int(energy.sum()), int(register[at]), int(allowed[at]))
            sentence = _against_register(points.parts, row, *figures)
        work.holds.add(int(points.parts.point[row]), reason.value, sentence)
    good = np.flatnonzero(found.hold == 0)
    chosen = np.array(places, dtype=np.int64)[good]
    work.measured.difference_wh[chosen] = found.difference_wh[good]
    agreed = replace(profiles, energy_wh=found.energy_wh[good])
    _rate(work, chosen, rows[good], agreed)
    _keep_half_hours(work, points.profiles[places[0]], rows[good], agreed.energy_wh)


def _rate(work: _Work, places: Int64Array, rows: Int64Array, profiles: Profiles) -> None:
    """Split profiles by the schedule of their meters, where that is asked."""
    rated = work.wanted.rates[rows]
    if not rated.any():
        return
    points, schedules = work.points, work.points.profiles[int(places[0])].schedules
    known = {each.name for each in work.tariffs.schedules}
    for name in (name for _, name in schedules if name not in known):
        for row in rows[rated].tolist():
            sentence = {"say": "unknown_schedule", "meter": points.parts.meter_id[row], "name": name}
            work.holds.add(int(points.parts.point[row]), EngineHold.INTERVAL_MISSING.value, sentence)
        return
    first_on, last_on = day_of(int(points.first_day.min())), day_of(int(points.last_day.max()))
    holidays = work.tariffs.holidays_between(first_on, last_on + timedelta(days=1))
    programme = np.zeros(len(rows), dtype=np.int64)
    rates, _ = energy_by_rate(profiles, [programme_of(schedules, work.tariffs)], programme, holidays)
    rates[~rated] = 0
    work.measured.rates_wh[places] = rates
    work.used_wh[rows[rated], RATES] = rates[rated]


def _multiplied(points: Points, places: list[int], rows: Int64Array, register_wh: Int64Array) -> Profiles:
    """Return profiles after their multipliers; what can't be energy counts as missing.

    An interval that the part's beginning or end cuts is what the register counted besides.
    """
    parts, one = points.parts, points.profiles[places[0]]
    energy = np.stack([points.profiles[place].energy_wh for place in places])
    factor = parts.multiplier[rows, np.newaxis]
    possible = (energy >= 0) & (energy <= ENERGY_WH_MAX // factor // max(energy.shape[1], 1))
    energy = np.where(possible, energy, 0) * factor
    energy[~possible] = NO_INTERVAL
    bounds = one.from_us + np.arange(energy.shape[1] + 1, dtype=np.int64) * one.minutes * MINUTE_US
    for at, row in enumerate(rows.tolist()):
        cut = cut_interval(int(parts.start_us[row]), int(parts.end_us[row]), bounds)
        if cut is not None and energy[at, cut] == NO_INTERVAL and (energy[at] < 0).sum() == 1:
            energy[at, cut] = max(int(register_wh[at]) - int(energy[at].sum() - NO_INTERVAL), 0)
    start = np.datetime64(one.from_us // MINUTE_US, "m")
    step = np.arange(energy.shape[1], dtype=np.int64) * one.minutes
    return Profiles(start_at=start + step.astype("timedelta64[m]"), minutes=one.minutes, energy_wh=energy)


def cut_interval(start_us: int, end_us: int, bounds: Int64Array) -> int | None:
    """Return the interval that the end of a part cuts, else the one that its beginning cuts; none where neither does.

    Parameters
    ----------
    bounds
        Where intervals begin, and the end of the last. [microseconds since 1970 UTC]
    """
    for us in (end_us, start_us):
        if us not in bounds:
            return int(np.searchsorted(bounds, us)) - 1
    return None


def programme_of(schedules: Schedules, tariffs: Tariffs) -> Programme:
    """Return the schedules a meter runs."""
    of_name = {each.name: each for each in tariffs.schedules}
    return Programme(changes=tuple((np.datetime64(us // MINUTE_US, "m"), of_name[name]) for us, name in schedules))


def _keep_half_hours(work: _Work, one: Profile, rows: Int64Array, energy_wh: Int64Array) -> None:
    """Keep the half hours of meters whose profile is asked for the highest demand."""
    parts = work.points.parts
    per_window, rest = divmod(HALF_HOUR_MIN, one.minutes)
    for at in np.flatnonzero(work.wanted.demand[rows]).tolist():
        row = int(parts.point[rows[at]])
        if rest or not per_window:
            sentence = {"say": "no_half_hours", "meter": parts.meter_id[rows[at]], "minutes": one.minutes}
            work.holds.add(row, EngineHold.DEMAND_INVALID.value, sentence)
            continue
        windows = energy_wh[at].reshape(-1, per_window).sum(axis=1)
        work.half_hours.setdefault(row, []).append((one.from_us, windows))


def _highest(pieces: list[tuple[int, Int64Array]]) -> int:
    """Return the highest average of a half hour of all meters of a bill together. [W]"""
    window = HALF_HOUR_MIN * MINUTE_US
    begin = min(from_us for from_us, _ in pieces)
    end = max(from_us + len(energy) * window for from_us, energy in pieces)
    together = np.zeros((1, (end - begin) // window), dtype=np.int64)
    for from_us, energy in pieces:
        first = (from_us - begin) // window
        together[0, first : first + len(energy)] += energy
    start = np.datetime64(begin // MINUTE_US, "m")
    step = np.arange(together.shape[1], dtype=np.int64) * HALF_HOUR_MIN
    profiles = Profiles(start_at=start + step.astype("timedelta64[m]"), minutes=HALF_HOUR_MIN, energy_wh=together)
    return int(highest_demand_w(profiles)[0])


def _against_register(parts: Parts, row: int, intervals: int, register: int, allowed: int) -> Sentence:
    return {
        "say": "intervals_against_register",
        **_part_words(parts, row),
        "intervals": intervals,
        "counted": register,
        "difference": intervals - register,
        "allowed": allowed,
    }


def _missing(parts: Parts, row: int, profile: Profile, energy: NDArray[np.int64]) -> Sentence:
    gaps = np.flatnonzero(energy < 0)
    ends = [profile.from_us + (int(gap) + 1) * profile.minutes * MINUTE_US for gap in (gaps[0], gaps[-1])]
    first, last = (civil_text(instant_of(us)) for us in ends)
    counts = {"missing": len(gaps), "of": len(energy), "minutes": profile.minutes, "first": first, "last": last}
    return {"say": "intervals_missing", **_part_words(parts, row), **counts}


def _part_words(parts: Parts, row: int) -> dict[str, str]:
    start, end = (civil_text(instant_of(int(us[row]))) for us in (parts.start_us, parts.end_us))
    return {"meter": parts.meter_id[row], "start": start, "end": end}
