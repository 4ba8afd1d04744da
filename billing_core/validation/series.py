"""Readings as the rules take them: columns over meters, days and slots, checked at the door.

A slot is one interval of fixed length; slot 0 begins at local midnight of the first day, and days are whole. Energy is
primary energy in Wh, the multiplier applied; a register is what the meter shows, before it.
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import ENERGY_WH_MAX, Int64Array
from billing_core.validation.finding import BoolArray
from protocols.errors import UsageError

METER_CLASSES = ("household", "shop", "large")
"""Customer classes, in the order of their codes: they decide the parameters."""

SLOTS_PER_DAY = (24, 48, 96, 144, 288)  # 60, 30, 15, 10 and 5 minutes


class Status(IntFlag):
    """What a meter says about itself in a day; the sum of the flags is one element of a status column."""

    POWER_FAIL = 1
    OVERFLOW = 2
    TEST_MODE = 4
    MEMORY_ERROR = 8
    WATCHDOG = 16
    TAMPER = 32
    COVER_OPEN = 64
    MAGNET = 128
    REVERSE_FLOW = 256
    CLOCK_SET = 512
    LONG_INTERVAL = 1024
    SHORT_INTERVAL = 2048
    REGISTERS_SET = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Interval energy of one channel of many meters.

    Parameters
    ----------
    energy_wh
        [Wh, meters × slots]; what stands where ``missing`` is set means nothing, 0 is best.
    missing
        [meters × slots]
    slots_per_day
        24, 48, 96, 144 or 288.
    reactive
        Whether it is varh: reactive channels have no spike rule.
    """

    energy_wh: Int64Array
    missing: BoolArray
    slots_per_day: int = 48
    reactive: bool = False

    def __post_init__(self) -> None:
        require_shape("energy_wh", self.energy_wh, np.int64, 2)
        require_shape("missing", self.missing, np.bool_, 2)
        if self.slots_per_day not in SLOTS_PER_DAY:
            raise UsageError(f"slots_per_day: found {self.slots_per_day}; expected one of {SLOTS_PER_DAY}")
        if self.missing.shape != self.energy_wh.shape or self.energy_wh.shape[1] % self.slots_per_day:
            raise UsageError(
                f"intervals: found energy {self.energy_wh.shape}, missing {self.missing.shape} and "
                f"{self.slots_per_day} slots a day; expected equal shapes and whole days: cut or pad the last day"
            )
        if self.energy_wh.shape[1] == 0:
            raise UsageError("intervals: found no day; expected one or more: leave out what has no readings")
        if self.energy_wh.size and max(-int(self.energy_wh.min()), int(self.energy_wh.max())) > ENERGY_WH_MAX:
            self._refuse_beyond_the_limit()

    def _refuse_beyond_the_limit(self) -> None:
        beyond = (np.abs(self.energy_wh) > ENERGY_WH_MAX) & ~self.missing
        where = np.argwhere(beyond)
        if where.size:
            meter, slot = (int(part) for part in where[0])
            raise UsageError(
                f"energy_wh: found {int(self.energy_wh[meter, slot])} Wh in row {meter}, slot {slot}; expected at most "
                f"±{ENERGY_WH_MAX}: mark it missing, it is no reading"
            )
        raise UsageError(f"energy_wh: found more than {ENERGY_WH_MAX} Wh in a missing slot; put 0 there")

    @property
    def meters(self) -> int:
        """How many meters."""
        return int(self.energy_wh.shape[0])

    @property
    def days(self) -> int:
        """How many days."""
        return int(self.energy_wh.shape[1]) // self.slots_per_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The total register of many meters at each midnight, before the multiplier.

    Parameters
    ----------
    index_wh
        [Wh, meters × (days + 1)]; column 0 is the midnight that begins the first day.
    actual
        Whether it was read; what stands elsewhere means nothing. Same shape.
    digits
        Whole digits of the register in its ``unit_wh``; 0 where they are not known. [meters]
    unit_wh
        What one unit of the register is: 1,000 for kWh. [Wh, meters]
    resolution_wh
        δ, the smallest step it shows. [Wh, meters]
    multiplier
        CT × VT. [meters]
    """

    index_wh: Int64Array
    actual: BoolArray
    digits: Int64Array
    unit_wh: Int64Array
    resolution_wh: Int64Array
    multiplier: Int64Array

    def __post_init__(self) -> None:
        require_shape("index_wh", self.index_wh, np.int64, 2)
        require_shape("actual", self.actual, np.bool_, 2)
        if self.actual.shape != self.index_wh.shape:
            raise UsageError(f"registers: found index {self.index_wh.shape}, actual {self.actual.shape}; make them one")
        for name in ("digits", "unit_wh", "resolution_wh", "multiplier"):
            column = getattr(self, name)
            require_shape(name, column, np.int64, 1)
            if column.shape != self.index_wh.shape[:1]:
                raise UsageError(f"{name}: found {column.shape}; expected one per meter, {self.index_wh.shape[:1]}")
        if self.index_wh.size and ((self.multiplier < 1) | (self.resolution_wh < 1) | (self.unit_wh < 1)).any():
            raise UsageError("registers: found a multiplier, resolution or unit below 1; correct the master data")
        if self.index_wh.size and int(self.index_wh.max()) * int(self.multiplier.max()) > 2**62:
            raise UsageError(
                "registers: index × multiplier would leave 64 bits; hold these meters and check their data"
            )

    def range_wh(self) -> Int64Array:
        """Return at what value each register starts again at zero, 0 where that is not known. [Wh, meters]"""
        return np.where(self.digits > 0, np.power(10, self.digits.clip(0, 15)) * self.unit_wh, 0)


def require_shape(name: str, array: NDArray[Any], kind: type[np.generic], dimensions: int) -> None:
    """Refuse an array of another type or number of dimensions."""
    if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != dimensions:
        shown = f"{array.dtype} of {array.ndim} dimensions" if isinstance(array, np.ndarray) else type(array).__name__
        raise UsageError(f"{name}: found {shown}; expected {np.dtype(kind)} of {dimensions} dimensions; convert it")
