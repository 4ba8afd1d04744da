"""Stretches that stand twice, and the step of a profile: found for many meters at once, held to what is meant."""

from collections import Counter
from itertools import pairwise
from math import gcd

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.validation.runs import STEP_PARTS, STEP_SLOTS, profile_steps
from billing_core.validation.stretches import STRETCH, Copies, copies_of_days, equal_stretches

METERS, DAYS, PER_DAY = 40, 3, 24  # more meters than a block


def meters_with_copies(seed: int) -> np.ndarray:
    """Return loads of a few steps, which repeat a little by chance, some with copied hours. [Wh, meters × slots]"""
    rng = np.random.default_rng(seed)
    energy = rng.integers(0, rng.integers(2, 40, (METERS, 1)), (METERS, DAYS * PER_DAY)) * 10
    for meter in np.flatnonzero(rng.random(METERS) < 0.5):
        length = int(rng.integers(STRETCH, PER_DAY))
        origin, copy = sorted(rng.integers(0, energy.shape[1] - length, 2))
        energy[meter, copy : copy + length] = energy[meter, origin : origin + length]
    return energy


def copies_by_hand(energy: np.ndarray) -> list[tuple[int, int, int]]:
    found = []
    for meter, row in enumerate(energy.tolist()):
        latest: dict[tuple[int, ...], int] = {}
        for start in range(len(row) - STRETCH + 1):
            stretch = tuple(row[start : start + STRETCH])
            changes = sum(after not in {before, 0} for before, after in pairwise(stretch))
            if changes * 2 < STRETCH:
                continue
            if stretch in latest:
                found.append((meter, start, latest[stretch]))
            latest[stretch] = start
    return found


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.int32, np.int64]))
def test_every_lively_stretch_that_stood_before_is_found_with_its_last_origin(seed, kind):
    energy = meters_with_copies(seed)
    rows = np.flatnonzero(np.arange(METERS) % 7 != 3)
    found = equal_stretches(energy.astype(kind), rows)
    wanted = [copy for copy in copies_by_hand(energy) if copy[0] % 7 != 3]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


def test_values_beyond_32_bits_that_are_alike_in_their_low_bits_are_no_copy():
    row = np.arange(1, 49, dtype=np.int64) * 7
    row[24:36] = row[:12] + 2**32
    assert equal_stretches(row[None], np.arange(1)).row.size == 0
    row[24:36] = row[:12]
    assert equal_stretches(row[None], np.arange(1)).start.tolist() == [24]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_day_with_copies_tells_their_number_span_distance_and_mean(seed):
    energy = meters_with_copies(seed)
    copies = equal_stretches(energy, np.arange(METERS))
    if not copies.row.size:
        return
    days = copies_of_days(copies, energy, PER_DAY)
    grouped: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, start, origin in zip(*(column.tolist() for column in Copies(*copies)), strict=True):
        grouped.setdefault((row, (start + STRETCH - 1) // PER_DAY), []).append((start, origin))
    assert list(zip(days.row.tolist(), days.day.tolist(), strict=True)) == list(grouped)
    for place, ((row, _), pairs) in enumerate(grouped.items()):
        begin, end = pairs[0][0], pairs[-1][0] + STRETCH
        distances = Counter(start - origin for start, origin in pairs)
        most = max(distances.values())
        assert (days.many[place], days.begin[place], days.end[place]) == (len(pairs), begin, end)
        assert days.distance[place] == min(each for each, count in distances.items() if count == most)
        assert days.mean_wh[place] == energy[row, begin:end].mean()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_profile_counts_in_the_step_of_most_of_its_parts(seed, parts):
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 10, 40], METERS)[:, None]
    energy = rng.integers(0, 6, (METERS, parts * STEP_SLOTS + 5)) * (rng.random((METERS, 1)) < 0.8) * steps
    energy[rng.random(energy.shape) < 0.005] = 7
    asked = rng.integers(0, METERS, 60)
    for meter, step in zip(asked, profile_steps(energy, asked), strict=True):
        whole = energy[meter, : parts * STEP_SLOTS].reshape(parts, STEP_SLOTS)[:: 1 + parts // STEP_PARTS]
        divisors = sorted(each for each in (gcd(*part.tolist()) for part in whole) if each)
        assert step == (divisors[3 * len(divisors) // 4] if divisors else 1)
