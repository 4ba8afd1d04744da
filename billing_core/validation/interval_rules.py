"""Rules that look at one channel's intervals alone: V06, V20 to V26, V29 and V50.

Each takes the scan of the days (:mod:`billing_core.validation.day_scan`) and parameters per meter, and returns a mask
of days with its evidence. Several ask for what other rules said, because alone they are wrong too often: a household's
kettle is a spike, a vacant flat repeats itself. A comparison of shares is a comparison of integer products.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan, Energies, Runs
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.runs import chosen, days_of, profile_steps
from billing_core.validation.sum_check import SumCheck

SPIKE_INTERVALS_LEAST = 12  # fewer readings have no third peak worth the name
OCCURRENCES_LEAST = 5  # how often a value must occur elsewhere before its own rate of repeating is known
DAYS_BETWEEN_ZEROS = 7
SMALL_QUANTA, SMALL_RATE = 3, 0.5  # a load of a few steps of the profile repeats itself every other time
RATE_LEAST = 1e-6
FILLED_SLOTS = 6  # equal values between a meter's steps, from which on nobody asks how often they repeat
LOCAL_SLOTS = 48  # on either side of a run, how repetitious the load was just then
RUNS_AT_ONCE = 64  # whose meters' rows are compared together


def v06_missing(scan: DayScan) -> Finding:
    """Fewer intervals than the day has."""
    return found("V06", scan.missing > 0, missing=scan.missing, expected=np.full_like(scan.missing, scan.slots_per_day))


def v20_negative(scan: DayScan, two_way: BoolArray) -> Finding:
    """An interval below zero on a channel that counts one way only. ``two_way``: [meters]"""
    return found("V20", (scan.lowest < 0) & ~two_way[:, None], lowest_wh=scan.lowest)


def v21_limit(scan: DayScan, limit_wh: Int64Array) -> Finding:
    """More energy in an interval than the connection carries; ``limit_wh`` 0 where that is not known. [meters]"""
    limit = limit_wh[:, None]
    return found("V21", (scan.highest > limit) & (limit > 0), highest_wh=scan.highest, limit_wh=_like(scan, limit))


def v22_spike(scan: DayScan, parameters: Columns, sums: SumCheck) -> Finding:
    r"""Mind a peak far above the third highest interval of the day; fail it if the sum check fails too.

    .. math:: (P_1 - P_3) / P_3 > s
    """
    percent = parameters["spike_percent"][:, None]
    floor = _interval_wh(scan, parameters["spike_floor_w"])
    spike = (scan.highest - scan.third) * 100 > percent * scan.third
    mask = spike & (scan.highest > floor) & (scan.present >= SPIKE_INTERVALS_LEAST)
    severity = np.where(sums.failed, np.int8(4), np.int8(2))
    return found("V22", mask, severity, first_wh=scan.highest, third_wh=scan.third)


def v23_jump(scan: DayScan, parameters: Columns) -> Finding:
    """A step up beyond so many per cent of the interval before, and beyond a floor."""
    del parameters  # they shaped the scan's count
    return found("V23", scan.jumps > 0, jumps=scan.jumps, largest_wh=scan.jump)


def v24_peak_history(scan: DayScan, parameters: Columns, history_peak_wh: Int64Array) -> Finding:
    """The day's peak against the usual one; ``history_peak_wh`` 0 where there is no history. [meters]"""
    usual = history_peak_wh[:, None]
    high = scan.highest * 100 > parameters["history_high_percent"][:, None] * usual
    low = scan.highest * 100 < parameters["history_low_percent"][:, None] * usual
    mask = (high | low) & (usual > 0) & (scan.present == scan.slots_per_day)
    return found("V24", mask, peak_wh=scan.highest, usual_wh=_like(scan, usual))


