"""A register at the boundaries of periods: between two readings by days, and after the last one by what a day takes."""

from collections.abc import Sequence

import numpy as np

from billing_core.estimation.conserve import share_out
from billing_core.estimation.provenance import Method
from billing_core.rounding import Int64Array
from protocols.errors import UsageError


def spread_by_days(old_wh: int, new_wh: int, days: Sequence[int]) -> Int64Array:
    """Return the readings at the ends of consecutive periods between two readings. [Wh, periods]

    Each period takes its days' share of the energy in between, whole Wh by the largest remainder; so the last value is
    ``new_wh``.

    Parameters
    ----------
    days
        How long each period is, in order, in days or any other whole unit.

    Raises
    ------
    UsageError
        If the register fell, or a period has no day.
    """
    if new_wh < old_wh or not days or min(days) < 1:
        raise UsageError(
            f"register: found {old_wh} Wh, then {new_wh} Wh, over {list(days)} days; expected one that rises over "
            "days: a register that fell can't be spread"
        )
    parts = share_out(np.array([new_wh - old_wh]), np.array(days, dtype=np.int64), np.zeros(len(days), dtype=np.int64))
    return old_wh + np.cumsum(parts)


def carried_on(last_wh: int, days: int, taken: Sequence[tuple[Method, int, int]]) -> tuple[int, Method] | None:
    """Return the reading ``days`` after the last one, and by which method; none if nothing says what a day takes.

    Parameters
    ----------
    taken
        What was taken in how many days [Wh, days], the best method first; those without a day or with negative energy
        are passed over.
    """
    for method, energy_wh, in_days in taken:
        if in_days > 0 and energy_wh >= 0:
            return last_wh + (2 * energy_wh * days + in_days) // (2 * in_days), method
    return None
