r"""Whose meter steps behind a transformer: every meter and window of days as a hypothesis, weighed against the others.

What stays unaccounted behind a transformer lies on a line of its load (:mod:`billing_core.validation.balance`). If
meter i counts f times the truth in a window of days, it lies off that line by :math:`(1/f - 1) e_{i,d}` in these days:
the meter's own daily pattern, which no other meter has. Two things speak for one hypothesis against another:

* how much likelier it makes the days' residuals. They follow a t distribution, for among many meters some day is always
  wrong for another reason, and their scale is fitted with each hypothesis;
* the meter's own level, weekday against weekday: it steps by f where the window begins, and back where it ends. Owners
  do that too (they buy and sell machines), so this evidence is bounded.

That nobody's meter is wrong but the transformer's own, or that somebody began to take past all meters, are hypotheses
among the others: a share of the load, and an even load. A step is told only if it is much likelier than no step, and
than the best hypothesis that is not this meter's. Several steps behind one transformer are fitted together, and each is
asked again when all are known.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.balance_windows import explained_squares, is_step, windows
from billing_core.validation.finding import BoolArray
from billing_core.validation.line_fits import Lines, fit_lines, stack_columns
from billing_core.validation.own_level import OWN_MOST, median_of_first, own_evidence
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

LOSS_TERMS = 3  # of the line: constant, linear, square
GUESSED_LEAST = 4  # days on which a meter's figure was replaced, for it to be a question of its own
GUESSED_MOST = 8  # such columns behind one transformer
STEPS_MOST = 5  # behind one transformer
PLACES_MOST, WINDOWS_EACH = 12, 3  # meters, and windows of each, that are weighed closely
PLACES_AT_ONCE = 32  # whose windows are summed up together: what stays near the processor
EVIDENCE_LEAST = 16.0  # natural logarithm: of some 10⁴ hypotheses, none of which is likely before
BALANCE_LEAST = 9.0  # … that the balance alone must give
MARGIN_LEAST = 4.0  # … against the best that blames somebody else
SIGMA_LEAST = 2e-4  # of the mean load: meters count in steps
UNSTEADY = 2.0  # σ of a window's mean residual, from which on a search is worth its time
MENDED_COST = 6.0  # of a step that goes back: most stay until somebody comes
OWN_LEAST = 2.0  # … and must say for a meter to be blamed
SURELY = 20.0  # a margin from which on the own level need not say so
_TINY_WH = 1.0


class Step(NamedTuple):
    """One meter that explains u: its place, the days, the factor that it counts of the truth, and how sure it is."""

    place: int
    days: slice
    times: float
    sigmas: float
    own: float = 0.0  # what its own level says for it, as a logarithm of likelihoods


class Question(NamedTuple):
    """What is known behind one transformer. [Wh]"""

    own: FloatArray  # what each meter took a day. [meters × days]
    loss: FloatArray  # u [days]
    load: FloatArray  # what the transformer's meter counted. [days]
    days: BoolArray  # on which days all of that is known
    guessed: FloatArray  # rows of :func:`guesses` [rows × days]


class _Problem(NamedTuple):
    """u, its line, and what could explain it besides: the meters, the load, an even load. [Wh]"""

    loss: FloatArray  # 0 on days not known. [days]
    line: FloatArray  # 0 on days not known. [columns × days]
    own: FloatArray  # [meters + 2 × days]
    kept: BoolArray  # [days]
    calm: BoolArray  # the days kept but those far off both neighbours. [days]
    least: float  # the smallest σ that is believed. [Wh]


_Search = Generator[list[Step], tuple[Step | None, float], list[Step]]


def find_steps(questions: Sequence[Question]) -> list[list[Step]]:
    """Return, for each transformer, the meters whose steps explain u, and which nothing else does.

    All of the same days. The searches go on in step, so that what each asks next is weighed for all at once.
    """
    found: list[list[Step]] = [[] for _ in questions]
    if not questions:
        return found
    problems = _problems(questions)
    lines = _lines(problems)
    fit = fit_lines(lines)
    rest = lines.values - np.matmul(fit.gains[:, :1, :-1], lines.columns)[:, 0]
    unsteady = _unsteady(rest, np.stack([each.kept for each in problems]), fit.sigma[:, 0], lines.least)
    asked: list[tuple[int, _Search, list[Step]]] = []
    for place in np.flatnonzero(unsteady).tolist():
        search = _search(problems[place].own.shape[0] - 2)
        asked.append((place, search, next(search)))
    while asked:
        answers = _best([(problems[place], others) for place, _, others in asked])
        going_on = []
        for (place, search, _), answer in zip(asked, answers, strict=True):
            try:
                going_on.append((place, search, search.send(answer)))
            except StopIteration as ended:
                found[place] = ended.value
        asked = going_on
    return found


def _problems(questions: Sequence[Question]) -> list[_Problem]:
    kept = np.stack([each.days for each in questions])
    loss = np.where(kept, np.stack([each.loss for each in questions]), 0.0)
    calm = kept & ~_isolated(loss, kept)
    load = np.stack([each.load for each in questions])
    means = np.maximum(np.abs(np.where(kept, load, 0.0)).sum(axis=1) / kept.sum(axis=1), _TINY_WH)
    x = load / means[:, None]
    of_load = np.where(kept, np.stack([np.ones(x.shape), x, x * x]) * means[:, None], 0.0)
    problems = []
    for row, (question, mean) in enumerate(zip(questions, means.tolist(), strict=True)):
        line = np.concatenate([of_load[:, row], question.guessed])
        meters = np.where(kept[row], question.own, 0.0)  # nobody's level
        own = np.concatenate([meters, load[row : row + 1], np.full((1, load.shape[1]), mean)])
        problems.append(_Problem(loss[row], line, own, kept[row], calm[row], SIGMA_LEAST * mean))
    return problems


def _lines(problems: list[_Problem], others: list[list[Step]] | None = None) -> Lines:
    """Return the problems' lines with what other steps add."""
    taken = others or [[] for _ in problems]
    columns = [
        np.concatenate([problem.line, *(_term(problem, step)[None] for step in steps)])
        for problem, steps in zip(problems, taken, strict=True)
    ]
    stacked = stack_columns(columns)
    pull = np.zeros(stacked.shape[:2])
    for row, problem in enumerate(problems):
        pull[row, LOSS_TERMS : problem.line.shape[0]] = 1
    return Lines(
        stacked,
        np.stack([each.loss for each in problems]),
        np.array([each.kept.sum() for each in problems], dtype=np.int64),
        pull,
        np.array([each.least for each in problems]),
    )


