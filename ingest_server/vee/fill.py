"""Fill: readings for what a profile lacks in a month, or what failed in it. No database, no clock."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY, Context
from billing_core.estimation.estimate import Estimate, estimate
from billing_core.estimation.gaps import usable_days
from billing_core.estimation.profile import Filled, RegisterProfile, between, readings_in_gaps
from billing_core.estimation.provenance import Method, Reason
from billing_core.estimation.suspects import slots_to_replace
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from billing_core.validation.catalogue import Severity
from billing_core.validation.series import Intervals, Registers, Status
from billing_core.validation.validate import MeterData, Validation
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period
from ingest_server.vee.class_days import Classes, class_days
from ingest_server.vee.gather import Profile
from ingest_server.vee.last_year import season_permille
from ingest_server.vee.terms_by_day import TermsByDay
from protocols.telemetry.reading import Quality


@dataclass(frozen=True, slots=True)
class Proposed:
    """Readings for one channel, ascending by instant; ``again`` says that the rules still fail a day that they fill."""

    row: int
    instants_us: NDArray[np.int64]
    index_wh: NDArray[np.int64]
    quality: NDArray[np.int64]
    method: NDArray[np.int64]
    reason: NDArray[np.int64]
    bounded: bool
    again: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Which channels lack or fail something, what fills it, which slots that is, and the month's span of slots."""

    rows: NDArray[np.int64]
    filled: Filled
    wanted: NDArray[np.bool_]
    begin: int
    end: int


