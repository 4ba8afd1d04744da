"""Which faults on purpose are faults: a rule that looks at what was altered, never at what was found.

A meter rounds each interval to the step in which its profile counts, and the register to the step that it shows. What
alters an interval by no more than its step, or the register by no more than its own, is the meter's rounding and no
fault; nor is what alters nothing at all (a copied day that equals its original, a value stuck at a standstill). Of the
rest a fault of intervals is *material* if what it alters beyond that, slot by slot, is more than the registers that
surround it can be wrong by: the tolerance of V30, and one step for where in its step the register stood.
"""

import numpy as np

from billing_core.validation.runs import profile_steps
from tests.billing_core.validation.population import PER_DAY, District


def is_material(meter: int, first: int, clean: District, read: District, sum_permille: int = 5) -> bool:
    """Tell whether a fault of one meter that begins on day ``first`` counts."""
    before, after = clean.data, read.data
    if _others_altered(meter, clean, read):
        return True
    resolution = int(before.registers.resolution_wh[meter] * before.registers.multiplier[meter])
    if np.abs(after.registers.index_wh[meter] - before.registers.index_wh[meter]).max() > resolution // int(
        before.registers.multiplier[meter]
    ):
        return True
    step = int(profile_steps(before.intervals.energy_wh, np.array([meter]))[0])
    assert before.export is not None
    assert after.export is not None
    altered = 0
    for one, other in ((before.intervals, after.intervals), (before.export, after.export)):
        moved = np.abs(other.energy_wh[meter] - one.energy_wh[meter])
        altered += int(np.maximum(moved - step, 0).sum())
    of_day = int(before.intervals.energy_wh[meter, first * PER_DAY : (first + 1) * PER_DAY].sum())
    return altered > max(2 * resolution, of_day * sum_permille // 1_000) + resolution


def _others_altered(meter: int, clean: District, read: District) -> bool:
    """Tell whether readings are gone, or the clock's or the register's master data differ."""
    before, after = clean.data, read.data
    pairs = (
        (before.intervals.missing, after.intervals.missing),
        (before.clock_offset_s, after.clock_offset_s),
        (before.registers.digits, after.registers.digits),
        (before.registers.multiplier, after.registers.multiplier),
    )
    return any(one is not None and other is not None and (one[meter] != other[meter]).any() for one, other in pairs)
