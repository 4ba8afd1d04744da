"""From a chunk's columns to the engine's: what is charged by which contract, and mixed uses beside plain ones."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from billing_core.batch import NOT_MEASURED, Batch, batch_of
from billing_core.charges import Charges
from billing_core.codes import Category, Solar, codes_of
from billing_core.engine import charge
from billing_core.mixed_use import WHOLE_BP, Uses, charge_uses
from billing_core.solar import Purchase, settle_solar
from billing_core.tariff import Tariffs
from ingest_server.billing.columns import (
    DEMAND,
    EXPORT,
    EXPORT_RATES,
    MISSING,
    NONE,
    RATES,
    REACTIVE,
    REGISTERS,
    TOTAL,
    BoolArray,
    Int64Array,
    Points,
    day_number,
    day_of,
)
from ingest_server.billing.period import midnight_of, us_of
from ingest_server.billing.terms import BilledTerms
from protocols.telemetry.reading import Quality

BP_PER_PERCENT = 100


def batch_of_points(
    points: Points,
    terms: BilledTerms,
    used_wh: Int64Array,
    rows: Int64Array,
    *,
    generation_wh: Int64Array,
    tariffs: Tariffs,
) -> Batch:
    """Return the engine's batch for the points in ``rows``: the parts of each added up, and the contracts' terms.

    Parameters
    ----------
    used_wh
        What each part measured on each register, multiplied; of demand the highest. [Wh, varh, W; parts × registers]
    generation_wh
        What panels generated, ``NOT_MEASURED`` where nobody knows. [Wh, n]
    """
    spans, parts = points.spans, points.parts
    used = np.zeros((len(points), len(REGISTERS)), dtype=np.int64)
    np.add.at(used, parts.point, used_wh)
    highest = np.full(len(points), NOT_MEASURED, dtype=np.int64)
    if terms.needed[:, DEMAND].any():
        np.maximum.at(highest, parts.point, np.where(parts.generation, NOT_MEASURED, used_wh[:, DEMAND]))
    read_by_hand = _read_by_hand(points, terms.needed)
    before_wh, export_before_wh = _before_changes(points, terms, used_wh, read_by_hand, tariffs)
    changed_on = np.where(spans.changed_day == NONE, np.iinfo(np.int64).min, spans.changed_day)  # NaT for none
    batch = batch_of(
        energy_wh=_by_rate(used, terms)[rows],
        before_change_wh=before_wh[rows],
        export_before_change_wh=export_before_wh[rows],
        start_on=points.first_day[rows].astype("datetime64[D]"),
        end_on=points.last_day[rows].astype("datetime64[D]"),
        nominal_days=_cycle_days(points)[rows],
        category=terms.category[rows],
        voltage=terms.voltage[rows],
        three_rates=terms.three_rates[rows],
        households=terms.households[rows],
        households_parts=terms.households_parts[rows],
        households_changed_on=changed_on[rows].astype("datetime64[D]"),
        households_after=np.where(spans.changed_day == NONE, 1, terms.changed_households)[rows],
        households_after_parts=np.where(spans.changed_day == NONE, 1, terms.changed_households_parts)[rows],
        # A meter that is read at a distance is read at a change of price too; sharing by days would be a guess.
        share_by_days=((terms.category == Category.RESIDENTIAL.code) & read_by_hand)[rows],
        export_wh=_exported(used, terms).sum(axis=1)[rows],
        generation_wh=generation_wh[rows],
        **_carried_in(points, terms, used, rows),
        settle_carry=terms.settle_carry[rows],
        solar=terms.solar[rows],
        reactive_varh=np.where(terms.reactive, used[:, REACTIVE], NOT_MEASURED)[rows],
        exempt_surcharged=points.exempt_surcharged[rows],
        undeclared_rental=terms.undeclared_rental[rows],
        refused_three_rates=terms.refused_three_rates[rows],
        two_component=terms.two_component[rows],
        demand_w=highest[rows],
        rate_plan=terms.rate_plan[rows],
        demand_before_w=points.previous.highest_w[rows],
    )
    return _with_surplus_handed_on(batch, terms, rows, tariffs)


def _with_surplus_handed_on(batch: Batch, terms: BilledTerms, rows: Int64Array, tariffs: Tariffs) -> Batch:
    """Return the batch with the surplus of each row that hands it on brought into the next; few rows do."""
    following = np.flatnonzero(terms.hands_on[rows[:-1]] & (rows[1:] == rows[:-1] + 1)) + 1
    if not following.size:
        return batch
    carried, kept = batch.carry_in_wh.copy(), batch.carry_in_rates_wh.copy()
    for place in following.tolist():
        before = np.array([place - 1])
        one = replace(_rows_of(batch, before), carry_in_wh=carried[before], carry_in_rates_wh=kept[before])
        surplus = settle_solar(one, tariffs)[1].carry_out_rates_wh[0]
        if batch.three_rates[place]:
            carried[place], kept[place] = 0, surplus
        else:
            carried[place] = surplus.sum()
    return replace(batch, carry_in_wh=carried, carry_in_rates_wh=kept)


def _exported(used: Int64Array, terms: BilledTerms) -> Int64Array:
    """Return exported energy at the three rates where it is netted by rate, else all in the first. [Wh, n × 3]"""
    exported: Int64Array = np.where(terms.netted_by_rate[:, np.newaxis], used[:, EXPORT_RATES], 0)
    exported[:, 0] += np.where(terms.netted_by_rate, 0, used[:, EXPORT])
    return exported


def _carried_in(points: Points, terms: BilledTerms, used: Int64Array, rows: Int64Array) -> dict[str, Int64Array]:
    """Return the surplus of the bill before, and of three rates that of each with what each exported."""
    previous, by_rate = points.previous, terms.netted_by_rate
    carried = np.where(terms.solar == Solar.NET_2017.code, previous.carried_out_wh, 0)
    if not by_rate.any():
        return {"carry_in_wh": carried[rows]}
    kept = np.stack([np.zeros_like(carried), previous.carried_cd_wh, previous.carried_td_wh], axis=1)
    kept = np.where(by_rate[:, np.newaxis], kept, 0)
    return {
        "carry_in_wh": (carried - kept.sum(axis=1))[rows],
        "carry_in_rates_wh": kept[rows],
        "export_rates_wh": np.where(by_rate[:, np.newaxis], used[:, EXPORT_RATES], NOT_MEASURED)[rows],
    }


def _cycle_days(points: Points) -> Int64Array:
    """Return T of each row: the run's nominal cycle, or the calendar month, also of who moves in on the 30th."""
    month = points.first_day.astype("datetime64[D]").astype("datetime64[M]")
    days: Int64Array = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return np.where(points.nominal_days == NONE, days, points.nominal_days)


