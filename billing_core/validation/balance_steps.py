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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

WEEK = 7
SIDE_LEAST = 5  # days that must be there before a step, and inside its window
STEP_LEAST = 0.11  # logarithm of a factor; a smaller one is weather
FACTOR_MOST = 20.0
GUESSED_LEAST = 4  # days on which a meter's figure was replaced, for it to be a question of its own
GUESSED_MOST = 8  # such columns behind one transformer
STEPS_MOST = 5  # behind one transformer
PLACES_MOST, WINDOWS_EACH = 12, 3  # meters, and windows of each, that are weighed closely
EVIDENCE_LEAST = 16.0  # natural logarithm: of some 10⁴ hypotheses, none of which is likely before
BALANCE_LEAST = 9.0  # … that the balance alone must give
MARGIN_LEAST = 4.0  # … against the best that blames somebody else
FREEDOM = 4.0  # of the t distribution
ROUNDS = 12  # of its fit
SIGMA_LEAST = 2e-4  # of the mean load: meters count in steps
UNSTEADY = 2.0  # σ of a window's mean residual, from which on a search is worth its time
OWNER_CHANGES = 0.1  # how often an owner's own level changes in that week
OWNER_DENSITY = 0.3  # per unit of its logarithm, by how much then
MENDED_COST = 6.0  # of a step that goes back: most stay until somebody comes
OWN_MOST = 7.0  # that the own level can say: owners change their lives as well
LIFE_MOST, LIFE_COST = 0.35, 30.0  # by how much owners make up for a step by chance, logarithmic; what more of it costs
OWN_LEAST = 2.0  # … and must say for a meter to be blamed
SURELY = 20.0  # a margin from which on the own level need not say so
LEVEL_NOISE_LEAST = 0.02
_TINY_WH = 1.0


class Step(NamedTuple):
    """One meter that explains u: its place, the days, the factor that it counts of the truth, and how sure it is."""

    place: int
    days: slice
    times: float
    sigmas: float
    own: float = 0.0  # what its own level says for it, as a logarithm of likelihoods


class _Problem(NamedTuple):
    """u on the days that are known, its line, and what could explain it besides: the meters, the load, an even load."""

    loss: FloatArray  # [days kept]
    line: FloatArray  # [days kept × columns]
    own: FloatArray  # [meters + 2 × days]
    kept: BoolArray  # [days]
    pull: FloatArray  # of each column: 1 if its factor is expected to be within ±1, 0 if nothing is expected. [columns]
    least: float  # the smallest σ that is believed. [Wh]


def find_steps(
    own: FloatArray, loss: FloatArray, load: FloatArray, days: BoolArray, unbelieved: FloatArray
) -> list[Step]:
    """Return the meters whose steps explain u, and which nothing else does.

    Parameters
    ----------
    own
        What each meter took a day. [Wh; meters × days]
    loss, load
        u and what the transformer's meter counted. [Wh, days]
    days
        On which days all of that is known.
    unbelieved
        What was read less what is believed, where that differs; rows are figures of some meters. [Wh; rows × days]
    """
    own = np.where(days, own, 0.0)  # nobody's level
    mean = max(float(np.abs(load[days]).mean()), _TINY_WH)
    x = load / mean
    line = np.stack([np.ones(x.shape), x, x * x], axis=1)[days] * mean
    extra = guesses(unbelieved, days).T[days]
    line = np.concatenate([line, extra], axis=1)
    pull = np.concatenate([np.zeros(3), np.ones(extra.shape[1])])
    hypotheses = np.concatenate([own, load[None, :], np.full((1, load.size), mean)])
    problem = _Problem(loss[days], line, hypotheses, days, pull, SIGMA_LEAST * mean)
    if not _unsteady(problem):
        return []
    steps: list[Step] = []
    margins: list[float] = []
    while len(steps) < STEPS_MOST:
        best, margin = _best(problem, steps)
        if best is None:
            break
        steps.append(best)
        margins.append(margin)
    sure: list[Step] = []
    first_found = steps.copy()
    for place, step in enumerate(first_found):
        margin = margins[place]
        # What nobody's meter explains and came later was left over by this one.
        later = [each for each in steps[place + 1 :] if each.place < own.shape[0]]
        again: Step | None = step
        if later or steps[:place] != first_found[:place]:
            again, margin = _best(problem, steps[:place] + later)
        if again is None or again.place >= own.shape[0]:
            continue
        steps[place] = again
        if margin >= MARGIN_LEAST and (again.own >= OWN_LEAST or margin >= SURELY):
            sure.append(again)
    return sure


