"""What of a day's energy is believed when a balance needs a figure for every meter: :func:`believed_daily`.

Behind a transformer some meter is always wrong somehow. So that its gap or spike does not look like a neighbour's
theft, a day that failed counts with the figure, of its intervals or of its registers, that is nearer to what the meter
usually takes, and with the usual one where both are far from it. It serves comparisons only and becomes nobody's
reading.
"""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray
from billing_core.validation.sum_check import SumCheck

WEEK = 7
AROUND = 2  # days before and after
FAR_TIMES = 3  # from the usual day in either direction


def believed_daily(scan: DayScan, sums: SumCheck, failed: BoolArray) -> Int64Array:
    """Return a figure for each day. [Wh; meters × days]

    Parameters
    ----------
    failed
        Days on which a rule failed the readings. [meters × days]
    """
    total, whole = scan.total, scan.missing == 0
    usual = np.empty_like(total)
    for weekday in range(min(WEEK, total.shape[1])):
        usual[:, weekday::WEEK] = _median_where(
            total[:, weekday::WEEK], whole[:, weekday::WEEK] & ~failed[:, weekday::WEEK]
        )
    of_register = sums.register_wh // np.maximum(sums.window_days, 1)
    counted = (sums.window_days > 0) & ~sums.fell
    nearer = counted & (~whole | (np.abs(of_register - usual) < np.abs(total - usual)))
    by_register = nearer & (sums.failed | ~whole)
    chosen = np.where(by_register, of_register, total)
    far = _far(chosen, usual) & ~(by_register & ~_far(chosen, _lately(of_register, counted)))
    far |= ~whole & ~counted
    return np.where((failed & far) | (~whole & ~counted), usual, chosen)


def _far(figure: Int64Array, usual: Int64Array) -> BoolArray:
    return (figure > FAR_TIMES * usual) | (figure * FAR_TIMES < usual)


def _lately(of_register: Int64Array, counted: BoolArray) -> Int64Array:
    """Return the median of the registers' days around each day, 0 where one is not known.

    A register that was misread is wrong on two days; where it says the same for longer, the owner has other days now.
    """
    around = np.pad(np.where(counted, of_register, 0), ((0, 0), (AROUND, AROUND)))
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * AROUND + 1, axis=1)
    median: Int64Array = np.sort(windows, axis=2)[:, :, AROUND]
    return median


def _median_where(values: Int64Array, right: BoolArray) -> Int64Array:
    """Return the median of the right values, of all where none is. [rows × 1]"""
    some = right.any(axis=1, keepdims=True)
    ordered = np.sort(np.where(right | ~some, values, np.iinfo(np.int64).max), axis=1)
    count = np.where(some, right.sum(axis=1, keepdims=True), values.shape[1])
    return np.take_along_axis(ordered, (count - 1) // 2, 1)
