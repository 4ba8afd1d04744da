"""What one day cannot tell and several can: sums that drift, lamps that moved, copies in pieces, days believed."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from billing_core.validation.believed import believed_daily
from billing_core.validation.clock_shift import v14_clock_shift
from billing_core.validation.copies import v28_copied
from billing_core.validation.day_scan import scan_days
from billing_core.validation.filled import straight_runs, v16_between_steps
from billing_core.validation.interval_rules import v26_stuck
from billing_core.validation.parameters import columns_on, load_parameters
from billing_core.validation.schedules import moved_schedules
from billing_core.validation.series import Intervals, Registers
from billing_core.validation.sum_check import SumCheck, check_sums, v30_sum

PARAMETERS = columns_on(load_parameters(), date(2026, 1, 1), np.zeros(1, dtype=np.int8))
DAYS, PER_DAY = 20, 48


def of_days(energy: np.ndarray) -> Intervals:
    row = energy.reshape(1, -1).astype(np.int64)
    return Intervals(energy_wh=row, missing=np.zeros(row.shape, dtype=bool))


def sums_of(intervals: Intervals, daily_wh: np.ndarray, resolution_wh: int) -> SumCheck:
    """Return the sum check against a register that counts ``daily_wh`` and shows steps of ``resolution_wh``."""
    index = np.concatenate([[0], np.cumsum(daily_wh)]) // resolution_wh * resolution_wh
    one = np.ones(1, dtype=np.int64)
    registers = Registers(
        index_wh=index[None, :].astype(np.int64), actual=np.ones((1, index.size), dtype=bool), digits=5 * one,
        unit_wh=1_000 * one, resolution_wh=resolution_wh * one, multiplier=one,
    )  # fmt: skip
    return check_sums(scan_days(intervals, PARAMETERS), registers, PARAMETERS, 0 * one)


def lamp(rng: np.random.Generator) -> np.ndarray:
    """Return days of a street light that goes off at six and on at half past five, in two steps. [days × slots]"""
    energy = 2_100 + 10 * rng.integers(0, 3, (DAYS, PER_DAY))
    energy[:, 12:35] = 0
    return energy


def test_a_register_that_counts_twice_shows_it_in_the_long_run_where_no_day_does():
    intervals = of_days(np.full((DAYS, PER_DAY), 15))
    sums = sums_of(intervals, np.full(DAYS, 1_440), 1_000)
    assert sums.failed[0, -10:].all()
    assert not sums.failed[0, :2].any()
    assert v30_sum(sums).at(0, DAYS - 1)["interval_wh"] == DAYS * 720
    right = sums_of(intervals, np.full(DAYS, 720), 1_000)
    assert right.passed.all()


def test_a_day_that_fails_by_itself_is_no_drift_of_the_days_after_it():
    energy = np.full((DAYS, PER_DAY), 15)
    energy[5, 3] = 9_000
    sums = sums_of(of_days(energy), np.full(DAYS, 720), 1_000)
    assert np.flatnonzero(sums.failed[0]).tolist() == [5]


@pytest.mark.parametrize("late", [-2, 2, 3])
def test_a_lamp_that_goes_off_and_on_at_another_hour_for_a_day_was_stored_at_the_wrong_time(late):
    energy = lamp(np.random.default_rng(1))
    energy[9] = np.roll(energy[9], late)
    intervals = of_days(energy)
    moved = moved_schedules(scan_days(intervals, PARAMETERS))
    assert moved[0].nonzero()[0].tolist() == [9]
    assert moved[0, 9] == late
    assert v14_clock_shift(intervals, moved).mask[0].nonzero()[0].tolist() == [9]


def test_an_outage_in_the_evening_and_the_turn_of_the_season_move_no_lamp():
    energy = lamp(np.random.default_rng(2))
    energy[9, 35:39] = 0
    energy[12:, 34] = 2_110
    energy[15:, 11] = 0
    assert not moved_schedules(scan_days(of_days(energy), PARAMETERS)).any()


def test_street_lighting_that_follows_the_sun_by_half_an_hour_has_no_wrong_clock():
    energy = lamp(np.random.default_rng(3))
    energy[9:, 12] = 2_110
    energy[6:, 35] = 0
    assert not v14_clock_shift(of_days(energy)).mask.any()


def test_of_a_clock_that_goes_wrong_the_days_before_are_believed_even_where_the_first_looks_different():
    rng = np.random.default_rng(4)
    day = 100 + 60 * np.sin(np.linspace(0, 2 * np.pi, PER_DAY)) + 300 * (np.arange(PER_DAY) > 36)
    energy = day * rng.normal(1, 0.03, (35, PER_DAY))
    energy[0] = np.roll(energy[0], -2)  # somebody rose early
    energy[14:] = np.roll(energy, -2)[14:]
    mask = v14_clock_shift(of_days(energy)).mask[0]
    assert mask[14:].all()
    assert not mask[1:14].any()


def test_a_lamps_evening_and_morning_copied_with_an_offset_are_one_copy():
    energy = lamp(np.random.default_rng(5)).reshape(-1)
    energy[9 * PER_DAY : 10 * PER_DAY] = energy[8 * PER_DAY - 1 : 9 * PER_DAY - 1]
    intervals = of_days(energy)
    found = v28_copied(scan_days(intervals, PARAMETERS), PARAMETERS, intervals.energy_wh)
    assert found.mask[0].nonzero()[0].tolist() == [9]


def test_a_value_between_the_steps_of_a_meter_behind_a_transformer_is_told_by_the_steps_of_v16():
    rng = np.random.default_rng(6)
    energy = 400 * rng.integers(5, 60, (DAYS, PER_DAY))
    energy[7, 20:28] = 8_210  # a multiple of ten, and of no step of a meter that counts in 400 Wh
    intervals = of_days(energy)
    scan = scan_days(intervals, PARAMETERS)
    sums = sums_of(intervals, energy.sum(axis=1), 400)
    _, steps = v16_between_steps(scan, intervals.energy_wh, np.array([40]))
    assert steps.tolist() == [400]
    drawn = steps, straight_runs(intervals.energy_wh, steps, PER_DAY)
    assert v26_stuck(scan, PARAMETERS, sums, intervals.energy_wh, drawn).mask[0].nonzero()[0].tolist() == [7]


def test_a_register_is_believed_in_the_holidays_and_not_where_it_was_misread_once():
    energy = np.full((DAYS, PER_DAY), 1_000)
    energy[12:] = 300  # the school is closed
    shown = energy.copy()
    shown[10:] *= 10  # the profile's ratio is wrong
    intervals = of_days(shown)
    sums = sums_of(intervals, energy.sum(axis=1), 10)
    scan = scan_days(intervals, PARAMETERS)
    failed = sums.failed
    assert failed[0, 10:].all()
    believed = believed_daily(scan, sums, failed)[0]
    assert believed.tolist() == energy.sum(axis=1).tolist()
    misread = replace(sums, register_wh=sums.register_wh + 400_000 * (np.arange(DAYS) == 4), failed=sums.failed.copy())
    misread.failed[0, 4] = True
    assert believed_daily(scan, misread, misread.failed)[0, 4] == 48_000
