"""The arithmetic of back-billing: bills as they stand, priced as they were and as they should have been.

The document of a difference is the bill as it should have been: the lines that stand, less those of the wrong price,
with those of the right one. So it says line by line what is missing or too much, as every difference does, also where
the wrong price began within the bill.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from billing_core.back_billing import Corrections, correct_bills, corrected_from
from billing_core.batch import NO_PLAN, NOT_MEASURED, Batch
from billing_core.charges import Charges
from billing_core.codes import Category, Solar, Voltage, member_of
from billing_core.codes import Hold as EngineHold
from billing_core.engine import charge
from billing_core.line import vat_line
from billing_core.rate_plan import RatePlan, rate_plan_from_json
from billing_core.solar import settle_solar, with_netted_change
from billing_core.tariff import Tariffs
from ingest_server.billing.columns import Int64Array, Terms
from ingest_server.billing.decide import Computed
from ingest_server.billing.documents import canonical_text
from ingest_server.billing.pack import line_of, slot_text, what_counts

MARK = b"congto back-billing 1"
FLAGS = ("undeclared_rental", "refused_three_rates")  # that only homes, or only others, can have


class Line(NamedTuple):
    """A line of a document: slot in canonical form, energy, amount, and what it needs besides. [Wh, đ]"""

    slot: str
    wh: int
    amount: int
    extra: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the electricity was used for. None, or an empty ``rate_plan`` for no plan: as it was billed."""

    category: Category | None = None
    voltage: Voltage | None = None
    rate_plan: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What was found to be wrong: the right use, when that was found, and since when it is so, if anybody knows."""

    right: Use
    found_on: date
    since_on: date | None

    @property
    def first_on(self) -> date:
        """The first day that is priced again: twelve months back where nobody knows."""
        return corrected_from(self.found_on, self.since_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackBilled:
    """A bill priced again, or why it is not.

    Parameters
    ----------
    first_on, last_on
        Of the bill's days those that are priced again.
    energy_wh
        What was used on these. [Wh]
    before
        What the bill stands at with its differences, tax included. [đ]
    energy_difference, subtotal, vat, total
        Right less wrong; ``total`` with tax. [Wh, đ]
    refused
        Why the bill is left alone: a reason of :mod:`ingest_server.billing.back_bill_words` or of a hold; empty if not.
    about
        The number of a difference that is in the way; 0 for none.
    document
        The whole bill as it should have been.
    right_hash
        Of the inputs of the whole bill by a contract of the right use; empty where only some days are priced again.
    """

    bill_id: int
    metering_point_id: str
    period_from: date
    period_to: date
    first_on: date
    last_on: date
    before: int
    energy_wh: int = 0
    energy_difference: int = 0
    subtotal: int = 0
    vat: int = 0
    total: int = 0
    refused: str = ""
    about: int = 0
    document: tuple[Line, ...] = ()
    terms: Terms | None = None
    metered: tuple[int, ...] = ()
    inputs_hash: bytes = b""
    document_hash: bytes = b""
    right_hash: bytes = b""


class Asked(NamedTuple):
    """A standing bill that is to be priced again: its row, its place in the batch, its right rate plan as JSON."""

    row: dict[str, Any]
    place: int
    plan: str | None


def priced(computed: Computed, asked: Sequence[Asked], wrong: Wrong, tariffs: Tariffs) -> list[BackBilled]:
    """Return bills priced for the right use, those that can't be with their reason, in no order."""
    if not asked:
        return []
    terms = [_right_terms(each.row, wrong.right, each.plan) for each in asked]
    prices = _Prices(wrong, tariffs, (*computed.terms.plans, *_parsed(terms)))
    right = _columns(terms, prices.plans)
    batch = _as_billed(computed, np.array([each.place for each in asked], dtype=np.int64), tariffs)
    whole = charge(batch, tariffs, plans=prices.plans)
    own_price = np.array([*(plan.prices_energy for plan in prices.plans), False])[right["rate_plan"]]
    found = []
    for masked in (False, True):
        group = np.flatnonzero(own_price == masked)
        columns = {name: column[group] for name, column in right.items()}
        if masked:  # what reactive energy costs is the acts' to say, not a plan's
            columns |= {"reactive_varh": np.full(group.size, NOT_MEASURED)}
            columns |= {name: np.zeros(group.size, dtype=np.bool_) for name in ("two_component", *FLAGS)}
        if not group.size:
            continue
        corrections = correct_bills(
            rows_of(batch, group),
            columns,
            tariffs,
            found_on=wrong.found_on,
            since_on=wrong.since_on,
            plans=prices.plans,
        )
        for place, own in enumerate(corrections.bill.tolist()):
            at = int(group[own])
            if stands(whole, at, asked[at].row):
                found.append(_one(asked[at].row, terms[at], corrections, place, prices))
            else:
                found.append(refused(asked[at].row, wrong, "not_the_same"))
    return found


def stands(charges: Charges, place: int, row: dict[str, Any]) -> bool:
    """Say whether a bill that was computed again comes to what it stands at."""
    came = (charges.billed_wh[place], charges.subtotal[place], charges.vat[place], charges.total[place])
    return [int(each) for each in came] == [row[name] for name in ("energy_wh", "subtotal", "vat", "total")]


def refused(row: dict[str, Any], wrong: Wrong, reason: str, about: int = 0) -> BackBilled:
    """Return a bill that is left alone, with its reason."""
    return BackBilled(
        bill_id=row["bill_id"],
        metering_point_id=row["metering_point_id"],
        period_from=row["period_from"],
        period_to=row["period_to"],
        first_on=max(row["period_from"], wrong.first_on),
        last_on=row["period_to"],
        before=row["total"],
        refused=reason,
        about=about,
    )


