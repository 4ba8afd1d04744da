"""Billed at the wrong price: issued bills priced again for the right use, proposed by one, approved by another."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest

from billing_core.codes import Category, Voltage
from billing_core.explain import Language
from ingest_server.billing.acts import Actor, Role, cancel, issue, release
from ingest_server.billing.back_bill import back_bill, propose_back_billing, replay_back_billings
from ingest_server.billing.back_bill_prices import BackBilled, Line, Use, Wrong, merged
from ingest_server.billing.corrections import correction_lines, decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.true_up import true_up
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, IMPORT, OCTOBER, RATES, Customer, District, household
from tests.billing_runs.test_netting_by_rate import SENT
from tests.vee.test_true_up import MONTHS as ESTIMATED
from tests.vee.test_true_up import estimated

pytestmark = pytest.mark.integration
ALL = Selection()
LAN, MINH = Actor("Lan", Role.BILLER, "bán hàng tại nhà"), Actor("Minh", Role.DIRECTOR, "đúng")
SHOP = Use(category=Category.BUSINESS)
MONTHS = ("2026-07", "2026-08", "2026-09", "2026-10")
HOME_TOTAL, SHOP_TOTAL = 474_876, 680_832  # of 200 kWh a month: 439,700 and 200 × 3,152, with 8 % tax


def issued(district: District, months: Sequence[str] = MONTHS, energy_wh: int = 200_000, **terms: Any) -> Customer:
    """Issue bills of one customer for consecutive months, each of as much energy."""
    first, *others = (Period.of_month(month) for month in months)
    customer = household(1, energy_wh, **terms)
    district.add([customer], first)
    for number, period in enumerate(others, 2):
        district.store(customer.meter, IMPORT, period.end_at, 1_000_000 + number * energy_wh)
    for month in months:
        assert run_billing(district.dsn, Period.of_month(month), Plan(issue_as="Hoa")).issued == 1
    return customer


def wrong(since_on: date | None, found_on: date = date(2026, 10, 31), right: Use = SHOP) -> Wrong:
    return Wrong(right=right, found_on=found_on, since_on=since_on)


def priced(district: District, point: str, since_on: date | None, **about: Any) -> list[BackBilled]:
    return back_bill(district.connection, point, wrong(since_on, **about))


def approve(district: District, numbers: Sequence[int | None]) -> None:
    for number in numbers:
        assert number is not None
        decide_difference(district.connection, number, "approve", MINH)


def receivable(district: District) -> int:
    ledger = ledger_of(district.connection)
    assert (ledger["sum"], ledger["broken_at_block"]) == (0, None)
    found: int = ledger["accounts"]["receivable"]
    return found


def test_a_shop_billed_as_a_home_owes_the_difference_of_each_month_once_another_person_approved_it(
    district: District,
) -> None:
    point = issued(district).point
    bills = district.rows("select * from bill order by bill_id")
    dry = priced(district, point, date(2026, 9, 1))
    assert [(each.bill_id, each.before, each.total) for each in dry] == [
        (bill, HOME_TOTAL, SHOP_TOTAL - HOME_TOTAL) for bill in (3, 4)
    ]
    assert district.value("select count(*) from bill_difference") == 0
    owed = receivable(district)
    proposed = propose_back_billing(district.connection, point, wrong(date(2026, 9, 1)), LAN)
    assert [each for each, _ in proposed] == dry
    assert receivable(district) == owed
    with pytest.raises(RefusedError, match="LAN proposed it"):
        decide_difference(district.connection, 1, "approve", Actor(" LAN", Role.DIRECTOR, "x"))
    approve(district, [number for _, number in proposed])
    assert receivable(district) == owed + 2 * (SHOP_TOTAL - HOME_TOTAL)
    assert district.rows("select * from bill order by bill_id") == bills


def test_a_home_billed_as_a_shop_is_paid_back(district: District) -> None:
    point = issued(district, category="business").point
    home = Use(category=Category.RESIDENTIAL)
    proposed = propose_back_billing(district.connection, point, wrong(date(2026, 10, 1), right=home), LAN)
    approve(district, [number for _, number in proposed])
    assert receivable(district) == 3 * SHOP_TOTAL + HOME_TOTAL


def test_where_nobody_knows_the_begin_twelve_months_are_priced_again_and_not_a_day_more(district: District) -> None:
    months = [f"2025-{month:02}" for month in range(6, 13)] + [f"2026-{month:02}" for month in range(1, 7)]
    point = issued(district, months).point
    found = priced(district, point, None, found_on=date(2026, 6, 20))
    assert [each.bill_id for each in found] == list(range(1, 14))
    # Of June 2025 19 of 30 days are 127 of 200 kWh: 73 kWh, of which the home's tiers are 18, 18 and 37.
    assert (found[0].first_on, found[0].energy_wh) == (date(2025, 6, 20), 73_000)
    assert found[0].subtotal == 73 * 3_152 - (18 * 1_984 + 18 * 2_050 + 37 * 2_380)
    assert {each.total for each in found[1:]} == {SHOP_TOTAL - HOME_TOTAL}


def test_the_lines_of_a_bill_that_is_cut_say_what_falls_away_and_what_comes_and_sum_to_it(district: District) -> None:
    point = issued(district, MONTHS[:1]).point
    [(each, number)] = propose_back_billing(district.connection, point, wrong(date(2026, 7, 21)), LAN)
    assert number is not None
    [lines] = correction_lines(district.connection, [number], Language.EN).values()
    # 20 of 31 days are 129 of 200 kWh, so 71 are left, in tiers of 18, 18 and 35.
    assert [(line["kwh"], line["amount"]) for line in lines if line["kind"] == "energy"] == [
        (-18, -18 * 1_984),
        (-18, -18 * 2_050),
        (-35, -35 * 2_380),
        (71, 71 * 3_152),
    ]
    assert {(line["from"], line["to"]) for line in lines} == {("2026-07-21", "2026-07-31")}
    assert sum(line["amount"] for line in lines) == each.total
    assert sum(line["amount"] for line in lines if line["kind"] == "vat") == each.vat
    assert each.vat + each.subtotal == each.total


def test_a_price_change_within_a_bill_is_priced_on_both_sides(district: District) -> None:
    """The price of 10 May 2025: a home read by hand is shared out by days, and so is the shop that it was."""
    customer = household(1, 310_000)
    may = Period.of_month("2025-05")
    district.add([customer], may)
    district.connection.execute("update reading set quality = 64 where measured_at = %s", [may.end_at])
    assert run_billing(district.dsn, may, Plan(issue_as="Hoa")).issued == 1
    [whole] = priced(district, customer.point, date(2025, 5, 1), found_on=date(2025, 6, 1))
    [cut] = priced(district, customer.point, date(2025, 5, 10), found_on=date(2025, 6, 1))
    old, new = 90, 220
    acts = {line["act"] for line in _lines(district, customer.point, date(2025, 5, 1), date(2025, 6, 1))}
    assert len(acts) == 3  # both prices, and the tax
    assert (whole.refused, whole.energy_wh) == ("", 310_000)
    assert cut.energy_wh == new * 1_000
    assert whole.subtotal > cut.subtotal > 0
    assert old * 1_000 + cut.energy_wh == whole.energy_wh


def _lines(district: District, point: str, since_on: date, found_on: date) -> list[dict[str, Any]]:
    [(_, number)] = propose_back_billing(district.connection, point, wrong(since_on, found_on), LAN)
    assert number is not None
    return correction_lines(district.connection, [number], Language.EN)[number]


def test_households_that_change_within_a_bill_are_those_of_the_days_priced_again(district: District) -> None:
    customer = household(1, 200_000)
    district.add([customer], OCTOBER)
    district.connection.execute("update contract set valid_to = '2026-10-10'")
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households, three_rates)"
        " values (%s, '2026-10-11', 'residential', 3, false)",
        [customer.point],
    )
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1
    [each] = priced(district, customer.point, date(2026, 10, 21))
    # 20 of 31 days are 129 of 200 kWh; 71 are left, in tiers of three households: 53 and 18.
    assert (each.refused, each.energy_wh) == ("", 71_000)
    assert each.subtotal == 71 * 3_152 - (53 * 1_984 + 18 * 2_050)


def test_what_was_carried_by_net_metering_stays_and_only_what_was_billed_is_priced_again(district: District) -> None:
    roof = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 100_000)}, solar_regime="net_2017")
    district.add([roof])
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1
    [(each, number)] = propose_back_billing(district.connection, roof.point, wrong(date(2026, 10, 1)), LAN)
    assert (each.energy_wh, each.total) == (200_000, SHOP_TOTAL - HOME_TOTAL)
    approve(district, [number])
    [found] = differences_of(district.connection, OCTOBER, ALL)
    assert (found["purchased_wh"], found["purchased"], found["carried_out_wh"]) == (0, 0, 0)


def test_a_bill_of_three_rates_and_another_voltage_is_priced_again(district: District) -> None:
    shop = Customer(
        number=1,
        registers=dict(zip(RATES, ((0, 100_000), (0, 60_000), (0, 40_000)), strict=True)),
        category="business",
        voltage="lt6",
        three_rates=True,
    )
    district.add([shop])
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1
    works = Use(category=Category.PRODUCTION, voltage=Voltage.KV6_22)
    [each] = priced(district, shop.point, date(2026, 10, 1), right=works)
    assert not each.refused
    assert each.total < 0


def test_net_metering_of_three_rates_is_priced_again_at_each_rate(district: District) -> None:
    registers = dict(zip(RATES, ((0, 100_000), (0, 60_000), (0, 40_000)), strict=True))
    sent = dict(zip(SENT, ((0, 30_000), (0, 10_000), (0, 50_000)), strict=True))
    roof = Customer(
        number=1,
        registers=registers | sent,
        category="production",
        voltage="lt6",
        three_rates=True,
        solar_regime="net_2017",
    )
    district.add([roof])
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1
    [each] = priced(district, roof.point, date(2026, 10, 1))
    # 70 kWh at the normal rate and 50 at the peak are billed; the 10 of the night are carried on.
    assert (each.refused, each.energy_wh) == ("", 120_000)


def test_bills_of_net_metering_read_at_several_changes_are_priced_again_together(district: District) -> None:
    roof = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 100_000)}, solar_regime="net_2017")
    may = Period.of_month("2025-05")
    district.add([roof], may)
    change = datetime(2025, 5, 9, 17, tzinfo=UTC)
    district.store(roof.meter, IMPORT, change, 120_000)
    district.store(roof.meter, EXPORT, change, 20_000)
    june = Period.of_month("2025-06")
    district.store(roof.meter, IMPORT, june.end_at, 500_000)
    district.store(roof.meter, EXPORT, june.end_at, 150_000)
    for month in (may, june):
        assert run_billing(district.dsn, month, Plan(issue_as="Hoa")).issued == 1
    found = priced(district, roof.point, date(2025, 5, 1), found_on=date(2025, 6, 30))
    assert [(each.refused, each.energy_wh) for each in found] == [("", 200_000), ("", 150_000)]


def mixed(district: District, customer: Customer) -> None:
    uses = json.dumps([{"category": "business", "voltage": "lt6", "share_percent": 30}])
    district.connection.execute("update contract set uses = %s where metering_point_id = %s", [uses, customer.point])


def test_what_cannot_be_priced_again_is_left_alone_with_its_reason_and_the_others_go_on(district: District) -> None:
    several, waiting, plain = household(2, 200_000), household(3, 200_000), household(4, 200_000)
    district.add([several, waiting, plain])
    mixed(district, several)
    run_billing(district.dsn, OCTOBER, Plan(selection=Selection((several.point, plain.point)), issue_as="Hoa"))
    run_billing(district.dsn, OCTOBER)
    for customer, right, reason in (
        (several, SHOP, "several_uses"),
        (waiting, SHOP, "not_issued"),
        (plain, Use(category=Category.TOURISM), "no_price"),
        (plain, Use(rate_plan="of nobody"), "no_plan"),
        (plain, SHOP, ""),
    ):
        [(each, number)] = propose_back_billing(
            district.connection, customer.point, wrong(date(2026, 10, 1), right=right), LAN
        )
        assert (each.refused, each.total == 0, number is None) == (reason, bool(reason), bool(reason))
    [again] = priced(district, plain.point, date(2026, 10, 1))
    assert (again.refused, again.about) == ("back_billed", 1)
    decide_difference(district.connection, 1, "reject", MINH)
    assert not priced(district, plain.point, date(2026, 10, 1))[0].refused


def test_a_bill_that_was_cancelled_is_no_bill_and_its_back_billing_goes_with_it(district: District) -> None:
    point = issued(district, MONTHS[:2]).point
    proposed = propose_back_billing(district.connection, point, wrong(date(2026, 7, 1)), LAN)
    approve(district, [number for _, number in proposed])
    cancel(district.connection, 1, MINH)
    assert receivable(district) == SHOP_TOTAL
    assert [each.bill_id for each in priced(district, point, date(2026, 7, 1))] == [2]
    assert all(each.same for each in replay_back_billings(district.connection))


def test_days_and_points_that_make_no_sense_are_refused(district: District) -> None:
    point = issued(district, MONTHS[:1]).point
    with pytest.raises(UsageError, match="there is no metering point 'PX'"):
        priced(district, "PX", date(2026, 7, 1))
    with pytest.raises(UsageError, match="can't be wrong only after 2026-10-31"):
        priced(district, point, date(2026, 11, 1))
    assert priced(district, point, date(2026, 8, 1)) == []


def test_a_run_finds_a_back_billed_bill_unchanged_by_the_old_contract_and_by_the_right_one(district: District) -> None:
    point = issued(district, MONTHS[-1:]).point
    [(_, number)] = propose_back_billing(district.connection, point, wrong(date(2026, 10, 1)), LAN)
    correct = Plan(correct_as=("Lan", "đến muộn"))
    assert run_billing(district.dsn, OCTOBER, correct).proposed == 0
    approve(district, [number])
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.unchanged, summary.differing, summary.total) == (1, 0, SHOP_TOTAL)
    assert run_billing(district.dsn, OCTOBER, correct).proposed == 0
    district.connection.execute("update contract set category = 'business'")
    summary = run_billing(district.dsn, OCTOBER, correct)
    assert (summary.proposed, summary.unchanged, summary.differing, summary.difference) == (0, 1, 0, 0)


def test_a_late_reading_of_a_back_billed_bill_waits_until_its_contract_is_corrected(district: District) -> None:
    """By the old contract the difference would take the back-billing back; by the right one it adds to it."""
    customer = issued(district, MONTHS[-1:])
    [(_, number)] = propose_back_billing(district.connection, customer.point, wrong(date(2026, 10, 1)), LAN)
    approve(district, [number])
    district.forget(customer.meter, IMPORT, OCTOBER.end_at)
    district.store(customer.meter, IMPORT, OCTOBER.end_at, 1_210_000)
    correct = Plan(correct_as=("Lan", "đến muộn"))
    assert run_billing(district.dsn, OCTOBER, correct).proposed == 1
    with pytest.raises(UsageError, match=r"difference 1 back-billed bill 1 .* correct the contract"):
        decide_difference(district.connection, 2, "approve", MINH)
    decide_difference(district.connection, 2, "reject", MINH)
    district.connection.execute("update contract set category = 'business'")
    assert run_billing(district.dsn, OCTOBER, correct).proposed == 1
    decide_difference(district.connection, 3, "approve", MINH)
    assert receivable(district) == 714_874  # 210 × 3,152 đ and 8 %, half up


def test_a_bill_with_a_difference_is_priced_again_from_what_it_stands_at(district: District) -> None:
    customer = issued(district, MONTHS[-1:], 150_000)
    district.forget(customer.meter, IMPORT, OCTOBER.end_at)
    district.store(customer.meter, IMPORT, OCTOBER.end_at, 1_200_000)
    run_billing(district.dsn, OCTOBER, Plan(correct_as=("Lan", "đến muộn")))
    approve(district, [1])
    assert receivable(district) == HOME_TOTAL
    [(each, number)] = propose_back_billing(district.connection, customer.point, wrong(date(2026, 10, 1)), LAN)
    assert (each.before, each.total) == (HOME_TOTAL, SHOP_TOTAL - HOME_TOTAL)
    approve(district, [number])
    assert receivable(district) == SHOP_TOTAL
    assert [each.same for each in replay_back_billings(district.connection)] == [True]


def test_a_back_billing_that_was_tampered_with_does_not_come_out_the_same(district: District) -> None:
    point = issued(district, MONTHS[:2]).point
    propose_back_billing(district.connection, point, wrong(date(2026, 7, 11)), LAN)
    assert [each.same for each in replay_back_billings(district.connection)] == [True, True]
    with psycopg.connect(district.dsn, autocommit=True) as owner:
        owner.execute("alter table bill_difference disable trigger bill_difference_stays")
        owner.execute("alter table back_billing disable trigger back_billing_stays")
        owner.execute("update bill_difference set total = total + 1 where difference_id = 1")
        owner.execute("update back_billing set since_on = '2026-08-02' where difference_id = 2")
    found = list(replay_back_billings(district.connection, bills=[1, 2]))
    assert [each.same for each in found] == [False, False]
    assert "stored" in found[0].why


USES = (Category.BUSINESS, Category.PRODUCTION, Category.LIGHTING_ADMIN)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_dry_run_says_what_is_proposed_and_the_ledger_sums_to_zero_after_it(district: District, seed: int) -> None:
    """Twelve homes of any energy, found to be something else on any day, or on a day nobody knows."""
    random = Random(seed)
    homes = [household(number, 1_000 * random.randint(0, 3_000)) for number in range(1, 13)]
    district.add(homes, Period.of_month(MONTHS[0]))
    index = {home.meter: home.registers[IMPORT][1] for home in homes}
    for month in MONTHS:
        period = Period.of_month(month)
        if month != MONTHS[0]:
            for home in homes:
                index[home.meter] += 1_000 * random.randint(0, 3_000)
                district.store(home.meter, IMPORT, period.end_at, index[home.meter])
        run_billing(district.dsn, period)
        for (bill_id,) in district.rows("select bill_id from bill_state where state = 'held'"):
            release(district.connection, bill_id, MINH)
        issue(district.connection, period, ALL, Actor("Hoa", Role.BILLER))
    moved = 0
    owed = receivable(district)
    for home in homes:
        since = random.choice([None, date(2026, 7, 1) + timedelta(days=random.randint(0, 122))])
        about = wrong(since, right=Use(category=random.choice(USES)))
        dry = back_bill(district.connection, home.point, about)
        proposed = propose_back_billing(district.connection, home.point, about, LAN)
        assert [each for each, _ in proposed] == dry
        numbers = [number for _, number in proposed if number is not None]
        stored = district.rows(
            "select bill_id, subtotal, vat, total from bill_difference where difference_id = any(%s) order by bill_id",
            [numbers],
        )
        assert stored == [(each.bill_id, each.subtotal, each.vat, each.total) for each, number in proposed if number]
        approve(district, numbers)
        moved += sum(each.total for each in dry)
    assert moved != 0
    assert receivable(district) - owed == moved
    assert all(each.same for each in replay_back_billings(district.connection))


def test_two_who_propose_at_once_propose_one_difference_a_bill(district: District) -> None:
    point = issued(district, MONTHS[:2]).point

    def propose(name: str) -> list[tuple[BackBilled, int | None]]:
        with psycopg.connect(district.dsn, autocommit=True) as connection:
            return propose_back_billing(connection, point, wrong(date(2026, 7, 1)), Actor(name, Role.BILLER, "x"))

    with ThreadPoolExecutor(2) as executor:
        outcomes = list(executor.map(propose, ("Lan", "Hoa")))
    assert sorted(len([each for each, _ in found if each.refused == "back_billed"]) for found in outcomes) == [0, 2]
    assert district.rows("select bill_id from bill_difference order by bill_id") == [(1,), (2,)]


def test_a_back_billing_does_not_stand_for_the_correction_of_an_estimate_that_was_trued_up(district: District) -> None:
    estimated(district)
    district.store("M-0001", IMPORT, ESTIMATED[-1].end_at, 2_310_003)
    about: dict[str, Any] = {"made_by": "Lan", "why": "đã có chỉ số", "now": datetime(2018, 3, 1, tzinfo=UTC)}
    outcome = true_up(district.dsn, ALL, rule_set="x", **about)
    decide_change(district.connection, outcome.changes[0], "approve", MINH, limits_from(None))
    found = propose_back_billing(
        district.connection, household(1).point, wrong(date(2018, 1, 1), date(2018, 1, 31)), LAN
    )
    assert [number for _, number in found] == [1]
    again = true_up(district.dsn, ALL, rule_set="x", **about)
    assert [each.proposed for each in again.corrected] == [1, 1, 1]


def test_lines_that_fall_away_and_come_again_are_one_line() -> None:
    slots = [json.dumps({"kind": kind, "clause": "c", "certainty": "official"}) for kind in ("vat", "energy")]
    tax, energy = slots
    stood = [Line(energy, 5, 50, 1), Line(tax, 0, 5, 80)]
    more = [Line(energy, 5, 70, 2), Line(tax, 0, 7, 80)]
    assert merged(stood, stood, more) == tuple(more)
    assert merged(stood, stood, []) == ()
    assert merged([], [stood[0]], []) == (Line(energy, -5, -50, 1),)
