r"""A clock that is wrong although nobody said so: V14.

A meter whose clock is off by hours has the right energy at the wrong times: its days keep their shape, but moved. How
a day would look is known from the meter's other days. On a logarithmic scale, each day without its own mean, a day is
the meter's shape plus noise, so that for every lag of whole hours a matched filter says how much better the moved shape
explains the day than the unmoved one:

.. math:: g_d(l) = a_l (u_d(l) - a_l / 2), \quad u_d(l) = (z_d - r) \cdot (r_l - r) / s_l, \quad a_l = |r_l - r|^2 / s_l

with z a day, r the shape, r_l the shape l hours late and s_l the spread that the product has from day to day on this
meter. The sum over days in a row is the logarithm of a likelihood ratio; the best row of days and lag of each meter is
looked for at once. The shape is then taken anew with those days moved back, since days that were moved have blurred it,
and only what is convincing against the new one counts: most days of the row on their own, and the row's mean day.

A household that goes on night shift looks the same, so what is found is to be asked, not believed. Hours make the
search 24 × 24; a clock that is half an hour wrong is for its own clock readings to tell (V07).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.screening import MAD_TO_SIGMA
from billing_core.validation.series import Intervals

HOURS = 24
DAYS_LEAST = 5  # days in a row with one lag: holidays are shorter
WINDOW_LEAST = 10  # days without which there is no shape to compare to
PART_DAYS = 3  # a row of DAYS_LEAST days has one such part wholly
PART_DIFFERS, HALF_DIFFERS = 5.0, 4.0  # times what noise makes of it: whose days are steady has no row of moved ones
PARTY = 0.5  # an hour counts no more than this in the first look, so that a party or an outage makes nobody unsteady
LOOK_LIKELIHOOD = 6.0  # natural logarithm: worth a second look against a cleaner shape
SURE_LIKELIHOOD = 36.0  # of some 10⁴ rows of days and lags per meter, and days are not quite independent
DAYS_AGREE = 0.7  # of the row's days that must be nearer to the moved shape each by itself
FIT_LEAST = 0.8  # correlation of the row's mean day with the moved shape
GAIN_LEAST = 5.0  # times that its misfit is smaller than the unmoved one's
MISFIT_LEAST = 0.03  # of the unmoved shape: what noise makes of a row's mean day
ENERGY_SIGMAS, ENERGY_LEAST = 5.0, 0.02  # by which the row's energy may differ from the other days', logarithmic
LIVELY_LEAST = 0.4  # of the usual day's energy: nobody is there on a day with less
CALM = 0.1  # of the mean hour, added before the logarithm: small figures are mostly rounding
SPREAD_FLOOR = 0.05
BLOCK_METERS = 256

Floats = NDArray[np.float32]


class _Best(NamedTuple):
    """The best row of days and lag of each meter, and the logarithm of its likelihood ratio."""

    first: Int64Array
    end: Int64Array
    lag: Int64Array
    likelihood: Floats


def v14_clock_shift(intervals: Intervals, late_slots: Int64Array | None = None) -> Finding:
    """Find days in a row that have the meter's shape, moved by hours, and days whose switchings moved.

    Parameters
    ----------
    late_slots
        See :func:`billing_core.validation.schedules.moved_schedules`. [slots, meters × days]

    Returns
    -------
    Finding
        Per day, on each day of the row. Of days and their complement the later are suspected. Evidence: ``lag_h``, by
        how many hours the days are late (negative: early), and the correlations of the row's mean day with the moved
        and the unmoved shape in thousandths.
    """
    shape = (intervals.meters, intervals.days)
    lag, moved, unmoved = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    if intervals.days >= WINDOW_LEAST:
        for begin in range(0, intervals.meters, BLOCK_METERS):
            block = slice(begin, begin + BLOCK_METERS)
            days, known, daily = _logarithmic_days(intervals, block)
            _look((days, known, daily), intervals.energy_wh[block], lag[block], moved[block], unmoved[block])
    if late_slots is not None:
        lag = np.where(lag == 0, np.sign(late_slots) * (np.abs(late_slots) * HOURS // intervals.slots_per_day), lag)
    return found("V14", lag != 0, lag_h=lag, fit_moved_permille=moved, fit_unmoved_permille=unmoved)


def _look(
    block: tuple[Floats, BoolArray, Floats],
    energy_wh: Int64Array,
    lag: Int64Array,
    moved: Int64Array,
    unmoved: Int64Array,
) -> None:
    days, known, daily = block
    rows = np.flatnonzero(_unsteady(days, known))
    if rows.size:
        rows, best = _worth_a_look(rows, days, known)
    if not rows.size:
        return
    some, there = days[rows], known[rows]
    shape = _mean_day(_moved_back(some, best), there)
    best = _best_row(some, shape, there)
    shape = _mean_day(_moved_back(some, best), there)
    for place, row in enumerate(rows):
        if best.likelihood[place] <= SURE_LIKELIHOOD:
            continue
        first, end, late = int(best.first[place]), int(best.end[place]), int(best.lag[place])
        inside = np.zeros(days.shape[1], dtype=np.bool_)
        inside[first:end] = True
        nearer = _nearer(some[place], shape[place], late)
        fits = _fits(some[place], shape[place], late, (inside & there[place], ~inside & there[place], nearer))
        if fits is None or _another_life(daily[row], inside & there[place], ~inside & there[place]):
            continue
        signed = late - HOURS if late > HOURS // 2 else late
        if abs(signed) == 1 and _is_the_sun(energy_wh[row], inside & there[place], ~inside & there[place], signed):
            continue
        suspected = inside & there[place] & nearer
        if (
            int(there[place, :first].sum()) < DAYS_LEAST and end < there.shape[1]
        ):  # the earlier days are taken for right
            signed, suspected = -signed, ~inside & there[place] & ~nearer
        lag[row, suspected] = signed
        moved[row, suspected], unmoved[row, suspected] = fits


def _worth_a_look(rows: Int64Array, days: Floats, known: BoolArray) -> tuple[Int64Array, _Best]:
    """Return which of the rows have a likely row of moved days, against the shape of either half of the window."""
    days, known = days[rows], known[rows]
    half = days.shape[1] // 2
    early, later = (
        _best_row(days, _mean_day(days[:, part], known[:, part]), known) for part in (slice(half), slice(half, None))
    )
    best = _chosen(later.likelihood > early.likelihood, later, early)
    worth = best.likelihood > LOOK_LIKELIHOOD
    return rows[worth], _Best(best.first[worth], best.end[worth], best.lag[worth], best.likelihood[worth])


def _chosen(mask: BoolArray, one: _Best, other: _Best) -> _Best:
    return _Best(
        np.where(mask, one.first, other.first),
        np.where(mask, one.end, other.end),
        np.where(mask, one.lag, other.lag),
        np.where(mask, one.likelihood, other.likelihood),
    )


def _unsteady(days: Floats, known: BoolArray) -> BoolArray:
    """Tell whose shape differs from part to part of the window by more than its noise from day to day. [meters]"""
    off_mean = days - _mean_day(days, known)[:, None, :]
    np.clip(off_mean, -PARTY, PARTY, out=off_mean)
    off_mean[~known] = 0
    noise = np.maximum(_noise(off_mean), SPREAD_FLOOR**2)
    unsteady = np.zeros(days.shape[0], dtype=np.bool_)
    halves = np.array_split(np.arange(days.shape[1]), 2)
    short = np.array_split(np.arange(days.shape[1]), days.shape[1] // PART_DAYS)
    by_day, lively = np.ascontiguousarray(off_mean.transpose(1, 0, 2)), np.ascontiguousarray(known.T)
    for parts, least in ((halves, HALF_DIFFERS), (short, PART_DIFFERS)):
        for part in parts:
            count = lively[part[0] : part[-1] + 1].sum(axis=0)
            off = by_day[part[0] : part[-1] + 1].sum(axis=0)
            off /= np.maximum(count, 1).astype(np.float32)[:, None]
            unsteady |= np.einsum("mh,mh->m", off, off) * count > least * HOURS * noise
    return unsteady


def _noise(days: Floats) -> Floats:
    """Return the variance of an hour about its shape, from one day to the next. [meters]"""
    change = np.diff(days, axis=1)
    noise: Floats = np.einsum("mdh,mdh->m", change, change) / np.float32(2 * HOURS * change.shape[1])
    return noise


def _nearer(days: Floats, shape: Floats, late: int) -> BoolArray:
    """Tell which days are nearer to the moved shape than to the unmoved one."""
    return np.asarray(((days - np.roll(shape, late)) ** 2).sum(axis=1) < ((days - shape) ** 2).sum(axis=1))


def _fits(
    days: Floats, shape: Floats, late: int, which: tuple[BoolArray, BoolArray, BoolArray]
) -> tuple[int, int] | None:
    """Return the correlations with the moved and the unmoved shape in thousandths; None if they convince nobody.

    ``which`` are the lively days inside and outside of the row, and the days that are nearer to the moved shape.
    """
    inside, outside, nearer = which
    if min(int(inside.sum()), int(outside.sum())) < DAYS_LEAST:
        return None
    mean = days[inside].mean(axis=0)
    moved, unmoved = (
        float((mean @ each) / max(float(np.linalg.norm(mean) * np.linalg.norm(each)), 1e-6))
        for each in (np.roll(shape, late), shape)
    )
    convincing = nearer[inside].mean() >= DAYS_AGREE and nearer[outside].mean() <= 1 - DAYS_AGREE
    convincing &= moved >= FIT_LEAST and 1 - unmoved > max(MISFIT_LEAST, GAIN_LEAST * (1 - moved))
    return (round(1000 * moved), round(1000 * unmoved)) if convincing else None


def _another_life(daily: Floats, inside: BoolArray, outside: BoolArray) -> bool:
    """Tell whether the days inside have surely more or less energy: a clock moves energy and makes none."""
    one, other = np.log(np.maximum(daily[inside], 1)), np.log(np.maximum(daily[outside], 1))
    change = abs(float(np.median(one)) - float(np.median(other)))
    spread = MAD_TO_SIGMA * max(float(np.median(np.abs(part - np.median(part)))) for part in (one, other))
    error = 1.25 * spread * np.sqrt(1 / one.size + 1 / other.size)  # 1.25: of a median, not a mean
    return bool(change > max(ENERGY_SIGMAS * error, ENERGY_LEAST))


def _is_the_sun(row: Int64Array, inside: BoolArray, outside: BoolArray, late_h: int) -> bool:
    """Tell whether half an hour explains the days better than the hour does: street lighting follows the season."""
    days = np.sqrt(np.maximum(row.reshape(inside.size, -1), 0).astype(np.float64))
    per_hour = days.shape[1] // HOURS
    if per_hour % 2:
        return False
    one, other = days[inside].mean(axis=0), days[outside].mean(axis=0)
    hour, half = (float(((one - np.roll(other, late_h * slots)) ** 2).sum()) for slots in (per_hour, per_hour // 2))
    return half < hour


def _logarithmic_days(intervals: Intervals, block: slice) -> tuple[Floats, BoolArray, Floats]:
    """Return each day's hours, logarithmic and without the day's mean, which days are lively, and their energy.

    Lively is a day that is complete and takes about what others do.
    """
    energy, missing = intervals.energy_wh[block], intervals.missing[block]
    shape = (energy.shape[0], intervals.days, HOURS, -1)
    parts = energy.astype(np.float32).reshape(shape)
    hourly = parts[..., 0].copy()
    for part in range(1, parts.shape[3]):
        hourly += parts[..., part]
    np.maximum(hourly, 0, out=hourly)
    daily = hourly.mean(axis=2)
    usual = np.median(daily, axis=1, keepdims=True)
    known = (daily >= LIVELY_LEAST * usual) & (daily > 0)
    if missing.any():
        known &= ~missing.reshape(energy.shape[0], intervals.days, -1).any(axis=2)
    hourly /= np.maximum(CALM * daily, 1)[:, :, None]
    hourly += 1
    np.log(hourly, out=hourly)
    hourly -= hourly.mean(axis=2, keepdims=True)
    hourly[~known] = 0
    return hourly, known, daily


def _mean_day(days: Floats, known: BoolArray) -> Floats:
    count = np.maximum(known.sum(axis=1), 1).astype(np.float32)
    mean: Floats = days.sum(axis=1) / count[:, None]
    return mean


def _moved_back(days: Floats, best: _Best) -> Floats:
    back = days.copy()
    for place, (first, end, late) in enumerate(zip(best.first, best.end, best.lag, strict=True)):
        back[place, first:end] = np.roll(back[place, first:end], -late, axis=1)
    return back


def _best_row(days: Floats, shape: Floats, known: BoolArray) -> _Best:
    """Return the days in a row and the lag that the likelihood speaks for most, per meter."""
    turns = (np.arange(HOURS)[None, :] - np.arange(1, HOURS)[:, None]) % HOURS  # row l − 1: l hours late
    change = shape[:, turns] - shape[:, None, :]  # [meters, lags, hours]
    length = np.einsum("mlh,mlh->ml", change, change)
    product = np.matmul(days, change.transpose(0, 2, 1))  # [meters, days, lags]
    product -= np.einsum("mh,mlh->ml", shape, change)[:, None, :]
    # From one day to the next, because a row of moved days is no spread; 0.8 σ is a normal distribution's mean.
    spread = np.abs(np.diff(product, axis=1)).mean(axis=1) * np.float32(1.25 / np.sqrt(2))
    spread = np.maximum(np.maximum(spread, np.sqrt(_noise(days)[:, None] * length)), SPREAD_FLOOR)
    strength = length / spread
    product *= (strength / spread)[:, None, :]
    product -= (strength * strength / 2)[:, None, :]
    product[~known] = 0
    total = np.zeros((product.shape[1] + 1, product.shape[0], product.shape[2]), dtype=np.float32)  # day by day
    for day in range(product.shape[1]):
        np.add(total[day], product[:, day], out=total[day + 1])
    lowest = total[:-DAYS_LEAST].copy()
    for day in range(1, lowest.shape[0]):
        np.minimum(lowest[day - 1], lowest[day], out=lowest[day])
    gain = (total[DAYS_LEAST:] - lowest).transpose(1, 0, 2)
    flat = gain.reshape(gain.shape[0], -1).argmax(axis=1)
    end, lag = np.divmod(flat, gain.shape[2])
    rows = np.arange(gain.shape[0])
    first = np.array([int(total[: end[row] + 1, row, lag[row]].argmin()) for row in rows], dtype=np.int64)
    return _Best(first, end + DAYS_LEAST, lag + 1, gain[rows, end, lag])
