r"""Residential tiers: how wide they are for this bill, and how much of the energy falls in each.

.. math:: M_i = \mathrm{round}\!\left(\frac{Mq_i}{T} \cdot N \cdot h\right)

kWh, half up, with :math:`Mq_i` the width of tier i in a month, N days billed, T days of the nominal cycle and h
households (EVN's formula; a period of Hanoi in 2024 with N = 57, T = 31 gave 92/92/184/184).
"""

import numpy as np

from billing_core.codes import QuotaRounding
from billing_core.rounding import Int64Array, divide_half_up, multiply

WH_PER_KWH = 1_000


def tier_quota(
    *,
    width_kwh: int,
    days: int,
    nominal_days: int,
    households: Int64Array,
    households_parts: Int64Array,
    rounding: QuotaRounding,
) -> Int64Array:
    """Return the width of one tier for each bill. [Wh, n]

    Parameters
    ----------
    width_kwh
        The tier's width for one household and one cycle.
    days, nominal_days
        N and T; the width is stretched where they differ.
    households, households_parts
        h, as numerator and denominator. [n]
    """
    unit = WH_PER_KWH if rounding is QuotaRounding.KWH else 1
    if days == nominal_days:
        days = nominal_days = 1
    numerator = multiply(households, width_kwh * days * (WH_PER_KWH // unit))
    return divide_half_up(numerator, multiply(households_parts, nominal_days)) * unit


def split_tiers(energy_wh: Int64Array, quotas_wh: Int64Array, held_wh: Int64Array) -> None:
    r"""Fill the tiers from the first on; what is left falls in the last.

    .. math:: e_i = \min(E - \sum_{j<i} e_j,\ M_i)

    so that the tiers sum to the energy exactly.

    Parameters
    ----------
    energy_wh
        [Wh, n]
    quotas_wh
        Widths of all tiers but the last. [Wh, K − 1 × n]
    held_wh
        Where the result goes. [Wh, K × n]
    """
    left = energy_wh.copy()
    for quota, held in zip(quotas_wh, held_wh[:-1], strict=True):
        np.minimum(left, quota, out=held)
        left -= held
    held_wh[-1] = left


def share_by_days(energy_wh: Int64Array, days: tuple[int, ...]) -> Int64Array:
    r"""Share energy out over the parts of a period in which the price changes, in whole kWh.

    .. math:: S_1 = \mathrm{round}\left(S \frac{N_1}{N}\right),\quad S_2 = S - S_1

    and for more than two parts the same with the days up to each part's end, so that nothing is lost.

    Parameters
    ----------
    energy_wh
        [Wh, n]

    Returns
    -------
    shares
        [Wh, parts × n]
    """
    shares = np.empty((len(days), energy_wh.shape[0]), dtype=np.int64)
    given = np.zeros_like(energy_wh)
    for place in range(len(days) - 1):
        until = multiply(energy_wh, sum(days[: place + 1]))
        until = divide_half_up(until, sum(days) * WH_PER_KWH) * WH_PER_KWH
        until = np.minimum(until, energy_wh)
        shares[place] = until - given
        given = until
    shares[-1] = energy_wh - given
    return shares
