"""How many households a period, or a part of it, has where their number changes.

The law multiplies the tiers by the number of households. Where it changes inside the period, each day counts with the
households of that day: h is their average over the days, an exact fraction, and a tier is rounded once.
"""

from datetime import date
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch
from billing_core.rounding import Int64Array

CROSS_MAX = 10**8  # of one number times the other's denominator; × ten years × the widest tier it fits in 64 bits


def has_change(batch: Batch) -> NDArray[np.bool_]:
    """Return whether the number of households changes inside the period. [n]"""
    return ~np.isnat(batch.households_changed_on)


def change_invalid(batch: Batch) -> NDArray[np.bool_]:
    """Return the rows whose change of households cannot be computed with. [n]"""
    day, after, parts = batch.households_changed_on, batch.households_after, batch.households_after_parts
    outside = (day <= batch.start_on) | (day > batch.end_on) | (after < 1) | (parts < 1)
    crossed = np.zeros(len(batch), dtype=np.bool_)
    for left, right in (
        (batch.households, parts),
        (after, batch.households_parts),
        (batch.households_parts, parts),
    ):
        crossed |= left > CROSS_MAX // np.maximum(right, 1)
    return has_change(batch) & (outside | crossed)


def household_days(batch: Batch, rows: Int64Array, start_on: date, end_on: date) -> tuple[Int64Array, Int64Array]:
    """Return households × days of a part of the period, as numerator and denominator. [m, m]"""
    first, last = np.datetime64(start_on), np.datetime64(end_on)
    days = int((last - first).astype(np.int64)) + 1
    changed_on = np.where(has_change(batch)[rows], batch.households_changed_on[rows], last + np.timedelta64(1, "D"))
    after = np.clip((last - changed_on).astype(np.int64) + 1, 0, days)
    numerator, parts = batch.households[rows], batch.households_parts[rows]
    later, later_parts = batch.households_after[rows], batch.households_after_parts[rows]
    changes = after > 0
    later, later_parts = np.where(changes, later, 1), np.where(changes, later_parts, 1)
    return (days - after) * numerator * later_parts + after * later * parts, parts * later_parts


def households_of(batch: Batch, row: int, start_on: date, end_on: date) -> Fraction:
    """Return the households of one bill over a part of its period, the average over the days."""
    if not has_change(batch)[row]:
        return Fraction(int(batch.households[row]), int(batch.households_parts[row]))
    numerator, parts = household_days(batch, np.array([row]), start_on, end_on)
    return Fraction(int(numerator[0]), int(parts[0]) * ((end_on - start_on).days + 1))
