"""What an estimate may lean on: the series around the gaps, and what else is known. Absent means unknown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.series import Intervals, Registers
from protocols.errors import UsageError

WORKDAY, SATURDAY, SUNDAY = 0, 1, 2
"""Types of days; a public holiday is a Sunday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything the methods may use; rows of all are the same meters.

    Parameters
    ----------
    intervals, registers
        The series and its total register, as in validation.
    replace
        What must be estimated beside what is missing, because it failed. [meters × slots]
    weekday, day_type
        Monday 0 … Sunday 6; ``WORKDAY``, ``SATURDAY`` or ``SUNDAY``. [days]
    outage
        Days with a power failure: nothing is interpolated there, and they are no model for others. [meters × days]
    night
        For an export channel: slots wholly between sunset and sunrise. None: not an export channel.
        [meters × slots or 1 × slots]
    check_wh, check_valid
        A check meter. [Wh; meters × slots]
    fixed_day
        The day that a person chose as model, −1 for none. [meters]
    last_year_wh, last_year_valid, season_permille
        The same slots a year ago, whether they may be used, and what to multiply them by. [meters × slots; meters]
    temperature_dc
        Mean temperature of each day in tenths of a degree. [meters × days or 1 × days]
    class_profile, class_daily_wh
        Weights of a day's slots of each meter's class, and the energy of its day. [meters × slots of a day; Wh, meters]
    agreed_wh
        Energy of each missing slot that the customer and the company agreed on, −1 for none; 0 is an agreement too.
        [Wh, meters]
    shapes_only
        The registers only tell how much the days took; nothing is scaled to them, for the caller scales each gap to the
        readings around it.
    """

    intervals: Intervals
    registers: Registers
    replace: BoolArray
    weekday: NDArray[np.int64]
    day_type: NDArray[np.int64]
    outage: BoolArray
    night: BoolArray | None = None
    check_wh: Int64Array | None = None
    check_valid: BoolArray | None = None
    fixed_day: NDArray[np.int64] | None = None
    last_year_wh: Int64Array | None = None
    last_year_valid: BoolArray | None = None
    season_permille: Int64Array | None = None
    temperature_dc: NDArray[np.int64] | None = None
    class_profile: Int64Array | None = None
    class_daily_wh: Int64Array | None = None
    agreed_wh: Int64Array | None = None
    shapes_only: bool = False

    def __post_init__(self) -> None:
        slots, days = self.intervals.energy_wh.shape, (self.intervals.meters, self.intervals.days)
        wanted = {
            "replace": slots, "weekday": days[1:], "day_type": days[1:], "outage": days, "check_wh": slots,
            "check_valid": slots, "fixed_day": slots[:1], "last_year_wh": slots, "last_year_valid": slots,
            "season_permille": slots[:1], "class_daily_wh": slots[:1], "agreed_wh": slots[:1],
            "class_profile": (slots[0], self.intervals.slots_per_day),
        }  # fmt: skip
        for name, shape in wanted.items():
            column = getattr(self, name)
            if column is not None and column.shape != shape:
                raise UsageError(f"{name}: found shape {column.shape}; expected {shape}, to match the intervals")
        pairs = (("check_wh", "check_valid"), ("class_profile", "class_daily_wh"), ("last_year_wh", "season_permille"))
        for one, other in pairs:
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise UsageError(f"{one}, {other}: found one without the other; give both or none")

    @property
    def wanted(self) -> BoolArray:
        """Slots that need a value. [meters × slots]"""
        return self.intervals.missing | self.replace
