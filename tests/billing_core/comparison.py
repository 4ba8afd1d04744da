"""The engine beside the exact recomputation: bills of both, and where they differ."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch
from billing_core.charges import Charges
from billing_core.codes import QuotaRounding, Solar
from billing_core.engine import charge
from billing_core.mixed_use import charge_uses
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from deploy.demo.exact import exact_bill
from deploy.demo.exact_values import ExactBill, NotBillableError, Use
from tests.billing_core.exact_around import Files
from tests.billing_core.quote_words import quoted, words_of
from tests.billing_core.random_uses import as_batch, as_rate_plan, as_uses, plans_of

Line = tuple[Fraction, int, int]


def exactly(use: Use, files: Files | None = None) -> ExactBill | None:
    """Return the exact bill; ``None`` if the rules give none."""
    try:
        return exact_bill(use, files)
    except NotBillableError:
        return None


def differences(
    uses: list[Use], billed: list[Use] | None = None, tariffs: Tariffs | None = None, files: Files | None = None
) -> list[str]:
    """Return the bills on which engine and recomputation differ, in words; add to ``billed`` those that are bills.

    ``tariffs`` and ``files`` are another tariff than the package's, for the one and the other.
    """
    found: list[str] = []
    billed = [] if billed is None else billed
    for mixed, rounding in product((False, True), QuotaRounding):
        unit = Fraction(1) if rounding is QuotaRounding.KWH else Fraction(1, 1000)
        some = [use for use in uses if bool(use.uses) == mixed and use.quota_unit_kwh == unit]
        if some:
            found += _compare(some, rounding, billed, mixed=mixed, tariffs=tariffs, files=files)
    return found


def quote_differences(
    uses: list[Use], asked: list[Use] | None = None, tariffs: Tariffs | None = None, files: Files | None = None
) -> list[str]:
    """Return where quotes asked in words differ from the recomputation; add to ``asked`` those words can ask for."""
    found = []
    for use in uses:
        words = words_of(use, load_tariffs() if tariffs is None else tariffs)
        if words is None:
            continue
        wanted, got = exactly(use, files), quoted(words, tariffs)
        if wanted is not None:
            wanted = replace(wanted, lines=tuple(sorted(wanted.lines)))
        if wanted is not None and got is not None and wanted.purchase is None and got.purchase is None:
            wanted = replace(wanted, bought_kwh=got.bought_kwh)
        if wanted != got:
            found.append(f"{words}\n exact {wanted}\n quote {got}")
        elif asked is not None and wanted is not None:
            asked.append(use)
    return found


def _compare(
    uses: list[Use],
    rounding: QuotaRounding,
    billed: list[Use],
    *,
    mixed: bool,
    tariffs: Tariffs | None,
    files: Files | None,
) -> list[str]:
    batch, unread = as_batch(uses)
    tariffs = load_tariffs() if tariffs is None else tariffs
    if mixed:
        charges = charge_uses(batch, as_uses(uses), tariffs, quota_rounding=rounding)
    else:
        plans = [as_rate_plan(plan) for plan in plans_of(uses)]
        charges = charge(batch, tariffs, quota_rounding=rounding, plans=plans)
    lines = _lines(charges, len(uses))
    found = []
    for row, use in enumerate(uses):
        wanted, got = exactly(use, files), _engine_says(charges, batch, row, lines[row], unread)
        if wanted is not None:
            billed.append(use)
            wanted = replace(wanted, lines=tuple(sorted(wanted.lines)) if mixed else wanted.lines)
        if wanted is not None and got is not None and wanted.purchase is None and got.purchase is None:
            wanted = replace(wanted, bought_kwh=got.bought_kwh)  # held: what would be bought is not settled
        if mixed and got is not None:
            got = replace(got, lines=tuple(sorted(got.lines)))  # the order of uses is by class, not by contract
        if wanted != got:
            found.append(f"{use}\n exact  {wanted}\n engine {got}")
    return found


def _lines(charges: Charges, bills: int) -> list[list[Line]]:
    lines: list[list[Line]] = [[] for _ in range(bills)]
    columns = charges.lines()
    figures = (columns.bill, columns.energy_wh, columns.price, columns.amount)
    for bill, energy, price, amount in zip(*(column.tolist() for column in figures), strict=True):
        lines[bill].append((Fraction(energy, 1000), price, amount))
    return lines


def _engine_says(
    charges: Charges, batch: Batch, row: int, lines: list[Line], unread: NDArray[np.int8]
) -> ExactBill | None:
    """Return row ``row`` of the engine's result in the words of the recomputation; ``None`` if it is held."""
    if charges.hold[row] or unread[row]:
        return None
    purchase, by_rate = charges.purchase, ()
    if batch.three_rates[row] and batch.solar[row] == Solar.NET_2017.code and not batch.settle_carry[row]:
        by_rate = tuple(Fraction(wh, 1000) for wh in purchase.carry_out_rates_wh[row].tolist())
    return ExactBill(
        lines=tuple(lines),
        subtotal=int(charges.subtotal[row]),
        vat=int(charges.vat[row]),
        total=int(charges.total[row]),
        bought_kwh=Fraction(int(purchase.energy_wh[row]), 1000),
        purchase=None if purchase.hold[row] else int(purchase.amount[row]),
        carry_out_kwh=Fraction(int(purchase.carry_out_wh[row]), 1000),
        carry_out_by_rate_kwh=by_rate,
    )
