r"""E2: the middle of the like days. Days are like by their type, by how near they are, and by their energy.

Days of the same type within four weeks before and after a day are its models. Each weighs

.. math:: w = 2^{-|d| / 14} \max\{(\min(E, E_0) / \max(E, E_0))^2, 1/100\}

with :math:`d` days between them and :math:`E`, :math:`E_0` the energies of the two days; :math:`E_0` is what the
registers around the gap counted, per day, and without them the second factor is 1. A slot's value is the mean of the
middle half of the models' values by weight: a quarter is left out at either end, so that one evening with guests makes
no estimate. The slots together are then brought to the weighted mean of the models' days (without the second factor),
for the middle of what is mostly low and sometimes high is too low on the whole.

The numbers are congto's, chosen on one half of the series of ``tests/billing_core/estimation/masked_gaps.py`` and
judged on the other; the figures are in ``docs/domain/validation-figures.md``.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.estimation.counted import UNKNOWN_WH, daily_level_wh
from billing_core.estimation.gaps import Gaps, Proposal, usable_days, whole_gaps
from billing_core.validation.finding import BoolArray

LIKE_DAYS_LEAST = 3
LIKE_GAP_DAYS_MAX = 7
NEAR_DAYS_MAX = 28
HALF_LIFE_DAYS = 14
UNLIKE_LEVEL_WEIGHT = 0.01
TAIL = 0.25  # of the weight, left out at either end
VALUES_AT_ONCE = 1_500_000  # 12 MB an array

FloatArray = NDArray[np.float64]
OFFSETS = np.arange(-NEAR_DAYS_MAX, NEAR_DAYS_MAX + 1)


def e2_like_days(context: Context, gaps: Gaps) -> Proposal:
    """Take the middle of the like days, three at least; gaps up to seven days."""
    per_day = context.intervals.slots_per_day
    short = gaps.gap_length[gaps.gap] <= LIKE_GAP_DAYS_MAX * per_day
    usable, level = usable_days(context), daily_level_wh(context)
    wanted = np.zeros(gaps.part_meter.size, dtype=np.bool_)
    wanted[gaps.part[short]] = True
    day_wh = np.zeros((gaps.part_meter.size, per_day), dtype=np.int64)
    known = np.zeros(gaps.part_meter.size, dtype=np.bool_)
    parts = np.flatnonzero(wanted)
    step = max(1, VALUES_AT_ONCE // (OFFSETS.size * per_day))
    for begin in range(0, parts.size, step):
        some = parts[begin : begin + step]
        day_wh[some], known[some] = _days(context, gaps.part_meter[some], gaps.part_day[some], usable, level)
    value = day_wh[gaps.part, gaps.slot % per_day]
    return Proposal(value, whole_gaps(gaps, known[gaps.part] & short))


def _days(
    context: Context, meter: NDArray[np.int64], day: NDArray[np.int64], usable: BoolArray, level: FloatArray
) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the estimates of whole days of meters, and for which there are models enough. [Wh, days × slots; days]"""
    model = day[:, None] + OFFSETS
    there = model.clip(0, context.intervals.days - 1)
    may = (model == there) & usable[meter[:, None], there]
    may &= context.day_type[there] == context.day_type[day][:, None]
    enough = may.sum(axis=1) >= LIKE_DAYS_LEAST
    weight = may * np.exp2(-np.abs(OFFSETS) / HALF_LIFE_DAYS)
    profiles = context.intervals.energy_wh.reshape(context.intervals.meters, context.intervals.days, -1)
    values = profiles[meter[:, None], there].astype(np.float64)
    energy = values.sum(axis=2)
    middle = middle_half(values, weight * _likeness(energy, level[meter, day]))
    whole = np.maximum(weight.sum(axis=1), 1e-300)
    mean = (weight[:, :, None] * values).sum(axis=1) / whole[:, None]
    total, shaped = mean.sum(axis=1, keepdims=True), middle.sum(axis=1, keepdims=True)
    brought = np.where(shaped > 0, middle * total / np.where(shaped > 0, shaped, 1.0), mean)
    return np.floor(brought + 0.5).astype(np.int64), np.asarray(enough)


def _likeness(energy: FloatArray, level: FloatArray) -> FloatArray:
    """Return how like each model's energy is to what a day took, 1 where nobody knows that. [days × models]"""
    own = np.maximum(level, 1.0)[:, None]
    other = np.maximum(energy, 1.0)
    ratio = np.minimum(own, other) / np.maximum(own, other)
    likeness: FloatArray = np.where((level == UNKNOWN_WH)[:, None], 1.0, np.maximum(ratio**2, UNLIKE_LEVEL_WEIGHT))
    return likeness


def middle_half(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the mean of each slot's values between their quartiles by weight.

    Parameters
    ----------
    values
        [days × models × slots]
    weight
        [days × models]; where a day's weights are all 0 the result is 0.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    heavy = np.take_along_axis(np.broadcast_to(weight[:, :, None], values.shape), order, axis=1)
    upto = np.cumsum(heavy, axis=1)
    whole = weight.sum(axis=1)[:, None, None]
    low, high = TAIL * whole, (1 - TAIL) * whole
    kept = np.clip(upto, low, high) - np.clip(upto - heavy, low, high)
    middle: FloatArray = (kept * ordered).sum(axis=1) / np.maximum(kept.sum(axis=1), 1e-300)
    return middle
