"""A billing period as calendar arithmetic: its length, its nominal cycle, and where the price changes in it.

Both ends of a period are billed. Its *nominal cycle* is the month that begins on its first day: from 16 June to 15 July
(30 days), from 1 December to 31 December (31), from 4 January to 3 February (31). A period of that length is regular,
and its tiers keep their width whether the month has 28 or 31 days; a longer or shorter one has its tiers stretched in
proportion (57 days from 4 January 2024 on: 57/31).
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

from billing_core.codes import Hold
from billing_core.rounding import DAYS_MAX
from billing_core.tariff import Act, Tariffs, TierStructure, VatRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of the period under one act."""

    start_on: date
    end_on: date
    act: Act
    structure: TierStructure

    @property
    def days(self) -> int:
        """How many days are billed, both ends included."""
        return days_between(self.start_on, self.end_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A period with what is in force in it.

    VAT is that of the last day: electricity is taxed as of the day the index is read for the invoice (Circular
    219/2013/TT-BTC, article 8(3); remembered, not read), and the period ends with that reading.
    """

    days: int
    nominal_days: int
    parts: tuple[Part, ...]
    vat: VatRate


def days_between(start_on: date, end_on: date) -> int:
    """Return the number of days from ``start_on`` to ``end_on``, both included."""
    return (end_on - start_on).days + 1


def cycle_days(start_on: date) -> int:
    """Return the length of the monthly reading cycle that begins on ``start_on``. [days]

    It ends on the day before the same day of the next month, or on that month's last day if it is too short.
    """
    year, month = (start_on.year, start_on.month) if start_on.day == 1 else _next_month(start_on)
    last = monthrange(year, month)[1]
    end_on = date(year, month, last if start_on.day == 1 else min(start_on.day - 1, last))
    return days_between(start_on, end_on)


def _next_month(day: date) -> tuple[int, int]:
    return (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)


def plan_period(tariffs: Tariffs, start_on: date, end_on: date, nominal_days: int = 0) -> Period | Hold:
    """Return what is in force in a period, or why it cannot be billed.

    Parameters
    ----------
    nominal_days
        Length of the nominal cycle, T; 0 for that of :func:`cycle_days`.
    """
    days = days_between(start_on, end_on)
    if not 1 <= days <= DAYS_MAX or not 0 <= nominal_days <= DAYS_MAX or end_on.year > 9_000:
        return Hold.PERIOD_INVALID
    starts = (start_on, *tariffs.changes_within(start_on, end_on))
    ends = (*(day - timedelta(days=1) for day in starts[1:]), end_on)
    parts = []
    for first, last in zip(starts, ends, strict=True):
        act, structure = tariffs.act_on(first), tariffs.structure_on(first)
        if act is None or structure is None:
            return Hold.NO_PRICE
        parts.append(Part(start_on=first, end_on=last, act=act, structure=structure))
    vat = tariffs.vat_on(end_on)
    if vat is None:
        return Hold.NO_VAT_RATE
    return Period(days=days, nominal_days=nominal_days or cycle_days(start_on), parts=tuple(parts), vat=vat)
