"""What a bill's energy is expected to be: the customer's own level, moved by what its peers do in this period.

A hot month raises everybody's bill; that is no reason to hold them all. So each past period is set against the median
of the customer's peers (a reading book, a tariff class in a district) in that very period. On a logarithmic scale a
line through these points says where the customer stands and how much of the season it feels: a home with air
conditioning feels more of it than a workshop. Recent periods weigh more, and periods far from the others (everybody
away) weigh nothing. The line's value at the peers' median of this period is what is expected; how far the points
usually lie from the line is the spread that a deviation is told in: a steady shop is held for what a holiday home does
every summer.

Statistics, hence floating point: they decide what a person looks at and never become energy or money.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array

FloatArray = NDArray[np.float64]
UNKNOWN = -1
MAD_TO_SIGMA = 1.4826  # of a normal distribution
STEADY = 0.14  # on the logarithmic scale: what a median of absolute deviations must exceed to call a period far
SPREAD_USUAL = 0.17  # of customers in general, from month to month, on the logarithmic scale
SPREAD_PERIODS = 16  # that this is worth against a customer's own periods: a dozen say little about a spread
FAR = 3.5  # spreads from the median: such a period says nothing about the customer
HALF_LIFE = 3.0  # periods, after which one weighs half
STIFFNESS = 0.03  # pulls the slope to 1, the peers' own, where there is hardly a season to learn it from
QUIET_WH = 300.0  # a day: what a home with everybody away still takes; keeps logarithms of small figures calm


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What was expected of each bill, and how far from that it lies.

    Parameters
    ----------
    daily_wh
        Expected energy a day; NaN where too little is known. [Wh, n]
    score
        Deviation in units of the customer's usual spread; 0 where nothing is expected. [n]
    """

    daily_wh: FloatArray
    score: FloatArray


def expect(
    energy_wh: Int64Array,
    days: Int64Array,
    history_wh: Int64Array,
    history_days: Int64Array,
    peers: Int64Array,
    *,
    periods_min: int,
) -> Expected:
    """Return what each bill was expected to be.

    Parameters
    ----------
    energy_wh, days
        Of the period. [Wh, days; n]
    history_wh, history_days
        Of past periods, newest first, each column one and the same period for all; ``UNKNOWN`` where there was none.
        [n × k]
    peers
        Which group each customer is compared within, numbered from 0. [n]
    periods_min
        Past periods that must be known.
    """
    own = np.log(_daily(history_wh, history_days))
    season = np.empty_like(own)
    for period in range(own.shape[1]):
        season[:, period] = _median_of_peers(own[:, period], peers)
    known = np.isfinite(own) & np.isfinite(season)
    daily = _daily(energy_wh, days)
    now = _median_of_peers(np.log(daily), peers)
    enough = (known.sum(axis=1) >= periods_min) & np.isfinite(now)
    logs = np.full(len(daily), np.nan)
    spread = np.ones(len(daily))
    if own.shape[1]:
        logs[enough], spread[enough] = _line(own[enough], season[enough], known[enough], now[enough])
    there = np.isfinite(daily) & enough
    score = np.zeros(len(daily))
    score[there] = (np.log(daily[there]) - logs[there]) / spread[there]
    return Expected(daily_wh=np.maximum(np.exp(logs) - QUIET_WH, 0.0), score=score)


def _line(
    own: FloatArray, season: FloatArray, known: NDArray[np.bool_], now: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the value of each customer's line at ``now``, and the spread about it. All logarithmic. [m; m]"""
    ratio = np.where(known, own - season, np.nan)
    away = np.abs(ratio - np.nanmedian(ratio, axis=1, keepdims=True))
    usual = np.maximum(MAD_TO_SIGMA * np.nanmedian(away, axis=1, keepdims=True), STEADY)
    weight = np.where(known & (away <= FAR * usual), 0.5 ** (np.arange(own.shape[1]) / HALF_LIFE), 0.0)
    weight /= weight.sum(axis=1, keepdims=True)
    x, y = np.where(known, season, 0.0), np.where(known, own, 0.0)
    x_mean, y_mean = (weight * x).sum(axis=1), (weight * y).sum(axis=1)
    dx, dy = x - x_mean[:, np.newaxis], y - y_mean[:, np.newaxis]
    stiffness = STIFFNESS / own.shape[1]
    slope = ((weight * dx * dy).sum(axis=1) + stiffness) / ((weight * dx * dx).sum(axis=1) + stiffness)
    variance = (weight * (dy - slope[:, np.newaxis] * dx) ** 2).sum(axis=1)
    periods = known.sum(axis=1)
    spread = np.sqrt((periods * variance + SPREAD_PERIODS * SPREAD_USUAL**2) / (periods + SPREAD_PERIODS))
    return y_mean + slope * (now - x_mean), spread


def _daily(energy_wh: Int64Array, days: Int64Array) -> FloatArray:
    """Return energy a day, a quiet day's added; NaN where it is not known."""
    known = (energy_wh >= 0) & (days > 0)
    return np.where(known, energy_wh / np.where(days > 0, days, 1) + QUIET_WH, np.nan)


def _median_of_peers(daily: FloatArray, peers: Int64Array) -> FloatArray:
    """Return for each customer the median of its group; NaN for a group of which nothing is known. [n]"""
    known = np.flatnonzero(np.isfinite(daily))
    order = known[np.lexsort((daily[known], peers[known]))]
    groups, first, count = np.unique(peers[order], return_index=True, return_counts=True)
    middle = (daily[order[first + (count - 1) // 2]] + daily[order[first + count // 2]]) / 2
    medians = np.full(int(peers.max(initial=0)) + 1, np.nan)
    medians[groups] = middle
    return medians[peers]
