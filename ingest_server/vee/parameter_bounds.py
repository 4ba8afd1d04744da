"""A parameter that somebody sets may not put a lower bound above its upper one, on any day, for anybody it is for."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from psycopg import Connection

from billing_core.validation.parameters import RISING, ParameterSet, load_parameters
from billing_core.validation.series import METER_CLASSES
from ingest_server.vee.terms_by_day import FOREVER, Setting, class_of
from protocols.errors import UsageError

SELECT_APPROVED = """
    select p.meter_class, p.metering_point_id, p.name, p.value, p.start_on, p.end_on
    from vee_parameter p join vee_parameter_act a using (parameter_id)
    where a.act = 'approve' and p.name = any (%(names)s::text[]) and p.start_on <= %(end_on)s
      and (p.end_on is null or p.end_on >= %(start_on)s)
    order by a.act_id
"""
SELECT_CATEGORIES = """
    select metering_point_id, category from contract
    where metering_point_id = any (%(points)s::text[]) and valid_from <= %(end_on)s
      and (valid_to is null or valid_to >= %(start_on)s)
"""


def refuse_crossed_bounds(connection: Connection[Any], setting: Setting) -> None:
    """Refuse a setting with which a bound would lie beyond the next higher one of its kind.

    What counts is what would hold on each of its days: values of the class, those approved before, and those of points.

    Raises
    ------
    UsageError
        If it does; with the day, both values, and what may be set.
    """
    sets = load_parameters()
    for row in RISING:
        if setting.name not in row:
            continue
        asked = {"names": list(row), "start_on": setting.start_on, "end_on": setting.end_on}
        approved = [
            each._replace(end_on=each.end_on or FOREVER)
            for each in map(Setting._make, connection.execute(SELECT_APPROVED, asked).fetchall())
        ]
        held_by: defaultdict[tuple[str | None, str | None], list[Setting]] = defaultdict(list)
        for each in (*approved, setting):
            held_by[each.meter_class, each.point].append(each)
        for meter_class, point in _whom(connection, setting, approved):
            theirs = [*held_by[meter_class, None], *held_by[None, point]]
            for day in _days(setting, sets, theirs):
                values = {name: _value_on(name, meter_class, day, sets, theirs) for name in row}
                _refuse(setting, row, values, day, point or meter_class)


def _refuse(setting: Setting, row: Sequence[str], values: dict[str, int | None], day: date, whom: str) -> None:
    for lower, upper in pairwise(row):
        low, high = values[lower], values[upper]
        if low is None or high is None or low <= high:
            continue
        other, bound = (upper, f"at most {high}") if setting.name == lower else (lower, f"at least {low}")
        raise UsageError(
            f"{setting.name}: found {setting.value}; on {day:%Y-%m-%d} {lower} = {low} would lie above {upper} = "
            f"{high} for {whom}: give {bound}, or have another {other} approved for these days first"
        )


def _whom(connection: Connection[Any], setting: Setting, approved: Sequence[Setting]) -> list[tuple[str, str | None]]:
    """Return the classes, and the points with values of their own, that the setting is for."""
    own = {each.point for each in approved if each.point is not None}
    points = [setting.point] if setting.point is not None else sorted(own)
    asked = {"points": points, "start_on": setting.start_on, "end_on": setting.end_on}
    held = {
        (METER_CLASSES[class_of(category)], point)
        for point, category in connection.execute(SELECT_CATEGORIES, asked).fetchall()
    }
    if setting.point is not None:
        return sorted(held) or [(METER_CLASSES[class_of("")], setting.point)]
    assert setting.meter_class is not None, "a setting is for a class or a point"
    return [(setting.meter_class, None), *sorted(each for each in held if each[0] == setting.meter_class)]


def _days(setting: Setting, sets: Sequence[ParameterSet], settings: Sequence[Setting]) -> Iterator[date]:
    """Yield the days of the setting on which anything begins to hold."""
    begins = {setting.start_on, *(each.effective_on for each in sets)}
    for each in settings:
        begins.add(each.start_on)
        if each.end_on != FOREVER:
            begins.add(each.end_on + timedelta(days=1))
    yield from sorted(day for day in begins if setting.start_on <= day <= setting.end_on)


def _value_on(
    name: str, meter_class: str, day: date, sets: Sequence[ParameterSet], settings: Sequence[Setting]
) -> int | None:
    """Return what holds: the last of the settings, else what comes with the package; none where nothing does yet."""
    for each in reversed(settings):
        if each.name == name and each.start_on <= day <= each.end_on:
            return each.value
    in_force = [each for each in sets if each.effective_on <= day]
    return in_force[-1].values[name][METER_CLASSES.index(meter_class)] if in_force else None