def guesses(unbelieved: FloatArray, days: BoolArray) -> FloatArray:
    """Return, as rows, by how much the figures of some meters would differ if what was read were true after all.

    Of a meter that was not believed for days the truth is some combination of these: an import and an export that
    changed places, a sign that was lost.
    """
    rows = np.where(days, unbelieved, 0.0)
    many = np.flatnonzero((rows != 0).sum(axis=1) >= GUESSED_LEAST)
    largest = many[np.argsort(-np.abs(rows[many]).sum(axis=1), kind="stable")[:GUESSED_MOST]]
    chosen: FloatArray = rows[largest]
    return chosen


def _unsteady(problem: _Problem) -> bool:
    """Tell whether u stays off its line for days in a row."""
    fit = fit_lines(problem.line[None], problem.loss, problem.pull, problem.least)
    rest = problem.loss - problem.line @ fit.gains[0]
    from_day_to_day = MAD_TO_SIGMA * float(np.median(np.abs(np.diff(rest)))) / np.sqrt(2)
    z = np.clip(rest / max(min(float(fit.sigma[0]), from_day_to_day), problem.least), -2, 2)
    total = np.concatenate([[0.0], np.cumsum(z)])
    first, end = _windows(z.size)
    return bool((np.abs(total[end] - total[first]) > UNSTEADY * np.sqrt(end - first)).any())


def _windows(days: int) -> tuple[Int64Array, Int64Array]:
    """Return the first day of each window that a step may have, and the day after it."""
    first, end = np.meshgrid(np.arange(SIDE_LEAST, days - SIDE_LEAST + 1), np.arange(days + 1), indexing="ij")
    fits = (end - first >= SIDE_LEAST) & ((end == days) | (end <= days - SIDE_LEAST))
    return first[fits], end[fits]


def _best(problem: _Problem, others: list[Step]) -> tuple[Step | None, float]:
    """Return the likeliest step besides ``others``, None if none is likely, and by how much it is likelier.

    Likelier than the best hypothesis that blames somebody else. A place beyond the meters is the load's or an even one.
    """
    line = np.concatenate([problem.line, *(_term(problem, step)[:, None] for step in others)], axis=1)
    places, first, end = _candidates(problem, line)
    if not places.size:
        return None, 0.0
    pull = np.concatenate([problem.pull, np.zeros(len(others))])
    nothing = fit_lines(line[None], problem.loss, pull, problem.least)
    inside = np.arange(problem.kept.size)
    inside_window = (inside >= first[:, None]) & (inside < end[:, None])
    terms = (problem.own[places] * inside_window)[:, problem.kept]
    columns = np.concatenate([np.broadcast_to(line, (places.size, *line.shape)), terms[:, :, None]], axis=2)
    fit = fit_lines(columns, problem.loss, np.append(pull, 0.0), problem.least)
    gain = fit.gains[:, -1]
    of_load = places == problem.own.shape[0] - 2
    truth = np.where(of_load, 1 - gain, 1 + gain)
    even = places == problem.own.shape[0] - 1
    possible = even | _is_step(truth)
    times = np.where(of_load, truth, 1 / np.where(possible & ~even, truth, 1))
    balance = np.where(possible, fit.likelihood - nothing.likelihood[0], -np.inf)
    evidence = balance - MENDED_COST * (end < problem.kept.size)
    own_says, reached = np.zeros(places.size), -np.inf
    for row in np.argsort(-balance, kind="stable"):
        if balance[row] + OWN_MOST < reached - MARGIN_LEAST:
            break  # whatever its own level says
        if not even[row]:
            own_says[row] = _own_evidence(problem.own[places[row]], int(first[row]), int(end[row]), float(times[row]))
        reached = max(reached, float(evidence[row]) + own_says[row])
    evidence += own_says
    best = int(evidence.argmax())
    if evidence[best] < EVIDENCE_LEAST or balance[best] < BALANCE_LEAST:
        return None, 0.0
    else_best = evidence[places != places[best]]
    margin = float(evidence[best] - max(else_best.max(initial=0.0), 0.0))
    step = Step(
        int(places[best]),
        slice(int(first[best]), int(end[best])),
        float(times[best]),
        float(np.sqrt(2 * evidence[best])),
        float(own_says[best]),
    )
    return step, margin


