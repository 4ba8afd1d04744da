"""A district in which each point has a bill of another kind, for reading what is said of them."""

from datetime import date
from typing import Any

from ingest_server.billing.acts import Actor, Role, issue, release
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.rebill import rebill
from ingest_server.billing.run import Plan, run_billing
from protocols.telemetry.reading import Quality
from tests.billing_runs.district import EXPORT, IMPORT, RATES, Customer, District, household
from tests.billing_runs.test_contracts import REACTIVE, agree

SUNNY = Period.of_month("2025-10")
MINH = Actor("Minh", Role.DIRECTOR, "đúng")
SHOP = '[{"category": "business", "voltage": "lt6", "share_percent": 40}]'
INSERT_CHANGE = """
    insert into reading_change (metering_point_id, channel_id, kind, made_by, why, rule_set, acts_before, parent_hash,
                                hash)
    values (%s, %s, 'estimate', 'Hoa', 'register 1.0.1.8.0 was not read at midnight', 'r', 0, '', '\\x01')
    returning change_id
"""
INSERT_VERSION = "insert into reading_version values (%s, %s, %s, %s, %s, 2, 1)"
APPROVE = """
    insert into reading_change_act (change_id, act, actor, role, effect_wh, effect_vnd)
    values (%s, 'approve', 'Tuấn', 'controller', 0, 0)
"""
FACTORY: dict[str, Any] = {"category": "production", "voltage": "22_110", "three_rates": True}


def every_kind() -> dict[str, Customer]:
    """Return a customer of each kind, by what is told of it."""
    rates = dict(zip(RATES, ((0, 600_000), (0, 250_000), (0, 150_000)), strict=True))
    sun = {IMPORT: (0, 100_000), EXPORT: (0, 80_000)}
    return {
        "rollover": Customer(number=1, registers={IMPORT: (999_850_000, 120_000)}),
        "mixed": household(2, 667_000),
        "factory": Customer(number=3, registers={IMPORT: (0, 1_000_000), **rates, REACTIVE: (0, 600_000)}, **FACTORY),
        "tenants": household(5, 300_000),
        "separate": Customer(number=6, registers=sun, solar_regime="separate_2020"),
        "waiting": Customer(number=7, registers=sun, solar_regime="surplus_2024"),
        "net": Customer(number=8, registers={IMPORT: (0, 80_000), EXPORT: (0, 100_000)}, solar_regime="net_2017"),
        "estimated": household(9),
        "rebilled": household(10),
        "corrected": household(11),
        "shop": Customer(number=12, registers={IMPORT: (0, 500_000)}, category="business", voltage="6_22"),
        "undeclared": household(13),
        "refused": Customer(number=14, registers={IMPORT: (0, 100_000)}, category="business", voltage="lt6"),
        "school": Customer(number=15, registers={IMPORT: (0, 90_000)}, category="hospital_school", voltage="lt6"),
    }


def fill(district: District) -> dict[str, int]:
    """Enter every kind, bill October 2025, and return the bill of each, the last where there are several."""
    kinds = every_kind()
    district.add(kinds.values(), SUNNY)
    agree(district, kinds["mixed"], uses=SHOP)
    agree(district, kinds["factory"], contracted_kw=60)
    agree(district, kinds["tenants"], tenants=5)
    agree(district, kinds["net"], valid_to=date(2025, 10, 31))
    agree(district, kinds["undeclared"], undeclared_rental=True)
    agree(district, kinds["refused"], refused_three_rates=True)
    _estimate(district, kinds["estimated"])
    run_billing(district.dsn, SUNNY, Plan(issue_as="Lan"))
    _hand_out(district)
    _correct(district, kinds["corrected"], kinds["rebilled"])
    rows = district.rows("select metering_point_id, max(bill_id) from bill group by 1")
    point_of = {own.point: kind for kind, own in kinds.items()}
    return {point_of[point]: bill for point, bill in rows}


def _estimate(district: District, own: Customer) -> None:
    """Take the last reading away and put an estimate in its place, made by one and approved by another."""
    district.forget(own.meter, IMPORT, SUNNY.end_at)
    channel = district.value("select channel_id from channel where meter_id = %s", [own.meter])
    change = district.value(INSERT_CHANGE, [own.point, channel])
    values = [change, channel, SUNNY.end_at, own.registers[IMPORT][1], int(Quality.ESTIMATED)]
    district.connection.execute(INSERT_VERSION, values)
    district.connection.execute(APPROVE, [change])


def _hand_out(district: District) -> None:
    """Issue also what control would have signed."""
    held = district.rows("select bill_id from bill_state where state = 'held'")
    for (bill_id,) in held:
        release(district.connection, bill_id, MINH)
    issue(district.connection, SUNNY, Selection(), Actor("Lan", Role.BILLER))


def _correct(district: District, corrected: Customer, rebilled: Customer) -> None:
    """Read one meter anew and approve the difference; have another's bill cancelled and made again."""
    for own in (corrected, rebilled):
        district.forget(own.meter, IMPORT, SUNNY.end_at)
        district.store(own.meter, IMPORT, SUNNY.end_at, own.registers[IMPORT][1] + 35_000)
    [(old,)] = district.rows("select bill_id from bill where metering_point_id = %s", [rebilled.point])
    rebill(district.dsn, old, MINH)
    run_billing(district.dsn, SUNNY, Plan(correct_as=("Lan", "chỉ số đến muộn")))
    for found in differences_of(district.connection, SUNNY, Selection()):
        decide_difference(district.connection, found["difference_id"], "approve", MINH)
