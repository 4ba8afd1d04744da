"""One meter, several uses: each has its share of the energy and its own prices, and all are one bill.

The contract says the shares (living 60 %, a shop 40 %). The energy of each register is shared out in whole kWh, the
last use taking the rest, so that the uses sum to the meter exactly. Each use is charged as a bill of its own would be,
without its tax; the tax is taken once, on the sum. Rooftop solar is settled for the whole meter first. The power factor
is that of the whole meter too, and its surcharge lies on the cost of each use that is not exempt from it.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NO_PLAN, NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Category, Hold, QuotaRounding, Solar
from billing_core.engine import charge, held_at_the_door, without_held
from billing_core.reactive import power_factor
from billing_core.rounding import Int64Array, divide_half_up, multiply
from billing_core.solar import Purchase, settle_solar, with_netted_change
from billing_core.tariff import Tariffs
from billing_core.tiers import WH_PER_KWH

WHOLE_BP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What the energy of each bill is used for, as columns of k rows, those of a bill next to each other.

    Parameters
    ----------
    bill
        Row in the batch; each bill has at least one use. [k, in order]
    category, voltage
        Codes; no bill has one category twice. [k]
    share_bp
        Share of the bill's energy. [1/100 %, k]
    """

    bill: Int64Array
    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    share_bp: Int64Array


def charge_uses(
    batch: Batch, uses: Uses, tariffs: Tariffs, *, quota_rounding: QuotaRounding = QuotaRounding.KWH
) -> Charges:
    """Compute bills of mixed use; the result has a row per bill, as that of :func:`billing_core.engine.charge`.

    Parameters
    ----------
    batch
        n bills; their own category and voltage do not count.
    uses
        k uses.

    Raises
    ------
    ValueError
        If ``uses.bill`` is not in order, or leaves a bill out.
    """
    n = len(batch)
    first = np.searchsorted(uses.bill, np.arange(n))
    if (np.diff(uses.bill) < 0).any() or (first == np.append(first[1:], uses.bill.shape[0])).any():
        raise ValueError("uses.bill: found a bill without a use or out of order, expected each bill's uses in order")
    hold = held_at_the_door(replace(batch, category=uses.category[first], voltage=uses.voltage[first]))
    _hold_uses(batch, uses, hold)
    settled = without_held(batch, hold)
    energy, purchase = settle_solar(settled, tariffs)
    rows = _rows_of_uses(with_netted_change(settled, energy), uses, energy)
    parts = charge(rows, tariffs, quota_rounding=quota_rounding)
    for row in np.flatnonzero(parts.hold)[::-1].tolist():
        hold[uses.bill[row]] = hold[uses.bill[row]] or parts.hold[row]
    return _summed(parts, uses, hold, energy, purchase)


def _hold_uses(batch: Batch, uses: Uses, hold: NDArray[np.int8]) -> None:
    n = len(batch)
    shares = np.zeros(n, dtype=np.int64)
    np.add.at(shares, uses.bill, np.clip(uses.share_bp, 0, WHOLE_BP + 1))
    twice = np.zeros(n, dtype=np.bool_)
    pairs = uses.bill * len(Category) + uses.category
    _, place, count = np.unique(pairs, return_index=True, return_counts=True)
    twice[uses.bill[place[count > 1]]] = True
    none = np.zeros(n, dtype=np.bool_)
    none[uses.bill[uses.share_bp <= 0]] = True
    wrong = (shares != WHOLE_BP) | twice | none | batch.two_component | batch.undeclared_rental
    wrong |= batch.rate_plan != NO_PLAN
    hold[wrong & (hold == 0)] = Hold.SHARES_INVALID.code