def _term(problem: _Problem, step: Step) -> FloatArray:
    """Return what a step adds to u on the days kept, but for its factor."""
    term = np.zeros(problem.kept.size)
    term[step.days] = problem.own[step.place, step.days]
    return term[problem.kept]


def _candidates(problem: _Problem, line: FloatArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the windows of each hypothesis that explain most squares of u, days far off both neighbours left out."""
    calm = ~_isolated(problem.loss)
    base = np.linalg.qr(line[calm])[0]
    shown = problem.loss[calm] - base @ (base.T @ problem.loss[calm])
    first, end = _windows(problem.kept.size)
    days = np.flatnonzero(problem.kept)[calm]
    inside = ((days >= first[:, None]) & (days < end[:, None])).astype(np.float64)  # [windows × days]
    own = problem.own[:, days]
    product = (own * shown) @ inside.T
    power = (own * own) @ inside.T
    for column in base.T:
        power -= ((own * column) @ inside.T) ** 2
    gain = np.where(power > _TINY_WH, product / np.maximum(power, _TINY_WH), 0.0)
    meters = own.shape[0] - 2
    explained = gain * product
    explained[:meters] *= _is_step(1 + gain[:meters])
    likely = np.argsort(-explained[:meters].max(axis=1), kind="stable")[:PLACES_MOST]
    likely = np.concatenate([likely, [meters, meters + 1]])
    chosen = np.argpartition(-explained[likely], WINDOWS_EACH, axis=1)[:, :WINDOWS_EACH]
    places = np.repeat(likely, chosen.shape[1])
    flat = chosen.ravel()
    some = explained[places, flat] > 0
    return places[some], first[flat[some]], end[flat[some]]


def _is_step(truth: FloatArray) -> BoolArray:
    """Tell which multiples of what is shown the truth can be, for a meter of which a part is wrong."""
    logs = np.abs(np.log(np.maximum(truth, 1e-9)))
    return np.asarray((logs >= STEP_LEAST) & (logs <= np.log(FACTOR_MOST)))


def _isolated(loss: FloatArray) -> BoolArray:
    """Tell which days lie far from both of their neighbours, on one side: what a gap or a spike does."""
    change = np.diff(loss)
    far = 6 * max(MAD_TO_SIGMA * float(np.median(np.abs(change))), _TINY_WH)
    alone = np.zeros(loss.shape, dtype=np.bool_)
    alone[1:-1] = ((change[:-1] > far) & (change[1:] < -far)) | ((change[:-1] < -far) & (change[1:] > far))
    return alone


class _Fits(NamedTuple):
    gains: FloatArray  # [hypotheses × columns]
    sigma: FloatArray  # [hypotheses]
    likelihood: FloatArray  # logarithmic


def fit_lines(columns: NDArray[np.float64], values: FloatArray, pull: FloatArray, least: float) -> _Fits:
    """Fit a line with residuals of a t distribution for each hypothesis.

    Parameters
    ----------
    columns
        [hypotheses × days × columns]
    values
        [Wh, days]
    pull
        Of each column: 1 if its factor is expected to be within ±1, 0 if nothing is expected. [columns]
    least
        The smallest σ that is believed. [Wh]
    """
    scale = np.maximum(np.sqrt((columns**2).mean(axis=1, keepdims=True)), 1e-9)
    scaled = columns / scale
    weight = np.ones(columns.shape[:2])
    ridge = 1e-9 * columns.shape[1] * np.eye(columns.shape[2])
    expected = pull / scale[:, 0] ** 2  # 1 over the variance of each scaled factor
    sigma = np.full(columns.shape[0], max(float(np.std(values)), least))
    for _ in range(ROUNDS):
        heavy = scaled * weight[:, :, None]
        normal = np.matmul(heavy.transpose(0, 2, 1), scaled) + ridge
        normal += (sigma**2)[:, None, None] * expected[:, :, None] * np.eye(columns.shape[2])
        gains = np.linalg.solve(normal, np.matmul(heavy.transpose(0, 2, 1), values[:, None]))
        rest = values - np.matmul(scaled, gains)[:, :, 0]
        sigma = np.sqrt((weight * rest**2).mean(axis=1))
        sigma = np.maximum(sigma, least)
        weight = (FREEDOM + 1) / (FREEDOM + (rest / sigma[:, None]) ** 2)
    tail = (FREEDOM + 1) / 2 * np.log1p((rest / sigma[:, None]) ** 2 / FREEDOM).sum(axis=1)
    likelihood = -values.size * np.log(sigma) - tail - (expected * gains[:, :, 0] ** 2).sum(axis=1) / 2
    return _Fits(gains[:, :, 0] / scale[:, 0], sigma, likelihood)


def _own_evidence(own: FloatArray, first: int, end: int, times: float) -> float:
    """Return how much likelier the meter's own level is if it stepped by that factor than if not, logarithmic.

    Each day of the first week of the new level is held against the day a week before; a day says little if it fits
    neither, as the first day of the holidays does.
    """
    logs = np.log(np.where(own > 0, own, np.nan))
    weekly = logs[WEEK:] - logs[:-WEEK]  # of day d against d − 7, at place d − 7
    day = np.arange(WEEK, own.size)
    edges = [(first, 1.0)] + ([(end, -1.0)] if end < own.size else [])
    across = np.zeros(weekly.shape, dtype=np.bool_)
    for edge, _ in edges:
        across |= (day >= edge) & (day < edge + WEEK)
    change = np.diff(np.where(across, np.nan, weekly))  # from one day to the next: holidays begin and end once
    change = change[np.isfinite(change)]
    if change.size < SIDE_LEAST:
        return 0.0
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(change))) / np.sqrt(2), LEVEL_NOISE_LEAST)
    evidence = 0.0
    for edge, sign in edges:
        pairs = weekly[(day >= edge) & (day < edge + WEEK)]
        pairs = pairs[np.isfinite(pairs)]
        stepped = _log_density(pairs - sign * np.log(times), spread).sum()
        evidence += float(stepped - _log_density(pairs, spread).sum())
    contradicted = OWN_MOST + LIFE_COST * max(0.0, abs(float(np.log(times))) - LIFE_MOST)
    return float(np.clip(evidence, -contradicted, OWN_MOST))


def _log_density(away: FloatArray, spread: float) -> FloatArray:
    """Return the density of days that far from where they should be: noise mostly, the owner's doing now and then."""
    noise = np.exp(-((away / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
    density: FloatArray = np.log((1 - OWNER_CHANGES) * noise + OWNER_CHANGES * OWNER_DENSITY)
    return density
