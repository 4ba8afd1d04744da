r"""Meter against transformer: V15, what a balance says of a meter's own step or standstill.

A meter that suddenly shows less may have lost a phase, or its owner may have sold a machine; a meter at zero is dead,
or the flat stands empty. The meter alone cannot say, the transformer that feeds it can: its own meter goes on counting
what the customer's does not. What stays unaccounted behind a transformer is

.. math:: u_d = S_d - \sum_i (e_{i,d} - g_{i,d})

Losses have a constant part and one that grows with the square of the load, and the transformer's own meter errs by a
share of it, so :math:`u_d \approx a + b S_d + c S_d^2`. A meter that counts f times the truth from day t on adds
:math:`(1/f - 1) e_{i,d}` from that day on and nothing before, in its own daily
pattern. All meters and days are tried as one more term of that line; the one that explains most of u is suspected if it
explains nearly all, and if its own level steps by f on that day, weekday against weekday. Then it is taken out of u
before the next is looked for, so that no neighbour is blamed for it. For a meter at zero u must show about what it
usually takes, on those days and not on those around them.

A day on which a neighbour's meter was wrong is an outlier and takes no part.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.screening import MAD_TO_SIGMA, FloatArray

WEEK = 7
SIDE_LEAST = 5  # days that must be there before and after a step
DAYS_LEAST = 14
STEP_LEAST = 0.11  # logarithm of a factor; a smaller one is weather
EXPLAINED_LEAST = 0.9  # of the squares of u about its line
HOLIDAY = 1.2  # logarithm of a step that whole classes of customers make together
EXPLAINED_SURELY = 0.97  # from which on the own level may have changed besides
AS_GOOD = 0.01  # of two days that explain it about equally the later: a Sunday shows little
LEVEL_NEAR, LEVEL_SHARE = 0.02, 0.4  # how far u's factor and the own level's may be apart, logarithmic
SIGMAS_LEAST = 12.0
LEVEL_FAR = 0.35  # the same where u is explained surely
OUTLIER_SIGMAS, OUTLIERS_MOST = 6.0, 0.3
UNSTEADY_SIGMAS = 1.0  # of the median of five days against the five before
STILL_SIGMAS_LEAST = 4.5  # a standstill is rare by itself
STILL_LOW, STILL_HIGH = 0.6, 1.6  # of what the meter usually takes
STILL_DAY = 0.4  # … that each day inside must show at least and each outside at most
STILL_AGREE = 0.8  # of these days
FACTOR_MOST = 20.0
STEPS_MOST = 5  # behind one transformer
ROUNDS = 3
_TINY_WH = 1.0


class _Step(NamedTuple):
    """One meter that explains u: its place, the days, the factor that it counts of the truth, and how sure it is."""

    place: int
    days: slice
    times: float
    sigmas: float


def v15_balance(
    taken_wh: Int64Array,
    given_wh: Int64Array,
    known: BoolArray,
    *,
    transformer: Int64Array,
    supplied_wh: Int64Array,
    supplied: BoolArray,
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

    Returns
    -------
    Finding
        Per day, from a step on, or the days of a standstill. Evidence: the factor that the meter counts of the truth,
        what u shows that day beyond losses, and how many σ that is.
    """
    mask = np.zeros(taken_wh.shape, dtype=np.bool_)
    factor, sigmas = np.zeros(taken_wh.shape), np.zeros(taken_wh.shape)
    unaccounted = np.zeros(taken_wh.shape, dtype=np.int64)
    still = ((taken_wh == 0) & known).any(axis=1)
    order = np.argsort(transformer, kind="stable")
    edges = np.searchsorted(transformer[order], np.arange(supplied_wh.shape[0] + 1))
    for group, (begin, end) in enumerate(pairwise(edges.tolist())):
        members = order[begin:end]
        days = supplied[group] & known[members].all(axis=0)
        if not members.size or days.sum() < DAYS_LEAST:
            continue
        load = supplied_wh[group].astype(np.float64)
        loss = load - (taken_wh[members] - given_wh[members]).sum(axis=0)
        for step in _explained(taken_wh[members].astype(np.float64), loss, load, days, still[members]):
            meter = members[step.place]
            mask[meter, step.days] = True
            factor[meter, step.days], sigmas[meter, step.days] = step.times, step.sigmas
            missed = (1 / step.times - 1) * taken_wh[meter, step.days] if step.times > 0 else loss[step.days]
            unaccounted[meter, step.days] = np.rint(missed).astype(np.int64)
    return found("V15", mask, factor=factor, unaccounted_wh=unaccounted, sigmas=sigmas)


