r"""Meter against transformer: V15, what a balance says of a meter's own step or standstill.

A meter that suddenly shows less may have lost a phase, or its owner may have sold a machine; a meter at zero is dead,
or the flat stands empty. The meter alone cannot say, the transformer that feeds it can: its own meter goes on counting
what the customer's does not. What stays unaccounted behind a transformer is

.. math:: u_d = S_d - \sum_i (e_{i,d} - g_{i,d})

Losses have a constant part and one that grows with the square of the load, and the transformer's own meter errs by a
share of it, so :math:`u_d \approx a + b S_d + c S_d^2`. Whose step explains what is off that line is weighed in
:mod:`billing_core.validation.balance_steps`. What that explains is taken out of u. For a meter at zero the rest must
then show about what it usually takes, on those days and not on those around them.

Among many meters some figure is always a guess: a day failed, and the usual one stands in for it. Where that lasts for
days, what was read is a further term of the line, for the truth is often some combination of both.
"""

from itertools import pairwise

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.balance_steps import SIDE_LEAST, WEEK, Step, find_steps, fit_lines, guesses
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

DAYS_LEAST = 14
LOSS_TERMS = 3  # of the line: constant, linear, square
STILL_SIGMAS_LEAST = 4.5  # a standstill is rare by itself
STILL_LOW, STILL_HIGH = 0.6, 1.6  # of what the meter usually takes
STILL_DAY = 0.4  # … that each day inside must show at least and each outside at most
STILL_AGREE = 0.8  # of these days
_TINY_WH = 1.0


def v15_balance(
    taken_wh: Int64Array,
    given_wh: Int64Array,
    known: BoolArray,
    *,
    transformer: Int64Array,
    supplied_wh: Int64Array,
    supplied: BoolArray,
    read_wh: tuple[Int64Array, Int64Array] | None = None,
) -> Finding:
    """Find steps and standstills of meters that their transformer contradicts.

    Parameters
    ----------
    taken_wh, given_wh, known
        What each meter took and gave a day (:func:`billing_core.validation.believed.believed_daily`), and whether it is
        known. [Wh; meters × days]
    transformer
        Which transformer feeds each meter, its row in ``supplied_wh``; −1 where that is not known. [meters]
    supplied_wh, supplied
        What each transformer's own meter counted, and whether it was read. [Wh; transformers × days]

    read_wh
        What was read as taken and as given, where it differs from what is believed. [Wh; meters × days, twice]

    Returns
    -------
    Finding
        The days of a step (mostly until the window ends) or of a standstill. Evidence: the factor that the meter counts
        of the truth, what u shows that day beyond losses, and how many σ that is: of a step the root of twice the
        logarithm of its likelihood against no step.
    """
    mask = np.zeros(taken_wh.shape, dtype=np.bool_)
    factor, sigmas = np.zeros(taken_wh.shape), np.zeros(taken_wh.shape)
    unaccounted = np.zeros(taken_wh.shape, dtype=np.int64)
    order = np.argsort(transformer, kind="stable")
    edges = np.searchsorted(transformer[order], np.arange(supplied_wh.shape[0] + 1))
    for group, (begin, end) in enumerate(pairwise(edges.tolist())):
        members = order[begin:end]
        days = supplied[group] & known[members].all(axis=0)
        if not members.size or days.sum() < DAYS_LEAST:
            continue
        load = supplied_wh[group].astype(np.float64)
        loss = load - (taken_wh[members] - given_wh[members]).sum(axis=0)
        read = np.zeros((0, load.size)) if read_wh is None else _read_otherwise(taken_wh, given_wh, read_wh, members)
        for step in _explained(taken_wh[members].astype(np.float64), loss, load, days, read):
            meter = members[step.place]
            mask[meter, step.days] = True
            factor[meter, step.days], sigmas[meter, step.days] = step.times, step.sigmas
            missed = (1 / step.times - 1) * taken_wh[meter, step.days] if step.times > 0 else loss[step.days]
            unaccounted[meter, step.days] = np.rint(missed).astype(np.int64)
    return found("V15", mask, factor=factor, unaccounted_wh=unaccounted, sigmas=sigmas)


