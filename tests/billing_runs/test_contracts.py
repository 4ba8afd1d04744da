"""What contracts may say beyond a category: each is billed as the same facts are quoted, and replays the same."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from billing_core.codes import Category, Solar, Voltage
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.period import Period
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.billing.stored import load_bill
from protocols.telemetry.reading import Quality
from tests.billing_runs.district import EXPORT, IMPORT, OCTOBER, RATES, Customer, District, household

pytestmark = pytest.mark.integration
CHANGE_ON = date(2026, 10, 11)
CHANGE_AT = OCTOBER.start_at + timedelta(days=10)
MAY = Period.of_month("2025-05")  # Decision 1279/QĐ-BCT came into force on the 10th
PRICE_CHANGE_AT = MAY.start_at + timedelta(days=9)
REACTIVE, DEMAND = "1.0.3.8.0", "1.0.1.6.0"
CONTRACT_BEFORE = "update contract set valid_to = %s where metering_point_id = %s"
CONTRACT_AFTER = """
    insert into contract (metering_point_id, valid_from, category, voltage, households) values (%s, %s, %s, %s, %s)
"""


def agree(district: District, customer: Customer, **terms: object) -> None:
    """Write into a customer's contract what few contracts have."""
    for name, value in terms.items():
        statement: Any = f"update contract set {name} = %s where metering_point_id = %s"
        district.connection.execute(statement, [value, customer.point])


def change_contract(
    district: District, customer: Customer, category: str, voltage: str | None = None, households: int = 1
) -> None:
    """End a customer's contract on the tenth and begin another one."""
    district.connection.execute(CONTRACT_BEFORE, [CHANGE_ON - timedelta(days=1), customer.point])
    district.connection.execute(CONTRACT_AFTER, [customer.point, CHANGE_ON, category, voltage, households])


def bill(district: District, period: Period = OCTOBER) -> Summary:
    """Bill a period, and see that every bill of the database replays to the same bytes, and is explained."""
    summary = run_billing(district.dsn, period)
    assert [each.why for each in replay(district.connection) if not each.same] == []
    for (bill_id,) in district.rows("select bill_id from bill"):
        stored = load_bill(district.connection, bill_id)
        assert stored is not None
        assert sum(line["amount"] for line in stored["lines"]) == stored["total"]
    return summary


def quoted(energy_wh: int | Sequence[int], period: Period = OCTOBER, **more: Any) -> tuple[int, int]:
    energy = energy_wh if isinstance(energy_wh, int) else tuple(energy_wh)
    given = {"category": Category.RESIDENTIAL, "start_on": period.first_on, "end_on": period.last_on}
    answer = quote(QuoteRequest(**{**given, "energy_wh": energy, **more}))  # type: ignore[arg-type]
    return answer.subtotal, answer.total


def totals(summary: Summary) -> list[tuple[int, int]]:
    return [(each.subtotal, each.total) for each in summary.bills]


def test_a_contract_renewed_with_the_same_terms_is_one_bill(district: District):
    district.add([household(1)])
    change_contract(district, household(1), "residential")
    assert totals(bill(district)) == [quoted(165_000)]


def test_a_change_of_category_makes_a_bill_of_each_part_by_the_reading_between(district: District):
    changed = household(1)
    district.add([changed, household(2)])
    change_contract(district, changed, "business", "lt6")
    held = bill(district)
    assert [(hold.metering_point_id, hold.reason) for hold in held.holds] == [
        (changed.point, "missing_register_reading")
    ]
    assert held.billed == 1
    district.store(changed.meter, IMPORT, CHANGE_AT, 1_050_000)
    summary = bill(district)
    assert totals(summary) == [
        quoted(50_000, end_on=CHANGE_ON - timedelta(days=1)),
        quoted(115_000, start_on=CHANGE_ON, category=Category.BUSINESS),
        quoted(165_000),
    ]
    again = run_billing(district.dsn, OCTOBER)
    assert (again.unchanged, again.billed, again.replaced) == (3, 0, 0)


