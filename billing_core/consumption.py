"""Registers become consumption: (new − old index) × multiplier, per register.

A register with d digits starts again at zero after 10^d units: 99850 → 00120 on five digits is 270. A register that
stands *lower* for any other reason (read wrongly, exchanged, reset, running backwards) looks just the same, so a
difference below zero counts as rolling over only where the register's digits are known and the result is at most half
of its range; else the row is held, and a person looks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Hold
from billing_core.rounding import ENERGY_WH_MAX, Int64Array
from billing_core.tiers import WH_PER_KWH

DIGITS_MAX = 15  # 10¹⁵ kWh is a thousand Wh short of what 64 bits hold
MULTIPLIER_MAX = 10_000_000  # CT × VT: 500 kV / 0.1 kV × 2,000 A / 1 A


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """Energy of each register over a period [Wh, n], and why it could not be found [Hold code, n]; then it is 0."""

    energy_wh: Int64Array
    hold: NDArray[np.int8]


def consume(
    old_wh: Any, new_wh: Any, *, digits: Any = 0, multiplier: Any = 1, unit_wh: Any = WH_PER_KWH
) -> Consumption:
    """Return what each register counted between two readings.

    Parameters
    ----------
    old_wh, new_wh
        The index before and after, as the meter shows it, before the multiplier. [Wh, n]
    digits
        Whole digits of the register, in its unit; 0 where they are not known. [n or one for all]
    multiplier
        Ratio of the current transformer × that of the voltage transformer. [n or one for all]
    unit_wh
        What one unit of the register is. [Wh, n or one for all]
    """
    columns = (np.asarray(column, dtype=np.int64) for column in (old_wh, new_wh, digits, multiplier, unit_wh))
    old, new, places, factor, unit = np.broadcast_arrays(*columns)
    known = places > 0
    valid = (factor >= 1) & (factor <= MULTIPLIER_MAX)
    places_valid = (places >= 0) & (places <= DIGITS_MAX) & (unit >= 1) & (unit <= WH_PER_KWH)
    limit = np.power(10, np.where(places_valid, places, 0)) * np.where(places_valid, unit, 1)
    outside = (old < 0) | (new < 0) | ~places_valid | (known & ((old >= limit) | (new >= limit)))
    old, new = np.where(outside, 0, old), np.where(outside, 0, new)
    fell = new < old
    delta = new - old + np.where(fell & known, limit, 0)
    checks = (
        (Hold.INDEX_OUT_OF_RANGE, outside),
        (Hold.MULTIPLIER_INVALID, ~valid),
        (Hold.INDEX_FELL, fell & ~known),
        (Hold.ROLLOVER_IMPLAUSIBLE, fell & known & (delta > limit // 2)),
        (Hold.ENERGY_TOO_LARGE, delta > ENERGY_WH_MAX // np.where(valid, factor, 1)),
    )
    hold = np.zeros(old.shape, dtype=np.int8)
    for reason, found in checks:
        hold[found & (hold == 0)] = reason.code
    held = hold != 0
    energy = np.where(held, 0, delta) * np.where(held, 1, factor)
    return Consumption(energy_wh=energy, hold=hold)
