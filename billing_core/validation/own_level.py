"""What a meter's own level says for or against a step of it: weekday against weekday, around the step."""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

SIDE_LEAST = 5  # days that must be there before a step, and inside its window
WEEK = 7
OWNER_CHANGES = 0.1  # how often an owner's own level changes in that week
OWNER_DENSITY = 0.3  # per unit of its logarithm, by how much then
OWN_MOST = 7.0  # that the own level can say: owners change their lives as well
LIFE_MOST, LIFE_COST = 0.35, 30.0  # by how much owners make up for a step by chance, logarithmic; what more of it costs
LEVEL_NOISE_LEAST = 0.02


def own_evidence(own: FloatArray, first: Int64Array, end: Int64Array, times: FloatArray) -> FloatArray:
    """Return how much likelier each meter's own level is if it stepped by that factor than if not, logarithmic.

    Each day of the first week of the new level is held against the day a week before; a day says little if it fits
    neither, as the first day of the holidays does.

    Parameters
    ----------
    own
        What the meters took, 0 where that is not known. [Wh; hypotheses × days]
    first, end
        The first day of each step, and the day on which it goes back, the number of days if it does not. [hypotheses]
    times
        What each meter counts of the truth from then on. [hypotheses]
    """
    days = own.shape[1]
    logs = np.log(np.where(own > 0, own, np.nan))
    weekly = logs[:, WEEK:] - logs[:, :-WEEK]  # of day d against d − 7, at place d − 7
    day = np.arange(WEEK, days)
    begins, ends = first[:, None], end[:, None]
    goes_back = ends < days
    across = (day >= begins) & (day < begins + WEEK)
    across |= goes_back & (day >= ends) & (day < ends + WEEK)
    change = np.diff(np.where(across, np.nan, weekly), axis=1)  # from one day to the next: holidays begin and end once
    change = np.abs(change)
    count = np.isfinite(change).sum(axis=1)
    change[np.isnan(change)] = np.inf
    spread = MAD_TO_SIGMA * median_of_first(change, count) / np.sqrt(2)
    spread = np.maximum(spread, LEVEL_NOISE_LEAST)[:, None]
    log_times = np.log(times)[:, None]
    evidence = np.zeros(own.shape[0])
    week = np.arange(WEEK) - WEEK
    for edge, sign, some in ((begins, 1.0, np.ones_like(goes_back)), (ends, -1.0, goes_back)):
        place = edge + week
        there = some & (place >= 0) & (place < weekly.shape[1])
        pairs = np.take_along_axis(weekly, place.clip(0, weekly.shape[1] - 1), axis=1)
        there &= np.isfinite(pairs)
        pairs = np.where(there, pairs, 0.0)
        speaks = _log_density(pairs - sign * log_times, spread) - _log_density(pairs, spread)
        evidence += np.where(there, speaks, 0.0).sum(axis=1)
    contradicted = OWN_MOST + LIFE_COST * np.maximum(0.0, np.abs(log_times[:, 0]) - LIFE_MOST)
    bounded: FloatArray = np.where(count < SIDE_LEAST, 0.0, np.clip(evidence, -contradicted, OWN_MOST))
    return bounded


def median_of_first(values: FloatArray, count: Int64Array) -> FloatArray:
    """Return the median of the ``count`` smallest values of each row, of 1 at least. [rows]"""
    ordered = np.sort(values, axis=1)
    rows, some = np.arange(values.shape[0]), np.maximum(count, 1)
    median: FloatArray = (ordered[rows, (some - 1) // 2] + ordered[rows, some // 2]) / 2
    return median


def _log_density(away: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the density of days that far from where they should be: noise mostly, the owner's doing now and then."""
    noise = np.exp(-((away / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
    density: FloatArray = np.log((1 - OWNER_CHANGES) * noise + OWNER_CHANGES * OWNER_DENSITY)
    return density
