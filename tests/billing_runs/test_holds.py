"""What cannot be billed is held with its reason, what can be is billed beside it, and nothing is guessed."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import psycopg
import pytest

from billing_core.codes import Category
from billing_core.control.thresholds import load_thresholds
from billing_core.explain import Language
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.decide import decide
from ingest_server.billing.documents import Hold
from ingest_server.billing.gather import Chunk, Frame, Selection, gather, terms_of_run
from ingest_server.billing.period import midnight_of
from ingest_server.billing.run import Summary, run_billing
from ingest_server.billing.sentences import text_of
from ingest_server.billing.stored import every_hold
from protocols.telemetry.reading import Quality
from tests.billing_runs.district import EXPORT, IMPORT, NOVEMBER, OCTOBER, RATES, Customer, District, household

pytestmark = pytest.mark.integration
MIDDLE_AT = OCTOBER.start_at + timedelta(days=14, hours=9, minutes=30)
QUALITIES_OF_LAST = """
    select jsonb_build_array(metered[4], metered[7])
    from bill order by bill_id desc limit 1
"""
CONFLICT = """
    insert into reading_conflict (channel_id, measured_at, value, quality, gateway_id, generation, sequence)
    select channel_id, %s, %s, 0, 'gw-01', 'g', 1 from channel where meter_id = %s and obis = %s
