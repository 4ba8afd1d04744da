"""Charges of a rate plan beside energy: demand with its ratchet, a fixed charge, and what is missing to a minimum.

Each is for a nominal cycle; of another period it is taken by its days, once, half up. The minimum is held against all
that is charged before tax, and its line charges what is missing to it.
"""

from dataclasses import replace

import numpy as np

from billing_core.batch import Batch
from billing_core.charges import Group, Slot
from billing_core.codes import LineKind, Register
from billing_core.period import Period
from billing_core.rate_plan import Ratchet, RatePlan
from billing_core.rounding import DEMAND_W_MAX, Int64Array, divide_half_up, multiply

W_PER_KW = 1_000


def with_plan_charges(group: Group, batch: Batch, plan: RatePlan, period: Period) -> Group:
    """Return a group of bills with the lines of their plan behind those of energy."""
    found = replace(group, own=np.full_like(group.amount, -1))
    one = replace(
        group.slots[0],
        kind=LineKind.FIXED,
        tier=0,
        register=Register.SG,
        formula="fixed",
        act=plan.name,
        clause="fixed charge",
        certainty=plan.certainty,
        start_on=period.parts[0].start_on,
        end_on=period.parts[-1].end_on,
        days=period.days,
        width_kwh=0,
    )
    none = np.zeros(group.rows.shape[0], dtype=np.int64)
    if plan.demand:
        found = _with_demand(found, batch, plan, one)
    if plan.fixed_monthly:
        slot = replace(one, price=plan.fixed_monthly)
        found = with_line(found, slot, none, _of_days(none + plan.fixed_monthly, slot))
    if plan.minimum_monthly:
        slot = replace(
            one, kind=LineKind.MINIMUM, price=plan.minimum_monthly, formula="minimum", clause="minimum charge"
        )
        least = _of_days(none + plan.minimum_monthly, slot)
        found = with_line(found, slot, none, np.maximum(least - found.amount.sum(axis=0), 0), own=least)
    return found


def _with_demand(group: Group, batch: Batch, plan: RatePlan, one: Slot) -> Group:
    slot = replace(
        one,
        kind=LineKind.DEMAND,
        register=Register.PMAX,
        price=plan.demand,
        formula="demand" if plan.ratchet is None else "ratchet",
        clause="price of demand",
        ratchet=plan.ratchet,
    )
    drawn = batch.demand_w[group.rows]
    billed = billed_demand(drawn, batch.demand_before_w[group.rows], plan.ratchet)
    amount = divide_half_up(multiply(billed, plan.demand * slot.days), W_PER_KW * slot.nominal_days)
    return with_line(group, slot, billed, amount, own=drawn)


def billed_demand(drawn_w: Int64Array, before_w: Int64Array, ratchet: Ratchet | None) -> Int64Array:
    """Return the demand that is billed: what was drawn, or a share of the highest before, or the floor. [W, n]"""
    if ratchet is None:
        return drawn_w
    share = divide_half_up(multiply(np.clip(before_w, 0, DEMAND_W_MAX), ratchet.percent), 100)
    return np.maximum(np.maximum(drawn_w, share), ratchet.least_w)


def _of_days(monthly: Int64Array, slot: Slot) -> Int64Array:
    """Return what of a month's charge falls on the days of a line. [money, m]"""
    return divide_half_up(multiply(monthly, slot.days), slot.nominal_days)


def with_line(
    group: Group, slot: Slot, energy: Int64Array, amount: Int64Array, *, own: Int64Array | None = None
) -> Group:
    """Return ``group`` with one line more; ``own`` is what :attr:`Group.own` says of it."""
    none = np.full((1, energy.shape[0]), -1, dtype=np.int64)
    said = none if own is None else own[np.newaxis]
    return replace(
        group,
        slots=(*group.slots, slot),
        energy_wh=np.concatenate([group.energy_wh, energy[np.newaxis]]),
        amount=np.concatenate([group.amount, amount[np.newaxis]]),
        quota_wh=None if group.quota_wh is None else np.concatenate([group.quota_wh, none]),
        own=None if group.own is None else np.concatenate([group.own, said]),
    )
