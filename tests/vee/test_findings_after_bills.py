"""What validation finds after bills were computed or issued, decisions while it runs, bills of a part of a month."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from time import monotonic

import psycopg
import pytest

from deploy.cli import main
from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.doubted import doubted_bills
from ingest_server.billing.gather import Selection, chunks_of_run
from ingest_server.billing.limits import limits_from
from ingest_server.billing.run import Plan, run_billing
from ingest_server.vee.accept import accept
from ingest_server.vee.changes import undo
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from ingest_server.vee.queries import INSERT_RUN
from ingest_server.vee.run import Job, carry_out, run_vee
from protocols.errors import UsageError
from tests.billing_runs.district import IMPORT, NOVEMBER, OCTOBER, Customer, District
from tests.vee.village import HALF_HOUR, NOW, install, lose

pytestmark = pytest.mark.integration
ALL = Selection()
LAN, MINH, HOA = Actor("Lan", Role.BILLER, "đọc lại"), Actor("Minh", Role.HEAD, "đúng"), Actor("Hoa", Role.HEAD, "đúng")
BEGIN = OCTOBER.start_at + timedelta(days=9, hours=3)
MONTH_WORDS = ("--period", "2026-10")


@pytest.fixture
def two(district: District) -> Customer:
    """Two households, billed and ready; then three half hours of the second are found missing (change 1)."""
    [_, two] = install(district, [1, 2])
    assert run_billing(district.dsn, OCTOBER).billed == 2
    find_missing(district, two)
    return two


@pytest.fixture
def say(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    monkeypatch.setenv("COLUMNS", "200")

    def said(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status, capsys.readouterr()
        out = capsys.readouterr()
        return out.out + out.err

    return said


def wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + 60
    while not done():
        assert monotonic() < deadline, f"not within a minute: {what}"


def find_missing(district: District, customer: Customer) -> None:
    lose(district, customer, BEGIN, 3)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)


def judgement(district: District) -> int:
    found = district.value("select max(judgement_id) from vee_judgement where severity >= 4")
    assert isinstance(found, int)
    return found


def states(district: District, customer: Customer) -> list[str]:
    return [
        row[0]
        for row in district.rows(
            "select state from bill join bill_state using (bill_id) where metering_point_id = %s order by bill_id",
            [customer.point],
        )
    ]


def find_by_hand(district: District, customer: Customer, rule: str, day: date) -> None:
    """Enter a judgement of October's register that fails one rule."""
    district.connection.execute(
        "with run as (insert into vee_run (period_from, period_to, rule_set, actor)"
        " values ('2026-10-01', '2026-10-31', 'x', 'Lan') returning vee_run_id),"
        " judged as (insert into vee_judgement (vee_run_id, metering_point_id, channel_id, period_from, version,"
        " rule_set, inputs_hash, severity, monthly_wh, acts_before)"
        " select vee_run_id, %s, channel_id, '2026-10-01', 1, 'x', 'x', 4, 1, 0 from run, channel"
        " where meter_id = %s and obis = %s returning judgement_id)"
        " insert into vee_finding select judgement_id, %s, %s, 1, 4, '{}' from judged",
        [customer.point, customer.meter, IMPORT, rule, day],
    )


def test_a_bill_that_was_ready_before_its_register_failed_is_not_issued_until_the_case_is_accepted(
    district: District, two: Customer
) -> None:
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1
    [kept] = doubted_bills(district.connection, OCTOBER, ALL, ("ready",))
    assert (kept.point, kept.to_json()["found"]) == (two.point, "V06 10/10/2026")
    assert run_billing(district.dsn, OCTOBER).held == 1
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 0
    accept(district.connection, judgement(district), MINH)
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1


def test_a_bill_whose_reading_was_changed_after_it_was_made_goes_out_only_as_the_next_run_makes_it(
    district: District, two: Customer
) -> None:
    accept(district.connection, judgement(district), MINH)
    read = district.value("select max(value) from reading where measured_at = %s", [OCTOBER.end_at]) + 5_000
    change = propose_edit(
        district.connection, two.point, IMPORT, OCTOBER.end_at, read, by_hand=True, actor=LAN, now=NOW
    )
    decide_change(district.connection, change, "approve", MINH, limits_from(None))
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1
    assert [each.to_json()["why"] for each in doubted_bills(district.connection, OCTOBER, ALL, ("ready",))] == [
        "readings_changed"
    ]
    assert run_billing(district.dsn, OCTOBER).replaced == 1
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1
    assert states(district, two) == ["superseded", "issued"]


def test_an_issued_bill_whose_register_fails_later_is_neither_held_nor_changed_and_its_correction_waits_for_a_decision(
    district: District,
) -> None:
    [_, two] = install(district, [1, 2])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    find_missing(district, two)
    again = run_billing(district.dsn, OCTOBER)
    assert (again.unchanged, again.held, again.differing) == (2, 0, 0)
    assert states(district, two) == ["issued"]
    [doubted] = doubted_bills(district.connection, OCTOBER, ALL, ("issued",))
    assert doubted.point == two.point
    correct = Plan(correct_as=("Lan", "sai"))
    assert [hold.metering_point_id for hold in run_billing(district.dsn, OCTOBER, correct).holds] == [two.point]
    accept(district.connection, judgement(district), MINH)
    assert run_billing(district.dsn, OCTOBER, correct).held == 0
    assert doubted_bills(district.connection, OCTOBER, ALL, ("issued",)) == []


