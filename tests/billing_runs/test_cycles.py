"""Runs of a reading book's own cycle: its days, its quotas, and how bills of such periods stand to others."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from billing_core.codes import Category
from billing_core.quote import QuoteRequest, quote
from deploy.cli import main
from ingest_server.billing.acts import Actor, Role, issue, release
from ingest_server.billing.cycles import Asked, cycles_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.rebill import rebill
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.billing.stored import list_bills, list_holds
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.ends import propose_ends
from ingest_server.vee.true_up import true_up
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, IMPORT, OCTOBER, RATES, Customer, District, household
from tests.billing_runs.test_rate_plans import DEMAND, agree, demand_lines

pytestmark = pytest.mark.integration
LAN = Actor("Lan", Role.CONTROLLER, "chỉ số đúng")
SEPTEMBER, NOVEMBER, DECEMBER = (Period.of_month(f"2026-{month:02d}") for month in (9, 11, 12))
ALL = Selection()
EVERYTHING = Period(date(2017, 1, 1), date(2027, 12, 31))
BOOK = """
    insert into reading_book (book_id, unit, reading_day, cycle) values (%s, 'PD0100', %s, %s)
    on conflict (book_id) do update set reading_day = excluded.reading_day, cycle = excluded.cycle
"""
READ = "select value from reading order by measured_at desc limit 1"
STANDING = """
    select period_from, period_to, energy_wh from bill join bill_state using (bill_id)
    where metering_point_id = %s and state <> 'superseded' order by period_from
"""
MOVE = "update metering_point set book_id = %s where metering_point_id = %s"
BILLS = """
    select period_from::text, period_to::text, energy_wh, total from bill
    where metering_point_id = %s order by period_from, version
"""


def book(
    district: District, name: str, reading_day: int, cycle: str = "monthly", points: Sequence[Customer] = ()
) -> None:
    """Enter a reading book, or change its day, and put points into it."""
    district.connection.execute(BOOK, [name, reading_day, cycle])
    for each in points:
        district.connection.execute(MOVE, [name, each.point])


def people(district: District, count: int = 1, **terms: Any) -> list[Customer]:
    """Enter customers who use a kWh an hour, read at each midnight of the tests' months."""
    found = [household(number, 0, 0, **terms) for number in range(1, count + 1)]
    district.add(found, Period(date(2016, 11, 30), date(2016, 11, 30)))
    district.connection.execute("update installation set installed_at = '2017-01-01'")
    district.connection.execute("update contract set valid_from = '2017-01-02'")
    return found


def read(district: District, customers: Sequence[Customer], *days: date, obis: str = IMPORT) -> None:
    """Store the registers at the begin of each day: a kWh for each hour since 2017."""
    for customer in customers:
        for day in days:
            hours = (midnight_of(day) - midnight_of(date(2017, 1, 1))) // timedelta(hours=1)
            district.store(customer.meter, obis, midnight_of(day), hours * 1_000)


def days_from(first_on: date, count: int) -> list[date]:
    return [first_on + timedelta(days=day) for day in range(count)]


def bill_cycle(
    district: District,
    month: Period,
    selection: Selection = ALL,
    **asked: Any,
) -> list[Summary]:
    """Run the cycles that end in ``month``; see that every bill of the database replays to the same bytes."""
    plan = cycles_of(district.connection, Asked(month, **asked), selection)
    made = [run_billing(district.dsn, period, Plan(selection=own)) for period, own in plan]
    assert [each.why for each in replay(district.connection) if not each.same] == []
    return made


def bills_of(district: District, customer: Customer) -> list[tuple[str, str]]:
    return [row[:2] for row in district.rows(BILLS, [customer.point])]


def issue_all(district: District) -> int:
    return issue(district.connection, EVERYTHING, Selection(), LAN)


def test_a_book_of_the_16th_is_billed_from_the_17th_to_the_16th_as_a_quote_says(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 17), date(2026, 11, 17))
    [october] = bill_cycle(district, OCTOBER)
    [november] = bill_cycle(district, NOVEMBER)
    assert (october.billed, november.billed, october.held) == (1, 1, 0)
    assert bills_of(district, customer) == [("2026-09-17", "2026-10-16"), ("2026-10-17", "2026-11-16")]
    asked = QuoteRequest(
        category=Category.RESIDENTIAL, start_on=date(2026, 9, 17), end_on=date(2026, 10, 16), energy_wh=720_000
    )
    assert october.total == quote(asked).total
    assert str(october.period) == "2026-09-17/2026-10-16"


