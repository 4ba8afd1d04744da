"""How much energy a consumer takes and gives in each half-hour: integers, the same for the same seed everywhere.

The curves are constructed to look like Vietnamese days: households peak in the evening, when the law puts its peak
hours, and cool their bedrooms through hot nights; shops keep opening hours; the factory works two shifts on six days;
all but the households fall quiet around Tết. ``size`` is roughly what the consumer takes in an average month.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from simulators.chance import Int64Array, key_of, per_mille_around_one
from simulators.sky import PLACES, irradiance, sine_of_elevation
from simulators.vietnam_days import (
    SLOTS_PER_DAY,
    days_from_tet,
    local_days,
    local_slots_of_day,
    months,
    weekdays,
)

SIZE_KWH_MAX = 10_000_000  # keeps every product below 2⁶³
PERFORMANCE = (
    820  # of a solar plant, thousandths: inverter, heat, dirt, wiring (constructed; usual figures are 750–850)
)


class Kind(Enum):
    """What sort of consumer stands behind a meter."""

    HOUSEHOLD = "household"
    SHOP = "shop"
    FACTORY = "factory"
    SOLAR = "solar"  # a household with a roof of panels
    SCHOOL = "school"
    LIGHTING = "lighting"


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer: what it is, how big [kWh a month], its panels [W], where, and the keys of its chance."""

    kind: Kind
    size_kwh: int
    place: str
    seed: int  # the consumer's own
    sky_seed: int  # shared by everybody under the same sky
    panels_w: int = 0


class Energies(NamedTuple):
    """Energy of each slot, arrays of equal length. [Wh, varh]"""

    imported: Int64Array
    exported: Int64Array
    reactive: Int64Array  # inductive, imported


class _Habit(NamedTuple):
    """Twenty-four hourly weights of an ordinary day and of cooling, and what quiet days leave, in thousandths."""

    day: tuple[int, ...]
    cooling: tuple[int, ...]
    cooling_share: int
    saturday: int
    sunday: int
    tet: int
    tet_days: tuple[int, int]  # first and last quiet day, counted from the first day of Tết
    day_spread: int
    slot_spread: int
    tangent: int  # reactive over active energy


_HOUSEHOLD = _Habit(
    day=(18, 15, 14, 14, 16, 28, 40, 38, 28, 24, 26, 36, 34, 24, 22, 24, 32, 52, 78, 92, 88, 70, 46, 26),
    cooling=(70, 66, 60, 54, 46, 34, 20, 14, 12, 14, 20, 34, 40, 34, 26, 22, 24, 34, 54, 74, 86, 92, 90, 80),
    cooling_share=900, saturday=1060, sunday=1120, tet=1150, tet_days=(-2, 4),
    day_spread=300, slot_spread=550, tangent=250,
)  # fmt: skip
_HABITS: dict[Kind, _Habit] = {
    Kind.HOUSEHOLD: _HOUSEHOLD,
    Kind.SOLAR: _HOUSEHOLD,
    Kind.SHOP: _Habit(
        day=(8, 8, 8, 8, 8, 10, 20, 40, 62, 78, 86, 88, 84, 86, 88, 88, 88, 90, 96, 96, 86, 58, 24, 10),
        cooling=(4, 4, 4, 4, 4, 4, 8, 24, 50, 72, 86, 92, 94, 96, 96, 92, 86, 80, 78, 74, 66, 44, 14, 4),
        cooling_share=600, saturday=1080, sunday=1120, tet=150, tet_days=(-1, 4),
        day_spread=120, slot_spread=150, tangent=330,
    ),
    Kind.FACTORY: _Habit(
        day=(22, 22, 22, 22, 24, 40, 84, 98, 100, 100, 98, 72, 84, 100, 100, 98, 96, 88, 80, 80, 76, 60, 30, 22),
        cooling=(4, 4, 4, 4, 4, 10, 40, 60, 72, 84, 90, 70, 84, 96, 96, 92, 84, 70, 56, 50, 44, 30, 10, 4),
        cooling_share=200, saturday=950, sunday=220, tet=80, tet_days=(-3, 6),
        day_spread=100, slot_spread=120, tangent=520,
    ),
    Kind.SCHOOL: _Habit(
        day=(6, 6, 6, 6, 6, 10, 40, 90, 96, 98, 98, 70, 40, 80, 96, 98, 90, 40, 16, 10, 8, 8, 6, 6),
        cooling=(2, 2, 2, 2, 2, 2, 10, 50, 76, 88, 96, 70, 30, 80, 98, 96, 70, 20, 4, 2, 2, 2, 2, 2),
        cooling_share=500, saturday=450, sunday=120, tet=80, tet_days=(-7, 7),
        day_spread=80, slot_spread=120, tangent=300,
    ),
    Kind.LIGHTING: _Habit(
        day=(1,) * 24, cooling=(1,) * 24, cooling_share=0, saturday=1000, sunday=1000, tet=1000, tet_days=(0, 0),
        day_spread=10, slot_spread=10, tangent=330,
    ),
}  # fmt: skip
_HOLIDAY_MONTHS = (5, 6, 7)  # June to August: a school is empty
_HOLIDAY = 250


