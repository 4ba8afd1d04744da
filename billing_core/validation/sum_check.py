r"""Registers against intervals: V30, and with it rollovers (V32, V33) and registers that stood still.

Between two registers that were read the intervals must sum to the difference,

.. math:: |\sum x - (R_2 - R_1) M| \le \max(k \delta M, p E)

A register that was not read makes the window longer, so that a day always belongs to one window: from the last register
read before it to the first after it. A window with missing intervals cannot pass, but it fails when what is there is
already too much.

Each window may pass and their sum not: a register that counts twice what the intervals do shows it on no single day of
a small load with coarse steps, but its tolerance does not grow with the days while its error does. So where all windows
pass, the days from which on the sums since the first register differ by more than the whole span may, fail too.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Registers

ROLLOVER_TENTHS = 9  # a register rolls over from the last tenth of its range only


@dataclass(frozen=True, slots=True, kw_only=True)
class SumCheck:
    """What registers and intervals say of each other. [meters × days]

    ``interval_wh`` and ``register_wh`` are the two sums over the day's window, ``tolerance_wh`` their allowed distance;
    where only the long run fails, over all days since the first register.
    ``caught_up`` marks days whose register stood still and the days that caught up.
    """

    passed: BoolArray
    failed: BoolArray
    interval_wh: Int64Array
    register_wh: Int64Array
    tolerance_wh: Int64Array
    window_days: NDArray[np.int64]
    rolled_over: BoolArray
    fell: BoolArray
    caught_up: BoolArray


def check_sums(scan: DayScan, registers: Registers, parameters: Columns, limit_wh: Int64Array) -> SumCheck:
    """Compare each window's intervals to its registers.

    Parameters
    ----------
    limit_wh
        What the connection can carry in an interval, 0 where that is not known: a rollover may not exceed it. [meters]
    """
    meters, days = scan.missing.shape
    first, last = windows(registers.actual)
    known = (first >= 0) & (last <= days)
    rows = np.arange(meters)[:, None]
    begin, end = first.clip(0), last.clip(0, days)
    old, new = registers.index_wh[rows, begin], registers.index_wh[rows, end]
    factor = registers.multiplier[:, None]
    span = np.where(known, end - begin, 0)
    fell = known & (new < old)
    whole = registers.range_wh()[:, None]
    rolled_wh = (new - old + whole) * factor
    most = np.where(limit_wh > 0, limit_wh, np.iinfo(np.int64).max // (scan.slots_per_day * (days + 1)))[:, None]
    rolled = fell & (whole > 0) & (old * 10 > whole * ROLLOVER_TENTHS) & (rolled_wh <= most * scan.slots_per_day * span)
    register_wh = np.where(known, np.where(rolled, rolled_wh, (new - old) * factor), 0)
    interval_wh = np.where(known, _between(scan.total, begin, end), 0)
    gaps = _between(scan.missing.astype(np.int64), begin, end) > 0
    distance = interval_wh - register_wh
    least = parameters["sum_resolutions"][:, None] * registers.resolution_wh[:, None] * factor
    tolerance = np.maximum(least, parameters["sum_permille"][:, None] * np.abs(register_wh) // 1000)
    fell &= ~rolled
    failed = known & ~fell & ((distance > tolerance) | (~gaps & (distance < -tolerance)))
    passed = known & ~fell & ~failed & ~gaps
    since = _SinceFirst(*(_running(each, known, last) for each in (interval_wh, register_wh, span)))
    allowed = np.maximum(least, parameters["sum_permille"][:, None] * np.abs(since.register_wh) // 1000)
    drifts = known & (np.abs(since.interval_wh - since.register_wh) > allowed)
    drifts &= (passed | ~known).all(axis=1, keepdims=True) & (drifts | ~known)[:, -1:]
    return SumCheck(
        passed=passed & ~drifts,
        failed=failed | drifts,
        interval_wh=np.where(drifts, since.interval_wh, interval_wh),
        register_wh=np.where(drifts, since.register_wh, register_wh),
        tolerance_wh=np.where(drifts, allowed, tolerance),
        window_days=np.where(drifts, since.days, span),
        rolled_over=rolled & (last - 1 == np.arange(days)),
        fell=fell & (last - 1 == np.arange(days)),
        caught_up=_caught_up(failed, distance, register_wh, tolerance),
    )


class _SinceFirst(NamedTuple):
    """Sums since the first register that was read, to the end of each day's window. [meters × days]"""

    interval_wh: Int64Array
    register_wh: Int64Array
    days: Int64Array


