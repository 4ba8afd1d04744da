"""What holds on which day of a month: the contract in force, and parameters that somebody set. No database, no clock.

A month in which nothing changes is one stretch. Where a contract or a parameter changes there are several, and the
rules about days are applied to each with what held in it; rules about the month as a whole take its last stretch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.day_scan import WeeklyBand
from billing_core.validation.finding import Finding
from billing_core.validation.parameters import Columns, columns_on, load_parameters
from billing_core.validation.series import METER_CLASSES, Intervals, Registers
from billing_core.validation.validate import MeterData, Validation, validate
from billing_core.validation.verdict import judge
from ingest_server.billing.period import Period
from ingest_server.vee.plates import limit_wh

if TYPE_CHECKING:
    from ingest_server.vee.gather import Channel

HOUSEHOLD, SHOP, LARGE = range(len(METER_CLASSES))
CLASSES = {"residential": HOUSEHOLD, "prepaid": HOUSEHOLD, "business": SHOP, "lighting_admin": SHOP, "tourism": SHOP}
FOREVER = date.max
TERMS_KEPT = 4_096  # texts of contracts, of a chunk and its neighbours
ONE_DAY = timedelta(days=1)
COUNTED_RULES = ("V26", "V28")  # stuck, or copied
COMPUTED_PART = 4  # a quarter of a day: what V28 needs at least to call it a copy


class Setting(NamedTuple):
    """A parameter that somebody set for a class or a point, and from when until when it holds, both days included."""

    meter_class: str | None
    point: str | None
    name: str
    value: int
    start_on: date
    end_on: date


class Stretch(NamedTuple):
    """Days on which one contract and one set of parameters hold; ``channel`` has that contract's terms.

    ``served`` says whether there is a contract at all; else the terms are those of the nearest one.
    """

    first_on: date
    last_on: date
    channel: "Channel"
    served: bool
    values: tuple[tuple[str, int], ...]


class _Terms(NamedTuple):
    first_on: date
    last_on: date
    category: str
    three_rates: bool
    solar: bool
    contracted_kw: int


def class_of(category: str) -> int:
    """Return the code of the class whose parameters hold for a category of contracts."""
    return CLASSES.get(category, LARGE)


@lru_cache(maxsize=TERMS_KEPT)
def _terms(text: str) -> tuple[_Terms, ...]:
    return tuple(
        _Terms(date.fromisoformat(first), FOREVER if last is None else date.fromisoformat(last), *rest)
        for first, last, *rest in json.loads(text)
    )


def on_day(channel: "Channel", day: date) -> tuple["Channel", bool]:
    """Return a channel with the terms of the contract in force on a day, and whether there is one; else the nearest."""
    terms = _terms(channel.terms)
    if not terms:
        return channel, False
    nearest = min(terms, key=lambda each: max(each.first_on - day, day - each.last_on, timedelta()))
    held = channel._replace(
        category=nearest.category,
        three_rates=nearest.three_rates,
        solar=nearest.solar,
        contracted_kw=nearest.contracted_kw,
    )
    return held, nearest.first_on <= day <= nearest.last_on


def _values_on(channel: "Channel", settings: Sequence[Setting], day: date) -> tuple[tuple[str, int], ...]:
    """Return the parameters set for a channel on a day; a point's own before its class's, the later set before."""
    held = METER_CLASSES[class_of(channel.category)]
    values: dict[str, int] = {}
    for own in (False, True):
        for each in settings:
            mine = each.point == channel.point if own else each.meter_class == held
            if mine and each.start_on <= day <= each.end_on:
                values[each.name] = each.value
    return tuple(sorted(values.items()))


def stretches_of(channel: "Channel", settings: Sequence[Setting], period: Period) -> list[Stretch]:
    """Return the stretches of a month, in order."""
    begins = {period.first_on}
    spans = [(each.first_on, each.last_on) for each in _terms(channel.terms)]
    spans += [(each.start_on, each.end_on) for each in settings if each.point in {None, channel.point}]
    for first, last in spans:
        begins.add(first)
        if last < period.last_on:
            begins.add(last + ONE_DAY)
    days = sorted(day for day in begins if period.first_on <= day <= period.last_on)
    found: list[Stretch] = []
    for begin, end in zip(days, [*(day - ONE_DAY for day in days[1:]), period.last_on], strict=True):
        held, served = on_day(channel, begin)
        values = _values_on(held, settings, begin)
        if found and (held, served, values) == found[-1][2:]:
            found[-1] = found[-1]._replace(last_on=end)
        else:
            found.append(Stretch(begin, end, held, served, values))
    return found


def parameters_of(stretches: Sequence[Stretch], period: Period) -> Columns:
    """Return the parameters that hold in a stretch of each channel: its class's, and what was set."""
    classes = np.array([class_of(each.channel.category) for each in stretches], dtype=np.int8)
    columns = columns_on(load_parameters(), period.first_on, classes)
    for row, each in enumerate(stretches):
        for name, value in each.values:
            columns[name][row] = value
    return columns


