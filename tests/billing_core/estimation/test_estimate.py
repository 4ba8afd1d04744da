"""Gaps are filled by the first method that applies, to the Wh of the registers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.estimation.estimate import estimate
from billing_core.estimation.like_days import middle_half
from billing_core.estimation.provenance import Method, Quality, Reason
from protocols.errors import UsageError
from tests.billing_core.estimation.series import PER_DAY, context_of, days_of

WEEKS = days_of(*([100, 110, 120, 130, 140, 300, 400] * 5))


def gap(*slots: slice) -> np.ndarray:
    missing = np.zeros(WEEKS.size, dtype=bool)
    for part in slots:
        missing[part] = True
    return missing


def day(number: int, length: int = 1) -> slice:
    return slice(number * PER_DAY, (number + length) * PER_DAY)


def test_two_hours_between_actual_values_are_a_straight_line():
    series = WEEKS.copy()
    series[48:54] = [100, 100, 130, 160, 190, 190]
    made = estimate(context_of(series, gap(slice(50, 52)), actual=False))
    assert made.intervals.energy_wh[0, 50:52].tolist() == [130, 160]
    assert set(made.method[0, 50:52].tolist()) == {Method.E1_LINEAR}


def test_no_line_is_drawn_where_like_days_show_a_switch():
    lamps = np.tile(np.repeat([0, 500, 0], [6, 12, 6]), 35)  # on at six
    rng = np.random.default_rng(3)
    series = lamps * np.repeat(rng.integers(80, 120, 35), PER_DAY) // 100
    gone = slice(14 * PER_DAY + 5, 14 * PER_DAY + 7)
    for actual in (True, False):
        made = estimate(context_of(series, gap(gone), actual=actual))
        assert set(made.method[0, gone].tolist()) == {Method.E2_NEAREST_DAYS}
        assert made.intervals.energy_wh[0, gone][0] == 0
    made = estimate(context_of(series[: 3 * PER_DAY], gap(slice(5, 7))[: 3 * PER_DAY]))
    assert set(made.method[0, 5:7].tolist()) == {Method.E1_LINEAR}  # nothing to compare with


def test_a_line_between_values_of_chance_is_drawn_flat():
    chance = np.random.default_rng(9).exponential(400, (30, 56 * PER_DAY)).astype(np.int64)
    missing = np.zeros(chance.shape, dtype=bool)
    missing[:, 28 * PER_DAY + 9 : 28 * PER_DAY + 11] = True
    made = estimate(context_of(chance, missing))
    one, two = made.intervals.energy_wh[:, 28 * PER_DAY + 9 : 28 * PER_DAY + 11].T
    flat = abs(one - two) <= 1
    assert flat.mean() > 0.3  # never before
    off = np.abs(one - chance[:, 28 * PER_DAY + 9]).sum()
    assert off < 1.1 * np.abs((one + two) / 2 - chance[:, 28 * PER_DAY + 9]).sum()


def test_beside_a_power_failure_nothing_is_interpolated():
    outage = np.zeros((1, 35), dtype=bool)
    outage[0, 2] = True
    made = estimate(context_of(WEEKS, gap(slice(50, 52)), actual=False, outage=outage))
    assert made.method[0, 50] == Method.E2_NEAREST_DAYS


def test_a_day_is_the_middle_of_the_like_days_around_it():
    made = estimate(context_of(WEEKS, gap(day(14)), actual=False))
    workdays = [WEEKS[day(number)][0] for number in range(35) if number % 7 < 5 and number != 14]
    assert (
        min(workdays) < made.intervals.energy_wh[0, day(14)].min() <= made.intervals.energy_wh[0, day(14)].max() < 140
    )
    assert set(made.method[0, day(14)].tolist()) == {Method.E2_NEAREST_DAYS}
    saturday = estimate(context_of(WEEKS, gap(day(19)), actual=False))
    assert abs(saturday.intervals.energy_wh[0, day(19)] - 300).max() < 30


def test_one_wild_evening_among_the_like_days_changes_the_shape_little():
    flat = days_of(*[100] * 35)
    wild = flat.copy()
    wild[15 * PER_DAY + 20] = 9_000
    made = estimate(context_of(wild, gap(day(14))))
    assert abs(made.intervals.energy_wh[0, day(14)] - 100).max() == 0


def test_days_of_like_energy_weigh_more_where_the_registers_say_what_the_day_took():
    heating, mild = np.array([300] * 8 + [50] * 16), np.array([50] * 16 + [100] * 8)
    series = np.concatenate([heating if number % 2 else mild for number in range(35)])
    for number, own in ((14, mild), (15, heating)):
        made = estimate(context_of(series, gap(day(number))))
        unknown = estimate(context_of(series, gap(day(number)), actual=False))
        off = [np.abs(each.intervals.energy_wh[0, day(number)] - own).sum() for each in (made, unknown)]
        assert off[0] * 3 < off[1]


def test_where_like_days_do_not_predict_the_estimate_is_flat_and_where_they_do_it_is_as_sharp_as_they_are():
    rng = np.random.default_rng(7)
    chance = rng.exponential(400, 56 * PER_DAY).astype(np.int64)
    switched = np.tile(np.repeat([20, 900, 20], [6, 10, 8]), 56)
    series = np.stack([chance, switched + rng.integers(0, 3, switched.size)])
    missing = np.zeros(series.shape, dtype=bool)
    missing[:, day(28)] = True
    made = estimate(context_of(series, missing)).intervals.energy_wh[:, day(28)]
    assert made[0].max() - made[0].min() <= 1
    assert abs(made[1] - series[1, day(28)]).max() <= 3
    assert (made.sum(axis=1) == series[:, day(28)].sum(axis=1)).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_a_meter_is_estimated_alone_as_among_others(seed):
    rng = np.random.default_rng(seed)
    series = rng.integers(0, 40, (6, 35 * PER_DAY)) * rng.integers(0, 40, (6, 1))
    missing = np.zeros(series.shape, dtype=bool)
    for meter in range(6):
        for _ in range(int(rng.integers(1, 4))):
            begin = int(rng.integers(0, series.shape[1]))
            missing[meter, begin : begin + int(rng.integers(1, 60))] = True
    together = estimate(context_of(series, missing, actual=False))
    for meter in range(6):
        alone = estimate(context_of(series[meter], missing[meter], actual=False))
        assert (alone.intervals.energy_wh[0] == together.intervals.energy_wh[meter]).all(), f"seed {seed}"
        assert (alone.method[0] == together.method[meter]).all()


def test_with_two_like_days_only_the_average_day_is_taken():
    short = WEEKS[: 7 * PER_DAY].copy()
    made = estimate(context_of(short, gap(day(1, 3))[: 7 * PER_DAY], actual=False))
    assert set(made.method[0, day(1, 3)].tolist()) == {Method.E6_AVERAGE_DAY}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_middle_half_lies_between_the_quartiles_and_does_not_know_the_order(seed, models):
    rng = np.random.default_rng(seed)
    values, weight = rng.integers(-90, 900, (2, 3, models)), np.ones((2, models))
    middle, order = middle_half(values, weight), rng.permutation(models)
    assert np.allclose(middle, middle_half(values[:, :, order], weight), rtol=1e-12)
    assert (middle >= np.quantile(values, 0.25, axis=2, method="lower") - 1e-9).all()
    assert (middle <= np.quantile(values, 0.75, axis=2, method="higher") + 1e-9).all()


def test_a_chosen_day_is_taken_where_the_gap_is_longer_than_a_week():
    made = estimate(context_of(WEEKS, gap(day(10, 10)), actual=False, fixed_day=np.array([5])))
    assert set(made.intervals.energy_wh[0, day(10, 10)].tolist()) == {300}
    assert made.method[0, 250] == Method.E3_FIXED_DAY


def test_last_year_times_the_season_and_then_the_class_and_then_what_was_agreed():
    everything = np.ones(WEEKS.size, dtype=bool)
    last_year = np.full((1, WEEKS.size), 50)
    ratio = np.array([1_500])
    made = estimate(context_of(WEEKS, everything, actual=False, last_year_wh=last_year, season_permille=ratio))
    assert made.intervals.energy_wh[0, :3].tolist() == [75, 75, 75]
    profile = np.array([[1] * 12 + [3] * 12])
    made = estimate(
        context_of(WEEKS, everything, actual=False, class_profile=profile, class_daily_wh=np.array([4_800]))
    )
    assert made.intervals.energy_wh[0, [0, 23]].tolist() == [100, 300]
    made = estimate(context_of(WEEKS, everything, actual=False, agreed_wh=np.array([0])))
    assert not made.intervals.energy_wh.any()
    assert made.quality[0, 0] == Quality.SUBSTITUTED
    assert made.reason[0, 0] == Reason.AGREED_WITH_CUSTOMER


def test_a_hot_fortnight_follows_the_temperature():
    celsius = np.tile([24, 28, 32, 26, 30, 34, 29], 5)
    series = np.repeat(100 + 10 * (celsius - 24), PER_DAY)
    temperature = 10 * celsius[None, :]
    made = estimate(context_of(series, gap(day(10, 10)), actual=False, temperature_dc=temperature))
    assert made.method[0, 250] == Method.E5_TEMPERATURE
    assert np.abs(made.intervals.energy_wh[0] - series).max() <= 1


def test_what_nothing_can_fill_stays_missing_and_says_so():
    made = estimate(context_of(WEEKS, np.ones(WEEKS.size, dtype=bool)))
    assert made.intervals.missing.all()
    assert (made.quality == Quality.MISSING).all()


def test_a_check_meter_stands_and_the_rest_is_scaled_around_it():
    check = np.broadcast_to(WEEKS + 7, (1, WEEKS.size))
    valid = np.zeros((1, WEEKS.size), dtype=bool)
    valid[0, day(10)] = True
    actual = np.zeros((1, 36), dtype=bool)
    actual[0, [10, 12]] = True
    made = estimate(context_of(WEEKS, gap(day(10), slice(270, 280)), actual=actual, check_wh=check, check_valid=valid))
    assert (made.method[0, day(10)] == Method.E0_CHECK_METER).all()
    assert (made.intervals.energy_wh[0, day(10)] == WEEKS[day(10)] + 7).all()
    assert made.intervals.energy_wh[0, day(10, 2)].sum() == WEEKS[day(10, 2)].sum()
    assert not made.conserved[0, day(10)].any()
    assert made.conserved[0, 270:280].all()


def test_more_measured_than_counted_is_reported_and_not_squeezed():
    context = context_of(WEEKS, gap(slice(50, 52)))
    context.registers.index_wh[0, 3:] -= 2_300  # the day's registers leave less than its intervals have
    made = estimate(context)
    assert not made.conserved.any()
    assert made.excess_wh[0, 2] > 0


def test_export_stays_zero_at_night_and_is_not_drawn_across_sunrise():
    sun = np.tile([0] * 6 + [10, 200, 400, 500, 600, 600, 600, 500, 400, 300, 100, 10] + [0] * 6, 35)
    night = np.tile([True] * 6 + [False] * 12 + [True] * 6, 35)[None, :]
    at_dawn = slice(14 * PER_DAY + 5, 14 * PER_DAY + 7)
    made = estimate(context_of(sun, gap(at_dawn), night=night))
    assert made.method[0, at_dawn].tolist() == [Method.E2_NEAREST_DAYS] * 2
    assert made.intervals.energy_wh[0, at_dawn].tolist() == [0, 10]
    noisy = sun + np.where(night[0], 3, 0)  # a meter that leaks at night lends no leak to the estimate
    made = estimate(context_of(noisy, gap(day(14)), actual=False, night=night))
    assert not made.intervals.energy_wh[0, day(14)][night[0, day(14)]].any()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_wh_between_actual_registers_are_kept_exactly_whatever_is_missing(seed, meters):
    rng = np.random.default_rng(seed)
    energy = rng.integers(0, 5_000, (meters, 28 * PER_DAY))
    missing = np.zeros(energy.shape, dtype=bool)
    for meter in range(meters):
        for _ in range(int(rng.integers(0, 6))):
            begin = int(rng.integers(0, energy.shape[1]))
            missing[meter, begin : begin + int(rng.integers(1, 80))] = True
    actual = rng.random((meters, 29)) < 0.6
    context = context_of(energy, missing, actual=actual)
    made = estimate(context)
    daily = made.intervals.energy_wh.reshape(meters, 28, -1).sum(axis=2)
    for meter in range(meters):
        read = np.flatnonzero(actual[meter])
        for begin, end in pairwise(read):
            if not made.intervals.missing[meter, begin * PER_DAY : end * PER_DAY].any():
                counted = context.registers.index_wh[meter, end] - context.registers.index_wh[meter, begin]
                assert daily[meter, begin:end].sum() == counted, f"seed {seed}"
    assert (made.intervals.energy_wh[~missing] == energy[~missing]).all()


def test_columns_that_do_not_fit_are_refused_with_the_shapes():
    with pytest.raises(UsageError, match=r"outage: found shape \(2, 35\); expected \(1, 35\)"):
        context_of(WEEKS, gap(), outage=np.zeros((2, 35), dtype=bool))
    with pytest.raises(UsageError, match="give both or none"):
        context_of(WEEKS, gap(), check_wh=np.zeros((1, WEEKS.size), dtype=np.int64))