def _explained(own: FloatArray, loss: FloatArray, load: FloatArray, days: BoolArray, still: BoolArray) -> list[_Step]:
    """Return what single meters explain of u, the best first, then the standstills."""
    x = load / max(float(np.abs(load[days]).mean()), _TINY_WH)
    line = np.stack([np.ones(x.shape), x, x * x], axis=1)
    left = loss.copy()
    steps: list[_Step] = []
    for _ in range(STEPS_MOST if _unsteady(left, line, days) else 0):
        best = _best_step(own, left, line, days)
        if best is None:
            break
        left[best.days] -= (1 / best.times - 1) * own[best.place, best.days]
        steps.append(best)
    for place in np.flatnonzero(still).tolist():
        rest, unrest = _beyond_losses(left, line, days & (own[place] > 0))
        for step in _standstills(place, own[place], rest, days, unrest):
            left[step.days] -= np.median(rest[step.days])
            steps.append(step)
    return steps


def _beyond_losses(loss: FloatArray, line: FloatArray, days: BoolArray) -> tuple[FloatArray, float]:
    """Return u less its line through ``days``, outliers among them left out, and σ about it. [Wh]"""
    kept, rest = days.copy(), loss - float(np.median(loss[days])) if days.any() else loss
    unrest = _TINY_WH
    for _ in range(ROUNDS):
        if kept.sum() < SIDE_LEAST:
            break
        rest = loss - line @ np.linalg.lstsq(line[kept], loss[kept], rcond=None)[0]
        unrest = max(MAD_TO_SIGMA * float(np.median(np.abs(rest[days]))), _TINY_WH)
        kept = days & (np.abs(rest) <= OUTLIER_SIGMAS / 2 * unrest)
    return rest, unrest


def _unsteady(loss: FloatArray, line: FloatArray, days: BoolArray) -> bool:
    """Tell whether u makes a step at all that is worth the search."""
    rest = _beyond_losses(loss, line, days)[0][days]
    from_day_to_day = max(MAD_TO_SIGMA * float(np.median(np.abs(np.diff(rest)))) / np.sqrt(2), _TINY_WH)
    level = np.median(np.lib.stride_tricks.sliding_window_view(rest, SIDE_LEAST), axis=1)
    return bool(np.abs(level[SIDE_LEAST:] - level[:-SIDE_LEAST]).max(initial=0) > UNSTEADY_SIGMAS * from_day_to_day)


def _standstills(place: int, own: FloatArray, rest: FloatArray, days: BoolArray, unrest: float) -> list[_Step]:
    """Return runs of whole days at zero while u shows what the meter usually takes."""
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
        missed = rest[inside] - level
        share = float(missed @ expected) / max(float(expected @ expected), _TINY_WH)
        noise = unrest * np.sqrt(1 / float(expected @ expected) + 1.5 / near.sum() / float(expected.mean()) ** 2)
        agree = min(
            float((missed >= STILL_DAY * expected).mean()),
            float((rest[near] - level <= STILL_DAY * usual[near]).mean()),
        )
        if share >= STILL_SIGMAS_LEAST * noise and STILL_LOW <= share <= STILL_HIGH and agree >= STILL_AGREE:
            sigma = share / noise
            runs.append(_Step(place, slice(begin, end), 0.0, sigma))
    return runs


def _usual(own: FloatArray, lively: BoolArray) -> FloatArray:
    """Return what the meter takes on each day of the week when it takes something. [Wh, days]"""
    usual = np.full(own.shape, float(np.median(own[lively])))
    for weekday in range(WEEK):
        some = lively[weekday::WEEK]
        if some.any():
            usual[weekday::WEEK] = np.median(own[weekday::WEEK][some])
    return usual


def _best_step(own: FloatArray, loss: FloatArray, line: FloatArray, days: BoolArray) -> _Step | None:
    """Return the meter and day whose step explains u best, None if none explains it well.

    Days that even the best explanation leaves far off are taken for others' faults, and it is tried again without.
    """
    kept = days & ~_isolated(loss, days)
    for _ in range(ROUNDS):
        if kept.sum() < max((1 - OUTLIERS_MOST) * days.sum(), DAYS_LEAST):
            return None
        fit = _fit(own, loss, line, kept)
        best = _convincing(own, fit, int(kept.sum()))
        if best is not None:
            return best
        most = int(fit.explained.argmax())
        rest = fit.shown - fit.gain[most] * fit.terms[most]
        off = np.abs(rest) > OUTLIER_SIGMAS / 2 * max(MAD_TO_SIGMA * float(np.median(np.abs(rest))), _TINY_WH)
        if not off.any():
            return None
        kept[np.flatnonzero(kept)[off]] = False
    return None


