"""Decide: columns of one chunk in, bills, holds and what control says of the bills out. No database, no clock.

The arithmetic is on whole columns. Python loops run only over what is held, whose details are texts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import Batch, batch_of
from billing_core.charges import Charges
from billing_core.codes import HOLD_TEXTS, Solar, member_of
from billing_core.codes import Hold as EngineHold
from billing_core.consumption import consume
from billing_core.control.judge import Controlled, Judgement, judge
from billing_core.control.thresholds import Thresholds
from billing_core.engine import charge
from billing_core.tariff import Tariffs
from ingest_server.billing.columns import (
    EXPORT,
    MISSING,
    NONE,
    PAST_PERIODS,
    RATES,
    REGISTERS,
    TOTAL,
    BoolArray,
    Int64Array,
    Points,
)
from ingest_server.billing.documents import PURCHASE_PREFIX, Hold
from ingest_server.billing.holds import Holds, hold_contracts, hold_uncarried, hold_unmetered, hold_unread
from ingest_server.billing.terms import BilledTerms, read_terms
from protocols.telemetry.reading import Quality

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
    needed
        Which registers each point's bill rests on. [n × registers]
    """

    points: Points
    terms: BilledTerms
    rows: Int64Array
    places: Int64Array
    needed: BoolArray
    used_wh: Int64Array
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


def decide(points: Points, tariffs: Tariffs, thresholds: Thresholds) -> Decision:
    """Return the bills and holds of a chunk."""
    holds = Holds(points)
    terms, unknown = read_terms(points)
    needed = terms.needed
    hold_contracts(points, terms, unknown, holds)
    hold_unmetered(points, holds)
    hold_unread(points, needed, holds)
    hold_uncarried(points, terms, holds)
    used_wh = use_of_parts(points, needed, holds)
    rows = np.flatnonzero(holds.free())
    batch = batch_of_points(points, terms, used_wh, rows)
    charges = charge(batch, tariffs)
    for place in np.flatnonzero(charges.hold).tolist():
        _hold_by_engine(holds, int(rows[place]), int(charges.hold[place]))
    places = np.flatnonzero(charges.hold == 0)
    # What a customer owes for import does not wait for a price of export: the bill goes out, its purchase is held.
    waiting = Holds(points)
    for place in places[charges.purchase.hold[places] != 0].tolist():
        _hold_by_engine(waiting, int(rows[place]), int(charges.purchase.hold[place]), PURCHASE_PREFIX)
    computed = Computed(
        points=points,
        terms=terms,
        rows=rows,
        places=places,
        needed=needed,
        used_wh=used_wh,
        batch=batch,
        charges=charges,
        tariffs=tariffs,
        judgement=_control(points, terms, charges, thresholds, rows=rows[places], places=places),
    )
    return Decision(computed=computed, holds=holds.listed(), purchase_holds=waiting.listed())


def use_of_parts(points: Points, needed: BoolArray, holds: Holds) -> Int64Array:
    """Return what each part measured on each register that its bill needs, multiplied. [Wh; parts × registers]

    Points with a register that cannot be right are held; parts of points that are held count nothing.
    """
    parts = points.parts
    wanted = needed[parts.point] & holds.free()[parts.point][:, np.newaxis]
    part, register = np.nonzero(wanted)
    used = consume(
        parts.value[part, register, 0],
        parts.value[part, register, 1],
        digits=parts.digits[part],
        multiplier=parts.multiplier[part],
    )
    for place in np.flatnonzero(used.hold).tolist():
        at, column = int(part[place]), int(register[place])
        old, new = parts.value[at, column].tolist()
        where = f"meter {parts.meter_id[at]}, register {REGISTERS[column].value}, {old} Wh to {new} Wh: "
        _hold_by_engine(holds, int(parts.point[at]), int(used.hold[place]), detail_prefix=where)
    energy = np.zeros(wanted.shape, dtype=np.int64)
    energy[part, register] = used.energy_wh
    return energy


def batch_of_points(points: Points, terms: BilledTerms, used_wh: Int64Array, rows: Int64Array) -> Batch:
    """Return the engine's batch for the points in ``rows``: the parts of each added up, and the contracts' terms."""
    used = np.zeros((len(points), len(REGISTERS)), dtype=np.int64)
    np.add.at(used, points.parts.point, used_wh)
    used = used[rows]
    three_rates = terms.three_rates[rows]
    energy = np.where(three_rates[:, np.newaxis], used[:, RATES], 0)
    energy[:, 0] += np.where(three_rates, 0, used[:, TOTAL])
    return batch_of(
        energy_wh=energy,
        start_on=points.first_day[rows].astype("datetime64[D]"),
        end_on=points.last_day[rows].astype("datetime64[D]"),
        category=terms.category[rows],
        voltage=terms.voltage[rows],
        three_rates=three_rates,
        households=terms.households[rows],
        # A meter that is read at a distance is read at a change of price too; sharing by days would be a guess.
        share_by_days=False,
        export_wh=used[:, EXPORT],
        carry_in_wh=np.where(terms.solar == Solar.NET_2017.code, points.previous.carried_out_wh, 0)[rows],
        settle_carry=terms.settle_carry[rows],
        solar=terms.solar[rows],
    )


def _hold_by_engine(holds: Holds, row: int, code: int, reason_prefix: str = "", *, detail_prefix: str = "") -> None:
    reason = member_of(EngineHold, code)
    holds.add(row, reason_prefix + reason.value, detail_prefix + HOLD_TEXTS[reason])


def _control(
    points: Points,
    terms: BilledTerms,
    charges: Charges,
    thresholds: Thresholds,
    *,
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
    return judge(
        Controlled(
            energy_wh=charges.billed_wh[places],
            days=days[rows],
            total=charges.total[places],
            history_wh=history_wh,
            history_days=history_days,
            last_year_wh=history_wh[:, PAST_PERIODS - 1],
            last_year_days=history_days[:, PAST_PERIODS - 1],
            peers=points.book[rows],
            estimated=_estimated(points, terms.needed)[rows],
            first=first[rows],
            solar_new=((terms.solar != Solar.NONE.code) & ~had & ~first)[rows],
            terms_changed=(~first & (terms.place != previous.terms))[rows],
        ),
        thresholds,
    )


def _estimated(points: Points, needed: BoolArray) -> NDArray[np.bool_]:
    """Say of each point whether a register it is billed by was estimated or substituted. [n]"""
    quality = points.parts.quality
    marked = needed[points.parts.point][:, :, np.newaxis] & (quality != MISSING) & ((quality & ESTIMATED) != 0)
    found = np.zeros(len(points), dtype=np.bool_)
    found[points.parts.point[marked.any(axis=(1, 2))]] = True
    return found
