"""Recipes of the last round: written when the rules stood, then judged once and published as it came out.

Other magnitudes, durations and ways than in the rounds before. See :mod:`tests.billing_core.validation.faults` for the
shape of a recipe.
"""

import numpy as np

from tests.billing_core.validation.interval_faults import copy_back, midnights_served_again, serve_again, stick
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


def gap_two_in_a_day(district, meter, rng):
    day = some_day(district, rng)
    for hour in (rng.integers(0, 10), rng.integers(12, 22)):
        slot = day * PER_DAY + 2 * int(hour)
        district.data.intervals.missing[meter, slot : slot + int(rng.integers(1, 5))] = True
    return day, day


def gap_filled_with_yesterday(district, meter, rng):
    slot, length = busy_slot(district, meter, rng, low=2 * PER_DAY), int(rng.integers(16, 44))
    row = energy_of(district, meter)
    row[slot : slot + length] = row[slot - PER_DAY : slot - PER_DAY + length]
    return days_of(slot, length)


def gap_of_a_week(district, meter, rng):
    day = some_day(district, rng, 2, 9)
    district.data.intervals.missing[meter, day * PER_DAY : (day + 7) * PER_DAY] = True
    district.data.registers.actual[meter, day + 1 : day + 7] = False
    return day, day + 6


def negative_one_step(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    registers = district.data.registers
    energy_of(district, meter)[slot] = -int(registers.multiplier[meter] * registers.resolution_wh[meter])
    return days_of(slot, 1)


def negative_day(district, meter, rng):
    day = some_day(district, rng)
    energy_of(district, meter)[day * PER_DAY : (day + 1) * PER_DAY] *= -1
    return day, day


def spike_of_a_digit(district, meter, rng):
    """A nine before the first digit."""
    slot = busy_slot(district, meter, rng)
    row = energy_of(district, meter)
    row[slot] += 9 * 10 ** len(str(int(max(row[slot], third_of(district, meter, slot)))))
    return days_of(slot, 1)


def spike_of_five(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=PER_DAY + 5)
    energy_of(district, meter)[slot : slot + 5] += (third_of(district, meter, slot) + 200) * int(rng.integers(3, 9))
    return days_of(slot, 5)


def rollover_read_late(district, meter, rng):
    """Only the second midnight after it was read."""
    day = rolling_day(district, meter, rng)
    actual = district.data.registers.actual
    actual[meter] = True
    actual[meter, day + 1] = False
    roll_over(district, meter, day)
    return day, day + 1


def copied_three_days_before(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng, 8, 3), 3, 2)


def copied_two_thirds(district, meter, rng):
    day, first = some_day(district, rng), int(rng.integers(0, 17))
    row = energy_of(district, meter)
    begin = day * PER_DAY + first
    row[begin : begin + 32] = row[begin - 2 * PER_DAY : begin - 2 * PER_DAY + 32]
    return day, day


def copied_an_hour_early(district, meter, rng):
    day = some_day(district, rng)
    row = energy_of(district, meter)
    row[day * PER_DAY : (day + 1) * PER_DAY] = row[(day - 1) * PER_DAY + 2 : day * PER_DAY + 2]
    return day, day


def stuck_longer_than_a_day(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=150), int(rng.integers(50, 96)))


def stuck_six_hours(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=60), 12)


def stuck_in_three(district, meter, rng):
    """Three values in turn."""
    slot, length = busy_slot(district, meter, rng, room=100), int(rng.integers(24, 70))
    row = energy_of(district, meter)
    row[slot : slot + length] = np.resize(row[slot : slot + 3].copy(), length)
    return days_of(slot, length)


def stuck_on_a_slope(district, meter, rng):
    """Seven to twelve hours drawn straight, in the meter's own steps."""
    slot, length = busy_slot(district, meter, rng, room=60), int(rng.integers(14, 25))
    row = energy_of(district, meter)
    step = max(1, int(np.gcd.reduce(row)))
    line = np.linspace(row[slot], row[slot + length - 1], length)
    row[slot : slot + length] = np.rint(line / step).astype(np.int64) * step
    return days_of(slot, length)


def stale_on_two_days(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=2 * PER_DAY + 4)
    row = energy_of(district, meter)
    serve_again(row, slot)
    serve_again(row, slot + PER_DAY + int(rng.integers(1, 3)), 2)
    return slot // PER_DAY, (slot + PER_DAY + 4) // PER_DAY