def _search(meters: int) -> _Search:
    """Ask for the best step besides others until there is none, then for each again, and return the sure ones."""
    steps: list[Step] = []
    margins: list[float] = []
    while len(steps) < STEPS_MOST:
        best, margin = yield steps.copy()
        if best is None:
            break
        steps.append(best)
        margins.append(margin)
    sure: list[Step] = []
    first_found = steps.copy()
    for place, step in enumerate(first_found):
        margin = margins[place]
        # What nobody's meter explains and came later was left over by this one.
        later = [each for each in steps[place + 1 :] if each.place < meters]
        again: Step | None = step
        if later or steps[:place] != first_found[:place]:
            again, margin = yield steps[:place] + later
        if again is None or again.place >= meters:
            continue
        steps[place] = again
        if margin >= MARGIN_LEAST and (again.own >= OWN_LEAST or margin >= SURELY):
            sure.append(again)
    return sure


def guesses(unbelieved: Int64Array, days: BoolArray) -> FloatArray:
    """Return, as rows, by how much the figures of some meters would differ if what was read were true after all.

    Of a meter that was not believed for days the truth is some combination of these: an import and an export that
    changed places, a sign that was lost.
    """
    rows = np.where(days, unbelieved, 0)
    many = np.flatnonzero((rows != 0).sum(axis=1) >= GUESSED_LEAST)
    largest = many[np.argsort(-np.abs(rows[many]).sum(axis=1), kind="stable")[:GUESSED_MOST]]
    return rows[largest].astype(np.float64)


def _unsteady(rest: FloatArray, kept: BoolArray, sigma: FloatArray, least: FloatArray) -> BoolArray:
    """Tell where u stays off its line for days in a row. [transformers]"""
    count = kept.sum(axis=1)
    order, change = _from_day_to_day(rest, kept)
    rest = np.take_along_axis(rest, order, axis=1)
    from_day_to_day = MAD_TO_SIGMA * median_of_first(np.abs(change), count - 1) / np.sqrt(2)
    z = np.clip(rest / np.maximum(np.minimum(sigma, from_day_to_day), least)[:, None], -2, 2)
    total = np.concatenate([np.zeros((z.shape[0], 1)), np.cumsum(z, axis=1)], axis=1)
    unsteady = np.zeros(kept.shape[0], dtype=np.bool_)
    for days in np.unique(count).tolist():
        first, end = windows(days)
        rows = count == days
        off = np.abs(total[rows][:, end] - total[rows][:, first]) > UNSTEADY * np.sqrt(end - first)
        unsteady[rows] = off.any(axis=1)
    return unsteady


