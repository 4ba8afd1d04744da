"""Faults on purpose: what is read of a district is spoilt, the truth stays.

Each kind of fault has recipes, in six rounds. ``TUNED`` and ``VARIED`` were in view when thresholds were chosen;
:mod:`tests.billing_core.validation.second_faults`, :mod:`tests.billing_core.validation.final_faults` and
:mod:`tests.billing_core.validation.fresh_faults` were judged and then learnt from;
:mod:`tests.billing_core.validation.unseen_faults` was written before the rules were last changed and only judged. A
recipe takes the district's readings and spoils one meter's; it returns the days it touched.
"""

from dataclasses import dataclass

import numpy as np

from simulators.loads import Kind
from tests.billing_core.validation import interval_faults as intervals
from tests.billing_core.validation import meter_faults as meters
from tests.billing_core.validation.population import PER_DAY, District
from tests.billing_core.validation.spoiling import Recipe


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    recipe: str
    meter: int
    first: int
    last: int


TUNED: dict[str, tuple[Recipe, ...]] = {
    "gap": (intervals.gap_hours, intervals.gap_days),
    "negative": (intervals.negative_sign,),
    "spike": (intervals.spike_times, intervals.spike_bit),
    "rollover": (meters.rollover_five,),
    "copied day": (intervals.copied_yesterday,),
    "stuck": (intervals.stuck_half_day,),
    "stale snapshot": (intervals.stale_with_clock,),
    "clock shift": (meters.clock_reported,),
    "CT ratio": (meters.ct_intervals,),
    "solar sign": (meters.solar_swapped,),
}
VARIED: dict[str, tuple[Recipe, ...]] = {
    "gap": (intervals.gap_scattered, intervals.gap_filled_with_zeros, intervals.gap_lumped),
    "negative": (intervals.negative_run, intervals.negative_wrapped, intervals.negative_register),
    "spike": (intervals.spike_unit, intervals.spike_small, intervals.spike_in_both),
    "rollover": (meters.rollover_not_read, meters.rollover_four_digits),
    "copied day": (
        intervals.copied_last_week,
        intervals.copied_some_day,
        intervals.copied_twice,
        intervals.copied_mostly,
    ),
    "stuck": (intervals.stuck_short, intervals.stuck_over_midnight, intervals.stuck_days),
    "stale snapshot": (intervals.stale_silent, intervals.stale_silent_longer, intervals.stale_midnight),
    "clock shift": (meters.clock_silent, meters.clock_half_day, meters.clock_drifting),
    "CT ratio": (meters.ct_lost_phase, meters.ct_reversed, meters.ct_twice),
    "solar sign": (meters.solar_negative_import, meters.solar_leak),
}
WHERE: dict[str, tuple[Kind, ...]] = {
    "CT ratio": (Kind.FACTORY, Kind.SCHOOL),
    "solar sign": (Kind.SOLAR,),
    "channels swapped": (Kind.SOLAR,),
}
"""Which consumers a kind of fault can happen to; all where it is not said."""


def inject(district: District, recipes: dict[str, tuple[Recipe, ...]], share: float, seed: int) -> list[Fault]:
    """Spoil about ``share`` of the meters, one fault each, every recipe about equally often."""
    rng = np.random.default_rng([seed, 77])
    count = district.kind.shape[0]
    daily = district.data.intervals.energy_wh.reshape(count, -1, PER_DAY).sum(axis=2)
    free = set(np.flatnonzero((daily > 0).all(axis=1)).tolist())
    each = max(1, round(share * count / sum(map(len, recipes.values()))))
    faults = []
    order = sorted(recipes, key=lambda kind: kind not in WHERE)  # the choosy first
    for kind in order:
        allowed = district.is_kind(*WHERE[kind]) if kind in WHERE else np.ones(count, dtype=bool)
        for recipe in recipes[kind]:
            candidates = sorted(meter for meter in free if allowed[meter])
            for meter in rng.choice(candidates, min(each, len(candidates)), replace=False).tolist():
                first, last = recipe(district, meter, rng)
                faults.append(Fault(kind, recipe.__name__, meter, first, last))
                free.discard(meter)
    return faults
