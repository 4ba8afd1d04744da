"""What of a day's energy is believed when a balance needs a figure for every meter.

Behind a transformer some meter is always wrong somehow. So that its gap or spike does not look like a neighbour's
theft, a day that failed counts with the figure, of its intervals or of its registers, that is nearer to what the meter
usually takes, and with the usual one where both are far from it. It serves comparisons only and becomes nobody's
reading.

Where intervals and registers are known apart, :func:`believed_daily` weighs them; :func:`believed_of_registers` does
the same with registers alone. Both are :func:`believed_days`.
"""

from typing import NamedTuple

import numpy as np

from billing_core.rounding import ENERGY_WH_MAX, Int64Array
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray
from billing_core.validation.sum_check import ROLLOVER_TENTHS, SumCheck, windows

WEEK = 7
AROUND = 2  # days before and after
FAR_TIMES = 3  # from the usual day in either direction


class DayFigures(NamedTuple):
    """What is known of each day's energy. [Wh; meters × days]

    ``total_wh`` was counted on the day itself, all of it where ``whole``. ``share_wh`` is the day's share of what the
    registers around it counted, where there are such (``counted``). ``denied`` says that the two contradict each other.
    """

    total_wh: Int64Array
    whole: BoolArray
    share_wh: Int64Array
    counted: BoolArray
    denied: BoolArray


def believed_daily(scan: DayScan, sums: SumCheck, failed: BoolArray) -> Int64Array:
    """Return a figure for each day. [Wh; meters × days]

    Parameters
    ----------
    failed
        Days on which a rule failed the readings. [meters × days]
    """
    share_wh = sums.register_wh // np.maximum(sums.window_days, 1)
    counted = (sums.window_days > 0) & (share_wh >= 0)
    return believed_days(DayFigures(scan.total, scan.missing == 0, share_wh, counted, sums.failed), failed)


def believed_of_registers(
    index_wh: Int64Array, read: BoolArray, range_wh: Int64Array, failed: BoolArray
) -> tuple[Int64Array, BoolArray]:
    """Return a figure for each day from registers alone, and which meters there is one for.

    Days without midnights between them share what the register counted over them as their weekdays usually do. Energy
    is before the multiplier. [Wh; meters × days], [meters]

    Parameters
    ----------
    index_wh, read
        What each register showed at midnights, and where it was read and is not doubted. [Wh; meters × (days + 1)]
    range_wh
        Where each register starts again at zero, 0 if that is not known. [Wh, meters]
    failed
        Days on which a rule failed the readings. [meters × days]
    """
    days = failed.shape[1]
    first, last = windows(read)
    counted: BoolArray = (first >= 0) & (last <= days)
    rows = np.arange(len(index_wh))[:, None]
    begin, end = first.clip(0), last.clip(0, days)
    register_wh = _counted(index_wh[rows, begin], index_wh[rows, end], range_wh[:, None])
    counted &= (register_wh >= 0) & (register_wh <= ENERGY_WH_MAX)
    whole = counted & (end - begin == 1)
    total_wh = np.where(whole, register_wh, 0)
    mean = np.where(counted, register_wh // np.maximum(end - begin, 1), 0)
    usual = _usual_days(np.where(whole, total_wh, mean), [whole & ~failed, counted]) + 1  # where all is zero: alike
    so_far = np.concatenate([np.zeros((len(usual), 1), dtype=np.int64), np.cumsum(usual, axis=1)], axis=1)
    part = usual / np.maximum(so_far[rows, end] - so_far[rows, begin], 1)
    share_wh = np.where(whole, register_wh, np.floor(np.where(counted, register_wh, 0) * part).astype(np.int64))
    nothing_denied = np.zeros(whole.shape, dtype=np.bool_)
    figures = DayFigures(total_wh, whole, share_wh, counted, nothing_denied)
    return believed_days(figures, failed), np.asarray(counted.any(axis=1))


def believed_days(figures: DayFigures, failed: BoolArray) -> Int64Array:
    """Return the figure of each day that is believed. [Wh; meters × days]

    A day counts with its own total, or with its share of the registers' energy where the day is not whole or denied and
    the share is nearer to what the meter usually takes. Where the day failed and the figure is far from what is usual,
    or there is none, the usual day of that weekday counts; but not where registers deny the intervals for days in a
    row: one that was misread is wrong on two, and holidays last.
    """
    total, whole, share, counted, denied = figures
    usual = _usual_days(np.where(whole | ~counted, total, share), [whole & ~failed, whole | counted])
    nearer = counted & (~whole | (np.abs(share - usual) < np.abs(total - usual)))
    chosen = np.where(nearer & (denied | ~whole), share, total)
    lasting = nearer & denied & ~_far(chosen, _lately(share, counted))
    far = _far(chosen, usual) & ~lasting
    return np.where((failed & far) | (~whole & ~counted), usual, chosen)


def _far(figure: Int64Array, usual: Int64Array) -> BoolArray:
    return (figure > FAR_TIMES * usual) | (figure * FAR_TIMES < usual)


def _lately(share: Int64Array, counted: BoolArray) -> Int64Array:
    """Return the median of the registers' days around each day, 0 where a day is not known. [Wh]"""
    around = np.pad(np.where(counted, share, 0), ((0, 0), (AROUND, AROUND)))
    median: Int64Array = np.sort(np.lib.stride_tricks.sliding_window_view(around, 2 * AROUND + 1, axis=1), axis=2)
    return median[:, :, AROUND]


def _counted(old: Int64Array, new: Int64Array, whole: Int64Array) -> Int64Array:
    """Return new − old, through zero where the register was in the last tenth of its range. [Wh]"""
    rolled = (new < old) & (whole > 0) & (old * 10 > whole * ROLLOVER_TENTHS)
    return new - old + np.where(rolled, whole, 0)


def _usual_days(figure: Int64Array, sound: list[BoolArray]) -> Int64Array:
    """Return each meter's median of the same weekday, of all days where none of that weekday is sound. [Wh]

    ``sound`` says which figures may be leant on: the first of them that has any of a meter, else all.
    """
    right = np.ones(figure.shape, dtype=np.bool_)
    for each in reversed(sound):
        right = np.where(each.any(axis=1, keepdims=True), each, right)
    usual = np.empty_like(figure)
    overall = _median_where(figure, right)
    for weekday in range(min(WEEK, figure.shape[1])):
        days = (slice(None), slice(weekday, None, WEEK))
        some = right[days].any(axis=1, keepdims=True)
        usual[days] = np.where(some, _median_where(figure[days], right[days]), overall)
    return usual


def _median_where(values: Int64Array, right: BoolArray) -> Int64Array:
    """Return the median of the right values, 0 where none is. [rows × 1]"""
    count = right.sum(axis=1, keepdims=True)
    ordered = np.sort(np.where(right, values, np.iinfo(np.int64).max), axis=1)
    middle = np.take_along_axis(ordered, ((count - 1) // 2).clip(0), 1)
    return np.where(count > 0, middle, 0)