def _right_terms(row: dict[str, Any], right: Use, plan: str | None) -> Terms:
    """Return the terms of a contract with the right use: what only homes or only others can have falls away."""
    own = Terms(**{each.name: row[each.name] for each in fields(Terms)})
    category = own.category if right.category is None else right.category.value
    home = category == Category.RESIDENTIAL.value
    return replace(
        own,
        category=category,
        voltage=own.voltage if right.voltage is None else right.voltage.value,
        rate_plan=plan,
        undeclared_rental=own.undeclared_rental and home,
        refused_three_rates=own.refused_three_rates and not home,
    )


def _columns(terms: list[Terms], known: Sequence[RatePlan]) -> dict[str, Any]:
    """Return the columns of the engine that the right use changes. [n each]"""
    place_of = {plan: place for place, plan in reversed(list(enumerate(known)))}
    texts = [None if each.rate_plan is None else rate_plan_from_json(json.loads(each.rate_plan)) for each in terms]
    return {
        "category": np.array([Category(each.category).code for each in terms], dtype=np.int8),
        "voltage": np.array([Voltage(each.voltage or Voltage.LT6.value).code for each in terms], dtype=np.int8),
        "rate_plan": np.array([NO_PLAN if plan is None else place_of[plan] for plan in texts], dtype=np.int64),
        **{name: np.array([getattr(each, name) for each in terms], dtype=np.bool_) for name in FLAGS},
    }


def _parsed(terms: list[Terms]) -> list[RatePlan]:
    texts = {each.rate_plan for each in terms if each.rate_plan is not None}
    return [rate_plan_from_json(json.loads(text)) for text in sorted(texts)]


def _as_billed(computed: Computed, places: Int64Array, tariffs: Tariffs) -> Batch:
    """Return bills as back-billing takes them: energy after net metering, and nothing of the sun besides."""
    batch = rows_of(computed.batch, places)
    energy, _ = settle_solar(batch, tariffs)
    none = np.full(len(places), Solar.NONE.code, dtype=np.int8)
    return replace(with_netted_change(batch, energy), energy_wh=energy, solar=none)


def rows_of(batch: Batch, rows: Int64Array) -> Batch:
    """Return some rows of a batch."""
    return Batch(**{each.name: getattr(batch, each.name)[rows] for each in fields(Batch)})


@dataclass(frozen=True, slots=True)
class _Prices:
    wrong: Wrong
    tariffs: Tariffs
    plans: tuple[RatePlan, ...]


def _one(row: dict[str, Any], terms: Terms, corrections: Corrections, place: int, prices: _Prices) -> BackBilled:
    """Return one bill priced again, with the document of its difference."""
    if corrections.hold[place]:
        return refused(row, prices.wrong, str(member_of(EngineHold, int(corrections.hold[place])).value))
    stood = [
        Line(canonical_text(slot), *figures)
        for slot, *figures in zip(row["slots"], row["line_wh"], row["line_amount"], row["line_extra"], strict=True)
    ]
    less = _lines(corrections.billed, corrections.wrong, place, prices)
    more = _lines(corrections.corrected, corrections.right, place, prices)
    document = merged(stood, less, more)
    subtotal, vat, total = (int(column[place]) for column in (corrections.subtotal, corrections.vat, corrections.total))
    energy = int(corrections.right.billed_wh[place] - corrections.wrong.billed_wh[place])
    first_on = corrections.start_on[place].item()
    counted = [[what_counts(line.slot), *line[1:]] for line in document]
    said = canonical_text([row["bill_id"], first_on.isoformat(), [energy, subtotal, vat, total], counted])
    return replace(
        refused(row, prices.wrong, ""),
        first_on=first_on,
        energy_wh=int(corrections.right.billed_wh[place]),
        energy_difference=energy,
        subtotal=subtotal,
        vat=vat,
        total=total,
        document=document,
        terms=terms,
        metered=tuple(row["metered"]),
        inputs_hash=bytes(row["inputs_hash"]),
        document_hash=sha256(MARK + bytes(row["document_hash"]) + said.encode()).digest(),
    )


def _lines(batch: Batch, charges: Charges, bill: int, prices: _Prices) -> list[Line]:
    """Return the lines of one computed bill, tax last."""
    lines = charges.lines()
    tax = vat_line(batch, charges, bill, prices.tariffs, plans=prices.plans)
    return [
        *(
            Line(
                slot_text(line_of(lines.slots[int(lines.slot[at])])),
                *(int(column[at]) for column in (lines.energy_wh, lines.amount, lines.extra)),
            )
            for at in np.flatnonzero(lines.bill == bill).tolist()
        ),
        Line(slot_text(tax), 0, tax.amount, int(charges.vat_permille[bill])),
    ]


def merged(stood: Sequence[Line], less: Sequence[Line], more: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines that stand, without ``less`` and with ``more``, tax last; lines that come to nothing fall out.

    What is taken off without having stood, because the days are others, stays as a line below zero.
    """
    found: dict[str, Line] = {}
    for sign, lines in ((1, stood), (-1, less), (1, more)):
        for line in lines:
            key = what_counts(line.slot)
            before = found.get(key, Line(line.slot, 0, 0, line.extra))
            extra = line.extra if sign > 0 else before.extra
            found[key] = Line(before.slot, before.wh + sign * line.wh, before.amount + sign * line.amount, extra)
    kept = [line for line in found.values() if line.wh or line.amount]
    return tuple(sorted(kept, key=lambda line: json.loads(line.slot)["kind"] == "vat"))
