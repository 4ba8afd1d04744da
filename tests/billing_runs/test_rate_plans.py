"""A utility elsewhere: its tariff file, its contracts, and bills by fixed and minimum charges and a ratchet."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from billing_core.explain import Language
from billing_core.rate_plan import rate_plan_from_json
from ingest_server.billing.acts import Actor, Role, cancel
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.billing.standing import ledger_of
from ingest_server.billing.stored import load_bill
from ingest_server.registry.store import load_registry
from protocols.errors import UsageError
from tests.billing_runs.district import IMPORT, RATES, Customer, District, household

pytestmark = pytest.mark.integration
FILE = Path(__file__).parents[1] / "billing_core" / "utility_elsewhere.toml"
DEMAND = "1.0.1.6.0"
MONTHS = tuple(Period.of_month(f"2026-{month:02}") for month in range(7, 12))
CONTRACT = """
[[contract]]
metering_point = "{point}"
valid_from = 2025-01-01
category = "{category}"
{more}
rate_plan = "{plan}"
"""


def agree(district: District, customer: Customer, plan: str, category: str = "residential", more: str = "") -> None:
    """Give a customer's contract a plan, as an operator does: by the tariff file and the registry."""
    with psycopg.connect(district.dsn) as connection:
        text = CONTRACT.format(point=customer.point, category=category, more=more, plan=plan)
        load_registry(connection, FILE.read_text() + text, FILE.name)


def bill(district: District, period: Period, plan: Plan | None = None) -> Summary:
    """Bill a period, and see that all bills replay to the same bytes, sum up, and that a second run finds nothing."""
    dry = run_billing(district.dsn, period, Plan(dry_run=True))
    summary = run_billing(district.dsn, period, plan)
    assert summary.digest == dry.digest
    assert [each.why for each in replay(district.connection) if not each.same] == []
    for (bill_id,) in district.rows("select bill_id from bill"):
        stored = load_bill(district.connection, bill_id)
        assert stored is not None
        assert sum(line["amount"] for line in stored["lines"]) == stored["total"]
    again = run_billing(district.dsn, period)
    assert (again.billed, again.replaced, again.differing) == (0, 0, 0)
    return summary


def amounts(summary: Summary) -> list[list[tuple[str, int]]]:
    return [[(line.kind, line.amount) for line in each.lines] for each in summary.bills]


