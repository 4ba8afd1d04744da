"""Copied days and copied stretches: V28.

Two ways of seeing a copy, for two shapes of it:

* a day equals yesterday's or last week's in at least 90 % of its intervals;
* a stretch of twelve intervals stands in the window twice, at whatever distance: found by fingerprints of all
  stretches, sorted per meter.

Each is held against how often intervals of this very meter are equal, so that street lighting, vacant flats and meters
that count in few steps are not called copies. What stands still is not a copy (V26), nor is a stretch of zeros.
"""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan, Energies
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.runs import profile_steps
from billing_core.validation.screening import FloatArray
from billing_core.validation.stretches import STRETCH, copies_of_days, equal_stretches

INTERVALS_LEAST = 12  # a quarter of a day must be there and not zero before a day can be called a copy
USUAL_QUANTILE = 0.7  # up to three days in ten may be copies
STEPS_LEAST = 10  # a load that counts in fewer steps repeats its days by itself
STEPS_CHANCE = 0.6  # over the root of the steps: how often values that scatter as counts do are equal
LIKE_PAIRS_LEAST = 8
WHOLE_PERCENT = 96  # of a day's intervals that are not zero, for the day to be one copy: an edge may be cut
STRETCH_SURPRISE = 10  # powers of ten; a window has a million pairs of stretches


def v28_copied(scan: DayScan, parameters: Columns, energy_wh: Energies) -> Finding:
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
    meter, day = np.nonzero(mask & ~exact)
    if meter.size:
        step = profile_steps(energy_wh, meter)
        most = np.maximum(scan.equal_yesterday, scan.equal_week)[meter, day]
        surprise = most * -np.log10(_chance(scan, meter, day, step))
        large = scan.third[meter, day] >= STEPS_LEAST * step
        mask[meter, day] = large & (surprise >= parameters["stuck_exponent"][meter])
    mask |= _same_stretches(scan, energy_wh, rate)
    return found("V28", mask, equal_yesterday=scan.equal_yesterday, equal_week=scan.equal_week, intervals=present)


def _same_stretches(scan: DayScan, energy_wh: Energies, rate: FloatArray) -> BoolArray:
    """Return the days in which the later of two equal, lively stretches ends. [meters × days]"""
    per_day = scan.slots_per_day
    mask = np.zeros(scan.missing.shape, dtype=np.bool_)
    told = np.flatnonzero(rate**per_day < 10.0**-STRETCH_SURPRISE)  # of the others not even a day could be told
    copies = equal_stretches(energy_wh, told)
    if not copies.row.size:
        return mask
    days = copies_of_days(copies, energy_wh, per_day)
    length = np.minimum(days.many + STRETCH - 1, days.end - days.begin)
    some = np.flatnonzero(length < per_day)
    spread = _equal_at_one_distance(energy_wh, per_day, days.row[some], days.day[some], days.distance[some])
    length[some] = np.maximum(length[some], spread)
    step = profile_steps(energy_wh, days.row)
    by_steps = STEPS_CHANCE / np.sqrt(np.maximum(1.0, days.mean_wh / step))
    some = np.flatnonzero(length * -np.log10(by_steps) >= STRETCH_SURPRISE)
    meter, day = days.row[some], days.day[some]
    chance = np.maximum(_chance(scan, meter, day, step[some]), by_steps[some])
    mask[meter, day] = length[some] * -np.log10(chance) >= STRETCH_SURPRISE
    return mask


def _equal_at_one_distance(
    energy_wh: Energies, per_day: int, row: Int64Array, day: Int64Array, distance: Int64Array
) -> Int64Array:
    """Return how many intervals of a day equal those at the distance that its stretches have most, if all but zeros do.

    A lamp's evening and its morning are two stretches, and one copy. [days]
    """
    slot = day[:, None] * per_day + np.arange(per_day)
    origin = slot - distance[:, None]
    rows = row[:, None]
    there = (energy_wh[rows, slot] != 0) & (origin >= 0)
    equal = ((energy_wh[rows, slot] == energy_wh[rows, origin.clip(0)]) & there).sum(axis=1)
    most: Int64Array = np.where(equal * 100 >= WHOLE_PERCENT * there.sum(axis=1), equal, 0)
    return most


def _chance(scan: DayScan, meter: Int64Array, day: Int64Array, step: Int64Array) -> FloatArray:
    """Return how often an interval of a day like this one equals that of a day or a week before. [days]

    Days of another level are no measure: a school in its holidays counts in few steps. Where too few days are like it,
    the chance is taken from how many steps its intervals have. ``meter``, ``day`` and its meter's ``step``: [days]
    """
    total = scan.total[meter]
    own = scan.total[meter, day]
    present = np.maximum(scan.slots_per_day - scan.missing[meter] - scan.zeros[meter], 1)
    like = np.abs(total - own[:, None]) * 2 <= own[:, None]
    shares = [np.full((meter.size, 1), np.inf)]
    for equal, lag in ((scan.equal_yesterday, 1), (scan.equal_week, 7)):
        if total.shape[1] > lag:
            share = equal[meter, lag:] / present[:, lag:]
            shares.append(np.where(like[:, lag:] & like[:, :-lag], share, np.inf))
    known = np.sort(np.concatenate(shares, axis=1), axis=1)
    count = np.isfinite(known).sum(axis=1)
    usual = known[np.arange(meter.size), (USUAL_QUANTILE * (count - 1)).astype(np.int64).clip(0)]
    steps = np.maximum(1.0, own / (present[np.arange(meter.size), day] * step))
    by_steps = np.minimum(0.999, 2 * STEPS_CHANCE / np.sqrt(steps))
    usual = usual.clip(0.5 / scan.slots_per_day, 0.999)
    return np.asarray(np.where(count >= LIKE_PAIRS_LEAST, usual, by_steps))
