"""A billing run, database to database: what is billed, that it is billed once, and that a quote says the same."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import psycopg
import pytest

from billing_core.codes import Category, Solar, Voltage
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.gather import Selection
from ingest_server.billing.print_run import bill_json
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.stored import every_bill, load_bill
from protocols.errors import UnavailableError
from tests.billing_runs.district import EXPORT, IMPORT, NOVEMBER, OCTOBER, RATES, Customer, District, household

pytestmark = pytest.mark.integration
SUMS_OF_LINES = """
    select b.subtotal, coalesce(sum(amount) filter (where kind <> 'vat'), 0)::bigint,
           b.vat, (sum(amount) filter (where kind = 'vat'))::bigint
    from bill b join bill_line l on l.bill_id = b.bill_id group by b.bill_id
"""
BILLS_IN_PIECES = """
    select count(*) from bill b
    where b.total > 0 and not exists (select from bill_line l where l.bill_id = b.bill_id)
"""
SOMEBODY_ELSES_BILL = """
    insert into bill (run_id, metering_point_id, period_from, period_to, energy_wh, subtotal, vat, total, inputs_hash,
                      terms_id, metered, line_slot, line_wh, line_amount, line_extra)
    select run_id, %s, '2026-10-01', '2026-10-31', 0, 0, 0, 0, sha256(''), 1, '{}', '{}', '{}', '{}', '{}'
    from billing_run
"""
DEADLINE_S = 60  # for a process to say or do what it should; it takes about two seconds
RUN = """
import sys
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, run_billing
summary = run_billing(sys.argv[1], Period.of_month("2026-10"), Plan(chunk_points=100))
print(summary.billed, summary.unchanged)
"""


def start_run(dsn: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", RUN, dsn], stdout=subprocess.PIPE, text=True)


def stored_totals(district: District) -> list[tuple[str, int, int, int]]:
    return district.rows("select metering_point_id, subtotal, vat, total from bill order by metering_point_id, bill_id")


def quoted(customer: Customer, **more: object) -> tuple[str, int, int, int]:
    """What ``congto quote`` says to a customer's registers."""
    used = {obis: (end - start) * customer.multiplier for obis, (start, end) in customer.registers.items()}
    given = {
        "category": Category(customer.category),
        "start_on": OCTOBER.first_on,
        "end_on": OCTOBER.last_on,
        "energy_wh": tuple(used[obis] for obis in RATES) if customer.three_rates else used[IMPORT],
        "voltage": Voltage(customer.voltage or "lt6"),
        "households": Fraction(customer.households),
        "solar": Solar(customer.solar_regime or "none"),
        "export_wh": used.get(EXPORT, 0),
    }
    answer = quote(QuoteRequest(**{**given, **more}))
    return customer.point, answer.subtotal, answer.vat, answer.total


def village(seed: int, customers: int) -> list[Customer]:
    """Customers of every kind, by chance."""
    chance = Random(seed)
    found = []
    for number in range(1, customers + 1):
        start = chance.randrange(10**8)
        energy = chance.choice([0, 1, 999, chance.randrange(100_000), chance.randrange(2_000_000)])
        match chance.randrange(4):
            case 0:
                registers = {obis: (start, start + chance.randrange(10**7)) for obis in RATES}
                category = chance.choice(["production", "business"])
                found.append(
                    Customer(
                        number=number,
                        registers=registers,
                        category=category,
                        three_rates=True,
                        voltage=chance.choice(["lt6", "6_22", "22_110"]),
                        multiplier=chance.choice([1, 40, 200]),
                    )
                )
            case 1:
                registers = {IMPORT: (start, start + energy), EXPORT: (0, chance.randrange(900_000))}
                found.append(Customer(number=number, registers=registers, solar_regime="net_2017"))
            case 2:
                found.append(household(number, energy, start, category="hospital_school", voltage="6_22"))
            case _:
                found.append(household(number, energy, start, households=chance.randrange(1, 30)))
    return found


def test_each_bill_is_what_a_quote_says(district: District):
    customers = village(7, 80)
    district.add(customers)
    summary = run_billing(district.dsn, OCTOBER, Plan(chunk_points=13))
    assert (summary.billed, summary.held) == (80, 0)
    assert stored_totals(district) == [quoted(customer) for customer in customers]
    assert district.value("select sum(total)::bigint from bill") == summary.total
    for subtotal, lines, vat, vat_line in district.rows(SUMS_OF_LINES):
        assert (subtotal, vat) == (lines, vat_line)


def test_a_second_run_makes_no_second_bill(district: District):
    district.add(village(8, 40))
    first = run_billing(district.dsn, OCTOBER)
    bills = district.rows("select * from bill order by bill_id")
    second = run_billing(district.dsn, OCTOBER, Plan(chunk_points=7))
    assert (first.billed, second.billed, second.unchanged) == (40, 0, 40)
    assert district.rows("select * from bill order by bill_id") == bills
    assert (first.digest, first.total) == (second.digest, second.total)


