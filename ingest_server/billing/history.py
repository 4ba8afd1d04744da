"""What was billed before: the bills that are there for days of a period, and the last one before it."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from ingest_server.billing import queries
from ingest_server.billing.columns import (
    FOREVER,
    NONE,
    PAST_PERIODS,
    BoolArray,
    Int64Array,
    Issued,
    Previous,
    Spans,
    day_number,
)
from ingest_server.database.binary_rows import Field, fetch_columns

HASH_OCTETS = 32
_AMOUNTS = ("energy_wh", "subtotal", "vat", "total", "purchased_wh", "purchased", "carried_out_wh", "carried_cd_wh",
            "carried_td_wh")  # fmt: skip
_NUMBERS = ("bill_id", "version", "schema", "in_ledger", "purchase_made", *_AMOUNTS)


def gather_issued(connection: Connection[Any], parameters: dict[str, Any], spans: Spans) -> Issued:
    """Return of each row the bill that is there for its days, or for others that overlap them."""
    kinds = ("i8", "i4", "i2", "i4", "i4", *("i8",) * len(_AMOUNTS))
    layout = {name: Field("i4") for name in ("point", "first_day", "last_day")}
    layout |= {name: Field(kind) for name, kind in zip(_NUMBERS, kinds, strict=True)} | {"customer": Field("i4")}
    found = fetch_columns(connection, queries.SELECT_ISSUED, parameters, {**layout, "hash": Field("S", HASH_OCTETS)})
    n = len(spans)
    record, in_the_way, other_period = _matched(found, spans, _of_other_periods(connection, parameters, found, spans))
    there = np.flatnonzero(record != NONE)
    columns = {name: np.zeros(n, dtype=np.int64) for name in _NUMBERS}
    for name in _NUMBERS:
        columns[name][there] = found[name][record[there]]
    hashes = np.zeros(n, dtype=f"V{HASH_OCTETS}")
    hashes[there] = found["hash"][record[there]]
    in_ledger, made = columns.pop("in_ledger") != 0, columns.pop("purchase_made") != 0
    ways = {"in_the_way": in_the_way, "other_period": other_period}
    return Issued(inputs_hash=hashes, in_ledger=in_ledger, purchase_made=made, **ways, **columns)


SELECT_OF_OTHER_PERIODS = """
    select bill_id from bill join billing_run r using (run_id)
    where bill_id = any (%(bills)s::bigint[]) and (r.period_from, r.period_to) <> (%(first_on)s, %(last_on)s)
