r"""E1: a straight line between both ends of a short gap, where lines have served the meter.

A line is right while a load drifts and wrong where it is switched. Which of the two a meter does at that hour, its own
days tell: over the same slots of each of the gap's like days, as if they were missing too, a line between the slots
beside them is compared with the mean of the other like days. Where the registers will fix the gap's energy both are
brought to the day's energy in those slots first. If the like days were off by less, E1 leaves the gap to E2. If a line
of half its slope, or of none, was off by less than the line, it is drawn so:

.. math:: x_i = \frac{x_a + x_b}{2} + \beta \, (x_b - x_a) \left(\frac{i}{n + 1} - \frac12\right),
    \qquad \beta \in \{1, 1/2, 0\}

Without three like days there is nothing to compare, and the line is drawn as it is.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.estimation.counted import UNKNOWN_WH, daily_level_wh
from billing_core.estimation.gaps import Gaps, Proposal, usable_days, whole_gaps
from billing_core.estimation.like_days import NEARNESS, OFFSETS, models_of_days, offsets_of_models
from billing_core.estimation.sharpness import MODELS_LEAST, FloatArray
from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray

LINEAR_HOURS_MAX = 2  # longer gaps are not straight; see the source in validation's parameters.toml
SLOPE_QUARTERS = (4, 2, 0)
LIKE_DAYS = len(SLOPE_QUARTERS)
VALUES_AT_ONCE = 300_000  # 2.4 MB an array


def e1_linear(context: Context, gaps: Gaps) -> Proposal:
    """Draw a straight line between both ends: short gaps, actual ends, no power failure, no sunrise or sunset."""
    slots, per_day = context.intervals.energy_wh.shape[1], context.intervals.slots_per_day
    start, length = gaps.gap_start[gaps.gap], gaps.gap_length[gaps.gap]
    before, after = start - 1, start + length
    applies = (length * 24 <= LINEAR_HOURS_MAX * per_day) & (before >= 0) & (after < slots)
    left, right = before.clip(0), after.clip(0, slots - 1)
    for day in (left // per_day, right // per_day):
        applies &= ~context.outage[gaps.meter, day]
    if context.night is not None:
        night = np.broadcast_to(context.night, context.intervals.energy_wh.shape)
        for end in (left, right):  # dark at the one end and light at the other, or in between: the sun rose or set
            applies &= night[gaps.meter, end] == night[gaps.meter, gaps.slot]
        applies = whole_gaps(gaps, applies)
    quarters, serves = _how_lines_served(context, gaps, applies)
    applies &= serves[gaps.gap]
    low, high = context.intervals.energy_wh[gaps.meter, left], context.intervals.energy_wh[gaps.meter, right]
    step, slope = gaps.slot - before, quarters[gaps.gap]
    # In eighths of length + 1, so that it is exact and rounded half up once.
    whole = 8 * (length + 1)
    eighths = 4 * (low + high) * (length + 1) + slope * (high - low) * (2 * step - length - 1)
    value = (2 * eighths + whole) // (2 * whole)
    return Proposal(np.where(applies, value, 0), applies)


def _how_lines_served(context: Context, gaps: Gaps, applies: BoolArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the slope for each gap, in quarters of the line's, and whether a line serves it at all. [gaps]"""
    per_day = context.intervals.slots_per_day
    quarters = np.full(gaps.gap_start.shape, SLOPE_QUARTERS[0])
    serves = np.ones(gaps.gap_start.shape, dtype=np.bool_)
    gap, first = np.unique(gaps.gap[applies], return_index=True)
    if not gap.size:
        return quarters, serves
    meter, start, length = gaps.meter[applies][first], gaps.gap_start[gap], gaps.gap_length[gap]
    usable, level = usable_days(context), daily_level_wh(context)
    energy, wanted = context.intervals.energy_wh.ravel(), context.wanted
    days = start // per_day, (start + length - 1) // per_day
    may = models_of_days(context, meter, days[0], usable)
    over = np.flatnonzero(days[1] != days[0])
    enough = may.sum(axis=1) >= MODELS_LEAST
    enough[over] &= models_of_days(context, meter[over], days[1][over], usable).sum(axis=1) >= MODELS_LEAST
    fixed = context.shapes_only | ((level[meter, days[0]] != UNKNOWN_WH) & (level[meter, days[1]] != UNKNOWN_WH))
    step = max(1, VALUES_AT_ONCE // (OFFSETS.size * (LINEAR_HOURS_MAX * per_day // 24 + 2)))
    count = may.sum(axis=1)
    for slots in np.unique(length).tolist():
        alike = np.flatnonzero(enough & (length == slots))
        alike = alike[np.argsort(count[alike], kind="stable")]  # those with as many like days together
        for begin in range(0, alike.size, step):
            some = alike[begin : begin + step]
            offset, known = offsets_of_models(may[some])
            place = (start[some, None] + offset * per_day)[:, :, None] + np.arange(-1, slots + 1)
            inside = (place[:, :, 0] >= 0) & (place[:, :, -1] < wanted.shape[1])
            place = meter[some, None, None] * wanted.shape[1] + np.where(inside[:, :, None], place, 0)
            known &= inside
            of_day = start[some] % per_day  # a like day is complete: only what is beyond its ends may be wanted
            beyond = np.flatnonzero((of_day == 0) | (of_day + slots >= per_day))
            known[beyond] &= ~wanted.ravel()[place[beyond]].any(axis=2)
            values = energy[place]
            best = _errors(values, known, NEARNESS[np.abs(offset)], fixed[some]).argmin(axis=0)
            quarters[gap[some]] = np.array([*SLOPE_QUARTERS, SLOPE_QUARTERS[0]])[best]
            serves[gap[some]] = best != LIKE_DAYS
    return quarters, serves


def _errors(values: Int64Array, known: BoolArray, nearness: FloatArray, fixed: BoolArray) -> FloatArray:
    """Return by how much lines of each slope, and then the other like days, were off. [Wh, ways × gaps]

    ``values`` are the slots of the gaps, and one more at either end, on their like days. [gaps × models × slots + 2]
    """
    true = values[:, :, 1:-1].astype(np.float64)
    length = true.shape[2]
    low, high = values[:, :, :1].astype(np.float64), values[:, :, -1:].astype(np.float64)
    rise = (high - low) * (np.arange(1, length + 1) / (length + 1) - 0.5)
    weight = (known * nearness)[:, :, None]
    weighed = weight * true
    others = np.maximum(weight.sum(axis=1, keepdims=True) - weight, 1e-9)
    like = (weighed.sum(axis=1, keepdims=True) - weighed) / others
    energy, fixed, counted = true.sum(axis=2, keepdims=True), fixed[:, None, None], known.astype(np.float64)
    error = np.empty((LIKE_DAYS + 1, values.shape[0]))
    ways = [(low + high) / 2 + quarters / 4 * rise for quarters in SLOPE_QUARTERS]
    for place, guess in enumerate([*ways, like]):
        whole = guess.sum(axis=2, keepdims=True)
        off = guess * np.where(fixed, energy / np.maximum(whole, 1.0), 1.0)
        off -= true
        error[place] = np.einsum("gms,gm->g", np.abs(off, out=off), counted)
    error[1:] += 1e-6 * (1 + error[0])  # what is not better by more than rounding is not better
    return error