def fill(
    profile: Profile,
    data: MeterData,
    believed: NDArray[np.bool_],
    result: Validation,
    period: Period,
    *,
    classes: Classes,
) -> Gaps | None:
    """Propose readings for all rows that lack or fail any in the month; none if no row does.

    Parameters
    ----------
    classes
        Gives the days of classes; asked only if a row has no day of its own.
    """
    intervals, registers, per_day = data.intervals, data.registers, profile.slots_per_day
    begin = (period.first_on - profile.first_on).days * per_day
    end = begin + period.days * per_day
    at_point = profile.at_point()
    active = at_point[:, 1:] & at_point[:, :-1]
    decided = profile.overridden[:, 1:] | profile.overridden[:, :-1]  # people did: nobody is asked the same again
    failed = slots_to_replace(result, intervals) & active & ~decided
    wanted = (intervals.missing & active) | failed
    later = believed[:, end:].any(axis=1)
    wanted[~later, end:] = False
    rows = np.flatnonzero(wanted[:, begin:end].any(axis=1))
    if not rows.size:
        return None
    inside = np.zeros(believed.shape, dtype=np.bool_)  # readings between two intervals that failed
    inside[:, 1:-1] = failed[:, :-1] & failed[:, 1:]
    own = Intervals(
        energy_wh=np.where(intervals.missing[rows], 0, intervals.energy_wh[rows] // registers.multiplier[rows, None]),
        missing=intervals.missing[rows] | ~active[rows],
        slots_per_day=per_day,
    )
    weekday, day_type = day_types(profile.first_on, profile.days)
    sells = _sells(profile, rows)
    context = Context(
        intervals=own,
        registers=replace(
            registers,
            index_wh=registers.index_wh[rows],
            actual=registers.actual[rows],
            digits=registers.digits[rows],
            unit_wh=registers.unit_wh[rows],
            resolution_wh=registers.resolution_wh[rows],
            multiplier=np.ones(rows.size, dtype=np.int64),
        ),
        replace=failed[rows],
        weekday=weekday,
        day_type=day_type,
        outage=_outages(data, rows),
        night=None if data.night is None else sells[:, None] & data.night,
        check_wh=None if profile.check_wh is None else profile.check_wh[rows] // registers.multiplier[rows, None],
        check_valid=None if profile.check_valid is None else profile.check_valid[rows],
        shapes_only=True,  # each gap is scaled to its own readings, not to midnights
    )
    made = _estimate(profile, rows, context, classes)
    filled = readings_in_gaps(
        RegisterProfile(profile.index_wh[rows], believed[rows] & ~inside[rows], registers.range_wh()[rows]),
        wanted[rows],
        made.intervals.energy_wh,
        made.method,
    )
    return Gaps(rows, filled, wanted[rows], begin, end)


def _estimate(profile: Profile, rows: NDArray[np.int64], context: Context, classes: Classes) -> Estimate:
    """Estimate, with the year before in long gaps (E4), and with a day of its class where a meter has none (E7)."""
    if profile.last_year_wh is not None and profile.last_year_known is not None:
        then, known = profile.last_year_wh[rows], profile.last_year_known[rows]
        own = context.intervals
        season = season_permille(own.energy_wh, ~context.wanted, then, known, profile.slots_per_day)
        context = replace(
            context,
            last_year_wh=then,
            last_year_valid=known & (season >= 0)[:, None],
            season_permille=season.clip(0),
        )
    if usable_days(context).any(axis=1).all():
        return estimate(context)
    of_class = class_days(profile, rows, classes())
    made = estimate(replace(context, class_profile=of_class.weights, class_daily_wh=of_class.daily_wh))
    without = (made.method == int(Method.E7_CLASS_PROFILE)) & ~of_class.known[:, None]
    made.method[without], made.intervals.energy_wh[without] = int(Method.NONE), 0
    return made


def day_types(first_on: date, days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the weekday of each day, Monday 0, and its type; a public holiday is a Sunday. [days]"""
    window = [first_on + timedelta(days=day) for day in range(days)]
    weekday = np.array([day.weekday() for day in window], dtype=np.int64)
    holidays = _tariffs().holidays_between(window[0], window[-1])
    off = (weekday == 6) | np.array([day in holidays for day in window])
    return weekday, np.select([off, weekday == 5], [SUNDAY, SATURDAY], WORKDAY).astype(np.int64)


def _sells(profile: Profile, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which rows are registers of export: nothing comes between sunset and sunrise."""
    return np.array([profile.channels[row].obis == MeterRegister.EXPORT.value for row in rows.tolist()], dtype=np.bool_)


def _outages(data: MeterData, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the days on which the meter said that power failed. [rows × days]"""
    if data.status is None:
        return np.zeros((rows.size, data.intervals.days), dtype=np.bool_)
    return np.asarray((data.status[rows] & int(Status.POWER_FAIL)) != 0)


@cache
def _tariffs() -> Tariffs:
    return load_tariffs()


def propose(
    profile: Profile,
    data: MeterData,
    gaps: Gaps,
    believed: NDArray[np.bool_],
    terms: TermsByDay,
) -> tuple[list[Proposed], NDArray[np.int64]]:
    """Return the proposals per channel for the month, judged again by the rules, and how many slots of each row of the
    gaps stay empty.
    """
    per_day, filled = profile.slots_per_day, gaps.filled
    begin, end = gaps.begin, gaps.end
    index, read = profile.index_wh[gaps.rows].copy(), believed[gaps.rows].copy()
    index[filled.row, filled.instant] = filled.index_wh
    read[filled.row, filled.instant] = True
    again = _judged_again(profile, data, gaps, terms, (index, read))
    left: NDArray[np.int64] = (~(read[:, 1:] & read[:, :-1]) & gaps.wanted)[:, begin:end].sum(axis=1)
    there = profile.read[gaps.rows]
    taken = (filled.instant >= begin) & (filled.instant <= end)
    proposals = []
    instants = profile.instants_us
    for place, row in enumerate(gaps.rows.tolist()):
        mine = np.flatnonzero(taken & (filled.row == place))
        if not mine.size:
            continue
        slot = filled.instant[mine]
        stood = there[place, slot] | (profile.quality[row, slot] & int(Quality.SUSPECT) != 0)
        days = np.unique(np.flatnonzero(again[place]))
        proposals.append(
            Proposed(
                row=row,
                instants_us=instants[slot],
                index_wh=filled.index_wh[mine],
                quality=np.where(stood, int(Quality.SUBSTITUTED), int(Quality.ESTIMATED)),
                method=filled.method[mine].astype(np.int64),
                reason=np.select(
                    [~filled.bounded[mine], stood],
                    [int(Reason.OPEN_END), int(Reason.FAILED_VALIDATION)],
                    int(Reason.GAP),
                ),
                bounded=bool(filled.bounded[mine].all()),
                again=tuple(
                    profile.first_on + timedelta(days=int(day)) for day in days if begin <= day * per_day < end
                ),
            )
        )
    return proposals, left


def _judged_again(
    profile: Profile,
    data: MeterData,
    gaps: Gaps,
    terms: TermsByDay,
    filled: tuple[NDArray[np.int64], NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Return the days that hold something estimated and still fail by what holds on them. [rows of the gaps × days]"""
    rows, whole = gaps.rows, data.registers
    read = filled[1]
    index = np.where(read, filled[0], 0)
    per_day = data.intervals.slots_per_day
    registers = Registers(
        index_wh=np.ascontiguousarray(index[:, ::per_day]),
        actual=np.ascontiguousarray(read[:, ::per_day]),
        digits=whole.digits[rows],
        unit_wh=whole.unit_wh[rows],
        resolution_wh=whole.resolution_wh[rows],
        multiplier=whole.multiplier[rows],
    )
    energy, missing = between(RegisterProfile(index, read, registers.range_wh()))
    again = Intervals(energy_wh=energy * registers.multiplier[:, None], missing=missing, slots_per_day=per_day)
    one = MeterData(
        intervals=again,
        registers=registers,
        limit_wh=data.limit_wh[rows],
        two_way=data.two_way[rows],
        estimated=gaps.wanted,
    )
    if data.export is not None and data.solar is not None and data.inverter_w is not None:
        sold = replace(again, energy_wh=np.where(_sells(profile, rows)[:, None], again.energy_wh, 0))
        one = replace(one, export=sold, night=data.night, solar=data.solar[rows], inverter_w=data.inverter_w[rows])
    result = terms.chosen(rows).validate(one)
    touched = gaps.wanted.reshape(len(rows), -1, per_day).any(axis=2)
    return touched & result.verdict.at_least(Severity.FAIL)
