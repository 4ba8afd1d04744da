"""Billing periods: civil months of Vietnam, or a reading book's own cycle, as half-open spans of UTC.

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
_DATES = re.compile(r"(\d{4}-\d{2}-\d{2})/(\d{4}-\d{2}-\d{2})", re.ASCII)


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
    """A span of civil days, both inclusive.

    ``nominal_days`` is T, the length of the nominal reading cycle, of which the days may be fewer or more; none for a
    calendar month, which is its own. ``closes_year`` says of a cycle that no other ends in the same year.
    """

    first_on: date
    last_on: date
    nominal_days: int | None = None
    closes_year: bool = False

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
        return cls(first_on, _next_month(first_on) - timedelta(days=1))

    @classmethod
    def of_text(cls, text: str) -> "Period":
        """Return the calendar month ``2026-10``, or the days ``2026-09-17/2026-10-16``, both ends inclusive.

        Raises
        ------
        UsageError
            If the text is neither.
        """
        match = _DATES.fullmatch(text)
        if match is None:
            return cls.of_month(text)
        try:
            first_on, last_on = (date.fromisoformat(part) for part in match.groups())
        except ValueError as error:
            raise UsageError(f"period {text!r}: {error}; expected two days like 2026-09-17/2026-10-16") from error
        if not (first_on <= last_on and first_on.year >= YEAR_MIN and last_on.year <= YEAR_MAX):
            raise UsageError(
                f"period {text!r}: expected its first day and its last, of {YEAR_MIN} to {YEAR_MAX}, "
                "like 2026-09-17/2026-10-16"
            )
        return cls(first_on, last_on)

    @property
    def is_month(self) -> bool:
        """Whether it is a whole calendar month."""
        return self.first_on.day == 1 and self.last_on + timedelta(days=1) == _next_month(self.first_on)

    @property
    def months(self) -> tuple[int, ...]:
        """The months it touches, as YYYYMM, in order."""
        found, month_on = [], self.first_on.replace(day=1)
        while month_on <= self.last_on:
            found.append(month_on.year * 100 + month_on.month)
            month_on = _next_month(month_on)
        return tuple(found)

    @property
    def bounds(self) -> dict[str, date]:
        """What queries call the days in which a period's bills lie.

        A bill is of the calendar month in which its last day falls; of a period given by two days if it has no others.
        """
        return {
            "first_on": self.first_on,
            "last_on": self.last_on,
            "begins_on": date.min if self.is_month else self.first_on,
        }

    @property
    def asked(self) -> str:
        """How a command is asked to compute it: a cycle is called by the month it ends in."""
        return f"--period {self.last_on:%Y-%m}" + ("" if self.is_month else " --cycle")

    def check_ended(self, now: datetime) -> None:
        """Raise UsageError if the period ends after ``now`` [UTC]: the readings at its end are still to come."""
        if self.end_at > now:
            raise UsageError(
                f"period {self}: it ends in the future, at {civil_text(self.end_at)} in Vietnam, and now it is "
                f"{civil_text(now)}; nothing is billed or held before its last reading: run this after its end"
            )

    def __str__(self) -> str:
        return f"{self.first_on:%Y-%m}" if self.is_month else f"{self.first_on}/{self.last_on}"


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
