"""Export that no sun explains: V42."""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals

BLOCK_METERS = 64  # whose month stays near the processor
NIGHT, INVERTER, CONTRACT = 1, 2, 4
"""The reasons in the evidence of V42, as bits."""


def v42_solar(
    export: Intervals,
    night: BoolArray,
    *,
    solar: BoolArray,
    inverter_w: Int64Array,
    resolution_wh: Int64Array,
    parameters: Columns,
) -> Finding:
    """Export at night, beyond the inverter, or without a solar contract.

    A little each night counts together: it is minded from the night on in which the sum passes what a register's steps
    can make of nothing.

    Parameters
    ----------
    night
        Slots that lie wholly between sunset and sunrise. [meters × slots, or 1 × slots]
    solar
        Whether there is a solar contract. [meters]
    inverter_w
        Power of the inverter, 0 where it is not known. [W, meters]
    resolution_wh
        The register's resolution, the multiplier applied. [Wh, meters]
    """
    dark, peak, total = _days_of(export, night)
    allowed = (parameters["solar_night_resolutions"] * resolution_wh)[:, None]
    limit = (inverter_w * 24 // export.slots_per_day * parameters["inverter_percent"] // 100)[:, None]
    beyond = (peak > limit) & (inverter_w > 0)[:, None]
    without = (total > allowed) & ~solar[:, None]
    nights = (np.cumsum(dark, axis=1) > allowed) & (dark > 0)
    reason = NIGHT * nights + INVERTER * beyond + CONTRACT * without
    return found("V42", reason > 0, reason=reason, night_wh=dark, peak_wh=peak, total_wh=total)


def _days_of(export: Intervals, night: BoolArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return each day's energy at night, highest interval and energy; most meters give nothing. [Wh; meters × days]"""
    dark, peak, total = np.zeros((3, export.meters, export.days), dtype=np.int64)
    rows = np.flatnonzero(export.energy_wh.any(axis=1))
    shape = (-1, export.days, export.slots_per_day)
    for begin in range(0, rows.size, BLOCK_METERS):
        some = rows[begin : begin + BLOCK_METERS]
        energy = export.energy_wh[some]
        energy *= ~export.missing[some]
        peak[some] = energy.reshape(shape).max(axis=2)
        total[some] = energy.reshape(shape).sum(axis=2)
        energy *= night if night.shape[0] == 1 else night[some]
        dark[some] = energy.reshape(shape).sum(axis=2)
    return dark, peak, total