def test_a_second_run_of_a_cycle_makes_no_second_bill_and_a_dry_run_says_the_same(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 17))
    [(period, own)] = cycles_of(district.connection, Asked(OCTOBER), Selection())
    dry = run_billing(district.dsn, period, Plan(selection=own, dry_run=True))
    [first] = bill_cycle(district, OCTOBER)
    [second] = bill_cycle(district, OCTOBER)
    assert (first.billed, second.billed, second.unchanged) == (1, 0, 1)
    assert dry.digest == first.digest == second.digest


def test_the_57_days_of_hanoi_stretch_the_quotas_as_published(district: District):
    [customer] = people(district)
    book(district, "S03", 3, points=[customer])
    read(district, [customer], date(2023, 12, 4), date(2024, 1, 4))
    bill_cycle(district, Period.of_month("2024-01"))
    assert issue_all(district) == 1
    book(district, "S03", 31)
    since = district.value(READ)
    district.store(customer.meter, IMPORT, midnight_of(date(2024, 3, 1)), since + 552_000)
    district.store(customer.meter, IMPORT, midnight_of(date(2024, 4, 1)), since + 852_000)
    [stretched] = bill_cycle(district, Period.of_month("2024-02"))
    assert (stretched.period.days, stretched.period.nominal_days) == (57, 31)
    [made] = stretched.bills
    quotas = [line.operands["quota_kwh"] for line in made.lines if "quota_kwh" in line.operands]
    assert quotas == [92, 92, 184, 184]
    assert (stretched.subtotal, stretched.total) == (1_238_688, 1_337_783)  # golden/bills/hanoi-2024-02-57-days
    [after] = bill_cycle(district, Period.of_month("2024-03"))
    assert (after.period.first_on, after.period.days, after.period.nominal_days) == (date(2024, 3, 1), 31, 31)


def test_books_of_several_days_in_one_run_are_billed_each_by_its_own(district: District):
    customers = people(district, 5)
    book(district, "S05", 5, points=customers[:1])
    book(district, "S16", 16, points=customers[1:2])
    book(district, "T31", 31, "three_times", points=customers[2:3])
    book(district, "U05", 5, points=customers[3:4])
    read(district, customers, *days_from(date(2026, 9, 6), 57))
    plan = cycles_of(district.connection, Asked(OCTOBER), Selection())
    assert [(str(period), own.books) for period, own in plan] == [
        ("2026-09-06/2026-10-05", ("S05", "U05")),
        ("2026-09-17/2026-10-16", ("S16",)),
        ("2026-10-01/2026-10-10", ("T31",)),
        ("2026-10-11/2026-10-20", ("T31",)),
        ("2026-10-21/2026-10-31", ("T31",)),
    ]
    assert [each.billed for each in bill_cycle(district, OCTOBER)] == [2, 1, 1, 1, 1]
    assert bills_of(district, customers[4]) == []
    assert [each.unchanged for each in bill_cycle(district, OCTOBER, part=2)] == [1]


def test_of_books_that_are_read_twice_each_part_has_its_share_of_what_is_a_month(district: District):
    [customer] = people(district)
    book(district, "T16", 16, "twice", points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 2), date(2026, 10, 17))
    first, second = bill_cycle(district, OCTOBER)
    assert [(each.period.days, each.period.nominal_days, each.billed) for each in (first, second)] == [(15, 30, 1)] * 2
    asked = {"category": Category.RESIDENTIAL, "energy_wh": 360_000, "nominal_days": 30}
    whole = quote(QuoteRequest(start_on=date(2026, 9, 17), end_on=date(2026, 10, 1), **asked))
    assert first.total == second.total == whole.total


def test_a_reading_a_day_late_shifts_a_day_from_one_bill_to_the_next_and_stretches_neither(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 18), date(2026, 11, 17))
    [late] = bill_cycle(district, OCTOBER, reading_day=17)
    [after] = bill_cycle(district, NOVEMBER)
    assert [(each.period.days, each.period.nominal_days, each.billed) for each in (late, after)] == [
        (31, 31, 1),
        (30, 30, 1),
    ]
    assert bills_of(district, customer) == [("2026-09-17", "2026-10-17"), ("2026-10-18", "2026-11-16")]
    [again] = bill_cycle(district, OCTOBER, reading_day=17)
    assert again.unchanged == 1
    [by_its_own_day] = bill_cycle(district, OCTOBER)
    assert [hold.reason for hold in by_its_own_day.holds] == ["issued_for_other_days"]
    with pytest.raises(UsageError, match="a day early or late"):
        bill_cycle(district, OCTOBER, reading_day=18)