def test_parts_of_a_month_take_the_place_of_the_whole(district: District):
    district.add([household(1), household(2)])
    run_billing(district.dsn, OCTOBER)
    district.store(household(1).meter, IMPORT, CHANGE_AT, 1_050_000)
    change_contract(district, household(1), "business", "lt6")
    assert bill(district).replaced == 2
    states = "select version, state from bill join bill_state using (bill_id) where metering_point_id = %s order by 1"
    assert district.rows(states, [household(1).point]) == [(1, "superseded"), (2, "ready"), (2, "ready")]


def test_an_issued_bill_for_other_days_is_in_the_way_and_named(district: District):
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="An"))
    district.store(household(1).meter, IMPORT, CHANGE_AT, 1_050_000)
    change_contract(district, household(1), "business", "lt6")
    [hold] = bill(district).holds
    assert (hold.reason, "cancel it and run again" in hold.detail) == ("issued_for_other_days", True)


def test_another_number_of_households_is_one_bill_by_the_days_of_each(district: District):
    district.add([household(1, 900_000)])
    change_contract(district, household(1), "residential", households=3)
    assert totals(bill(district)) == [quoted(900_000, households_changes=((CHANGE_ON, Fraction(3)),))]


def test_four_tenants_are_one_household(district: District):
    district.add([household(1, 400_000)])
    agree(district, household(1), tenants=5)
    assert totals(bill(district)) == [quoted(400_000, households=Fraction(5, 4))]


def test_undeclared_tenants_and_a_refused_meter_have_their_own_price(district: District):
    refused = household(2, category="business", voltage="lt6")
    district.add([household(1), refused])
    agree(district, household(1), undeclared_rental=True)
    agree(district, refused, refused_three_rates=True)
    assert totals(bill(district)) == [
        quoted(165_000, undeclared_rental=True),
        quoted(165_000, category=Category.BUSINESS, refused_three_rates=True),
    ]


def test_reactive_energy_is_charged_from_forty_kilowatts_on(district: District):
    registers = {IMPORT: (0, 20_000_000), REACTIVE: (0, 15_000_000)}
    terms: dict[str, Any] = {"registers": registers, "category": "production", "voltage": "lt6"}
    large, small = Customer(number=1, **terms), Customer(number=2, **terms)
    district.add([large, small])
    agree(district, large, contracted_kw=40)
    agree(district, small, contracted_kw=39)
    plain = {"category": Category.PRODUCTION, "voltage": Voltage.LT6}
    found = totals(bill(district))
    assert found == [quoted(20_000_000, reactive_varh=15_000_000, **plain), quoted(20_000_000, **plain)]
    assert found[0] > found[1]


def test_the_two_component_pilot_bills_the_highest_demand(district: District):
    rates = {obis: (0, energy) for obis, energy in zip(RATES, (9_000_000, 3_000_000, 2_000_000), strict=True)}
    plant = Customer(
        number=1, registers=rates, category="production", voltage="22_110", three_rates=True, multiplier=10
    )
    district.add([plant])
    agree(district, plant, two_component=True)
    district.connection.execute(
        "insert into channel (meter_id, obis, unit) values (%s, %s, 'W')", [plant.meter, DEMAND]
    )
    assert bill(district).holds[0].reason == "missing_register_reading"
    district.store(plant.meter, DEMAND, OCTOBER.end_at, 12_345)
    energy = [each * 10 for _, each in rates.values()]
    wanted = {"category": Category.PRODUCTION, "voltage": Voltage.KV22_110, "demand_w": 123_450}
    assert totals(bill(district)) == [quoted(energy, **wanted)]


