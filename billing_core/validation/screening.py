"""Screens for the inspection queue: V43 and V50 to V55. They never change a value.

They compare a meter to itself, to its peers, and a reader's figures to chance. Floating point decides nothing about
money here; it ranks what a person looks at first.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.day_scan import WeeklyBand
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826  # for a normal distribution, the standard deviation over the median absolute deviation
BALANCE_SIGMAS = 3
CHANGE_DAYS = 7  # days on either side of a change point: a whole week, so that weekdays cancel
CHANGE_LEAST = 1.15  # a smaller step is weather
CHANGE_SIGMAS = 6
WIRING_LEAST = 1.3  # a smaller step is life more often than wiring
CT_RATIOS = np.array([1 / 3, 1 / 2, 2 / 3, 3 / 2, 2, 3])
"""Steps that wiring makes: of three phases one is lost (2/3), one reversed (1/3); a ratio is taken twice or half."""
CT_NEAR = 0.14  # how far from such a step one may be, relatively
PEER_PERCENT = 1
PEERS_LEAST = 20
CHI_SQUARE_9_1E4 = 33.72  # χ² with 9 degrees of freedom is larger with probability 10⁻⁴
DIGITS_LEAST = 50
VOLATILITY_RATIO = 4.0
SAME_CYCLES = 3
_TINY_WH = 1.0


def weekly_band(history: Intervals, first_weekday: int, next_weekday: int, parameters: Columns) -> WeeklyBand:
    """Return median ± z · 1.4826 · MAD of each hour of the week; hours without history are unbounded.

    Parameters
    ----------
    history
        Four weeks or more before the series that will be judged.
    first_weekday, next_weekday
        Weekday of the first day of the history, and of the first day to be judged; Monday is 0.
    """
    shape = (history.meters, history.days, 24, history.slots_per_day // 24)
    values = np.where(history.missing, np.nan, history.energy_wh.astype(np.float64)).reshape(shape)
    weekday = (first_weekday + np.arange(history.days)) % 7
    low = np.full((history.meters, 168), -(2**62), dtype=np.int64)
    high = np.full((history.meters, 168), 2**62, dtype=np.int64)
    z = parameters["robust_z"].astype(np.float64)[:, None]
    for day in np.unique(weekday):
        chosen = values[:, weekday == day].transpose(0, 2, 1, 3).reshape(history.meters, 24, -1)
        known = np.asarray((~np.isnan(chosen)).any(axis=2))
        filled = np.where(known[:, :, None], chosen, 0.0)
        middle = np.nanmedian(filled, axis=2)
        spread = MAD_TO_SIGMA * np.nanmedian(np.abs(filled - middle[:, :, None]), axis=2)
        hours = slice(24 * int(day), 24 * int(day) + 24)
        low[:, hours] = np.where(known, np.floor(middle - z * spread).astype(np.int64), low[:, hours])
        high[:, hours] = np.where(known, np.ceil(middle + z * spread).astype(np.int64), high[:, hours])
    return WeeklyBand(low, high, next_weekday)


def v43_balance(supplied_wh: Int64Array, delivered_wh: Int64Array) -> Finding:
    """Loss of a transformer in the last period, outside the median of the earlier ones ± 3 · 1.4826 · MAD.

    Both are [Wh, transformers × periods], the latest last. At least half a per cent of spread is granted.
    """
    loss = (supplied_wh - delivered_wh) / np.maximum(supplied_wh, 1)
    middle = np.median(loss[:, :-1], axis=1)
    spread = np.maximum(MAD_TO_SIGMA * np.median(np.abs(loss[:, :-1] - middle[:, None]), axis=1), 0.005)
    z = (loss[:, -1] - middle) / spread
    return found("V43", np.abs(z) > BALANCE_SIGMAS, loss=loss[:, -1], usual=middle, z=z)


def v51_change_point(daily_wh: Int64Array, known: BoolArray, peers: NDArray[np.int64]) -> Finding:
    """A step in the logarithm of own over peers' energy, from one week to the next.

    Parameters
    ----------
    daily_wh, known
        Energy of each day, and whether it can be trusted. [meters × days]
    peers
        The peer group of each meter: class, region, size. [meters]

    Returns
    -------
    Finding
        Per day, on the first day of the new level. Evidence: the step's factor, its distance in σ, and ``wiring``, the
        factor that a lost, reversed or wrongly taken current transformer would make, 0 if none is near.
    """
    own = _against_peers(daily_wh, known, peers)
    meters, days = own.shape
    empty = np.zeros((meters, days))
    if days < 2 * CHANGE_DAYS:
        return found("V51", empty > 0, factor=empty, sigmas=empty, wiring=empty)
    weeks = np.lib.stride_tricks.sliding_window_view(own, CHANGE_DAYS, axis=1)
    level = np.median(weeks, axis=2)
    step = level[:, CHANGE_DAYS:] - level[:, :-CHANGE_DAYS]
    noise = MAD_TO_SIGMA * np.median(np.abs(np.diff(own, axis=1)), axis=1, keepdims=True) / np.sqrt(2)
    sigmas = np.abs(step) / np.maximum(noise * np.sqrt(2 / CHANGE_DAYS) * 1.25, 0.01)  # 1.25: of a median, not a mean
    sharp = np.sign(step) * (
        own[:, CHANGE_DAYS : days - CHANGE_DAYS + 1] - own[:, CHANGE_DAYS - 1 : days - CHANGE_DAYS]
    )
    strong = (np.abs(step) > np.log(CHANGE_LEAST)) & (sigmas > CHANGE_SIGMAS) & (sharp > np.abs(step) / 2)
    sharpest = np.where(strong, sharp, 0.0)
    best = sharpest == sharpest.max(axis=1, keepdims=True)
    inner = slice(CHANGE_DAYS, days - CHANGE_DAYS + 1)
    mask, factor, distance = empty > 0, empty.copy(), empty.copy()
    mask[:, inner], factor[:, inner], distance[:, inner] = strong & best, np.exp(step), sigmas
    near = np.abs(np.log(np.maximum(factor, 1e-9))[:, :, None] - np.log(CT_RATIOS))
    large = np.abs(np.log(np.maximum(factor, 1e-9))) > np.log(WIRING_LEAST)
    wiring = np.where((near.min(axis=2) < CT_NEAR) & large, CT_RATIOS[near.argmin(axis=2)], 0.0)
    return found("V51", mask, factor=factor, sigmas=distance, wiring=wiring)


def _against_peers(daily_wh: Int64Array, known: BoolArray, peers: NDArray[np.int64]) -> FloatArray:
    own = np.log(np.maximum(daily_wh, _TINY_WH))
    own = np.where(known, own, np.nan)
    some = known.any(axis=1, keepdims=True)
    middle = np.nanmedian(np.where(some, own, 0.0), axis=1, keepdims=True)
    own = np.where(np.isnan(own), middle, own)
    for group in np.unique(peers):
        members = peers == group
        shape = own[members] - np.median(own[members], axis=1, keepdims=True)
        own[members] -= np.median(shape, axis=0)
    return own


def v52_lowest(energy_wh: Int64Array, peers: NDArray[np.int64], active: BoolArray) -> Finding:
    """Below the first percentile of its peers, in groups of twenty or more. [Wh, meters]"""
    mask = np.zeros(energy_wh.shape, dtype=np.bool_)
    floor = np.zeros(energy_wh.shape, dtype=np.float64)
    for group in np.unique(peers):
        members = (peers == group) & active
        if members.sum() >= PEERS_LEAST:
            floor[members] = np.percentile(energy_wh[members], PEER_PERCENT)
            mask |= members & (energy_wh < floor)
    return found("V52", mask, energy_wh=energy_wh, percentile_wh=floor)


def v53_last_digits(last_digit: NDArray[np.int64], reader: NDArray[np.int64], readers: int) -> Finding:
    r"""Last digits of hand-keyed readings that are not evenly spread, per reader.

    .. math:: \chi^2 = \sum_{d=0}^{9} (n_d - n/10)^2 / (n/10)

    Parameters
    ----------
    last_digit, reader
        Of each reading: 0 to 9; 0 to ``readers`` − 1.
    """
    count = np.bincount(reader * 10 + last_digit, minlength=10 * readers).reshape(readers, 10)
    total = count.sum(axis=1)
    chi = ((count - total[:, None] / 10) ** 2).sum(axis=1) / np.maximum(total / 10, 0.1)
    return found("V53", (chi > CHI_SQUARE_9_1E4) & (total >= DIGITS_LEAST), chi_square=chi, readings=total)


def v54_volatility(daily_wh: Int64Array) -> Finding:
    """Spread of the day-to-day logarithmic change in the second half of the window against the first. [Wh, m × days]"""
    change = np.abs(np.diff(np.log(np.maximum(daily_wh, _TINY_WH)), axis=1))
    half = change.shape[1] // 2
    before, after = np.median(change[:, :half], axis=1), np.median(change[:, half:], axis=1)
    ratio = np.maximum(after, 0.001) / np.maximum(before, 0.001)
    mask = (ratio > VOLATILITY_RATIO) | (ratio < 1 / VOLATILITY_RATIO)
    return found("V54", mask, ratio=ratio)


def v55_same_reading(index_wh: Int64Array, reader: NDArray[np.int64]) -> Finding:
    """The last three cycles brought the same index from the same reader. Both [meters × cycles], the latest last."""
    last, who = index_wh[:, -SAME_CYCLES:], reader[:, -SAME_CYCLES:]
    mask = (last == last[:, :1]).all(axis=1) & (who == who[:, :1]).all(axis=1) & (index_wh.shape[1] >= SAME_CYCLES)
    return found("V55", mask, index_wh=last[:, -1], reader=who[:, -1])
