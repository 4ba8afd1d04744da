"""Which days of a period are billed by which contract: one bill as a rule, several where the contract changes.

Each contract has its own bill, from its first to its last day in the period, and the meter is read on the day between.
Contracts of one customer that follow one another with the same terms are one, renewed; those of two never are. Where
the number of households alone changes, one bill counts the days of each (:mod:`billing_core.households`), and no
reading is needed.
"""

from dataclasses import dataclass, replace

import numpy as np

from ingest_server.billing.columns import ALWAYS, NONE, BoolArray, Int64Array, Spans, Terms, day_number
from ingest_server.billing.period import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Contracts in force on a day of the period, the oldest of each point first. [k]

    Parameters
    ----------
    point
        Number of the point, ascending.
    first_day, last_day
        Both inclusive; ``FOREVER`` for one that is in force.
    terms
        Place in the run's list of terms.
    customer
        Place in the chunk's list of customers; ``NONE`` for whose the point was first.
    """

    point: Int64Array
    first_day: Int64Array
    last_day: Int64Array
    terms: Int64Array
    customer: Int64Array


def billed_spans(period: Period, contracts: Contracts, points: int, terms: tuple[Terms, ...]) -> Spans:
    """Return what is billed apart of each of so many points; one without a contract is there with the whole period."""
    first_on, last_on = day_number(period.first_on), day_number(period.last_on)
    counts = np.bincount(contracts.point, minlength=points)
    alone = np.flatnonzero(counts[contracts.point] == 1)
    point = contracts.point[alone]
    first, last = np.full(points, first_on, dtype=np.int64), np.full(points, last_on, dtype=np.int64)
    place, ends = np.full(points, NONE, dtype=np.int64), np.zeros(points, dtype=np.bool_)
    first[point] = np.maximum(first_on, contracts.first_day[alone])
    last[point] = np.minimum(last_on, contracts.last_day[alone])
    place[point] = contracts.terms[alone]
    customer = np.full(points, NONE, dtype=np.int64)
    customer[point] = contracts.customer[alone]
    ends[point] = contracts.last_day[alone] == last[point]
    found = Spans(
        point=np.arange(points),
        first_day=first,
        last_day=last,
        place=place,
        several=np.zeros(points, dtype=np.bool_),
        ends=ends,
        customer=customer,
        changed_day=np.full((points, 1), NONE, dtype=np.int64),
        changed_place=np.full((points, 1), NONE, dtype=np.int64),
    )
    if len(alone) == len(contracts.point):
        return found
    rows = [span for each in np.flatnonzero(counts > 1).tolist() for span in _spans(each, contracts, terms, found)]
    return _with_rows(found, counts <= 1, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    point: int
    first_day: int
    last_day: int
    place: int
    ends: bool
    customer: int = NONE
    several: bool = False
    changed_day: tuple[int, ...] = ()
    changed_place: tuple[int, ...] = ()


def _spans(point: int, contracts: Contracts, terms: tuple[Terms, ...], whole: Spans) -> list[_Span]:
    """Return the spans of one point that has several contracts."""
    own = slice(*np.searchsorted(contracts.point, [point, point + 1]).tolist())
    first_on, last_on = int(whole.first_day[point]), int(whole.last_day[point])
    found: list[_Span] = []
    columns = (contracts.first_day[own], contracts.last_day[own], contracts.terms[own], contracts.customer[own])
    for first, last, place, customer in zip(*(column.tolist() for column in columns), strict=True):
        until = min(last, last_on)
        span = _Span(
            point=point,
            first_day=max(first, first_on),
            last_day=until,
            place=place,
            ends=last == until,
            customer=customer,
        )
        before = found[-1] if found else None
        if before is None or span.first_day > before.last_day + 1:
            found.append(span)
        elif span.first_day <= before.last_day:
            return [_together(point, first_on, last_on)]
        elif customer != before.customer:
            found.append(span)
        elif place == (before.place, *before.changed_place)[-1]:
            found[-1] = replace(before, last_day=until, ends=span.ends)
        elif not _differ_in_households(terms[before.place], terms[place]):
            found.append(span)
        else:
            found[-1] = replace(
                before,
                last_day=until,
                ends=span.ends,
                changed_day=(*before.changed_day, span.first_day),
                changed_place=(*before.changed_place, place),
            )
    return found


def _together(point: int, first_on: int, last_on: int) -> _Span:
    """Return what is held: contracts of one point that can't be billed one after the other."""
    return _Span(point=point, first_day=first_on, last_day=last_on, place=NONE, ends=False, several=True)


def _differ_in_households(one: Terms, other: Terms) -> bool:
    flags = {"reactive", "undeclared_rental", "refused_three_rates", "two_component"}
    same = (ALWAYS | flags | {"uses", "rate_plan"}) - {"households"}
    return all(getattr(one, name) == getattr(other, name) for name in same)


CHANGES = ("changed_day", "changed_place")


def _with_rows(spans: Spans, kept: BoolArray, rows: list[_Span]) -> Spans:
    """Return ``spans`` with ``rows`` in place of those that are not ``kept``."""
    columns = {
        name: np.concatenate([getattr(spans, name)[kept], [getattr(row, name) for row in rows]])
        for name in Spans.__slots__
        if name not in CHANGES
    }
    changes = max(1, *(len(row.changed_day) for row in rows))
    for name in CHANGES:
        column = np.full((len(columns["point"]), changes), NONE, dtype=np.int64)
        for at, row in enumerate(rows, int(kept.sum())):
            own = getattr(row, name)
            column[at, : len(own)] = own
        columns[name] = column
    order = np.lexsort((columns["first_day"], columns["point"]))
    return Spans(**{name: column[order] for name, column in columns.items()})
