"""A computed row becomes a bill: its inputs, its lines and its purchase, each with the operands that explain it."""

from dataclasses import dataclass
from typing import Any

from billing_core.batch import Batch
from billing_core.charges import Charges
from billing_core.codes import LineKind, Solar, member_of
from billing_core.line import BillLine, bill_lines, purchase_line, vat_line
from billing_core.tariff import Tariffs
from ingest_server.billing.columns import REGISTERS, Int64Array, Parts, Points
from ingest_server.billing.documents import Bill, Line, Purchase, instant_text
from ingest_server.billing.period import instant_of

INPUTS_SCHEMA = 1  # of the canonical inputs; another one makes other hashes, so it never changes for bills already made


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What the engine made of a chunk, with what it was given.

    Parameters
    ----------
    rows
        The point of each row of the batch. [m]
    used_wh
        What each part measured on each register, multiplied. [Wh; parts × registers]
    needed
        Which registers each point's bill rests on. [n × registers]
    """

    points: Points
    rows: Int64Array
    needed: Any
    used_wh: Int64Array
    batch: Batch
    charges: Charges
    tariffs: Tariffs


def compose_bill(computed: Computed, place: int) -> Bill:
    """Return the bill in row ``place`` of the batch, which was not held."""
    points, batch, charges = computed.points, computed.batch, computed.charges
    row = int(computed.rows[place])
    lines = bill_lines(batch, charges, place)
    tax = vat_line(batch, charges, place, computed.tariffs)
    return Bill(
        metering_point_id=points.metering_point_id[row],
        first_on=points.first_on[row],
        last_on=points.last_on[row],
        energy_wh=int(charges.billed_wh[place]),
        subtotal=int(charges.subtotal[place]),
        vat=int(charges.vat[place]),
        total=int(charges.total[place]),
        inputs=_inputs(computed, row, place, [*lines, tax]),
        lines=(*(_line(line) for line in lines), _line(tax)),
        purchase=_purchase(computed, place),
    )


def _line(line: BillLine) -> Line:
    return Line(
        kind=line.kind.value,
        tier=line.tier,
        register=None if line.tier or line.register is None else line.register.value,
        energy_wh=None if line.price is None else line.energy_wh,
        price=line.price,
        amount=line.amount,
        operands=line.to_json(),
    )


def _inputs(computed: Computed, row: int, place: int, lines: list[BillLine]) -> dict[str, Any]:
    points, batch = computed.points, computed.batch
    [contract] = points.contracts[row]
    previous = points.previous[row]
    inputs: dict[str, Any] = {
        "schema": INPUTS_SCHEMA,
        "metering_point_id": points.metering_point_id[row],
        "from": points.first_on[row].isoformat(),
        "to": points.last_on[row].isoformat(),
        "contract": {
            "category": contract.category,
            "voltage": contract.voltage,
            "households": contract.households,
            "three_rates": contract.three_rates,
            "solar_regime": contract.solar_regime,
        },
        "meters": [_meter(computed, row, part) for part in _parts_of(points.parts, row)],
        "tariff": _tariff(computed, place, lines),
    }
    if contract.solar_regime == Solar.NET_2017.value:
        inputs["carried_in_wh"] = int(batch.carry_in_wh[place])
        inputs["carried_from"] = None if previous is None else previous.period_to.isoformat()
        inputs["settle_carry"] = bool(batch.settle_carry[place])
    return inputs


def _tariff(computed: Computed, place: int, lines: list[BillLine]) -> dict[str, Any]:
    """Return the acts and the prices this bill rests on, so that a corrected price shows as another input.

    The price of solar energy is not among them: the purchase is a document of its own and may come later.
    """
    return {
        "acts": sorted({line.act for line in lines if line.kind is not LineKind.VAT}),
        "prices": [line.price for line in lines if line.price is not None],
        "vat_permille": int(computed.charges.vat_permille[place]),
    }


def _parts_of(parts: Parts, row: int) -> range:
    return range(int(parts.point.searchsorted(row)), int(parts.point.searchsorted(row, side="right")))


def _meter(computed: Computed, row: int, part: int) -> dict[str, Any]:
    """Return one meter's part of the period: what its registers said, and what follows."""
    parts = computed.points.parts
    at = [instant_text(instant_of(int(us[part]))) for us in (parts.start_us, parts.end_us)]
    return {
        "meter_id": parts.meter_id[part],
        "multiplier": int(parts.multiplier[part]),
        "digits": int(parts.digits[part]),
        "registers": [
            {
                "register": register.name if register.name != "EXPORT" else "export",
                "obis": register.value,
                "readings": [
                    {
                        "at": at[side],
                        "value_wh": int(parts.value[part, column, side]),
                        "quality": int(parts.quality[part, column, side]),
                    }
                    for side in (0, 1)
                ],
                "energy_wh": int(computed.used_wh[part, column]),
            }
            for column, register in enumerate(REGISTERS)
            if computed.needed[row, column]
        ],
    }


def _purchase(computed: Computed, place: int) -> Purchase | None:
    """Return what is bought and carried; none without a solar contract, or if the purchase is held."""
    batch, charges = computed.batch, computed.charges
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
        carried_in_wh=int(batch.carry_in_wh[place]),
        carried_out_wh=int(bought.carry_out_wh[place]),
        operands={
            "method": rule.method,
            "act": rule.act,
            "import_wh": int(batch.energy_wh[place].sum()),
            "export_wh": int(batch.export_wh[place]),
            "line": None if line is None else line.to_json(),
        },
    )
