r"""E2: the middle of the like days. Days are like by their type, by how near they are, and by their energy.

Days of the same type within four weeks before and after a day are its models. Each weighs

.. math:: w = 2^{-|d| / 14} \max\{(\min(E, E_0) / \max(E, E_0))^2, 1/100\}

with :math:`d` days between them and :math:`E`, :math:`E_0` the energies of the two days; :math:`E_0` is what the
registers around the gap counted, per day, and without them the second factor is 1. A slot's value is the mean of the
middle half of the models' values by weight: a quarter is left out at either end, so that one evening with guests makes
no estimate. The slots together are then brought to the weighted mean of the models' days (without the second factor),
for the middle of what is mostly low and sometimes high is too low on the whole; and the shape is smoothed as much as
would have helped on the meter's own days, down to a flat one (:mod:`billing_core.estimation.sharpness`), but never on
an export channel, whose sun rises and sets.

The numbers are congto's, chosen on one half of the series of ``tests/billing_core/estimation/masked_gaps.py`` and
judged on the other; the figures are in ``docs/domain/validation-figures.md``.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.estimation.counted import daily_level_wh
from billing_core.estimation.gaps import Gaps, Proposal, usable_days, whole_gaps
from billing_core.estimation.sharpness import MODELS_LEAST, FloatArray, kernel_of_meters, likeness, smoothed
from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray

LIKE_GAP_DAYS_MAX = 7
NEAR_DAYS_MAX = 28
HALF_LIFE_DAYS = 14
TAIL = 0.25  # of the weight, left out at either end
VALUES_AT_ONCE = 300_000  # 2.4 MB an array: what fits into a core's cache is sorted twice as fast
MODEL_BITS = 6  # 57 models
HALF_UP = 0.5 + 1e-6  # whatever the order in which a sum was taken, half a Wh is rounded up

OFFSETS = np.arange(-NEAR_DAYS_MAX, NEAR_DAYS_MAX + 1)
NEARNESS = np.exp2(-np.arange(NEAR_DAYS_MAX + 1) / HALF_LIFE_DAYS)


def e2_like_days(context: Context, gaps: Gaps) -> Proposal:
    """Take the middle of the like days, three at least; gaps up to seven days."""
    per_day = context.intervals.slots_per_day
    short = gaps.gap_length[gaps.gap] <= LIKE_GAP_DAYS_MAX * per_day
    usable, level = usable_days(context), daily_level_wh(context)
    parts = np.unique(gaps.part[short])
    may = models_of_days(context, gaps.part_meter[parts], gaps.part_day[parts], usable)
    count = may.sum(axis=1)
    parts, may, count = (column[count >= MODELS_LEAST] for column in (parts, may, count))
    # Days with as many models together: a Saturday has eight and need not be sorted like a workday with forty.
    order = np.argsort(count, kind="stable")
    parts, may = parts[order], may[order]
    day_wh = np.zeros((gaps.part_meter.size, per_day))
    known = np.zeros(gaps.part_meter.size, dtype=np.bool_)
    known[parts] = True
    step = max(1, VALUES_AT_ONCE // (OFFSETS.size * per_day))
    for begin in range(0, parts.size, step):
        some = parts[begin : begin + step]
        day_wh[some] = _days(context, gaps.part_meter[some], gaps.part_day[some], may[begin : begin + step], level)
    if context.night is None:
        meters, back = np.unique(gaps.part_meter[parts], return_inverse=True)
        kernel = kernel_of_meters(context, meters, usable, level, NEARNESS)
        day_wh[parts] = smoothed(day_wh[parts], kernel[back])
    value = np.floor(day_wh + HALF_UP).astype(np.int64)[gaps.part, gaps.slot % per_day]
    return Proposal(value, whole_gaps(gaps, known[gaps.part] & short))


def models_of_days(context: Context, meter: NDArray[np.int64], day: NDArray[np.int64], usable: BoolArray) -> BoolArray:
    """Return which of the days around each day are its models. [days × offsets]"""
    model = day[:, None] + OFFSETS
    there = model.clip(0, context.intervals.days - 1)
    may: BoolArray = (model == there) & usable[meter[:, None], there]
    may &= context.day_type[there] == context.day_type[day][:, None]
    return may


def offsets_of_models(may: BoolArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return how far away each day's models are, in order, and which are any: some days have fewer. [days × most]"""
    place = np.argsort(~may, axis=1, kind="stable")[:, : int(may.sum(axis=1).max())]
    known: BoolArray = np.take_along_axis(may, place, axis=1)
    return OFFSETS[place], known


def _days(
    context: Context, meter: NDArray[np.int64], day: NDArray[np.int64], may: BoolArray, level: FloatArray
) -> FloatArray:
    """Return the estimates of whole days of meters. [Wh, days × slots]"""
    offset, known = offsets_of_models(may)
    weight = known * NEARNESS[np.abs(offset)]
    there = (day[:, None] + offset).clip(0, context.intervals.days - 1)
    profiles = context.intervals.energy_wh.reshape(context.intervals.meters, context.intervals.days, -1)
    values = np.ascontiguousarray(profiles[meter[:, None], there].transpose(0, 2, 1))
    energy = values.sum(axis=1).astype(np.float64)
    middle = middle_half(values, weight * likeness(energy, level[meter, day][:, None]))
    whole = weight.sum(axis=1)
    total, shaped = (weight * energy).sum(axis=1) / whole, middle.sum(axis=1)
    estimated = middle * np.where(shaped > 0, total / np.where(shaped > 0, shaped, 1.0), 0.0)[:, None]
    idle = np.flatnonzero(shaped <= 0)  # mostly at a standstill: no middle has a shape, but the mean has
    estimated[idle] = (values[idle] * weight[idle, None, :]).sum(axis=2) / whole[idle, None]
    return estimated


def middle_half(values: Int64Array, weight: FloatArray) -> FloatArray:
    """Return the mean of each slot's values between their quartiles by weight. [days × slots]

    Parameters
    ----------
    values
        Less than 2⁵⁷. [days × slots × models]
    weight
        Of at most 64 models. [days × models]; where a day's weights are all 0 the result is 0.
    """
    models = weight.shape[1]
    # The number of the model rides in the low bits: a sort of integers is several times as fast as finding its order.
    packed = (values << MODEL_BITS) | np.arange(models)
    packed.sort(axis=2)
    row = np.arange(weight.shape[0])[:, None, None] * models
    heavy = weight.ravel()[(packed & (2**MODEL_BITS - 1)) + row]
    ordered = packed >> MODEL_BITS
    upto = np.cumsum(heavy, axis=2)
    whole = weight.sum(axis=1)[:, None, None]
    low, high = TAIL * whole, (1 - TAIL) * whole
    kept = np.clip(upto, low, high)
    kept -= np.clip(upto - heavy, low, high)
    middle: FloatArray = np.einsum("dsm,dsm->ds", kept, ordered) / np.maximum(kept.sum(axis=2), 1e-300)
    return middle
