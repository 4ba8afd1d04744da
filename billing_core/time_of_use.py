"""Which of the three rates runs when, to the minute.

A meter with three rates does this itself; here it is needed to check a meter against its intervals, and to split energy
that was measured by interval only. A meter keeps the schedule it was programmed with until it is programmed again, so
the schedule in force is a fact of the meter and its date (:class:`Programme`), not of the law alone. Vietnam's rules do
not mention holidays, so its schedules treat them like any other day; a schedule may say that they are like Sundays.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import RATES, Register
from billing_core.rounding import Int64Array
from billing_core.tariff import TimeOfUse

MINUTES_PER_DAY = 1440
FIRST_MONDAY = np.datetime64("1970-01-05T00:00", "m")
NORMAL, PEAK, OFF_PEAK = (RATES.index(rate) for rate in (Register.BT, Register.CD, Register.TD))
LOCAL_OFFSET_MINUTES = 7 * 60  # Vietnam keeps UTC+7 the whole year


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """The schedules a meter was programmed with, one after the other.

    Parameters
    ----------
    changes
        From which instant (UTC, to the minute) which schedule runs, in order; before the first, the first one runs.
    """

    changes: tuple[tuple[np.datetime64, TimeOfUse], ...]


def rate_at(schedule: TimeOfUse, local_at: NDArray[np.datetime64], holidays: Collection[date] = ()) -> NDArray[np.int8]:
    """Return the rate that runs in each minute, as its place in :data:`billing_core.codes.RATES`.

    Parameters
    ----------
    local_at
        Local civil time (UTC+7 in Vietnam); a part of a minute is dropped. [datetime64, n]
    holidays
        Public holidays, for a schedule that treats them like Sundays.
    """
    minutes = (local_at.astype("datetime64[m]") - FIRST_MONDAY).astype(np.int64)
    of_day = minutes % MINUTES_PER_DAY
    rest = minutes // MINUTES_PER_DAY % 7 == 6
    if schedule.holidays_as_sunday and holidays:
        rest |= np.isin(local_at.astype("datetime64[D]"), np.array(sorted(holidays), dtype="datetime64[D]"))
    rate = np.full(local_at.shape, NORMAL, dtype=np.int8)
    for window in schedule.peak:
        rate[_within(of_day, window) & (schedule.sunday_peak | ~rest)] = PEAK
    for window in schedule.off_peak:
        rate[_within(of_day, window)] = OFF_PEAK
    return rate


def minutes_by_rate(
    programme: Programme, start_at: NDArray[np.datetime64], minutes: int, holidays: Collection[date] = ()
) -> Int64Array:
    """Return how many minutes of each interval run at each rate. [minutes, T × 3]

    Parameters
    ----------
    start_at
        When each interval begins, UTC. [datetime64, T]
    minutes
        How long each is.
    """
    steps = np.arange(minutes).astype("timedelta64[m]")
    each: NDArray[np.datetime64] = start_at.astype("datetime64[m]")[:, np.newaxis] + steps
    local: NDArray[np.datetime64] = each + np.timedelta64(LOCAL_OFFSET_MINUTES, "m")
    rate = rate_at(programme.changes[0][1], local, holidays)
    for since_at, schedule in programme.changes[1:]:
        rate = np.where(each >= since_at.astype("datetime64[m]"), rate_at(schedule, local, holidays), rate)
    return np.stack([(rate == place).sum(axis=1) for place in range(len(RATES))], axis=1)


def _within(of_day: NDArray[np.int64], window: tuple[int, int]) -> NDArray[np.bool_]:
    """Return whether a minute is in ``window``, whose end is not in it and may be past midnight."""
    start, end = window
    length = (end - start) % MINUTES_PER_DAY
    within: NDArray[np.bool_] = (of_day - start) % MINUTES_PER_DAY < length
    return within