def days_served(stretches: Sequence[Sequence[Stretch]], first_on: date, days: int) -> NDArray[np.bool_]:
    """Say on which days each point has a contract; days outside the month are taken to have one. [rows × days]"""
    served = np.ones((len(stretches), days), dtype=np.bool_)
    for row, mine in enumerate(stretches):
        for each in mine:
            served[row, (each.first_on - first_on).days : (each.last_on - first_on).days + 1] = each.served
    return served


def chosen_rows(data: MeterData, rows: NDArray[np.int64]) -> MeterData:
    """Return the data of some meters."""
    return MeterData(**{each.name: _rows_of(getattr(data, each.name), rows) for each in fields(MeterData)})


def _rows_of(value: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of a column, or of all columns of what has several; a column of one row is every meter's."""
    if isinstance(value, np.ndarray):
        return value if len(value) == 1 else value[rows]
    if isinstance(value, Intervals | Registers | WeeklyBand):
        columns = {each.name: getattr(value, each.name) for each in fields(value)}
        return type(value)(**{name: _rows_of(column, rows) for name, column in columns.items()})
    return value


@dataclass(frozen=True, slots=True)
class TermsByDay:
    """What holds on which day for the meters of a profile: by it their days are judged, as often as is needed.

    Parameters
    ----------
    stretches
        Of each meter, in order.
    plate
        What the meters say of themselves, as :mod:`ingest_server.vee.plates` has it. [meters × columns]
    first_on
        The first day of the window; days outside the month are judged by the last stretch.
    """

    stretches: Sequence[Sequence[Stretch]]
    plate: NDArray[np.int64]
    first_on: date
    period: Period

    def chosen(self, rows: NDArray[np.int64]) -> "TermsByDay":
        """Return those of some meters."""
        return replace(self, stretches=[self.stretches[row] for row in rows], plate=self.plate[rows])

    def validate(self, data: MeterData) -> Validation:
        """Apply the rules about days, each by the contract and the parameters in force on it.

        The limits and contracts that ``data`` has are those of the last stretches.
        """
        result = validate(data, parameters_of([each[-1] for each in self.stretches], self.period))
        for number in range(max(map(len, self.stretches), default=1) - 1):
            rows = [row for row, mine in enumerate(self.stretches) if number < len(mine) - 1]
            held = [self.stretches[row][number] for row in rows]
            where = np.zeros((len(self.stretches), data.intervals.days), dtype=np.bool_)
            for row, each in zip(rows, held, strict=True):
                where[row, (each.first_on - self.first_on).days : (each.last_on - self.first_on).days + 1] = True
            place = np.array(rows, dtype=np.int64)
            channels, parameters = [each.channel for each in held], parameters_of(held, self.period)
            part = chosen_rows(data, place)
            part = replace(
                part,
                limit_wh=limit_wh(channels, self.plate[place], parameters, data.intervals.slots_per_day),
                solar=None if part.solar is None else np.array([each.solar for each in channels]),
            )
            result = _validate_by_day(data, result, part, parameters, where)
        return result if data.estimated is None else _as_counted(result, data.estimated)


def _as_counted(result: Validation, estimated: NDArray[np.bool_]) -> Validation:
    """Leave out what asks whether a meter counted a day, of days that are estimates and say so.

    Average days are alike, and a straight line is straight: that is how they were made.
    """
    shape = result.verdict.severity.shape
    made = estimated.reshape(*shape, -1)
    computed = made.sum(axis=2) * COMPUTED_PART >= made.shape[2]
    findings = {
        name: replace(each, mask=each.mask & ~computed) if name in COUNTED_RULES else each
        for name, each in result.findings.items()
    }
    return Validation(judge(findings.values(), *shape), findings, result.scan, result.sums)


def _validate_by_day(
    data: MeterData, result: Validation, part: MeterData, parameters: Columns, where: NDArray[np.bool_]
) -> Validation:
    """Apply the rules to some meters with other terms and parameters, and take what they find on some days.

    Parameters
    ----------
    result
        Of all meters.
    part
        The data of the meters that ``where`` has days of, in order, with the terms of those days.
    where
        Which days. [rows × days]
    """
    other = validate(part, parameters)
    rows = np.flatnonzero(where.any(axis=1))
    findings = {name: _taken(finding, other.findings[name], rows, where) for name, finding in result.findings.items()}
    verdict = judge(findings.values(), data.intervals.meters, data.intervals.days)
    return Validation(verdict, findings, result.scan, result.sums)


def _taken(finding: Finding, other: Finding, rows: NDArray[np.int64], where: NDArray[np.bool_]) -> Finding:
    def column(whole: NDArray[Any], some: NDArray[Any]) -> NDArray[Any]:
        merged = np.array(whole)
        merged[rows] = np.where(where[rows], some, whole[rows])
        return merged

    evidence = {name: column(own, other.evidence[name]) for name, own in finding.evidence.items()}
    severity = None if finding.severity is None else column(finding.severities(), other.severities())
    return Finding(finding.rule, column(finding.mask, other.mask), evidence, severity)