def stale_three_hours(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=PER_DAY)
    serve_again(energy_of(district, meter), slot, 6)
    return days_of(slot, 7)


def stale_three_midnights(district, meter, rng):
    return midnights_served_again(district, meter, some_day(district, rng, 8, 5), 3)


def clock_ninety_minutes(district, meter, rng):
    day = some_day(district, rng, 8, 10)
    return shift_clock(district, meter, day, 3 * int(rng.choice([-1, 1])), district.days - 1)


def clock_five_hours_for_ten_days(district, meter, rng):
    day = some_day(district, rng, 7, 13)
    return shift_clock(district, meter, day, 10 * int(rng.choice([-1, 1])), day + 9)


def clock_summer_time(district, meter, rng):
    """Somebody switched summer time on: an hour early from a day on."""
    return shift_clock(district, meter, some_day(district, rng, 9, 10), -2, district.days - 1)


def clock_read_twenty_minutes_off(district, meter, rng):
    day = some_day(district, rng, 3, 6)
    district.data.clock_offset_s[meter, day : day + 4] = 1_200 * int(rng.choice([-1, 1]))
    return day, day + 3


def ct_three_quarters(district, meter, rng):
    """150/5 entered for 200/5, or the other way."""
    factor = [(3, 4), (4, 3)][int(rng.integers(2))]
    return scale(district, meter, some_day(district, rng, 9, 10), factor, registers_too=True)


def ct_five_quarters(district, meter, rng):
    return scale(district, meter, some_day(district, rng, 9, 10), (5, 4), registers_too=True)


def ct_three_halves(district, meter, rng):
    factor = [(3, 2), (2, 3)][int(rng.integers(2))]
    return scale(district, meter, some_day(district, rng, 9, 10), factor, registers_too=True)


def ct_of_the_register(district, meter, rng):
    """The register's multiplier is entered half as large again."""
    registers = district.data.registers
    registers.multiplier[meter] = int(registers.multiplier[meter]) * 3 // 2
    return 0, district.days - 1


def solar_swapped_for_a_day(district, meter, rng):
    day = some_day(district, rng, 3, 3)
    part = slice(day * PER_DAY, (day + 1) * PER_DAY)
    taken, given = energy_of(district, meter), district.data.export.energy_wh[meter]
    taken[part], given[part] = given[part].copy(), taken[part].copy()
    return day, day


def solar_given_at_night(district, meter, rng):
    """A tenth of what is taken is also counted as given."""
    day = some_day(district, rng, 3, 5)
    district.data.export.energy_wh[meter, day * PER_DAY :] += energy_of(district, meter)[day * PER_DAY :] // 10
    return day, district.days - 1


def solar_sign_lost(district, meter, rng):
    """Given energy is shown as taken, and none as given."""
    day = some_day(district, rng, 3, 4)
    taken, given = energy_of(district, meter), district.data.export.energy_wh[meter]
    taken[day * PER_DAY :] += given[day * PER_DAY :]
    given[day * PER_DAY :] = 0
    return day, district.days - 1


def spike_in_the_register_only(district, meter, rng):
    day = some_day(district, rng)
    registers = district.data.registers
    registers.actual[meter, day : day + 3] = True
    registers.index_wh[meter, day + 1] += int(rng.integers(30, 900)) * resolution_of(district, meter)
    return day, day + 1


FRESH: dict[str, tuple[Recipe, ...]] = {
    "gap": (gap_two_in_a_day, gap_filled_with_yesterday, gap_of_a_week),
    "negative": (negative_one_step, negative_day),
    "spike": (spike_of_a_digit, spike_of_five, spike_in_the_register_only),
    "rollover": (rollover_read_late,),
    "copied day": (copied_three_days_before, copied_two_thirds, copied_an_hour_early),
    "stuck": (stuck_longer_than_a_day, stuck_six_hours, stuck_in_three, stuck_on_a_slope),
    "stale snapshot": (stale_on_two_days, stale_three_hours, stale_three_midnights),
    "clock shift": (
        clock_ninety_minutes,
        clock_five_hours_for_ten_days,
        clock_summer_time,
        clock_read_twenty_minutes_off,
    ),
    "CT ratio": (ct_three_quarters, ct_five_quarters, ct_three_halves, ct_of_the_register),
    "solar sign": (solar_swapped_for_a_day, solar_given_at_night, solar_sign_lost),
}
