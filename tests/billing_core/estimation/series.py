"""Small series for tests of estimation."""

from dataclasses import replace
from typing import Any

import numpy as np

from billing_core.estimation.context import SATURDAY, SUNDAY, WORKDAY, Context
from billing_core.validation.series import Intervals, Registers

PER_DAY = 24


def context_of(energy: Any, missing: Any, *, actual: Any = None, **known: Any) -> Context:
    """Return a context of hourly series that begin on a Monday; registers count them exactly."""
    energy_wh = np.atleast_2d(np.asarray(energy, dtype=np.int64))
    gone = np.broadcast_to(np.asarray(missing, dtype=bool), energy_wh.shape).copy()
    meters, days = energy_wh.shape[0], energy_wh.shape[1] // PER_DAY
    index = np.zeros((meters, days + 1), dtype=np.int64)
    np.cumsum(energy_wh.reshape(meters, days, -1).sum(axis=2), axis=1, out=index[:, 1:])
    weekday = np.arange(days) % 7
    ones = np.ones(meters, dtype=np.int64)
    context = Context(
        intervals=Intervals(energy_wh=np.where(gone, 0, energy_wh), missing=gone, slots_per_day=PER_DAY),
        registers=Registers(
            index_wh=index,
            actual=np.ones(index.shape, dtype=bool) if actual is None else np.broadcast_to(actual, index.shape).copy(),
            digits=0 * ones,
            unit_wh=1000 * ones,
            resolution_wh=ones,
            multiplier=ones,
        ),
        replace=np.zeros(gone.shape, dtype=bool),
        weekday=weekday,
        day_type=np.select([weekday == 5, weekday == 6], [SATURDAY, SUNDAY], WORKDAY),
        outage=np.zeros((meters, days), dtype=bool),
    )
    return replace(context, **known)


def days_of(*profiles: int) -> np.ndarray:
    """Return days whose every hour has the given energy."""
    return np.repeat(np.array(profiles, dtype=np.int64), PER_DAY)
