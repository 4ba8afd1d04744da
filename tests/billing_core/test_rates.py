"""General tariffs: five ways to settle solar energy, ratchets, minima; sums exact whatever the type and the window."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.rates.accumulate import Calendar, Sums, accumulate, calendar_of
from billing_core.rates.bill import as_money, charge_years
from billing_core.rates.tariff import Level, Metering, Ratchet, RateTariff

FLAT = RateTariff(energy=((Level(upto=None, price=200_000, sell=50_000),),))  # 0.20 and 0.05 for a kWh
KWH = 1_000
NANO = 10**9


def year(load_kwh, generation_kwh, peak_w=0) -> Sums:
    """Twelve months of one customer and period, in kWh; flows cross fully where both are given."""
    load, generation = (
        np.array(column, dtype=np.int64).reshape(12, 1, 1) * KWH for column in (load_kwh, generation_kwh)
    )
    peak = np.broadcast_to(np.array(peak_w, dtype=np.int64), 12).reshape(12, 1, 1)
    return Sums(imported=load, exported=generation, load=load, generation=generation, peak_w=peak, load_peak_w=peak)


def first(values, count: int = 4) -> list[float]:
    return (values[:count, 0] / NANO).tolist()


SUNNY = year([100, 100, 300, 100, *[100] * 8], [300, 100, 100, 0, *[0] * 8])


def test_carry_over_hands_on_energy_and_buys_what_is_left_at_the_settlement():
    tariff = replace(FLAT, metering=Metering.CARRY_OVER, settle_month=2, settle_price=10_000)
    found = charge_years(SUNNY, tariff)
    assert found.carried_wh[:3, 0].tolist() == [200 * KWH, 0, 0]
    assert first(found.total) == [0, -2.0, 40.0, 20.0]  # 200 kWh bought at 0.01 at the end of February
    kept = charge_years(SUNNY, replace(tariff, settle_month=12))
    assert first(kept.total) == [0, 0, 0, 20.0]


def test_a_monthly_credit_is_money_that_pays_for_later_energy_until_it_is_settled():
    found = charge_years(SUNNY, replace(FLAT, metering=Metering.MONTHLY_CREDIT))
    assert first(found.total) == [0, 0, 30.0, 20.0]  # 200 kWh × 0.05 = 10 off the 40 of March
    assert first(found.carried) == [10.0, 10.0, 0, 0]
    settled = charge_years(SUNNY, replace(FLAT, metering=Metering.MONTHLY_CREDIT, settle_month=1))
    assert first(settled.total) == [-10.0, 0, 40.0, 20.0]


def test_net_billing_pays_for_each_intervals_surplus_and_a_bill_may_be_below_zero():
    found = charge_years(SUNNY, replace(FLAT, metering=Metering.NET_BILLING))
    assert first(found.total) == [5.0, 15.0, 55.0, 20.0]
    generous = replace(FLAT, energy=((Level(upto=None, price=200_000, sell=400_000),),))
    assert first(charge_years(SUNNY, generous).total, 1) == [-100.0]


def test_net_billing_with_carry_over_pays_with_later_bills_and_its_credit_expires():
    generous = replace(
        FLAT, energy=((Level(upto=None, price=200_000, sell=400_000),),), metering=Metering.NET_BILLING_CARRY_OVER
    )
    found = charge_years(SUNNY, generous)
    assert first(found.total) == [0, 0, 0, 0]
    assert first(found.carried) == [100.0, 120.0, 100.0, 80.0]
    expired = charge_years(SUNNY, replace(generous, settle_month=2))
    assert first(expired.total) == [0, 0, 20.0, 20.0]
    assert first(expired.carried) == [100.0, 0, 0, 0]


def test_buy_all_has_two_meters():
    assert first(charge_years(SUNNY, replace(FLAT, metering=Metering.BUY_ALL)).total) == [5.0, 15.0, 55.0, 20.0]


def test_what_is_bought_may_be_capped_by_what_was_generated():
    found = charge_years(SUNNY, replace(FLAT, bought_percent_max=20))
    assert first(found.bought) == [60 * 0.05, 20 * 0.05, 20 * 0.05, 0]


def test_a_ratchet_bills_a_share_of_the_months_before_and_a_floor():
    demand = (Level(upto=5_000, price=2_000_000), Level(upto=None, price=3_000_000))
    tariff = replace(FLAT, demand=demand, ratchet=Ratchet(months=2, percent=80, least_w=1_000))
    found = charge_years(year([0] * 12, [0] * 12, [10_000, 500, 500, 500, *[0] * 8]), tariff)
    # 10 kW: 5 × 2 + 5 × 3. Then 80 % of 10 kW: 5 × 2 + 3 × 3, for two months; then the floor of 1 kW.
    assert first(found.demand) == [25.0, 19.0, 19.0, 2.0]


def test_minima_are_reached_and_not_passed():
    monthly = charge_years(SUNNY, replace(FLAT, fixed_monthly=1_000_000, minimum_monthly=21_500_000))
    assert first(monthly.total) == [21.5, 21.5, 56.0, 21.5]
    yearly = charge_years(year([0] * 12, [0] * 12), replace(FLAT, minimum_annual=7_000_000))
    assert yearly.total[:, 0].tolist() == [0] * 11 + [7 * NANO]


def test_tiers_of_the_month_are_shared_among_its_periods_and_lose_nothing():
    tiers = tuple(
        (Level(upto=100 * KWH, price=low), Level(upto=None, price=high))
        for low, high in ((100_000, 200_000), (300_000, 400_000))
    )
    used = np.zeros((12, 2, 1), dtype=np.int64)
    used[0] = [[90 * KWH], [60 * KWH]]
    none = np.zeros_like(used)
    sums = Sums(imported=used, exported=none, load=used, generation=none, peak_w=none, load_peak_w=none)
    # 100 kWh in the first tier and 50 in the second, of each 60 % and 40 %.
    assert first(charge_years(sums, RateTariff(energy=tiers)).total, 1) == [6 + 6 + 12 + 8]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([np.int16, np.int32, np.int64]), st.integers(1, 40), st.integers(0, 2**32))
def test_sums_are_those_of_a_walk_through_the_intervals(kind, customers, seed):
    rng = np.random.default_rng(seed)
    moments = np.arange("2025-01-01T00:00", "2026-01-01T00:00", 480, dtype="datetime64[m]")
    weekday, weekend = (rng.integers(0, 3, (12, 24)) for _ in range(2))
    weekday[0, 0] = 2
    calendar = calendar_of(moments, weekday, weekend, 480)
    most = rng.choice([10, 30_000])
    load, sun = (rng.integers(0, most, (moments.shape[0], customers), dtype=kind) for _ in range(2))
    sums = accumulate(calendar, load, sun)
    net = load.astype(np.int64) - sun
    for month in (0, 6, 11):
        for period in range(3):
            rows = (calendar.month == month) & (calendar.period == period)
            assert (sums.imported[month, period] == np.maximum(net[rows], 0).sum(axis=0)).all()
            assert (sums.exported[month, period] == np.maximum(-net[rows], 0).sum(axis=0)).all()
            assert (sums.peak_w[month, period] == np.maximum(net[rows], 0).max(axis=0, initial=0) * 60 // 480).all()
            assert (
                sums.load_peak_w[month, period] == load[rows].max(axis=0, initial=0).astype(np.int64) * 60 // 480
            ).all()
    assert sums.load.sum() == load.sum(dtype=np.int64)
    assert (sums.imported - sums.exported == sums.load - sums.generation).all()


CALENDAR = Calendar(month=np.zeros(4, np.int8), period=np.zeros(4, np.int8), periods=1, minutes=30)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (np.full((4, 1), -1, np.int32), "below 0"),
        (np.full((4, 1), -1, np.int16), "below 0"),
        (np.full((4, 1), 2**31 - 1, np.int32), "above"),
        (np.full((4, 1), 10**10, np.int64), "above"),
        (np.full((4, 1), 1.5), "expected int16"),
        (np.full((3, 1), 1, np.int32), "expected 4"),
    ],
)
def test_intervals_that_cannot_be_are_refused(load, message: str):
    with pytest.raises(ValueError, match=message):
        accumulate(CALENDAR, load, np.zeros_like(load))


WRONG = [
    {"energy": ()},
    {"energy": ((Level(upto=5, price=1),),)},
    {"energy": ((Level(upto=5, price=1), Level(upto=5, price=1), Level(upto=None, price=1)),)},
    {"energy": ((Level(upto=None, price=-1),),)},
    {"energy": ((Level(upto=None, price=1),), (Level(upto=3, price=1), Level(upto=None, price=1)))},
    {"demand_by_period": ((), ())},
    {"fixed_monthly": -1},
    {"settle_month": 13},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_tariff_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"found|expected|settle_month"):
        replace(FLAT, **wrong)


def test_amounts_that_could_leave_64_bits_are_refused():
    dear = replace(FLAT, energy=((Level(upto=None, price=10**11),),))
    with pytest.raises(ValueError, match="64 bits"):
        charge_years(year([10**6] * 12, [0] * 12), dear)
    with pytest.raises(ValueError, match="periods"):
        charge_years(SUNNY, replace(FLAT, energy=FLAT.energy * 2))


def test_money_is_rounded_once_half_up_away_from_zero():
    assert as_money(np.array([1_500_000_000, -1_500_000_000, 499_999_999]), NANO).tolist() == [2, -2, 0]
