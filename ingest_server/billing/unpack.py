"""A packed bill as people and JSON read it: its inputs, its lines and its purchase, each with its operands.

Computed bills and stored ones come through here alike, so what a dry run shows is what will be read later. Nothing is
computed again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from billing_core.batch import Batch
from billing_core.charges import SURCHARGE_STEP
from billing_core.codes import LineKind, Solar, member_of
from billing_core.line import ENERGY_KEYS, WITHOUT_QUANTITY, BillLine, purchase_line, wh_as_kwh
from billing_core.solar import Purchase as Bought
from billing_core.tariff import SolarRule
from ingest_server.billing.columns import MISSING, MeterRegister, Terms, day_of
from ingest_server.billing.documents import Bill, Line, Purchase, instant_text
from ingest_server.billing.pack import DIGITS_STEP, METERED, Packed, carried_in_wh
from ingest_server.billing.period import instant_of

INPUTS_SCHEMA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bill as the table ``bill`` has it, with its terms and slots looked up. [Wh, đ]

    ``channels`` gives meter and OBIS code of each channel in ``metered``.
    """

    metering_point_id: str
    first_on: date
    last_on: date
    energy_wh: int
    subtotal: int
    vat: int
    total: int
    terms: Terms
    metered: Sequence[int]
    slots: Sequence[Mapping[str, Any]]
    line_wh: Sequence[int]
    line_amount: Sequence[int]
    line_extra: Sequence[int]
    more: Mapping[str, Any]
    channels: Mapping[int, tuple[str, str]]


def lines_of(row: Row) -> tuple[Line, ...]:
    """Return the lines of a bill with the operands that explain them."""
    found, before, use = [], 0, ""
    for slot, *figures in zip(row.slots, row.line_wh, row.line_amount, row.line_extra, strict=True):
        if slot["kind"] == LineKind.ENERGY.value and slot["clause"].partition(",")[0] != use:
            before, use = 0, slot["clause"].partition(",")[0]  # of the next use, if there are several
        line = _line(row, slot, figures, before)
        price = None if line.kind in WITHOUT_QUANTITY else line.price  # of a month's charge the operands say it
        found.append(
            Line(
                kind=line.kind.value,
                tier=line.tier,
                register=None if line.tier or line.register is None else line.register.value,
                energy_wh=None if price is None else line.energy_wh,
                price=price,
                amount=line.amount,
                operands=line.to_json(),
            )
        )
        before += line.amount
    return tuple(found)


def _line(row: Row, slot: Mapping[str, Any], figures: Sequence[int], before: int) -> BillLine:
    """Return one line; ``before`` is what the lines above it come to, which reactive energy is a share of."""
    wh, amount, extra = figures
    kind = LineKind(slot["kind"])
    found = {**slot, "amount": amount}
    if kind is LineKind.VAT:
        found["base_amount"] = row.subtotal
    elif kind is LineKind.MINIMUM:
        found |= {"base_amount": row.subtotal - amount, "least": extra}
    elif kind is not LineKind.FIXED:
        found[ENERGY_KEYS.get(kind, "kwh")] = wh_as_kwh(wh)
    if kind is LineKind.REACTIVE:
        factor, surcharge_bp = divmod(extra, SURCHARGE_STEP)
        found |= {"power_factor": factor / 100, "share": str(Fraction(surcharge_bp, 10_000)), "base_amount": before}
    if kind is LineKind.DEMAND and extra >= 0:
        found["drawn_kw"] = wh_as_kwh(extra)
    if "ratchet" in slot:
        found["before_kw"] = wh_as_kwh(row.more["demand_before_w"])
    if slot["formula"] == "tier":
        found["households"] = str(_households(row, slot))
        if extra >= 0:
            found["quota_kwh"] = wh_as_kwh(extra)
    return BillLine.from_json(found)


def _households(row: Row, slot: Mapping[str, Any]) -> Fraction:
    """Return the households of a line, where they change the average over its days."""
    own = Fraction(row.terms.households, row.terms.households_parts)
    changes = changes_of_households(row.more)
    if not changes:
        return own
    first, last = date.fromisoformat(slot["from"]), date.fromisoformat(slot["to"])
    days, left, counted = (last - first).days + 1, 0, Fraction(0)
    for day, households in reversed(changes):
        until_end = min(max((last - day).days + 1, 0), days)
        counted += households * (until_end - left)
        left = until_end
    return (counted + own * (days - left)) / days


def changes_of_households(more: Mapping[str, Any]) -> list[tuple[date, Fraction]]:
    """Return the first days of other numbers of households within a bill, in order, and these numbers."""
    listed = more.get("households_changes", [])
    if "households_changed_on" in more:
        listed = [(more["households_changed_on"], more["households_after"])]
    return [(date.fromisoformat(day), Fraction(households)) for day, households in listed]


def inputs_of(row: Row, lines: Sequence[Line]) -> dict[str, Any]:
    """Return what a bill rests on.

    The price of solar energy is not part of it: the purchase is a document of its own and may come later.
    """
    vat_permille = [extra for slot, extra in zip(row.slots, row.line_extra, strict=True) if slot["kind"] == "vat"]
    return {
        "schema": INPUTS_SCHEMA,
        "metering_point_id": row.metering_point_id,
        "from": row.first_on.isoformat(),
        "to": row.last_on.isoformat(),
        "contract": row.terms.to_json(),
        "meters": _meters(row),
        "tariff": {
            "acts": sorted({line.operands["act"] for line in lines if line.kind != LineKind.VAT.value}),
            "prices": [line.price for line in lines if line.price is not None],
            "vat_permille": vat_permille[0] if vat_permille else None,
        },
        **row.more,
    }