def test_a_dry_run_says_what_the_real_one_does_to_the_byte_and_writes_nothing(district: District):
    customers = village(9, 40)
    district.add(customers)
    district.forget(customers[5].meter, next(iter(customers[5].registers)), OCTOBER.end_at)
    dry = run_billing(district.dsn, OCTOBER, Plan(dry_run=True))
    assert [district.value(f"select count(*) from {table}") for table in ("bill", "bill_hold", "billing_run")] == [
        0,
        0,
        0,
    ]
    real = run_billing(district.dsn, OCTOBER)
    assert (dry.digest, dry.holds, dry.billed, dry.total) == (real.digest, real.holds, real.billed, real.total)
    assert [bill.text for bill in dry.bills] == [bill.text for bill in real.bills]
    for told, listed in zip(dry.bills, every_bill(district.connection, OCTOBER), strict=True):
        kept = load_bill(district.connection, listed["bill_id"])
        assert kept is not None
        promised = bill_json(told)
        for line in kept["lines"]:
            del line["line"]
        for meter in kept["inputs"]["meters"]:
            for register in meter["registers"]:
                assert [reading.pop("version") for reading in register["readings"]] == [None, None]
        assert {name: kept[name] for name in promised} == promised


def wait_until(district: District, query: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not district.value(query):
        assert process.poll() is None, "the run ended before it could be watched"
        assert time.monotonic() < deadline, f"in vain: {query}"


def test_a_killed_run_is_completed_by_the_next_and_each_bill_is_there_once(district: District):
    customers = [household(number, number * 1_000) for number in range(1, 3_001)]
    district.add(customers)
    process = start_run(district.dsn)
    wait_until(district, "select count(*) >= 300 from bill", process)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    made = district.value("select count(*) from bill")
    assert 300 <= made < 3_000
    assert district.value(BILLS_IN_PIECES) == 0
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.unchanged) == (3_000 - made, made)
    assert [row[0] for row in stored_totals(district)] == [customer.point for customer in customers]


def test_two_runs_at_once_bill_everybody_once(district: District):
    district.add(household(number) for number in range(1, 1_001))
    processes = [start_run(district.dsn) for _ in range(2)]
    said = [process.communicate(timeout=DEADLINE_S)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said) == [["0", "1000"], ["1000", "0"]]
    assert district.value("select count(*) from bill") == 1_000


def test_a_bill_made_meanwhile_by_somebody_else_stops_the_run_and_is_not_doubled(district: District):
    district.add(household(number) for number in range(1, 5))

    def meddle(done: int, _of: int) -> None:
        if done == 2:
            district.connection.execute(SOMEBODY_ELSES_BILL, [household(3).point])

    with pytest.raises(UnavailableError, match="run again"):
        run_billing(district.dsn, OCTOBER, Plan(chunk_points=2), progress=meddle)
    assert district.value("select count(*) from bill") == 3
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.unchanged, summary.replaced) == (1, 2, 1)


def test_what_changes_after_the_bill_was_issued_is_reported_and_not_written(district: District):
    customers = [household(1), household(2)]
    district.add(customers)
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan")).issued == 2
    district.connection.execute("update contract set households = 3 where metering_point_id = %s", [customers[1].point])
    before = stored_totals(district)
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.unchanged, summary.differing) == (0, 1, 1)
    [difference] = summary.differences
    assert difference.metering_point_id == customers[1].point
    assert difference.computed_total == quoted(household(2, households=3))[3]
    assert stored_totals(district) == before
    assert [(summary.subtotal, summary.vat, summary.total)] == [
        tuple(sum(column) for column in list(zip(*before, strict=True))[1:])
    ]
    assert summary.energy_wh == district.value("select sum(energy_wh)::bigint from bill")
    assert difference.issued_total == quoted(household(2))[3]
    assert summary.difference == difference.computed_total - difference.issued_total < 0
    said = ends(district, status=1, words=("bill", "run", "--period", "2026-10", "--language", "en"))
    assert re.search(rf"would change the total by \[đ\] *│ *{summary.difference:,}", said)


def test_a_contract_closed_later_changes_no_bill(district: District):
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER)
    district.connection.execute("update contract set valid_to = '2026-11-20'")
    assert run_billing(district.dsn, OCTOBER).unchanged == 1


def test_net_metering_carries_its_surplus_into_the_next_bill(district: District):
    october = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 400_000)}, solar_regime="net_2017")
    district.add([october])
    run_billing(district.dsn, OCTOBER)
    district.store(october.meter, IMPORT, NOVEMBER.end_at, 300_000 + 250_000)
    district.store(october.meter, EXPORT, NOVEMBER.end_at, 400_000 + 50_000)
    [bill] = run_billing(district.dsn, NOVEMBER).bills
    assert (bill.energy_wh, bill.inputs["carried_in_wh"]) == (100_000, 100_000)
    assert district.rows("select carried_in_wh, carried_out_wh from solar_purchase order by bill_id") == [
        (0, 100_000),
        (100_000, 0),
    ]