def _by_rate(used: Int64Array, terms: BilledTerms) -> Int64Array:
    """Return imported energy at the three rates, all in the first without them. [Wh, n × 3]"""
    energy: Int64Array = np.where(terms.three_rates[:, np.newaxis], used[:, RATES], 0)
    energy[:, 0] += np.where(terms.three_rates, 0, used[:, TOTAL])
    return energy


def _before_changes(
    points: Points, terms: BilledTerms, used_wh: Int64Array, read_by_hand: BoolArray, tariffs: Tariffs
) -> tuple[Int64Array, Int64Array]:
    """Return energy and export up to each change of price where the meter was read at all of them.

    Elsewhere both are ``NOT_MEASURED``. What has prices of its own takes no such reading, nor does net metering or a
    mixed use of a household that is read by hand: that is shared out by days. [Wh, n × changes × 3]
    """
    parts, n = points.parts, len(points)
    days = [day_number(act.effective_on) for act in tariffs.acts[1:]]
    inside = [(points.first_day < day) & (day <= points.last_day) for day in days]
    changes = max(1, int(np.sum(inside, axis=0, dtype=np.int64).max(initial=0))) if inside else 1
    before, exported = np.full((2, n, changes, 3), NOT_MEASURED, dtype=np.int64)
    by_days = read_by_hand & (terms.category == Category.RESIDENTIAL.code)
    read = ~terms.two_component & ~(by_days & ((terms.solar == Solar.NET_2017.code) | terms.mixed))
    place = np.zeros(n, dtype=np.int64)  # of the next change of each row
    for day, rows in zip(days, inside, strict=True):
        if not rows.any():
            continue
        us = us_of(midnight_of(day_of(day)))
        through = np.zeros(n, dtype=np.bool_)
        through[parts.point[(parts.start_us < us) & (us < parts.end_us) & ~parts.generation]] = True
        first = np.zeros((n, len(REGISTERS)), dtype=np.int64)
        earlier = parts.end_us <= us
        np.add.at(first, parts.point[earlier], used_wh[earlier])
        read &= ~(rows & through)
        own = np.flatnonzero(rows)
        before[own, place[own]], exported[own, place[own]] = _by_rate(first, terms)[own], _exported(first, terms)[own]
        place[own] += 1
    before[~read], exported[~read] = NOT_MEASURED, NOT_MEASURED
    return before, exported


