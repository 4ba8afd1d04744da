"""One group of bills: the lines they can have, and what falls in each."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.charges import Group, Slot
from billing_core.codes import RATES, Category, LineKind, QuotaRounding, Register, Voltage
from billing_core.households import has_change, household_days
from billing_core.period import Part, Period
from billing_core.plan_charges import with_line, with_plan_charges
from billing_core.rate_plan import RatePlan
from billing_core.reactive import charge_reactive, power_factor, surcharge
from billing_core.rounding import Int64Array, divide_half_up, multiply
from billing_core.tariff import PowerFactorTable, TwoComponent
from billing_core.tiers import WH_PER_KWH, share_by_days, split_tiers, tier_quota

W_PER_KW = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The bills of one group: their batch, their rows in it, and the energy that is billed. [m; Wh, m × 3]"""

    batch: Batch
    rows: Int64Array
    energy_wh: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceClass:
    """What they have in common, beside the period."""

    category: Category
    voltage: Voltage
    three_rates: bool
    quota_rounding: QuotaRounding
    undeclared_rental: bool = False
    refused_three_rates: bool = False
    read_at_changes: bool = False
    pilot: TwoComponent | None = None
    plan: RatePlan | None = None


def charge_group(
    members: Members, kind: PriceClass, period: Period, table: PowerFactorTable | None
) -> tuple[Group, Int64Array]:
    """Return the lines of a group of bills, and their subtotals. [đ, m]"""
    blocks = [
        _fill(members, kind, period, part, shared)
        for part, shared in zip(period.parts, _shares(members, kind, period), strict=True)
    ]
    slots = tuple(slot for block in blocks for slot in block.slots)
    energy = np.concatenate([block.energy_wh for block in blocks])
    quotas = [block.quota_wh for block in blocks if block.quota_wh is not None]
    amount = np.empty_like(energy)
    for place, slot in enumerate(slots):
        amount[place] = divide_half_up(multiply(energy[place], slot.price), WH_PER_KWH)
    group = Group(
        rows=members.rows,
        slots=slots,
        energy_wh=energy,
        amount=amount,
        quota_wh=np.concatenate(quotas) if quotas else None,
    )
    if table is not None and (chargeable := _chargeable(members, kind, table)).any():
        group = _with_reactive(group, members, period, table, chargeable)
    if kind.pilot is not None:
        group = _with_demand(group, members, kind.pilot.capacity[kind.voltage])
    if kind.plan is not None:
        group = with_plan_charges(group, members.batch, kind.plan, period)
    return group, group.amount.sum(axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The lines of one part of the period. [slots × m]"""

    slots: tuple[Slot, ...]
    energy_wh: Int64Array
    quota_wh: Int64Array | None


def _fill(members: Members, kind: PriceClass, period: Period, part: Part, energy: Int64Array) -> Block:
    """Return the lines of one part: tiers, three rates, or one price. ``energy`` is [Wh, 3 × m]."""
    one = _slot(kind, period, part)
    if kind.undeclared_rental:
        return _fill_undeclared(one, part, energy)
    if kind.category in part.act.tiered:
        return _fill_tiers(one, members, kind, part, energy)
    if kind.pilot is not None or (kind.category, kind.voltage) in part.act.rates:
        return _fill_rates(one, kind, part, energy)
    return _fill_single(one, kind, part, energy)


def _shares(members: Members, kind: PriceClass, period: Period) -> Int64Array:
    """Return the energy of each part at each rate. [Wh, parts × 3 × m]"""
    energy = np.ascontiguousarray(members.energy_wh.T)
    if len(period.parts) == 1:
        return energy[np.newaxis]
    if kind.read_at_changes:
        until = members.batch.before_change_wh[members.rows, : len(period.parts) - 1].transpose(1, 2, 0)
        return np.diff(until, axis=0, prepend=np.zeros_like(energy)[np.newaxis], append=energy[np.newaxis])
    days = tuple(part.days for part in period.parts)
    return np.stack([share_by_days(rate, days) for rate in energy], axis=1)


def _fill_tiers(one: Slot, members: Members, kind: PriceClass, part: Part, energy: Int64Array) -> Block:
    prices, widths = part.act.tiered[kind.category], part.structure.widths
    quotas = np.full((len(prices), members.rows.shape[0]), -1, dtype=np.int64)
    held = np.empty_like(quotas)
    days, households, households_parts = _households(members, part)
    same: dict[int, int] = {}
    for place, width in enumerate(widths):
        if width in same:
            quotas[place] = quotas[same[width]]
            continue
        same[width] = place
        quotas[place] = tier_quota(
            width_kwh=width,
            days=days,
            nominal_days=one.nominal_days,
            households=households,
            households_parts=households_parts,
            rounding=kind.quota_rounding,
        )
    split_tiers(energy.sum(axis=0), quotas[:-1], held)
    slots = tuple(
        replace(
            one,
            tier=place + 1,
            register=Register.SG,
            price=price,
            formula="tier",
            clause=f"{kind.category.value}, tier {place + 1}",
            width_kwh=(*widths, 0)[place],
        )
        for place, price in enumerate(prices)
    )
    return Block(slots=slots, energy_wh=held, quota_wh=quotas)


def _households(members: Members, part: Part) -> tuple[int, Int64Array, Int64Array]:
    """Return N and h as numerator and denominator; where h changes, 1 and the household days."""
    batch, rows = members.batch, members.rows
    if has_change(batch)[rows].any():
        return 1, *household_days(batch, rows, part.start_on, part.end_on)
    return part.days, batch.households[rows], batch.households_parts[rows]


def _fill_undeclared(one: Slot, part: Part, energy: Int64Array) -> Block:
    """Return the one line of tenants whose number was not declared: all at the price of one tier."""
    tier = part.structure.undeclared_tier
    slot = replace(
        one,
        price=part.act.tiers[tier - 1],
        formula="undeclared",
        clause=f"residential, tier {tier}, tenants not declared",
    )
    return Block(slots=(slot,), energy_wh=energy.sum(axis=0, keepdims=True), quota_wh=None)


def _fill_rates(one: Slot, kind: PriceClass, part: Part, energy: Int64Array) -> Block:
    prices = part.act.rates[kind.category, kind.voltage] if kind.pilot is None else kind.pilot.energy[kind.voltage]
    clause = f"{kind.category.value}, {kind.voltage.value}"
    if not kind.three_rates and kind.refused_three_rates:
        slot = replace(one, register=Register.CD, price=prices[1], formula="refused", clause=f"{clause}, peak rate")
        return Block(slots=(slot,), energy_wh=energy.sum(axis=0, keepdims=True), quota_wh=None)
    if not kind.three_rates:  # without a three-rate meter all is at the normal price
        slot = replace(one, register=Register.BT, price=prices[0], formula="single", clause=f"{clause}, normal rate")
        return Block(slots=(slot,), energy_wh=energy.sum(axis=0, keepdims=True), quota_wh=None)
    slots = tuple(
        replace(one, register=rate, price=price, formula="rate", clause=f"{clause}, {rate.value}")
        for rate, price in zip(RATES, prices, strict=True)
    )
    return Block(slots=slots, energy_wh=energy, quota_wh=None)


def _fill_single(one: Slot, kind: PriceClass, part: Part, energy: Int64Array) -> Block:
    prepaid = kind.category is Category.PREPAID and (kind.category, kind.voltage) not in part.act.single
    slot = replace(
        one,
        price=part.act.prepaid if prepaid else part.act.single[kind.category, kind.voltage],
        formula="single",
        clause=kind.category.value if prepaid else f"{kind.category.value}, {kind.voltage.value}",
    )
    return Block(slots=(slot,), energy_wh=energy.sum(axis=0, keepdims=True), quota_wh=None)


def _slot(kind: PriceClass, period: Period, part: Part) -> Slot:
    """Return what all lines of a part have in common."""
    return Slot(
        kind=LineKind.ENERGY,
        tier=0,
        register=Register.SG,
        price=0,
        formula="",
        act=part.act.name if kind.pilot is None else kind.pilot.act,
        clause="",
        certainty=part.act.certainty_of(kind.category, kind.voltage) if kind.pilot is None else kind.pilot.certainty,
        start_on=part.start_on,
        end_on=part.end_on,
        days=part.days,
        nominal_days=period.nominal_days,
        period_days=period.days,
    )


def _chargeable(members: Members, kind: PriceClass, table: PowerFactorTable) -> NDArray[np.bool_]:
    """Return the bills whose power factor counts: it is known, or was measured, and the use is not exempt. [m]"""
    reactive, given = members.batch.reactive_varh[members.rows], members.batch.power_factor_percent[members.rows]
    known: NDArray[np.bool_] = (reactive != NOT_MEASURED) | (given != NOT_MEASURED)
    return known & members.batch.exempt_surcharged[members.rows] if kind.category in table.exempt else known


def _with_reactive(
    group: Group, members: Members, period: Period, table: PowerFactorTable, measured: NDArray[np.bool_]
) -> Group:
    """Return ``group`` with the surcharge for reactive energy as its last line, of the bills it is ``measured`` of."""
    given = members.batch.power_factor_percent[members.rows]
    reactive = np.maximum(members.batch.reactive_varh[members.rows], 0)
    factor = np.where(given != NOT_MEASURED, given, power_factor(members.energy_wh.sum(axis=1), reactive))
    rise = np.where(measured, surcharge(factor, table), 0)
    amount = charge_reactive(group.amount.sum(axis=0), rise)
    slot = replace(
        group.slots[-1],
        kind=LineKind.REACTIVE,
        tier=0,
        register=Register.VC,
        price=0,
        formula="reactive",
        act=table.act,
        clause="table of k",
        certainty=table.certainty,
        start_on=period.parts[0].start_on,
        days=period.days,
        width_kwh=0,
    )
    charged = np.where(amount > 0, reactive, 0)
    group = with_line(group, slot, charged, amount)
    return replace(group, factor=np.where(measured, factor, -1), surcharge_bp=rise)


def _with_demand(group: Group, members: Members, price: int) -> Group:
    """Return ``group`` with the price of capacity as its last line: the highest half hour in W, at đ/kW."""
    slot = replace(
        next(slot for slot in group.slots if slot.kind is LineKind.ENERGY),
        kind=LineKind.DEMAND,
        register=Register.PMAX,
        price=price,
        formula="demand",
        clause="price of capacity",
    )
    demand = members.batch.demand_w[members.rows]
    return with_line(group, slot, demand, divide_half_up(multiply(demand, price), W_PER_KW))
