"""Billed at the wrong price: each period again, as it was and as it should have been, and the difference.

Where electricity was used for something else than it was billed for, the difference is billed later or paid back, from
the day the use changed; where nobody knows that day, for the twelve months before it was found. Each period is priced
by its own acts and its own rate of tax, and a period that lies partly before the limit is shared out by days in kWh.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Solar
from billing_core.engine import charge
from billing_core.households import households_from
from billing_core.period import cycle_days
from billing_core.rate_plan import RatePlan
from billing_core.rounding import Int64Array, divide_half_up
from billing_core.tariff import Tariffs
from billing_core.tiers import WH_PER_KWH

MONTHS_BACK = 12  # where the begin is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Difference documents, one for each period that is corrected; below zero is paid back.

    Parameters
    ----------
    bill
        Row of the batch of issued bills. [m]
    start_on, end_on
        Days that are corrected, which may be a part of the bill's. [datetime64[D], m]
    subtotal, vat, total
        Right less wrong. [đ, m]
    hold
        Code of :class:`billing_core.codes.Hold` if either could not be computed; then the difference is 0. [m]
    wrong, right
        Both computations, with their lines. [m]
    """

    bill: Int64Array
    start_on: NDArray[np.datetime64]
    end_on: NDArray[np.datetime64]
    subtotal: Int64Array
    vat: Int64Array
    total: Int64Array
    hold: NDArray[np.int8]
    wrong: Charges
    right: Charges


def corrected_from(found_on: date, since_on: date | None) -> date:
    """Return the first day that is corrected: the day the use changed, or twelve months before ``found_on``."""
    if since_on is not None:
        return since_on
    year, month = divmod(found_on.year * 12 + found_on.month - 1 - MONTHS_BACK, 12)
    day = found_on.day
    while True:  # 29 February has no day a year before
        try:
            return date(year, month + 1, day)
        except ValueError:
            day -= 1


def correct_bills(
    billed: Batch,
    right: dict[str, Any],
    tariffs: Tariffs,
    *,
    found_on: date,
    since_on: date | None = None,
    plans: Sequence[RatePlan] = (),
) -> Corrections:
    """Return the differences of issued bills.

    Parameters
    ----------
    billed
        n issued bills as they were computed; ``energy_wh`` is what was billed, after net metering.
    right
        The columns that were wrong, as they should have been: ``category``, ``voltage``, ``rate_plan``, … [one or n]
    found_on, since_on
        The day the wrong price was found, and the day from which it was wrong, if that is known.
    plans
        Rate plans, which ``rate_plan`` refers to; fixed and minimum charges and demand are taken by the days corrected.

    Raises
    ------
    TypeError
        If ``right`` names a column that a batch has not.
    """
    unknown = right.keys() - {field.name for field in fields(Batch)}
    if unknown:
        raise TypeError(f"found unknown columns {sorted(unknown)}")
    limit, last = np.datetime64(corrected_from(found_on, since_on)), np.datetime64(found_on)
    rows = np.flatnonzero((billed.end_on >= limit) & (billed.start_on <= last))
    wrong = _from(_rows(billed, rows), limit, tariffs)
    changed = {name: _column(value, getattr(billed, name))[rows] for name, value in right.items()}
    fixed = {name: column.astype(getattr(wrong, name).dtype) for name, column in changed.items()}
    before, after = (charge(batch, tariffs, plans=plans) for batch in (wrong, replace(wrong, **fixed)))
    hold = np.where(before.hold != 0, before.hold, after.hold)
    kept = hold == 0
    return Corrections(
        bill=rows,
        start_on=wrong.start_on,
        end_on=wrong.end_on,
        subtotal=np.where(kept, after.subtotal - before.subtotal, 0),
        vat=np.where(kept, after.vat - before.vat, 0),
        total=np.where(kept, after.total - before.total, 0),
        hold=hold,
        wrong=before,
        right=after,
    )


