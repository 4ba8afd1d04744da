"""Values that somebody computed and no meter counted: V16, and straight lines for V26.

A head-end that lacks readings may draw a line, spread a mean or scale a profile, and say nothing. Two things give that
away. A meter counts in steps: where its values are multiples of ten, a value between two steps was computed. And a
load is never straight: differences that stay the same within a step for longer than they ever do on this meter, at this
time, are a line, whatever its slope. A level line is a stuck value, found by runs of equal values.
"""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import INT32_MAX, DayScan, Energies, Runs
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.screening import FloatArray

BETWEEN_MOST = 0.2  # of the intervals: with more between them these are not the meter's steps
STEP_POWERS = (1, 10, 100)
SAMPLE_EVERY = 23, 5  # no divisor in common with a day of any length, so all times of day are in the sample
SLOTS_MANY = 1_000  # from which on the sample may be thin
VALUES_LEAST = 8  # different multiples in the sample
LINE_SLOTS = 10  # a shorter line is worth no look
LINE_DOUBLINGS = (1, 2, 4)  # eight bends in a row that are none: ten slots
SLOPE_STEPS, SLOPE_SHARE = 4, 0.8  # of the meter's steps, and of the way that the values go up and down
LINE_SURPRISE = 9.0  # powers of ten
LINE_LONGEST = 96  # a meter on which two days would have to be straight has no shape
LOCAL_SLOTS = 48
BLOCK_METERS = 64


def v16_between_steps(scan: DayScan, energy_wh: Energies, multiplier: Int64Array) -> tuple[Finding, Int64Array]:
    """Find values between the meter's steps; return also the step of each meter. [Wh, meters]"""
    steps = steps_of(energy_wh, multiplier)
    count = np.zeros(scan.missing.shape, dtype=np.int32)
    for step in np.unique(steps[steps > 1]).tolist():  # dividing by one number is fast
        alike = np.flatnonzero(steps == step)
        for begin in range(0, alike.size, BLOCK_METERS):
            rows = alike[begin : begin + BLOCK_METERS]
            values = energy_wh[rows]
            between = values // step * step != values if step <= np.iinfo(values.dtype).max else values != 0
            share = between.mean(axis=1)
            few = (share > 0) & (share <= BETWEEN_MOST)
            count[rows[few]] = between[few].reshape(-1, *count.shape[1:], scan.slots_per_day).sum(axis=2)
    evidence = np.broadcast_to(steps[:, None], count.shape)
    return found("V16", count > 0, intervals=count, step_wh=evidence), steps


def steps_of(energy_wh: Energies, multiplier: Int64Array) -> Int64Array:
    """Return the step in which each meter's profile counts: its multiplier times the largest fitting power of ten.

    A power fits if nearly all of a sample are multiples, of many different values: a street light at a constant
    1,200 Wh shows nothing of its steps. [Wh, meters]
    """
    # Exact: neither energies nor what they are multiples of are beyond 2⁵³.
    sample = energy_wh[:, :: SAMPLE_EVERY[energy_wh.shape[1] < SLOTS_MANY]].astype(np.float64)
    there = sample != 0
    enough = np.maximum(there.sum(axis=1), 1) * (1 - BETWEEN_MOST)
    steps = multiplier.copy()
    rows = np.arange(multiplier.size)
    for power in STEP_POWERS:
        step = (multiplier[rows] * power)[:, None]
        multiple = there[rows] & (np.floor(sample[rows] / step) * step == sample[rows])
        ordered = np.sort(np.where(multiple, sample[rows], 0), axis=1)
        values = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
        fits = (multiple.sum(axis=1) >= enough[rows]) & (values >= VALUES_LEAST)
        rows = rows[fits]  # what is no multiple of ten is none of a hundred
        steps[rows] = step[fits, 0]
    return steps


def straight_runs(energy_wh: Energies, steps: Int64Array, per_day: int) -> Runs:
    """Return runs of slots that lie on a slanting line, longer than chance makes them on this meter."""
    found_runs: list[tuple[int, int, int]] = []
    for begin in range(0, energy_wh.shape[0], BLOCK_METERS):
        block = energy_wh[begin : begin + BLOCK_METERS]
        straight = _straight(block, steps[begin : begin + BLOCK_METERS])
        line = straight
        for lag in LINE_DOUBLINGS:
            line = line[:, :-lag] & line[:, lag:]
        rate = straight.mean(axis=1)
        needed = LINE_SURPRISE / -np.log10(rate.clip(1e-6, 0.999))  # bends that are none, at least
        eight, sixteen = line.any(axis=1), (line[:, :-8] & line[:, 8:]).any(axis=1)
        rows = np.flatnonzero(np.where(needed > 16, sixteen & (needed < LINE_LONGEST), eight))
        for place, first, end in _long_runs(straight[rows], np.maximum(LINE_SLOTS - 2, needed[rows])):
            row, run = int(rows[place]), (first, end)
            slants = _slants(block[row, first : end + 2], int(steps[begin + row]))
            if slants and _is_surprising(straight[row], run, float(rate[row]), per_day):
                found_runs.append((begin + row, first, end - first + 2))
    columns = np.array(found_runs, dtype=np.int64).reshape(-1, 3)
    return Runs(columns[:, 0], columns[:, 1], columns[:, 2])


def _straight(energy: Energies, steps: Int64Array) -> BoolArray:
    """Tell where the difference to the next slot is, within a step, the one from the slot before. [rows × slots − 2]"""
    values = energy if 4 * int(steps.max()) <= INT32_MAX else energy.astype(np.int64)
    change = values[:, 1:] - values[:, :-1]
    bend = change[:, 1:] - change[:, :-1]
    np.abs(bend, out=bend)
    straight: BoolArray = bend <= steps.astype(values.dtype)[:, None]
    straight &= values[:, 1:-1] != 0
    return straight


def _long_runs(straight: BoolArray, least: FloatArray) -> list[tuple[int, int, int]]:
    """Return row, first bend and end of the runs that are not shorter than ``least``. [rows × bends], [rows]"""
    edged = np.zeros((straight.shape[0], straight.shape[1] + 2), dtype=np.int8)
    edged[:, 1:-1] = straight
    edges = np.flatnonzero(edged[:, 1:] != edged[:, :-1])
    row, begin = np.divmod(edges[::2], edged.shape[1] - 1)
    length = edges[1::2] - edges[::2]
    long = length >= least[row]
    return list(zip(row[long].tolist(), begin[long].tolist(), (begin + length)[long].tolist(), strict=True))


def _slants(values: Energies, step: int) -> bool:
    """Tell whether values go one way: level ones, which are equal, are the other half of the rule."""
    way = abs(int(values[-1]) - int(values[0]))
    up_and_down = int(np.abs(np.diff(values.astype(np.int64))).sum())
    return way >= SLOPE_STEPS * step and way >= SLOPE_SHARE * up_and_down


def _is_surprising(straight: BoolArray, run: tuple[int, int], rate: float, per_day: int) -> bool:
    """Tell whether chance makes no such run of bends (first, end) on this meter, near it, and at that time of days."""
    begin, end = run
    bends = end - begin
    near = np.concatenate([straight[max(0, begin - LOCAL_SLOTS) : begin], straight[end : end + LOCAL_SLOTS]])
    days = range(begin % per_day, straight.size, per_day)
    then = np.concatenate([straight[first : first + bends] for first in days])
    rates = [rate, *((float(part.sum()) + 1) / (part.size + 2) for part in (near, then))]
    return bool(bends * -np.log10(min(max(rates), 0.999)) >= LINE_SURPRISE)
