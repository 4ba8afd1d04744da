"""Which of the three rates runs when.

A meter with three rates does this itself; here it is needed to check a meter against its intervals, and to split energy
that was measured by interval only. Holidays are like any other day, because the rules do not mention them.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import RATES, Register
from billing_core.tariff import TimeOfUse

MINUTES_PER_DAY = 1440
FIRST_MONDAY = np.datetime64("1970-01-05T00:00", "m")
NORMAL, PEAK, OFF_PEAK = (RATES.index(rate) for rate in (Register.BT, Register.CD, Register.TD))


def rate_at(schedule: TimeOfUse, local_at: NDArray[np.datetime64]) -> NDArray[np.int8]:
    """Return the rate that runs in each minute, as its place in :data:`billing_core.codes.RATES`.

    Parameters
    ----------
    local_at
        Local civil time (UTC+7 in Vietnam); a part of a minute is dropped. [datetime64, n]
    """
    minutes = (local_at.astype("datetime64[m]") - FIRST_MONDAY).astype(np.int64)
    of_day = minutes % MINUTES_PER_DAY
    sunday = minutes // MINUTES_PER_DAY % 7 == 6
    rate = np.full(local_at.shape, NORMAL, dtype=np.int8)
    for window in schedule.peak:
        rate[_within(of_day, window) & (schedule.sunday_peak | ~sunday)] = PEAK
    for window in schedule.off_peak:
        rate[_within(of_day, window)] = OFF_PEAK
    return rate


def _within(of_day: NDArray[np.int64], window: tuple[int, int]) -> NDArray[np.bool_]:
    """Return whether a minute is in ``window``, whose end is not in it and may be past midnight."""
    start, end = window
    length = (end - start) % MINUTES_PER_DAY
    within: NDArray[np.bool_] = (of_day - start) % MINUTES_PER_DAY < length
    return within