"""


def _of_other_periods(
    connection: Connection[Any], parameters: dict[str, Any], found: dict[str, Any], spans: Spans
) -> BoolArray:
    """Say of each record whether a run of another period made it: of a calendar month, or a cycle, that overlaps.

    Most have the very days of their row. Of others within the period the run is looked up: a contract may have changed.
    """
    first_on, last_on = day_number(parameters["first_on"]), day_number(parameters["last_on"])
    there = found["bill_id"] != 0
    other: BoolArray = there & ((found["first_day"] < first_on) | (found["last_day"] > last_on))
    at = np.minimum(np.searchsorted(spans.point, found["point"]), max(len(spans) - 1, 0))
    if not len(spans):
        return other
    same = (spans.first_day[at] == found["first_day"]) & (spans.last_day[at] == found["last_day"])
    asked = np.flatnonzero(there & ~other & ~same)
    if asked.size:
        bills = {"bills": found["bill_id"][asked].tolist()}
        rows = connection.execute(SELECT_OF_OTHER_PERIODS, parameters | bills).fetchall()
        other[asked] = np.isin(found["bill_id"][asked], [bill for (bill,) in rows])
    return other


def _matched(found: dict[str, Any], spans: Spans, other: BoolArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return which record belongs to each row, and an issued bill for other days, or one of another period, in its way.

    Where a point is one row and has one bill, that is the row's, for whatever days; else the days must be the same.

    Parameters
    ----------
    other
        Which records are of another period: they are no row's.
    """
    rows_of, records_of = np.bincount(spans.point), np.bincount(found["point"], minlength=1)
    record = np.full(len(spans), NONE, dtype=np.int64)
    in_the_way, other_period = np.zeros(len(spans), dtype=np.int64), np.zeros(len(spans), dtype=np.int64)
    at = np.searchsorted(spans.point, found["point"])  # points without a row come to another's or behind the last
    known = at < len(spans)
    known[known] = spans.point[at[known]] == found["point"][known]
    plain = known & ~other
    plain[known] &= (rows_of[found["point"][known]] == 1) & (records_of[found["point"][known]] == 1)
    record[at[plain]] = np.flatnonzero(plain)
    others = plain & _paid_by_another(found, spans, at)
    in_the_way[at[others]] = found["bill_id"][others]
    ranks: dict[int, tuple[bool, int]] = {}
    own = list(zip(spans.first_day.tolist(), spans.last_day.tolist(), spans.customer.tolist(), strict=True))
    for number in np.flatnonzero(known & ~plain).tolist():
        first, last = int(found["first_day"][number]), int(found["last_day"][number])
        for row in range(*np.searchsorted(spans.point, [found["point"][number], found["point"][number] + 1]).tolist()):
            if first > spans.last_day[row] or last < spans.first_day[row]:
                continue
            if other[number]:
                other_period[row] = found["bill_id"][number]
                continue
            exact = (first, last, found["customer"][number]) == own[row]
            if not exact and found["in_ledger"][number] and found["bill_id"][number]:
                in_the_way[row] = found["bill_id"][number]
            rank = (exact, int(found["version"][number]))
            if record[row] == NONE or rank > ranks[row]:
                record[row], ranks[row] = number, rank
    return record, in_the_way, other_period


def _paid_by_another(found: dict[str, Any], spans: Spans, at: Int64Array) -> BoolArray:
    """Say of each record whether it was issued, to another customer than that of the row it belongs to."""
    whose = np.append(spans.customer, NONE)[at]
    return np.asarray((found["customer"] != whose) & (found["in_ledger"] != 0) & (found["bill_id"] != 0))


_BY_RATE = {name: Field("i8") for name in ("bill_id", "peak", "off_peak")}
_BILL = {
    "point": "i4",
    "bill_id": "i8",
    "last_day": "i4",
    "days": "i4",
    "energy_wh": "i8",
    "carried": "i8",
    "terms": "i4",
    "customer": "i4",
}
_PREVIOUS = {name: Field(kind) for name, kind in _BILL.items()} | {"before": Field("i4", PAST_PERIODS)}