def test_a_point_that_moves_to_a_book_of_calendar_months_loses_no_day_and_none_is_billed_twice(district: District):
    stays, moves = people(district, 2)
    book(district, "S16", 16, points=[stays, moves])
    book(district, "S31", 31)
    read(district, [stays, moves], date(2026, 9, 17), date(2026, 10, 17), date(2026, 11, 1), date(2026, 12, 1))
    read(district, [stays], date(2026, 11, 17))
    bill_cycle(district, OCTOBER)
    book(district, "S31", 31, points=[moves])
    [held] = [run_billing(district.dsn, OCTOBER, Plan(selection=Selection((moves.point,))))]
    assert (held.billed, held.replaced, held.differing) == (0, 0, 0)
    assert [hold.reason for hold in held.holds] == ["issued_for_other_days"]
    assert "--cycle" in held.holds[0].detail
    assert [hold["metering_point_id"] for hold in list_holds(district.connection, OCTOBER)] == [moves.point]
    [rest] = bill_cycle(district, OCTOBER, Selection(book="S31"))
    assert (rest.billed, rest.period.days, rest.period.nominal_days) == (1, 15, 31)
    month = run_billing(district.dsn, NOVEMBER, Plan(selection=Selection((moves.point,))))
    bill_cycle(district, NOVEMBER, Selection(book="S16"))
    assert month.billed == 1
    assert bills_of(district, moves) == [
        ("2026-09-17", "2026-10-16"),
        ("2026-10-17", "2026-10-31"),
        ("2026-11-01", "2026-11-30"),
    ]
    assert bills_of(district, stays) == [("2026-09-17", "2026-10-16"), ("2026-10-17", "2026-11-16")]


def test_an_issued_month_and_a_cycle_over_some_of_its_days_are_never_both_billed(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], *(date(2026, month, day) for month in (9, 10, 11) for day in (1, 17)))
    district.connection.execute("update contract set valid_from = '2026-09-20'")
    read(district, [customer], date(2026, 9, 20))
    run_billing(district.dsn, SEPTEMBER)
    assert issue_all(district) == 1
    period = Period(date(2026, 9, 17), date(2026, 10, 16), 30)
    overlapping = run_billing(district.dsn, period)
    assert (overlapping.billed, overlapping.differing) == (0, 0)
    assert [hold.reason for hold in overlapping.holds] == ["issued_for_other_days"]
    [follows] = bill_cycle(district, OCTOBER)
    assert bills_of(district, customer) == [("2026-09-20", "2026-09-30"), ("2026-10-01", "2026-10-16")]
    assert follows.period.nominal_days == 31


def test_points_of_a_book_that_were_billed_up_to_other_days_are_billed_from_there(district: District):
    usual, moved, new = people(district, 3)
    book(district, "S16", 16, points=[usual])
    book(district, "S05", 5, points=[moved])
    read(district, [usual, moved], date(2026, 8, 17), date(2026, 9, 17), date(2026, 9, 6), date(2026, 8, 6))
    bill_cycle(district, SEPTEMBER)
    book(district, "S16", 16, points=[moved, new])
    district.connection.execute(
        "update contract set valid_from = '2026-10-01' where metering_point_id = %s", [new.point]
    )
    read(district, [usual, moved, new], date(2026, 10, 17))
    read(district, [new], date(2026, 10, 1))
    made = bill_cycle(district, OCTOBER)
    assert [(str(each.period), each.billed) for each in made] == [
        ("2026-09-06/2026-10-16", 1),
        ("2026-09-17/2026-10-16", 2),
    ]
    assert bills_of(district, new) == [("2026-10-01", "2026-10-16")]


def test_a_contract_that_ends_within_a_cycle_has_a_difference_and_is_rebilled_over_its_cycle(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 1), date(2026, 10, 17))
    bill_cycle(district, OCTOBER)
    issue_all(district)
    district.connection.execute("update contract set valid_to = '2026-09-30'")
    [differing] = bill_cycle(district, OCTOBER)
    assert (differing.differing, differing.held) == (1, 0)
    bill_id = district.value("select bill_id from bill")
    new_id, summary = rebill(district.dsn, bill_id, LAN)
    assert new_id is not None
    assert summary.period == Period(date(2026, 9, 17), date(2026, 10, 16), 30)
    assert bills_of(district, customer) == [("2026-09-17", "2026-10-16"), ("2026-09-17", "2026-09-30")]
    assert [each.why for each in replay(district.connection) if not each.same] == []