class _Hypotheses(NamedTuple):
    """The windows of each transformer that explain most, filled up with empty ones. [transformers × hypotheses]"""

    many: list[int]
    places: Int64Array
    first: Int64Array
    end: Int64Array
    terms: FloatArray  # what each adds to u, but for its factor. [Wh; transformers × hypotheses × days]
    own: FloatArray  # what the meter took, all days. [Wh; transformers × hypotheses × days]


def _best(asked: list[tuple[_Problem, list[Step]]]) -> list[tuple[Step | None, float]]:
    """Return the likeliest step besides the others, None if none is likely, and by how much it is likelier.

    Likelier than the best hypothesis that blames somebody else. A place beyond the meters is the load's or an even one.
    """
    problems = [problem for problem, _ in asked]
    lines = _lines(problems, [others for _, others in asked])
    chosen = _hypotheses(problems, lines, [problem.line.shape[0] + len(others) for problem, others in asked])
    fit = fit_lines(lines, chosen.terms, np.array(chosen.many) + 1)
    nothing = fit.likelihood[:, :1]  # the first term of each is zero
    gain = fit.gains[:, :, -1]
    size = np.array([problem.own.shape[0] for problem in problems])[:, None]
    of_load, even = chosen.places == size - 2, chosen.places == size - 1
    truth = np.where(of_load, 1 - gain, 1 + gain)
    possible = (even | is_step(truth)) & (chosen.places >= 0)
    truth = np.where(possible & ~even, truth, 1)
    times = np.where(of_load, truth, 1 / truth)
    balance = np.where(possible, fit.likelihood - nothing, -np.inf)
    weighed = possible & ~even
    own_says = np.zeros(gain.shape)
    own_says[weighed] = own_evidence(chosen.own[weighed], chosen.first[weighed], chosen.end[weighed], times[weighed])
    evidence = balance - MENDED_COST * (chosen.end < chosen.own.shape[2])
    likeliest = []
    for row, many in enumerate(chosen.many):
        some = slice(1, many + 1)
        described = chosen.first[row, some], chosen.end[row, some], times[row, some]
        weights = balance[row, some], evidence[row, some], own_says[row, some]
        likeliest.append(_likeliest(chosen.places[row, some], described, weights))
    return likeliest


def _likeliest(
    places: Int64Array,
    described: tuple[Int64Array, Int64Array, FloatArray],
    weights: tuple[FloatArray, FloatArray, FloatArray],
) -> tuple[Step | None, float]:
    """Return the likeliest of one transformer's hypotheses, and by how much it is likelier than who else is blamed.

    ``described`` are the windows' first days and ends and the factors, ``weights`` what the balance gives, the same
    with the price of a step that goes back, and what the own level says.
    """
    if not places.size:
        return None, 0.0
    (first, end, times), (balance, evidence, own_says) = described, weights
    order = np.argsort(-balance, kind="stable")
    reached = np.maximum.accumulate((evidence + own_says)[order])
    too_late = np.flatnonzero(balance[order[1:]] + OWN_MOST < reached[:-1] - MARGIN_LEAST)
    if too_late.size:  # whatever their own levels say
        own_says[order[1 + too_late[0] :]] = 0.0
    evidence = evidence + own_says
    best = int(evidence.argmax())
    if evidence[best] < EVIDENCE_LEAST or balance[best] < BALANCE_LEAST:
        return None, 0.0
    else_best = evidence[places != places[best]]
    margin = float(evidence[best] - max(else_best.max(initial=0.0), 0.0))
    window = slice(int(first[best]), int(end[best]))
    sigmas = float(np.sqrt(2 * evidence[best]))
    return Step(int(places[best]), window, float(times[best]), sigmas, float(own_says[best])), margin


