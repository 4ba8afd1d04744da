"""The methods E0 and E3 to E8. Each returns values for the slots of gaps, and for which of them it has any.

E1 is in :mod:`billing_core.estimation.straight_line`, E2 in :mod:`billing_core.estimation.like_days`.
"""

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.estimation.gaps import Gaps, Proposal, nothing, usable_days, whole_gaps

TEMPERATURE_DAYS_LEAST = 14
TEMPERATURE_FIT_LEAST = 0.5  # r²
COOLING_BASE_DC = 240  # 24.0 °C: above it air conditioners run


def e0_check_meter(context: Context, gaps: Gaps) -> Proposal:
    """Take the check meter's value."""
    if context.check_wh is None or context.check_valid is None:
        return nothing(gaps)
    place = gaps.meter, gaps.slot
    return Proposal(context.check_wh[place], whole_gaps(gaps, context.check_valid[place]))


def e3_fixed_day(context: Context, gaps: Gaps) -> Proposal:
    """Take the day that a person chose as the model."""
    if context.fixed_day is None:
        return nothing(gaps)
    day = context.fixed_day[gaps.meter]
    per_day = context.intervals.slots_per_day
    usable = usable_days(context)
    applies = (day >= 0) & (day < context.intervals.days)
    day = day.clip(0, context.intervals.days - 1)
    applies &= usable[gaps.meter, day]
    return Proposal(context.intervals.energy_wh[gaps.meter, day * per_day + gaps.slot % per_day], applies)


def e4_last_year(context: Context, gaps: Gaps) -> Proposal:
    """Take the same slots a year ago, times the season's ratio."""
    if context.last_year_wh is None or context.season_permille is None:
        return nothing(gaps)
    place = gaps.meter, gaps.slot
    valid = (
        np.ones(gaps.slot.shape, dtype=np.bool_) if context.last_year_valid is None else context.last_year_valid[place]
    )
    value = (context.last_year_wh[place] * context.season_permille[gaps.meter] + 500) // 1000
    return Proposal(value, whole_gaps(gaps, valid))


def e5_temperature(context: Context, gaps: Gaps) -> Proposal:
    """Fit a line of the day's energy over how far it was above 24 °C, and share the day out by the average day's shape.

    Applies where fourteen days are usable and the line explains half of the variance.
    """
    if context.temperature_dc is None:
        return nothing(gaps)
    shape = (context.intervals.meters, context.intervals.days)
    per_day = context.intervals.slots_per_day
    warm = np.broadcast_to((context.temperature_dc - COOLING_BASE_DC).clip(0).astype(np.float64), shape)
    usable = usable_days(context).astype(np.float64)
    daily = context.intervals.energy_wh.reshape(*shape, -1).sum(axis=2) * usable
    n = np.maximum(usable.sum(axis=1), 1)
    mean_t, mean_e = (warm * usable).sum(axis=1) / n, daily.sum(axis=1) / n
    dt, de = (warm - mean_t[:, None]) * usable, (daily - mean_e[:, None]) * usable
    var_t, var_e, both = (dt * dt).sum(axis=1), (de * de).sum(axis=1), (dt * de).sum(axis=1)
    slope = both / np.maximum(var_t, 1e-9)
    fits = (usable.sum(axis=1) >= TEMPERATURE_DAYS_LEAST) & (both * both >= TEMPERATURE_FIT_LEAST * var_t * var_e)
    fits &= (var_t > 0) & (var_e > 0)
    predicted = np.maximum(mean_e[:, None] + slope[:, None] * (warm - mean_t[:, None]), 0)
    profile = _average_day(context)
    share = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1)
    value = predicted[gaps.meter, gaps.slot // per_day] * share[gaps.meter, gaps.slot % per_day]
    return Proposal(np.floor(value + 0.5).astype(np.int64), fits[gaps.meter])


def e6_average_day(context: Context, gaps: Gaps) -> Proposal:
    """Take the mean of each slot of the day over all usable days."""
    profile = np.floor(_average_day(context) + 0.5).astype(np.int64)
    known = np.asarray(usable_days(context).any(axis=1))
    return Proposal(profile[gaps.meter, gaps.slot % context.intervals.slots_per_day], known[gaps.meter])


def e7_class_profile(context: Context, gaps: Gaps) -> Proposal:
    """Share out the class's daily energy by the class's profile."""
    if context.class_profile is None or context.class_daily_wh is None:
        return nothing(gaps)
    whole = np.maximum(context.class_profile.sum(axis=1), 1)
    weight = context.class_profile[gaps.meter, gaps.slot % context.intervals.slots_per_day]
    value = (2 * context.class_daily_wh[gaps.meter] * weight + whole[gaps.meter]) // (2 * whole[gaps.meter])
    return Proposal(value, np.ones(gaps.slot.shape, dtype=np.bool_))


def e8_agreed(context: Context, gaps: Gaps) -> Proposal:
    """Take what was agreed, or zero."""
    if context.agreed_wh is None:
        return nothing(gaps)
    value = context.agreed_wh[gaps.meter]
    return Proposal(value.clip(0), value >= 0)


def _average_day(context: Context) -> NDArray[np.float64]:
    usable = usable_days(context)
    profiles = context.intervals.energy_wh.reshape(*usable.shape, -1)
    total = np.einsum("md,mdh->mh", usable.astype(np.int64), profiles)
    return np.asarray(total / np.maximum(usable.sum(axis=1), 1)[:, None])