def test_several_uses_of_one_meter_are_one_bill_by_their_shares(district: District):
    mixed = household(1, 700_000)
    district.add([mixed, household(2)])
    agree(district, mixed, uses='[{"category": "business", "voltage": "lt6", "share_percent": 40}]')
    uses = ((Category.BUSINESS, Voltage.LT6, 4000),)
    assert totals(bill(district)) == [quoted(700_000, uses=uses), quoted(165_000)]


def test_a_meter_read_at_a_change_of_price_is_billed_by_that_reading(district: District):
    home, shop = household(1, 400_000), household(2, 400_000, category="business", voltage="lt6")
    district.add([home, shop], MAY)
    assert {hold.reason for hold in bill(district, MAY).holds} == {"price_change_not_read"}
    for customer in (home, shop):
        district.store(customer.meter, IMPORT, PRICE_CHANGE_AT, 1_150_000)
    assert totals(bill(district, MAY)) == [
        quoted(400_000, MAY, before_changes_wh=(150_000,)),
        quoted(400_000, MAY, before_changes_wh=(150_000,), category=Category.BUSINESS),
    ]


def test_a_household_read_by_hand_is_shared_out_by_days_at_a_change_of_price(district: District):
    home = household(1, 400_000)
    district.add([home], MAY)
    district.forget(home.meter, IMPORT, MAY.end_at)
    district.store(home.meter, IMPORT, MAY.end_at, 1_400_000, Quality.MANUAL)
    assert totals(bill(district, MAY)) == [quoted(400_000, MAY)]


def test_a_meter_of_generation_says_how_much_of_the_surplus_is_bought(district: District):
    roof = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 200_000)}, solar_regime="surplus_2024")
    district.add([roof])
    assert [hold.reason for hold in bill(district).holds] == ["purchase_generation_unknown"]
    district.connection.execute("insert into meter (meter_id, gateway_id, model, digits) values ('G', 'gw-01', 't', 6)")
    district.connection.execute("insert into channel (meter_id, obis, unit) values ('G', %s, 'Wh')", [IMPORT])
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, role) values (%s, 'G', %s, 'generation')",
        [roof.point, datetime(2025, 1, 1, tzinfo=UTC)],
    )
    for at, value in ((OCTOBER.start_at, 0), (OCTOBER.end_at, 500_000)):
        district.store("G", IMPORT, at, value)
    summary = bill(district)
    answer = quote(
        QuoteRequest(
            category=Category.RESIDENTIAL,
            start_on=OCTOBER.first_on,
            end_on=OCTOBER.last_on,
            energy_wh=300_000,
            export_wh=200_000,
            generation_wh=500_000,
            solar=Solar.SURPLUS_2024,
        )
    )
    assert answer.purchase is not None
    reasons = [] if answer.purchase_hold is None else [f"purchase_{answer.purchase_hold.value}"]
    assert [hold.reason for hold in summary.holds] == reasons
    assert [each.purchase.energy_wh for each in summary.bills if each.purchase] == [100_000] * (not reasons)
    [metered] = [each.inputs["meters"] for each in summary.bills]
    assert [meter.get("role") for meter in metered] == [None, "generation"]


def test_three_contracts_in_a_month_are_three_bills_each_by_its_own_days(district: District):
    """A household of one, then of three, is a shop from the 11th and at home again from the 21st."""
    own = household(1, 900_000, start_wh=0)
    district.add([own])
    contracts = ((date(2026, 10, 5), "residential", None, 3), (CHANGE_ON, "business", "lt6", 1))
    for day, category, voltage, households in (*contracts, (date(2026, 10, 21), "residential", None, 1)):
        district.connection.execute(f"{CONTRACT_BEFORE} and valid_to is null", [day - timedelta(days=1), own.point])
        district.connection.execute(CONTRACT_AFTER, [own.point, day, category, voltage, households])
    district.store(own.meter, IMPORT, CHANGE_AT, 300_000)
    assert [hold.reason for hold in bill(district).holds] == ["missing_register_reading"]
    district.store(own.meter, IMPORT, OCTOBER.start_at + timedelta(days=20), 500_000)
    summary = bill(district)
    assert totals(summary) == [
        quoted(300_000, end_on=date(2026, 10, 10), households_changes=((date(2026, 10, 5), Fraction(3)),)),
        quoted(200_000, start_on=CHANGE_ON, end_on=date(2026, 10, 20), category=Category.BUSINESS),
        quoted(400_000, start_on=date(2026, 10, 21)),
    ]
    assert sum(each.energy_wh for each in summary.bills) == 900_000
    assert run_billing(district.dsn, OCTOBER).unchanged == 3


