"""Loads that a clock or the sun switches: days on which both switchings are off by an hour or more.

Street lighting goes off at dawn and on at dusk, to the slot, and drifts by minutes a week. A day on which both are
early, or both late, while the days around it agree, was stored at another hour than it was counted in: a clock was
wrong for a day, or the day was copied with an offset. Neither its values (they count in few steps) nor its energy
tell. An outage moves one end only, and the season moves them apart.
"""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray

PARTS_LEAST = 6  # of a day: a stretch without energy that is a habit lasts four hours or more
AROUND = 2  # days before and after
HABIT = 0.9  # of the days that must have one such stretch, and keep its ends


def moved_schedules(scan: DayScan) -> Int64Array:
    """Return by how many slots the stretch without energy of each day is late (negative: early), 0 where it is not.

    [meters × days]
    """
    shape, per_day = scan.missing.shape, scan.slots_per_day
    late = np.zeros(shape, dtype=np.int64)
    if shape[1] < 2 * AROUND + 1:
        return late
    runs, hour = scan.zero_runs, per_day // 24
    ends = runs.start + runs.length
    whole = (runs.length * PARTS_LEAST >= per_day) & (runs.start % per_day > 0) & (ends % per_day > 0)
    whole &= runs.start // per_day == ends // per_day
    meter, day = runs.meter[whole], runs.start[whole] // per_day
    flat = meter * shape[1] + day
    once = (np.bincount(flat, minlength=late.size) == 1).reshape(shape)
    rows = np.flatnonzero(once.mean(axis=1) >= HABIT)
    off_at, on_at = np.zeros(late.size, dtype=np.int64), np.zeros(late.size, dtype=np.int64)
    off_at[flat], on_at[flat] = runs.start[whole] % per_day, ends[whole] % per_day
    some = once[rows]
    first, last = (_off_its_neighbours(each.reshape(shape)[rows], some) for each in (off_at, on_at))
    same = (np.minimum(np.abs(first), np.abs(last)) >= hour) & (np.abs(first - last) < hour) & some
    steady = (np.maximum(np.abs(first), np.abs(last)) < hour) | ~some
    late[rows] = np.where(same & (steady.mean(axis=1) >= HABIT)[:, None], first, 0)
    return late


def _off_its_neighbours(ends: Int64Array, some: BoolArray) -> Int64Array:
    """Return each day's slot less the median of the days around it; 0 where too few of these are known."""
    never = np.iinfo(np.int64).max
    padded = np.pad(np.where(some, ends, never), ((0, 0), (AROUND, AROUND)), constant_values=never)
    around = np.sort(
        np.stack([padded[:, place : place + ends.shape[1]] for place in range(2 * AROUND + 1) if place != AROUND], -1)
    )
    known = (around != never).sum(axis=2)
    middle = np.take_along_axis(around, np.maximum(known - 1, 0)[:, :, None] // 2, 2)[:, :, 0]
    off: Int64Array = np.where(some & (known >= AROUND), ends - np.where(known > 0, middle, 0), 0)
    return off