def v25_zero_run(scan: DayScan, parameters: Columns, outage: BoolArray) -> Finding:
    """Zeros for longer than the class is ever without use, and no power failure was reported. ``outage``: per day

    A meter with such a run more often than once a week has them by habit, as street lighting has; it is not warned of.
    """
    least = parameters["zero_hours"] * scan.slots_per_day // 24
    runs = scan.zero_runs
    long = runs.length >= least[runs.meter]
    weeks = max(1, scan.missing.shape[1] // DAYS_BETWEEN_ZEROS)
    often = np.bincount(runs.meter[long], minlength=least.shape[0]) > weeks
    long &= ~often[runs.meter] | (runs.length > 2 * scan.slots_per_day)
    mask, length = days_of(scan, chosen(runs, long))
    return found("V25", mask & ~outage, zero_slots=length)


def v26_stuck(
    scan: DayScan,
    parameters: Columns,
    sums: SumCheck,
    energy_wh: Energies,
    drawn: tuple[Int64Array, Runs] | None = None,
) -> Finding:
    """A value repeats more often than this meter, at its resolution, ever would by chance.

    The chance that a value repeats is measured on the meter itself: over the window but for its three most repetitious
    days, and for the very value where it occurs often enough elsewhere (a refrigerator alone takes one of two values).
    Where the intervals sum to the register the values are probably right, so more is asked, and more still if the run
    stands out from what is before and after it: a heater at constant power does, a value that stuck does not. ``drawn``
    are each meter's step (:func:`billing_core.validation.filled.steps_of`; nobody asks how often a value between two
    steps repeats) and runs on a slanting line (:func:`billing_core.validation.filled.straight_runs`).
    """
    runs = scan.stuck
    general = _repeat_rate(scan)[runs.meter]
    exponent = parameters["stuck_exponent"][runs.meter]
    candidate = (runs.length - 1) * -np.log10(general) >= exponent
    between = np.zeros(candidate.shape, dtype=np.bool_)
    if drawn is not None:
        between = (runs.length >= FILLED_SLOTS) & (energy_wh[runs.meter, runs.start] % drawn[0][runs.meter] != 0)
    candidate |= between
    runs, general, between = chosen(runs, candidate), general[candidate], between[candidate]
    rate = np.where(between, RATE_LEAST, np.maximum(general, _rate_here(energy_wh, runs)))
    surprise = (runs.length - 1) * -np.log10(rate)
    day = np.minimum(runs.start, scan.missing.shape[1] * scan.slots_per_day - 1) // scan.slots_per_day
    last = (runs.start + runs.length - 1) // scan.slots_per_day
    fine = sums.passed[runs.meter, day] & sums.passed[runs.meter, last]
    level, burst = parameters["stuck_exponent_sum_ok"], parameters["stuck_exponent_burst"]
    proven = np.where(_is_level(energy_wh, runs), level[runs.meter], burst[runs.meter])
    needed = np.where(fine, proven, parameters["stuck_exponent"][runs.meter])
    sure = surprise >= needed
    runs = chosen(runs, sure)
    if drawn is not None:
        runs = Runs(*(np.concatenate(pair) for pair in zip(runs, drawn[1], strict=True)))
    mask, length = days_of(scan, runs)
    return found("V26", mask, slots=length)


def v29_load_factor(scan: DayScan, parameters: Columns) -> Finding:
    """Mean over peak of a complete day outside what loads have."""
    spread = scan.highest * scan.slots_per_day
    low = scan.total * 1000 < parameters["load_factor_low_permille"][:, None] * spread
    high = scan.total * 1000 > parameters["load_factor_high_permille"][:, None] * spread
    mask = (low | high) & (scan.highest > 0) & (scan.missing == 0)
    return found("V29", mask, total_wh=scan.total, peak_wh=scan.highest)


def v50_unusual(scan: DayScan, parameters: Columns) -> Finding:
    """Several intervals outside the meter's own weekly band (:func:`billing_core.validation.screening.weekly_band`)."""
    return found("V50", scan.unusual >= parameters["robust_intervals"][:, None], intervals=scan.unusual)


def _interval_wh(scan: DayScan, power_w: Int64Array) -> Int64Array:
    return (power_w * 24 // scan.slots_per_day)[:, None]


def _like(scan: DayScan, column: Int64Array) -> Int64Array:
    return np.broadcast_to(column, scan.missing.shape)


def _repeat_rate(scan: DayScan) -> NDArray[np.float64]:
    """Return how often a non-zero interval equals the one before, without the three most repetitious days. [meters]"""
    repeats = np.sort(scan.repeats, axis=1)
    kept = max(1, repeats.shape[1] - 3)
    intervals = (scan.present - scan.zeros).sum(axis=1) * kept // max(1, repeats.shape[1])
    rate: NDArray[np.float64] = np.minimum((repeats[:, :kept].sum(axis=1) + 1) / (intervals + 2), 0.999)
    return rate


def _rate_here(energy_wh: Energies, runs: Runs) -> NDArray[np.float64]:
    """Return how often a value like each run's repeats outside it: the very value, the days around it. [runs]"""
    rate = np.zeros(runs.meter.shape)
    steps = profile_steps(energy_wh, runs.meter)
    for begin in range(0, rate.size, RUNS_AT_ONCE):
        some = slice(begin, begin + RUNS_AT_ONCE)
        meter, start, length = (column[some, None] for column in runs)
        slots, end = np.arange(energy_wh.shape[1]), start + length
        row = energy_wh[meter[:, 0]]
        value = energy_wh[meter, start]
        elsewhere = (row == value) & ((slots < start) | (slots >= end))
        many = elsewhere.sum(axis=1)
        again = (elsewhere[:, 1:] & elsewhere[:, :-1]).sum(axis=1)
        rates = [np.where(value[:, 0] <= SMALL_QUANTA * steps[some], SMALL_RATE, 0.0)]
        rates.append(np.where(many >= OCCURRENCES_LEAST, again / np.maximum(many, 1), 0.0))
        for first in (start - LOCAL_SLOTS, end):  # of the slots around
            near = first + np.arange(LOCAL_SLOTS)
            inside = (near >= 0) & (near < slots.size)
            part = energy_wh[meter, near.clip(0, slots.size - 1)]
            counts = inside[:, 1:] & inside[:, :-1] & (part[:, 1:] != 0)
            repeats = (counts & (part[:, 1:] == part[:, :-1])).sum(axis=1)
            rates.append((repeats + 1) / (counts.sum(axis=1) + LOCAL_SLOTS // 2))
        rate[some] = np.minimum(np.maximum.reduce(rates), 0.999)
    return rate


def _is_level(energy_wh: Energies, runs: Runs) -> BoolArray:
    """Tell which runs are within half and twice of the interval before or of the one after."""
    value = energy_wh[runs.meter, runs.start]
    before = energy_wh[runs.meter, np.maximum(runs.start - 1, 0)]
    after = energy_wh[runs.meter, np.minimum(runs.start + runs.length, energy_wh.shape[1] - 1)]
    level: BoolArray = np.zeros(value.shape, dtype=np.bool_)
    for near in (before, after):
        level |= (2 * value >= near) & (value <= 2 * near)
    return level
