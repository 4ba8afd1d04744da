"""Load profiles: rates to the minute, programmes per meter, and the register to the Wh."""

from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.codes import Hold
from billing_core.intervals import MISSING, Profiles, energy_by_rate, highest_demand_w, reconcile
from billing_core.tariff_files import load_tariffs
from billing_core.time_of_use import Programme, rate_at

OLD, NEW = load_tariffs().schedules
ALWAYS = np.datetime64("2000-01-01T00:00")
MONDAY_UTC = np.datetime64("2025-11-30T17:00")  # midnight in Hanoi


def day_of(minutes: int, energy, days: int = 1) -> Profiles:
    start_at = MONDAY_UTC + np.arange(0, 1440 * days, minutes).astype("timedelta64[m]")
    return Profiles(start_at=start_at, minutes=minutes, energy_wh=np.array(energy, dtype=np.int64))


def test_a_monday_at_one_kilowatt_has_five_peak_and_six_off_peak_hours():
    rates, hold = energy_by_rate(day_of(30, [[500] * 48]), [Programme(changes=((ALWAYS, OLD),))], np.zeros(1, np.int8))
    assert rates.tolist() == [[13_000, 5_000, 6_000]]
    assert hold.tolist() == [0]


def test_an_interval_across_a_change_of_rate_is_shared_by_minutes_and_loses_nothing():
    energy = np.zeros((1, 24), dtype=np.int64)
    energy[0, 9] = 1_001  # 09:00 to 10:00: half an hour normal, half an hour peak
    rates, _ = energy_by_rate(day_of(60, energy), [Programme(changes=((ALWAYS, OLD),))], np.zeros(1, np.int8))
    assert rates.tolist() == [[501, 500, 0]]


def test_each_meter_keeps_its_schedule_until_it_is_programmed_again():
    noon = np.datetime64("2025-12-01T05:00")
    programmes = [Programme(changes=((ALWAYS, OLD),)), Programme(changes=((ALWAYS, OLD), (noon, NEW)))]
    rates, _ = energy_by_rate(day_of(30, [[500] * 48] * 2), programmes, np.array([0, 1]))
    assert rates.tolist() == [[13_000, 5_000, 6_000], [13_000, 2_000 + 5_000, 4_000]]


def test_a_holiday_is_like_a_sunday_only_for_a_schedule_that_says_so():
    resting = replace(OLD, holidays_as_sunday=True)
    holidays = load_tariffs().holidays_between(date(2025, 1, 1), date(2025, 12, 31))
    assert date(2025, 9, 2) in holidays
    assert date(2025, 4, 7) in holidays
    ten = np.array(["2025-09-02T10:00"], dtype="datetime64[m]")
    assert [rate_at(schedule, ten, holidays)[0] for schedule in (OLD, resting)] == [1, 0]


def test_a_missing_interval_holds_its_meter_alone():
    energy = [[500] * 48, [500] * 47 + [MISSING]]
    rates, hold = energy_by_rate(day_of(30, energy), [Programme(changes=((ALWAYS, OLD),))], np.zeros(2, np.int8))
    assert hold.tolist() == [0, Hold.INTERVAL_MISSING.code]
    assert rates[1].tolist() == [0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([5, 7, 15, 30, 45, 60]), st.integers(0, 10**6), st.integers(0, 2**32))
def test_rates_sum_to_the_profile_and_agree_with_a_walk_through_the_minutes(minutes, most, seed):
    energy = np.random.default_rng(seed).integers(0, most + 1, (2, -(-1440 * 2 // minutes)))
    profiles = day_of(minutes, energy, days=2)
    rates, _ = energy_by_rate(profiles, [Programme(changes=((ALWAYS, OLD),))], np.zeros(2, np.int8))
    assert (rates.sum(axis=1) == energy.sum(axis=1)).all()
    wanted = [Fraction(0)] * 3
    each = MONDAY_UTC + np.arange(420, 420 + minutes * energy.shape[1]).astype("timedelta64[m]")
    for minute, rate in enumerate(rate_at(OLD, each).tolist()):
        wanted[rate] += Fraction(int(energy[0, minute // minutes]), minutes)
    assert all(abs(found - exact) <= energy.shape[1] for found, exact in zip(rates[0].tolist(), wanted, strict=True))


@settings(max_examples=80)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.integers(-3_000, 3_000))
def test_a_reconciled_profile_sums_to_its_register_and_no_interval_is_negative(energy, off):
    register = max(0, sum(energy) + off)
    profiles = Profiles(
        start_at=MONDAY_UTC + np.arange(len(energy)).astype("timedelta64[m]"), minutes=1, energy_wh=np.array([energy])
    )
    found = reconcile(profiles, np.array([register]), np.array([3_000]))
    assert found.difference_wh[0] == register - sum(energy)
    if sum(energy) == 0 and register:
        assert found.hold[0] == Hold.INTERVALS_AGAINST_REGISTER.code
    else:
        assert found.hold[0] == 0
        assert found.energy_wh.sum() == register
        assert (found.energy_wh >= 0).all()


def test_a_difference_the_display_cannot_explain_holds_the_bill():
    found = reconcile(day_of(720, [[500, 500]] * 3), np.array([3_001, 999, -1]), np.array([2_000] * 3))
    assert found.hold.tolist() == [Hold.INTERVALS_AGAINST_REGISTER.code, 0, Hold.INTERVALS_AGAINST_REGISTER.code]


def test_the_highest_demand_is_that_of_half_an_hour_on_the_clock():
    energy = np.zeros((2, 96), dtype=np.int64)
    energy[0, [3, 4]] = 900  # next to each other, but of two half hours
    energy[0, [10, 11]] = 600
    energy[1] = MISSING
    assert highest_demand_w(day_of(15, energy)).tolist() == [2_400, MISSING]
    with pytest.raises(ValueError, match="expected 30, 15"):
        highest_demand_w(day_of(20, np.zeros((1, 72), dtype=np.int64)))
