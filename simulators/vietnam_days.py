"""Half-hours and days in Vietnam: which day it is, which rate runs, how far Tết is.

A slot is half an hour of UTC, numbered from 1970. Vietnam's civil time has been UTC+7 without summer time since 1975
(IANA time zone database, Asia/Ho_Chi_Minh), so local slots are the same slots, shifted by 14.
"""

from datetime import date

import numpy as np

from simulators.chance import Int64Array

SLOT_MS = 1_800_000
SLOTS_PER_DAY = 48
DAY_MS = SLOT_MS * SLOTS_PER_DAY
LOCAL_SLOTS = 14  # UTC+7
LOCAL_MS = LOCAL_SLOTS * SLOT_MS

NORMAL, PEAK, OFF_PEAK = 0, 1, 2  # BT, CĐ, TĐ: the rate registers E = 1, 2, 3

# The first day of the lunar year in Vietnam's calendar (new moons at UTC+7). Source: the astronomical rules in Hồ Ngọc
# Đức, "Computing the Vietnamese lunar calendar"; a test computes the new moons again. In 2030 it is one day before
# China's.
TET = (
    date(2020, 1, 25), date(2021, 2, 12), date(2022, 2, 1), date(2023, 1, 22), date(2024, 2, 10), date(2025, 1, 29),
    date(2026, 2, 17), date(2027, 2, 6), date(2028, 1, 26), date(2029, 2, 13), date(2030, 2, 2), date(2031, 1, 23),
    date(2032, 2, 11), date(2033, 1, 31), date(2034, 2, 19), date(2035, 2, 8), date(2036, 1, 28), date(2037, 2, 15),
    date(2038, 2, 4), date(2039, 1, 24), date(2040, 2, 12),
)  # fmt: skip

_EPOCH = date(1970, 1, 1)
_TET_DAYS = np.array([(day - _EPOCH).days for day in TET], dtype=np.int64)


def _hours(*windows: tuple[float, float]) -> list[bool]:
    return [any(start <= slot / 2 < end for start, end in windows) for slot in range(SLOTS_PER_DAY)]


# Circular 16/2014/TT-BCT, article 5: off-peak 22:00–04:00 every day; peak 09:30–11:30 and 17:00–20:00, not on Sundays.
# Circular 60/2025/TT-BCT keeps these hours until each meter has been programmed anew; these meters have not been.
_OFF_PEAK = np.array(_hours((0, 4), (22, 24)))
_PEAK = np.array(_hours((9.5, 11.5), (17, 20)))


def local_midnight_ms(day: date) -> int:
    """Return when ``day`` begins in Vietnam, in milliseconds since 1970 UTC."""
    return (day - _EPOCH).days * DAY_MS - LOCAL_MS


def local_date(at_ms: int) -> date:
    """Return the date in Vietnam at a time."""
    return date.fromordinal(_EPOCH.toordinal() + (at_ms + LOCAL_MS) // DAY_MS)


def local_days(slots: Int64Array) -> Int64Array:
    """Return the number of the local day of each slot, counted from 1970-01-01."""
    return (slots + LOCAL_SLOTS) // SLOTS_PER_DAY


def local_slots_of_day(slots: Int64Array) -> Int64Array:
    """Return which half-hour of the local day each slot is, 0 to 47."""
    return (slots + LOCAL_SLOTS) % SLOTS_PER_DAY


def weekdays(days: Int64Array) -> Int64Array:
    """Return the weekday of each local day, Monday 0 to Sunday 6."""
    return (days + 3) % 7  # 1970-01-01 was a Thursday


def months(days: Int64Array) -> Int64Array:
    """Return the month of each local day, January 0 to December 11."""
    month: Int64Array = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    return month


def days_of_year(days: Int64Array) -> Int64Array:
    """Return the day of the year of each local day, from 1."""
    dates = days.astype("datetime64[D]")
    new_year = dates.astype("datetime64[Y]").astype("datetime64[D]")
    return days - new_year.astype(np.int64) + 1


def days_from_tet(days: Int64Array) -> Int64Array:
    """Return how many days each day is after the nearest known first day of Tết (negative: before)."""
    after = np.searchsorted(_TET_DAYS, days).clip(1, len(_TET_DAYS) - 1)
    since, until = days - _TET_DAYS[after - 1], days - _TET_DAYS[after]
    nearest: Int64Array = np.where(np.abs(since) < np.abs(until), since, until)
    return nearest


def rates(slots: Int64Array) -> Int64Array:
    """Return the rate that runs in each slot: :data:`NORMAL`, :data:`PEAK` or :data:`OFF_PEAK`.

    Every window begins and ends on a half-hour, so each slot has one rate.
    """
    of_day = local_slots_of_day(slots)
    sunday = weekdays(local_days(slots)) == 6
    return np.where(_OFF_PEAK[of_day], OFF_PEAK, np.where(_PEAK[of_day] & ~sunday, PEAK, NORMAL))
