"""From load profiles to registers: energy by rate, highest demand, and the profile held against the register.

The register is what is billed, the profile says when. Both come from the same meter and agree to what the register's
display drops; so a small difference is put into the profile, in proportion to its energy, and from then on both say the
same to the Wh. A difference larger than the display can explain holds the bill.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import RATES, Hold
from billing_core.rounding import INT64_MAX, Int64Array, divide_half_up
from billing_core.time_of_use import Programme, minutes_by_rate

MISSING = -1
"""Stands for an interval without a value."""
DEMAND_MINUTES = 30  # Vietnam's Pmax is the highest average of half an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Load profiles of n meters over the same T intervals.

    Parameters
    ----------
    start_at
        When each interval begins, UTC, in order and without a gap. [datetime64, T]
    minutes
        How long each is.
    energy_wh
        Energy after the multiplier, ``MISSING`` where there is none. [Wh, n × T]
    """

    start_at: NDArray[np.datetime64]
    minutes: int
    energy_wh: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """Profiles that sum to their registers.

    Parameters
    ----------
    energy_wh
        [Wh, n × T]
    difference_wh
        Register less profile, before the difference was put into the profile. [Wh, n]
    hold
        Code of :class:`billing_core.codes.Hold`. [n]
    """

    energy_wh: Int64Array
    difference_wh: Int64Array
    hold: NDArray[np.int8]


def energy_by_rate(
    profiles: Profiles,
    programmes: Sequence[Programme],
    programme: NDArray[np.integer],
    holidays: Collection[date] = (),
) -> tuple[Int64Array, NDArray[np.int8]]:
    r"""Return each meter's energy at the normal, peak and off-peak rate, and why it could not be found.

    An interval across a change of rate is shared out by minutes,

    .. math:: e_1 = \mathrm{round}(e\,m_1/m),\quad e_1 + e_2 = \mathrm{round}(e\,(m_1 + m_2)/m),\quad \ldots

    so that nothing is lost.

    Parameters
    ----------
    programmes
        The distinct programmes; there are few, as meters are programmed in campaigns.
    programme
        The place in ``programmes`` of each meter's. [n]

    Returns
    -------
    energy_wh
        [Wh, n × 3]
    hold
        ``INTERVAL_MISSING`` where one is. [n]
    """
    energy = profiles.energy_wh
    hold = np.where((energy < 0).any(axis=1), Hold.INTERVAL_MISSING.code, Hold.NONE.code).astype(np.int8)
    rates = np.zeros((energy.shape[0], len(RATES)), dtype=np.int64)
    for place in np.unique(programme[hold == 0]).tolist():
        rows = np.flatnonzero((programme == place) & (hold == 0))
        minutes = minutes_by_rate(programmes[place], profiles.start_at, profiles.minutes, holidays)
        rates[rows] = _share_by_minutes(energy[rows], minutes, profiles.minutes)
    return rates, hold


def _share_by_minutes(energy: Int64Array, minutes: Int64Array, length: int) -> Int64Array:
    """Return the energy of each rate. ``minutes`` is T × 3; an interval of one rate needs no division."""
    rates = np.zeros((energy.shape[0], minutes.shape[1]), dtype=np.int64)
    for place in range(minutes.shape[1]):
        rates[:, place] = energy[:, minutes[:, place] == length].sum(axis=1)
    for interval in np.flatnonzero(minutes.max(axis=1) < length).tolist():
        given = np.zeros(energy.shape[0], dtype=np.int64)
        for place, until in enumerate(np.cumsum(minutes[interval]).tolist()):
            upto = divide_half_up(energy[:, interval] * until, length)
            rates[:, place] += upto - given
            given = upto
    return rates


def reconcile(profiles: Profiles, register_wh: Int64Array, tolerance_wh: Int64Array) -> Reconciled:
    r"""Make each profile sum to its register, where they differ by no more than ``tolerance_wh``.

    With c the energy up to an interval's end, s the sum of the profile and d the difference, an interval ends at

    .. math:: c' = \mathrm{round}\left(c + c\,d/s\right)

    which never falls, so that no interval becomes negative, and is the register at the end.

    Parameters
    ----------
    register_wh
        What the register counted over the same time, after the multiplier. [Wh, n]
    tolerance_wh
        By how much they may differ: two units of the display × the multiplier for a register that drops what it does
        not show. [Wh, n]
    """
    energy = profiles.energy_wh
    total = energy.sum(axis=1)
    difference = register_wh - total
    bound = np.minimum(tolerance_wh, INT64_MAX // 4 // np.maximum(total, 1))  # twice the product is within 64 bits
    checks = (
        (Hold.INTERVAL_MISSING, (energy < 0).any(axis=1)),
        (Hold.INTERVALS_AGAINST_REGISTER, (np.abs(difference) > bound) | (register_wh < 0)),
        (Hold.INTERVALS_AGAINST_REGISTER, (total == 0) & (difference != 0)),
    )
    hold = np.zeros(total.shape[0], dtype=np.int8)
    for reason, found in checks:
        hold[found & (hold == 0)] = reason.code
    moved = np.flatnonzero((hold == 0) & (difference != 0))
    adjusted = energy.copy()
    until = np.cumsum(energy[moved], axis=1)
    until += divide_half_up(until * difference[moved, np.newaxis], total[moved, np.newaxis])
    adjusted[moved] = np.diff(until, axis=1, prepend=0)
    return Reconciled(energy_wh=adjusted, difference_wh=difference, hold=hold)


def highest_demand_w(profiles: Profiles) -> Int64Array:
    """Return the highest average power of any half hour on the clock's grid; ``MISSING`` where there is none. [W, n]

    Raises
    ------
    ValueError
        If the intervals do not fill half hours.
    """
    per_window, rest = divmod(DEMAND_MINUTES, profiles.minutes)
    of_hour = profiles.start_at.astype("datetime64[m]").astype(np.int64) % DEMAND_MINUTES
    if rest or (profiles.start_at.size and of_hour[0] != 0):
        raise ValueError(f"found intervals of {profiles.minutes} minutes from {profiles.start_at[:1]}, expected 30, "
                         "15, 10, 5 or 1 from a half hour on")  # fmt: skip
    windows = profiles.energy_wh.shape[1] // per_window
    split = profiles.energy_wh[:, : windows * per_window].reshape(-1, windows, per_window)
    sums = np.where((split < 0).any(axis=2), MISSING, split.sum(axis=2))
    highest = sums.max(axis=1, initial=MISSING)
    return np.where(highest < 0, MISSING, highest * 60 // DEMAND_MINUTES)
