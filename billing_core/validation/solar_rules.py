"""Export that no sun explains: V42."""

import numpy as np

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals

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
    energy = np.where(export.missing, 0, export.energy_wh)
    shape = (export.meters, export.days, export.slots_per_day)
    dark = np.where(night, energy, 0).reshape(shape).sum(axis=2)
    peak = energy.reshape(shape).max(axis=2)
    total = energy.reshape(shape).sum(axis=2)
    allowed = (parameters["solar_night_resolutions"] * resolution_wh)[:, None]
    limit = (inverter_w * 24 // export.slots_per_day * parameters["inverter_percent"] // 100)[:, None]
    beyond = (peak > limit) & (inverter_w > 0)[:, None]
    without = (total > allowed) & ~solar[:, None]
    nights = (np.cumsum(dark, axis=1) > allowed) & (dark > 0)
    reason = NIGHT * nights + INVERTER * beyond + CONTRACT * without
    return found("V42", reason > 0, reason=reason, night_wh=dark, peak_wh=peak, total_wh=total)
