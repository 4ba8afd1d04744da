"""Recipes written when nothing was to be changed any more: run once, their figures published as they came out.

See :mod:`tests.billing_core.validation.faults` for the shape of a recipe.
"""

import numpy as np

from tests.billing_core.validation.interval_faults import serve_again
from tests.billing_core.validation.meter_faults import roll_over, rolling_day, scale, shift_clock
from tests.billing_core.validation.population import PER_DAY
from tests.billing_core.validation.spoiling import (
    Recipe,
    busy_slot,
    days_of,
    energy_of,
    resolution_of,
    some_day,
    third_of,
)


def gap_filled_from_last_week(district, meter, rng):
    """The head-end fills a gap with the values of a week ago and says nothing."""
    slot, length = busy_slot(district, meter, rng, low=8 * PER_DAY), int(rng.integers(12, 36))
    row = energy_of(district, meter)
    row[slot : slot + length] = row[slot - 7 * PER_DAY : slot - 7 * PER_DAY + length]
    return days_of(slot, length)


def gap_at_the_edges(district, meter, rng):
    day = some_day(district, rng)
    edges = np.r_[0:5, 43:48]
    district.data.intervals.missing[meter, day * PER_DAY + edges] = True
    return day, day


def negative_offset(district, meter, rng):
    """A constant is taken from each interval of a day."""
    day = some_day(district, rng)
    part = energy_of(district, meter)[day * PER_DAY : (day + 1) * PER_DAY]
    part -= int(part.mean()) + 1
    return day, day


def negative_by_one_step(district, meter, rng):
    day = some_day(district, rng)
    registers = district.data.registers
    registers.actual[meter, day - 1 : day + 2] = True
    registers.index_wh[meter, day] = registers.index_wh[meter, day - 1] - resolution_of(district, meter)
    return day - 1, day


def spike_decimal(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    row = energy_of(district, meter)
    row[slot] = (row[slot] + third_of(district, meter, slot)) * 10
    return days_of(slot, 1)


def spike_every_hour(district, meter, rng):
    day = some_day(district, rng)
    part = energy_of(district, meter)[day * PER_DAY : (day + 1) * PER_DAY]
    part[::2] += 3 * int(part.max()) + 200
    return day, day


def rollover_again(district, meter, rng):
    """As the first recipe, with six digits."""
    registers = district.data.registers
    day = rolling_day(district, meter, rng)
    registers.actual[meter] = True
    registers.digits[meter] = 6
    return roll_over(district, meter, day)


def copied_from_a_fortnight_ago(district, meter, rng):
    day = some_day(district, rng, 15, 2)
    rows = energy_of(district, meter).reshape(-1, PER_DAY)
    rows[day] = rows[day - 14]
    return day, day


def stuck_and_drawn_straight(district, meter, rng):
    """Ten hours replaced by a straight line between their ends."""
    slot = busy_slot(district, meter, rng, room=60)
    row = energy_of(district, meter)
    row[slot : slot + 20] = np.linspace(row[slot], row[slot + 19], 20).astype(np.int64)
    return days_of(slot, 20)


def stuck_twenty(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=60)
    energy_of(district, meter)[slot : slot + 20] = energy_of(district, meter)[slot]
    return days_of(slot, 20)


def stale_each_evening(district, meter, rng):
    day = some_day(district, rng, 4, 7)
    row = energy_of(district, meter)
    for each in range(day, day + 4):
        serve_again(row, each * PER_DAY + 36)
    return day, day + 3


def stale_two_hours(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    serve_again(energy_of(district, meter), slot, 4)
    return days_of(slot, 5)


def clock_off_for_a_week(district, meter, rng):
    day = some_day(district, rng, 8, 9)
    return shift_clock(district, meter, day, 12 * int(rng.choice([-1, 1])), day + 6)


def clock_two_hours(district, meter, rng):
    day = some_day(district, rng, 8, 11)
    return shift_clock(district, meter, day, 4 * int(rng.choice([-1, 1])), district.days - 1)


def ct_third_phase_back(district, meter, rng):
    """A phase that was lost before the window comes back: half as much again."""
    return scale(district, meter, some_day(district, rng, 9, 10), (3, 2), registers_too=True)


def ct_in_master_data(district, meter, rng):
    """The register's multiplier is entered as half of what the intervals have."""
    registers = district.data.registers
    registers.multiplier[meter] = max(1, registers.multiplier[meter] // 2)
    return 0, district.days - 1


def ct_six_fifths(district, meter, rng):
    return scale(district, meter, some_day(district, rng, 9, 10), (6, 5), registers_too=True)


def solar_swapped_for_days(district, meter, rng):
    day = some_day(district, rng, 3, 6)
    part = slice(day * PER_DAY, (day + 3) * PER_DAY)
    import_, export = energy_of(district, meter), district.data.export.energy_wh[meter]
    import_[part], export[part] = export[part].copy(), import_[part].copy()
    return day, day + 2


def solar_standing_offset(district, meter, rng):
    """A few steps of the register are exported in every interval, sun or not."""
    day = some_day(district, rng, 3, 3)
    district.data.export.energy_wh[meter, day * PER_DAY :] += 2 * resolution_of(district, meter)
    return day, district.days - 1


FINAL: dict[str, tuple[Recipe, ...]] = {
    "gap": (gap_filled_from_last_week, gap_at_the_edges),
    "negative": (negative_offset, negative_by_one_step),
    "spike": (spike_decimal, spike_every_hour),
    "rollover": (rollover_again,),
    "copied day": (copied_from_a_fortnight_ago,),
    "stuck": (stuck_and_drawn_straight, stuck_twenty),
    "stale snapshot": (stale_each_evening, stale_two_hours),
    "clock shift": (clock_off_for_a_week, clock_two_hours),
    "CT ratio": (ct_third_phase_back, ct_in_master_data, ct_six_fifths),
    "solar sign": (solar_swapped_for_days, solar_standing_offset),
}
