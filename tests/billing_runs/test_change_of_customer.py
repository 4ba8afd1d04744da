"""Who moves out and who moves in within a month: each gets a bill of his own days, in his own name."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from billing_core.codes import Category
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.period import Period
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.billing.stored import every_hold, list_bills, load_bill
from ingest_server.registry.store import load_registry
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, IMPORT, NOVEMBER, OCTOBER, Customer, District, household

pytestmark = pytest.mark.integration
OLD = household(1)
CHANGE_ON = date(2026, 10, 11)
CHANGE_AT = OCTOBER.start_at + timedelta(days=10)
NEW_ID, NEW_NAME = "PD01000000777", "Trần Văn Nam"
NEW_CUSTOMER = f"""
[[customer]]
id = "{NEW_ID}"
name = "{NEW_NAME}"

[[metering_point]]
id = "{OLD.point}"
customer = "{NEW_ID}"
"""


SURPLUS = """
    select b.period_from, s.energy_wh, s.carried_in_wh, s.carried_out_wh
    from solar_purchase s join bill b using (bill_id) where b.period_from >= %s order by 1
"""


def contracts(moved_in: date = CHANGE_ON, more: str = "", of_old: str = "") -> str:
    """Return the contract of who moves out, ended the day before, and of who moves in."""
    return f"""
[[contract]]
metering_point = "{OLD.point}"
valid_from = 2025-01-01
valid_to = {moved_in - timedelta(days=1)}
category = "residential"
{of_old}