def _running(of_window: Int64Array, known: BoolArray, last: NDArray[np.int64]) -> Int64Array:
    """Return the sum of all windows up to each day's, each counted once."""
    days = np.arange(known.shape[1])
    total = np.cumsum(np.where(known & (last - 1 == days), of_window, 0), axis=1)
    running: Int64Array = np.take_along_axis(total, (last - 1).clip(0, days.size - 1), 1)
    return running


def v30_sum(sums: SumCheck) -> Finding:
    """The intervals do not sum to the register."""
    return found(
        "V30", sums.failed, interval_wh=sums.interval_wh, register_wh=sums.register_wh, tolerance_wh=sums.tolerance_wh
    )


def v32_rollover(sums: SumCheck) -> Finding:
    """The register started again at zero, from the last tenth of its range and within what the connection carries."""
    return found("V32", sums.rolled_over, register_wh=sums.register_wh)


def v33_fell(sums: SumCheck) -> Finding:
    """The register stands lower than before and did not roll over: it was reversed, exchanged or misread."""
    return found("V33", sums.fell, register_wh=sums.register_wh, interval_wh=sums.interval_wh)


def v31_rates(rates_wh: Int64Array, total_wh: Int64Array, actual: BoolArray, registers: Registers) -> Finding:
    """The rate registers' deltas do not sum to the total's, beyond one resolution for each register.

    Parameters
    ----------
    rates_wh
        Indices of the k rate registers at each midnight. [Wh, meters × (days + 1) × k]
    total_wh
        The total register's index. [Wh, meters × (days + 1)]
    actual
        Whether all of them were read. [meters × (days + 1)]
    """
    rates = np.diff(rates_wh, axis=1).sum(axis=2) * registers.multiplier[:, None]
    total = np.diff(total_wh, axis=1) * registers.multiplier[:, None]
    whole = (registers.range_wh() * registers.multiplier)[:, None]
    distance = rates - total
    allowed = ((rates_wh.shape[2] + 1) * registers.resolution_wh * registers.multiplier)[:, None]
    off = np.abs(distance)
    off = np.where(whole > 0, np.minimum(off % np.maximum(whole, 1), -off % np.maximum(whole, 1)), off)
    mask = (off > allowed) & actual[:, 1:] & actual[:, :-1]
    return found("V31", mask, rates_wh=rates, total_wh=total, allowed_wh=np.broadcast_to(allowed, mask.shape))


def windows(actual: BoolArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each day the last register read by its start (−1: none) and the first read from its end on."""
    boundaries = actual.shape[1]
    places = np.arange(boundaries)
    before = np.maximum.accumulate(np.where(actual, places, -1), axis=1)[:, :-1]
    after = np.minimum.accumulate(np.where(actual, places, boundaries)[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return before, after


def _between(per_day: Int64Array, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Int64Array:
    sums = np.zeros((per_day.shape[0], per_day.shape[1] + 1), dtype=np.int64)
    np.cumsum(per_day, axis=1, out=sums[:, 1:])
    difference: Int64Array = np.take_along_axis(sums, end, 1) - np.take_along_axis(sums, begin, 1)
    return difference


def _caught_up(failed: BoolArray, distance: Int64Array, register_wh: Int64Array, tolerance: Int64Array) -> BoolArray:
    """Mark two days in a row whose register first stood still and then made good what it owed."""
    still = failed[:, :-1] & failed[:, 1:] & (register_wh[:, :-1] == 0) & (distance[:, :-1] > 0)
    balanced = np.abs(distance[:, :-1] + distance[:, 1:]) <= tolerance[:, :-1] + tolerance[:, 1:]
    pair = still & balanced
    mask = np.zeros_like(failed)
    mask[:, :-1] |= pair
    mask[:, 1:] |= pair
    return mask
