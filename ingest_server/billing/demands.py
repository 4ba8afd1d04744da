"""The highest demand of past months, where a contract's rate plan has a ratchet: what its bills of then rest on."""

from dataclasses import replace
from typing import Any

import numpy as np
from psycopg import Connection

from ingest_server.billing import queries
from ingest_server.billing.columns import NONE, Int64Array, MeterRegister, Previous, Spans, Terms
from ingest_server.billing.terms import plan_of
from ingest_server.database.binary_rows import Field, fetch_columns

_DEMAND = {name: Field(kind) for name, kind in (("point", "i4"), ("last_day", "i4"), ("customer", "i4"), ("w", "i8"))}


def ratchet_months(terms: tuple[Terms, ...]) -> Int64Array:
    """Return how many months back the ratchet of each of the run's terms goes; 0 without one, also behind the last."""
    plans = [plan_of(each) for each in terms]
    months = [0 if plan is None or plan.ratchet is None else plan.ratchet.months for plan in plans]
    return np.array([*months, 0], dtype=np.int64)


def with_demands(
    connection: Connection[Any],
    parameters: dict[str, Any],
    spans: Spans,
    previous: Previous,
    months: Int64Array,
) -> Previous:
    """Return ``previous`` with the highest demands of the months before the period, of rows that ask for them.

    Parameters
    ----------
    months
        How far back each of the run's terms goes, the last for none. [terms + 1]
    """
    asking = months[spans.place]
    if not asking.any():
        return previous
    rows = np.flatnonzero(asking)
    month = np.datetime64(parameters["first_on"], "M")
    asked = {
        "points": np.unique(spans.point[rows]).tolist(),
        "since_on": (month - asking.max()).astype("datetime64[D]").item(),
        "demand_obis": MeterRegister.PMAX.value,
    }
    found = fetch_columns(connection, queries.SELECT_DEMANDS, parameters | asked, _DEMAND)
    ages = month.astype(np.int64) - _months(found["last_day"])
    keys = _keys(spans.point[rows], spans.customer[rows])
    rows = rows[np.argsort(keys, kind="stable")]
    keys.sort()
    wanted = _keys(found["point"], found["customer"])
    begin, end = (np.searchsorted(keys, wanted, side) for side in ("left", "right"))
    bill = np.repeat(np.arange(wanted.shape[0]), end - begin)
    row = rows[np.arange(bill.shape[0]) - np.repeat(np.cumsum(end - begin) - end, end - begin)]
    highest = previous.highest_w.copy()
    highest[rows] = NONE
    np.maximum.at(highest, row, np.where(ages[bill] <= asking[row], found["w"][bill], NONE))
    return replace(previous, highest_w=highest)


def _keys(point: Int64Array, customer: Int64Array) -> Int64Array:
    """Return one number for each point and customer; both are 32 bits wide."""
    keys: Int64Array = (point.astype(np.int64) << 32) | (customer.astype(np.int64) & 0xFFFF_FFFF)
    return keys


def _months(days: Int64Array) -> Int64Array:
    """Return the month each day lies in, counted from January 1970."""
    months: Int64Array = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months
