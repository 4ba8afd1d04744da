"""The surcharge for reactive energy, and the settlement of rooftop solar."""

from datetime import date
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing_core.batch import batch_of
from billing_core.codes import Category, Hold, Solar
from billing_core.engine import charge
from billing_core.reactive import power_factor, surcharge
from billing_core.solar import price_in
from billing_core.tariff_files import load_tariffs


def k_percent(hundredths: int) -> float:
    (table,) = load_tariffs().power_factor
    return int(surcharge(np.array([hundredths]), table)[0]) / 100


@pytest.mark.parametrize(
    ("hundredths", "percent"), [(100, 0), (90, 0), (89, 1.12), (80, 12.5), (75, 20), (60, 50), (59, 52.54), (0, 52.54)]
)
def test_the_surcharge_is_the_table_of_the_circular(hundredths, percent):
    assert k_percent(hundredths) == percent


@given(st.integers(0, 10**13), st.integers(0, 10**13))
@example(active=0, reactive=0)
@example(active=4, reactive=3)
@example(active=10**13, reactive=1)
def test_the_power_factor_is_the_exact_quotient_rounded_half_up(active, reactive):
    check_power_factor(active, reactive)


def check_power_factor(active: int, reactive: int) -> None:
    c = int(power_factor(np.array([active]), np.array([reactive]))[0])
    squared = active**2 + reactive**2
    if not squared:
        assert c == 100
        return
    assert Fraction(2 * c - 1) * abs(2 * c - 1) * squared <= (200 * active) ** 2 < Fraction(2 * c + 1) ** 2 * squared


@pytest.mark.parametrize("c", range(100))
def test_a_power_factor_next_to_a_half_is_decided_exactly(c):
    """The best fractions below 10¹² to c + ½ hundredths are nearer than floating point can tell, on either side."""
    odd = 2 * c + 1
    ratio = Fraction(isqrt(odd**2 * 10**80 // (200**2 - odd**2)), 10**40)  # A/Q where 100 A/√(A² + Q²) = c + ½
    for most in (10**4, 10**8, 10**10, 10**11, 10**12):
        near = ratio.limit_denominator(most)
        check_power_factor(near.numerator, near.denominator)


def settled(regime: Solar, **columns):
    given_columns = {
        "energy_wh": [100_000],
        "start_on": date(2025, 12, 1),
        "end_on": date(2025, 12, 31),
        "category": Category.RESIDENTIAL.code,
        "solar": regime.code,
    }
    return charge(batch_of(**given_columns | columns), load_tariffs())


def test_net_metering_carries_the_surplus_to_the_next_cycle():
    first = settled(Solar.NET_2017, export_wh=180_000)
    assert (first.total[0], first.purchase.amount[0], first.purchase.carry_out_wh[0]) == (0, 0, 80_000)
    second = settled(Solar.NET_2017, export_wh=0, carry_in_wh=first.purchase.carry_out_wh)
    assert second.billed_wh[0] == 20_000
    assert second.subtotal[0] == 20 * 1984
    assert second.purchase.carry_out_wh[0] == 0


def test_net_metering_buys_what_is_left_when_it_is_settled():
    found = settled(Solar.NET_2017, export_wh=180_000, settle_carry=True, solar_price=2_086)
    assert found.purchase.amount[0] == 80 * 2_086
    assert found.purchase.carry_out_wh[0] == 0


def test_separate_settlement_bills_the_import_and_buys_the_export():
    found = settled(Solar.SEPARATE_2020, export_wh=50_500, solar_price=1_943)
    assert found.subtotal[0] == 50 * 1984 + 50 * 2050
    assert found.purchase.amount[0] == 98_122  # 50.5 × 1,943 = 98,121.5, half up


def test_surplus_is_bought_up_to_a_share_of_what_was_generated():
    for regime, bought in ((Solar.SURPLUS_2024, 40_000), (Solar.SURPLUS_2026, 90_000)):
        found = settled(regime, export_wh=90_000, generation_wh=200_000, solar_price=671)
        assert found.purchase.energy_wh[0] == bought
        assert found.purchase.amount[0] == bought * 671 // 1000


def test_a_purchase_without_a_known_price_waits_and_the_bill_goes_out():
    found = settled(Solar.SURPLUS_2026, export_wh=90_000, generation_wh=200_000)
    assert (found.hold[0], found.purchase.hold[0]) == (Hold.NONE.code, Hold.NO_SOLAR_PRICE.code)
    assert found.total[0] > 0
    assert found.purchase.amount[0] == 0


def test_a_purchase_without_the_generation_it_is_a_share_of_waits():
    found = settled(Solar.SURPLUS_2024, export_wh=90_000, solar_price=671)
    assert (found.hold[0], found.purchase.hold[0]) == (Hold.NONE.code, Hold.GENERATION_UNKNOWN.code)


def test_net_metering_by_three_rates_is_held():
    found = settled(Solar.NET_2017, three_rates=True)
    assert found.hold[0] == Hold.NET_METERING_THREE_RATES.code


@pytest.mark.parametrize(
    ("regime", "year", "price"),
    [
        (Solar.NET_2017, 2017, 2_086),  # named by Decision 11/2017
        (Solar.SEPARATE_2020, 2020, 1_943),  # named by Decision 13/2020
        (Solar.SEPARATE_2020, 2021, 1_938),  # 8.38 ¢ × 23,131 = 1,938.4
        (Solar.SEPARATE_2019, 2019, 2_134),  # 9.35 ¢ × 22,825 = 2,134.1
        (Solar.SEPARATE_2020, 2099, None),
        (Solar.SURPLUS_2024, 2025, None),
    ],
)
def test_a_solar_price_is_the_published_one_or_cents_at_the_years_rate(regime, year, price):
    tariffs = load_tariffs()
    found = price_in(tariffs.solar_rule(regime), year, tariffs.exchange_rates)
    assert (None if found is None else found.price) == price
