"""Faults on purpose: what is read of a district is spoilt, the truth stays.

Each kind of fault has recipes. ``TUNED`` and ``VARIED`` were in view when thresholds were chosen, the latter to see how
far the former carry; those of :mod:`tests.billing_core.validation.unseen_faults` were only judged. A recipe takes the
district's readings and spoils one meter's; it returns the days it touched.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulators.loads import Kind
from tests.billing_core.validation.population import PER_DAY, District

Days = tuple[int, int]  # first and last
Recipe = Callable[[District, int, np.random.Generator], Days]
WHOLE = 10**9


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    recipe: str
    meter: int
    first: int
    last: int


def energy_of(district: District, meter: int):
    return district.data.intervals.energy_wh[meter]


def busy_slot(district: District, meter: int, rng, low: int = PER_DAY, room: int = PER_DAY) -> int:
    """Return a slot with energy, away from the ends."""
    row = energy_of(district, meter)
    places = np.flatnonzero(row[low : row.size - room] > 0) + low
    assert places.size, "a meter without use was chosen"
    return int(rng.choice(places))


def some_day(district: District, rng, low: int = 8, room: int = 2) -> int:
    return int(rng.integers(low, district.days - room))


def days_of(first: int, length: int) -> Days:
    return first // PER_DAY, (first + length - 1) // PER_DAY


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


def third_of(district, meter, slot):
    day = slot // PER_DAY
    return int(np.sort(energy_of(district, meter)[day * PER_DAY : (day + 1) * PER_DAY])[-3])


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


def resolution_of(district, meter):
    return int(district.data.registers.resolution_wh[meter])


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


def stale_midnight(district, meter, rng):
    """The register of one midnight is the one of the midnight before."""
    day = some_day(district, rng)
    registers = district.data.registers
    registers.actual[meter, day - 1 : day + 2] = True
    registers.index_wh[meter, day] = registers.index_wh[meter, day - 1]
    return day - 1, day


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
    row[day * PER_DAY :] = row[day * PER_DAY :] * up // down
    if registers_too:
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


TUNED: dict[str, tuple[Recipe, ...]] = {
    "gap": (gap_hours, gap_days),
    "negative": (negative_sign,),
    "spike": (spike_times, spike_bit),
    "rollover": (rollover_five,),
    "copied day": (copied_yesterday,),
    "stuck": (stuck_half_day,),
    "stale snapshot": (stale_with_clock,),
    "clock shift": (clock_reported,),
    "CT ratio": (ct_intervals,),
    "solar sign": (solar_swapped,),
}
VARIED: dict[str, tuple[Recipe, ...]] = {
    "gap": (gap_scattered, gap_filled_with_zeros, gap_lumped),
    "negative": (negative_run, negative_wrapped, negative_register),
    "spike": (spike_unit, spike_small, spike_in_both),
    "rollover": (rollover_not_read, rollover_four_digits),
    "copied day": (copied_last_week, copied_some_day, copied_twice, copied_mostly),
    "stuck": (stuck_short, stuck_over_midnight, stuck_days),
    "stale snapshot": (stale_silent, stale_silent_longer, stale_midnight),
    "clock shift": (clock_silent, clock_half_day, clock_drifting),
    "CT ratio": (ct_lost_phase, ct_reversed, ct_twice),
    "solar sign": (solar_negative_import, solar_leak),
}
WHERE: dict[str, tuple[Kind, ...]] = {
    "CT ratio": (Kind.FACTORY, Kind.SCHOOL),
    "solar sign": (Kind.SOLAR,),
}
"""Which consumers a kind of fault can happen to; all where it is not said."""


def inject(district: District, recipes: dict[str, tuple[Recipe, ...]], share: float, seed: int) -> list[Fault]:
    """Spoil about ``share`` of the meters, one fault each, every recipe about equally often."""
    rng = np.random.default_rng([seed, 77])
    meters = district.kind.shape[0]
    daily = district.data.intervals.energy_wh.reshape(meters, -1, PER_DAY).sum(axis=2)
    free = set(np.flatnonzero((daily > 0).all(axis=1)).tolist())
    each = max(1, round(share * meters / sum(map(len, recipes.values()))))
    faults = []
    order = sorted(recipes, key=lambda kind: kind not in WHERE)  # the choosy first
    for kind in order:
        allowed = district.is_kind(*WHERE[kind]) if kind in WHERE else np.ones(meters, dtype=bool)
        for recipe in recipes[kind]:
            candidates = sorted(meter for meter in free if allowed[meter])
            for meter in rng.choice(candidates, min(each, len(candidates)), replace=False).tolist():
                first, last = recipe(district, meter, rng)
                faults.append(Fault(kind, recipe.__name__, meter, first, last))
                free.discard(meter)
    return faults