def _rows_of_uses(batch: Batch, uses: Uses, energy: Int64Array) -> Batch:
    """Return a batch with a row per use: its share of each register, and the power factor of the whole.

    A meter that was read at changes of price has the energy of each part shared out by itself.
    """
    columns: dict[str, Any] = {field.name: getattr(batch, field.name)[uses.bill] for field in fields(Batch)}
    energies, until = _shared_by_part(batch.before_change_wh, energy, uses)
    measured = batch.reactive_varh != NOT_MEASURED
    factor = power_factor(energy.sum(axis=1), np.where(measured, batch.reactive_varh, 0))
    factor = np.where(measured & (batch.power_factor_percent == NOT_MEASURED), factor, batch.power_factor_percent)
    columns |= {
        "energy_wh": energies,
        "before_change_wh": until,
        "category": uses.category,
        "voltage": uses.voltage,
        "solar": np.full(uses.bill.shape[0], Solar.NONE.code, dtype=np.int8),
        "power_factor_percent": np.maximum(factor, NOT_MEASURED)[uses.bill],
    }
    return Batch(**columns)


def _shared_by_part(before: Int64Array, energy: Int64Array, uses: Uses) -> tuple[Int64Array, Int64Array]:
    """Return each use's energy, and that up to each change of price its meter was read at.

    [Wh; k × 3, k × changes × 3]
    """
    last, given = np.zeros_like(energy), np.zeros((uses.bill.shape[0], 3), dtype=np.int64)
    until = np.full((uses.bill.shape[0], *before.shape[1:]), NOT_MEASURED, dtype=np.int64)
    for change in range(before.shape[1]):
        read = before[:, change, :1] != NOT_MEASURED
        now = np.where(read, before[:, change], last)
        given = given + _shared(now - last, uses)
        until[:, change] = np.where(read[uses.bill], given, NOT_MEASURED)
        last = now
    return given + _shared(energy - last, uses), until


def _shared(energy: Int64Array, uses: Uses) -> Int64Array:
    """Return the share of each use in the registers of its bill, in whole kWh; the last one takes the rest. [Wh]"""
    first = np.flatnonzero(np.diff(uses.bill, prepend=-1))
    total = np.cumsum(uses.share_bp)
    before = np.repeat(total[first] - uses.share_bp[first], np.diff(np.append(first, uses.bill.shape[0])))
    share = np.clip(total - before, 0, WHOLE_BP)[:, np.newaxis]
    whole = energy[uses.bill]
    until = np.minimum(divide_half_up(multiply(whole, share), WHOLE_BP * WH_PER_KWH) * WH_PER_KWH, whole)
    until = np.where(share == WHOLE_BP, whole, until)
    given = np.vstack([np.zeros((1, 3), dtype=np.int64), until[:-1]])
    given[first] = 0
    shares: Int64Array = until - given
    return shares


def _summed(parts: Charges, uses: Uses, hold: NDArray[np.int8], energy: Int64Array, purchase: Purchase) -> Charges:
    """Return one row per bill; of a held bill nothing remains."""
    held = hold != 0
    subtotal, permille = np.zeros_like(hold, dtype=np.int64), np.zeros_like(hold, dtype=np.int64)
    np.add.at(subtotal, uses.bill, parts.subtotal)
    np.maximum.at(permille, uses.bill, parts.vat_permille)
    subtotal, permille = np.where(held, 0, subtotal), np.where(held, 0, permille)
    vat = divide_half_up(multiply(subtotal, permille), 1000)
    groups = []
    for group in parts.groups:
        kept = np.flatnonzero(~held[uses.bill[group.rows]])
        groups.append(
            replace(
                group,
                rows=uses.bill[group.rows[kept]],
                energy_wh=group.energy_wh[:, kept],
                amount=group.amount[:, kept],
                quota_wh=None if group.quota_wh is None else group.quota_wh[:, kept],
                factor=None if group.factor is None else group.factor[kept],
                surcharge_bp=None if group.surcharge_bp is None else group.surcharge_bp[kept],
            )
        )
    return Charges(
        subtotal=subtotal,
        vat=vat,
        total=subtotal + vat,
        vat_permille=permille,
        billed_wh=np.where(held, 0, energy.sum(axis=1)),
        hold=hold,
        purchase=purchase.without(hold),
        groups=tuple(groups),
    )
