"""A transformer's balance tells a meter's fault from its owner's life, whatever the neighbours' meters do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.validation.balance import v15_balance
from billing_core.validation.believed import believed_daily, believed_of_registers
from billing_core.validation.catalogue import Severity
from billing_core.validation.validate import validate
from tests.billing_core.validation.population import copy_of, make_district

DAYS, HOMES = 31, 30
ONES = np.ones((HOMES, DAYS), dtype=bool)


def homes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what homes take a day, and what their transformer counts. [Wh]"""
    rng = np.random.default_rng(seed)
    taken = rng.normal(7_000, 500, (HOMES, DAYS)).astype(np.int64)
    return taken, (taken.sum(axis=0) * 1.02 + rng.normal(0, 80, DAYS)).astype(np.int64)[None, :]


def balance(taken, supplied):
    transformer = np.zeros(HOMES, dtype=np.int64)
    return v15_balance(taken, 0 * taken, ONES, transformer=transformer, supplied_wh=supplied, supplied=ONES[:1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("up", "down"), [(2, 3), (1, 2), (3, 2), (4, 5), (10, 1)])
def test_a_step_of_the_meter_is_blamed_on_it_and_a_step_of_the_load_on_nobody(seed, up, down):
    taken, supplied = homes(seed)
    shown = taken.copy()
    shown[3, 14:] = shown[3, 14:] * up // down
    found = balance(shown, supplied)
    assert np.flatnonzero(found.mask.any(axis=1)).tolist() == [3]
    assert found.at(3, 20)["factor"] == pytest.approx(up / down, rel=0.15)
    truly = supplied.copy()
    truly[0, 14:] += shown[3, 14:] - taken[3, 14:]
    assert not balance(shown, truly).mask.any()


@pytest.mark.parametrize("seed", range(8))
def test_a_dead_meter_is_told_from_an_empty_flat(seed):
    taken, supplied = homes(seed)
    shown = taken.copy()
    shown[5, 12:16] = 0
    assert np.argwhere(balance(shown, supplied).mask).tolist() == [[5, day] for day in range(12, 16)]
    empty = supplied.copy()
    empty[0, 12:16] -= taken[5, 12:16]
    assert not balance(shown, empty).mask.any()


def school(rng: np.random.Generator) -> np.ndarray:
    """Return the days of a school: all have the same week, and each its own luck. [Wh]"""
    week = np.array([1, 1, 1, 1, 1, 0.45, 0.12])
    return (90_000 * np.resize(week, DAYS) * rng.normal(1, 0.04, DAYS)).astype(np.int64)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("up", "down"), [(5, 4), (4, 5), (6, 5)])
def test_of_two_schools_with_one_week_the_one_whose_ratio_is_wrong_is_blamed(seed, up, down):
    taken, supplied = homes(seed)
    rng = np.random.default_rng([seed, 1])
    taken[:2] = school(rng), school(rng)
    supplied = (taken.sum(axis=0) * 1.02 + rng.normal(0, 150, DAYS)).astype(np.int64)[None, :]
    shown = taken.copy()
    shown[1, 12:] = shown[1, 12:] * up // down
    found = balance(shown, supplied)
    assert np.flatnonzero(found.mask.any(axis=1)).tolist() == [1]
    assert abs(int(found.mask[1].argmax()) - 12) <= 1


@pytest.mark.parametrize("seed", range(6))
def test_a_phase_that_is_lost_for_ten_days_is_told_by_these_days(seed):
    taken, supplied = homes(seed)
    shown = taken.copy()
    shown[3, 9:20] = shown[3, 9:20] * 1 // 3
    days = np.flatnonzero(balance(shown, supplied).mask[3])
    assert abs(int(days[0]) - 9) <= 1
    assert abs(int(days[-1]) - 19) <= 1


@pytest.mark.parametrize("seed", range(6))
def test_somebody_who_begins_to_take_past_all_meters_is_no_customers_fault(seed):
    taken, supplied = homes(seed)
    supplied = supplied.copy()
    supplied[0, 11:] += 9_000
    assert not balance(taken, supplied).mask.any()


