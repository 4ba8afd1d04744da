"""A year of twelve monthly bills for many customers under one tariff, from their sums by month and period.

Everything is an integer in nano of the currency (Wh × millionths per kWh). The only division on the way is that of a
tier's cost among the periods of a month, where both tiers and periods are priced; it is rounded half up to a nano.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from billing_core.rates.accumulate import MONTHS, Sums
from billing_core.rates.tariff import Level, Metering, Ratchet, RateTariff
from billing_core.rounding import INT64_MAX, Int64Array, divide_half_up

NANO_PER_MICRO = 1_000
PERCENT = 100  # demand is counted in 1/100 W, so that a share in percent of it is exact
SHARED_WH_MAX = 3 * 10**9  # a month of which tiers are shared among periods: its square fits in 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Years:
    """Twelve bills each. [nano; 12 × n]

    Parameters
    ----------
    energy
        Charges for energy, less what was taken off them; below zero where surplus is paid for.
    demand, minimum
        Charges for demand, and what was added to reach a minimum.
    total
        What is to be paid, with the fixed charge.
    carried_wh, carried
        Energy and money handed on to the next month. [Wh, nano]
    bought
        What was paid for surplus energy, within ``energy``: the document beside the bill.
    """

    energy: Int64Array
    demand: Int64Array
    minimum: Int64Array
    total: Int64Array
    carried_wh: Int64Array
    carried: Int64Array
    bought: Int64Array


def charge_years(sums: Sums, tariff: RateTariff) -> Years:
    """Return the bills of n customers.

    Raises
    ------
    ValueError
        If the tariff has other periods than ``sums``, or an amount could leave 64 bits.
    """
    periods, n = sums.load.shape[1:]
    if len(tariff.energy) != periods:
        raise ValueError(f"found {len(tariff.energy)} periods in the tariff and {periods} in the sums")
    _check_bounds(sums, tariff)
    energy, carried_wh, carried, bought = _energy(sums, tariff)
    demand = _demand(sums, tariff)
    total = energy + demand + tariff.fixed_monthly * NANO_PER_MICRO
    minimum = _missing(_due(total, bought, tariff.metering), tariff.minimum_monthly)
    total = total + minimum
    missing = _missing(_due(total, bought, tariff.metering).sum(axis=0), tariff.minimum_annual)
    minimum[-1] += missing
    total[-1] += missing
    assert total.shape == (MONTHS, n)
    return Years(
        energy=energy,
        demand=demand,
        minimum=minimum,
        total=total,
        carried_wh=carried_wh,
        carried=carried,
        bought=bought,
    )


def _due(total: Int64Array, bought: Int64Array, metering: Metering) -> Int64Array:
    """Return what a minimum is held against: what is charged, before surplus is paid for.

    A net bill is one figure, so there it is the bill, or nothing if it is below zero.
    """
    return np.maximum(total, 0) if metering is Metering.NET_BILLING else total + bought


def _missing(due: Int64Array, least_micro: int) -> Int64Array:
    """Return what is missing to a minimum; nothing where there is none. [nano]"""
    least = np.int64(least_micro * NANO_PER_MICRO)
    missing: Int64Array = np.where(least > 0, np.maximum(least - due, 0), 0)
    return missing


def as_money(nano: Int64Array, unit_nano: int) -> Int64Array:
    """Round to a unit of money, half up, once: 10⁹ for đồng, 10⁷ for cents of a dollar."""
    return divide_half_up(np.abs(nano), unit_nano) * np.sign(nano)


def _check_bounds(sums: Sums, tariff: RateTariff) -> None:
    prices = [max(level.price, level.sell) for levels in tariff.energy for level in levels]
    prices += [level.price for levels in (tariff.demand, *tariff.demand_by_period) for level in levels]
    largest = max(int(column.max(initial=0)) for column in (sums.load, sums.generation, sums.load_peak_w * PERCENT))
    # Carried energy adds up over the year, and the periods of a month to its total.
    if largest * sums.load.shape[1] * MONTHS * max([tariff.settle_price, *prices]) > INT64_MAX // 4:
        raise ValueError(
            f"found energy or power up to {largest} and prices up to {max(prices)}, whose products leave 64 bits"
        )
    tiers_and_periods = len(tariff.energy[0]) > 1 and len(tariff.energy) > 1
    if tiers_and_periods and largest * sums.load.shape[1] > SHARED_WH_MAX:
        raise ValueError(f"found {largest} Wh in a month and period; with tiers and periods together at most "
                         f"{SHARED_WH_MAX} Wh a month")  # fmt: skip


def _energy(sums: Sums, tariff: RateTariff) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """Return charges for energy, energy carried, money carried, and what was paid for surplus. [12 × n each]"""
    periods, n = sums.load.shape[1:]
    energy, carried_wh, carried, bought = (np.zeros((MONTHS, n), dtype=np.int64) for _ in range(4))
    stock = np.zeros((periods, n), dtype=np.int64)  # energy carried, by period
    credit = np.zeros(n, dtype=np.int64)
    for month in range(MONTHS):
        settles = month + 1 == tariff.settle_month
        use, surplus = _use_and_surplus(sums, tariff, month, stock)
        charge = _cost(use, tariff.energy, "price")
        if tariff.metering is Metering.CARRY_OVER:
            if settles:
                bought[month] = surplus.sum(axis=0) * tariff.settle_price
                surplus = np.zeros_like(surplus)
            stock = surplus
            carried_wh[month] = stock.sum(axis=0)
            energy[month] = charge - bought[month]
            continue
        earned = _cost(_capped(surplus, sums.generation[month], tariff.bought_percent_max), tariff.energy, "sell")
        if tariff.metering in (Metering.NET_BILLING, Metering.BUY_ALL):
            energy[month], bought[month] = charge - earned, earned
            continue
        credit = credit + earned
        applied = np.minimum(credit, charge)
        credit = credit - applied
        energy[month] = charge - applied
        if settles and tariff.metering is Metering.MONTHLY_CREDIT:
            energy[month] -= credit
            bought[month] = credit
        if settles:
            credit = np.zeros_like(credit)
        carried[month] = credit
    return energy, carried_wh, carried, bought


def _use_and_surplus(sums: Sums, tariff: RateTariff, month: int, stock: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return what is charged and what is left over, by period. [Wh, P × n]"""
    match tariff.metering:
        case Metering.BUY_ALL:
            return sums.load[month], sums.generation[month]
        case Metering.NET_BILLING | Metering.NET_BILLING_CARRY_OVER:
            return sums.imported[month], sums.exported[month]
        case Metering.CARRY_OVER | Metering.MONTHLY_CREDIT:
            net = sums.load[month] - sums.generation[month] - stock
            return np.maximum(net, 0), np.maximum(-net, 0)


