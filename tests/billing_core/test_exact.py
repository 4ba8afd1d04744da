"""The engine against the exact recomputation, which shares nothing with it but the tariff files."""

from dataclasses import replace
from datetime import date
from fractions import Fraction
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.charges import Charges
from billing_core.codes import QuotaRounding
from billing_core.engine import charge
from billing_core.tariff_files import load_tariffs
from deploy.demo.exact import ExactBill, NotBillableError, Use, exact_bill, half_up
from tests.billing_core.random_uses import as_batch, random_use

BILLS = 2_000
SEED = 20_260_301


@cache
def random_uses() -> list[Use]:
    rng = Random(SEED)
    return [random_use(rng) for _ in range(BILLS)]


def exactly(use: Use) -> ExactBill | None:
    try:
        return exact_bill(use)
    except NotBillableError:
        return None


def engine_says(charges: Charges, row: int, lines: list[tuple[Fraction, int, int]]) -> ExactBill | None:
    """Return row ``row`` of the engine's result in the words of the recomputation; ``None`` if it is held."""
    if charges.hold[row]:
        return None
    purchase = charges.purchase
    return ExactBill(
        lines=tuple(lines),
        subtotal=int(charges.subtotal[row]),
        vat=int(charges.vat[row]),
        total=int(charges.total[row]),
        bought_kwh=Fraction(int(purchase.energy_wh[row]), 1000),
        purchase=None if purchase.hold[row] else int(purchase.amount[row]),
        carry_out_kwh=Fraction(int(purchase.carry_out_wh[row]), 1000),
    )


def differences(uses: list[Use], rounding: QuotaRounding = QuotaRounding.KWH) -> list[str]:
    charges = charge(as_batch(uses), load_tariffs(), quota_rounding=rounding)
    lines: list[list[tuple[Fraction, int, int]]] = [[] for _ in uses]
    columns = charges.lines()
    for bill, energy, price, amount in zip(
        columns.bill.tolist(), columns.energy_wh.tolist(), columns.price.tolist(), columns.amount.tolist(), strict=True
    ):
        lines[bill].append((Fraction(energy, 1000), price, amount))
    found = []
    for row, use in enumerate(uses):
        wanted, got = exactly(use), engine_says(charges, row, lines[row])
        if wanted is not None and got is not None and wanted.purchase is None and got.purchase is None:
            wanted = replace(wanted, bought_kwh=got.bought_kwh)  # held: what would be bought is not settled
        if wanted != got:
            found.append(f"{use}\n exact  {wanted}\n engine {got}")
    return found


def test_thousands_of_random_bills_agree_to_the_dong():
    found = differences(random_uses())
    assert not found, f"{len(found)} of {BILLS} differ (seed {SEED}):\n" + "\n".join(found[:3])


def test_most_random_bills_are_computed_and_every_kind_of_line_is_among_them():
    """A comparison of bills that are all held would prove nothing."""
    bills = [bill for use in random_uses() if (bill := exactly(use)) is not None]
    assert len(bills) > 0.8 * BILLS
    assert sum(bill.carry_out_kwh > 0 for bill in bills) > 15
    assert sum(bool(bill.purchase) for bill in bills) > 100
    assert sum(any(price == 0 for _, price, _ in bill.lines) for bill in bills) > 100
    assert sum(len(bill.lines) > 6 for bill in bills) > 25


@given(st.integers(min_value=0))
def test_a_random_bill_alone_agrees_also_with_fractional_tiers(seed: int):
    use = replace(random_use(Random(seed)), quota_unit_kwh=Fraction(1, 1000))
    assert differences([use], QuotaRounding.WH) == []


@pytest.mark.parametrize(("value", "wanted"), [("1/2", 1), ("3/2", 2), ("149/100", 1), ("0", 0), ("22609.6", 22610)])
def test_the_recomputation_rounds_half_up(value: str, wanted: int):
    assert half_up(Fraction(value)) == wanted


def test_the_recomputation_refuses_what_the_rules_do_not_price():
    use = Use(category="business", start_on=date(2025, 5, 1), end_on=date(2025, 5, 31), kwh={"SG": Fraction(5)})
    with pytest.raises(NotBillableError, match="read on that day"):
        exact_bill(use)
    with pytest.raises(NotBillableError, match="no act"):
        exact_bill(replace(use, start_on=date(2015, 3, 1), end_on=date(2015, 3, 14)))
    with pytest.raises(NotBillableError, match="rate of tax"):
        exact_bill(replace(use, start_on=date(2026, 12, 2), end_on=date(2027, 1, 1)))
