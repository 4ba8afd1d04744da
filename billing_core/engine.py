"""The engine: many bills at once, columns in, columns out.

Rows that share period, category and voltage share everything but energy and households, so they are charged together
with whole-array arithmetic; the only loops in Python run over such groups and over the lines a bill can have, never
over customers. A quote is the same engine with one row. Every result is an exact integer; the rules that round are in
:mod:`billing_core.rounding`, the order of steps is here:

1. rows that cannot be billed are held, with their reason, and take no further part;
2. rooftop solar: what of the import is billed, what of the export is bought;
3. rows are grouped, and each group's period is planned: its parts by act, its nominal cycle, its rate of tax;
4. energy is shared out over the parts, filled into tiers or taken by rate, and priced;
5. reactive energy adds its surcharge; tax is taken on the subtotal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import NO_PLAN, NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Category, Coded, Hold, QuotaRounding, Solar, Voltage, member_of
from billing_core.households import change_invalid, has_change
from billing_core.period import Part, Period, cycle_days, plan_period
from billing_core.pricing import Members, PriceClass, charge_group
from billing_core.rate_plan import PLANNED_DAYS_MAX, VOLTAGE, RatePlan
from billing_core.rounding import (
    DAYS_MAX,
    DEMAND_W_MAX,
    ENERGY_WH_MAX,
    HOUSEHOLDS_MAX,
    PRICE_MAX,
    Int64Array,
    divide_half_up,
    multiply,
)
from billing_core.solar import settle_solar, solar_holds, with_netted_change
from billing_core.tariff import VOLTAGE_CLASSES, Tariffs

FIRST_DAY, LAST_DAY = np.datetime64("1900-01-01"), np.datetime64("2999-12-31")  # beyond them a date is a mistake


PLACES_MAX = 2**16


def charge(
    batch: Batch,
    tariffs: Tariffs,
    *,
    quota_rounding: QuotaRounding = QuotaRounding.KWH,
    plans: Sequence[RatePlan] = (),
) -> Charges:
    """Compute the bills of ``batch``.

    Parameters
    ----------
    batch
        n rows; see :class:`billing_core.batch.Batch` for units.
    tariffs
        What is in force when (:func:`billing_core.tariff_files.load_tariffs`).
    quota_rounding
        To what the width of a tier is rounded; EVN's formula says whole kWh.
    plans
        Rate plans, which ``batch.rate_plan`` refers to.

    Returns
    -------
    charges
        n rows. Rows that cannot be computed are held with a reason; the others are as if these were not there.
    """
    n = len(batch)
    hold = held_at_the_door(batch, plans)
    admitted = without_held(batch, hold)
    energy, purchase = settle_solar(admitted, tariffs)
    admitted = with_netted_change(admitted, energy)
    subtotal, vat, permille = (np.zeros(n, dtype=np.int64) for _ in range(3))
    groups = []
    for rows, key in _groups(admitted, hold):
        plan = _plan(tariffs, key, quota_rounding, plans)
        if isinstance(plan, Hold):
            hold[rows] = plan.code
            continue
        period, kind = plan
        members = Members(batch=admitted, rows=rows, energy_wh=energy[rows])
        own_prices = kind.plan is not None and kind.plan.prices_energy  # the acts' surcharge is not that utility's
        table = None if own_prices else tariffs.power_factor_on(key.end_on)
        group, group_subtotal = charge_group(members, kind, period, table)
        subtotal[rows] = group_subtotal
        permille[rows] = period.vat.permille
        vat[rows] = divide_half_up(multiply(group_subtotal, period.vat.permille), 1000)
        groups.append(group)
    return Charges(
        subtotal=subtotal,
        vat=vat,
        total=subtotal + vat,
        vat_permille=permille,
        billed_wh=np.where(hold == 0, energy[:, 0] + energy[:, 1] + energy[:, 2], 0),
        hold=hold,
        purchase=purchase.without(hold),
        groups=tuple(groups),
    )


def _plan(
    tariffs: Tariffs, key: "Key", quota_rounding: QuotaRounding, plans: Sequence[RatePlan]
) -> tuple[Period, PriceClass] | Hold:
    """Return the period of a group and its class of prices, or why its bills cannot be computed."""
    if key.rate_plan != NO_PLAN:
        return _plan_of_own(tariffs, key, quota_rounding, plans[key.rate_plan])
    return _plan_of_acts(tariffs, key, quota_rounding)


def _plan_of_own(
    tariffs: Tariffs, key: "Key", quota_rounding: QuotaRounding, own: RatePlan
) -> tuple[Period, PriceClass] | Hold:
    """Return the same of a group with a rate plan, which may leave energy or tax to the acts."""
    if (key.end_on - key.start_on).days >= PLANNED_DAYS_MAX or key.two_component:
        return Hold.NOT_ONE_MONTH
    tax = own.tax or tariffs.vat_on(key.end_on)
    if tax is None:
        return Hold.NO_VAT_RATE
    if not own.prices_energy:
        found = _plan_of_acts(
            replace(tariffs, vat=(replace(tax, start_on=date.min, end_on=date.max),)), key, quota_rounding
        )
        if isinstance(found, Hold):
            return found
        period, kind = found
        return replace(period, vat=tax), replace(kind, plan=own)
    part = Part(start_on=key.start_on, end_on=key.end_on, act=own.as_act(key.category), structure=own.structure)
    days = (key.end_on - key.start_on).days + 1
    period = Period(days=days, nominal_days=key.nominal_days or cycle_days(key.start_on), parts=(part,), vat=tax)
    kind = PriceClass(
        category=key.category, voltage=VOLTAGE, three_rates=key.three_rates, quota_rounding=quota_rounding, plan=own
    )
    return period, kind


def _plan_of_acts(tariffs: Tariffs, key: "Key", quota_rounding: QuotaRounding) -> tuple[Period, PriceClass] | Hold:
    period = plan_period(tariffs, key.start_on, key.end_on, key.nominal_days)
    if isinstance(period, Hold):
        return period
    voltage = VOLTAGE_CLASSES[key.category].get(key.voltage)
    if voltage is None:
        return _unpriced(period, key)
    pilot = tariffs.two_component_on(key.start_on) if key.two_component else None
    if pilot is not None and period.days != period.nominal_days:
        return Hold.NOT_ONE_MONTH
    if key.two_component and (pilot is None or pilot.category is not key.category or voltage not in pilot.capacity):
        return Hold.NO_PRICE
    if pilot is not None:  # the pilot's prices do not change with the acts
        period = replace(period, parts=(replace(period.parts[0], end_on=key.end_on),))
    if pilot is None and not all(part.act.has_price(key.category, voltage) for part in period.parts):
        return _unpriced(period, key)
    if key.changes_read and len(period.parts) != key.changes_read + 1:
        return Hold.CHANGE_READING_UNUSABLE
    if len(period.parts) > 1 and not key.share_by_days and not key.changes_read:
        return Hold.PRICE_CHANGE_NOT_READ
    kind = PriceClass(
        category=key.category,
        voltage=voltage,
        three_rates=key.three_rates,
        quota_rounding=quota_rounding,
        undeclared_rental=key.undeclared_rental,
        refused_three_rates=key.refused_three_rates,
        read_at_changes=key.changes_read > 0,
        pilot=pilot,
    )
    return period, kind


def _unpriced(period: Period, key: "Key") -> Hold:
    """Return whether another voltage would have a price, or the category has none under one of the period's acts."""
    elsewhere = all(part.act.priced_voltages(key.category) for part in period.parts)
    return Hold.VOLTAGE_NOT_PRICED if elsewhere else Hold.NO_PRICE