def _read_otherwise(
    taken_wh: Int64Array, given_wh: Int64Array, read_wh: tuple[Int64Array, Int64Array], members: Int64Array
) -> FloatArray:
    """Return what was read less what is believed, and what was taken where something else was read as given.

    The truth behind a lost sign or channels in each other's place is a sum of these. [Wh; 3 · members × days]
    """
    taken, given = taken_wh[members], given_wh[members]
    of_taken, of_given = read_wh[0][members] - taken, read_wh[1][members] - given
    return np.concatenate([of_taken, of_given, np.where(of_given != 0, taken, 0)]).astype(np.float64)


def _explained(own: FloatArray, loss: FloatArray, load: FloatArray, days: BoolArray, read: FloatArray) -> list[Step]:
    """Return what single meters explain of u: steps, then standstills. ``read``: see :func:`guesses`."""
    x = load / max(float(np.abs(load[days]).mean()), _TINY_WH)
    line = np.stack([np.ones(x.shape), x, x * x, *guesses(read, days)], axis=1)
    left = loss.copy()
    guessed = np.abs(line[:, LOSS_TERMS:]).sum(axis=1)
    steps = find_steps(own, loss, load, days, read)
    for step in steps:
        left[step.days] -= (1 / step.times - 1) * own[step.place, step.days]
    for place in np.flatnonzero(((own == 0) & days).any(axis=1)).tolist():
        rest, unrest = _beyond_losses(left, line, days & (own[place] > 0))
        for step in _standstills(place, own[place], rest, days, (unrest, guessed)):
            left[step.days] -= np.median(rest[step.days])
            steps.append(step)
    return steps


def _beyond_losses(loss: FloatArray, line: FloatArray, days: BoolArray) -> tuple[FloatArray, float]:
    """Return u less its line through ``days``, days that are far off weighing little, and σ about it. [Wh]"""
    if days.sum() < SIDE_LEAST:
        return loss, _TINY_WH
    pull = (np.arange(line.shape[1]) >= LOSS_TERMS).astype(np.float64)
    rest = loss - line @ fit_lines(line[None, days], loss[days], pull, _TINY_WH).gains[0]
    return rest, max(MAD_TO_SIGMA * float(np.median(np.abs(rest[days]))), _TINY_WH)


def _standstills(
    place: int, own: FloatArray, rest: FloatArray, days: BoolArray, unsure: tuple[float, FloatArray]
) -> list[Step]:
    """Return runs of whole days at zero while u shows what the meter usually takes.

    ``unsure`` are σ of u and how much of it is a guess about other meters: what is hidden behind that proves nothing.
    """
    unrest, guessed = unsure
    lively = (own > 0) & days
    if lively.sum() < WEEK:
        return []
    usual = _usual(own, lively)
    runs = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (own == 0).astype(np.int8), [0]])))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        inside = np.zeros(days.shape, dtype=np.bool_)
        inside[begin:end] = days[begin:end]
        near = np.zeros(days.shape, dtype=np.bool_)
        near[max(0, begin - WEEK) : end + WEEK] = True
        near[max(0, begin - 1) : end + 1] = False  # the days on which it stopped and went on
        near &= lively
        if not inside.any() or near.sum() < SIDE_LEAST:
            continue
        level, expected = float(np.median(rest[near])), usual[inside]
        if (guessed[inside] > STILL_DAY * expected).any():
            continue
        missed = rest[inside] - level
        share = float(missed @ expected) / max(float(expected @ expected), _TINY_WH)
        noise = unrest * np.sqrt(1 / float(expected @ expected) + 1.5 / near.sum() / float(expected.mean()) ** 2)
        agree = min(
            float((missed >= STILL_DAY * expected).mean()),
            float((rest[near] - level <= STILL_DAY * usual[near]).mean()),
        )
        if share >= STILL_SIGMAS_LEAST * noise and STILL_LOW <= share <= STILL_HIGH and agree >= STILL_AGREE:
            sigma = share / noise
            runs.append(Step(place, slice(begin, end), 0.0, sigma))
    return runs


def _usual(own: FloatArray, lively: BoolArray) -> FloatArray:
    """Return what the meter takes on each day of the week when it takes something. [Wh, days]"""
    usual = np.full(own.shape, float(np.median(own[lively])))
    for weekday in range(WEEK):
        some = lively[weekday::WEEK]
        if some.any():
            usual[weekday::WEEK] = np.median(own[weekday::WEEK][some])
    return usual