def test_bills_of_cycles_are_of_the_month_in_which_they_end(district: District):
    customers = people(district, 2)
    book(district, "S16", 16, points=customers[:1])
    book(district, "S05", 5, points=customers[1:])
    read(district, customers, *days_from(date(2026, 9, 6), 75))
    for month in (OCTOBER, NOVEMBER):
        bill_cycle(district, month)
    listed = [list_bills(district.connection, month) for month in (SEPTEMBER, OCTOBER, NOVEMBER)]
    assert [[bill["period_to"] for bill in bills] for bills in listed] == [
        [],
        ["2026-10-16", "2026-10-05"],
        ["2026-11-16", "2026-11-05"],
    ]
    days = Period.of_text("2026-09-17/2026-10-16")
    assert [bill["period_to"] for bill in list_bills(district.connection, days)] == ["2026-10-16"]
    assert issue(district.connection, days, Selection(), LAN) == 1
    assert issue(district.connection, OCTOBER, Selection(), LAN) == 1


def test_however_books_change_no_day_of_a_point_is_billed_twice_or_left_out(district: District):
    """Points change books, and books their days, by chance; all cycles that have ended are run each month."""
    chance = Random(2)
    customers = people(district, 5)
    read(district, customers, *days_from(date(2026, 1, 1), 250))
    months = [Period.of_month(f"2026-{month:02d}") for month in range(2, 9)]
    books = ("A", "B", "C")
    for before, month in pairwise(months):
        for name in books:
            if month is months[1] or chance.random() < 0.4:
                often = chance.choice(["monthly", "monthly", "twice", "three_times"])
                book(district, name, chance.choice([1, 2, 10, 15, 16, 17, 28, 30, 31]), often)
        for each in customers:
            if month is months[1] or chance.random() < 0.2:
                district.connection.execute(MOVE, [chance.choice(books), each.point])
        for own in (before, month):
            for period, selection in cycles_of(district.connection, Asked(own), ALL):
                run_billing(district.dsn, period, Plan(selection=selection, issue_as=chance.choice([None, "Lan"])))
    for each in customers:
        bills = [row[:2] for row in district.rows(STANDING, [each.point])]
        assert len(bills) >= 5
        assert all(after[0] == before[1] + timedelta(days=1) for before, after in pairwise(bills)), bills
        days = (bills[-1][1] - bills[0][0]).days + 1
        assert sum(row[2] for row in district.rows(STANDING, [each.point])) == days * 24_000
    assert [each.why for each in replay(district.connection) if not each.same] == []