def gather_previous_month(connection: Connection[Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the bills that end on the day before the period, by their points."""
    return fetch_columns(connection, queries.SELECT_PREVIOUS, parameters, _PREVIOUS)


def gather_previous(
    connection: Connection[Any], first_on: date, parameters: dict[str, Any], spans: Spans, month: dict[str, Any]
) -> Previous:
    """Return of each row the last bill before it; before a later row of a point, the row before stands in its place.

    Another customer's bill is no bill before: neither his use nor his surplus is handed on.

    ``month`` are the bills of :func:`gather_previous_month`; of points without one an older is looked for.
    """
    found = _with_older(connection, parameters, spans, month)
    row_of = np.searchsorted(spans.point, found["point"])
    known = row_of < len(spans)
    known[known] = spans.point[row_of[known]] == found["point"][known]
    known[known] = spans.customer[row_of[known]] == found["customer"][known]
    found = {name: column[known] for name, column in found.items()}
    found["terms"] = np.array([*parameters["ever_places"], NONE], dtype=np.int64)[found["terms"]]
    row, n = row_of[known], len(spans)
    bill_id, last_day, carried, terms = (np.zeros(n, dtype=np.int64) for _ in range(4))
    terms[:] = NONE
    for column, name in ((bill_id, "bill_id"), (last_day, "last_day"), (carried, "carried"), (terms, "terms")):
        column[row] = found[name]
    own = np.minimum(found["energy_wh"] // np.maximum(found["days"], 1), FOREVER)
    daily = np.full((n, PAST_PERIODS), NONE, dtype=np.int64)
    daily[row] = _handed_on(first_on, found["last_day"], own, found["before"])
    follows = (spans.point[1:] == spans.point[:-1]) & (spans.customer[1:] == spans.customer[:-1])
    for later in np.flatnonzero(follows).tolist():
        bill_id[later + 1], daily[later + 1] = bill_id[later], daily[later]
        last_day[later + 1], terms[later + 1] = spans.first_day[later + 1] - 1, spans.place[later]
    return Previous(
        bill_id=bill_id,
        last_day=last_day,
        carried_out_wh=carried,
        carried_cd_wh=np.zeros(n, dtype=np.int64),
        carried_td_wh=np.zeros(n, dtype=np.int64),
        highest_w=np.full(n, NONE, dtype=np.int64),
        unbilled_first=np.full(n, NONE, dtype=np.int64),
        unbilled_last=np.full(n, NONE, dtype=np.int64),
        terms=terms,
        daily_wh=daily,
    )


def with_carried_by_rate(connection: Connection[Any], previous: Previous, three_rates: BoolArray) -> Previous:
    """Return the last bills with what of their surplus is of which rate, where three rates are netted. [n]"""
    rows = np.flatnonzero(three_rates & (previous.carried_out_wh > 0))
    if not rows.size:
        return previous
    bills = previous.bill_id[rows].tolist()
    found = fetch_columns(connection, queries.SELECT_CARRIED_BY_RATE, {"bills": bills}, _BY_RATE)
    place_of = {bill: place for place, bill in enumerate(found["bill_id"].tolist())}
    places = [place_of[bill] for bill in bills]
    peak, off_peak = previous.carried_cd_wh.copy(), previous.carried_td_wh.copy()
    peak[rows], off_peak[rows] = found["peak"][places], found["off_peak"][places]
    return replace(previous, carried_cd_wh=peak, carried_td_wh=off_peak)


def _with_older(
    connection: Connection[Any], parameters: dict[str, Any], spans: Spans, found: dict[str, Any]
) -> dict[str, Any]:
    rest = np.setdiff1d(spans.point, found["point"])
    if not rest.size or not _any_older(connection, parameters):
        return found
    older = fetch_columns(connection, queries.SELECT_PREVIOUS_OLDER, parameters | {"points": rest.tolist()}, _PREVIOUS)
    return {name: np.concatenate([column, older[name]]) for name, column in found.items()}


def _any_older(connection: Connection[Any], parameters: dict[str, Any]) -> bool:
    row = connection.execute(queries.SELECT_ANY_OLDER, parameters).fetchone()
    return row is not None and bool(row[0])


def _handed_on(first_on: date, last_day: Int64Array, own: Int64Array, before: NDArray[Any]) -> Int64Array:
    """Return the energy a day of past periods, newest first: the last bill's own, those it had, moved by its age.

    A bill that ends in the month before this period is one period old; months that nobody billed are ``NONE``.
    """
    months = (last_day.astype("datetime64[D]").astype("datetime64[M]")).astype(np.int64)
    before_on = first_on - timedelta(days=1)
    age = (before_on.year - 1970) * 12 + before_on.month - months
    all_known = np.concatenate([own[:, np.newaxis], before], axis=1)
    place = np.arange(PAST_PERIODS)[np.newaxis, :] - (age[:, np.newaxis] - 1)
    there = (place >= 0) & (place < all_known.shape[1])
    return np.where(there, np.take_along_axis(all_known, np.where(there, place, 0), axis=1), NONE)