def held_at_the_door(batch: Batch, plans: Sequence[RatePlan] = ()) -> NDArray[np.int8]:
    """Return why each row cannot be billed whatever the tariff says, as codes of :class:`Hold`; 0 where it can. [n]"""
    hold = np.zeros(len(batch), dtype=np.int8)
    days = (batch.end_on - batch.start_on).astype(np.int64) + 1
    known = (batch.start_on >= FIRST_DAY) & (batch.end_on <= LAST_DAY)  # not so for a day that is missing (NaT)
    normal, peak, off_peak = batch.energy_wh.T
    lowest = np.minimum(np.minimum(normal, peak), off_peak)
    largest = np.maximum(
        np.maximum(normal, peak), np.maximum(off_peak, np.maximum(batch.export_wh, batch.generation_wh))
    )
    reactive = batch.reactive_varh
    checks = (
        (Hold.CODE_UNKNOWN, _outside(batch.category, Category) | _outside(batch.voltage, Voltage)),
        (Hold.CODE_UNKNOWN, _outside(batch.solar, Solar)),
        (Hold.PERIOD_INVALID, ~known | (days < 1) | (days > DAYS_MAX)),
        (Hold.PERIOD_INVALID, (batch.nominal_days < 0) | (batch.nominal_days > DAYS_MAX)),
        (Hold.NEGATIVE_ENERGY, (lowest < 0) | (batch.export_wh < 0) | (batch.carry_in_wh < 0)),
        (Hold.NEGATIVE_ENERGY, batch.generation_wh < NOT_MEASURED),
        (Hold.ENERGY_TOO_LARGE, (largest > ENERGY_WH_MAX // 3) | (batch.carry_in_wh > ENERGY_WH_MAX // 3)),
        (Hold.HOUSEHOLDS_INVALID, (batch.households < 1) | (batch.households > HOUSEHOLDS_MAX)),
        (Hold.HOUSEHOLDS_INVALID, (batch.households_parts < 1) | (batch.households_parts > HOUSEHOLDS_MAX)),
        (Hold.NO_SOLAR_PRICE, (batch.solar_price < 0) | (batch.solar_price > PRICE_MAX)),
        (Hold.REACTIVE_INVALID, (reactive < NOT_MEASURED) | (reactive > ENERGY_WH_MAX)),
        (Hold.NET_METERING_THREE_RATES, solar_holds(batch)),
        *_holds_of_options(batch, plans),
    )
    for reason, found in checks:
        hold[found & (hold == 0)] = reason.code
    return hold


def _holds_of_options(batch: Batch, plans: Sequence[RatePlan]) -> Iterator[tuple[Hold, NDArray[np.bool_]]]:
    """Yield the holds of what few bills have, each only if one of them has it."""
    if has_change(batch).any():
        yield Hold.HOUSEHOLDS_INVALID, change_invalid(batch)
    if batch.undeclared_rental.any():
        yield Hold.TENANTS_NOT_RESIDENTIAL, batch.undeclared_rental & (batch.category != Category.RESIDENTIAL.code)
    factor = batch.power_factor_percent
    if (factor != NOT_MEASURED).any():
        yield Hold.POWER_FACTOR_INVALID, (factor != NOT_MEASURED) & ((factor < 0) | (factor > 100))
    planned = batch.rate_plan != NO_PLAN
    if planned.any():
        yield Hold.CODE_UNKNOWN, (batch.rate_plan < NO_PLAN) | (batch.rate_plan >= len(plans))
    of_demand = batch.two_component | np.isin(batch.rate_plan, [at for at, own in enumerate(plans) if own.demand])
    if of_demand.any():
        yield Hold.DEMAND_INVALID, of_demand & ((batch.demand_w < 0) | (batch.demand_w > DEMAND_W_MAX))
    netted = batch.solar == Solar.NET_2017.code
    by_rate = netted & batch.three_rates
    if by_rate.any():
        exported, carried = batch.export_rates_wh, batch.carry_in_rates_wh
        yield Hold.NEGATIVE_ENERGY, by_rate & ((exported < 0) | (carried < 0)).any(axis=1)
        too_large = ((exported > ENERGY_WH_MAX // 9) | (carried > ENERGY_WH_MAX // 9)).any(axis=1)
        yield Hold.ENERGY_TOO_LARGE, by_rate & too_large
    if any(
        (column[:, :, 0] != NOT_MEASURED).any() for column in (batch.before_change_wh, batch.export_before_change_wh)
    ):
        yield from _holds_of_changes(batch, netted)


def _holds_of_changes(batch: Batch, netted: NDArray[np.bool_]) -> Iterator[tuple[Hold, NDArray[np.bool_]]]:
    """Yield the holds of readings at changes of price: one that is missing before another, or an index that fell.

    What was exported at a change says nothing without what was imported by then, and would be left out unsaid.
    """
    before, exported = batch.before_change_wh, batch.export_before_change_wh
    read = before[:, :, 0] != NOT_MEASURED
    yield Hold.CHANGE_READING_UNUSABLE, (read[:, 1:] & ~read[:, :-1]).any(axis=1)
    yield Hold.CHANGE_READING_UNUSABLE, netted & (~read & (exported[:, :, 0] != NOT_MEASURED)).any(axis=1)
    netted = netted & read.any(axis=1)
    yield Hold.CHANGE_READING_UNUSABLE, netted & (read & (exported[:, :, 0] == NOT_MEASURED)).any(axis=1)
    of_rates = np.zeros_like(batch.energy_wh)
    of_rates[:, 0] = batch.export_wh
    of_rates = np.where(batch.three_rates[:, np.newaxis], batch.export_rates_wh, of_rates)
    # Those of one rate have nothing in the others, neither at the end nor at a change.
    own = np.where(batch.three_rates[:, np.newaxis, np.newaxis] | (np.arange(3) == 0), exported, 0)
    yield Hold.NEGATIVE_ENERGY, netted & _falls(own, of_rates, read)
    yield Hold.NEGATIVE_ENERGY, read.any(axis=1) & _falls(before, batch.energy_wh, read)


def _falls(before: Int64Array, whole: Int64Array, read: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows of which a register stands lower at a reading than at the one before. [n]"""
    last, fallen = np.zeros_like(whole), np.zeros(whole.shape[0], dtype=np.bool_)
    for change in range(before.shape[1]):
        now = np.where(read[:, change, np.newaxis], before[:, change], last)
        fallen |= (now < last).any(axis=1)
        last = now
    return fallen | (whole < last).any(axis=1)


def _outside(codes: NDArray[np.int8], kind: type[Coded]) -> NDArray[np.bool_]:
    return (codes < 0) | (codes >= len(kind))


def without_held(batch: Batch, hold: NDArray[np.int8]) -> Batch:
    """Return the batch with the figures of held rows set to nothing, so that the arithmetic stays in its bounds."""
    held = hold != 0
    if not held.any():
        return batch
    before = batch.before_change_wh
    if (before[:, 0, 0] != NOT_MEASURED).any():
        before = np.where(held[:, np.newaxis, np.newaxis], NOT_MEASURED, before)
    return replace(
        batch,
        before_change_wh=before,
        energy_wh=np.where(held[:, np.newaxis], 0, batch.energy_wh),
        export_wh=np.where(held, 0, batch.export_wh),
        generation_wh=np.where(held, NOT_MEASURED, batch.generation_wh),
        carry_in_wh=np.where(held, 0, batch.carry_in_wh),
        solar=np.where(held, np.int8(Solar.NONE.code), batch.solar),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the bills of a group have in common."""

    start_on: date
    end_on: date
    nominal_days: int
    category: Category
    voltage: Voltage
    three_rates: bool
    share_by_days: bool
    undeclared_rental: bool
    refused_three_rates: bool
    two_component: bool
    changes_read: int
    rate_plan: int


def _groups(batch: Batch, hold: NDArray[np.int8]) -> Iterator[tuple[Int64Array, Key]]:
    """Yield the rows of each group that has any, and what they have in common."""
    rows = np.flatnonzero(hold == 0)
    if not rows.size:
        return
    at_first = batch.before_change_wh[:, 0, 0] != NOT_MEASURED
    changes_read = (batch.before_change_wh[:, :, 0] != NOT_MEASURED).sum(axis=1) if at_first.any() else at_first
    columns = (
        batch.start_on.astype(np.int64),
        batch.end_on.astype(np.int64),
        batch.nominal_days,
        batch.category,
        batch.voltage,
        batch.three_rates,
        batch.share_by_days,
        batch.undeclared_rental,
        batch.refused_three_rates,
        batch.two_component,
        changes_read,
        batch.rate_plan,
    )
    place, places = np.zeros(rows.shape[0], dtype=np.int64), 1
    for column in columns:
        values = column[rows]
        least, most = int(values.min()), int(values.max())
        if least == most:
            continue
        span = most - least + 1
        if places * span > PLACES_MAX:  # too many to count on: number those that are there
            distinct, place = np.unique(place, return_inverse=True)
            found, values = np.unique(values, return_inverse=True)
            places, span, least = distinct.shape[0], found.shape[0], 0
        place = place * span + (values.astype(np.int64) - least)
        places *= span
    small = place.astype(np.uint16) if places <= PLACES_MAX else place  # sorted by counting and not by comparing
    order = np.argsort(small, kind="stable")
    for members in np.split(rows[order], np.flatnonzero(np.diff(place[order])) + 1):
        first = members[0]
        yield (
            members,
            Key(
                start_on=batch.start_on[first].item(),
                end_on=batch.end_on[first].item(),
                nominal_days=int(batch.nominal_days[first]),
                category=member_of(Category, int(batch.category[first])),
                voltage=member_of(Voltage, int(batch.voltage[first])),
                three_rates=bool(batch.three_rates[first]),
                share_by_days=bool(batch.share_by_days[first]),
                undeclared_rental=bool(batch.undeclared_rental[first]),
                refused_three_rates=bool(batch.refused_three_rates[first]),
                two_component=bool(batch.two_component[first]),
                changes_read=int(changes_read[first]),
                rate_plan=int(batch.rate_plan[first]),
            ),
        )