def _column(value: Any, like: NDArray[Any]) -> NDArray[Any]:
    """Return one value, or one a row, as a column shaped ``like`` another."""
    found = np.asarray(value)
    return np.broadcast_to(found[..., np.newaxis] if found.ndim < like.ndim else found, like.shape)


def _rows(batch: Batch, rows: Int64Array) -> Batch:
    columns: dict[str, Any] = {field.name: getattr(batch, field.name)[rows] for field in fields(Batch)}
    # What was bought of solar energy does not depend on the use, and was netted already.
    return Batch(**columns | {"solar": np.full(rows.shape[0], Solar.NONE.code, dtype=np.int8)})


def _from(batch: Batch, limit: np.datetime64, tariffs: Tariffs) -> Batch:
    """Return the bills from ``limit`` on: energy is shared out by days, and the tiers stay those of the whole cycle.

    Of a meter that was read at a change of price only the part in which the limit lies is shared out. Households that
    had changed by then are those of the limit.
    """
    days = (batch.end_on - batch.start_on).astype(np.int64) + 1
    dropped = np.clip((limit - batch.start_on).astype(np.int64), 0, days - 1)
    cut = dropped > 0
    if not cut.any():
        return batch
    nominal = batch.nominal_days.copy()
    for row in np.flatnonzero(cut & (nominal == 0)).tolist():
        nominal[row] = cycle_days(batch.start_on[row].item())
    measured = batch.reactive_varh != NOT_MEASURED
    reactive = _after(batch.reactive_varh, dropped, days)
    energy, before = _cut_energy(batch, limit, dropped, days, tariffs)
    return replace(
        batch,
        start_on=np.where(cut, limit, batch.start_on).astype("datetime64[D]"),
        nominal_days=nominal,
        energy_wh=np.where(cut[:, np.newaxis], energy, batch.energy_wh),
        before_change_wh=np.where(cut[:, np.newaxis, np.newaxis], before, batch.before_change_wh),
        reactive_varh=np.where(cut & measured, reactive, batch.reactive_varh),
        **households_from(batch, cut, limit),
    )


def _cut_energy(
    batch: Batch, limit: np.datetime64, dropped: Int64Array, days: Int64Array, tariffs: Tariffs
) -> tuple[Int64Array, Int64Array]:
    """Return what is left of the energy, and of that up to the changes of price the meter was read at.

    [Wh, n × 3; n × k × 3]
    """
    energy = _after(batch.energy_wh, dropped[:, np.newaxis], days[:, np.newaxis])
    before = batch.before_change_wh.copy()
    for row in np.flatnonzero((before[:, 0, 0] != NOT_MEASURED) & (dropped > 0)).tolist():
        start_on, end_on = batch.start_on[row].item(), batch.end_on[row].item()
        firsts = (start_on, *tariffs.changes_within(start_on, end_on))
        read = before[row][before[row, :, 0] != NOT_MEASURED]
        if len(firsts) != len(read) + 1:
            continue  # the engine holds it
        parts = np.diff(read, axis=0, prepend=0 * energy[None, row], append=batch.energy_wh[None, row])
        cut_on = limit.item()
        at = sum(first <= cut_on for first in firsts) - 1  # the part in which the limit lies
        following = (*firsts, end_on + timedelta(days=1))[at + 1]
        parts[at] = _after(parts[at], (cut_on - firsts[at]).days, (following - firsts[at]).days)
        until = np.cumsum(parts[at:], axis=0)
        energy[row] = until[-1]
        before[row] = NOT_MEASURED
        before[row, : len(until) - 1] = until[:-1]
    return energy, before


def _after(energy: Int64Array, dropped: Int64Array | int, days: Int64Array | int) -> Int64Array:
    """Return what is left of energy that flowed over ``days`` when the first ``dropped`` of them are left out."""
    until = divide_half_up(energy * dropped, days * WH_PER_KWH) * WH_PER_KWH
    return energy - np.minimum(until, energy)