def _meters(row: Row) -> list[dict[str, Any]]:
    """Return each meter's part of the period: what its registers said, and what follows."""
    meters: list[dict[str, Any]] = []
    last = None
    for at in range(0, len(row.metered), METERED):
        channel, start_us, old, old_quality, end_us, new, new_quality, factor, energy = row.metered[at : at + METERED]
        meter_id, obis = row.channels[channel]
        if last != (meter_id, start_us):
            last = (meter_id, start_us)
            multiplier, digits = divmod(factor, DIGITS_STEP)
            meters.append({"meter_id": meter_id, "multiplier": multiplier, "digits": digits, "registers": []})
            if meter_id in row.more.get("generation_meters", ()):
                meters[-1]["role"] = "generation"
        readings = [
            {"at": instant_text(instant_of(us)), "value_wh": value, "quality": quality}
            for us, value, quality in ((start_us, old, old_quality), (end_us, new, new_quality))
            if quality != MISSING  # of demand nothing at the start
        ]
        register = MeterRegister(obis).label
        meters[-1]["registers"].append({"register": register, "obis": obis, "readings": readings, "energy_wh": energy})
    return meters


def bill_of(row: Row, purchase: Purchase | None) -> Bill:
    """Return a bill as a value."""
    lines = lines_of(row)
    return Bill(
        metering_point_id=row.metering_point_id,
        first_on=row.first_on,
        last_on=row.last_on,
        energy_wh=row.energy_wh,
        subtotal=row.subtotal,
        vat=row.vat,
        total=row.total,
        inputs=inputs_of(row, lines),
        lines=lines,
        purchase=purchase,
    )


def computed_bill(packed: Packed, bill: int) -> Bill:
    """Return a bill that was just computed."""
    return bill_of(_computed_row(packed, bill), purchase_of(packed, bill))


def _computed_row(packed: Packed, bill: int) -> Row:
    computed, points = packed.computed, packed.computed.points
    place, row = int(computed.places[bill]), int(packed.rows[bill])
    metered = packed.metered[packed.metered_first[bill] : packed.metered_first[bill + 1]].reshape(-1).tolist()
    span = slice(int(packed.line_first[bill]), int(packed.line_first[bill + 1]))
    parts = points.parts
    mine = slice(int(parts.point.searchsorted(row)), int(parts.point.searchsorted(row, side="right")))
    channels = {
        channel: (meter_id, register.value)
        for meter_id, own in zip(parts.meter_id[mine], parts.channel[mine].tolist(), strict=True)
        for channel, register in zip(own, MeterRegister, strict=True)
    }
    charges = computed.charges
    return Row(
        metering_point_id=points.metering_point_id[row],
        first_on=day_of(int(points.first_day[row])),
        last_on=day_of(int(points.last_day[row])),
        energy_wh=int(charges.billed_wh[place]),
        subtotal=int(charges.subtotal[place]),
        vat=int(charges.vat[place]),
        total=int(charges.total[place]),
        terms=points.terms[int(computed.terms.place[row])],
        metered=metered,
        slots=[json.loads(packed.slots[slot]) for slot in packed.line_slot[span].tolist()],
        line_wh=packed.line_wh[span].tolist(),
        line_amount=packed.line_amount[span].tolist(),
        line_extra=packed.line_extra[span].tolist(),
        more=json.loads(packed.more[bill] or "{}"),
        channels=channels,
    )


def purchase_of(packed: Packed, bill: int) -> Purchase | None:
    """Return what is bought and carried; none without a solar contract, or if the purchase is held."""
    computed = packed.computed
    batch, charges, place = computed.batch, computed.charges, int(computed.places[bill])
    regime = member_of(Solar, int(batch.solar[place]))
    if regime is Solar.NONE or charges.purchase.hold[place]:
        return None
    rule = computed.tariffs.solar_rule(regime)
    line = purchase_line(batch, charges, place, computed.tariffs)
    bought = charges.purchase
    return Purchase(
        regime=regime.value,
        energy_wh=int(bought.energy_wh[place]),
        price=int(bought.price[place]),
        amount=int(bought.amount[place]),
        carried_in_wh=carried_in_wh(batch, place),
        carried_out_wh=int(bought.carry_out_wh[place]),
        carried_cd_wh=int(bought.carry_out_rates_wh[place, 1]),
        carried_td_wh=int(bought.carry_out_rates_wh[place, 2]),
        operands={
            "method": rule.method,
            "act": rule.act,
            "import_wh": int(batch.energy_wh[place].sum()),
            "export_wh": int(batch.export_wh[place]),
            "line": None if line is None else line.to_json(),
            **_rates_netted(batch, bought, place, rule),
        },
    )


def _rates_netted(batch: Batch, bought: Bought, place: int, rule: SolarRule) -> dict[str, Any]:
    """Return what was netted at each rate, and how sure it is that this is right; nothing where it was not by rate."""
    if rule.method != "net" or not batch.three_rates[place]:
        return {}
    carried = batch.carry_in_rates_wh[place] + [int(batch.carry_in_wh[place]), 0, 0]
    return {
        "import_rates_wh": batch.energy_wh[place].tolist(),
        "export_rates_wh": batch.export_rates_wh[place].tolist(),
        "carried_in_rates_wh": carried.tolist(),
        "carried_out_rates_wh": bought.carry_out_rates_wh[place].tolist(),
        "by_rate_certainty": rule.net_by_rate_certainty.value,
        "by_rate_source": rule.net_by_rate_source,
    }
