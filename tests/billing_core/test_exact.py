"""The engine against the exact recomputation, which shares nothing with it but the tariff files."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.tariff_files import load_tariffs
from deploy.demo.exact import exact_bill
from deploy.demo.exact_values import NotBillableError, Use, half_up
from tests.billing_core.around_comparison import correction_differences, profile_differences
from tests.billing_core.comparison import differences, exactly, quote_differences
from tests.billing_core.crowded_calendar import crowded_tables, crowded_tariffs, crowded_use
from tests.billing_core.random_uses import random_use, with_own_plan, with_reading_at_change

BILLS = 2_000
SEED = 20_260_301


@cache
def random_uses() -> list[Use]:
    rng = Random(SEED)
    return [with_reading_at_change(random_use(rng), rng) for _ in range(BILLS)]


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


def test_every_feature_is_among_the_bills_that_are_computed():
    computed = [use for use in random_uses() if exactly(use) is not None]
    for name, least in (
        ("meters", 200),
        ("uses", 80),
        ("household_changes", 80),
        ("tenants", 25),
        ("person_days", 25),
        ("cosphi", 100),
        ("demand_kw", 3),
        ("undeclared_rental", 15),
        ("before_changes_kwh", 50),
    ):
        assert sum(bool(getattr(use, name)) for use in computed) >= least, name
    assert sum(use.category.startswith("wholesale") for use in computed) > 300


def test_bills_of_a_month_in_which_the_price_changes_several_times_agree_to_the_dong():
    """No act has made that of a real calendar, so the files have invented ones."""
    rng = Random(SEED)
    uses, billed, asked = [crowded_use(rng) for _ in range(1_500)], [], []
    found = differences(uses, billed, crowded_tariffs(), crowded_tables())
    found += quote_differences(uses[:500], asked, crowded_tariffs(), crowded_tables())
    assert not found, "\n".join(found[:3])
    several = [use for use in billed if len(use.before_changes_kwh) > 1]
    assert len(several) > 200
    assert len([use for use in billed if use.category == "residential" and not use.before_changes_kwh]) > 50
    assert any(use.uses for use in several)
    assert any(use.export_before_changes_kwh and use.export_by_rate_kwh for use in several)
    assert sum(len(use.before_changes_kwh) > 1 for use in asked) > 25


def test_bills_by_plans_of_a_utility_of_its_own_agree_to_the_dong():
    rng = Random(SEED)
    uses = [with_own_plan(use, rng) for use in random_uses()[:800]]
    billed: list[Use] = []
    found = differences(uses, billed)
    assert not found, "\n".join(found[:3])
    planned = [use.plan for use in billed if use.plan is not None]
    for name in ("single", "rates", "tiers", "fixed", "minimum", "demand", "ratchet_percent", "tax_permille"):
        assert sum(bool(getattr(plan, name)) for plan in planned) > 25, name


def test_quotes_asked_for_in_words_agree_to_the_dong():
    asked: list[Use] = []
    found = quote_differences(random_uses()[:500], asked)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:3])
    assert len(asked) > 200
    for name in ("meters", "uses", "tenants", "solar", "before_changes_kwh"):
        assert any(getattr(use, name) for use in asked), name


def test_load_profiles_walked_minute_by_minute_have_the_same_rates_and_demand():
    found, uses = profile_differences(Random(SEED), 25)
    assert not found, "\n".join(found[:3])
    assert differences(uses) == []


def test_corrections_of_wrong_prices_agree_to_the_dong():
    rng, computed = Random(SEED), 0
    for _ in range(6):
        found, some = correction_differences(rng, 60)
        assert not found, "\n".join(found[:3])
        computed += some
    assert computed > 100


@given(st.integers(min_value=0))
def test_a_random_bill_alone_agrees_also_with_fractional_tiers(seed: int):
    use = replace(random_use(Random(seed)), quota_unit_kwh=Fraction(1, 1000))
    assert differences([use]) == []


@pytest.mark.parametrize(("value", "wanted"), [("1/2", 1), ("3/2", 2), ("149/100", 1), ("0", 0), ("22609.6", 22610)])
def test_the_recomputation_rounds_half_up(value: str, wanted: int):
    assert half_up(Fraction(value)) == wanted


def test_the_recomputation_refuses_what_the_rules_do_not_price():
    use = Use(category="business", start_on=date(2025, 5, 1), end_on=date(2025, 5, 31), kwh={"SG": Fraction(5)})
    with pytest.raises(NotBillableError, match="read on that day"):
        exact_bill(use)
    with pytest.raises(NotBillableError, match="no act"):
        exact_bill(replace(use, start_on=date(2015, 3, 1), end_on=date(2015, 3, 14)))
    untaxed = load_tariffs().vat[-1].end_on + timedelta(days=1)
    household = replace(use, category="residential", start_on=untaxed - timedelta(days=1), end_on=untaxed)
    with pytest.raises(NotBillableError, match="rate of tax"):
        exact_bill(household)
