"""Who is billed for which days of a reading cycle: moving in, moving out, the final bill, and the year-end settlement.

A cycle is what lies between two readings of the book. Where the holder of the contract changes in between, the meter is
read on that day and each holder has a bill of his own, for his days. The length of the cycle stays what the tiers are
measured by (T), so that a bill of 10 days of 31 has tiers of 10/31; that is the rule for new supply, change of holder
and termination.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from billing_core.period import days_between
from billing_core.rounding import DAYS_MAX
from protocols.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """A holder of the contract, from the first to the last day; ``None`` while it lasts."""

    holder: str
    start_on: date
    end_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillPeriod:
    """The days of a cycle that are billed to one holder.

    Parameters
    ----------
    nominal_days
        Length of the whole cycle, T.
    first, final
        Whether the holder came or left in this cycle: a first bill is looked at, a final one closes the account.
    settle_carry
        Whether a surplus of net metering is bought now: the bill is final, or 31 December is in it.
    """

    holder: str
    start_on: date
    end_on: date
    nominal_days: int
    first: bool
    final: bool
    settle_carry: bool


def bill_periods(start_on: date, end_on: date, tenures: Sequence[Tenure]) -> tuple[BillPeriod, ...]:
    """Return the bills of one cycle, in order of days; days without a holder are in none of them.

    Raises
    ------
    UsageError
        If the cycle ends before it begins, a tenure does, or two of them overlap.
    """
    nominal_days = days_between(start_on, end_on)
    if not 1 <= nominal_days <= DAYS_MAX:
        raise UsageError(f"cycle: found {start_on} to {end_on}, expected its first day first; correct the reading book")
    found: list[BillPeriod] = []
    ordered = sorted(tenures, key=lambda tenure: tenure.start_on)
    for place, tenure in enumerate(ordered):
        last = date.max if tenure.end_on is None else tenure.end_on
        if last < tenure.start_on:
            raise UsageError(f"{tenure.holder}: found {tenure.start_on} to {last}, expected the first day first")
        if place + 1 < len(ordered) and last >= ordered[place + 1].start_on:
            other = ordered[place + 1]
            raise UsageError(
                f"{tenure.holder}: found up to {last}, and {other.holder} from {other.start_on}; expected one holder a "
                "day; end one contract before the other begins"
            )
        if tenure.start_on <= end_on and last >= start_on:
            found.append(_period(tenure, start_on, end_on, nominal_days))
    return tuple(found)


def _period(tenure: Tenure, start_on: date, end_on: date, nominal_days: int) -> BillPeriod:
    first, final = tenure.start_on > start_on, tenure.end_on is not None and tenure.end_on <= end_on
    begins = max(start_on, tenure.start_on)
    ends = tenure.end_on if final and tenure.end_on is not None else end_on
    return BillPeriod(
        holder=tenure.holder,
        start_on=begins,
        end_on=ends,
        nominal_days=nominal_days,
        first=first,
        final=final,
        settle_carry=final or settles_year(begins, ends),
    )


def settles_year(start_on: date, end_on: date) -> bool:
    """Return whether the year ends in a period: then Decision 11/2017 has the surplus bought and not carried on."""
    return start_on <= date(start_on.year, 12, 31) <= end_on
