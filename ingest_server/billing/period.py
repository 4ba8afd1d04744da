"""Billing periods: civil months of Vietnam, as half-open spans of UTC.

Bills speak of civil days, both ends inclusive; readings are in UTC. The one crossing between them is here. A period
runs from 00:00 of its first day to 00:00 of the day after its last, Asia/Ho_Chi_Minh: UTC+7 without daylight saving
since 1975, yet taken from the time zone database, not assumed.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from protocols.errors import UsageError

CIVIL_TIME_ZONE = "Asia/Ho_Chi_Minh"
YEAR_MIN, YEAR_MAX = 2000, 2100  # no reading of this system is older, and no tariff is known so far ahead
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


def midnight_of(day: date) -> datetime:
    """Return the instant at which ``day`` begins in Vietnam, in UTC."""
    return datetime.combine(day, time.min, ZoneInfo(CIVIL_TIME_ZONE)).astimezone(UTC)


def us_of(instant: datetime) -> int:
    """Return ``instant`` as microseconds since 1970 UTC, exactly; as int64 it is a column."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant_of(us: int) -> datetime:
    """Return the instant that is ``us`` microseconds since 1970 UTC."""
    return EPOCH + timedelta(microseconds=us)


def civil_text(instant: datetime, form: str = "%d/%m/%Y %H:%M") -> str:
    """Return ``instant`` as a clerk reads it: day and minute in Vietnam."""
    return instant.astimezone(ZoneInfo(CIVIL_TIME_ZONE)).strftime(form)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of civil days, both inclusive."""

    first_on: date
    last_on: date

    @property
    def start_at(self) -> datetime:
        """The instant the first day begins. [UTC]"""
        return midnight_of(self.first_on)

    @property
    def end_at(self) -> datetime:
        """The instant after the last day: where the next period begins. [UTC]"""
        return midnight_of(self.last_on + timedelta(days=1))

    @property
    def days(self) -> int:
        """How many days, both ends counted."""
        return (self.last_on - self.first_on).days + 1

    @classmethod
    def of_month(cls, text: str) -> "Period":
        """Return the calendar month written as ``2026-10``.

        Raises
        ------
        UsageError
            If the text is no month of the years 2000 to 2100.
        """
        match = _MONTH.fullmatch(text)
        year, month = (int(part) for part in match.groups()) if match else (0, 0)
        if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= 12):
            raise UsageError(f"period {text!r}: expected a month of {YEAR_MIN} to {YEAR_MAX} as YYYY-MM, like 2026-10")
        first_on = date(year, month, 1)
        next_on = date(year + month // 12, month % 12 + 1, 1)
        return cls(first_on, next_on - timedelta(days=1))

    def check_ended(self, now: datetime) -> None:
        """Raise UsageError if the period ends after ``now`` [UTC]: the readings at its end are still to come."""
        if self.end_at > now:
            raise UsageError(
                f"period {self}: it ends in the future, at {civil_text(self.end_at)} in Vietnam, and now it is "
                f"{civil_text(now)}; nothing is billed or held before its last reading: run this after its end"
            )

    def __str__(self) -> str:
        return f"{self.first_on:%Y-%m}"
