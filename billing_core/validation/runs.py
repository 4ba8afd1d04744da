"""Runs of slots: choosing among them, the days that they touch, and the step in which a meter's profile counts."""

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan, Energies, Runs
from billing_core.validation.finding import BoolArray

STEP_SLOTS = 24  # enough values for their common divisor to be the meter's step

STEP_PARTS = 16  # parts looked at
STEPS_AT_ONCE = 128  # meters


def chosen(runs: Runs, mask: BoolArray) -> Runs:
    """Return the runs where the mask is set."""
    return Runs(runs.meter[mask], runs.start[mask], runs.length[mask])


def days_of(scan: DayScan, runs: Runs) -> tuple[BoolArray, NDArray[np.int32]]:
    """Return which days the runs touch, and the length of the longest run touching each."""
    length = np.zeros(scan.missing.shape, dtype=np.int32)
    first, last = runs.start // scan.slots_per_day, (runs.start + runs.length - 1) // scan.slots_per_day
    for meter, begin, end, slots in zip(runs.meter, first, last, runs.length, strict=True):
        length[meter, begin : end + 1] = np.maximum(length[meter, begin : end + 1], slots)
    return length > 0, length


def profile_steps(energy_wh: Energies, meters: Int64Array) -> Int64Array:
    """Return the step in which each of these meters' profile counts: the greatest common divisor of most parts of it.

    A part with wrong values has a smaller divisor, so the upper quartile of the parts' divisors is taken. A meter may
    be asked for several times. [Wh; like ``meters``]
    """
    rows, place = np.unique(meters, return_inverse=True)
    steps = np.ones(rows.shape, dtype=np.int64)
    whole = energy_wh.shape[1] // STEP_SLOTS
    for begin in range(0, rows.size, STEPS_AT_ONCE):
        some = rows[begin : begin + STEPS_AT_ONCE]
        parts = energy_wh[some, : whole * STEP_SLOTS].reshape(some.size, whole, STEP_SLOTS)
        divisors = np.gcd.reduce(parts[:, :: 1 + whole // STEP_PARTS], axis=2)
        divisors.sort(axis=1)  # those that say nothing, of parts without energy, are first
        many = (divisors > 0).sum(axis=1)
        upper = divisors[np.arange(some.size), divisors.shape[1] - many + 3 * many // 4 - (many == 0)]
        steps[begin : begin + STEPS_AT_ONCE] = np.where(many > 0, upper, 1)
    return steps[place]
