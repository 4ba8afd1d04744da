"""What recipes for faults share: where in a district's readings to put one."""

from collections.abc import Callable

import numpy as np

from tests.billing_core.validation.population import PER_DAY, District

Days = tuple[int, int]  # first and last
Recipe = Callable[[District, int, np.random.Generator], Days]


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


def third_of(district, meter, slot):
    day = slot // PER_DAY
    return int(np.sort(energy_of(district, meter)[day * PER_DAY : (day + 1) * PER_DAY])[-3])


def resolution_of(district, meter):
    return int(district.data.registers.resolution_wh[meter])
