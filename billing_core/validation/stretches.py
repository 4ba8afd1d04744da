"""Stretches of intervals that stand in the window twice, at whatever distance: where they are, and on which days.

A mark is made of each stretch, of which equal stretches have the same, and each meter's marks are sorted. Few meters
have a mark twice; only of these the stretches themselves are put in order.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import Energies
from billing_core.validation.finding import BoolArray
from billing_core.validation.screening import FloatArray

STRETCH = 12
BLOCK_METERS = 32  # a month of their half-hours and a few columns like it stay in a cache of 1 MiB
_BUCKETS = 1 << 12  # by the highest bits of a mark: which marks may be there twice
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)  # odd, from SplitMix64


class Copies(NamedTuple):
    """Stretches that equal an earlier one of their meter, sorted by row and start; equally long columns."""

    row: Int64Array
    start: Int64Array
    origin: Int64Array  # where the last equal one before it starts


class DaysWithCopies(NamedTuple):
    """Days in which copies end; equally long columns."""

    row: Int64Array
    day: Int64Array
    many: Int64Array  # stretches
    begin: Int64Array  # of the first stretch
    end: Int64Array  # of the last one
    distance: Int64Array  # to their origins, that most of them have; the smallest of several such
    mean_wh: FloatArray  # energy of an interval from begin to end


def equal_stretches(energy_wh: Energies, rows: Int64Array) -> Copies:
    """Return the lively stretches that equal an earlier one, of some rows."""
    parts = [
        _equal_stretches(energy_wh, rows[begin : begin + BLOCK_METERS])
        for begin in range(0, rows.size, BLOCK_METERS)
        if energy_wh.shape[1] >= STRETCH
    ]
    if not parts:
        return Copies(*np.zeros((3, 0), dtype=np.int64))
    return Copies(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def copies_of_days(copies: Copies, energy_wh: Energies, per_day: int) -> DaysWithCopies:
    """Return the days in which copies end; there is one at least."""
    day = (copies.start + STRETCH - 1) // per_day
    edges = np.flatnonzero((np.diff(copies.row) != 0) | (np.diff(day) != 0)) + 1
    first = np.concatenate([[0], edges])
    many = np.diff(first, append=day.size)
    row, begin, end = copies.row[first], copies.start[first], copies.start[first + many - 1] + STRETCH
    slots = np.arange(per_day + STRETCH - 1)
    inside = slots < (end - begin)[:, None]
    energy = energy_wh[row[:, None], np.minimum(begin[:, None] + slots, energy_wh.shape[1] - 1)]
    mean_wh = np.where(inside, energy, 0).sum(axis=1, dtype=np.int64) / (end - begin)
    distance = _most_frequent(np.repeat(np.arange(first.size), many), copies.start - copies.origin)
    return DaysWithCopies(row, day[first], many, begin, end, distance, mean_wh)


def _most_frequent(group: Int64Array, value: Int64Array) -> Int64Array:
    """Return the value that each group has most often, the smallest of several such. [groups]"""
    order = np.lexsort((value, group))
    group, value = group[order], value[order]
    first = np.concatenate([[0], np.flatnonzero((np.diff(group) != 0) | (np.diff(value) != 0)) + 1])
    many, group, value = np.diff(first, append=order.size), group[first], value[first]
    order = np.lexsort((value, -many, group))
    group, value = group[order], value[order]
    most: Int64Array = value[np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1])]
    return most


def _equal_stretches(energy_wh: Energies, rows: Int64Array) -> Copies:
    energy = energy_wh[rows]
    lively = _lively(energy)
    marks = _fingerprints(energy.astype(np.int32, copy=False))  # half the bits to find, all of them to be sure
    np.copyto(marks, -1 - np.arange(marks.shape[1], dtype=np.int32), where=~lively)  # each unlike all others
    ordered = np.sort(marks, axis=1)
    twice = ordered[:, 1:] == ordered[:, :-1]
    again = np.flatnonzero(twice.any(axis=1))
    seen = np.zeros(again.size * _BUCKETS, dtype=np.bool_)
    own = np.arange(again.size)[:, None] * _BUCKETS
    seen[(_buckets(ordered[again, 1:]) + own)[twice[again]]] = True
    place, start = np.nonzero(seen.take(_buckets(marks[again]) + own) & lively[again])
    place = again[place]
    stretch = energy[place[:, None], start[:, None] + np.arange(STRETCH)]
    exact = _fingerprints(stretch.astype(np.int64, copy=False))[:, 0]
    order = np.lexsort((start, exact, place))
    equal = (np.diff(place[order]) == 0) & (np.diff(exact[order]) == 0)
    later, origin = order[1:][equal], start[order[:-1][equal]]
    sort = np.argsort(later)
    later = later[sort]
    return Copies(rows[place[later]], start[later], origin[sort])


def _buckets(marks: NDArray[np.int32]) -> Int64Array:
    return (marks.astype(np.int64) & 0xFFFFFFFF) >> 20


def _lively(energy: Energies) -> BoolArray:
    """Tell which stretches change, to something that is not zero, at least every other time. [meters × stretches]"""
    one = ((energy[:, 1:] != energy[:, :-1]) & (energy[:, 1:] != 0)).view(np.int8)
    two = one[:, :-1] + one[:, 1:]
    four = two[:, :-2] + two[:, 2:]
    eleven = four[:, :-7] + four[:, 4:-3] + two[:, 8:-1] + one[:, 10:]  # of a stretch's values, all but the first
    return np.asarray(eleven >= STRETCH // 2)


def _fingerprints(energy: NDArray[Any]) -> NDArray[Any]:
    """Return a mark of each stretch, in the type of ``energy``: equal stretches have equal marks, others hardly ever.

    [meters × stretches]
    """
    factors = np.array(_FACTORS, dtype=np.uint64).astype(energy.dtype)
    mixed = energy * factors[0]
    mixed ^= mixed >> (energy.dtype.itemsize * 4 - 3)  # so that sums of neighbours do not cancel
    pairs = mixed[:, 1:] * factors[1]
    pairs += mixed[:, :-1]
    fours = pairs[:, 2:] * factors[2]
    fours += pairs[:, :-2]
    marks: NDArray[Any] = fours[:, 4:-4] * factors[3]
    marks += fours[:, :-8]
    marks += fours[:, 8:] * factors[0]
    return marks
