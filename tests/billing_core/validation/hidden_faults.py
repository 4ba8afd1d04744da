"""Faults that no rule was written for: how many of them are seen all the same.

Each is its own kind. See :mod:`tests.billing_core.validation.faults` for the shape of a recipe.
"""

import numpy as np

from tests.billing_core.validation.meter_faults import scale
from tests.billing_core.validation.population import PER_DAY
from tests.billing_core.validation.spoiling import Recipe, energy_of, resolution_of, some_day


def dead_for_days(district, meter, rng):
    """The meter stands still: no interval and no register moves for two days and a half. The loss is real."""
    day = some_day(district, rng, 8, 5)
    row = energy_of(district, meter)
    row[day * PER_DAY : day * PER_DAY + 120] = 0
    registers = district.data.registers
    for midnight in (day + 1, day + 2):
        registers.index_wh[meter, midnight] = registers.index_wh[meter, day]
    lost = registers.index_wh[meter, day + 3] - registers.index_wh[meter, day]
    kept = row[day * PER_DAY + 120 : (day + 3) * PER_DAY].sum() // int(registers.multiplier[meter])
    registers.index_wh[meter, day + 3 :] -= lost - kept // resolution_of(district, meter) * resolution_of(
        district, meter
    )
    return day, day + 2


def days_exchanged(district, meter, rng):
    """Two days in each other's place."""
    day = some_day(district, rng, 8, 4)
    rows = energy_of(district, meter).reshape(-1, PER_DAY)
    rows[[day, day + 1]] = rows[[day + 1, day]]
    return day, day + 1


def scaler_ten(district, meter, rng):
    """From a day on ten times the truth, in intervals and registers."""
    return scale(district, meter, some_day(district, rng, 9, 10), (10, 1), registers_too=True)


def phase_lost(district, meter, rng):
    """A third is not counted any more, by any kind of meter."""
    return scale(district, meter, some_day(district, rng, 9, 10), (2, 3), registers_too=True)


def channels_swapped(district, meter, rng):
    """Import and export change places, in the registers too."""
    day = some_day(district, rng, 3, 5)
    taken, given = energy_of(district, meter), district.data.export.energy_wh[meter]
    taken[day * PER_DAY :], given[day * PER_DAY :] = given[day * PER_DAY :].copy(), taken[day * PER_DAY :].copy()
    _count_again(district, meter, day)
    return day, district.days - 1


def neighbours_data(district, meter, rng):
    """From a day on the meter's place holds another meter's readings."""
    day = some_day(district, rng, 3, 5)
    other = int(rng.choice(np.flatnonzero(district.kind == district.kind[meter])))
    energy_of(district, meter)[day * PER_DAY :] = energy_of(district, other)[day * PER_DAY :]
    registers = district.data.registers
    registers.index_wh[meter, day:] = registers.index_wh[other, day:]
    return day - 1, district.days - 1


def frozen_then_caught_up(district, meter, rng):
    """Nothing moves for one to three days, then all of it comes in one interval; registers likewise."""
    day, length = some_day(district, rng, 8, 6), int(rng.integers(1, 4))
    row, registers = energy_of(district, meter), district.data.registers
    part = slice(day * PER_DAY, (day + length) * PER_DAY)
    row[part.stop] += row[part].sum()
    row[part] = 0
    registers.index_wh[meter, day + 1 : day + length + 1] = registers.index_wh[meter, day]
    return day, day + length


def slow_drift(district, meter, rng):
    """From a day on 2 % less each day than the day before."""
    day = some_day(district, rng, 5, 20)
    row = energy_of(district, meter)
    for late in range(day, district.days):
        part = slice(late * PER_DAY, (late + 1) * PER_DAY)
        row[part] = (row[part] * 0.98 ** (late - day + 1)).astype(np.int64)
    _count_again(district, meter, day)
    return day, district.days - 1


def bypassed_in_the_evening(district, meter, rng):
    """Half of the evening's load goes past the meter, from a day on."""
    day = some_day(district, rng, 9, 10)
    evening = energy_of(district, meter).reshape(-1, PER_DAY)[day:, 34:46]
    evening //= 2
    _count_again(district, meter, day)
    return day, district.days - 1


def hours_reversed(district, meter, rng):
    """A day is stored from its end to its beginning."""
    day = some_day(district, rng)
    rows = energy_of(district, meter).reshape(-1, PER_DAY)
    rows[day] = rows[day, ::-1].copy()
    return day, day


def averaged_in_pairs(district, meter, rng):
    """For days each hour's two halves show their mean."""
    day = some_day(district, rng, 3, 8)
    part = energy_of(district, meter)[day * PER_DAY : (day + 6) * PER_DAY].reshape(-1, 2)
    part[:] = (part.sum(axis=1, keepdims=True) + 1) // 2
    return day, day + 5


def whole_kilowatt_hours(district, meter, rng):
    """The profile loses its resolution: whole kWh times the multiplier."""
    day = some_day(district, rng, 3, 8)
    unit = 1_000 * int(district.data.registers.multiplier[meter])
    part = energy_of(district, meter)[day * PER_DAY : (day + 5) * PER_DAY]
    part[:] = np.diff(np.cumsum(part) // unit, prepend=0) * unit
    return day, day + 4


def _count_again(district, meter, day):
    """Let the register count what the intervals say from the midnight of ``day`` on."""
    registers, step = district.data.registers, resolution_of(district, meter)
    daily = energy_of(district, meter).reshape(-1, PER_DAY)[day:].sum(axis=1) // int(registers.multiplier[meter])
    index = registers.index_wh[meter]
    index[day + 1 :] = (index[day] + np.cumsum(daily)) // step * step


HIDDEN: dict[str, tuple[Recipe, ...]] = {
    recipe.__name__.replace("_", " "): (recipe,)
    for recipe in (
        scaler_ten,
        phase_lost,
        dead_for_days,
        frozen_then_caught_up,
        neighbours_data,
        channels_swapped,
        slow_drift,
        bypassed_in_the_evening,
        days_exchanged,
        hours_reversed,
        averaged_in_pairs,
        whole_kilowatt_hours,
    )
}
