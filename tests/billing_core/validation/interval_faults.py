"""Recipes that spoil intervals: gaps, negatives, spikes, copies, stuck values and stale snapshots."""

from tests.billing_core.validation.population import PER_DAY
from tests.billing_core.validation.spoiling import busy_slot, days_of, energy_of, some_day, third_of

# gap


def gap_hours(district, meter, rng):
    slot, length = busy_slot(district, meter, rng), int(rng.integers(1, 21))
    district.data.intervals.missing[meter, slot : slot + length] = True
    return days_of(slot, length)


def gap_days(district, meter, rng):
    day, length = some_day(district, rng, 2, 5), int(rng.integers(1, 4))
    district.data.intervals.missing[meter, day * PER_DAY : (day + length) * PER_DAY] = True
    return day, day + length - 1


def gap_scattered(district, meter, rng):
    day = some_day(district, rng)
    slots = day * PER_DAY + rng.choice(PER_DAY, 5, replace=False)
    district.data.intervals.missing[meter, slots] = True
    return day, day


def gap_filled_with_zeros(district, meter, rng):
    slot, length = busy_slot(district, meter, rng), int(rng.integers(6, 40))
    energy_of(district, meter)[slot : slot + length] = 0
    return days_of(slot, length)


def gap_lumped(district, meter, rng):
    """The head-end puts all of the gap's energy into the interval after it: the sum stays right."""
    slot, length = busy_slot(district, meter, rng), int(rng.integers(3, 20))
    row = energy_of(district, meter)
    row[slot + length] += row[slot : slot + length].sum()
    row[slot : slot + length] = 0
    return days_of(slot, length + 1)


# negative


def negative_sign(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] *= -1
    return days_of(slot, 1)


def negative_run(district, meter, rng):
    slot, length = busy_slot(district, meter, rng), int(rng.integers(2, 30))
    energy_of(district, meter)[slot : slot + length] *= -1
    return days_of(slot, length)


def negative_wrapped(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] -= 2**32
    return days_of(slot, 1)


def negative_register(district, meter, rng):
    """The register is read lower than yesterday."""
    day = some_day(district, rng)
    registers = district.data.registers
    registers.actual[meter, day - 1 : day + 2] = True
    back = int(rng.integers(2, 50)) * int(registers.resolution_wh[meter])
    registers.index_wh[meter, day] = registers.index_wh[meter, day - 1] - back
    return day - 1, day


# spike


def spike_times(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] = (third_of(district, meter, slot) + 300) * int(rng.integers(4, 50))
    return days_of(slot, 1)


def spike_bit(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    bits = int(third_of(district, meter, slot)).bit_length()
    energy_of(district, meter)[slot] += 1 << int(rng.integers(max(bits, 9) + 1, 30))
    return days_of(slot, 1)


def spike_unit(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] *= 1_000
    return days_of(slot, 1)


def spike_small(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    energy_of(district, meter)[slot] += (third_of(district, meter, slot) + 100) * int(rng.integers(2, 4))
    return days_of(slot, 1)


def spike_in_both(district, meter, rng):
    """Pulses counted by the meter itself: the register agrees; no connection carries it."""
    slot = busy_slot(district, meter, rng)
    registers = district.data.registers
    unit = int(registers.multiplier[meter] * registers.resolution_wh[meter])
    extra = int(district.data.limit_wh[meter] * rng.uniform(1.5, 6)) // unit * unit + unit
    energy_of(district, meter)[slot] += extra
    registers.index_wh[meter, slot // PER_DAY + 1 :] += extra // int(registers.multiplier[meter])
    return days_of(slot, 1)


# copied day


def copy_back(district, meter, day, lag, length=1):
    row = energy_of(district, meter).reshape(-1, PER_DAY)
    for each in range(day, day + length):
        row[each] = row[each - lag]
    return day, day + length - 1


def copied_yesterday(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng), 1)


def copied_last_week(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng), 7)


def copied_some_day(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng), int(rng.integers(2, 7)))


def copied_twice(district, meter, rng):
    return copy_back(district, meter, some_day(district, rng, 8, 4), 1, int(rng.integers(2, 4)))


def copied_mostly(district, meter, rng):
    """All but three intervals."""
    day = some_day(district, rng)
    slots = day * PER_DAY + rng.choice(PER_DAY, 3, replace=False)
    kept = energy_of(district, meter)[slots].copy()
    copy_back(district, meter, day, 1)
    energy_of(district, meter)[slots] = kept
    return day, day


# stuck


def stick(district, meter, slot, length):
    row = energy_of(district, meter)
    row[slot : slot + length] = row[slot]
    return days_of(slot, length)


def stuck_half_day(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=60), int(rng.integers(16, 49)))


def stuck_short(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=60), int(rng.integers(8, 16)))


def stuck_over_midnight(district, meter, rng):
    row = energy_of(district, meter)
    midnight = some_day(district, rng) * PER_DAY
    slot = midnight - int(rng.integers(4, 12))
    row[slot] = max(int(row[slot]), int(row[row > 0].min()))
    return stick(district, meter, slot, int(rng.integers(16, 30)))


def stuck_days(district, meter, rng):
    return stick(district, meter, busy_slot(district, meter, rng, room=200), int(rng.integers(97, 180)))


# stale snapshot


def serve_again(row, slot, length=1):
    row[slot + length] += row[slot : slot + length].sum()
    row[slot : slot + length] = 0


def stale_with_clock(district, meter, rng):
    slot = busy_slot(district, meter, rng)
    serve_again(energy_of(district, meter), slot)
    district.data.repeated_clock[meter, slot // PER_DAY] += 1
    return days_of(slot, 2)


def stale_silent(district, meter, rng):
    """The gateway stamps its own time, so only the energies tell."""
    slot = busy_slot(district, meter, rng)
    serve_again(energy_of(district, meter), slot)
    return days_of(slot, 2)


def stale_silent_longer(district, meter, rng):
    slot, length = busy_slot(district, meter, rng), int(rng.integers(2, 5))
    serve_again(energy_of(district, meter), slot, length)
    return days_of(slot, length + 1)


def midnights_served_again(district, meter, day, midnights):
    """Let the registers of so many midnights, from ``day`` on, be the one of the midnight before."""
    registers = district.data.registers
    registers.actual[meter, day - 1 : day + midnights + 1] = True
    registers.index_wh[meter, day : day + midnights] = registers.index_wh[meter, day - 1]
    return day - 1, day + midnights - 1


def stale_midnight(district, meter, rng):
    """The register of one midnight is the one of the midnight before."""
    return midnights_served_again(district, meter, some_day(district, rng), 1)
