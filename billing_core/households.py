"""How many households a period, or a part of it, has where their number changes.

The law multiplies the tiers by the number of households. Where it changes inside the period, however often, each day
counts with the households of that day: h is their average over the days, an exact fraction, and a tier is rounded once.
"""

from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch
from billing_core.rounding import Int64Array

CROSS_MAX = 10**8  # of a number over the common denominator; × ten years × the widest tier it fits in 64 bits


def has_change(batch: Batch) -> NDArray[np.bool_]:
    """Return whether the number of households changes inside the period. [n]"""
    return np.asarray((~np.isnat(batch.households_changed_on)).any(axis=1))


def change_invalid(batch: Batch) -> NDArray[np.bool_]:
    """Return the rows whose changes of households cannot be computed with. [n]"""
    day, after, parts = batch.households_changed_on, batch.households_after, batch.households_after_parts
    start_on, end_on = batch.start_on[:, np.newaxis], batch.end_on[:, np.newaxis]
    there = ~np.isnat(day)
    bad = there & ((day <= start_on) | (day > end_on) | (after < 1) | (parts < 1))
    bad[:, 1:] |= there[:, 1:] & ~(day[:, 1:] > day[:, :-1])  # also where none stands before it
    return has_change(batch) & (bad.any(axis=1) | _too_large(batch, there))


def _too_large(batch: Batch, there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows of which a number, over the denominator of all of them, is over ``CROSS_MAX``. [n]"""

    def bounded(numbers: Int64Array) -> Int64Array:
        return np.clip(numbers, 1, CROSS_MAX + 1)

    parts = [bounded(batch.households_parts), *bounded(np.where(there, batch.households_after_parts, 1)).T]
    numbers = [bounded(batch.households), *bounded(np.where(there, batch.households_after, 1)).T]
    common = np.ones(len(batch), dtype=np.int64)
    for each in parts:
        common = np.minimum(np.lcm(common, each), CROSS_MAX + 1)
    found: NDArray[np.bool_] = common > CROSS_MAX
    for number, each in zip(numbers, parts, strict=True):
        found |= number * (common // each) > CROSS_MAX
    return found


def household_days(batch: Batch, rows: Int64Array, start_on: date, end_on: date) -> tuple[Int64Array, Int64Array]:
    """Return households × days of a part of the period, as numerator and denominator. [m, m]"""
    first, last = np.datetime64(start_on), np.datetime64(end_on)
    days = int((last - first).astype(np.int64)) + 1
    changed_on = batch.households_changed_on[rows]
    changed_on = np.where(np.isnat(changed_on), last + np.timedelta64(1, "D"), changed_on)
    from_then = np.clip((last - changed_on).astype(np.int64) + 1, 0, days)  # days from each change to the end
    numerator = (days - from_then[:, 0]) * batch.households[rows]
    parts = batch.households_parts[rows]
    for change, until_next in enumerate((from_then - np.pad(from_then[:, 1:], ((0, 0), (0, 1)))).T):
        counts = until_next > 0
        own = np.where(counts, batch.households_after[rows, change], 1)
        own_parts = np.where(counts, batch.households_after_parts[rows, change], 1)
        common = np.gcd(parts, own_parts)
        numerator = numerator * (own_parts // common) + until_next * own * (parts // common)
        parts = parts // common * own_parts
    return numerator, parts


def households_from(batch: Batch, cut: NDArray[np.bool_], first_on: np.datetime64) -> dict[str, Any]:
    """Return the columns of households of bills of which those that are ``cut`` begin on ``first_on`` instead."""
    households, parts = batch.households, batch.households_parts
    changed_on = batch.households_changed_on
    past = cut[:, np.newaxis] & (changed_on <= first_on)
    for change in range(changed_on.shape[1]):
        households = np.where(past[:, change], batch.households_after[:, change], households)
        parts = np.where(past[:, change], batch.households_after_parts[:, change], parts)
    changed_on = np.where(past, np.datetime64("NaT", "D"), changed_on)
    order = np.argsort(changed_on, axis=1, kind="stable")  # what is no day goes to the end
    coming = {
        "households_changed_on": changed_on,
        "households_after": batch.households_after,
        "households_after_parts": batch.households_after_parts,
    }
    ordered = {name: np.take_along_axis(column, order, axis=1) for name, column in coming.items()}
    return {"households": households, "households_parts": parts, **ordered}


def households_of(batch: Batch, row: int, start_on: date, end_on: date) -> Fraction:
    """Return the households of one bill over a part of its period, the average over the days."""
    if not has_change(batch)[row]:
        return Fraction(int(batch.households[row]), int(batch.households_parts[row]))
    numerator, parts = household_days(batch, np.array([row]), start_on, end_on)
    return Fraction(int(numerator[0]), int(parts[0]) * ((end_on - start_on).days + 1))
