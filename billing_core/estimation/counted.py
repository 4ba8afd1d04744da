"""What registers counted: between those around a day, and so what a day took although its intervals are missing."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.sum_check import ROLLOVER_TENTHS, windows

UNKNOWN_WH = -1.0


class Counted(NamedTuple):
    """The window of each day, from one register that was read to the next. [meters × days]

    ``begin`` and ``end`` are the places of its registers, ``known`` says that there are both, and ``energy_wh`` is what
    they counted, the multiplier applied; negative where a register fell. [Wh]
    """

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    known: BoolArray
    energy_wh: Int64Array


def counted_around(context: Context) -> Counted:
    """Return what the registers around each day counted."""
    registers, days = context.registers, context.intervals.days
    first, last = windows(registers.actual)
    known = (first >= 0) & (last <= days)
    rows = np.arange(context.intervals.meters)[:, None]
    begin, end = first.clip(0), last.clip(0, days)
    old, whole = registers.index_wh[rows, begin], registers.range_wh()[:, None]
    delta = registers.index_wh[rows, end] - old
    rolled = (delta < 0) & (whole > 0) & (old * 10 > whole * ROLLOVER_TENTHS)
    energy = (delta + np.where(rolled, whole, 0)) * registers.multiplier[:, None]
    return Counted(begin, end, np.asarray(known), energy)


def daily_level_wh(context: Context) -> NDArray[np.float64]:
    """Return the mean day of each day's window by the registers, ``UNKNOWN_WH`` where they do not tell. [Wh]"""
    counted = counted_around(context)
    days = np.maximum(counted.end - counted.begin, 1)
    tells: BoolArray = counted.known & (counted.energy_wh >= 0)
    return np.where(tells, counted.energy_wh / days, UNKNOWN_WH)
