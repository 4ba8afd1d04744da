"""A month that is split without a change costs what the whole does, whatever is billed; lines sum to bill and energy.

Each kind of contract stands three times: as it is, with a contract renewed on some day, and with a meter exchanged on
some day. Nothing else differs, so no line may.
"""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from ingest_server.billing.documents import Bill
from ingest_server.billing.run import run_billing
from ingest_server.registry.store import load_registry
from tests.billing_runs.district import EXPORT, GATEWAY, IMPORT, OCTOBER, RATES, Customer, District
from tests.billing_runs.test_rate_plans import FILE

pytestmark = pytest.mark.integration
REACTIVE, DEMAND = "1.0.3.8.0", "1.0.1.6.0"
MIXED = '[{"category": "business", "voltage": "lt6", "share_percent": 37}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of contract: the registers it is billed by, what the contract says, and what few contracts have."""

    registers: tuple[str, ...] = (IMPORT,)
    contract: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


LT6 = {"voltage": "lt6"}
KINDS = {
    "household": Kind(),
    "three households": Kind(contract={"households": 3}),
    "tenants": Kind(more={"tenants": 5}),
    "undeclared tenants": Kind(more={"undeclared_rental": True}),
    "prepaid": Kind(contract={"category": "prepaid"}),
    "shop": Kind(contract={"category": "business", **LT6}),
    "shop by three rates": Kind(registers=RATES, contract={"category": "business", "three_rates": True, **LT6}),
    "refused meter": Kind(contract={"category": "business", **LT6}, more={"refused_three_rates": True}),
    "school": Kind(contract={"category": "hospital_school", "voltage": "6_22"}),
    "lighting": Kind(contract={"category": "lighting_admin", **LT6}),
    "reactive": Kind(
        registers=(IMPORT, REACTIVE), contract={"category": "production", **LT6}, more={"contracted_kw": 60}
    ),
    "pilot": Kind(
        registers=(*RATES, DEMAND),
        contract={"category": "production", "voltage": "22_110", "three_rates": True},
        more={"two_component": True},
    ),
    "mixed": Kind(more={"uses": MIXED}),
    "mixed, reactive": Kind(registers=(IMPORT, REACTIVE), more={"uses": MIXED, "contracted_kw": 60}),
    "net metering": Kind(registers=(IMPORT, EXPORT), contract={"solar_regime": "net_2017"}),
    "net metering by rate": Kind(
        registers=(*RATES, "1.0.2.8.1", "1.0.2.8.2", "1.0.2.8.3"),
        contract={"category": "business", "three_rates": True, "solar_regime": "net_2017", **LT6},
    ),
    "export bought": Kind(registers=(IMPORT, EXPORT), contract={"solar_regime": "separate_2020"}),
    "plan with tiers": Kind(more={"rate_plan": "home"}),
    "plan with a ratchet": Kind(
        registers=(*RATES, DEMAND),
        contract={"category": "business", "three_rates": True, **LT6},
        more={"rate_plan": "workshop"},
    ),
    "minimum": Kind(more={"rate_plan": "minimum only"}),
}
RENEWED, EXCHANGED = 100, 200  # added to the number of the customer whose month is not split

RENEW = """
    insert into contract
    select (jsonb_populate_record(c, jsonb_build_object('valid_from', %s::date))).* from contract c
    where metering_point_id = %s
"""
END = "update contract set valid_to = %s where metering_point_id = %s and valid_from < %s"
NEW_METER = "insert into meter (meter_id, gateway_id, model, digits) values (%s, %s, 'test', 6)"
REMOVE = "update installation set removed_at = %s where metering_point_id = %s"
INSTALL = """
    insert into installation (metering_point_id, meter_id, installed_at, multiplier)
    select metering_point_id, %s, %s, multiplier from installation where metering_point_id = %s
"""