@pytest.mark.parametrize("seed", range(6))
def test_a_transformers_own_meter_that_steps_is_no_customers_fault(seed):
    rng = np.random.default_rng(seed)
    alone = np.stack([school(rng), 0 * school(rng)])
    supplied = (alone.sum(axis=0) * 1.01 + rng.normal(0, 100, DAYS)).astype(np.int64)
    supplied[14:] = supplied[14:] * 4 // 5
    known = np.ones(alone.shape, dtype=bool)
    found = v15_balance(
        alone,
        0 * alone,
        known,
        transformer=np.zeros(2, dtype=np.int64),
        supplied_wh=supplied[None, :],
        supplied=known[:1],
    )
    assert not found.mask[0].any()


def test_a_neighbour_whose_export_is_a_guess_is_no_reason_to_blame_anybody():
    taken, _ = homes(2)
    rng = np.random.default_rng(3)
    given = np.zeros_like(taken)
    given[7] = rng.normal(60_000, 25_000, DAYS).clip(0).astype(np.int64)
    supplied = ((taken - given).sum(axis=0) * 1.02 + rng.normal(0, 80, DAYS)).astype(np.int64)[None, :]
    read_taken, read_given = taken.copy(), given.copy()
    read_taken[7, 13:] += given[7, 13:]  # its sign was lost
    read_given[7, 13:] = 0
    believed_given = given.copy()
    believed_given[7, 13:] = int(np.median(given[7, :13]))
    place = np.zeros(HOMES, dtype=np.int64)
    shown = taken.copy()
    shown[3, 16:] = shown[3, 16:] // 2
    found = v15_balance(
        shown,
        believed_given,
        ONES,
        transformer=place,
        supplied_wh=supplied,
        supplied=ONES[:1],
        read_wh=(np.where(np.arange(HOMES)[:, None] == 7, read_taken, shown), read_given),
    )
    assert np.flatnonzero(found.mask.any(axis=1)).tolist() == [3]


def test_a_meter_without_a_transformer_and_a_transformer_without_readings_say_nothing():
    taken, supplied = homes(1)
    taken[3, 14:] //= 2
    nowhere = np.full(HOMES, -1, dtype=np.int64)
    found = v15_balance(taken, 0 * taken, ONES, transformer=nowhere, supplied_wh=supplied, supplied=ONES[:1])
    assert not found.mask.any()
    found = v15_balance(
        taken, 0 * taken, ONES, transformer=0 * nowhere, supplied_wh=supplied, supplied=np.zeros((1, DAYS), dtype=bool)
    )
    assert not found.mask.any()


def test_the_believed_energy_of_a_day_is_near_the_truth_where_its_intervals_or_its_register_are_wrong():
    district = copy_of(make_district(60, 21, 9))
    true = district.true_wh.reshape(60, 21, -1).sum(axis=2)
    district.data.registers.actual[:] = True
    district.data.intervals.energy_wh[:20, 10 * 48 + 5] += 900_000
    district.data.registers.index_wh[20:40, 11] += 900_000
    result = validate(district.data, district.parameters)
    failed = result.verdict.at_least(Severity.FAIL)
    assert failed[:40, 10].all()
    believed = believed_daily(result.scan, result.sums, failed)
    off = np.abs(believed - true)[:40, 9:13]
    assert np.median(off) <= 1_000
    assert (off <= np.maximum(3_000, 3 * true[:40, 9:13])).all()