def test_the_command_says_which_bills_stay_and_which_issued_ones_are_in_doubt_and_what_to_do(
    district: District, two: Customer, say: Callable[..., str]
) -> None:
    case = judgement(district)
    said = say("issue", *MONTH_WORDS, "--as", "Lan", "--language", "en", status=1)
    assert "1 bills of 2026-10 issued by Lan" in said
    for named in (two.point, "V06 10/10/2026", f"case {case}", "congto bill run --period 2026-10"):
        assert named in said
    told = json.loads(say("status", *MONTH_WORDS, "--json"))
    assert [(each["metering_point_id"], each["cases"]) for each in told["kept_back"]] == [(two.point, [case])]
    assert told["issued_in_doubt"] == []
    accept(district.connection, case, MINH)
    say("issue", *MONTH_WORDS, "--as", "Lan")
    lose(district, two, BEGIN + timedelta(days=3), 2)
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    said = say("status", *MONTH_WORDS, "--language", "en")
    assert "is issued, and validation fails V06 10/10/2026, V06 13/10/2026 since" in said
    assert "congto bill correct --period 2026-10" in said


def test_a_decision_that_the_judged_readings_contain_hides_no_finding_though_it_came_after_the_run_began(
    district: District, two: Customer
) -> None:
    rule_set = district.value("select max(rule_set) from vee_judgement")
    span = {"first_on": OCTOBER.first_on, "last_on": OCTOBER.last_on, "rule_set": rule_set, "actor": "Lan"}
    begun = district.connection.execute(INSERT_RUN, span).fetchone()
    assert begun is not None
    lose(district, two, BEGIN + 4 * HALF_HOUR, 1)
    decide_change(district.connection, 1, "reject", MINH, limits_from(None))
    [chunk] = chunks_of_run(district.connection, ALL, 500)
    carry_out(Job(district.dsn, begun[0], OCTOBER, ALL, chunk, rule_set, "Lan", NOW))
    assert run_billing(district.dsn, OCTOBER).held == 1
    decide_change(district.connection, 2, "reject", MINH, limits_from(None))
    assert run_billing(district.dsn, OCTOBER).held == 0


def test_a_decision_made_while_a_run_judges_what_it_read_before_counts(district: District, two: Customer) -> None:
    lose(district, two, BEGIN + 4 * HALF_HOUR, 1)
    with psycopg.connect(district.dsn) as blocker, ThreadPoolExecutor(1) as beside:
        blocker.execute("lock table vee_judgement in exclusive mode")  # what is read may be read, nothing be written
        running = beside.submit(run_vee, district.dsn, OCTOBER, actor="Lan", now=NOW)
        wait_until(
            lambda: district.value("select count(*) from pg_locks where not granted and mode = 'RowExclusiveLock'") > 0,
            "the run waits to write",
        )
        decide_change(district.connection, 1, "reject", MINH, limits_from(None))
        blocker.rollback()
        running.result(60)
    assert district.value("select max(version) from vee_judgement") == 2
    assert run_billing(district.dsn, OCTOBER).held == 0


def test_who_rejects_an_own_change_releases_nothing_however_the_name_is_typed(
    district: District, two: Customer
) -> None:
    decide_change(district.connection, 1, "reject", Actor(" LAN ", Role.HEAD, "sai"), limits_from(None))
    assert [hold.metering_point_id for hold in run_billing(district.dsn, OCTOBER).holds] == [two.point]
    with pytest.raises(UsageError, match="four eyes"):
        accept(district.connection, judgement(district), Actor("lan", Role.HEAD, "đúng"))


def test_an_undone_change_opens_the_bill_again_to_the_next_run(district: District, two: Customer) -> None:
    decide_change(district.connection, 1, "approve", MINH, limits_from(None))
    number = undo(district.connection, 1, made_by="Minh", made_at=NOW, why="nhầm")
    decide_change(district.connection, number, "approve", HOA, limits_from(None))
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1


@pytest.mark.parametrize(
    ("rule", "day", "held"),
    [("V06", 20, 0), ("V06", 13, 0), ("V06", 12, 1), ("V37", 1, 0), ("V38", 1, 0), ("V41", 1, 1), ("V03", 1, 1)],
)
def test_a_contract_that_ended_in_the_month_is_held_for_its_own_days_and_for_what_is_wrong_with_all_of_the_month(
    district: District, rule: str, day: int, held: int
) -> None:
    [one] = install(district, [1])
    district.connection.execute("update contract set valid_to = '2026-10-12'")
    find_by_hand(district, one, rule, date(2026, 10, day))
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.held, summary.billed) == (held, 1 - held)


def test_who_moves_in_and_who_moved_out_are_billed_together_so_a_finding_of_one_holds_both(district: District) -> None:
    [one] = install(district, [1])
    district.connection.execute("insert into customer (customer_id, name) values ('PD01009999999', 'Trần Văn Nam')")
    district.connection.execute("update contract set valid_to = '2026-10-12'")
    district.connection.execute(
        "insert into contract (metering_point_id, valid_from, category, households, customer_id)"
        " values (%s, '2026-10-13', 'residential', 1, 'PD01009999999')",
        [one.point],
    )
    find_by_hand(district, one, "V37", date(2026, 10, 1))
    assert run_billing(district.dsn, OCTOBER).held == 1
    accept(district.connection, judgement(district), MINH)
    assert run_billing(district.dsn, OCTOBER).billed == 2


def test_a_month_that_is_not_over_is_not_validated_for_what_is_still_to_come(district: District) -> None:
    install(district, [1])
    with pytest.raises(UsageError, match="in the future"):
        run_vee(district.dsn, NOVEMBER, actor="Lan", now=NOW)
