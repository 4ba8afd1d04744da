"""Mixed use on whole columns: shares sum to the meter, one bill alone is the plain bill, faults hold one bill."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.batch import batch_of
from billing_core.codes import Category, Hold, Voltage
from billing_core.engine import charge
from billing_core.mixed_use import WHOLE_BP, Uses, charge_uses
from billing_core.tariff_files import load_tariffs

TARIFFS = load_tariffs()
LT6 = Voltage.LT6.code


def december(energy, **columns):
    return batch_of(energy_wh=energy, start_on="2025-12-01", end_on="2025-12-31", category=0, **columns)


def uses_of(rows: list[tuple[int, Category, int]]) -> Uses:
    bill, category, share = zip(*rows, strict=True)
    return Uses(
        bill=np.array(bill),
        category=np.array([member.code for member in category], dtype=np.int8),
        voltage=np.full(len(rows), LT6, dtype=np.int8),
        share_bp=np.array(share),
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 9_999)), min_size=1, max_size=6))
def test_the_uses_of_a_meter_sum_to_its_energy_and_their_lines_to_the_bill(bills):
    batch = december([energy for energy, _ in bills])
    rows = [(n, use, share) for n, (_, bp) in enumerate(bills)
            for use, share in ((Category.RESIDENTIAL, bp), (Category.BUSINESS, WHOLE_BP - bp))]  # fmt: skip
    charges = charge_uses(batch, uses_of(rows), TARIFFS)
    lines = charges.lines()
    energy, amount = np.zeros((2, len(bills)), dtype=np.int64)
    np.add.at(energy, lines.bill, lines.energy_wh)
    np.add.at(amount, lines.bill, lines.amount)
    assert energy.tolist() == [energy for energy, _ in bills] == charges.billed_wh.tolist()
    assert (amount == charges.subtotal).all()


@settings(max_examples=30)
@given(st.integers(0, 10**8))
def test_one_use_of_all_the_energy_is_the_plain_bill(energy):
    plain = charge(december([energy]), TARIFFS)
    alone = charge_uses(december([energy]), uses_of([(0, Category.RESIDENTIAL, WHOLE_BP)]), TARIFFS)
    assert (plain.total[0], plain.vat[0]) == (alone.total[0], alone.vat[0])
    assert plain.lines().amount.tolist() == alone.lines().amount.tolist()


def test_shares_that_are_not_the_whole_hold_their_bill_and_no_other():
    rows = [
        (0, Category.RESIDENTIAL, 6_000),
        (0, Category.BUSINESS, 3_000),
        (1, Category.RESIDENTIAL, 6_000),
        (1, Category.BUSINESS, 4_000),
        (2, Category.BUSINESS, 5_000),
        (2, Category.BUSINESS, 5_000),
        (3, Category.RESIDENTIAL, 12_000),
        (3, Category.BUSINESS, -2_000),
    ]
    charges = charge_uses(december([100_000] * 4), uses_of(rows), TARIFFS)
    held = Hold.SHARES_INVALID.code
    assert charges.hold.tolist() == [held, 0, held, held]
    assert charges.total[[0, 2, 3]].tolist() == [0, 0, 0]
    assert set(charges.lines().bill.tolist()) == {1}


def test_the_surplus_of_solar_is_taken_off_before_the_uses_share():
    batch = december([100_000], export_wh=40_000, solar=1)
    rows = [(0, Category.RESIDENTIAL, 5_000), (0, Category.BUSINESS, 5_000)]
    charges = charge_uses(batch, uses_of(rows), TARIFFS)
    assert charges.billed_wh.tolist() == [60_000]
    assert charges.lines().energy_wh.tolist() == [30_000, 30_000]


def test_a_use_of_an_unknown_category_holds_its_bill():
    uses = uses_of([(0, Category.RESIDENTIAL, 5_000), (0, Category.BUSINESS, 5_000), (1, Category.BUSINESS, WHOLE_BP)])
    uses.category[1] = 99
    charges = charge_uses(december([100_000] * 2), uses, TARIFFS)
    assert charges.hold.tolist() == [Hold.CODE_UNKNOWN.code, 0]
    assert charges.total.tolist() == [0, round(100 * 3152 * 1.08)]


def test_a_bill_without_a_use_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="without a use"):
        charge_uses(december([100_000] * 2), uses_of([(0, Category.RESIDENTIAL, WHOLE_BP)]), TARIFFS)


def test_the_surcharge_for_reactive_energy_lies_on_the_shop_and_not_on_the_household():
    """cosφ of the whole meter is 0.80, so k is 12.5 % of the shop's 500 kWh at 3,152 đ; the household pays none of it.

    Circular 15/2014/TT-BCT is about who uses electricity for production, business and services.
    """
    rows = [(0, Category.RESIDENTIAL, 5_000), (0, Category.BUSINESS, 5_000)]
    plain, surcharged = (
        charge_uses(december([1_000_000], **columns), uses_of(rows), TARIFFS)
        for columns in ({}, {"reactive_varh": 750_000})
    )
    assert surcharged.subtotal[0] - plain.subtotal[0] == 500 * 3152 * 125 // 1000
    as_before = december([1_000_000], reactive_varh=750_000, exempt_surcharged=True)
    both = charge_uses(as_before, uses_of(rows), TARIFFS)
    assert both.subtotal[0] - plain.subtotal[0] == 374_563  # 12.5 % of 1,420,500 đ too, half up


@pytest.mark.parametrize("category", [Category.RESIDENTIAL, Category.PREPAID])
def test_a_household_alone_pays_no_surcharge_whatever_its_power_factor(category: Category):
    plain, asked = (
        charge(
            batch_of(
                energy_wh=[100_000], start_on="2025-12-01", end_on="2025-12-31", category=category.code, **columns
            ),
            TARIFFS,
        )
        for columns in ({}, {"power_factor_percent": 50})
    )
    assert plain.total.tolist() == asked.total.tolist()
