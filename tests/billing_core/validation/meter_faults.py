"""Recipes that spoil what a meter is: rollovers, its clock, its transformers' ratio, its direction."""

import numpy as np

from tests.billing_core.validation.population import PER_DAY
from tests.billing_core.validation.spoiling import energy_of, resolution_of, some_day

# rollover


def roll_over(district, meter, day):
    """Let the register pass its last digit during ``day``."""
    registers = district.data.registers
    whole = int(registers.range_wh()[meter])
    before, after = registers.index_wh[meter, day], registers.index_wh[meter, day + 1]
    step = int(registers.resolution_wh[meter])
    offset = whole - int(before + max(step, (after - before) // 2 // step * step))
    registers.index_wh[meter] = (registers.index_wh[meter] + offset) % whole
    return day, day


def rollover_five(district, meter, rng):
    district.data.registers.actual[meter] = True
    return roll_over(district, meter, rolling_day(district, meter, rng))


def rollover_not_read(district, meter, rng):
    """The register was not read at the midnights around it."""
    day = rolling_day(district, meter, rng)
    actual = district.data.registers.actual
    actual[meter] = True
    actual[meter, [day, day + 1]] = False
    roll_over(district, meter, day)
    return day - 1, day + 1


def rollover_four_digits(district, meter, rng):
    registers = district.data.registers
    day = rolling_day(district, meter, rng)
    registers.actual[meter] = True
    registers.digits[meter] = 4
    return roll_over(district, meter, day)


def rolling_day(district, meter, rng):
    index = district.data.registers.index_wh[meter]
    days = [d for d in range(3, district.days - 3) if index[d + 1] - index[d] >= 2 * resolution_of(district, meter)]
    return int(rng.choice(days)) if days else district.days // 2


# clock shift


def shift_clock(district, meter, day, slots, last):
    row = energy_of(district, meter)
    begin, end = day * PER_DAY, (last + 1) * PER_DAY
    row[begin:end] = np.roll(row, slots)[begin:end]
    return day, last


def clock_reported(district, meter, rng):
    day = some_day(district, rng, 8, 6)
    slots = int(rng.integers(1, 6)) * int(rng.choice([-1, 1]))
    last = day + int(rng.integers(2, 6))
    district.data.clock_offset_s[meter, day : last + 1] = slots * 1_800 + int(rng.integers(-300, 300))
    return shift_clock(district, meter, day, slots, last)


def clock_silent(district, meter, rng):
    """Nobody asks the meter for its clock; the shift stays until the window ends."""
    day = some_day(district, rng, 8, 10)
    return shift_clock(district, meter, day, int(rng.integers(2, 13)) * int(rng.choice([-1, 1])), district.days - 1)


def clock_half_day(district, meter, rng):
    day = some_day(district, rng, 8, 10)
    return shift_clock(district, meter, day, 24, district.days - 1)


def clock_drifting(district, meter, rng):
    """Reported, and small: over a quarter of the interval."""
    day = some_day(district, rng, 8, 6)
    district.data.clock_offset_s[meter, day:] = int(rng.integers(470, 900))
    return day, district.days - 1


# CT ratio


def scale(district, meter, day, factor, *, registers_too):
    up, down = factor
    row = energy_of(district, meter)
    whole = int(np.gcd.reduce(row)) or 1
    row[day * PER_DAY :] = row[day * PER_DAY :] * up // down
    if registers_too:  # the meter itself is wrong, and counts in its own steps
        row[day * PER_DAY :] = np.diff(np.cumsum(row[day * PER_DAY :]) // whole, prepend=0) * whole
        index = district.data.registers.index_wh[meter]
        step = resolution_of(district, meter)
        index[day:] = (index[day] + (index[day:] - index[day]) * up // down) // step * step
    return day, district.days - 1


def ct_intervals(district, meter, rng):
    factor = [(2, 1), (1, 2), (3, 2), (2, 3)][int(rng.integers(4))]
    return scale(district, meter, some_day(district, rng, 8, 10), factor, registers_too=False)


def ct_lost_phase(district, meter, rng):
    return scale(district, meter, some_day(district, rng, 9, 10), (2, 3), registers_too=True)


def ct_reversed(district, meter, rng):
    return scale(district, meter, some_day(district, rng, 9, 10), (1, 3), registers_too=True)


def ct_twice(district, meter, rng):
    return scale(
        district, meter, some_day(district, rng, 9, 10), [(2, 1), (1, 2)][int(rng.integers(2))], registers_too=True
    )


# solar sign


def solar_swapped(district, meter, rng):
    day = some_day(district, rng, 3, 3)
    import_, export = energy_of(district, meter), district.data.export.energy_wh[meter]
    kept = import_[day * PER_DAY :].copy()
    import_[day * PER_DAY :] = export[day * PER_DAY :]
    export[day * PER_DAY :] = kept
    return day, district.days - 1


def solar_negative_import(district, meter, rng):
    day = some_day(district, rng, 3, 3)
    import_, export = energy_of(district, meter), district.data.export.energy_wh[meter]
    import_[day * PER_DAY :] -= export[day * PER_DAY :]
    export[day * PER_DAY :] = 0
    return day, district.days - 1


def solar_leak(district, meter, rng):
    """The direction is lost: what is taken at night is also counted as given."""
    day = some_day(district, rng, 3, 3)
    export = district.data.export.energy_wh[meter]
    export[day * PER_DAY :] += energy_of(district, meter)[day * PER_DAY :]
    return day, district.days - 1
