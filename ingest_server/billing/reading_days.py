"""When a reading book is read, and which days that makes: cycles that follow one another without gap or overlap.

The reading day is the last day of a cycle: the register is read at the midnight that ends it. A book of the 16th is
billed from the 17th of one month to the 16th of the next, one of the 31st by calendar months; in a month that is too
short it is read on the month's last day. A period is called by the month in which its cycle ends.

Books of large customers are read two or three times a month. Their cycle is the same, in parts of 15 days and the rest,
or of 10, 10 and the rest; what is per month (tiers, minimum and fixed charges, capacity) is shared out by days, so T of
each part is the whole cycle's.
"""

from calendar import monthrange
from dataclasses import replace
from datetime import date, timedelta
from itertools import accumulate

from billing_core.period import cycle_days
from ingest_server.billing.period import Period

PART_DAYS = {"monthly": (), "twice": (15,), "three_times": (10, 10)}
"""Days of a cycle's parts by how often a book is read, but of the last, which is the rest."""
PARTS_MAX = 3
DAY = timedelta(days=1)
READ_EARLY_OR_LATE_MAX = DAY  # a regular reading of a household may be so far from its day [as EVN does; to be checked]


def reading_on(year: int, month: int, reading_day: int) -> date:
    """Return the day of a month on which a book is read: its reading day, or the month's last if it is too short."""
    return date(year, month, min(reading_day, monthrange(year, month)[1]))


def cycle_in(month_on: date, reading_day: int, cycle: str) -> tuple[Period, ...]:
    """Return the parts of the cycle that ends in the month of ``month_on``, in order; one if it is read once.

    Parameters
    ----------
    reading_day
        1 to 31.
    cycle
        ``monthly``, ``twice`` or ``three_times``.
    """
    before_on = month_on.replace(day=1) - DAY
    first_on = reading_on(before_on.year, before_on.month, reading_day) + DAY
    last_on = reading_on(month_on.year, month_on.month, reading_day)
    nominal_days = (last_on - first_on).days + 1
    ends = [first_on + (days - 1) * DAY for days in accumulate(PART_DAYS[cycle])] + [last_on]
    begins = [first_on, *(end_on + DAY for end_on in ends[:-1])]
    next_on = (
        last_on + (PART_DAYS[cycle][0] if PART_DAYS[cycle] else 32 - last_on.day) * DAY
    )  # that month at the earliest
    return tuple(
        Period(begin_on, end_on, nominal_days, closes_year=following_on.year > end_on.year)
        for begin_on, end_on, following_on in zip(begins, ends, [*ends[1:], next_on], strict=True)
    )


def cycle_before(nominal: Period, reading_day: int, cycle: str) -> Period:
    """Return the cycle, or the part of one, that ends on the day before ``nominal`` begins."""
    last_on = nominal.first_on - DAY
    month_on = last_on
    while True:  # a part may end in the month before that of its cycle
        for each in cycle_in(month_on, reading_day, cycle):
            if each.last_on == last_on:
                return each
        month_on = month_on.replace(day=monthrange(month_on.year, month_on.month)[1]) + DAY


def period_after(nominal: Period, before: Period, billed_to: date | None) -> Period:
    """Return the days to bill at the reading that ends ``nominal``, of a point that is billed up to ``billed_to``.

    They are the cycle's own where the bill before ended with the cycle before, or where there is none. Where the
    reading day was changed, it ended on another day since that cycle began: then they follow on it, and T is the length
    of the cycle that would have followed on it, so that tiers are stretched or shrunk to the days. Was a whole cycle
    left out, it is a bill of its own. After a reading that was a day early or late T is
    the days: that is regular. One over the turn of a year closes the year, for no reading did.

    Parameters
    ----------
    before
        The cycle before ``nominal``.
    billed_to
        None for a point that was not billed yet.
    """
    if billed_to is None or billed_to == before.last_on or not before.first_on <= billed_to < nominal.last_on:
        return nominal
    first_on = billed_to + DAY
    if abs(billed_to - before.last_on) <= READ_EARLY_OR_LATE_MAX:
        assert nominal.nominal_days is not None, "of a cycle"
        nominal_days = nominal.nominal_days + (nominal.first_on - first_on).days
        return replace(nominal, first_on=first_on, nominal_days=nominal_days)
    closes_year = nominal.closes_year or first_on.year < nominal.last_on.year
    return Period(first_on, nominal.last_on, cycle_days(first_on), closes_year)
