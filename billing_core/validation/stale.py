"""Stale snapshots: V27, by the meter's clock, by its registers, and by zeros that are made good.

The gateway serves the snapshot of the interval before again, and the next one has the energy of both. What is left to
see of that, where neither clock nor register tells, is a run of zeros at a time when this meter is never at zero, and
after it about the energy of the whole run. How often a meter is at zero is its own habit: of that time of its other
days, of its other intervals at that level. A load that is level for hours (street lighting) shows it in another way:
an interval twice as high as it ever is, after a zero.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan, Energies, Runs
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.runs import chosen, days_of, profile_steps
from billing_core.validation.sum_check import SumCheck

STALE_HOURS_MAX = 24  # an older snapshot is a stuck register
SUNDAY_HOURS_MAX = 4  # of a run that may be measured by its own neighbours
STALE_QUANTA_LEAST = 5  # energies of one or two steps of the profile come out as zero by themselves
ZEROS_ELSEWHERE_PERCENT = 2  # how often the meter may be at zero at that time of other days
ZEROS_OF_RUN_PERCENT = 15  # … and at the time of two slots of a longer run
LIKE_LEAST = 100  # intervals at about that level, from which on a habit is known
LIKE_ZERO_PERMILLE = 3  # of the intervals after those, how many may be zero
LIKE_HIGH_PERMILLE = 30  # … and how many as high as what caught up
LEVEL_SHARE, LEVEL_NEAR = 0.5, 0.03  # of a level load's intervals with energy, how many are how near to its highest
LEVEL_STEPS = 10  # of the profile, that a level load has at least
LEVEL_TIMES = 1.6  # … and how far above it one is that caught up


def v27_stale(
    scan: DayScan,
    sums: SumCheck,
    energy_wh: Energies,
    outage: BoolArray,
    repeated_clock: NDArray[np.int32] | None,
) -> Finding:
    """A snapshot was served twice and the next one caught up.

    Seen in three ways: the meter's clock stood still (``repeated_clock`` counts such snapshots per day, None where
    clocks are not read); a register stood still over a midnight and caught up by the next; or zeros, at a time of day
    when this meter is never at zero, are followed by the energy of all of them (after a reported power failure more is
    asked: a cold house takes more, but not the energy of hours).
    """
    clock = np.zeros_like(scan.missing) if repeated_clock is None else repeated_clock
    runs = _caught_up(scan, energy_wh, outage)
    level = _twice_the_level(energy_wh, scan)
    runs = Runs(*(np.concatenate(pair) for pair in zip(runs, level, strict=True)))
    mask, length = days_of(scan, runs)
    return found("V27", mask | (clock > 0) | sums.caught_up, slots=np.maximum(length, clock))


def _caught_up(scan: DayScan, energy_wh: Energies, outage: BoolArray) -> Runs:
    """Find runs of zeros followed by about the energy of all of them, at times when the meter is never at zero."""
    runs = scan.zero_runs
    slots = energy_wh.shape[1]
    inner = (runs.start >= 1) & (runs.start + runs.length + 1 < slots)
    inner &= runs.length * 24 <= STALE_HOURS_MAX * scan.slots_per_day
    runs = chosen(runs, inner)
    end = runs.start + runs.length
    before, caught, last = (energy_wh[runs.meter, slot].astype(np.int64) for slot in (runs.start - 1, end, end + 1))
    after = np.where(last > 0, last, before)  # the last slots before a load is switched off
    owed = (runs.length + 1) * np.minimum(before, after)
    runs = chosen(
        runs,
        (before > 0)
        & (caught * 10 >= 13 * last)
        & (caught * 10 >= 12 * np.minimum(before, after))
        & (caught * 10 >= 3 * owed),
    )
    steps = profile_steps(energy_wh, runs.meter).tolist()
    lively = scan.zeros + scan.missing < scan.slots_per_day  # an empty flat's zeros are no habit
    sure = [
        _is_stale(energy_wh[meter].astype(np.int64), (start, length), step, (outage[meter], lively[meter]))
        for meter, start, length, step in zip(*(column.tolist() for column in runs), steps, strict=True)
    ]
    return chosen(runs, np.array(sure, dtype=np.bool_))


def _is_stale(row: Int64Array, run: tuple[int, int], step: int, days_of_meter: tuple[BoolArray, BoolArray]) -> bool:
    """Tell whether a run of zeros (start, length) and what follows is a snapshot served again.

    One zero alone proves little where the profile counts in steps as large as the load: it must stand at a time when
    other days have energy, between intervals of several steps, and the next must make good for it. Of a longer run two
    slots at which other days have energy are enough (the others may be a roof's noon), and what follows must be about
    what the run and itself usually take. On a day with a power failure more is asked. ``days_of_meter`` tells on which
    days power failed, and on which there was any energy.
    """
    (start, length), (outage, lively) = run, days_of_meter
    per_day = row.size // outage.size
    caught = int(row[start + length])
    power_failed = bool(outage[start // per_day] | outage[(start + length) // per_day])
    if length == 1:
        near = [int(row[start - 1]), int(row[start + 2])]
        near = near if near[1] > 0 else near[:1]
        if caught * 10 < 2 * (8 * max(near) if power_failed else 6 * min(near)):
            return False
        if min(near) < STALE_QUANTA_LEAST * step:
            return not power_failed and _unlike_its_level(row, start)
    days = np.arange(outage.shape[0])
    others = days[lively & ((days < start // per_day) | (days > (start + length) // per_day)) & ~outage]
    slots = np.arange(start - 1, start + 2) if length == 1 else np.arange(start, start + length + 1)
    places = others[:, None] * per_day + (slots - start // per_day * per_day)
    inside = (places >= 0) & (places < row.shape[0])
    usual = row[places.clip(0, row.shape[0] - 1)]
    zero = (usual == 0) & inside
    if length == 1:  # a zero that is caught up is a fault of another day, not this meter's habit
        before, after, last = (row[(places + lag).clip(0, row.shape[0] - 1)] for lag in (-1, 1, 2))
        zero &= ~((before > 0) & (after * 10 >= 12 * np.minimum(before, last)))
        return bool(int(zero.sum()) * 100 <= ZEROS_ELSEWHERE_PERCENT * int(inside.sum()))
    expected = (usual * inside).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    owed = (length + 1) * (int(row[start - 1]) + int(row[start + length + 1])) / 2
    short = length * 24 <= SUNDAY_HOURS_MAX * per_day  # on a quiet day other days are no measure of what is owed
    owed = min(owed, float(expected.sum())) if short else float(expected.sum())
    enough = caught >= (0.8 * expected.sum() if power_failed else 0.5 * owed)
    never = zero.sum(axis=0)[:-1] * 100 <= ZEROS_OF_RUN_PERCENT * inside.sum(axis=0)[:-1]
    return bool(enough and never.sum() >= 2 and row[start - 1] >= 2 * step)


def _unlike_its_level(row: Int64Array, start: int) -> bool:
    """Tell whether this meter, at about the level before a lone zero, never goes to zero nor so high after it."""
    before, caught, last = int(row[start - 1]), int(row[start + 1]), int(row[start + 2])
    level = (before + last) / 2
    if before == 0 or last == 0 or caught < 1.4 * level or caught > 3.5 * level:
        return False
    like = np.flatnonzero((row[:-2] >= 0.6 * level) & (row[:-2] <= 1.6 * level))
    then, later = row[like + 1], row[like + 2]
    gone = int(((then == 0) & ~(later >= 1.4 * level)).sum())  # a zero that is made good is a fault, not a habit
    high = int((then >= caught).sum())
    return bool(
        like.size >= LIKE_LEAST
        and gone * 1000 <= LIKE_ZERO_PERMILLE * like.size
        and high * 1000 <= LIKE_HIGH_PERMILLE * like.size
    )


def _twice_the_level(energy_wh: Energies, scan: DayScan) -> Runs:
    """Find intervals of a level load that are about twice as high as it ever is, after a zero."""
    runs: list[tuple[int, int, int]] = []
    usual = np.sort(scan.third, axis=1)[:, scan.third.shape[1] // 2]
    high = scan.highest >= LEVEL_TIMES * np.maximum(usual, 1)[:, None]
    near = (scan.highest - scan.third) <= LEVEL_NEAR * scan.third
    level = near.mean(axis=1) >= LEVEL_SHARE
    meters = np.flatnonzero(high.any(axis=1) & level)
    for meter, step in zip(meters.tolist(), profile_steps(energy_wh, meters).tolist(), strict=True):
        row, ceiling = energy_wh[meter], int(usual[meter])
        there = row[row > 0]
        if ceiling < LEVEL_STEPS * step or (np.abs(there - ceiling) <= LEVEL_NEAR * ceiling).mean() < LEVEL_SHARE:
            continue
        after_zero = (row[1:] >= LEVEL_TIMES * ceiling) & (row[:-1] == 0)
        runs.extend((meter, slot, 2) for slot in np.flatnonzero(after_zero).tolist())
    columns = np.array(runs, dtype=np.int64).reshape(-1, 3)
    return Runs(columns[:, 0], columns[:, 1], columns[:, 2])