def workshop(district: District, demands_w: tuple[int, ...], number: int = 1, plan: str = "workshop") -> Customer:
    """Enter a workshop with a month's energy and a highest demand for each of the months."""
    own = Customer(
        number=number,
        registers={obis: (0, energy) for obis, energy in zip(RATES, (100_000, 20_000, 30_000), strict=True)},
        category="business",
        voltage="lt6",
        three_rates=True,
        multiplier=10,
    )
    district.add([own], MONTHS[0])
    agree(district, own, plan, "business", 'voltage = "lt6"\nthree_rates = true')
    district.connection.execute("insert into channel (meter_id, obis, unit) values (%s, %s, 'W')", [own.meter, DEMAND])
    for month, (period, demand) in enumerate(zip(MONTHS, demands_w, strict=False), 1):
        district.store(own.meter, DEMAND, period.end_at, demand // 10)
        if month > 1:
            for obis, (_, energy) in own.registers.items():
                district.store(own.meter, obis, period.end_at, energy * month)
    return own


def demand_lines(summary: Summary) -> list[tuple[float, int]]:
    return [
        (line.operands["kw"], line.amount) for each in summary.bills for line in each.lines if line.kind == "demand"
    ]


def test_a_fixed_and_a_minimum_charge_and_tiers_of_a_tariff_file_are_billed_explained_and_issued(district: District):
    much, little, none = household(1, 200_000), household(2, 10_000), household(3, 0)
    district.add([much, little, none], MONTHS[3])
    for customer in (much, little, none):
        agree(district, customer, "home")
    summary = bill(district, MONTHS[3], Plan(issue_as="An"))
    tiers = [("energy", 10_000), ("energy", 75_000), ("energy", 55_000)]
    assert amounts(summary) == [
        [*tiers, ("fixed", 5_000), ("vat", 14_500)],
        [("energy", 4_000), ("fixed", 5_000), ("minimum", 16_000), ("vat", 2_500)],
        [("fixed", 5_000), ("minimum", 20_000), ("vat", 2_500)],
    ]
    stored = load_bill(district.connection, 2)
    assert stored is not None
    assert stored["inputs"]["contract"]["rate_plan"]["minimum_monthly"] == 25_000
    assert [(line["energy_wh"], line["price"]) for line in stored["lines"]] == [(10_000, 400), *[(None, None)] * 3]
    told = explain_bill(stored, Language.EN)
    source = "the rate plan home, in force since 2026-01-01 (source: invented for tests)"
    spoken = "\n".join(told)
    assert f"Fixed charge: 5,000 đ a month = 5,000 đ, rounded to the đồng. By {source}, fixed charge." in spoken
    assert f"25,000 đ − 9,000 đ charged already = 16,000 đ to add. By {source}, minimum charge." in spoken
    spoken = "\n".join(explain_bill(stored, Language.VI))
    assert "25.000 đ − 9.000 đ đã tính = thu thêm 16.000 đ. Căn cứ: biểu giá riêng home có hiệu lực từ" in spoken
    ledger = ledger_of(district.connection)
    assert (ledger["accounts"]["receivable"], ledger["sum"]) == (summary.total, 0)


def test_the_plan_in_force_on_the_first_day_counts_and_its_own_price_takes_the_place_of_the_tiers(district: District):
    home = household(1, 200_000)
    district.add([home], MONTHS[3])
    district.store(home.meter, IMPORT, MONTHS[4].end_at, 1_300_000)
    agree(district, home, "home")
    bill(district, MONTHS[3])
    assert amounts(bill(district, MONTHS[4])) == [[("energy", 70_000), ("fixed", 6_000), ("vat", 7_600)]]
    rules = district.rows("select period_from, rules from bill join bill_control using (bill_id)")
    assert [day for day, found in rules if "terms_changed" in found] == []  # it is the same contract, at other prices


def test_a_demand_that_was_high_is_billed_by_its_share_for_as_many_months_as_the_ratchet_says(district: District):
    """80 % of 100 kW for three months; the month itself is not before it; then the floor of 20 kW."""
    workshop(district, (100_000, 30_000, 30_000, 85_000, 10_000))
    assert [demand_lines(bill(district, period)) for period in MONTHS] == [
        [(100, 3_000_000)],
        [(80, 2_400_000)],
        [(80, 2_400_000)],
        [(85, 2_550_000)],
        [(68, 2_040_000)],  # July is four months ago: 80 % of October's 85 kW
    ]
    stored = load_bill(district.connection, 5)
    assert stored is not None
    assert stored["inputs"]["demand_before_w"] == 85_000
    assert any(
        "the period's highest 10 kW; 80 % of the highest of the 3 months before, 85 kW; the floor of 20 kW. 68 kW"
        in text
        for text in explain_bill(stored, Language.EN)
    )


def test_a_ratchet_waits_for_the_bill_before_and_follows_what_was_cancelled_or_corrected(district: District):
    own = workshop(district, (100_000, 30_000, 30_000))
    bill(district, MONTHS[0], Plan(issue_as="An"))
    [hold] = run_billing(district.dsn, MONTHS[2]).holds
    assert (hold.reason, "their demand counts in this bill" in hold.detail) == ("previous_period_not_billed", True)
    bill(district, MONTHS[1], Plan(issue_as="An"))
    assert demand_lines(run_billing(district.dsn, MONTHS[2], Plan(dry_run=True))) == [(80, 2_400_000)]
    district.forget(own.meter, DEMAND, MONTHS[0].end_at)
    district.store(own.meter, DEMAND, MONTHS[0].end_at, 5_000)
    assert run_billing(district.dsn, MONTHS[0], Plan(correct_as=("An", "đọc lại"))).proposed == 1
    assert demand_lines(run_billing(district.dsn, MONTHS[2], Plan(dry_run=True))) == [(80, 2_400_000)]
    [found] = differences_of(district.connection, MONTHS[0], Selection())
    decide_difference(district.connection, found["difference_id"], "approve", Actor("Minh", Role.DIRECTOR, "đúng"))
    assert demand_lines(run_billing(district.dsn, MONTHS[2], Plan(dry_run=True))) == [(40, 1_200_000)]
    cancel(district.connection, 2, Actor("Minh", Role.DIRECTOR, "sai"))
    assert [each.reason for each in run_billing(district.dsn, MONTHS[2], Plan(dry_run=True)).holds] == [
        "previous_period_not_billed"
    ]


def test_a_ratchet_does_not_forget_a_month_that_was_cancelled_and_not_billed_again(district: District):
    """July's 100 kW are two months back in September: without them its demand would be 30 kW and not 80."""
    workshop(district, (100_000, 30_000, 30_000, 30_000))
    for period in MONTHS[:3]:
        bill(district, period, Plan(issue_as="An"))
    cancel(district.connection, 1, Actor("Minh", Role.DIRECTOR, "sai"))
    [hold] = run_billing(district.dsn, MONTHS[3]).holds
    assert hold.reason == "previous_period_not_billed"
    assert "the days from 01/07/2026 to 31/07/2026 are under contract and in no bill that stands" in hold.detail
    bill(district, MONTHS[0], Plan(issue_as="An"))
    assert demand_lines(bill(district, MONTHS[3])) == [(80, 2_400_000)]
    cancel(district.connection, 2, Actor("Minh", Role.DIRECTOR, "sai"))
    assert run_billing(district.dsn, MONTHS[4], Plan(dry_run=True)).held == 1


def test_a_month_out_of_a_ratchets_reach_may_be_cancelled(district: District):
    workshop(district, (100_000, 30_000, 30_000), plan="press")
    for period in MONTHS[:2]:
        bill(district, period, Plan(issue_as="An"))
    cancel(district.connection, 1, Actor("Minh", Role.DIRECTOR, "sai"))
    assert demand_lines(bill(district, MONTHS[2])) == [(30, 900_000)]


def test_who_comes_back_after_months_without_a_contract_is_billed_and_his_demand_of_then_counts(district: District):
    own = workshop(district, (100_000, 30_000, 30_000))
    bill(district, MONTHS[0], Plan(issue_as="An"))
    again: Any = """
        insert into contract (metering_point_id, valid_from, category, voltage, three_rates, rate_plan)
        select metering_point_id, %s, category, voltage, three_rates, rate_plan from contract
    """
    district.connection.execute(again, [MONTHS[2].first_on])
    ended = "update contract set valid_to = %s where valid_from < %s and metering_point_id = %s"
    district.connection.execute(ended, [MONTHS[0].last_on, MONTHS[0].first_on, own.point])
    assert demand_lines(bill(district, MONTHS[2])) == [(80, 2_400_000)]


def test_each_ratchet_goes_back_as_far_as_its_own_plan_says(district: District):
    """July's 100 kW count three months in one plan, one month in the other."""
    workshop(district, (100_000, 30_000, 30_000))
    workshop(district, (100_000, 30_000, 30_000), number=2, plan="press")
    demands = [[kw for kw, _ in demand_lines(bill(district, period))] for period in MONTHS[:3]]
    assert demands == [[100, 100], [80, 80], [80, 30]]


def test_a_bill_that_was_cancelled_or_superseded_has_no_demand(district: District):
    own = workshop(district, (100_000, 30_000))
    bill(district, MONTHS[0])
    district.forget(own.meter, DEMAND, MONTHS[0].end_at)
    district.store(own.meter, DEMAND, MONTHS[0].end_at, 9_000)
    assert bill(district, MONTHS[0], Plan(issue_as="An")).replaced == 1
    assert demand_lines(run_billing(district.dsn, MONTHS[1], Plan(dry_run=True))) == [(72, 2_160_000)]
    cancel(district.connection, 2, Actor("Minh", Role.DIRECTOR, "sai"))
    district.forget(own.meter, DEMAND, MONTHS[0].end_at)
    district.store(own.meter, DEMAND, MONTHS[0].end_at, 5_000)
    assert bill(district, MONTHS[0], Plan(issue_as="An")).billed == 1
    assert demand_lines(run_billing(district.dsn, MONTHS[1], Plan(dry_run=True))) == [(40, 1_200_000)]


def test_a_plan_that_is_not_there_is_refused_and_one_not_yet_in_force_is_held(district: District):
    home = household(1)
    district.add([home], MONTHS[3])
    with pytest.raises(UsageError, match="contract\\[1\\]\\.rate_plan: 'palace' is neither in this file nor"):
        agree(district, home, "palace")
    agree(district, home, "home")
    district.connection.execute("delete from rate_plan where effective_on = '2026-01-01'")
    [hold] = run_billing(district.dsn, MONTHS[3]).holds
    assert (hold.reason, "no rate plan home is in force" in hold.detail) == ("unknown_contract_term", True)


def test_a_plan_loaded_again_changes_nothing_and_a_corrected_one_makes_other_bills(district: District):
    home = household(1, 200_000)
    district.add([home], MONTHS[3])
    agree(district, home, "home")
    bill(district, MONTHS[3])
    with psycopg.connect(district.dsn) as connection:
        assert load_registry(connection, FILE.read_text(), FILE.name).changed["rate_plan"] == 0
        dearer = FILE.read_text().replace("fixed_monthly = 5_000", "fixed_monthly = 5_500")
        assert load_registry(connection, dearer, FILE.name).changed["rate_plan"] == 1
    summary = bill(district, MONTHS[3])
    assert (summary.replaced, summary.subtotal) == (1, 145_500)


def test_who_moves_in_within_a_month_pays_the_days_of_it_and_the_parts_come_to_what_the_whole_does(district: District):
    """10 and 21 of 31 days: the fixed charge, and tiers in whole kWh."""
    home = household(1, 31_000, start_wh=0)
    district.add([home], MONTHS[3])
    agree(district, home, "home")
    change_on = date(2026, 10, 11)
    district.connection.execute("update contract set valid_to = %s", [change_on - timedelta(days=1)])
    columns: Any = (
        "insert into contract (metering_point_id, valid_from, category, rate_plan) values (%s, %s, %s, 'home')"
    )
    district.connection.execute(columns, [home.point, change_on, "residential"])
    district.connection.execute("insert into customer (customer_id, name) values ('PD01000000099', 'B')")
    district.connection.execute("update contract set customer_id = 'PD01000000099' where valid_from = %s", [change_on])
    district.store(home.meter, IMPORT, MONTHS[3].start_at + timedelta(days=10), 10_000)
    first, second = amounts(bill(district, MONTHS[3]))
    assert first == [("energy", 3_200), ("energy", 1_200), ("fixed", 1_613), ("minimum", 2_052), ("vat", 807)]
    assert dict(second)["fixed"] == 5_000 - 1_613


def test_the_figures_of_a_plan_come_back_from_the_database_as_they_were_parsed(district: District):
    with psycopg.connect(district.dsn) as connection:
        load_registry(connection, FILE.read_text(), FILE.name)
    rows = district.rows("select figures from rate_plan order by name, effective_on")
    names = [rate_plan_from_json(figures).name for (figures,) in rows]
    assert names == ["home", "home", "minimum only", "press", "workshop"]
    assert np.all([rate_plan_from_json(figures).to_json() == figures for (figures,) in rows])