@st.composite
def registers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return what a meter takes a day, and at which midnights it was read: at the first and the last among others."""
    days = draw(st.integers(2, 30))
    energy = np.array(draw(st.lists(st.integers(0, 50_000), min_size=days, max_size=days)))
    read = np.array(draw(st.lists(st.booleans(), min_size=days - 1, max_size=days - 1)), dtype=bool)
    return energy, np.concatenate([[True], read, [True]])


@given(registers(), st.integers(0, 999_999))
def test_what_is_believed_of_a_sound_register_adds_up_to_it_and_is_the_days_own_where_both_midnights_are(taken, begin):
    energy, read = taken
    index = (begin * 1_000 + np.concatenate([[0], np.cumsum(energy)])) % 1_000_000_000
    whole, sound = np.array([1_000_000_000]), np.zeros((1, energy.size), dtype=bool)
    figure, told = believed_of_registers(np.where(read, index, 0)[None], read[None], whole, sound)
    assert told.all()
    assert 0 <= energy.sum() - figure.sum() < energy.size  # each window's share is rounded down
    known = read[1:] & read[:-1]
    assert (figure[0, known] == energy[known]).all()


def test_a_day_that_failed_and_is_far_from_usual_counts_as_the_usual_one_of_its_weekday():
    energy = np.tile([7_000, 7_000, 7_000, 7_000, 7_000, 2_000, 1_000], 4)
    energy[9], energy[19] = 90_000, 3_000
    failed = np.zeros((1, 28), dtype=bool)
    failed[0, [9, 19]] = True
    index = np.concatenate([[0], np.cumsum(energy)])[None]
    read = np.ones((1, 29), dtype=bool)
    figure, told = believed_of_registers(index, read, np.array([10**9]), failed)
    assert (figure[0, 9], figure[0, 19], told.tolist()) == (7_000, 3_000, [True])
    kept = np.flatnonzero(~failed[0])
    assert (figure[0, kept] == energy[kept]).all()
    _, none_told = believed_of_registers(index, read & (np.arange(29) == 3), np.array([10**9]), failed)
    assert none_told.tolist() == [False]


def test_registers_alone_and_with_sound_intervals_are_believed_alike():
    district = make_district(40, 28, 3)
    data = district.data
    data.registers.actual[:] = True
    result = validate(data, district.parameters)
    failed = np.zeros((40, 28), dtype=bool)
    daily = np.diff(data.registers.index_wh, axis=1) * data.registers.multiplier[:, None]
    figure, _ = believed_of_registers(data.registers.index_wh, data.registers.actual, data.registers.range_wh(), failed)
    assert (figure * data.registers.multiplier[:, None] == daily).all()
    assert (believed_daily(result.scan, result.sums, failed) == result.scan.total).all()


@pytest.mark.parametrize("seed", range(3))
def test_transformers_judged_together_are_judged_as_each_alone_whatever_is_missing(seed):
    rng = np.random.default_rng(seed)
    several = [homes(10 * seed + each) for each in range(6)]
    taken, supplied = (np.concatenate(each) for each in zip(*several, strict=True))
    taken[3, 14:] //= 2
    taken[HOMES + 5, 12:16] = 0
    taken[2 * HOMES + 1, 10:20] *= 3
    taken[3 * HOMES + 2, 8:] = taken[3 * HOMES + 2, 8:] * 3 // 2
    read = taken.copy()
    read[4 * HOMES : 4 * HOMES + 3, 9:15] //= 3
    known, counted = rng.random(taken.shape) > 0.003, rng.random(supplied.shape) > 0.05
    behind = np.repeat(np.arange(len(several)), HOMES)
    mixed = rng.permutation(taken.shape[0])

    def judged(rows, transformers, transformer):
        return v15_balance(
            taken[rows],
            0 * taken[rows],
            known[rows],
            transformer=transformer,
            supplied_wh=supplied[transformers],
            supplied=counted[transformers],
            read_wh=(read[rows], 0 * taken[rows]),
        )

    together = judged(mixed, np.arange(len(several)), behind[mixed])
    assert together.mask.any()
    for each in range(len(several)):
        here = behind[mixed] == each
        alone = judged(mixed[here], [each], np.zeros(HOMES, dtype=np.int64))
        assert np.array_equal(alone.mask, together.mask[here])
        for name, values in alone.evidence.items():
            assert values == pytest.approx(together.evidence[name][here], rel=1e-6)