def renew(district: District, customer: Customer, days: int) -> None:
    day = OCTOBER.first_on + timedelta(days=days)
    district.connection.execute(RENEW, [day, customer.point])
    district.connection.execute(END, [day - timedelta(days=1), customer.point, day])


def exchange(district: District, customer: Customer, days: int, rng: random.Random) -> None:
    """Exchange the meter within a day; the new one begins at nought and ends where the old one would, less its part."""
    at, new = OCTOBER.start_at + timedelta(days=days, hours=rng.randrange(24)), f"N-{customer.number:04}"
    district.connection.execute(NEW_METER, [new, GATEWAY])
    district.connection.execute(INSTALL, [new, at, customer.point])
    district.connection.execute(f"{REMOVE} and meter_id = %s", [at, customer.point, customer.meter])
    for obis, (first, last) in customer.registers.items():
        district.connection.execute("insert into channel (meter_id, obis, unit) values (%s, %s, 'Wh')", [new, obis])
        read = rng.randint(first, last)
        district.store(customer.meter, obis, at, read)
        if obis == DEMAND:  # the highest since the meter was hung, on either side
            district.store(new, obis, OCTOBER.end_at, last)
        else:
            district.store(new, obis, at, 0)
            district.store(new, obis, OCTOBER.end_at, last - read)


def facts(bill: Bill) -> list[Any]:
    """Return what a bill consists of, without the readings it rests on."""
    lines = [
        (line.kind, line.tier, line.register, line.energy_wh, line.price, line.amount, line.operands.get("quota_kwh"))
        for line in bill.lines
    ]
    return [bill.energy_wh, bill.subtotal, bill.vat, bill.total, bill.purchase, lines]


def summed(bill: Bill) -> None:
    """See that a bill's lines are the bill, its energy the energy, and that a tier is full before the next begins."""
    amounts = [line.amount for line in bill.lines]
    assert (sum(amounts), sum(amounts[:-1])) == (bill.total, bill.subtotal)
    assert [line.kind for line in bill.lines][-1:] == ["vat"]
    energy = [line for line in bill.lines if line.kind == "energy"]
    assert sum(line.energy_wh or 0 for line in energy) == bill.energy_wh
    for line, following in pairwise(energy):
        if line.tier and following.tier == line.tier + 1:
            assert (line.energy_wh or 0) / 1000 == line.operands["quota_kwh"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_split_without_a_change_costs_what_the_whole_does(district: District, seed: int):
    rng = random.Random(seed)
    with psycopg.connect(district.dsn) as connection:
        load_registry(connection, FILE.read_text(), FILE.name)
    for number, kind in enumerate(KINDS.values(), 1):
        starts = {obis: 0 if obis == DEMAND else rng.randrange(10**6) for obis in kind.registers}
        registers = {obis: (start, start + rng.randrange(900_000)) for obis, start in starts.items()}
        terms: dict[str, Any] = {"registers": registers, "multiplier": rng.choice((1, 1, 20)), **kind.contract}
        whole, renewed, exchanged = (Customer(number=number + more, **terms) for more in (0, RENEWED, EXCHANGED))
        district.add([whole, renewed, exchanged])
        for customer in (whole, renewed, exchanged):
            for name, value in kind.more.items():
                statement: Any = f"update contract set {name} = %s where metering_point_id = %s"
                district.connection.execute(statement, [value, customer.point])
        renew(district, renewed, rng.randint(1, 30))
        exchange(district, exchanged, rng.randint(1, 29), rng)
    summary = run_billing(district.dsn, OCTOBER)
    assert [hold for hold in summary.holds if not hold.reason.startswith("purchase_")] == []
    bills = {bill.metering_point_id: bill for bill in summary.bills}
    for number, name in enumerate(KINDS, 1):
        whole, *split = (bills[Customer(number=number + more, registers={}).point] for more in (0, RENEWED, EXCHANGED))
        summed(whole)
        assert [facts(each) for each in split] == [facts(whole)] * 2, name
