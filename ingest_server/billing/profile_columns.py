"""Load profiles behind a chunk's bills, as columns: those that bills are made of, and sums of those that are not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINUTE_US = 60_000_000
HALF_HOUR_MIN = 30
INTERVAL_MIN_MAX = 60  # rates change on half hours; a longer interval says too little about them
INTERVAL_MINUTES = tuple(each for each in range(1, INTERVAL_MIN_MAX + 1) if INTERVAL_MIN_MAX % each == 0)

Schedules = tuple[tuple[int, str], ...]
"""From when on a meter runs which schedule [microseconds since 1970 UTC], in order; the first from 0 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The load profile of one part that is billed by it.

    Parameters
    ----------
    part
        Row of :class:`ingest_server.billing.columns.Parts`.
    channel
        What was read: energy of intervals, or the total register at their ends.
    from_us, minutes
        Where the first interval begins, on the clock's half hours, and how long each is. What lies before the part
        begins and after it ends is 0. [microseconds since 1970 UTC; minutes]
    energy_wh
        Before the multiplier; ``MISSING`` of :mod:`billing_core.intervals` where there is none. [Wh, T]
    estimated
        How many intervals rest on estimated or substituted readings.
    schedules
        How the meter was programmed.
    """

    part: int
    channel: int
    from_us: int
    minutes: int
    energy_wh: NDArray[np.int64]
    estimated: int
    schedules: Schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSums:
    """What the load profiles of parts sum to that are billed by registers. [k]

    Parameters
    ----------
    part
        Row of :class:`ingest_server.billing.columns.Parts`.
    wanted, found
        How many intervals there must be, and how many there are that are not doubted.
    total_wh
        Their sum, before the multiplier. [Wh]
    whole
        Whether the part begins and ends where intervals do.
    """

    part: NDArray[np.int64]
    wanted: NDArray[np.int64]
    found: NDArray[np.int64]
    total_wh: NDArray[np.int64]
    whole: NDArray[np.bool_]


_NOTHING = np.empty(0, dtype=np.int64)
NO_SUMS = ProfileSums(
    part=_NOTHING, wanted=_NOTHING, found=_NOTHING, total_wh=_NOTHING, whole=np.empty(0, dtype=np.bool_)
)
