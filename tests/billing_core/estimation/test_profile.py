"""Readings inside gaps of a register profile: whatever is lost, the energy around it is kept to the Wh."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from billing_core.estimation.boundary import carried_on, spread_by_days
from billing_core.estimation.profile import RegisterProfile, between, lone_misreadings, readings_in_gaps
from billing_core.estimation.provenance import Method
from protocols.errors import UsageError

SLOTS = 48
RANGE_WH = 10**9
energies = arrays(np.int64, (2, SLOTS), elements=st.integers(0, 5_000))
reads = arrays(np.bool_, (2, SLOTS + 1))
starts = st.integers(0, RANGE_WH - 1)


def registers_of(energy: np.ndarray, start: int) -> np.ndarray:
    index = np.zeros((2, SLOTS + 1), dtype=np.int64)
    index[:, 1:] = np.cumsum(energy, axis=1)
    return (index + start) % RANGE_WH


@given(energy=energies, read=reads, shape=energies, start=starts)
def test_filled_readings_rise_and_keep_the_energy_between_the_readings_around_each_gap(energy, read, shape, start):
    profile = RegisterProfile(registers_of(energy, start), read, np.full(2, RANGE_WH))
    _, missing = between(profile)
    if ((profile.index_wh[:, 0] > profile.index_wh[:, -1]) & (start * 10 <= RANGE_WH * 9)).any():
        return  # went round from too low to be taken for a rollover
    filled = readings_in_gaps(profile, missing, shape, np.full(missing.shape, 3, dtype=np.int8))
    index, known = profile.index_wh.copy(), read.copy()
    assert not read[filled.row, filled.instant].any()
    index[filled.row, filled.instant] = filled.index_wh
    known[filled.row, filled.instant] = True
    for row in range(2):
        places = np.flatnonzero(read[row])
        if not places.size:
            assert not (filled.row == row).any()
            continue
        assert known[row, places[0] :].all()
        assert not known[row, : places[0]].any()
        for first, last in pairwise(places):
            counted = (profile.index_wh[row, last] - profile.index_wh[row, first]) % RANGE_WH
            steps = np.diff(index[row, first : last + 1]) % RANGE_WH
            assert steps.sum() == counted == energy[row, first:last].sum()


@given(energy=energies, place=st.integers(1, SLOTS - 1), off=st.integers(10_001, 10**8), below=st.booleans())
def test_a_reading_further_off_than_two_intervals_is_named_and_nothing_else(energy, place, off, below):
    index = registers_of(energy, 2 * 10**8)
    index[0, place] += -energy[0, place - 1] - off if below else energy[0, place] + off
    wrong = lone_misreadings(index, np.ones(index.shape, dtype=np.bool_))
    assert np.argwhere(wrong).tolist() == [[0, place]]


@given(energy=energies, read=reads)
def test_registers_that_only_rise_have_no_misreading(energy, read):
    assert not lone_misreadings(registers_of(energy, 0), read).any()


def test_a_gap_over_which_the_register_fell_and_one_without_a_method_get_nothing():
    profile = RegisterProfile(np.array([[500, 0, 400, 0]]), np.array([[True, False, True, False]]), np.array([0]))
    nothing = np.zeros((1, 3), dtype=np.int8)
    wanted = np.ones((1, 3), dtype=np.bool_)
    assert readings_in_gaps(profile, wanted, np.zeros((1, 3), np.int64), nothing).row.tolist() == []


@given(
    old=st.integers(0, 10**9), more=st.integers(0, 10**9), days=st.lists(st.integers(1, 31), min_size=1, max_size=12)
)
def test_readings_spread_by_days_end_in_the_last_one_and_each_part_is_within_a_wh_of_its_share(old, more, days):
    values = [old, *spread_by_days(old, old + more, days).tolist()]
    assert values[-1] == old + more
    for (before, after), own in zip(pairwise(values), days, strict=True):
        assert abs((after - before) * sum(days) - more * own) < sum(days)


def test_a_register_that_fell_is_not_spread():
    with pytest.raises(UsageError, match="found 5 Wh, then 4 Wh"):
        spread_by_days(5, 4, [30])


def test_a_register_is_carried_on_by_the_first_method_that_knows_a_days_energy():
    taken = [(Method.E4_LAST_YEAR, -5, 30), (Method.E6_AVERAGE_DAY, 310, 31), (Method.E7_CLASS_PROFILE, 1, 1)]
    assert carried_on(1_000, 3, taken) == (1_030, Method.E6_AVERAGE_DAY)
    assert carried_on(1_000, 3, taken[:1]) is None
