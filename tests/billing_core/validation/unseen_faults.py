"""Recipes of the sixth round: written before the rules were last changed, and run only when they stood.

Other ways, magnitudes and durations than in the rounds before; ratios are those of current transformers as they are
sold, and some wrong ratios are mended again within the window. See :mod:`tests.billing_core.validation.faults` for the
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

CT_SOLD_A = (50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 750, 800, 1_000)
"""Primary currents of current transformers with five amperes on the other side."""


def gap_around_midnights(district, meter, rng):
    """The last and the first interval of some days in a row."""
    day = some_day(district, rng, 2, 6)
    for midnight in range(day + 1, day + 5):
        district.data.intervals.missing[meter, midnight * PER_DAY - 1 : midnight * PER_DAY + 1] = True
    return day, day + 4


def gap_of_one_interval(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    district.data.intervals.missing[meter, slot] = True
    return days_of(slot, 1)


def gap_filled_with_zeros_by_night(district, meter, rng):
    """From midnight to the morning nothing was read, and nothing was said."""
    day, length = some_day(district, rng), int(rng.integers(10, 18))
    row = energy_of(district, meter)
    row[day * PER_DAY : day * PER_DAY + length] = 0
    return day, day


def negative_and_made_good(district, meter, rng):
    """An interval is taken off and added to the next: the sum stays right."""
    slot = busy_slot(district, meter, rng)
    row = energy_of(district, meter)
    row[slot + 1] += 2 * row[slot]
    row[slot] *= -1
    return days_of(slot, 2)


def negative_now_and_then(district, meter, rng):
    day = some_day(district, rng, 3, 4)
    row = energy_of(district, meter)
    slots = day * PER_DAY + rng.choice(2 * PER_DAY, 6, replace=False)
    row[slots] = -np.maximum(row[slots], 1)
    return day, day + 1


def negative_register_for_two_days(district, meter, rng):
    """Two midnights show what stood there a while ago."""
    day = some_day(district, rng, 8, 5)
    registers = district.data.registers
    registers.actual[meter, day - 1 : day + 3] = True
    back = int(rng.integers(3, 40)) * resolution_of(district, meter)
    registers.index_wh[meter, day : day + 2] = registers.index_wh[meter, day - 1] - back
    return day - 1, day + 1


def spike_of_a_hundred(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] = (third_of(district, meter, slot) + 50) * 100
    return days_of(slot, 1)


def spike_over_midnight(district, meter, rng):
    midnight = some_day(district, rng) * PER_DAY
    row = energy_of(district, meter)
    row[midnight - 1 : midnight + 1] += (int(row[midnight - PER_DAY : midnight + PER_DAY].max()) + 400) * 3
    return days_of(midnight - 1, 2)


def spike_at_one_hour_of_three_days(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=4 * PER_DAY)
    row = energy_of(district, meter)
    for day in range(3):
        row[slot + day * PER_DAY] += (third_of(district, meter, slot) + 300) * int(rng.integers(3, 8))
    return days_of(slot, 2 * PER_DAY + 1)


def rollover_read_two_days_late(district, meter, rng):
    day = rolling_day(district, meter, rng)
    actual = district.data.registers.actual
    actual[meter] = True
    actual[meter, day + 1 : day + 3] = False
    roll_over(district, meter, day)
    return day, day + 2


def copied_from_tomorrow(district, meter, rng):
    day = some_day(district, rng, 8, 3)
    rows = energy_of(district, meter).reshape(-1, PER_DAY)
    rows[day] = rows[day + 1]
    return day, day


def copied_from_nine_days_before(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng, 10, 2), 9)


def copied_three_quarters(district, meter, rng):
    """From the morning on the day is the one of four days before."""
    day, first = some_day(district, rng), int(rng.integers(8, 13))
    row = energy_of(district, meter)
    part = slice(day * PER_DAY + first, (day + 1) * PER_DAY)
    row[part] = row[part.start - 4 * PER_DAY : part.stop - 4 * PER_DAY]
    return day, day


def stuck_ten_hours(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=60), 20 + int(rng.integers(0, 3)))


def stuck_in_four(district, meter, rng):
    """Four values in turn."""
    slot, length = busy_slot(district, meter, rng, room=100), int(rng.integers(28, 72))
    row = energy_of(district, meter)
    row[slot : slot + length] = np.resize(row[slot : slot + 4].copy(), length)
    return days_of(slot, length)


def stuck_on_two_nights(district, meter, rng):
    day = some_day(district, rng, 8, 4)
    row = energy_of(district, meter)
    for night in (day, day + 1):
        slot = night * PER_DAY + 42
        row[slot] = max(int(row[slot]), int(row[row > 0].min()))
        row[slot : slot + 16] = row[slot]
    return day, day + 2


def stale_at_midnight(district, meter, rng):
    """The last interval of a day is empty, the first of the next has both."""
    row = energy_of(district, meter)
    days = [day for day in range(8, district.days - 2) if row[day * PER_DAY - 1] > 0]
    slot = int(rng.choice(days)) * PER_DAY - 1 if days else busy_slot(district, meter, rng)
    serve_again(row, slot)
    return days_of(slot, 2)


def stale_five_intervals(district, meter, rng):
    slot = busy_slot(district, meter, rng, room=PER_DAY)
    serve_again(energy_of(district, meter), slot, 5)
    return days_of(slot, 6)


def stale_register_for_days(district, meter, rng):
    return midnights_served_again(district, meter, some_day(district, rng, 8, 7), int(rng.integers(3, 5)))


def clock_three_hours_for_nine_days(district, meter, rng):
    day = some_day(district, rng, 8, 12)
    return shift_clock(district, meter, day, 6 * int(rng.choice([-1, 1])), day + 8)


def clock_eight_hours(district, meter, rng):
    day = some_day(district, rng, 8, 10)
    return shift_clock(district, meter, day, 16 * int(rng.choice([-1, 1])), district.days - 1)


def clock_read_ten_minutes_off(district, meter, rng):
    day = some_day(district, rng, 3, 6)
    district.data.clock_offset_s[meter, day : day + 3] = 600 * int(rng.choice([-1, 1]))
    return day, day + 2


def ct_of_the_next_size(district, meter, rng):
    """One size of current transformer is entered for the next: steps from 16/15 to 3/2, those from 6/5 on."""
    pairs = [
        (one, other)
        for one in CT_SOLD_A
        for other in CT_SOLD_A
        if one != other and 6 / 5 <= max(one, other) / min(one, other) <= 3 / 2
    ]
    factor = pairs[int(rng.integers(len(pairs)))]
    return scale(district, meter, some_day(district, rng, 9, 10), factor, registers_too=True)


def ct_far_off(district, meter, rng):
    """Two sizes further, or more."""
    factor = [(5, 3), (3, 5), (5, 2), (2, 5), (4, 1), (1, 4)][int(rng.integers(6))]
    return scale(district, meter, some_day(district, rng, 9, 10), factor, registers_too=True)


def ct_until_mended(district, meter, rng):
    """A phase is lost for eight to thirteen days."""
    day = some_day(district, rng, 8, 19)
    last = day + int(rng.integers(7, 13))
    row, index = energy_of(district, meter), district.data.registers.index_wh[meter]
    truth, shown = row.copy(), index.copy()
    scale(district, meter, day, (2, 3), registers_too=True)
    row[(last + 1) * PER_DAY :] = truth[(last + 1) * PER_DAY :]
    index[last + 2 :] = index[last + 1] + shown[last + 2 :] - shown[last + 1]
    return day, last


def ct_of_the_profile_all_along(district, meter, rng):
    """The profile's multiplier is wrong by a size, the register's is right."""
    return scale(district, meter, 0, [(3, 4), (4, 3), (4, 5)][int(rng.integers(3))], registers_too=False)


def solar_swapped_for_a_week(district, meter, rng):
    day = some_day(district, rng, 3, 9)
    part = slice(day * PER_DAY, (day + 7) * PER_DAY)
    taken, given = energy_of(district, meter), district.data.export.energy_wh[meter]
    taken[part], given[part] = given[part].copy(), taken[part].copy()
    return day, day + 6


def solar_negative_import_for_two_days(district, meter, rng):
    day = some_day(district, rng, 3, 5)
    part = slice(day * PER_DAY, (day + 2) * PER_DAY)
    energy_of(district, meter)[part] -= district.data.export.energy_wh[meter][part]
    district.data.export.energy_wh[meter][part] = 0
    return day, day + 1


def solar_taken_counted_as_given(district, meter, rng):
    """The direction is lost: all is counted as given, nothing as taken."""
    day = some_day(district, rng, 3, 4)
    taken, given = energy_of(district, meter), district.data.export.energy_wh[meter]
    given[day * PER_DAY :] += taken[day * PER_DAY :]
    taken[day * PER_DAY :] = 0
    return day, district.days - 1


UNSEEN: dict[str, tuple[Recipe, ...]] = {
    "gap": (gap_around_midnights, gap_of_one_interval, gap_filled_with_zeros_by_night),
    "negative": (negative_and_made_good, negative_now_and_then, negative_register_for_two_days),
    "spike": (spike_of_a_hundred, spike_over_midnight, spike_at_one_hour_of_three_days),
    "rollover": (rollover_read_two_days_late,),
    "copied day": (copied_from_tomorrow, copied_from_nine_days_before, copied_three_quarters),
    "stuck": (stuck_ten_hours, stuck_in_four, stuck_on_two_nights),
    "stale snapshot": (stale_at_midnight, stale_five_intervals, stale_register_for_days),
    "clock shift": (clock_three_hours_for_nine_days, clock_eight_hours, clock_read_ten_minutes_off),
    "CT ratio": (ct_of_the_next_size, ct_far_off, ct_until_mended, ct_of_the_profile_all_along),
    "solar sign": (solar_swapped_for_a_week, solar_negative_import_for_two_days, solar_taken_counted_as_given),
}
