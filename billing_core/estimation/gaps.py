"""Gaps: runs of slots that need a value. Their parts are what lies in one day.

Methods work on whole gaps or on whole parts, many at once, so that one gap is not patched from several methods.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.context import Context
from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray


@dataclass(frozen=True, slots=True)
class Gaps:
    """Slots that need a value, and the gaps and day-parts that they make. Columns over slots unless said otherwise."""

    meter: NDArray[np.int64]
    slot: NDArray[np.int64]
    gap: NDArray[np.int64]
    part: NDArray[np.int64]
    gap_start: NDArray[np.int64]  # of the gap's first slot [gaps]
    gap_length: NDArray[np.int64]  # [gaps]
    part_meter: NDArray[np.int64]  # [parts]
    part_day: NDArray[np.int64]  # [parts]

    def only(self, places: NDArray[np.int64]) -> "Gaps":
        """Return some of the slots, of whole gaps; gaps and parts keep their numbers."""
        columns = {name: getattr(self, name)[places] for name in ("meter", "slot", "gap", "part")}
        return replace(self, **columns)


class Proposal(NamedTuple):
    """Values for the slots of gaps, and where they apply. [slots of gaps]"""

    energy_wh: Int64Array
    applies: BoolArray


def find_gaps(wanted: BoolArray, per_day: int) -> Gaps:
    """Return the gaps of a mask. [meters × slots]"""
    meter, slot = np.nonzero(wanted)
    follows = np.zeros(meter.shape, dtype=np.bool_)
    follows[1:] = (meter[1:] == meter[:-1]) & (slot[1:] == slot[:-1] + 1)
    gap = np.cumsum(~follows) - 1
    first = np.flatnonzero(~follows)
    day = slot // per_day
    same_day = follows.copy()
    same_day[1:] &= day[1:] == day[:-1]
    part = np.cumsum(~same_day) - 1
    part_first = np.flatnonzero(~same_day)
    length = np.diff(first, append=meter.size)
    return Gaps(meter, slot, gap, part, slot[first], length, meter[part_first], day[part_first])


def usable_days(context: Context) -> BoolArray:
    """Return days that may be a model for others: complete, not to be replaced, without a power failure."""
    shape = (context.intervals.meters, context.intervals.days, -1)
    return np.asarray(~context.wanted.reshape(shape).any(axis=2) & ~context.outage)


def nothing(gaps: Gaps) -> Proposal:
    """Return that a method has nothing for any slot."""
    return Proposal(np.zeros(gaps.slot.shape, dtype=np.int64), np.zeros(gaps.slot.shape, dtype=np.bool_))


def whole_gaps(gaps: Gaps, applies: BoolArray) -> BoolArray:
    """Keep only gaps of which every slot has a value."""
    kept = np.ones(gaps.gap_start.shape, dtype=np.bool_)
    np.logical_and.at(kept, gaps.gap, applies)
    return np.asarray(kept[gaps.gap])