def test_households_that_change_several_times_in_a_month_are_one_bill_by_the_days_of_each(district: District):
    home, people = household(1, 900_000), household(2, 400_000)
    district.add([home, people])
    days = (CHANGE_ON, date(2026, 10, 21), date(2026, 10, 31))
    for customer, columns, numbers in ((home, "households", (3, 2, 5)), (people, "tenants", (5, 2, 7))):
        for day, number in zip(days, numbers, strict=True):
            where = [day - timedelta(days=1), customer.point]
            district.connection.execute(f"{CONTRACT_BEFORE} and valid_to is null", where)
            district.connection.execute(CONTRACT_AFTER, [customer.point, day, "residential", None, 1])
            contract: Any = f"update contract set {columns} = %s where metering_point_id = %s and valid_from = %s"
            district.connection.execute(contract, [number, customer.point, day])
    households = tuple(zip(days, map(Fraction, (3, 2, 5)), strict=True))
    tenants = tuple(zip(days, (Fraction(people, 4) for people in (5, 2, 7)), strict=True))
    assert totals(bill(district)) == [
        quoted(900_000, households_changes=households),
        quoted(400_000, households_changes=tenants),
    ]
    average = (Fraction(10) + 3 * 10 + 2 * 10 + 5) / 31
    assert totals(bill(district))[0] == quoted(900_000, households=average)
    again = run_billing(district.dsn, OCTOBER)
    assert (again.unchanged, again.billed, again.replaced) == (2, 0, 0)
    stored = load_bill(district.connection, 1)
    assert stored is not None
    assert stored["inputs"]["households_changes"] == [["2026-10-11", "3"], ["2026-10-21", "2"], ["2026-10-31", "5"]]
    tiers = [line["operands"]["households"] for line in stored["lines"] if line["tier"]]
    assert set(tiers) == {str(average)}


def test_net_metering_read_at_a_change_of_price_is_netted_by_cycle_and_priced_by_part(district: District):
    """Import and export are read on the tenth: what one part has too much is taken off the other."""
    sunny, early, late, plain = (
        Customer(number=number, registers={IMPORT: (0, 400_000), EXPORT: (0, sent)}, solar_regime="net_2017")
        for number, sent in ((1, 150_000), (2, 300_000), (3, 300_000), (4, 150_000))
    )
    roofs = (sunny, early, late, plain)
    district.add(roofs, MAY)
    assert {hold.reason for hold in bill(district, MAY).holds} == {"price_change_not_read"}
    for roof, taken, sent in ((sunny, 150_000, 50_000), (early, 50_000, 200_000), (late, 350_000, 20_000)):
        district.store(roof.meter, IMPORT, PRICE_CHANGE_AT, taken)
        district.store(roof.meter, EXPORT, PRICE_CHANGE_AT, sent)
    district.store(plain.meter, IMPORT, PRICE_CHANGE_AT, 150_000)  # without export, so it was not read
    summary = bill(district, MAY)
    assert [(hold.metering_point_id, hold.reason) for hold in summary.holds] == [(plain.point, "price_change_not_read")]
    energies = [[line.energy_wh for line in each.lines if line.kind == "energy"] for each in summary.bills]
    parts = [{line.operands["act"] for line in each.lines if line.kind == "energy"} for each in summary.bills]
    assert [sum(each) for each in energies] == [each.energy_wh for each in summary.bills] == [250_000, 100_000, 100_000]
    assert [len(each) for each in parts] == [2, 1, 1]
    wanted = [
        quoted(400_000, MAY, solar=Solar.NET_2017, export_wh=exported, **read)
        for exported, read in (
            (150_000, {"before_changes_wh": (150_000,), "export_before_changes_wh": (50_000,)}),
            (300_000, {"before_changes_wh": (50_000,), "export_before_changes_wh": (200_000,)}),
            (300_000, {"before_changes_wh": (350_000,), "export_before_changes_wh": (20_000,)}),
        )
    ]
    assert totals(summary) == wanted
    assert run_billing(district.dsn, MAY).unchanged == 3


