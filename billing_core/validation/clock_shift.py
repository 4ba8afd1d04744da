r"""A clock that is wrong although nobody said so: V14.

A meter whose clock is off by hours has the right energy at the wrong times. Its days keep their shape, but moved. So
each week's mean day is laid over the mean day of the window's first week at every lag of whole hours; a clock is
suspected where another lag than none fits much better:

.. math:: 1 - r(0) > q (1 - r(l)), \quad r(l) \ge r_{min}

with r the correlation. Only lags that last for several windows count, and an hour counts at most twice its usual
energy, lest one party move the week. A household that goes on night shift looks the same, so what is found is to be
asked, not believed. The mean day is taken by hours, which makes the search 24 × 24.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.finding import Finding, found
from billing_core.validation.series import Intervals

WEEK = 7
FIT_LEAST = 0.9  # r_min: a day that has a shape
GAIN_LEAST = 4.5  # q
MISFIT_LEAST = 0.1  # 1 − r(0): what noise makes of a week's mean day
WINDOWS_LEAST = 4  # windows in a row with one lag
ENERGY_TIMES = 1.5  # a week with much more or less energy than the first is another life, not another clock
USUAL_TIMES = 2.0  # what an hour may count, against the same hour's mean
BLOCK_METERS = 512
HOURS = 24


def v14_clock_shift(intervals: Intervals) -> Finding:
    """Find weeks whose mean day is the first week's, moved by hours.

    Returns
    -------
    Finding
        Per day, on each day of the suspected weeks but the first. Evidence: ``lag_h``, by how many hours the days are
        late (negative: early), and the two correlations in thousandths.
    """
    shape = (intervals.meters, intervals.days)
    lag, moved, unmoved = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    if intervals.days > WEEK:
        for begin in range(0, intervals.meters, BLOCK_METERS):
            block = slice(begin, begin + BLOCK_METERS)
            lag[block], moved[block], unmoved[block] = _lags(intervals, block)
    return found("V14", lag != 0, lag_h=lag, fit_moved_permille=moved, fit_unmoved_permille=unmoved)


def _lags(intervals: Intervals, block: slice) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    days, energy = _mean_weeks(intervals, block)
    reference = days[:, 0]
    turns = (np.arange(HOURS)[:, None] - np.arange(HOURS)) % HOURS  # row l: the reference, l hours late
    circles = reference[:, turns.T]  # [meters, lag, hour]
    fit = np.matmul(days, circles.transpose(0, 2, 1))  # [meters, windows, lag]
    best = fit.argmax(axis=2)
    most = np.take_along_axis(fit, best[:, :, None], 2)[:, :, 0]
    none = fit[:, :, 0]
    sure = (most >= FIT_LEAST) & (1 - none > GAIN_LEAST * (1 - most)) & (1 - none > MISFIT_LEAST) & (best != 0)
    sure &= (energy <= ENERGY_TIMES * energy[:, :1]) & (energy[:, :1] <= ENERGY_TIMES * energy)
    signed = np.where(best > HOURS // 2, best - HOURS, best)
    kept = _lasting(np.where(sure, signed, 0))
    return _at_days(signed, kept), _at_days(most * 1000, kept), _at_days(none * 1000, kept)


def _mean_weeks(intervals: Intervals, block: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean day of each seven days in a row, without its mean and of length 1, and their energy.

    [meters × windows × hours; meters × windows]
    """
    energy, missing = intervals.energy_wh[block], intervals.missing[block]
    shape = (energy.shape[0], intervals.days, HOURS, -1)
    if missing.any():
        here = (~missing).reshape(shape)
        count = here.sum(axis=3)
        hourly = np.where(here, energy.reshape(shape), 0).sum(axis=3) / np.maximum(count, 1)
        usual = hourly.sum(axis=1, keepdims=True) / np.maximum((count > 0).sum(axis=1, keepdims=True), 1)
        hourly = np.where(count > 0, hourly, usual).astype(np.float32)
    else:
        halves = energy.astype(np.float32).reshape(shape)
        hourly = halves[..., 0].copy()
        for part in range(1, halves.shape[3]):
            hourly += halves[..., part]
    np.minimum(hourly, USUAL_TIMES * hourly.mean(axis=1, keepdims=True), out=hourly)
    sums = np.zeros((energy.shape[0], intervals.days + 1, HOURS), dtype=np.float64)
    np.cumsum(hourly, axis=1, out=sums[:, 1:])
    weeks = (sums[:, WEEK:] - sums[:, :-WEEK]).astype(np.float32)
    mean = weeks.mean(axis=2)
    weeks -= mean[:, :, None]
    length = np.sqrt(np.einsum("mwh,mwh->mw", weeks, weeks))
    return weeks / np.maximum(length, 1)[:, :, None], mean


def _lasting(lags: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the windows that belong to a row of at least ``WINDOWS_LEAST`` with one lag that is not 0."""
    kept = np.zeros(lags.shape, dtype=np.bool_)
    windows = lags.shape[1]
    for begin in range(windows - WINDOWS_LEAST + 1):
        part = lags[:, begin : begin + WINDOWS_LEAST]
        same = (part == part[:, :1]).all(axis=1) & (part[:, 0] != 0)
        kept[:, begin : begin + WINDOWS_LEAST] |= same[:, None]
    return kept


def _at_days(column: NDArray[np.generic], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Write each window's value at its last day, 0 where it is not kept."""
    values = np.zeros((column.shape[0], column.shape[1] + WEEK - 1), dtype=np.int64)
    values[:, WEEK - 1 :] = np.where(kept, column, 0)
    return values
