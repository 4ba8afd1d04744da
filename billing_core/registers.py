"""What the registers of a meter say of one another and of themselves: three rates beside a total, an index that fell.

The three rates and the total say the same thing twice, and are held against each other. Each register shows whole units
and drops the rest, so over a part of a period a register is wrong by less than one unit, up or down, times the
multiplier; three rates and a total may differ by less than four of those. A larger difference is a fault.

An index that fell says not why. Where the register was read in between too, its steps do: one step from near its end
to near zero is rolling over, one from anywhere else somebody's hand, and several are a meter that runs backwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import Coded
from billing_core.rounding import Int64Array

REGISTERS_HELD_TOGETHER = 4  # three rates and a total, each of them off by less than one unit
ROLLOVER_TENTHS = 9  # a register rolls over from the last tenth of its range, as rule V32 has it,
ROLLOVER_STEPS = 2  # or in a step of no more than twice the largest other one


class FallKind(Coded):
    """Why an index stands lower at the end than at the begin; ``UNKNOWN`` where it was not read in between."""

    UNKNOWN = "unknown"
    ROLLED_OVER = "rolled_over"
    SET_BACK = "set_back"
    BACKWARDS = "backwards"


@dataclass(frozen=True, slots=True)
class Fall:
    """How an index fell: why, in how many steps, and before which of its readings the first one is."""

    kind: FallKind
    steps: int
    place: int


def judge_fall(index_wh: Int64Array, digits: int) -> Fall:
    """Return why a register fell, from all its readings in order of time. [Wh]

    Raises
    ------
    ValueError
        If it did not fall.
    """
    steps = np.diff(index_wh)
    fell = np.flatnonzero(steps < 0)
    if not fell.size:
        raise ValueError("the register never fell, there is nothing to judge")
    place = int(fell[0]) + 1
    if steps.size == 1:
        return Fall(FallKind.UNKNOWN, 1, place)
    if fell.size > 1:
        return Fall(FallKind.BACKWARDS, int(fell.size), place)
    limit = 10**digits * 1000 if digits else 0
    before, after = int(index_wh[place - 1]), int(index_wh[place])
    near_end = before * 10 > limit * ROLLOVER_TENTHS
    usual = after - before + limit <= ROLLOVER_STEPS * int(steps.max(initial=0))
    rolled = limit > 0 and (near_end or usual)
    return Fall(FallKind.ROLLED_OVER if rolled else FallKind.SET_BACK, 1, place)


def rates_apart(rates_wh: Int64Array, total_wh: Int64Array, unit_wh: Int64Array) -> NDArray[np.bool_]:
    """Say where three rates and their total differ by more than displays drop.

    Parameters
    ----------
    rates_wh
        The sum of the rates. [Wh, n]
    unit_wh
        What the display counts in, times the multiplier. [Wh, n]
    """
    return np.asarray(np.abs(total_wh - rates_wh) >= REGISTERS_HELD_TOGETHER * unit_wh)