def test_a_purchase_whose_price_is_not_known_waits_and_is_made_later_beside_the_same_bill(district: District):
    solar = Customer(number=1, registers={IMPORT: (0, 300_000), EXPORT: (0, 100_000)}, solar_regime="separate_2020")
    district.add([solar])
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.held, summary.purchases_held) == (1, 0, 1)
    assert [hold.reason for hold in summary.holds] == ["purchase_no_solar_price"]
    # As if the price of its year had come late: 2025 has one.
    year_before = OCTOBER.of_month("2025-10")
    district.read([solar], year_before)
    assert run_billing(district.dsn, year_before).purchases_held == 0
    bought = district.rows("select energy_wh, price, amount from solar_purchase")
    assert bought[0][0] == 100_000
    assert bought[0][2] == 100 * bought[0][1]
    district.connection.execute("delete from solar_purchase")
    again = run_billing(district.dsn, year_before)
    assert (again.billed, again.unchanged, again.differing) == (0, 1, 0)
    assert (again.purchased_wh, again.purchased) == (bought[0][0], bought[0][2])
    assert district.rows("select energy_wh, price, amount from solar_purchase") == bought


def test_points_can_be_billed_one_by_one(district: District):
    customers = [household(number) for number in range(1, 4)]
    district.add(customers)
    assert run_billing(district.dsn, OCTOBER, Plan(selection=Selection((customers[1].point,)))).billed == 1
    assert [row[0] for row in stored_totals(district)] == [customers[1].point]


def congto(dsn: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deploy.cli", *words]
    return subprocess.run(
        command, check=False, env={**os.environ, "CONGTO_DSN": dsn}, capture_output=True, text=True, timeout=DEADLINE_S
    )


def ends(district: District, *, status: int, words: Sequence[str]) -> str:
    ended = congto(district.dsn, *words)
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


def test_the_command_tells_by_its_exit_status_whether_all_was_billed(district: District):
    customers = [household(1), household(2, name="[red]Trần & <b>")]
    district.add(customers)
    run_words = ("bill", "run", "--period", "2026-10")
    one = (*run_words, "--point", customers[0].point)
    assert "165,000" in ends(district, status=0, words=(*one, "--language", "en"))
    assert "165.000" in ends(district, status=0, words=one)
    district.forget(customers[1].meter, IMPORT, OCTOBER.start_at)
    said = ends(district, status=1, words=run_words)
    assert customers[1].point in said
    assert "2026-09-30T17:00:00Z" in said
    listed = ends(district, status=0, words=("bill", "list", "--period", "2026-10"))
    assert "384.912" in listed
    assert "[red]Trần & <b>" in listed
    shown = ("bill", "show", "--point", customers[0].point, "--period", "2026-10", "--explain")
    assert "65 kWh × 2.380 đ/kWh = 154.700 đ" in ends(district, status=0, words=shown)
    assert "65 kWh × 2,380 đ/kWh = 154,700 đ" in ends(district, status=0, words=(*shown, "--language", "en"))
    held = ("bill", "show", "--point", customers[1].point, "--period", "2026-10")
    assert "missing_register_reading" in ends(district, status=1, words=held)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("bill", "run", "--period", "2026-13"), "2026-13"),
        (("bill", "run", "--period", "10/2026"), "10/2026"),
        (("bill", "run", "--period", "2026-10", "--point", "nobody"), "nobody"),
        (("bill", "show", "-1"), "-1"),
        (("bill", "show", "12a"), "12a"),
        (("bill", "show", "99999999999999999999"), "99999999999999999999"),
        (("bill", "show", "--point", "P"), "--period"),
        (("bill", "show"), "BILL_ID"),
    ],
)
def test_a_wrong_call_is_refused_with_what_was_found(district: District, words: Sequence[str], found: str):
    assert found in ends(district, status=2, words=words)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_month_that_has_not_ended_is_refused_and_nothing_is_held(district: District, more: Sequence[str]):
    district.add([household(1)])
    said = ends(district, status=2, words=("bill", "run", "--period", "2100-12", *more))
    assert "00:00" in said
    assert "ends in the future, at 01/01/2101" in said
    assert district.value("select (select count(*) from billing_run) + (select count(*) from bill_hold)") == 0


def test_a_database_that_does_not_answer_is_said_with_status_3():
    ended = congto("postgresql://nobody@127.0.0.1:1/nothing", "bill", "run", "--period", "2026-10")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert "database" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("bill", "run", "--period", "2026-10"),
        ("bill", "run", "--period", "2026-10", "--dry-run"),
        ("bill", "list", "--period", "2026-10"),
        ("bill", "show", "1"),
        ("registry", "show"),
    ],
)
def test_a_database_without_the_schema_is_refused_with_the_cure(database: str, words: Sequence[str]):
    ended = congto(database, *words)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "the schema is missing" in ended.stderr
    assert "congto ingest migrate" in ended.stderr


def test_a_run_sees_one_snapshot_whatever_is_stored_meanwhile(district: District):
    district.add([household(number) for number in range(1, 5)])

    def late(done: int, _of: int) -> None:
        if done == 2:
            with psycopg.connect(district.dsn) as other:
                other.execute("update contract set households = 9")

    summary = run_billing(district.dsn, OCTOBER, Plan(chunk_points=2), progress=late)
    assert {bill.total for bill in summary.bills} == {quoted(household(1))[3]}