def test_a_mixed_use_read_at_a_change_of_price_shares_out_each_part(district: District):
    mixed = household(1, 700_000, start_wh=0)
    district.add([mixed], MAY)
    agree(district, mixed, uses='[{"category": "business", "voltage": "lt6", "share_percent": 40}]')
    assert [hold.reason for hold in bill(district, MAY).holds] == ["price_change_not_read"]
    district.store(mixed.meter, IMPORT, PRICE_CHANGE_AT, 202_000)
    summary = bill(district, MAY)
    uses = ((Category.BUSINESS, Voltage.LT6, 4000),)
    assert totals(summary) == [quoted(700_000, MAY, uses=uses, before_changes_wh=(202_000,))]
    [found] = summary.bills
    of_use: dict[tuple[str, str], int] = {}
    for line in found.lines:
        if line.kind == "energy":
            use = (line.operands["clause"].partition(",")[0], line.operands["from"])
            of_use[use] = of_use.get(use, 0) + (line.energy_wh or 0)
    assert of_use == {  # 60 % of 202 kWh are 121.2, of 498 kWh 298.8
        ("residential", "2025-05-01"): 121_000,
        ("residential", "2025-05-10"): 299_000,
        ("business", "2025-05-01"): 81_000,
        ("business", "2025-05-10"): 199_000,
    }


def test_a_mixed_use_of_a_household_read_by_hand_is_shared_out_by_days_as_before(district: District):
    mixed = household(1, 700_000, start_wh=0)
    district.add([mixed], MAY)
    agree(district, mixed, uses='[{"category": "business", "voltage": "lt6", "share_percent": 40}]')
    district.store(mixed.meter, IMPORT, PRICE_CHANGE_AT, 202_000)
    district.forget(mixed.meter, IMPORT, MAY.end_at)
    district.store(mixed.meter, IMPORT, MAY.end_at, 700_000, Quality.MANUAL)
    uses = ((Category.BUSINESS, Voltage.LT6, 4000),)
    assert totals(bill(district, MAY)) == [quoted(700_000, MAY, uses=uses)]


def test_reactive_energy_of_a_mixed_use_is_charged_whatever_its_first_category_is(district: District):
    registers = {IMPORT: (0, 20_000_000), REACTIVE: (0, 15_000_000)}
    living, making, alone = (Customer(number=number, registers=registers) for number in (1, 2, 3))
    district.add([living, making, alone])
    agree(district, living, uses='[{"category": "business", "voltage": "lt6", "share_percent": 60}]')
    agree(district, making, category="business", voltage="lt6")
    agree(district, making, uses='[{"category": "residential", "share_percent": 40}]')
    for customer in (living, making, alone):
        agree(district, customer, contracted_kw=60)
    uses = ((Category.BUSINESS, Voltage.LT6, 6000),)
    first, second, household_alone = totals(bill(district))
    assert first == quoted(20_000_000, uses=uses, reactive_varh=15_000_000)
    assert first == second
    assert household_alone == quoted(20_000_000)
    district.forget(living.meter, REACTIVE, OCTOBER.end_at)
    assert [hold.reason for hold in run_billing(district.dsn, OCTOBER).holds] == ["missing_register_reading"]