[[contract]]
metering_point = "{OLD.point}"
valid_from = {moved_in}
category = "residential"
{more}
"""


def load(district: District, text: str) -> dict[str, int]:
    return load_registry(district.connection, text, "moved.toml").changed


def bill(district: District, plan: Plan | None = None) -> Summary:
    """Bill October, and see that every bill there is replays to the same bytes."""
    summary = run_billing(district.dsn, OCTOBER) if plan is None else run_billing(district.dsn, OCTOBER, plan)
    assert [each.why for each in replay(district.connection) if not each.same] == []
    return summary


def quoted(energy_wh: int, first_on: date, last_on: date) -> int:
    request = QuoteRequest(category=Category.RESIDENTIAL, start_on=first_on, end_on=last_on, energy_wh=energy_wh)
    return quote(request).total


def ready(district: District) -> list[tuple[Any, ...]]:
    """Return customer, name, first day and total of each bill that counts, as lists and the bill itself say."""
    found = []
    for row in list_bills(district.connection, OCTOBER):
        whole = load_bill(district.connection, row["bill_id"])
        assert whole is not None
        assert (whole["customer_id"], whole["customer_name"]) == (row["customer_id"], row["customer_name"])
        if row["state"] not in ("superseded", "cancelled"):
            found.append((row["customer_id"], row["customer_name"], row["period_from"], row["total"]))
    return found


PARTS = [
    (OLD.customer_id, OLD.name, "2026-10-01", quoted(50_000, OCTOBER.first_on, CHANGE_ON - timedelta(days=1))),
    (NEW_ID, NEW_NAME, "2026-10-11", quoted(115_000, CHANGE_ON, OCTOBER.last_on)),
]


def test_each_customer_gets_a_bill_of_his_own_days_by_the_reading_between(district: District):
    district.add([OLD])
    district.store(OLD.meter, IMPORT, CHANGE_AT, 1_050_000)
    load(district, NEW_CUSTOMER + contracts())
    assert bill(district).billed == 2
    assert ready(district) == PARTS
    assert bill(district).unchanged == 2


def test_who_moves_in_at_the_end_of_january_has_tiers_by_the_days_of_january(district: District):
    """T is the 31 days of the cycle, not the 30 up to 28 February: 100 × 2/31 × 3 households = 19 and not 20 kWh."""
    january, moved_in = Period.of_month("2026-01"), date(2026, 1, 30)
    district.add([household(1, 900_000)], january)
    district.store(OLD.meter, IMPORT, january.start_at + timedelta(days=29), 1_000_000)
    load(district, NEW_CUSTOMER + contracts(moved_in, "households = 3"))
    summary = run_billing(district.dsn, january)
    days = {"start_on": moved_in, "end_on": january.last_on}
    wanted = QuoteRequest(category=Category.RESIDENTIAL, energy_wh=900_000, households=Fraction(3), **days)
    assert [each.total for each in summary.bills] == [0, quote(replace(wanted, nominal_days=31)).total]
    assert quote(replace(wanted, nominal_days=31)).total != quote(wanted).total


def test_a_point_of_which_a_part_has_no_price_is_held_whole_and_the_others_go_on(district: District):
    """The first part could be billed; the engine refuses the second, and the run once ended there."""
    district.add([OLD, household(2)])
    district.store(OLD.meter, IMPORT, CHANGE_AT, 1_050_000)
    load(district, NEW_CUSTOMER + contracts())
    set_category = "update contract set category = 'tourism', voltage = 'le1' where valid_from = %s"
    district.connection.execute(set_category, [CHANGE_ON])
    summary = bill(district)
    assert [(hold.metering_point_id, hold.reason) for hold in summary.holds] == [(OLD.point, "no_price")]
    assert summary.billed == 1


def test_without_a_reading_between_both_are_held(district: District):
    district.add([OLD])
    load(district, NEW_CUSTOMER + contracts())
    assert [hold.reason for hold in bill(district).holds] == ["missing_register_reading"]


def test_what_is_held_is_told_of_the_customer_of_the_period(district: District):
    """October is the old one's, also after another customer moved in in November; then November is the new one's."""
    district.add([OLD])
    district.forget(OLD.meter, IMPORT, OCTOBER.end_at)
    load(district, NEW_CUSTOMER + contracts(NOVEMBER.first_on))
    for month, customer in ((OCTOBER, (OLD.customer_id, OLD.name)), (NOVEMBER, (NEW_ID, NEW_NAME))):
        run_billing(district.dsn, month)
        [hold] = every_hold(district.connection, month)
        assert (hold["customer_id"], hold["customer_name"]) == customer


def test_the_surplus_of_who_moves_out_is_bought_and_never_handed_to_who_moves_in(district: District):
    """Net metering: 100 kWh are left of September and 40 of his October; the new one begins with nothing."""
    roof = Customer(number=1, registers={IMPORT: (0, 10_000), EXPORT: (0, 110_000)}, solar_regime="net_2017")
    september, october, moved_in = Period.of_month("2025-09"), Period.of_month("2025-10"), date(2025, 10, 11)
    district.add([roof], september)
    assert run_billing(district.dsn, september).billed == 1
    for obis, values in ((IMPORT, (40_000, 340_000)), (EXPORT, (180_000, 190_000))):
        for at, value in zip((october.start_at + timedelta(days=10), october.end_at), values, strict=True):
            district.store(roof.meter, obis, at, value)
    net = 'solar_regime = "net_2017"'
    load(district, NEW_CUSTOMER + contracts(moved_in, of_old=net, more=net))
    summary = run_billing(district.dsn, october)
    assert [each.total for each in summary.bills] == [0, quoted(290_000, moved_in, october.last_on)]
    assert district.rows(SURPLUS, [october.first_on]) == [
        (october.first_on, 140_000, 100_000, 0),  # 30 used, 70 exported, 100 left: all is bought when he goes
        (moved_in, 0, 0, 0),
    ]
    assert run_billing(district.dsn, october).unchanged == 2


def test_a_bill_of_the_whole_month_gives_way_to_the_parts(district: District):
    district.add([OLD])
    bill(district)
    district.store(OLD.meter, IMPORT, CHANGE_AT, 1_050_000)
    load(district, NEW_CUSTOMER + contracts())
    assert bill(district).replaced == 2
    assert ready(district) == PARTS


def test_a_bill_of_the_month_before_keeps_its_customer_and_its_bytes(district: District):
    district.add([OLD])
    bill(district)
    load(district, NEW_CUSTOMER + contracts(date(2026, 11, 1)))
    assert bill(district).unchanged == 1
    assert [row[:2] for row in ready(district)] == [(OLD.customer_id, OLD.name)]


def test_the_same_days_of_another_customer_are_another_bill(district: District):
    district.add([OLD])
    bill(district)
    load(district, NEW_CUSTOMER + contracts(OCTOBER.first_on))
    assert bill(district).replaced == 1
    assert [row[:2] for row in ready(district)] == [(NEW_ID, NEW_NAME)]


def test_a_bill_that_was_issued_to_another_customer_is_in_the_way(district: District):
    district.add([OLD])
    bill(district, Plan(issue_as="An"))
    load(district, NEW_CUSTOMER + contracts(OCTOBER.first_on))
    [hold] = bill(district).holds
    assert (hold.reason, "to another customer: cancel it" in hold.detail) == ("issued_for_other_days", True)
    assert [row[:2] for row in ready(district)] == [(OLD.customer_id, OLD.name)]


def test_the_same_file_again_changes_nothing(district: District):
    district.add([OLD])
    load(district, NEW_CUSTOMER + contracts())
    assert set(load(district, NEW_CUSTOMER + contracts()).values()) == {0}


def test_a_point_of_another_customer_than_its_newest_contract_is_refused(district: District):
    district.add([OLD])
    with pytest.raises(UsageError, match=f"{OLD.point} is {NEW_ID}'s, but its newest contract"):
        load(district, NEW_CUSTOMER)
    load(district, NEW_CUSTOMER + contracts(more=f'customer = "{NEW_ID}"'))
    with pytest.raises(UsageError, match="neither in this file nor in the database"):
        load(district, contracts(more='customer = "PD01000009999"'))