def _read_by_hand(points: Points, needed: BoolArray) -> BoolArray:
    """Say of each row whether a person read the register that is billed at its end. [n]"""
    parts = points.parts
    quality = parts.quality[:, :, 1]
    marked = needed[parts.point] & (quality != MISSING) & ((quality & int(Quality.MANUAL)) != 0)
    found = np.zeros(len(points), dtype=np.bool_)
    last = marked.any(axis=1) & (parts.end_us == points.end_us[parts.point]) & ~parts.generation
    found[parts.point[last]] = True
    return found


def charge_points(batch: Batch, terms: BilledTerms, rows: Int64Array, tariffs: Tariffs) -> Charges:
    """Return the bills of a batch whose rows are the points in ``rows``; those of several uses are one bill each."""
    mixed = terms.mixed[rows]
    if not mixed.any():
        return charge(batch, tariffs, plans=terms.plans)
    plain, several = np.flatnonzero(~mixed), np.flatnonzero(mixed)
    bills, uses = [], []
    for number, row in enumerate(rows[several].tolist()):
        own = terms.uses[int(terms.place[row])]
        rest = WHOLE_BP - sum(share for _, _, share in own) * BP_PER_PERCENT
        bills += [number] * (len(own) + 1)
        uses.append((int(terms.category[row]), int(terms.voltage[row]), rest))
        uses += [(*codes_of([category, voltage]).tolist(), share * BP_PER_PERCENT) for category, voltage, share in own]
    columns = np.array(uses, dtype=np.int64)
    found = charge_uses(
        _rows_of(batch, several),
        Uses(
            bill=np.array(bills, dtype=np.int64),
            category=columns[:, 0].astype(np.int8),
            voltage=columns[:, 1].astype(np.int8),
            share_bp=columns[:, 2],
        ),
        tariffs,
    )
    return _merged(len(batch), ((plain, charge(_rows_of(batch, plain), tariffs, plans=terms.plans)), (several, found)))


def _rows_of(batch: Batch, rows: Int64Array) -> Batch:
    return Batch(**{each.name: getattr(batch, each.name)[rows] for each in fields(Batch)})


def _merged(n: int, parts: tuple[tuple[Int64Array, Charges], ...]) -> Charges:
    """Return bills that were charged apart as one, each part in its rows."""

    def column(of: Any) -> Any:
        first = of(parts[0][1])
        found = np.zeros((n, *first.shape[1:]), dtype=first.dtype)
        for rows, charges in parts:
            found[rows] = of(charges)
        return found

    def named(name: str) -> Any:
        return column(lambda charges: getattr(charges, name))

    def bought(name: str) -> Any:
        return column(lambda charges: getattr(charges.purchase, name))

    single = ("subtotal", "vat", "total", "vat_permille", "billed_wh", "hold")
    return Charges(
        **{name: named(name) for name in single},
        purchase=Purchase(**{each.name: bought(each.name) for each in fields(Purchase)}),
        groups=tuple(replace(group, rows=rows[group.rows]) for rows, charges in parts for group in charges.groups),
    )
