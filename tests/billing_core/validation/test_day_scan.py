"""The scan of the days is exact: the same as counting one interval after the other, in 32 bits as in 64."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.validation import day_scan
from billing_core.validation.day_scan import WeeklyBand, scan_days
from billing_core.validation.parameters import columns_on, load_parameters
from billing_core.validation.series import Intervals
from protocols.errors import UsageError

PER_DAY = 24


def columns(meters: int):
    return columns_on(load_parameters(), date(2026, 1, 1), np.zeros(meters, dtype=np.int8))


def random_intervals(seed: int, largest: int) -> Intervals:
    rng = np.random.default_rng(seed)
    meters, days = int(rng.integers(1, 5)), int(rng.integers(1, 10))
    energy = rng.integers(-largest // 10, largest + 1, (meters, days * PER_DAY)) // 4 * 4
    energy[rng.random(energy.shape) < 0.3] = 0
    repeat = rng.random(energy.shape) < 0.3
    repeat[:, 0] = False
    for meter, slot in np.argwhere(repeat):
        energy[meter, slot] = energy[meter, slot - 1]
    return Intervals(energy_wh=energy, missing=rng.random(energy.shape) < 0.1, slots_per_day=PER_DAY)


def slowly(intervals: Intervals, floor: int, percent: int, band: WeeklyBand) -> dict[str, list[list[int]]]:
    """Count one interval after the other."""
    names = ("missing", "zeros", "lowest", "total", "highest", "third", "jumps", "repeats", "equal_yesterday",
             "equal_week", "unusual")  # fmt: skip
    out: dict[str, list[list[int]]] = {name: [] for name in names}
    for meter, gone in zip(intervals.energy_wh.tolist(), intervals.missing.tolist(), strict=True):
        row = [0 if absent else value for value, absent in zip(meter, gone, strict=True)]
        number = len(out["missing"])
        rows: dict[str, list[int]] = {name: [] for name in names}
        for begin in range(0, len(row), PER_DAY):
            day = range(begin, begin + PER_DAY)
            ordered = sorted((row[slot] for slot in day), reverse=True)
            rows["missing"].append(sum(gone[s] for s in day))
            rows["zeros"].append(sum(not gone[s] and row[s] == 0 for s in day))
            rows["lowest"].append(min(row[s] for s in day))
            rows["total"].append(sum(row[s] for s in day))
            rows["highest"].append(ordered[0])
            rows["third"].append(max(0, ordered[2]))
            rows["jumps"].append(
                sum(
                    row[s] - row[s - 1] > floor and 100 * (row[s] - row[s - 1]) > percent * row[s - 1]
                    for s in day
                    if s and not gone[s] and not gone[s - 1]
                )
            )
            rows["repeats"].append(sum(s > 0 and row[s] != 0 and row[s] == row[s - 1] for s in day))
            for name, lag in (("equal_yesterday", PER_DAY), ("equal_week", 7 * PER_DAY)):
                rows[name].append(sum(s >= lag and row[s] != 0 and row[s] == row[s - lag] for s in day))
            hours = [(band.first_weekday + s // PER_DAY) % 7 * 24 + s % PER_DAY for s in day]
            rows["unusual"].append(
                sum(
                    not gone[s] and not band.low[number, hour] <= row[s] <= band.high[number, hour]
                    for s, hour in zip(day, hours, strict=True)
                )
            )
        for name in names:
            out[name].append(rows[name])
    return out


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([100, 5_000, 3_000_000, 10**9, 10**12]))
def test_the_scan_is_what_counting_one_by_one_gives(seed, largest):
    intervals = random_intervals(seed, largest)
    parameters = columns(intervals.meters)
    rng = np.random.default_rng(seed + 1)
    low = rng.integers(-largest, largest, (intervals.meters, 168))
    band = WeeklyBand(low, low + largest // 2, int(rng.integers(7)))
    scan = scan_days(intervals, parameters, band)
    expected = slowly(intervals, int(parameters["jump_floor_w"][0]), int(parameters["jump_percent"][0]), band)
    for name, rows in expected.items():
        assert getattr(scan, name).tolist() == rows, (name, seed)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_runs_are_maximal_and_hold_one_value(seed):
    intervals = random_intervals(seed, 1_000)
    scan = scan_days(intervals, columns(intervals.meters))
    row = np.where(intervals.missing, 0, intervals.energy_wh)
    for runs, zero in ((scan.stuck, False), (scan.zero_runs, True)):
        for meter, start, length in zip(*runs, strict=True):
            values = row[meter, start : start + length]
            assert (values == values[0]).all()
            assert (values[0] == 0) == zero
            end = start + length
            assert end == row.shape[1] or row[meter, end] != values[0] or intervals.missing[meter, end]
    in_runs = sum(scan.zero_runs.length.tolist())
    assert in_runs == int(((intervals.energy_wh == 0) & ~intervals.missing).sum())


def test_blocks_do_not_show(monkeypatch):
    intervals = random_intervals(5, 900)
    whole = scan_days(intervals, columns(intervals.meters))
    monkeypatch.setattr(day_scan, "BLOCK_READINGS", 1)
    apart = scan_days(intervals, columns(intervals.meters))
    for name in ("total", "third", "jumps", "repeats", "equal_week"):
        assert (getattr(whole, name) == getattr(apart, name)).all()
    assert [column.tolist() for column in whole.stuck] == [column.tolist() for column in apart.stuck]


@pytest.mark.parametrize(
    ("energy", "missing", "per_day", "message"),
    [
        (np.zeros((1, 24)), np.zeros((1, 24), dtype=bool), 24, "found float64 of 2 dimensions; expected int64"),
        (np.zeros((1, 25), dtype=np.int64), np.zeros((1, 25), dtype=bool), 24, "whole days"),
        (np.zeros((1, 24), dtype=np.int64), np.zeros((1, 24), dtype=bool), 7, "expected one of"),
        (np.zeros((1, 0), dtype=np.int64), np.zeros((1, 0), dtype=bool), 24, "leave out what has no readings"),
        (np.full((1, 24), 10**14), np.zeros((1, 24), dtype=bool), 24, "mark it missing"),
    ],
)
def test_intervals_that_cannot_be_are_refused_at_the_door(energy, missing, per_day, message):
    with pytest.raises(UsageError, match=message):
        Intervals(energy_wh=energy, missing=missing, slots_per_day=per_day)


def test_no_meters_are_no_trouble():
    empty = Intervals(energy_wh=np.zeros((0, 48), dtype=np.int64), missing=np.zeros((0, 48), dtype=bool))
    assert scan_days(empty, columns(0)).total.shape == (0, 1)