def test_control_compares_energy_per_day_over_cycles_however_long(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    ends = [date(2026, month, 17) for month in range(4, 10)]
    read(district, [customer], *ends)
    for month in range(5, 10):
        bill_cycle(district, Period.of_month(f"2026-{month:02d}"))
    book(district, "S16", 31)
    read(district, [customer], date(2026, 11, 1))
    [stretched] = bill_cycle(district, OCTOBER)
    assert (stretched.period.days, stretched.to_sign) == (45, 0)
    history = "select before_daily_wh[1:5] from bill order by period_to desc limit 1"
    assert district.value(history) == [24_000] * 5


def test_surplus_is_carried_from_cycle_to_cycle_and_settled_in_the_last_that_ends_in_the_year(district: District):
    [customer] = people(district, solar_regime="net_2017")
    district.copy("channel (meter_id, obis, unit)", [(customer.meter, EXPORT, "Wh")])
    book(district, "S16", 16, points=[customer])
    ends = [date(2017, 9, 17), date(2017, 10, 17), date(2017, 11, 17), date(2017, 12, 17), date(2018, 1, 17)]
    read(district, [customer], *ends)
    for number, day in enumerate(ends):
        district.store(customer.meter, EXPORT, midnight_of(day), number * 800_000)
    price_change_on = date(2017, 12, 1)
    read(district, [customer], price_change_on)
    district.store(customer.meter, EXPORT, midnight_of(price_change_on), 2_000_000)
    amounts = []
    for month in ("2017-10", "2017-11", "2017-12", "2018-01"):
        [made] = bill_cycle(district, Period.of_month(month))
        assert (made.billed, [hold.detail for hold in made.holds]) == (1, [])
        amounts.append(made.purchased_wh)
    assert amounts == [0, 0, 216_000, 0]
    carried = "select carried_in_wh, carried_out_wh from solar_purchase join bill using (bill_id) order by period_from"
    assert district.rows(carried) == [(0, 80_000), (80_000, 136_000), (136_000, 0), (0, 56_000)]


def test_a_ratchet_remembers_the_demand_of_the_cycles_before(district: District):
    ends = [date(2026, month, 17) for month in range(7, 13)]
    own = Customer(
        number=1,
        registers=dict.fromkeys((*RATES, DEMAND), (0, 0)),
        category="business",
        voltage="lt6",
        three_rates=True,
        multiplier=10,
    )
    district.add([own], Period(date(2026, 6, 30), date(2026, 6, 30)))
    agree(district, own, "workshop", "business", 'voltage = "lt6"\nthree_rates = true')
    book(district, "S16", 16, points=[own])
    for day, demand_kw in zip(ends, (0, 100, 30, 30, 85, 10), strict=True):
        read(district, [own], day, obis=RATES[0])
        for obis in RATES[1:]:
            district.store(own.meter, obis, midnight_of(day), 0)
        district.store(own.meter, DEMAND, midnight_of(day), demand_kw * 100)
    made = [summary for month in range(8, 13) for summary in bill_cycle(district, Period.of_month(f"2026-{month:02d}"))]
    assert [hold.detail for each in made for hold in each.holds] == []
    assert [line[0] for each in made for line in demand_lines(each)] == [100, 80, 80, 85, 68]


def test_estimated_cycles_are_trued_up_by_days_when_a_reading_comes(district: District):
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 7, 17), date(2026, 8, 17))
    bill_cycle(district, Period.of_month("2026-08"))
    issue_all(district)
    told = {"now": midnight_of(date(2026, 11, 1)), "rule_set": "x"}
    director = Actor("Minh", Role.DIRECTOR, "đúng")
    for month in (SEPTEMBER, OCTOBER):
        [(period, own)] = cycles_of(district.connection, Asked(month), ALL)
        [change] = propose_ends(district.dsn, Period.of_text(str(period)), own, actor="Lan", **told).changes
        decide_change(district.connection, change, "approve", director, limits_from(None))
        assert bill_cycle(district, month)[0].billed == 1
        for (bill_id,) in district.rows("select bill_id from bill_state where state = 'held'"):
            release(district.connection, bill_id, director)
        assert issue_all(district) == 1
    district.store(customer.meter, IMPORT, midnight_of(date(2026, 10, 17)), district.value(READ) + 61 * 30_000)
    asked = {"made_by": "Lan", "why": "đã có chỉ số", **told}
    [change] = true_up(district.dsn, ALL, **asked).changes
    effects = decide_change(district.connection, change, "approve", director, limits_from(None))
    assert [(str(each.period), each.energy_wh) for each in effects] == [
        ("2026-08-17/2026-09-16", 31 * 6_000),
        ("2026-09-17/2026-10-16", 30 * 6_000),
    ]
    corrected = true_up(district.dsn, ALL, **asked).corrected
    assert [(str(each.period), each.proposed) for each in corrected] == [
        ("2026-08-17/2026-09-16", 1),
        ("2026-09-17/2026-10-16", 1),
    ]


def cli(district: District, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["bill", *words, "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return code, json.loads(said.out)


def test_the_commands_take_cycles(
    district: District, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 9, 17), date(2026, 10, 17))
    _, plan = cli(district, capsys, "plan", "--period", "2026-10", "--cycle")
    [cycle] = plan["cycles"]
    assert (cycle["period"], cycle["nominal_days"], cycle["books"][0]["billed"]) == ("2026-09-17/2026-10-16", 30, 0)
    code, ran = cli(district, capsys, "run", "--period", "2026-10", "--cycle", "--book", "S16")
    assert (code, [each["billed"] for each in ran["cycles"]]) == (0, [1])
    _, status = cli(district, capsys, "status", "--period", "2026-09-17/2026-10-16")
    assert status["states"]["ready"]["bills"] == 1
    _, issued = cli(district, capsys, "issue", "--period", "2026-10", "--as", "Lan")
    assert issued["issued"] == 1
    assert cli(district, capsys, "replay", "--period", "2026-09-17/2026-10-16")[1]["replayed"] == 1
    assert cli(district, capsys, "plan", "--period", "2026-10", "--cycle")[1]["cycles"][0]["books"][0]["billed"] == 1
    district.forget(customer.meter, IMPORT, midnight_of(date(2026, 10, 17)))
    district.store(customer.meter, IMPORT, midnight_of(date(2026, 10, 17)), 99_999_000)
    _, corrected = cli(
        *(district, capsys, "correct", "--period", "2026-10", "--cycle", "--as", "Lan", "--note", "đọc lại")
    )
    assert [each["proposed"] for each in corrected["cycles"]] == [1]
    assert main(["bill", "run", "--period", "2026-10", "--part", "2"]) == 2
    assert "S16 (monthly)" in capsys.readouterr().err
