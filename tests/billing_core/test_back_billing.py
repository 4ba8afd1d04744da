"""Billed at the wrong price: the difference of what was and what should have been, period by period."""

from datetime import date

import numpy as np
import pytest

from billing_core.back_billing import correct_bills, corrected_from
from billing_core.batch import batch_of
from billing_core.codes import Category, Certainty, Hold
from billing_core.engine import charge
from billing_core.rate_plan import RatePlan
from billing_core.tariff_files import load_tariffs

TARIFFS = load_tariffs()
STARTS = np.arange("2025-06", "2026-04", dtype="datetime64[M]")
BILLED = batch_of(
    energy_wh=[200_000] * 10,
    start_on=STARTS.astype("datetime64[D]"),
    end_on=(STARTS + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D"),
    category=Category.RESIDENTIAL.code,
)
SHOP = {"category": Category.BUSINESS.code}


def test_a_shop_billed_as_a_household_owes_the_difference_of_each_month():
    found = correct_bills(BILLED, SHOP, TARIFFS, found_on=date(2026, 3, 31), since_on=date(2026, 1, 1))
    assert found.bill.tolist() == [7, 8, 9]
    # 200 kWh × 3,152 đ = 630,400 đ instead of 99,200 + 102,500 + 238,000 = 439,700 đ; 8 % tax on each.
    assert found.subtotal.tolist() == [190_700] * 3
    assert found.total.tolist() == [680_832 - 474_876] * 3


def test_a_household_billed_as_a_shop_is_paid_back():
    shops = batch_of(energy_wh=[200_000], start_on="2026-01-01", end_on="2026-01-31", category=Category.BUSINESS.code)
    found = correct_bills(
        shops, {"category": Category.RESIDENTIAL.code}, TARIFFS, found_on=date(2026, 2, 1), since_on=date(2025, 1, 1)
    )
    assert found.total.tolist() == [474_876 - 680_832]


def test_where_the_begin_is_unknown_twelve_months_are_corrected_and_not_a_day_more():
    found = correct_bills(BILLED, SHOP, TARIFFS, found_on=date(2026, 6, 20))
    assert found.bill.tolist() == list(range(10))
    assert found.start_on[0] == np.datetime64("2025-06-20")
    # June is cut: 19 of 30 days are 127 of 200 kWh, so 73 kWh are corrected, in tiers of 11/30.
    assert found.wrong.lines().energy_wh[found.wrong.lines().bill == 0].tolist() == [18_000, 18_000, 37_000]
    assert found.right.billed_wh[0] == 73_000


@pytest.mark.parametrize(
    ("found_on", "since_on", "first"),
    [
        (date(2026, 6, 20), None, date(2025, 6, 20)),
        (date(2024, 2, 29), None, date(2023, 2, 28)),
        (date(2026, 6, 20), date(2020, 1, 5), date(2020, 1, 5)),
    ],
)
def test_the_first_day_is_the_change_of_use_or_a_year_back(found_on, since_on, first):
    assert corrected_from(found_on, since_on) == first


def test_nothing_wrong_makes_no_difference_and_a_period_before_is_left_alone():
    found = correct_bills(BILLED, {}, TARIFFS, found_on=date(2026, 3, 31))
    assert found.total.tolist() == [0] * 10
    assert correct_bills(BILLED, SHOP, TARIFFS, found_on=date(2025, 5, 1)).bill.size == 0
    assert found.wrong.total.tolist() == charge(BILLED, TARIFFS).total.tolist()


def test_households_that_changed_before_the_limit_are_those_of_the_days_that_are_corrected():
    """June 2025 had one household, from the 10th on three; corrected from the 20th on: 73 kWh in tiers of 33/30."""
    billed = batch_of(
        energy_wh=[200_000],
        start_on="2025-06-01",
        end_on="2025-06-30",
        category=Category.RESIDENTIAL.code,
        households_changed_on=np.datetime64("2025-06-10"),
        households_after=3,
    )
    found = correct_bills(billed, SHOP, TARIFFS, found_on=date(2025, 7, 1), since_on=date(2025, 6, 20))
    assert found.hold.tolist() == [0]
    assert found.wrong.lines().energy_wh.tolist() == [55_000, 18_000]


def test_of_a_meter_read_at_a_change_of_price_only_the_part_with_the_limit_is_shared_out():
    """The price of 10 May 2025: 90 kWh in nine days before it, 220 in the 22 days from it on."""
    billed = batch_of(
        energy_wh=[310_000],
        start_on="2025-05-01",
        end_on="2025-05-31",
        category=Category.RESIDENTIAL.code,
        before_change_wh=[[90_000, 0, 0]],
    )
    for since_on, wanted in ((date(2025, 5, 4), 60_000 + 220_000), (date(2025, 5, 10), 220_000)):
        found = correct_bills(billed, SHOP, TARIFFS, found_on=date(2025, 6, 1), since_on=since_on)
        assert (found.hold.tolist(), found.right.billed_wh.tolist()) == ([0], [wanted])
    last = correct_bills(billed, SHOP, TARIFFS, found_on=date(2025, 6, 1), since_on=date(2025, 5, 21))
    assert last.right.billed_wh.tolist() == [110_000]


def test_a_shop_billed_by_the_plan_of_homes_owes_the_difference_of_what_the_plans_charge():
    """From 21 June on 10 of 30 days: 67 of 200 kWh at 400 or 700, a fixed charge of 5,000 or 9,000, 10 % tax."""
    of_homes, of_shops = (
        RatePlan(
            name=name,
            effective_on=date(2020, 1, 1),
            source="invented",
            certainty=Certainty.UNVERIFIED,
            single=price,
            fixed_monthly=fixed,
            tax_permille=100,
        )
        for name, price, fixed in (("home", 400, 5_000), ("shop", 700, 9_000))
    )
    billed = batch_of(
        energy_wh=[200_000],
        start_on="2025-06-01",
        end_on="2025-06-30",
        category=Category.RESIDENTIAL.code,
        rate_plan=0,
    )
    found = correct_bills(
        billed,
        {"rate_plan": 1},
        TARIFFS,
        found_on=date(2025, 7, 1),
        since_on=date(2025, 6, 21),
        plans=(of_homes, of_shops),
    )
    assert found.subtotal.tolist() == [67 * 300 + 3_000 - 1_667]
    assert found.vat.tolist() == [4_990 - 2_847]


def test_a_period_that_has_no_right_price_is_held():
    found = correct_bills(BILLED, {"category": Category.TOURISM.code}, TARIFFS, found_on=date(2026, 3, 31))
    assert set(found.hold.tolist()) == {Hold.NO_PRICE.code}
    assert not found.total.any()
    with pytest.raises(TypeError, match="unknown columns"):
        correct_bills(BILLED, {"use": 1}, TARIFFS, found_on=date(2026, 3, 31))
