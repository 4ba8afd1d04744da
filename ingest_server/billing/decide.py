"""Decide: columns of one chunk in, bills, holds and what control says of the bills out. No database, no clock.

The arithmetic is on whole columns. Python loops run only over what is held, whose details are texts.
"""

from dataclasses import dataclass

import numpy as np

from billing_core.batch import NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Hold as EngineHold
from billing_core.codes import Solar, member_of
from billing_core.consumption import Consumption, consume
from billing_core.control.judge import Controlled, Judgement, judge
from billing_core.control.thresholds import Thresholds
from billing_core.registers import rates_apart
from billing_core.rounding import DEMAND_W_MAX
from billing_core.tariff import Tariffs
from ingest_server.billing.by_interval import Measured, Needs, by_interval, hold_sums, measure, with_profiles
from ingest_server.billing.charging import batch_of_points, charge_points
from ingest_server.billing.columns import (
    DEMAND,
    MISSING,
    NONE,
    PAST_PERIODS,
    RATES,
    REGISTERS,
    TOTAL,
    BoolArray,
    Int64Array,
    Parts,
    Points,
    chosen_parts,
    day_of,
)
from ingest_server.billing.documents import PURCHASE_PREFIX, Hold
from ingest_server.billing.findings import OpenFinding, hold_findings
from ingest_server.billing.holds import (
    Holds,
    covered,
    doubted_readings,
    hold_contracts,
    hold_falls,
    hold_issued,
    hold_uncarried,
    hold_unmetered,
    hold_unread,
)
from ingest_server.billing.sentences import Sentence
from ingest_server.billing.terms import BilledTerms, read_terms
from protocols.telemetry.reading import Quality

