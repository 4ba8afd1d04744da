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

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.balance_steps import GUESSED_LEAST, LOSS_TERMS, Question, Step, find_steps, guesses
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.line_fits import Lines, fit_lines, stack_columns
from billing_core.validation.own_level import SIDE_LEAST, WEEK, median_of_first
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

DAYS_LEAST = 14
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
    edges = np.searchsorted(transformer[order], np.arange(supplied_wh.shape[0] + 1)).tolist()
    read = (taken_wh, given_wh) if read_wh is None else read_wh
    otherwise = _Otherwise(*(each[order] for each in (taken_wh, given_wh, *read)))
    behind, questions = [], []
    for group, question in _questions(otherwise, known[order], edges, supplied_wh, supplied):
        behind.append(order[edges[group] : edges[group + 1]])
        questions.append(question)
    for members, question, steps in zip(behind, questions, _explained(questions), strict=True):
        for step in steps:
            meter = members[step.place]
            mask[meter, step.days] = True
            factor[meter, step.days], sigmas[meter, step.days] = step.times, step.sigmas
            loss = question.loss[step.days]
            missed = (1 / step.times - 1) * taken_wh[meter, step.days] if step.times > 0 else loss
            unaccounted[meter, step.days] = np.rint(missed).astype(np.int64)
    return found("V15", mask, factor=factor, unaccounted_wh=unaccounted, sigmas=sigmas)


class _Otherwise(NamedTuple):
    """What is believed and what was read. [Wh; meters × days]"""

    taken: Int64Array
    given: Int64Array
    taken_read: Int64Array
    given_read: Int64Array

    def often(self) -> tuple[BoolArray, BoolArray]:
        """Tell whose taken, and whose given energy was not believed on many days. [meters], [meters]"""
        of_taken = (self.taken_read != self.taken).sum(axis=1) >= GUESSED_LEAST
        return of_taken, (self.given_read != self.given).sum(axis=1) >= GUESSED_LEAST

    def rows(self, of_taken: Int64Array, of_given: Int64Array) -> Int64Array:
        """Return what was read less what is believed, and what was taken where something else was read as given.

        The truth behind a lost sign or channels in each other's place is a sum of these. [Wh; rows × days]
        """
        given = self.given_read[of_given] - self.given[of_given]
        taken = self.taken_read[of_taken] - self.taken[of_taken]
        return np.concatenate([taken, given, np.where(given != 0, self.taken[of_given], 0)])


def _questions(
    figures: _Otherwise, known: BoolArray, edges: list[int], supplied_wh: Int64Array, supplied: BoolArray
) -> Iterator[tuple[int, Question]]:
    """Yield each transformer of which enough days are known; its meters' rows lie between its edge and the next."""
    net, own = figures.taken - figures.given, figures.taken.astype(np.float64)
    often = figures.often()
    for group, (begin, end) in enumerate(pairwise(edges)):
        days = supplied[group] & known[begin:end].all(axis=0)
        if begin == end or days.sum() < DAYS_LEAST:
            continue
        load = supplied_wh[group].astype(np.float64)
        guessed = np.zeros((0, load.size))
        if often[0][begin:end].any() or often[1][begin:end].any():
            guessed = guesses(figures.rows(*(begin + np.flatnonzero(each[begin:end]) for each in often)), days)
        yield group, Question(own[begin:end], load - net[begin:end].sum(axis=0), load, days, guessed)


def _explained(questions: list[Question]) -> list[list[Step]]:
    """Return what single meters explain of u behind each transformer: steps, then standstills.

    A standstill that is found changes what is left of u for the transformer's later meters, which are then asked again.
    """
    explained = find_steps(questions)
    left = []
    asked: list[tuple[int, _Still]] = []
    for place, (question, steps, quiet) in enumerate(zip(questions, explained, _at_zero(questions), strict=True)):
        rest = question.loss.copy()
        for step in steps:
            rest[step.days] -= (1 / step.times - 1) * question.own[step.place, step.days]
        left.append(rest)
        asked += [(place, still) for still in _stood_still(question, quiet)]
    while asked:
        again: list[tuple[int, _Still]] = []
        changed = set()
        beyond = _beyond_losses([(questions[place], left[place], still.lively) for place, still in asked])
        for (place, still), (rest, unrest) in zip(asked, beyond, strict=True):
            if place in changed:
                again.append((place, still))
                continue
            for step in _standstills(still, rest, unrest):
                left[place][step.days] -= np.median(rest[step.days])
                explained[place].append(step)
                changed.add(place)
        asked = again
    return explained