def energies(consumer: Consumer, slots: Int64Array) -> Energies:
    """Return what flows in each of ``slots`` (numbers of half-hours since 1970 UTC).

    A slot is a net balance: a solar house either takes or gives within one half-hour.
    """
    load = _load_wh(consumer, slots)
    habit = _HABITS[consumer.kind]
    phi = per_mille_around_one(key_of(consumer.seed, "phi"), slots, 60)
    reactive = load * habit.tangent // 1000 * phi // 1000
    if not consumer.panels_w:
        return Energies(load, np.zeros_like(load), reactive)
    sun = irradiance(PLACES[consumer.place], consumer.sky_seed, slots)
    generated = consumer.panels_w * sun // 1000 * PERFORMANCE // 1000 // 2  # W/m² of 1000 is rated power; half an hour
    net = load - generated
    return Energies(net.clip(0), (-net).clip(0), reactive)


def _load_wh(consumer: Consumer, slots: Int64Array) -> Int64Array:
    habit = _HABITS[consumer.kind]
    days, of_day = local_days(slots), local_slots_of_day(slots)
    place = PLACES[consumer.place]
    cooling = np.asarray(place.cooling, dtype=np.int64)[months(days)] * habit.cooling_share // 1000
    shape = _half_hours(habit.day)[of_day] * 700 // 1000 + _half_hours(habit.cooling)[of_day] * cooling // 1000
    if consumer.kind is Kind.LIGHTING:
        shape = np.where(sine_of_elevation(place, slots) < 0.0, 2000, 0)
    average_mwh = consumer.size_kwh * 12_000_000 // (365 * SLOTS_PER_DAY)  # of a slot
    mwh = average_mwh * shape // 1000 * _day_factor(consumer, habit, days) // 1000
    mwh = mwh * per_mille_around_one(key_of(consumer.seed, "slot"), slots, habit.slot_spread) // 1000
    return mwh // 1000


def _day_factor(consumer: Consumer, habit: _Habit, days: Int64Array) -> Int64Array:
    """Return what a day's date and luck make of an ordinary day, in thousandths."""
    factor = per_mille_around_one(key_of(consumer.seed, "day"), days, habit.day_spread)
    weekday = weekdays(days)
    factor = factor * np.where(weekday == 5, habit.saturday, np.where(weekday == 6, habit.sunday, 1000)) // 1000
    if consumer.kind is Kind.SCHOOL:
        factor = np.where(np.isin(months(days), _HOLIDAY_MONTHS), factor * _HOLIDAY // 1000, factor)
    tet = days_from_tet(days)
    first, last = habit.tet_days
    return np.where((tet >= first) & (tet <= last), factor * habit.tet // 1000, factor)


def _half_hours(hourly: tuple[int, ...]) -> Int64Array:
    """Return 48 weights in thousandths of their mean, the half-hours between the hours interpolated."""
    total = sum(hourly)
    following = (*hourly[1:], hourly[0])
    pairs = [(2 * now, now + then) for now, then in zip(hourly, following, strict=True)]
    return np.array([weight * 24 * 1000 // (2 * total) for pair in pairs for weight in pair], dtype=np.int64)
