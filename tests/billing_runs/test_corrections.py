"""Late readings: an issued bill stands, its difference is proposed by one person and approved by another."""

import json

import pytest

from deploy.cli import main
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.rebill import rebill
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from protocols.errors import UsageError
from tests.billing_runs.district import IMPORT, OCTOBER, District, household
from tests.billing_runs.test_runs import quoted

pytestmark = pytest.mark.integration
ALL = Selection()
CORRECT = Plan(correct_as=("Lan", "chỉ số đến muộn"))
MINH, LAN = Actor("Minh", Role.CONTROLLER, "đúng"), Actor("Lan", Role.HEAD, "đúng")


def corrected(district: District, energy_wh: int = 200_000) -> None:
    """Issue three bills of 165 kWh; then the second's reading at the end becomes another."""
    customers = [household(number) for number in (1, 2, 3)]
    district.add(customers)
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    read_again(district, energy_wh)


def read_again(district: District, energy_wh: int) -> None:
    meter = household(2).meter
    district.forget(meter, IMPORT, OCTOBER.end_at)
    district.store(meter, IMPORT, OCTOBER.end_at, 1_000_000 + energy_wh)


def test_a_difference_is_what_the_bill_should_have_been_less_what_it_was_and_enters_the_ledger_once_approved(
    district: District,
) -> None:
    corrected(district)
    bills = district.rows("select * from bill order by bill_id")
    summary = run_billing(district.dsn, OCTOBER, CORRECT)
    assert (summary.proposed, summary.differing, summary.billed, summary.unchanged) == (1, 1, 0, 2)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    was, should = quoted(household(2)), quoted(household(2, 200_000))
    assert (found["energy_wh"], found["total"]) == (35_000, should[3] - was[3])
    owed = ledger_of(district.connection)["accounts"]["receivable"]
    assert decide_difference(district.connection, found["difference_id"], "approve", MINH) == found["bill_id"]
    ledger = ledger_of(district.connection)
    assert ledger["accounts"]["receivable"] - owed == should[3] - was[3]
    assert ledger["accounts"]["adjustment"] == -(should[1] - was[1])
    assert (ledger["sum"], ledger["broken_at_block"]) == (0, None)
    assert district.rows("select * from bill order by bill_id") == bills


def test_what_is_proposed_is_not_proposed_again_and_what_is_approved_is_no_difference_any_more(
    district: District,
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    again = run_billing(district.dsn, OCTOBER, CORRECT)
    assert (again.proposed, again.differing) == (0, 1)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    decide_difference(district.connection, found["difference_id"], "approve", MINH)
    assert run_billing(district.dsn, OCTOBER).unchanged == 3


def test_a_second_correction_is_the_difference_to_the_first_and_a_reading_taken_back_makes_a_credit(
    district: District,
) -> None:
    corrected(district)
    for energy in (200_000, 165_000, 200_000, 150_000):
        read_again(district, energy)
        assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == 1
        newest = differences_of(district.connection, OCTOBER, ALL)[0]
        decide_difference(district.connection, newest["difference_id"], "approve", MINH)
    total = district.value("select sum(receivable)::bigint from ledger_entry where bill_id = 2")
    assert total == quoted(household(2, 150_000))[3]


def test_the_one_who_proposed_it_cannot_approve_it_nor_a_biller_and_nobody_decides_twice(district: District) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    number = found["difference_id"]
    for actor, told in ((LAN, "four eyes"), (Actor("Hoa", Role.BILLER, "x"), "a controller or higher decides")):
        with pytest.raises(UsageError, match=told):
            decide_difference(district.connection, number, "approve", actor)
    decide_difference(district.connection, number, "reject", MINH)
    with pytest.raises(UsageError, match=r"Minh decided on it already \(reject\)"):
        decide_difference(district.connection, number, "approve", MINH)
    with pytest.raises(UsageError, match="there is no difference 99"):
        decide_difference(district.connection, 99, "approve", MINH)


def test_a_difference_that_another_has_overtaken_or_whose_bill_was_cancelled_is_not_approved(
    district: District,
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    read_again(district, 210_000)
    run_billing(district.dsn, OCTOBER, CORRECT)
    second, first = differences_of(district.connection, OCTOBER, ALL)
    decide_difference(district.connection, second["difference_id"], "approve", MINH)
    with pytest.raises(UsageError, match="another was approved since"):
        decide_difference(district.connection, first["difference_id"], "approve", MINH)
    read_again(district, 220_000)
    run_billing(district.dsn, OCTOBER, CORRECT)
    rebill(district.dsn, 2, MINH)
    newest = differences_of(district.connection, OCTOBER, ALL)[0]
    with pytest.raises(UsageError, match="its bill 2 was cancelled"):
        decide_difference(district.connection, newest["difference_id"], "approve", MINH)
    assert district.value("select sum(receivable)::bigint from ledger_entry where bill_id = 2") == 0


def test_the_commands_propose_list_and_decide(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corrected(district)
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def say(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status
        said = capsys.readouterr()
        return said.out + said.err

    october = ("--period", "2026-10")
    assert "no differences of 2026-10" in say("differences", *october)
    assert "1 differences of 2026-10 proposed by Lan" in say("correct", *october, "--as", "Lan", "--note", "đến muộn")
    assert "+35 kWh" in say("differences", *october)
    assert json.loads(say("differences", *october, "--json"))[0]["act"] == "propose"
    words = ("--as", "Minh", "--role", "head", "--note", "đúng")
    assert "difference 1 of bill 2 approved by Minh" in say("approve", "1", *words)
    assert "approved by Minh" in say("differences", *october)
    assert "--note: missing" in say("correct", *october, "--as", "Lan", "--note", " ", status=2)
    assert "BILL_ID" in say("approve", "x", *words, status=2)
