"""A month in which the price changes: the register at that midnight is estimated, and billing prices each part."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.run import run_billing
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.ends import propose_ends
from ingest_server.vee.run import run_vee
from tests.billing_runs.district import IMPORT, Customer, District

pytestmark = pytest.mark.integration
MARCH = Period.of_month("2019-03")  # Decision 648 of the ministry came into force on 20/3/2019
CHANGED_AT = midnight_of(date(2019, 3, 20))
MINH = Actor("Minh", Role.DIRECTOR, "đúng")
ENERGY_WH = 3_100_007
OLD, NEW = 2_461, 2_666  # business below 6 kV, usual hours: Decision 4495/2017, Decision 648/2019 [đ/kWh]


def shop(district: District, number: int = 1) -> Customer:
    """Enter a business of one rate that was read at both ends of March 2019 alone."""
    one = Customer(
        number=number, registers={IMPORT: (1_000_000, 1_000_000 + ENERGY_WH)}, category="business", voltage="lt6"
    )
    district.add([one], MARCH)
    district.connection.execute("update contract set valid_from = '2015-07-01'")
    district.connection.execute("update installation set installed_at = '2015-07-01'")
    return one


def test_the_register_at_a_change_of_price_is_estimated_and_each_part_has_its_price(district: District) -> None:
    shop(district)
    outcome = run_vee(district.dsn, MARCH, actor="Lan", now=datetime(2019, 5, 1, tzinfo=UTC))
    assert (outcome.proposed, outcome.values, outcome.ends_left) == (1, 1, 0)
    [[at, value, quality]] = district.rows("select measured_at, value, quality from reading_version")
    assert at == CHANGED_AT
    # 19 of 31 days before it: 1,900,004.29 Wh; the larger remainder is that before.
    assert (value - 1_000_000, quality) == (1_900_004, 16)
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    assert run_billing(district.dsn, MARCH).held == 0
    [[energy, subtotal]] = district.rows("select energy_wh, subtotal from bill")
    before = value - 1_000_000
    priced = sum((part * price + 500) // 1_000 for part, price in ((before, OLD), (ENERGY_WH - before, NEW)))
    assert (energy, subtotal) == (ENERGY_WH, priced)


def test_midnights_around_the_change_fix_it_nearer_than_the_months_ends(district: District) -> None:
    one = shop(district)
    district.store(one.meter, IMPORT, CHANGED_AT - timedelta(days=1), 2_000_000)
    district.store(one.meter, IMPORT, CHANGED_AT + timedelta(days=1), 2_100_001)
    run_vee(district.dsn, MARCH, actor="Lan", now=datetime(2019, 5, 1, tzinfo=UTC))
    [[value]] = district.rows("select value from reading_version")
    assert value in (2_050_000, 2_050_001)


def test_what_was_read_at_the_change_is_not_estimated_and_a_household_read_by_hand_is_shared_by_days(
    district: District,
) -> None:
    one = shop(district)
    district.store(one.meter, IMPORT, CHANGED_AT, 2_000_000)
    two = Customer(number=2, registers={IMPORT: (500_000, 700_000)})
    district.add([two], MARCH)
    district.connection.execute("update contract set valid_from = '2015-07-01'")
    district.connection.execute("update installation set installed_at = '2015-07-01'")
    district.connection.execute("update reading set quality = 64 where value in (500000, 700000)")
    now = datetime(2019, 5, 1, tzinfo=UTC)
    assert propose_ends(district.dsn, MARCH, Selection(), actor="Lan", now=now, rule_set="x").changes == []