def _beyond_losses(asked: list[tuple[Question, FloatArray, BoolArray]]) -> list[tuple[FloatArray, float]]:
    """Return u less its line through some days, days that are far off weighing little, and σ about it. [Wh]"""
    columns = []
    for question, _, _ in asked:
        x = question.load / max(float(np.abs(question.load[question.days]).mean()), _TINY_WH)
        columns.append(np.concatenate([np.stack([np.ones(x.shape), x, x * x]), question.guessed]))
    whole, days = stack_columns(columns), np.stack([each[2] for each in asked])
    loss = np.stack([each[1] for each in asked])
    pull = np.zeros(whole.shape[:2])
    for row, each in enumerate(columns):
        pull[row, LOSS_TERMS : each.shape[0]] = 1
    lines = Lines(
        np.where(days[:, None, :], whole, 0.0),
        np.where(days, loss, 0.0),
        days.sum(axis=1),
        pull,
        np.full(len(asked), _TINY_WH),
    )
    gains = fit_lines(lines).gains[:, :, :-1]
    rest = loss - np.matmul(gains, whole)[:, 0]
    off = median_of_first(np.where(days, np.abs(rest), np.inf), days.sum(axis=1))
    return list(zip(rest, np.maximum(MAD_TO_SIGMA * off, _TINY_WH).tolist(), strict=True))


class _Run(NamedTuple):
    """Days at zero, and those around them on which the meter took something; what it usually takes. [Wh, days]"""

    days: slice
    inside: BoolArray
    near: BoolArray


class _Still(NamedTuple):
    """A meter that was at zero for days, which its transformer may contradict."""

    place: int
    lively: BoolArray  # days on which it took something
    usual: FloatArray  # [Wh, days]
    runs: list[_Run]


def _at_zero(questions: list[Question]) -> list[list[int]]:
    """Return the places, behind each transformer, that were at zero on some day and took something on others."""
    if not questions:
        return []
    sizes = [each.own.shape[0] for each in questions]
    own = np.concatenate([each.own for each in questions])
    days = np.repeat(np.stack([each.days for each in questions]), sizes, axis=0)
    some = ((own == 0) & days).any(axis=1) & (((own > 0) & days).sum(axis=1) >= WEEK)
    return [np.flatnonzero(part).tolist() for part in np.split(some, np.cumsum(sizes)[:-1])]


def _stood_still(question: Question, places: list[int]) -> list[_Still]:
    """Return the meters of some places with runs of whole days at zero of which u can say anything.

    What is hidden behind a guess about other meters proves nothing.
    """
    if not places:
        return []
    days = question.days
    guessed = np.abs(question.guessed).sum(axis=0)
    still = []
    for place in places:
        own = question.own[place]
        lively = (own > 0) & days
        runs = _runs(own == 0, lively, days)
        if not runs:
            continue
        usual = _usual(own, lively)
        sure = [run for run in runs if not (guessed[run.inside] > STILL_DAY * usual[run.inside]).any()]
        if sure:
            still.append(_Still(place, lively, usual, sure))
    return still


def _runs(zero: BoolArray, lively: BoolArray, days: BoolArray) -> list[_Run]:
    """Return the runs of days at zero around which the meter took something. [days]"""
    runs = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], zero.astype(np.int8), [0]])))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        inside = np.zeros(days.shape, dtype=np.bool_)
        inside[begin:end] = days[begin:end]
        near = np.zeros(days.shape, dtype=np.bool_)
        near[max(0, begin - WEEK) : end + WEEK] = True
        near[max(0, begin - 1) : end + 1] = False  # the days on which it stopped and went on
        near &= lively
        if inside.any() and near.sum() >= SIDE_LEAST:
            runs.append(_Run(slice(begin, end), inside, near))
    return runs


def _standstills(still: _Still, rest: FloatArray, unrest: float) -> list[Step]:
    """Return the runs in which u shows what the meter usually takes. ``unrest``: σ of u. [Wh]"""
    found_runs = []
    for days, inside, near in still.runs:
        expected = still.usual[inside]
        level = float(np.median(rest[near]))
        missed = rest[inside] - level
        share = float(missed @ expected) / max(float(expected @ expected), _TINY_WH)
        noise = unrest * np.sqrt(1 / float(expected @ expected) + 1.5 / near.sum() / float(expected.mean()) ** 2)
        if not (share >= STILL_SIGMAS_LEAST * noise and STILL_LOW <= share <= STILL_HIGH):
            continue
        agree = min(
            float((missed >= STILL_DAY * expected).mean()),
            float((rest[near] - level <= STILL_DAY * still.usual[near]).mean()),
        )
        if agree >= STILL_AGREE:
            found_runs.append(Step(still.place, days, 0.0, share / noise))
    return found_runs


def _usual(own: FloatArray, lively: BoolArray) -> FloatArray:
    """Return what the meter takes on each day of the week when it takes something. [Wh, days]"""
    weeks = -(-own.size // WEEK)
    known = np.full((weeks + 1) * WEEK, np.inf)
    known[: own.size][lively] = own[lively]
    by_weekday = known.reshape(weeks + 1, WEEK).T
    count = np.isfinite(by_weekday).sum(axis=1)
    usual = median_of_first(by_weekday, count)
    if not count.all():
        usual[count == 0] = np.median(own[lively])
    return np.tile(usual, weeks)[: own.size]