WH_SHOWN = 1_000  # the coarsest unit of a display; what it drops may make four registers differ
ESTIMATED = int(Quality.ESTIMATED | Quality.SUBSTITUTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What the engine made of a chunk, with what it was given.

    Parameters
    ----------
    rows
        The point of each row of the batch, ascending. [m]
    places
        The rows of the batch that are bills; the others were held by the engine. [b]
    used_wh
        What each part measured on each register, multiplied. [Wh; parts × registers]
    by_interval
        What came of load profiles that bills are made of.
    asked
        Which registers of each part the bills rest on; of a meter of generation only where the energy is known.
        [parts × registers]
    """

    points: Points
    terms: BilledTerms
    rows: Int64Array
    places: Int64Array
    asked: BoolArray
    used_wh: Int64Array
    by_interval: Measured
    batch: Batch
    charges: Charges
    tariffs: Tariffs
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Bills that can be computed, points that are held, and bills whose purchase of energy alone is held."""

    computed: Computed
    holds: list[Hold]
    purchase_holds: list[Hold]


def decide(
    points: Points,
    tariffs: Tariffs,
    thresholds: Thresholds,
    findings: list[OpenFinding] | None = None,
    *,
    correcting: bool = False,
) -> Decision:
    """Return the bills and holds of a chunk; ``findings`` are those of validation that nobody has decided on.

    They hold issued bills only where those are corrected (``correcting``).
    """
    holds = Holds(points)
    terms, unknown = read_terms(points)
    needs = Needs(rates=terms.three_rates, demand=terms.needed[:, DEMAND])
    wanted = by_interval(points, needs)
    asked = with_profiles(terms.needed[points.parts.point] & ~points.parts.generation[:, np.newaxis], wanted)
    hold_contracts(points, unknown, holds)
    hold_issued(points, holds)
    hold_unmetered(points, holds)
    hold_unread(points, _sides(asked), holds)
    hold_uncarried(points, terms, holds)
    hold_falls(points, asked, holds)
    hold_findings(points, asked, findings or [], holds, correcting=correcting)
    used_wh = use_of_parts(points, asked, holds)
    hold_rates_against_total(points, asked, used_wh, holds)
    hold_sums(points, asked, used_wh, holds)
    used_wh, profiled = measure(points, wanted, used_wh, tariffs, holds)
    measured, generation_wh = generation_of_points(points, terms)
    rows = np.flatnonzero(holds.free())
    batch = batch_of_points(points, terms, used_wh, rows, generation_wh=generation_wh, tariffs=tariffs)
    charges = charge_points(batch, terms, rows, tariffs)
    for place in np.flatnonzero(charges.hold).tolist():
        row, code = int(rows[place]), int(charges.hold[place])
        changes = tariffs.changes_within(day_of(int(points.first_day[row])), day_of(int(points.last_day[row])))
        if code == EngineHold.PRICE_CHANGE_NOT_READ.code and len(changes) > 1:
            days = ", ".join(f"{day:%d/%m/%Y}" for day in changes)
            holds.add(row, EngineHold.PRICE_CHANGE_NOT_READ.value, {"say": "several_price_changes", "days": days})
        else:
            _hold_by_engine(holds, row, code)
    places = np.flatnonzero(holds.free()[rows])
    # What a customer owes for import does not wait for a price of export: the bill goes out, its purchase is held.
    waiting = Holds(points)
    for place in places[charges.purchase.hold[places] != 0].tolist():
        _hold_by_engine(waiting, int(rows[place]), int(charges.purchase.hold[place]), PURCHASE_PREFIX)
    computed = Computed(
        points=points,
        terms=terms,
        rows=rows,
        places=places,
        asked=asked | (measured >= 0),
        used_wh=used_wh + np.maximum(measured, 0),
        by_interval=profiled,
        batch=batch,
        charges=charges,
        tariffs=tariffs,
        judgement=_control(
            points, terms, charges, thresholds, estimated=_estimated(points, asked), rows=rows[places], places=places
        ),
    )
    return Decision(computed=computed, holds=holds.listed(), purchase_holds=waiting.listed())


def _sides(asked: BoolArray) -> BoolArray:
    """Return which registers each part must have at its start and at its end; demand at the end alone."""
    sides = np.repeat(asked[:, :, np.newaxis], 2, axis=2)
    sides[:, DEMAND, 0] = False
    return sides


def use_of_parts(points: Points, asked: BoolArray, holds: Holds) -> Int64Array:
    """Return what each part measured on each register asked for, multiplied. [Wh, varh, W; parts × registers]

    Points with a register that cannot be right are held; parts of points that are held count nothing.
    """
    parts = points.parts
    wanted = asked & holds.free()[parts.point][:, np.newaxis]
    counting = wanted.copy()
    counting[:, DEMAND] = False
    part, register = np.nonzero(counting)
    used = _consumed(parts, part, register)
    for place in np.flatnonzero(used.hold).tolist():
        at, column = int(part[place]), int(register[place])
        old, new = parts.value[at, column].tolist()
        where = {"say": "register", "meter": parts.meter_id[at], "register": REGISTERS[column].value}
        sentence = {**where, "old": old, "new": new, "unit": REGISTERS[column].unit}
        _hold_by_engine(holds, int(parts.point[at]), int(used.hold[place]), before=(sentence,))
    energy = np.zeros(wanted.shape, dtype=np.int64)
    energy[part, register] = used.energy_wh
    demand = np.clip(parts.value[:, DEMAND, 1], 0, DEMAND_W_MAX + 1) * parts.multiplier
    energy[:, DEMAND] = np.where(wanted[:, DEMAND], np.minimum(demand, DEMAND_W_MAX + 1), 0)
    return energy


def hold_rates_against_total(points: Points, asked: BoolArray, used_wh: Int64Array, holds: Holds) -> None:
    """Hold points billed by three rates whose total register, where it was read too, counted another energy.

    What displays drop is no difference: less than a kWh for each of the four registers, times the multiplier. A total
    that is missing, doubted or has a hold of its own says nothing against the rates, which alone are billed.
    """
    parts = points.parts
    rated = np.flatnonzero(asked[:, RATES].all(axis=1) & holds.free()[parts.point])
    part = rated[~doubted_readings(parts, rated, TOTAL)]
    total = _consumed(parts, part, np.full_like(part, TOTAL))
    apart = rates_apart(used_wh[part, RATES].sum(axis=1), total.energy_wh, WH_SHOWN * parts.multiplier[part])
    for row in np.unique(parts.point[part[apart & (total.hold == 0)]]).tolist():
        _hold_by_engine(holds, row, EngineHold.RATES_AGAINST_TOTAL.code)


def _consumed(parts: Parts, part: Int64Array, register: Int64Array) -> Consumption:
    return consume(
        parts.value[part, register, 0],
        parts.value[part, register, 1],
        digits=parts.digits[part],
        multiplier=parts.multiplier[part],
    )


def generation_of_points(points: Points, terms: BilledTerms) -> tuple[Int64Array, Int64Array]:
    """Return what each part's meter of generation measured, and what panels of each point generated. [Wh]

    Both are ``NOT_MEASURED`` where it is not known without doubt for all days: then the purchase waits, not the bill.
    [parts × registers; n]
    """
    parts, n = points.parts, len(points)
    measured = np.full((len(parts.point), len(REGISTERS)), NOT_MEASURED, dtype=np.int64)
    generated = np.full(n, NOT_MEASURED, dtype=np.int64)
    if not (parts.generation.any() and terms.surplus.any()):
        return measured, generated
    own = np.flatnonzero(parts.generation & terms.surplus[parts.point])
    doubted = doubted_readings(parts, own, TOTAL)
    used = _consumed(parts, own, np.full_like(own, TOTAL))
    good = covered(chosen_parts(parts, own), points.start_us, points.end_us)
    good[parts.point[own[doubted | (used.hold != 0)]]] = False
    generated[good] = 0
    kept = good[parts.point[own]]
    np.add.at(generated, parts.point[own[kept]], used.energy_wh[kept])
    measured[own[kept], TOTAL] = used.energy_wh[kept]
    return measured, generated


def _hold_by_engine(
    holds: Holds, row: int, code: int, reason_prefix: str = "", *, before: tuple[Sentence, ...] = ()
) -> None:
    reason = member_of(EngineHold, code)
    holds.add(row, reason_prefix + reason.value, *before, {"say": f"engine.{reason.value}"})


def _control(
    points: Points,
    terms: BilledTerms,
    charges: Charges,
    thresholds: Thresholds,
    *,
    estimated: BoolArray,
    rows: Int64Array,
    places: Int64Array,
) -> Judgement:
    """Judge the bills in ``places`` of the batch, which are those of the points in ``rows``."""
    previous = points.previous
    days = points.last_day - points.first_day + 1
    known = previous.daily_wh[rows] != NONE
    history_days = np.broadcast_to(days[rows, np.newaxis], known.shape)
    history_wh = np.where(known, previous.daily_wh[rows] * history_days, NONE)
    had = np.array([*(each.solar_regime is not None for each in points.terms), False])[previous.terms]
    first = previous.bill_id == 0
    # Of books read two or three times a month, whose parts are half of T at most or little more, twelve are no year.
    monthly = (points.nominal_days == NONE) | (3 * days > 2 * points.nominal_days)
    return judge(
        Controlled(
            energy_wh=charges.billed_wh[places],
            days=days[rows],
            total=charges.total[places],
            history_wh=history_wh,
            history_days=history_days,
            last_year_wh=np.where(monthly[rows], history_wh[:, PAST_PERIODS - 1], NONE),
            last_year_days=history_days[:, PAST_PERIODS - 1],
            peers=points.book[rows],
            estimated=estimated[rows],
            first=first[rows],
            solar_new=((terms.solar != Solar.NONE.code) & ~had & ~first)[rows],
            terms_changed=(~first & (terms.place != previous.terms))[rows],
        ),
        thresholds,
    )


def _estimated(points: Points, asked: BoolArray) -> BoolArray:
    """Say of each point whether a register or an interval it is billed by was estimated or substituted. [n]"""
    quality = points.parts.quality
    marked = asked[:, :, np.newaxis] & (quality != MISSING) & ((quality & ESTIMATED) != 0)
    found = np.zeros(len(points), dtype=np.bool_)
    found[points.parts.point[marked.any(axis=(1, 2))]] = True
    found[points.parts.point[[each.part for each in points.profiles if each.estimated]]] = True
    return found
