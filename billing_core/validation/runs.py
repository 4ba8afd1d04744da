"""Runs of slots: choosing among them, the days that they touch, and the step in which a meter's profile counts."""

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.day_scan import DayScan, Energies, Runs
from billing_core.validation.finding import BoolArray

STEP_SLOTS = 24  # enough values for their common divisor to be the meter's step

STEP_PARTS = 16  # parts looked at


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


def profile_step(row: Energies) -> int:
    """Return the step in which a meter's profile counts: the greatest common divisor of most parts of the row.

    A part of the row with wrong values has a smaller divisor, so the upper quartile of the parts' divisors is taken.
    """
    parts = row[: row.shape[0] // STEP_SLOTS * STEP_SLOTS].reshape(-1, STEP_SLOTS)
    parts = parts[:: 1 + parts.shape[0] // STEP_PARTS]
    divisors = np.gcd.reduce(parts, axis=1)
    divisors = np.sort(divisors[divisors > 0])
    return int(divisors[3 * divisors.size // 4]) if divisors.size else 1
