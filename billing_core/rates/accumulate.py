"""From intervals of load and generation to sums by month and period, for many customers at once.

A year of half hours is 17,520 numbers a customer, so this is where the time goes. Intervals are rows and customers
columns: an operation then runs along customers, many at a time, and a window of consecutive intervals of one month and
period is one call. Windows are a few rows, so that what is worked on stays in the processor's cache.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array

MONTHS = 12
INTERVAL_WH_MAX = 10**9  # 1 GWh in an interval, in 64 bits; in 32 bits what a month's intervals can sum to
COLUMNS_AT_A_TIME = 8192
_SUMS: dict[Any, tuple[Any, Any]] = {
    np.dtype(np.int16): (np.uint16, np.uint32),
    np.dtype(np.int32): (np.uint32, np.uint32),
    np.dtype(np.int64): (np.uint64, np.uint64),
}
"""In which type the intervals of a window are summed, and in which those of a month."""
WINDOW_MINUTES_MAX = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Which month and period each interval of a year is in. [T]; months and periods count from 0"""

    month: NDArray[np.int8]
    period: NDArray[np.int8]
    periods: int
    minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Energy by month and period, and highest power. [Wh, W; 12 × P × n]

    ``imported`` and ``exported`` are what flowed in and out interval by interval; ``load`` less ``generation`` is the
    same difference. ``peak_w`` and ``load_peak_w`` are the highest import and load of an interval.
    """

    imported: Int64Array
    exported: Int64Array
    load: Int64Array
    generation: Int64Array
    peak_w: Int64Array
    load_peak_w: Int64Array


def calendar_of(
    moment: NDArray[np.datetime64], weekday: NDArray[np.integer], weekend: NDArray[np.integer], minutes: int
) -> Calendar:
    """Return the calendar of the intervals that begin at ``moment``.

    Parameters
    ----------
    moment
        Local civil time. [datetime64, T]
    weekday, weekend
        Periods from 0 on, Monday to Friday and Saturday to Sunday. [12 months × 24 hours]
    """
    day = moment.astype("datetime64[D]")
    month = day.astype("datetime64[M]").astype(np.int64) % MONTHS
    hour = moment.astype("datetime64[h]").astype(np.int64) % 24
    rests = (day.astype(np.int64) + 3) % 7 >= 5  # 1 January 1970 was a Thursday
    period = np.where(rests, weekend[month, hour], weekday[month, hour])
    periods = int(max(weekday.max(), weekend.max())) + 1
    return Calendar(month=month.astype(np.int8), period=period.astype(np.int8), periods=periods, minutes=minutes)


def accumulate(
    calendar: Calendar,
    load_wh: NDArray[np.signedinteger],
    generation_wh: NDArray[np.signedinteger],
    *,
    peaks: bool = True,
) -> Sums:
    r"""Return the sums of n customers.

    With :math:`m_t = \max(l_t, g_t)` what is the larger in each interval,

    .. math:: \sum_t \max(l_t - g_t, 0) = \sum_t m_t - \sum_t g_t,\quad
              \sum_t \max(g_t - l_t, 0) = \sum_t m_t - \sum_t l_t

    and the differences themselves are needed for peaks only.

    Parameters
    ----------
    load_wh, generation_wh
        [Wh, T × n]; not negative. int16 (up to 32 kWh) is fastest, int32 takes what sums to 4 GWh a month, int64 more.
    peaks
        Whether peaks are wanted; else they are 0.

    Raises
    ------
    ValueError
        If shapes differ, or an interval is negative or too large.
    """
    intervals, n = load_wh.shape
    if generation_wh.shape != load_wh.shape or intervals != calendar.month.shape[0]:
        raise ValueError(f"found {load_wh.shape} and {generation_wh.shape}, expected {calendar.month.shape[0]} × n")
    if load_wh.dtype != generation_wh.dtype or load_wh.dtype not in _SUMS:
        raise ValueError(f"found {load_wh.dtype} and {generation_wh.dtype}, expected int16, int32 or int64 in both")
    narrow, wide = _SUMS[load_wh.dtype]
    # Seen without its sign a negative interval is a huge one, so the upper bound refuses both.
    load, generation = load_wh.view(narrow), generation_wh.view(narrow)
    most = min(int(np.iinfo(load_wh.dtype.type).max), INTERVAL_WH_MAX)
    most = min(most, _most(wide) // int(np.bincount(calendar.month).max()))
    either, used, made, peak, load_peak = (np.zeros((MONTHS, calendar.periods, n), dtype=wide) for _ in range(5))
    windows = _windows(calendar)
    rows_max = max((end - begin for _, _, begin, end in windows), default=0)
    for first in range(0, n, COLUMNS_AT_A_TIME):
        columns = slice(first, min(first + COLUMNS_AT_A_TIME, n))
        buffer = np.empty((rows_max, columns.stop - columns.start), dtype=narrow)
        for month, period, begin, end in windows:
            loads, generations, more = load[begin:end, columns], generation[begin:end, columns], buffer[: end - begin]
            np.maximum(loads, generations, out=more)
            highest = int(np.maximum.reduce(more, axis=0).max())
            if highest > most:
                raise ValueError(f"found an interval below 0 or above {most} Wh; correct it, or give a wider type")
            kind = narrow if highest * (end - begin) <= _most(narrow) else wide
            for sums, part in ((either, more), (used, loads), (made, generations)):
                total = sums[month, period, columns]
                np.add(total, np.add.reduce(part, axis=0, dtype=kind), out=total)
            if peaks:
                np.subtract(more, generations, out=more)
                for tops, part in ((peak, more), (load_peak, loads)):
                    top = tops[month, period, columns]
                    np.maximum(top, np.maximum.reduce(part, axis=0), out=top)
    higher, load_sum, generation_sum = (column.astype(np.int64) for column in (either, used, made))
    return Sums(
        imported=higher - generation_sum,
        exported=higher - load_sum,
        load=load_sum,
        generation=generation_sum,
        peak_w=peak.astype(np.int64) * 60 // calendar.minutes,
        load_peak_w=load_peak.astype(np.int64) * 60 // calendar.minutes,
    )


def _most(kind: Any) -> int:
    return int(np.iinfo(kind).max)


def _windows(calendar: Calendar) -> list[tuple[int, int, int, int]]:
    """Return stretches of intervals of one month and period, of half a day at most: month, period, begin, end."""
    place = calendar.month.astype(np.int64) * calendar.periods + calendar.period
    rows = WINDOW_MINUTES_MAX // calendar.minutes
    edges = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), place.shape[0]]
    return [
        (int(calendar.month[begin]), int(calendar.period[begin]), first, min(first + rows, end))
        for begin, end in pairwise(edges)
        for first in range(begin, end, rows)
    ]
