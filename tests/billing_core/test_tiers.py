"""Quotas, shares by days, and the period they are for."""

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.codes import Hold, QuotaRounding
from billing_core.period import cycle_days, plan_period
from billing_core.tariff_files import load_tariffs
from billing_core.tiers import share_by_days, split_tiers, tier_quota


def quota(width: int, days: int, nominal: int, households: Fraction, rounding=QuotaRounding.KWH) -> int:
    found = tier_quota(
        width_kwh=width,
        days=days,
        nominal_days=nominal,
        households=np.array([households.numerator]),
        households_parts=np.array([households.denominator]),
        rounding=rounding,
    )
    return int(found[0])


@pytest.mark.parametrize(
    ("width", "days", "nominal", "households", "kwh"),
    [
        (50, 57, 31, "1", 92),  # Hanoi, 2024
        (100, 57, 31, "1", 184),
        (50, 21, 30, "1", 35),  # a price change on 11 October 2024
        (100, 9, 30, "1", 30),
        (50, 30, 30, "5/4", 63),  # 62.5, half up
        (50, 30, 30, "0.625", 31),  # 75 person-days of four people and 30 days: 31.25
        (50, 28, 28, "1", 50),
        (50, 30, 31, "2", 97),
    ],
)
def test_a_quota_is_rounded_half_up_to_whole_kwh(width, days, nominal, households, kwh):
    assert quota(width, days, nominal, Fraction(households)) == kwh * 1000


def test_a_quota_may_keep_its_fraction_of_a_kwh():
    assert quota(50, 30, 30, Fraction(5, 4), QuotaRounding.WH) == 62_500
    assert quota(50, 30, 31, Fraction(1), QuotaRounding.WH) == 48_387


@pytest.mark.parametrize(
    ("start_on", "days"),
    [
        ("2015-06-16", 30),
        ("2025-12-01", 31),
        ("2025-02-01", 28),
        ("2024-02-01", 29),
        ("2024-01-04", 31),
        ("2024-09-20", 30),
        ("2025-12-20", 31),
        ("2025-01-31", 29),  # to 28 February, which has no 30th
        ("2024-01-30", 31),  # to 29 February
        ("2025-01-29", 31),
    ],
)
def test_the_nominal_cycle_is_the_month_that_begins_on_the_first_day(start_on, days):
    assert cycle_days(date.fromisoformat(start_on)) == days


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)).filter(lambda day: day.day <= 28))
def test_cycles_follow_one_another_without_gap(start_on):
    following = start_on + timedelta(days=cycle_days(start_on))
    assert following.day == start_on.day
    assert (following.year * 12 + following.month) - (start_on.year * 12 + start_on.month) == 1


def test_a_period_is_cut_where_an_act_came_into_force():
    plan = plan_period(load_tariffs(), date(2024, 9, 20), date(2024, 10, 19))
    assert not isinstance(plan, Hold)
    assert [(part.start_on.isoformat(), part.days, part.act.name) for part in plan.parts] == [
        ("2024-09-20", 21, "Decision 2941/QĐ-BCT"),
        ("2024-10-11", 9, "Decision 2699/QĐ-BCT"),
    ]


@pytest.mark.parametrize(
    ("start_on", "end_on", "nominal_days", "hold"),
    [
        ("2025-12-31", "2025-12-01", 0, Hold.PERIOD_INVALID),
        ("2025-12-01", "2025-12-31", -1, Hold.PERIOD_INVALID),
        ("2015-03-15", "2015-04-14", 0, Hold.NO_PRICE),
        ("2026-12-02", "2027-01-01", 0, Hold.NO_VAT_RATE),
    ],
)
def test_a_period_that_cannot_be_billed_says_why(start_on, end_on, nominal_days, hold):
    found = plan_period(load_tariffs(), date.fromisoformat(start_on), date.fromisoformat(end_on), nominal_days)
    assert found is hold


@pytest.mark.parametrize(
    ("energy_wh", "days", "shares"),
    [
        (300_000, (21, 9), [210_000, 90_000]),
        (600, (29, 1), [600, 0]),  # 0.58 rounds to 1 kWh, which is more than there is
        (400, (29, 1), [0, 400]),
        (100_500, (10, 10, 11), [32_000, 33_000, 35_500]),
        (0, (1, 1), [0, 0]),
    ],
)
def test_energy_is_shared_out_by_days_in_whole_kwh(energy_wh, days, shares):
    assert share_by_days(np.array([energy_wh]), days)[:, 0].tolist() == shares


@given(st.integers(0, 10**13), st.lists(st.integers(1, 100), min_size=1, max_size=5).map(tuple))
def test_shares_are_never_negative_and_sum_to_the_energy(energy_wh, days):
    shares = share_by_days(np.array([energy_wh]), days)
    assert shares.sum() == energy_wh
    assert (shares >= 0).all()


@given(st.integers(0, 10**13), st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_tiers_fill_in_order_and_hold_all_energy(energy_wh, quotas):
    held = np.empty((len(quotas) + 1, 1), dtype=np.int64)
    split_tiers(np.array([energy_wh]), np.array(quotas)[:, np.newaxis], held)
    assert held.sum() == energy_wh
    assert (held >= 0).all()
    for place, quota_wh in enumerate(quotas):
        assert held[place, 0] == quota_wh or not held[place + 1 :].any()