class _Fit(NamedTuple):
    """u beyond its line on the days kept, and each meter's and day's term of it: columns over meters × days."""

    shown: FloatArray
    terms: FloatArray
    gain: FloatArray
    power: FloatArray
    explained: FloatArray  # share of the squares of ``shown``


def _fit(own: FloatArray, loss: FloatArray, line: FloatArray, kept: BoolArray) -> _Fit:
    base = np.linalg.qr(line[kept])[0]
    shown = loss[kept] - base @ (base.T @ loss[kept])
    later = np.arange(own.shape[1])[None, :] >= _first_days(own)[:, None]
    terms = (own[:, None, :] * later[None, :, :])[:, :, kept].reshape(-1, int(kept.sum()))
    terms -= (terms @ base) @ base.T
    power = (terms * terms).sum(axis=1)
    product = terms @ shown
    gain = np.where(power > _TINY_WH, product / np.maximum(power, _TINY_WH), 0.0)
    return _Fit(shown, terms, gain, power, gain * product / max(float(shown @ shown), _TINY_WH))


def _first_days(own: FloatArray) -> Int64Array:
    """Return the days on which a step may be."""
    return np.arange(SIDE_LEAST, own.shape[1] - SIDE_LEAST + 1)


def _convincing(own: FloatArray, fit: _Fit, days: int) -> _Step | None:
    """Return the best step that is sharp, large and seen in the meter's own level; of about equal days the latest."""
    first = _first_days(own)
    best: _Step | None = None
    least = EXPLAINED_LEAST
    for flat in np.argsort(-fit.explained, kind="stable").tolist():
        if fit.explained[flat] < least:
            break
        place, day = flat // first.size, int(first[flat % first.size])
        if best is not None and (place != best.place or day <= best.days.start):
            continue
        if 1 + float(fit.gain[flat]) <= 1 / FACTOR_MOST:
            continue
        times = 1 / (1 + float(fit.gain[flat]))
        left = float(fit.shown @ fit.shown) * max(1 - float(fit.explained[flat]), 1e-9)
        unrest = max(np.sqrt(left / max(days - 3, 1)), _TINY_WH)
        sigma = abs(float(fit.gain[flat])) * float(np.sqrt(fit.power[flat])) / unrest
        sure = float(fit.explained[flat]) >= EXPLAINED_SURELY
        if sigma >= SIGMAS_LEAST and abs(np.log(times)) >= STEP_LEAST and _steps_by(own[place], day, times, sure=sure):
            if best is None:
                least = float(fit.explained[flat]) - AS_GOOD
            best = _Step(place, slice(day, own.shape[1]), times, sigma)
    return best


def _isolated(loss: FloatArray, days: BoolArray) -> BoolArray:
    """Tell which days lie far from both of their neighbours, on one side: what a gap or a spike does."""
    change = np.diff(loss)
    unrest = max(MAD_TO_SIGMA * float(np.median(np.abs(change[days[1:] & days[:-1]]))), _TINY_WH)
    far = np.zeros(loss.shape, dtype=np.bool_)
    up, down = change[:-1] > OUTLIER_SIGMAS * unrest, change[1:] < -OUTLIER_SIGMAS * unrest
    far[1:-1] = (up & down) | ((change[:-1] < -OUTLIER_SIGMAS * unrest) & (change[1:] > OUTLIER_SIGMAS * unrest))
    return far


def _steps_by(own: FloatArray, day: int, times: float, *, sure: bool) -> bool:
    """Tell whether the meter's own level stepped by about that factor on that day, weekday against weekday."""
    pairs = [
        np.log(own[later] / own[later - WEEK])
        for later in range(max(day, WEEK), min(day + WEEK, own.shape[0]))
        if own[later] > 0 and own[later - WEEK] > 0
    ]
    if len(pairs) < SIDE_LEAST:
        return False
    own_step, shown_step = float(np.median(pairs)), float(np.log(times))
    if abs(own_step - shown_step) <= LEVEL_NEAR + LEVEL_SHARE * abs(shown_step):
        return True
    if not sure:
        return False
    if abs(own_step) > HOLIDAY:  # everybody's level jumped that week, and says nothing of this meter's
        return abs(shown_step) < HOLIDAY
    return abs(own_step - shown_step) <= min(abs(own_step), LEVEL_FAR)  # the rest is its owner's own change
