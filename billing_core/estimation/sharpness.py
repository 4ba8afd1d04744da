r"""How sharp a shape a meter's own days support: E2's shape is smoothed as much as would have helped on known days.

A shape fitted to chance is worse than a flat line, and a switch that goes at six is lost by smoothing; which of the two
a meter is, its complete days tell. Each is estimated from its like days as if it were missing, by their weighted mean
:math:`\hat x_d = \sum_{j \ne d} w_{dj} x_j / \sum_{j \ne d} w_{dj}` brought to the day's energy, and smoothed with each
of the kernels

.. math:: K_h(u) \propto \max(0, 1 - |u| / (h + \Delta)), \qquad K_\infty(u) \propto 1

around the clock; :math:`h` is 0, 1, 2, 4 or 8 hours, :math:`\Delta` a slot. The meter gets the :math:`h` with the least

.. math:: \sum_d \sum_s | (K_h * \hat x_d)_s - x_{ds} |,

the sharpest among equals. :math:`h = 0` is the shape as it is, :math:`h = \infty` a flat day: so where like days do not
predict, the estimate is flat. No kernel changes a day's energy. This is cross-validation by leaving one out (M. Stone,
J. R. Stat. Soc. B 36, 1974) of a kernel smoother's bandwidth; the hours were chosen with the rest of E2.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.estimation.counted import UNKNOWN_WH
from billing_core.validation.finding import BoolArray

HOURS = (0, 1, 2, 4, 8)
BETTER_LEAST = 1e-3  # by what share of the error smoothing must better the shape as it is: less is rounding
MODELS_LEAST = 3
UNLIKE_LEVEL_WEIGHT = 0.01
VALUES_AT_ONCE = 300_000  # 2.4 MB an array

FloatArray = NDArray[np.float64]


def kernels(slots_per_day: int) -> FloatArray:
    """Return the matrix of each kernel, the flat one last; every column sums to 1. [kernels × slots × slots]"""
    slot = np.arange(slots_per_day)
    around = np.abs(slot[:, None] - slot)
    apart = np.minimum(around, slots_per_day - around)
    triangles = [np.maximum(0.0, 1 - apart / (hours * slots_per_day / 24 + 1)) for hours in HOURS]
    stacked: FloatArray = np.stack([*triangles, np.ones(apart.shape)])
    stacked /= stacked.sum(axis=1, keepdims=True)
    return stacked


def smoothed(day_wh: FloatArray, kernel: NDArray[np.int64]) -> FloatArray:
    """Return each day smoothed by its kernel; its energy stays. [Wh, days × slots]"""
    done = day_wh.copy()
    for place, matrix in enumerate(kernels(day_wh.shape[1])):
        if place > 0:
            mine = kernel == place
            done[mine] = day_wh[mine] @ matrix
    return done


def kernel_of_meters(
    context: Context, meters: NDArray[np.int64], usable: BoolArray, level: FloatArray, nearness: FloatArray
) -> NDArray[np.int64]:
    """Return which kernel would have served the complete days of each meter best. [meters asked for]

    Parameters
    ----------
    meters
        Which to look at.
    usable, level
        As E2 has them: days that may be models; what the registers counted per day, or unknown. [meters × days; Wh]
    nearness
        Weight of a model by how many days it is away, 0 and up. [days]
    """
    per_day, days = context.intervals.slots_per_day, context.intervals.days
    profiles = context.intervals.energy_wh.reshape(context.intervals.meters, days, per_day)
    day = np.arange(days)
    apart = np.abs(day[:, None] - day)
    near = np.where(apart < nearness.size, nearness[apart.clip(max=nearness.size - 1)], 0.0)
    near[(apart == 0) | (context.day_type[:, None] != context.day_type)] = 0.0
    stacked = kernels(per_day)
    best = np.zeros(meters.size, dtype=np.int64)
    step = max(1, VALUES_AT_ONCE // (days * max(days, per_day)))
    for begin in range(0, meters.size, step):
        some = meters[begin : begin + step]
        best[begin : begin + step] = _best(profiles[some].astype(np.float64), usable[some], level[some], near, stacked)
    return best


def _best(
    values: FloatArray, usable: BoolArray, level: FloatArray, near: FloatArray, stacked: FloatArray
) -> NDArray[np.int64]:
    """Return the kernel of least error. ``values`` [meters × days × slots], ``near`` [days × days]"""
    may = near * usable[:, None, :]
    models = usable.astype(np.float64) @ (near > 0).astype(np.float64)  # which are symmetric
    enough = usable & (models >= MODELS_LEAST)
    energy = values.sum(axis=2)
    may *= likeness(energy[:, None, :], np.where(level == UNKNOWN_WH, UNKNOWN_WH, energy)[:, :, None])
    guess = may @ values
    whole = guess.sum(axis=2, keepdims=True)
    guess *= np.where((whole > 0) & enough[:, :, None], energy[:, :, None] / np.where(whole > 0, whole, 1.0), 0.0)
    values = np.where(enough[:, :, None], values, 0.0)
    error = np.empty((len(stacked), values.shape[0]))
    for place, kernel in enumerate(stacked):
        smooth = guess.copy() if place == 0 else guess @ kernel
        smooth -= values
        error[place] = np.abs(smooth, out=smooth).sum(axis=(1, 2))
    error[0] *= 1 - BETTER_LEAST
    chosen: NDArray[np.int64] = error.argmin(axis=0)
    return chosen


def likeness(energy: FloatArray, own: FloatArray) -> FloatArray:
    """Return how like days' energies are to what a day took, 1 where nobody knows that (``UNKNOWN_WH``).

    The two broadcast against each other; :math:`\\max\\{(\\min / \\max)^2, 1/100\\}`.
    """
    ratio: FloatArray = np.maximum(own, 1.0) / np.maximum(energy, 1.0)
    np.minimum(ratio, 1 / ratio, out=ratio)
    ratio *= ratio
    np.maximum(ratio, UNLIKE_LEVEL_WEIGHT, out=ratio)
    np.copyto(ratio, 1.0, where=own == UNKNOWN_WH)
    return ratio
