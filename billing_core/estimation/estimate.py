"""Fill the gaps: the first method that applies to a gap, then scaled so that the registers' energy is kept to the Wh.

Between two registers that were read (the windows of :mod:`billing_core.validation.sum_check`) the energy is known even
where the intervals are not. What the trusted intervals, a check meter and agreed values leave of it is shared out over
the estimated slots, in proportion to what the methods proposed, by the largest remainder. Where more was measured than
the registers counted, nothing can be shared out: the proposals stay as they are and the window is reported.

A slot of an export channel between sunset and sunrise is zero, whatever a method says.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation import methods
from billing_core.estimation.conserve import share_out
from billing_core.estimation.context import Context
from billing_core.estimation.counted import counted_around
from billing_core.estimation.gaps import Gaps, Proposal, find_gaps
from billing_core.estimation.like_days import e2_like_days
from billing_core.estimation.provenance import SCALED, Method, Quality, Reason
from billing_core.estimation.straight_line import e1_linear
from billing_core.rounding import Int64Array
from billing_core.validation.catalogue import Severity
from billing_core.validation.finding import BoolArray
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals
from billing_core.validation.validate import MeterData, Validation, validate

ORDER: tuple[tuple[Method, Callable[[Context, Gaps], Proposal]], ...] = (
    (Method.E0_CHECK_METER, methods.e0_check_meter),
    (Method.E1_LINEAR, e1_linear),
    (Method.E2_NEAREST_DAYS, e2_like_days),
    (Method.E3_FIXED_DAY, methods.e3_fixed_day),
    (Method.E4_LAST_YEAR, methods.e4_last_year),
    (Method.E5_TEMPERATURE, methods.e5_temperature),
    (Method.E6_AVERAGE_DAY, methods.e6_average_day),
    (Method.E7_CLASS_PROFILE, methods.e7_class_profile),
    (Method.E8_AGREED, methods.e8_agreed),
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The filled series with the provenance of each value. [meters × slots] unless said otherwise.

    ``quality``, ``method`` and ``reason`` are codes of :mod:`billing_core.estimation.provenance`. ``conserved`` marks
    estimated slots whose window sums exactly to its registers; ``excess_wh`` is, per day, how much more was measured
    than the registers counted in a window that could therefore not be conserved. [Wh, meters × days]
    """

    intervals: Intervals
    quality: NDArray[np.int8]
    method: NDArray[np.int8]
    reason: NDArray[np.int8]
    conserved: BoolArray
    excess_wh: Int64Array


def estimate(context: Context) -> Estimate:
    """Fill what is missing or to be replaced. What no method can fill stays missing, with that quality."""
    given = context.intervals
    gaps = find_gaps(context.wanted, given.slots_per_day)
    value, method = _first_that_applies(context, gaps)
    shape = given.energy_wh.shape
    codes = np.zeros(shape, dtype=np.int8)
    codes[gaps.meter, gaps.slot] = method
    if context.shapes_only:
        conserved, excess = np.zeros(shape, dtype=np.bool_), np.zeros((given.meters, given.days), dtype=np.int64)
    else:
        value, conserved, excess = _to_the_registers(context, gaps, value, codes)
    energy = given.energy_wh.copy()
    energy[gaps.meter, gaps.slot] = value
    filled = codes != 0
    missing = context.wanted & ~filled
    energy[missing] = 0
    quality = np.zeros(shape, dtype=np.int8)
    quality[filled] = Quality.ESTIMATED
    quality[np.isin(codes, (Method.E0_CHECK_METER, Method.E8_AGREED))] = Quality.SUBSTITUTED
    quality[missing] = Quality.MISSING
    reason = np.where(context.replace, np.int8(Reason.FAILED_VALIDATION), np.int8(Reason.NONE))
    reason = np.where(given.missing, np.int8(Reason.GAP), reason).astype(np.int8)
    reason[codes == Method.E8_AGREED] = Reason.AGREED_WITH_CUSTOMER
    intervals = replace(given, energy_wh=energy, missing=missing)
    return Estimate(intervals, quality, codes, reason, conserved, excess)


