"""What stands around a bill, recomputed exactly: when energy flowed, and what was billed wrong.

As :mod:`deploy.demo.exact`, this takes nothing from the engine: days and minutes are walked one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeAlias

from deploy.demo.exact import DAY, exact_bill, nominal_cycle, tariff_files, until_day
from deploy.demo.exact_values import ExactBill, NotBillableError, Use, half_up

Files: TypeAlias = Mapping[str, dict[str, Any]]
"""Tariff files by name."""

MINUTE = timedelta(minutes=1)
VIETNAM = timedelta(hours=7)
RATES = ("BT", "CD", "TD")


def energy_by_minutes(
    start_at: datetime, minutes: int, energy_wh: Sequence[int], programmed: Sequence[tuple[datetime, str]]
) -> dict[str, Fraction]:
    """Return the kWh of each rate by walking every minute; ``programmed`` says from when (UTC) which schedule runs.

    An interval across a change of rate is shared out by minutes in whole Wh, counted from BT to CD to TD.
    """
    schedules = {schedule["name"]: schedule for schedule in tariff_files()["time_of_use.toml"]["schedule"]}
    found, at = dict.fromkeys(RATES, Fraction(0)), start_at
    for energy in energy_wh:
        counted = dict.fromkeys(RATES, 0)
        for _ in range(minutes):
            name = [schedule for since, schedule in programmed if since <= at or since == programmed[0][0]][-1]
            counted[_rate(schedules[name], at + VIETNAM)] += 1
            at += MINUTE
        upto = before = 0
        for rate in RATES:
            upto += counted[rate]
            until = half_up(Fraction(energy * upto, minutes))
            found[rate] += Fraction(until - before, 1000)
            before = until
    return found


def _rate(schedule: Mapping[str, Any], local_at: datetime) -> str:
    clock = f"{local_at:%H:%M}"
    if any(_within(clock, window) for window in schedule["off_peak"]):
        return "TD"
    peak = local_at.weekday() < 6 or schedule["sunday_peak"]
    return "CD" if peak and any(_within(clock, window) for window in schedule["peak"]) else "BT"


def _within(clock: str, window: str) -> bool:
    first, end = window.split("-")
    return first <= clock < end if first < end else clock >= first or clock < end


def highest_half_hour_kw(minutes: int, energy_wh: Sequence[int]) -> Fraction:
    """Return the highest average of a half hour; the intervals begin on one."""
    count = 30 // minutes
    return max(Fraction(2 * sum(energy_wh[n : n + count]), 1000) for n in range(0, len(energy_wh), count))


def first_corrected_day(found_on: date, since_on: date | None) -> date:
    """Return the day the wrong use began, or the same day of the year before, or that month's last."""
    if since_on is not None:
        return since_on
    while True:
        try:
            return found_on.replace(year=found_on.year - 1)
        except ValueError:
            found_on -= DAY


def difference(use: Use, right: Mapping[str, Any], first_on: date, files: Files | None = None) -> tuple[int, int, int]:
    """Return subtotal, tax and total of the right bill less the wrong one, of the days from ``first_on`` on."""
    wrong = from_day(use, first_on, files) if first_on > use.start_on else use
    bills: list[ExactBill] = [exact_bill(replace(wrong, **right), files), exact_bill(wrong, files)]
    after, before = ((bill.subtotal, bill.vat, bill.total) for bill in bills)
    subtotal, vat, total = (one - other for one, other in zip(after, before, strict=True))
    return subtotal, vat, total


def from_day(use: Use, first_on: date, files: Files | None = None) -> Use:
    """Return the use from a day on: energy by days in whole kWh, households of that day, and the same nominal cycle.

    Where a meter was read at a change of price, only the part in which the day lies is shared out.
    """
    kwh, before = dict(use.kwh), use.before_changes_kwh
    if not before:
        kwh = _rest(kwh, use.start_on, use.end_on, first_on)
    else:
        kwh, before = _from_reading(use, first_on, tariff_files() if files is None else files)
    reactive = use.reactive_kvarh
    if reactive is not None:
        [reactive] = _rest({"VC": reactive}, use.start_on, use.end_on, first_on).values()
    now = [after for changed_on, after in use.household_changes if changed_on <= first_on]
    if use.person_days is not None:
        now = [Fraction(use.person_days, 4 * ((use.end_on - use.start_on).days + 1))]
    return replace(
        use,
        start_on=first_on,
        kwh=kwh,
        before_changes_kwh=before,
        reactive_kvarh=reactive,
        export_before_changes_kwh=(),
        nominal_days=use.nominal_days or nominal_cycle(use.start_on),
        person_days=None,
        households=now[-1] if now else use.households,
        household_changes=tuple(change for change in use.household_changes if change[0] > first_on),
    )


def _from_reading(
    use: Use, first_on: date, files: Files
) -> tuple[dict[str, Fraction], tuple[dict[str, Fraction], ...]]:
    """Return the energy from a day on, and that up to each later change of price, of a meter that was read at all."""
    changes = sorted(
        table["effective_on"]
        for name, table in files.items()
        if name.startswith("act_") and use.start_on < table["effective_on"] <= use.end_on
    )
    if len(changes) != len(use.before_changes_kwh):
        raise NotBillableError("readings at changes of price, and more or fewer changes")
    begins = [use.start_on, *changes]
    ends = [*(day - DAY for day in changes), use.end_on]
    readings = [dict.fromkeys(use.kwh, Fraction(0)), *use.before_changes_kwh, use.kwh]
    until, found = dict.fromkeys(use.kwh, Fraction(0)), []
    for begin, end, early, late in zip(begins, ends, readings, readings[1:], strict=False):
        if end < first_on:
            continue
        flowed = {name: late[name] - early[name] for name in late}
        flowed = _rest(flowed, begin, end, first_on) if begin < first_on else flowed
        until = {name: kwh + flowed[name] for name, kwh in until.items()}
        found.append(until)
    return found[-1], tuple(found[:-1])


def _rest(kwh: Mapping[str, Fraction], start_on: date, end_on: date, first_on: date) -> dict[str, Fraction]:
    days, dropped = (end_on - start_on).days + 1, (first_on - start_on).days
    return {name: energy - until_day(energy, dropped, days) if dropped else energy for name, energy in kwh.items()}