def _hypotheses(problems: list[_Problem], lines: Lines, wide: list[int]) -> _Hypotheses:
    """Return what is weighed closely behind each transformer, and nothing as the first. ``wide``: columns of each."""
    days = lines.values.shape[1]
    first, end = windows(days)
    shape = (len(problems), (PLACES_MOST + 2) * WINDOWS_EACH + 1)
    places = np.full(shape, -1, dtype=np.int64)
    begins, ends = np.full(shape, days, dtype=np.int64), np.full(shape, days, dtype=np.int64)
    own = np.zeros((*shape, days))
    many = [0] * len(problems)
    for row, chosen, window in _candidates(problems, lines, wide):
        many[row] = chosen.size
        some = slice(1, chosen.size + 1)
        places[row, some], own[row, some] = chosen, problems[row].own[chosen]
        begins[row, some], ends[row, some] = first[window], end[window]
    day = np.arange(days)
    kept = np.stack([problem.kept for problem in problems])[:, None, :]
    terms = own * (kept & (day >= begins[:, :, None]) & (day < ends[:, :, None]))
    return _Hypotheses(many, places, begins, ends, terms, own)


def _term(problem: _Problem, step: Step) -> FloatArray:
    """Return what a step adds to u, but for its factor."""
    term = np.zeros(problem.kept.size)
    term[step.days] = problem.own[step.place, step.days]
    return term * problem.kept


def _candidates(
    problems: list[_Problem], lines: Lines, wide: list[int]
) -> Iterator[tuple[int, Int64Array, Int64Array]]:
    """Yield, for each transformer, the places, and the windows of each, that explain most squares of u.

    But for days far off both neighbours.
    """
    calm = np.stack([problem.calm for problem in problems])
    width = np.array(wide)
    for columns in np.unique(width).tolist():
        rows = np.flatnonzero(width == columns)
        line = lines.columns[rows, :columns] * calm[rows, None]
        base = np.linalg.qr(line.transpose(0, 2, 1))[0].transpose(0, 2, 1)  # [transformers × columns × days]
        loss = (lines.values[rows] * calm[rows])[:, None]
        shown = (loss - loss @ base.transpose(0, 2, 1) @ base)[:, 0]
        begin = 0
        sizes = np.array([problems[row].own.shape[0] for row in rows.tolist()])
        while begin < rows.size:
            end = begin + max(1, int(np.searchsorted(np.cumsum(sizes[begin:]), PLACES_AT_ONCE, side="right")))
            some = slice(begin, end)
            own = np.concatenate([problems[row].own * calm[row] for row in rows[some].tolist()])
            whose = np.repeat(np.arange(begin, end)[: rows[some].size], sizes[some])
            explained = explained_squares(own, shown[whose], base[whose], np.cumsum(sizes[some]))
            likely = []
            edges = [0, *np.cumsum(sizes[some]).tolist()]
            most = explained.min(axis=1)
            for first, last in pairwise(edges):
                best = first + np.argsort(most[first : last - 2], kind="stable")[:PLACES_MOST]
                likely.append(np.concatenate([best, [last - 2, last - 1]]))
            together = explained[np.concatenate(likely)]
            chosen = np.argpartition(together, WINDOWS_EACH, axis=1)[:, :WINDOWS_EACH]
            says = np.take_along_axis(together, chosen, axis=1) < 0
            at = 0
            for row, first, each in zip(rows[some].tolist(), edges, likely, strict=False):
                here = slice(at, at + each.size)
                at += each.size
                yield row, np.repeat(each - first, WINDOWS_EACH)[says[here].ravel()], chosen[here][says[here]]
            begin = end


def _isolated(loss: FloatArray, kept: BoolArray) -> BoolArray:
    """Tell which days lie far from both of their neighbours, on one side: what a gap or a spike does."""
    order, change = _from_day_to_day(loss, kept)
    typical = median_of_first(np.abs(change), kept.sum(axis=1) - 1)
    far = 6 * np.maximum(MAD_TO_SIGMA * typical, _TINY_WH)[:, None]
    change[np.isinf(change)] = 0.0
    before, after = change[:, :-1], change[:, 1:]
    alone = np.zeros(loss.shape, dtype=np.bool_)
    inner = ((before > far) & (after < -far)) | ((before < -far) & (after > far))
    np.put_along_axis(alone, order[:, 1:-1], inner, axis=1)
    return alone


def _from_day_to_day(values: FloatArray, kept: BoolArray) -> tuple[Int64Array, FloatArray]:
    """Return the days in order, those kept first, and the changes from each to the next, ∞ after the last kept."""
    order = np.argsort(~kept, axis=1, kind="stable")
    change = np.diff(np.take_along_axis(values, order, axis=1), axis=1)
    change[np.arange(1, values.shape[1]) >= kept.sum(axis=1)[:, None]] = np.inf
    return order, change