def _capped(surplus: Int64Array, generation: Int64Array, percent: int) -> Int64Array:
    """Return what of the surplus is bought: at most a share of the month's generation, from the first period on."""
    if percent == 100:
        return surplus
    until = np.minimum(np.cumsum(surplus, axis=0), generation.sum(axis=0) * percent // 100)
    bought: Int64Array = np.diff(until, axis=0, prepend=0)
    return bought


def _cost(energy: Int64Array, tiers: tuple[tuple[Level, ...], ...], kind: str) -> Int64Array:
    r"""Return the cost of a month's energy. [nano, n]

    A tier is of the month's total; where it has a price for each period, each period pays for its share of it,

    .. math:: \sum_p \mathrm{round}\left(\frac{e_p}{\sum_q e_q} \sum_i P_{pi}\,w_i\right)

    with :math:`w_i` what of the total falls in tier i.
    """
    prices = [[level.price if kind == "price" else level.sell for level in levels] for levels in tiers]
    if len(prices[0]) == 1:
        return _priced(energy, [price for (price,) in prices])
    total = energy.sum(axis=0)
    within = _within(total, [level.upto for level in tiers[0]])
    if len(prices) == 1:
        return _priced(within, prices[0])
    cost: Int64Array = np.zeros_like(total)
    safe = np.maximum(total, 1)
    for used, by_tier in zip(energy, prices, strict=True):
        whole = _priced(within, by_tier)
        cost += whole // safe * used + divide_half_up(whole % safe * used, safe)
    return cost


def _within(total: Int64Array, ends: list[int | None]) -> list[Int64Array]:
    """Return what of ``total`` falls in each tier."""
    parts, lower = [], 0
    for end in ends:
        parts.append(np.maximum((total if end is None else np.minimum(total, end)) - lower, 0))
        lower = end or 0
    return parts


def _demand(sums: Sums, tariff: RateTariff) -> Int64Array:
    """Return the charges for demand. [nano, 12 × n]"""
    found = np.zeros((MONTHS, sums.load.shape[2]), dtype=np.int64)
    peak = sums.load_peak_w if tariff.metering is Metering.BUY_ALL else sums.peak_w
    if tariff.demand:
        found += _cost_of_demand(_ratcheted(peak.max(axis=1), tariff.ratchet), tariff.demand)
    for place, levels in enumerate(tariff.demand_by_period):
        if levels:
            found += _cost_of_demand(_ratcheted(peak[:, place], tariff.ratchet), levels)
    return found


def _cost_of_demand(demand: Int64Array, levels: tuple[Level, ...]) -> Int64Array:
    within = _within(demand, [None if level.upto is None else level.upto * PERCENT for level in levels])
    return divide_half_up(_priced(within, [level.price for level in levels]), PERCENT)


def _priced(parts: Sequence[Int64Array] | Int64Array, prices: Sequence[int]) -> Int64Array:
    cost = np.zeros_like(parts[0])
    for part, price in zip(parts, prices, strict=True):
        cost += part * price
    return cost


def _ratcheted(demand_w: Int64Array, ratchet: Ratchet | None) -> Int64Array:
    """Return the billed demand: what was drawn, or a share of the months before, or the floor. [W/100, 12 × n]"""
    drawn = demand_w * PERCENT
    if ratchet is None:
        return drawn
    billed = np.maximum(drawn, ratchet.least_w * PERCENT)
    for month in range(1, MONTHS):
        before = demand_w[max(0, month - ratchet.months) : month]
        if before.size:
            billed[month] = np.maximum(billed[month], before.max(axis=0) * ratchet.percent)
    return billed