"""


def only_hold(summary: Summary, billed: int) -> Hold:
    """The one hold of a run that billed everybody else."""
    assert summary.billed == billed
    [hold] = summary.holds
    return hold


@pytest.fixture
def pair(district: District) -> tuple[District, Customer]:
    """Two households; the test spoils the second."""
    district.add([household(1), household(2)])
    return district, household(2)


@pytest.mark.parametrize("at", [OCTOBER.start_at, OCTOBER.end_at])
def test_a_missing_reading_is_named_by_meter_register_and_instant(pair, at):
    district, spoilt = pair
    district.forget(spoilt.meter, IMPORT, at)
    # Neighbours in time are no help: half an hour's energy would move into another month.
    district.store(spoilt.meter, IMPORT, at + timedelta(minutes=30), 1_000_000)
    district.store(spoilt.meter, IMPORT, at - timedelta(minutes=30), 1_000_000)
    hold = only_hold(run_billing(district.dsn, OCTOBER), billed=1)
    assert (hold.metering_point_id, hold.reason) == (spoilt.point, "missing_register_reading")
    for named in (spoilt.meter, IMPORT, f"{at:%Y-%m-%dT%H:%M:%SZ}"):
        assert named in hold.detail


def test_a_held_point_is_billed_by_the_next_run_once_its_reading_came(pair):
    district, spoilt = pair
    district.forget(spoilt.meter, IMPORT, OCTOBER.end_at)
    run_billing(district.dsn, OCTOBER)
    assert [row["metering_point_id"] for row in every_hold(district.connection, OCTOBER)] == [spoilt.point]
    district.store(spoilt.meter, IMPORT, OCTOBER.end_at, 1_165_000, Quality.PROFILE)
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.unchanged, summary.held) == (1, 1, 0)
    assert list(every_hold(district.connection, OCTOBER)) == []
    qualities = district.value(QUALITIES_OF_LAST)
    assert qualities == [0, int(Quality.PROFILE)]


def test_two_values_for_one_instant_hold_the_bill(pair):
    district, spoilt = pair
    district.connection.execute(CONFLICT, [OCTOBER.end_at, 1_166_000, spoilt.meter, IMPORT])
    hold = only_hold(run_billing(district.dsn, OCTOBER), billed=1)
    assert hold.reason == "conflicting_register_readings"


def test_a_conflict_that_differs_in_quality_alone_holds_nothing(pair):
    district, spoilt = pair
    district.connection.execute(CONFLICT, [OCTOBER.end_at, 1_165_000, spoilt.meter, IMPORT])
    assert run_billing(district.dsn, OCTOBER).held == 0


def test_a_suspect_reading_holds_the_bill(pair):
    district, spoilt = pair
    district.forget(spoilt.meter, IMPORT, OCTOBER.end_at)
    district.store(spoilt.meter, IMPORT, OCTOBER.end_at, 1_165_000, Quality.SUSPECT | Quality.PROFILE)
    assert only_hold(run_billing(district.dsn, OCTOBER), billed=1).reason == "suspect_register_reading"


def test_a_register_that_fell_holds_the_bill_and_one_that_rolled_over_does_not(district: District):
    fell = Customer(number=1, registers={IMPORT: (5_000_000, 4_000_000)})
    rolled = Customer(number=2, registers={IMPORT: (999_900_000, 65_000)})  # six digits: 10⁶ kWh
    district.add([fell, rolled])
    summary = run_billing(district.dsn, OCTOBER)
    hold = only_hold(summary, billed=1)
    assert (hold.metering_point_id, hold.reason) == (fell.point, "rollover_implausible")
    assert summary.bills[0].energy_wh == 165_000


def test_a_meter_without_a_contract_is_seen(district: District):
    district.add([household(1)], contracts=False)
    assert only_hold(run_billing(district.dsn, OCTOBER), billed=0).reason == "no_contract"


def test_a_contract_without_a_meter_is_held(pair):
    district, spoilt = pair
    district.connection.execute("delete from installation where metering_point_id = %s", [spoilt.point])
    assert only_hold(run_billing(district.dsn, OCTOBER), billed=1).reason == "no_meter"


def test_contracts_that_overlap_are_held(pair):
    district, spoilt = pair
    district.connection.execute(
        "update contract set valid_to = '2026-10-10' where metering_point_id = %s", [spoilt.point]
    )
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category) values (%s, '2026-10-05', 'residential')",
        [spoilt.point],
    )
    assert only_hold(run_billing(district.dsn, OCTOBER), billed=1).reason == "several_contracts"


def test_a_category_nobody_knows_is_held_and_named(pair):
    district, spoilt = pair
    district.connection.execute("update contract set category = 'palace' where metering_point_id = %s", [spoilt.point])
    hold = only_hold(run_billing(district.dsn, OCTOBER), billed=1)
    assert hold.reason == "unknown_contract_term"
    assert "palace" in hold.detail
    assert text_of(hold.sentences, Language.VI).startswith("mục đích trong hợp đồng là 'palace', chỉ có residential, ")


def test_a_register_the_contract_needs_and_the_meter_never_sent_is_held(district: District):
    without_rates = household(1, category="business", voltage="lt6", three_rates=True)
    without_export = household(2, solar_regime="separate_2020")
    district.add([without_rates, without_export])
    summary = run_billing(district.dsn, OCTOBER)
    assert summary.billed == 0
    rates, export = summary.holds
    assert all(obis in rates.detail for obis in RATES[:1])
    assert EXPORT in export.detail
    assert "never sent" in export.detail


@pytest.mark.parametrize(("total_wh", "held"), [(600_000, False), (603_999, False), (604_000, True), (596_000, True)])
def test_three_rates_that_do_not_sum_to_the_total_are_held_and_what_displays_drop_is_not(
    district: District, total_wh: int, held: bool
) -> None:
    rates = {obis: (1_000_000, 1_000_000 + used) for obis, used in zip(RATES, (300_000, 200_000, 100_000), strict=True)}
    registers = {**rates, IMPORT: (3_000_000, 3_000_000 + total_wh)}
    shop = Customer(number=1, registers=registers, category="business", voltage="lt6", three_rates=True)
    district.add([shop, household(2)])
    summary = run_billing(district.dsn, OCTOBER)
    assert [(hold.metering_point_id, hold.reason) for hold in summary.holds] == (
        [(shop.point, "rates_against_total")] if held else []
    )
    assert summary.billed == (1 if held else 2)


def test_a_doubted_total_says_nothing_against_three_rates(district: District) -> None:
    rates = {obis: (1_000_000, 1_000_000 + used) for obis, used in zip(RATES, (300_000, 200_000, 100_000), strict=True)}
    shop = Customer(number=1, registers=rates, category="business", voltage="lt6", three_rates=True)
    district.add([replace(shop, registers={**rates, IMPORT: (3_000_000, 9_000_000)})])
    district.connection.execute("update reading set quality = %s where value = 9000000", [int(Quality.SUSPECT)])
    assert run_billing(district.dsn, OCTOBER).billed == 1


def exchange(district: District, customer: Customer, *, removed_at: datetime, installed_at: datetime) -> None:
    """Give the customer a second meter, with a register of its own, in the middle of the month."""
    district.connection.execute(
        "update installation set removed_at = %s where metering_point_id = %s", [removed_at, customer.point]
    )
    district.connection.execute(
        "insert into meter (meter_id, gateway_id, model, digits) values ('N-1', 'gw-01', 'test', 6)"
    )
    district.connection.execute("insert into channel (meter_id, obis, unit) values ('N-1', %s, 'Wh')", [IMPORT])
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, multiplier) values (%s, 'N-1', %s, 2)",
        [customer.point, installed_at],
    )
    district.store(customer.meter, IMPORT, removed_at, 1_080_000)
    district.store("N-1", IMPORT, installed_at, 7_000)
    district.store("N-1", IMPORT, OCTOBER.end_at, 47_000)


def test_the_parts_before_and_after_a_meter_exchange_add_up(pair):
    district, exchanged = pair
    exchange(district, exchanged, removed_at=MIDDLE_AT, installed_at=MIDDLE_AT + timedelta(minutes=20))
    summary = run_billing(district.dsn, OCTOBER)
    assert summary.held == 0
    bill = summary.bills[1]
    assert bill.energy_wh == 80_000 + 2 * 40_000
    assert [meter["meter_id"] for meter in bill.inputs["meters"]] == [exchanged.meter, "N-1"]


def test_days_without_a_meter_between_two_are_held(pair):
    district, exchanged = pair
    exchange(district, exchanged, removed_at=MIDDLE_AT, installed_at=MIDDLE_AT + timedelta(days=2))
    hold = only_hold(run_billing(district.dsn, OCTOBER), billed=1)
    assert hold.reason == "no_meter"
    assert "N-1" in hold.detail


def test_two_meters_at_one_point_at_once_are_held(pair):
    district, exchanged = pair
    exchange(district, exchanged, removed_at=MIDDLE_AT + timedelta(hours=1), installed_at=MIDDLE_AT)
    assert only_hold(run_billing(district.dsn, OCTOBER), billed=1).reason == "no_meter"


def test_two_meters_at_one_point_for_the_whole_month_are_held(pair):
    district, doubled = pair
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at) values (%s, %s, '2025-02-01')",
        [doubled.point, household(1).meter],
    )
    hold = only_hold(run_billing(district.dsn, OCTOBER), billed=1)
    assert (hold.reason, doubled.meter in hold.detail, household(1).meter in hold.detail) == ("no_meter", True, True)


def test_a_month_begun_on_the_eleventh_is_billed_by_its_days(pair):
    district, newcomer = pair
    district.connection.execute(
        "update contract set valid_from = '2026-10-11' where metering_point_id = %s", [newcomer.point]
    )
    first_at = OCTOBER.start_at + timedelta(days=10)
    district.store(newcomer.meter, IMPORT, first_at, 1_000_000)
    bill = run_billing(district.dsn, OCTOBER).bills[1]
    request = QuoteRequest(
        category=Category.RESIDENTIAL, start_on=date(2026, 10, 11), end_on=date(2026, 10, 31), energy_wh=165_000
    )
    assert (bill.first_on, bill.total) == (date(2026, 10, 11), quote(request).total)


def test_net_metering_is_held_when_the_month_before_was_not_billed(district: District):
    solar = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 400_000)}, solar_regime="net_2017")
    district.add([solar])
    run_billing(district.dsn, OCTOBER)
    december = OCTOBER.of_month("2026-12")
    district.read([solar], december)
    hold = only_hold(run_billing(district.dsn, december), billed=0)
    assert hold.reason == "previous_period_not_billed"
    assert "from 01/11/2026 to 30/11/2026 are under contract" in hold.detail
    assert NOVEMBER.last_on < december.first_on


def test_net_metering_is_billed_again_after_a_month_without_a_contract(district: District):
    """The surplus was bought when the contract ended; none is carried over the month nobody had a contract for."""
    solar = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 400_000)}, solar_regime="net_2017")
    district.add([solar])
    december = OCTOBER.of_month("2026-12")
    district.connection.execute("update contract set valid_to = %s", [OCTOBER.last_on])
    run_billing(district.dsn, OCTOBER)
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, solar_regime) values (%s, %s, %s, %s)",
        [solar.point, december.first_on, "residential", "net_2017"],
    )
    district.read([solar], december)
    district.forget(solar.meter, EXPORT, december.end_at)
    district.store(solar.meter, EXPORT, december.end_at, 100_000)
    [bill] = run_billing(district.dsn, december).bills
    assert (bill.energy_wh, bill.inputs["carried_in_wh"]) == (200_000, 0)


def test_a_price_that_changes_twice_within_a_month_is_held_where_no_one_read_with_who_does_what(district: District):
    """No acts came twice in a month; two made up here do. Who is read by hand is shared out by days all the same."""
    remote, by_hand, read = household(1), household(2), household(3)
    district.add([remote, by_hand, read])
    district.forget(by_hand.meter, IMPORT, OCTOBER.end_at)
    district.store(by_hand.meter, IMPORT, OCTOBER.end_at, 1_165_000, Quality.MANUAL)
    tariffs = load_tariffs()
    days = (date(2026, 10, 11), date(2026, 10, 21))
    acts = tuple(replace(tariffs.acts[-1], effective_on=day) for day in days)
    for customer in (by_hand, read):
        for day in days:
            district.store(customer.meter, IMPORT, midnight_of(day), 1_000_000 + 5_000 * day.day)
    with psycopg.connect(district.dsn) as connection:
        terms = terms_of_run(connection, OCTOBER)
        frame = Frame(OCTOBER, Selection(), terms, (0,) * len(terms), days)
        points = gather(connection, frame, Chunk("", "PD99", 3))
    decision = decide(points, replace(tariffs, acts=(*tariffs.acts, *acts)), load_thresholds())
    [hold] = decision.holds
    assert (hold.metering_point_id, hold.reason) == (remote.point, "price_change_not_read")
    assert "several times within the period (11/10/2026, 21/10/2026)" in hold.detail
    assert "enter what it stood at at 00:00 of each" in hold.detail
    assert decision.computed.charges.billed_wh[decision.computed.places].tolist() == [165_000, 165_000]