def check_again(data: MeterData, made: Estimate, parameters: Columns) -> tuple[Validation, BoolArray]:
    """Apply the rules to the filled series.

    Returns
    -------
    tuple
        The validation, and the days on which something estimated fails: those are held. [meters × days]
    """
    result = validate(replace(data, intervals=made.intervals, estimated=made.method != 0), parameters)
    estimated = (made.method != 0).reshape(*result.verdict.severity.shape, -1).any(axis=2)
    return result, estimated & result.verdict.at_least(Severity.FAIL)


def _first_that_applies(context: Context, gaps: Gaps) -> tuple[Int64Array, NDArray[np.int8]]:
    value = np.zeros(gaps.slot.shape, dtype=np.int64)
    chosen = np.zeros(gaps.slot.shape, dtype=np.int8)
    for method, propose in ORDER:
        left = np.flatnonzero(chosen == 0)
        if not left.size:
            break
        proposal = propose(context, gaps.only(left))
        taken = left[proposal.applies]
        value[taken] = proposal.energy_wh[proposal.applies]
        chosen[taken] = method
    if context.night is not None:
        night = np.broadcast_to(context.night, context.intervals.energy_wh.shape)[gaps.meter, gaps.slot]
        value = np.where(night & np.isin(chosen, SCALED), 0, value)
    return value.clip(0), chosen


def _to_the_registers(
    context: Context, gaps: Gaps, value: Int64Array, codes: NDArray[np.int8]
) -> tuple[Int64Array, BoolArray, Int64Array]:
    """Scale to the registers; return the values, which slots are conserved, and each day's excess."""
    given = context.intervals
    meters, days = given.meters, given.days
    begin, _, known, counted = counted_around(context)
    rows = np.arange(meters)[:, None]
    fixed = np.where(context.wanted & ~np.isin(codes, (Method.E0_CHECK_METER, Method.E8_AGREED)), 0, given.energy_wh)
    slots = gaps.meter, gaps.slot
    stands = np.isin(codes[slots], (Method.E0_CHECK_METER, Method.E8_AGREED))
    fixed[gaps.meter[stands], gaps.slot[stands]] = value[stands]
    window = (rows * (days + 1) + begin).ravel()
    per_day = fixed.reshape(meters, days, -1).sum(axis=2).ravel()
    measured = np.zeros(meters * (days + 1), dtype=np.int64)
    np.add.at(measured, window, per_day)
    unfilled = np.zeros(meters * (days + 1), dtype=np.bool_)
    empty = (context.wanted & (codes == 0)).reshape(meters, days, -1).any(axis=2)
    np.logical_or.at(unfilled, window, empty.ravel())
    left = counted - measured[window].reshape(meters, days)
    sound = known & (counted >= 0) & ~unfilled[window].reshape(meters, days)
    day = gaps.slot // given.slots_per_day
    scaled = np.isin(codes[slots], SCALED) & sound[gaps.meter, day] & (left[gaps.meter, day] >= 0)
    night = _dark(context, gaps)
    parts = np.flatnonzero(scaled & ~night)
    groups, group = np.unique(window.reshape(meters, days)[gaps.meter[parts], day[parts]], return_inverse=True)
    total = np.zeros(groups.shape, dtype=np.int64)
    total[group] = left[gaps.meter[parts], day[parts]]
    value = value.copy()
    value[parts] = share_out(total, value[parts], group)
    value[np.flatnonzero(scaled & night)] = 0
    conserved = np.zeros(given.energy_wh.shape, dtype=np.bool_)
    shared = np.isin(window.reshape(meters, days)[gaps.meter, day], groups)
    conserved[gaps.meter, gaps.slot] = scaled & shared
    wants = context.wanted.reshape(meters, days, -1).any(axis=2)
    excess = np.where(sound & wants & (left < 0), -left, 0)
    return value, conserved, excess


def _dark(context: Context, gaps: Gaps) -> BoolArray:
    if context.night is None:
        return np.zeros(gaps.slot.shape, dtype=np.bool_)
    night: BoolArray = np.broadcast_to(context.night, context.intervals.energy_wh.shape)[gaps.meter, gaps.slot]
    return night
