"""Copied days and copied stretches: V28.

Two ways of seeing a copy, for two shapes of it:

* a day equals yesterday's or last week's in at least 90 % of its intervals;
* a stretch of twelve intervals stands in the window twice, at whatever distance: found by fingerprints of all
  stretches, sorted per meter.

Each is held against how often intervals of this very meter are equal, so that street lighting, vacant flats and meters
that count in few steps are not called copies. What stands still is not a copy (V26), nor is a stretch of zeros.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.runs import profile_step
from billing_core.validation.screening import FloatArray

INTERVALS_LEAST = 12  # a quarter of a day must be there and not zero before a day can be called a copy
USUAL_QUANTILE = 0.7  # up to three days in ten may be copies
STEPS_LEAST = 10  # a load that counts in fewer steps repeats its days by itself
STEPS_CHANCE = 0.6  # over the root of the steps: how often values that scatter as counts do are equal
LIKE_PAIRS_LEAST = 8
STRETCH = 12
WHOLE_PERCENT = 96  # of a day's intervals that are not zero, for the day to be one copy: an edge may be cut
STRETCH_SURPRISE = 10  # powers of ten; a window has a million pairs of stretches
BLOCK_METERS = 128
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)  # odd, from SplitMix64


def v28_copied(scan: DayScan, parameters: Columns, energy_wh: Int64Array) -> Finding:
    """Find days that repeat other days of the same meter, whole or for six hours."""
    present = scan.present - scan.zeros
    enough = present >= INTERVALS_LEAST
    mask = np.zeros(present.shape, dtype=np.bool_)
    rate = np.full(present.shape[0], 0.5 / scan.slots_per_day)
    for equal, lag in ((scan.equal_yesterday, 1), (scan.equal_week, 7)):
        share = equal / np.maximum(present, 1)
        if present.shape[1] <= lag:
            continue
        usual = np.quantile(share[:, lag:], USUAL_QUANTILE, axis=1).clip(0.5 / scan.slots_per_day, 0.999)
        rate = np.maximum(rate, usual)
        unlikely = equal * -np.log10(usual)[:, None] >= parameters["stuck_exponent"][:, None]
        mask |= (equal * 100 >= parameters["copied_percent"][:, None] * present) & unlikely & enough
    whole_day = (scan.equal_yesterday == present) | (scan.equal_week == present)
    exact = mask & whole_day & (scan.repeats * 2 < present) & (present * 2 >= scan.slots_per_day)
    for meter in np.flatnonzero(mask.any(axis=1)):
        step = profile_step(energy_wh[meter])
        large = scan.third[meter] >= STEPS_LEAST * step
        for day in np.flatnonzero(mask[meter] & ~exact[meter]):
            most = max(scan.equal_yesterday[meter, day], scan.equal_week[meter, day])
            surprise = most * -np.log10(_chance(scan, int(meter), int(day), step))
            mask[meter, day] = large[day] and surprise >= int(parameters["stuck_exponent"][meter])
    mask |= _same_stretches(scan, energy_wh, rate)
    return found("V28", mask, equal_yesterday=scan.equal_yesterday, equal_week=scan.equal_week, intervals=present)


def _same_stretches(scan: DayScan, energy_wh: Int64Array, rate: FloatArray) -> BoolArray:
    """Return the days in which the later of two equal, lively stretches ends. [meters × days]"""
    per_day = scan.slots_per_day
    mask = np.zeros(scan.missing.shape, dtype=np.bool_)
    rows = np.flatnonzero(rate**per_day < 10.0**-STRETCH_SURPRISE)  # of the others not even a day could be told
    for begin in range(0, rows.size, BLOCK_METERS):
        part = rows[begin : begin + BLOCK_METERS]
        energy = energy_wh[part]
        unlike = -1 - np.arange(energy.shape[1] - STRETCH + 1)
        lively = _lively(energy)
        # Half the bits to find, all of them to be sure.
        ordered = np.where(lively, _fingerprints(energy.astype(np.int32)), unlike.astype(np.int32))
        ordered.sort(axis=1)
        again = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        marks = np.where(lively[again], _fingerprints(energy[again]), unlike)
        for place, row in zip(again.tolist(), marks, strict=True):
            mask[part[place]] = _days_with_repeats(scan, int(part[place]), row, energy[place])
    return mask


def _lively(energy: Int64Array) -> BoolArray:
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
    pairs = mixed[:, :-1] + mixed[:, 1:] * factors[1]
    fours = pairs[:, :-2] + pairs[:, 2:] * factors[2]
    eights = fours[:, :-4] + fours[:, 4:] * factors[3]
    marks: NDArray[Any] = eights[:, :-4] + fours[:, 8 : 8 + eights.shape[1] - 4] * factors[0]
    return marks


def _days_with_repeats(scan: DayScan, meter: int, marks: Int64Array, row: Int64Array) -> BoolArray:
    """Return the days whose repeated stretches are longer than chance makes them on this meter, at this load."""
    per_day = scan.slots_per_day
    days = np.zeros(scan.missing.shape[1], dtype=np.bool_)
    order = np.argsort(marks, kind="stable")
    later = np.zeros(marks.shape, dtype=np.bool_)
    later[order[1:]] = marks[order[1:]] == marks[order[:-1]]
    places = np.flatnonzero(later)
    originals = np.zeros(marks.shape, dtype=np.int64)
    originals[order[1:]] = order[:-1]
    ends = (places + STRETCH - 1) // per_day
    step = profile_step(row) if places.size else 1
    for day in np.unique(ends):
        mine = places[ends == day]
        length = min(mine.size + STRETCH - 1, int(mine[-1] - mine[0]) + STRETCH)
        if length < per_day:
            length = max(length, _equal_at_one_distance(row, int(day), per_day, mine - originals[mine]))
        steps = max(1.0, float(row[mine[0] : mine[-1] + STRETCH].mean()) / step)
        by_steps = STEPS_CHANCE / np.sqrt(steps)
        if length * -np.log10(by_steps) >= STRETCH_SURPRISE:
            chance = max(_chance(scan, meter, int(day), step), by_steps)
            days[day] = length * -np.log10(chance) >= STRETCH_SURPRISE
    return days


def _equal_at_one_distance(row: Int64Array, day: int, per_day: int, distances: Int64Array) -> int:
    """Return how many intervals of a day equal those at the distance that its stretches have most, if all but zeros do.

    A lamp's evening and its morning are two stretches, and one copy.
    """
    counted = Counter(distances.tolist())
    most = max(counted.values())
    distance = min(each for each, count in counted.items() if count == most)
    begin = max(day * per_day, distance)
    today = row[begin : (day + 1) * per_day]
    before = row[begin - distance : begin - distance + today.size]
    there = int(np.count_nonzero(today))
    equal = int(np.count_nonzero((today == before) & (today != 0)))
    return equal if equal * 100 >= WHOLE_PERCENT * there else 0


def _chance(scan: DayScan, meter: int, day: int, step: int) -> float:
    """Return how often an interval of a day like this one equals that of a day or a week before.

    Days of another level are no measure: a school in its holidays counts in few steps. Where too few days are like it,
    the chance is taken from how many steps its intervals have.
    """
    total = scan.total[meter]
    present = np.maximum(scan.slots_per_day - scan.missing[meter] - scan.zeros[meter], 1)
    like = np.abs(total - total[day]) * 2 <= total[day]
    shares = [
        equal[meter, lag:][like[lag:] & like[:-lag]] / present[lag:][like[lag:] & like[:-lag]]
        for equal, lag in ((scan.equal_yesterday, 1), (scan.equal_week, 7))
        if total.size > lag
    ]
    known = np.concatenate([*shares, np.zeros(0)])
    floor = 0.5 / scan.slots_per_day
    if known.size >= LIKE_PAIRS_LEAST:
        known.sort()
        return float(known[int(USUAL_QUANTILE * (known.size - 1))].clip(floor, 0.999))
    steps = max(1.0, float(total[day]) / (int(present[day]) * step))
    return min(0.999, 2 * STEPS_CHANCE / float(np.sqrt(steps)))
