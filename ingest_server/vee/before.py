"""What was usual before the month: the days' peak, and the range of each hour of the week. No database, no clock."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from billing_core.validation import screening
from billing_core.validation.day_scan import WeeklyBand
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals
from ingest_server.vee.gather import DAYS_BEFORE, Profile

PEAK_DAYS = 14  # before the month, whose peaks are usual
BAND_DAYS_LEAST = 25  # of the four weeks: every hour of the week three times at least, nearly all four times
UNBOUNDED_WH = 2**62


def history_peak(intervals: Intervals) -> NDArray[np.int64]:
    """Return the median peak of the complete days before the month; 0 where they are too few. [Wh, rows]"""
    days = slice((DAYS_BEFORE - PEAK_DAYS) * intervals.slots_per_day, DAYS_BEFORE * intervals.slots_per_day)
    shape = (intervals.meters, PEAK_DAYS, intervals.slots_per_day)
    complete = ~intervals.missing[:, days].reshape(shape).any(axis=2)
    peak = np.where(complete, intervals.energy_wh[:, days].reshape(shape).max(axis=2), -1)
    ordered, count = np.sort(peak, axis=1), complete.sum(axis=1)
    middle = ordered[np.arange(len(ordered)), PEAK_DAYS - (count + 1) // 2 - (count == 0)]
    return np.where(count * 2 >= PEAK_DAYS, middle, 0)


def usual_week(profile: Profile, intervals: Intervals, parameters: Columns) -> WeeklyBand:
    """Return the band of each hour of the week in the four weeks before the month; none where days of them lack."""
    slots = DAYS_BEFORE * intervals.slots_per_day
    history = replace(intervals, energy_wh=intervals.energy_wh[:, :slots], missing=intervals.missing[:, :slots])
    weekday = profile.first_on.weekday()
    band = screening.weekly_band(history, weekday, weekday, parameters)
    complete = ~history.missing.reshape(intervals.meters, DAYS_BEFORE, -1).any(axis=2)
    known = (complete.sum(axis=1) >= BAND_DAYS_LEAST)[:, None]
    return WeeklyBand(np.where(known, band.low, -UNBOUNDED_WH), np.where(known, band.high, UNBOUNDED_WH), weekday)
