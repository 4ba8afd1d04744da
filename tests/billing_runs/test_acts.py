"""After a run: control, four eyes, issue, cancel, rebill, replay, and a ledger that can't be altered unseen."""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from deploy.cli import main
from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.gather import Selection
from ingest_server.billing.rebill import rebill
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of, plan_of, status_of
from protocols.errors import UsageError
from tests.billing_runs.district import IMPORT, NOVEMBER, OCTOBER, Customer, District, household

pytestmark = pytest.mark.integration
LAN, MINH, HEAD = (
    Actor("Lan", Role.BILLER, "phúc tra"),
    Actor("Minh", Role.CONTROLLER, "đúng"),
    Actor("Hà", Role.HEAD, "đúng"),
)
DIRECTOR = Actor("Sơn", Role.DIRECTOR, "đúng")
ALL = Selection()


def states(district: District) -> dict[str, str]:
    return dict(
        district.rows("select metering_point_id, state from bill join bill_state using (bill_id) order by bill_id")
    )


def bill_of(district: District, customer: Customer) -> int:
    found: int = district.value("select max(bill_id) from bill where metering_point_id = %s", [customer.point])
    return found


def entries(district: District, bill_id: int) -> list[tuple[int, ...]]:
    return district.rows(
        "select posting, receivable, energy, tax, solar_purchase, adjustment, rounding from ledger_entry"
        " where bill_id = %s order by block_id, place",
        [bill_id],
    )


def grown(district: District) -> Customer:
    """Bill October of three households and November of the same, of which the second used twelve times as much."""
    october = [household(number, 165_000) for number in (1, 2, 3)]
    district.add(october)
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    november = [household(number, 2_000_000 if number == 2 else 165_000, 1_165_000) for number in (1, 2, 3)]
    for customer in november:
        district.store(customer.meter, IMPORT, NOVEMBER.end_at, customer.registers[IMPORT][1])
    summary = run_billing(district.dsn, NOVEMBER, Plan(issue_as="Lan"))
    assert (summary.billed, summary.to_sign, summary.issued) == (3, 1, 2)
    return november[1]


def test_a_bill_that_grew_twelvefold_waits_for_the_director_and_the_others_go_out(district: District) -> None:
    customer = grown(district)
    bill_id = bill_of(district, customer)
    found = status_of(district.connection, NOVEMBER, ALL)
    assert {state: row["bills"] for state, row in found["states"].items() if row["bills"]} == {"held": 1, "issued": 2}
    [to_sign] = found["to_sign"]
    assert (to_sign["bill_id"], to_sign["rules"], to_sign["signer"]) == (bill_id, ["growth"], "director")
    assert acts.issue(district.connection, NOVEMBER, ALL, LAN) == 0
    with pytest.raises(UsageError, match="Hà signs as head, control asks for director"):
        acts.release(district.connection, bill_id, HEAD)
    acts.release(district.connection, bill_id, DIRECTOR)
    assert acts.issue(district.connection, NOVEMBER, ALL, LAN) == 1
    assert len(entries(district, bill_id)) == 1


def test_who_held_a_bill_does_not_release_it(district: District) -> None:
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER)
    bill_id = bill_of(district, household(1))
    acts.hold(district.connection, bill_id, MINH)
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 0
    with pytest.raises(UsageError, match="another person must"):
        acts.release(district.connection, bill_id, MINH)
    for typed in ("minh", " MINH  "):  # Capitals and spaces make no other person.
        with pytest.raises(UsageError, match="another person must"):
            acts.release(district.connection, bill_id, Actor(typed, Role.HEAD, "checked"))
    with pytest.raises(UsageError, match="--note: missing"):
        acts.release(district.connection, bill_id, Actor("Hà", Role.HEAD))
    acts.release(district.connection, bill_id, HEAD)
    assert states(district) == {household(1).point: "ready"}


def test_a_name_is_one_persons_however_it_was_typed() -> None:
    composed, decomposed = "Nguyễn Hà", unicodedata.normalize("NFD", "nguyễn  hà")
    assert composed != decomposed
    assert acts.same_person(composed, decomposed)
    assert not acts.same_person("Hà", "Ha")


def test_a_run_that_issues_also_issues_what_an_earlier_run_left_ready_and_nothing_held_or_left_to_others(
    district: District,
) -> None:
    district.add([household(number) for number in range(1, 6)])
    run_billing(district.dsn, OCTOBER)
    acts.hold(district.connection, bill_of(district, household(1)), MINH)
    only = Selection((household(2).point, household(3).point))
    summary = run_billing(district.dsn, OCTOBER, Plan(selection=only, issue_as="Lan"))
    assert (summary.billed, summary.unchanged, summary.issued) == (0, 2, 2)
    acts.cancel(district.connection, bill_of(district, household(2)), DIRECTOR)
    run_billing(district.dsn, OCTOBER)
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as=DIRECTOR.name)).issued == 2
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan")).issued == 1
    found = ledger_of(district.connection)
    assert (found["sum"], found["broken_at_block"]) == (0, None)
    assert found["accounts"]["receivable"] == 4 * 384_912


def test_a_run_of_some_books_issues_what_is_ready_in_these_alone(district: District) -> None:
    district.add([household(number) for number in (1, 2)])
    for number, book in ((1, "A"), (2, "B")):
        district.connection.execute(
            "insert into reading_book (book_id, unit, reading_day) values (%s, 'PD0100', 7)", [book]
        )
        district.connection.execute(
            "update metering_point set book_id = %s where metering_point_id = %s", [book, household(number).point]
        )
    run_billing(district.dsn, OCTOBER)
    assert run_billing(district.dsn, OCTOBER, Plan(selection=Selection(books=("B",)), issue_as="Lan")).issued == 1
    assert states(district) == {household(1).point: "ready", household(2).point: "issued"}


def test_issuing_twice_enters_each_bill_once(district: District) -> None:
    district.add([household(number) for number in range(1, 6)])
    run_billing(district.dsn, OCTOBER)
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 5
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 0
    found = ledger_of(district.connection)
    assert (found["sum"], found["broken_at_block"]) == (0, None)
    assert found["accounts"]["receivable"] == 5 * 384_912
    assert found["accounts"]["tax"] == -5 * 28_512


def test_a_cancelled_bill_moves_nothing_and_a_new_one_takes_its_place(district: District) -> None:
    customer = household(1)
    district.add([customer])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    old = bill_of(district, customer)
    with pytest.raises(UsageError, match="a controller or higher cancels"):
        rebill(district.dsn, old, LAN)
    district.connection.execute("update contract set households = 2")
    new, summary = rebill(district.dsn, old, MINH)
    assert new is not None
    assert (summary.billed, new > old) == (1, True)
    assert district.rows("select version, state from bill join bill_state using (bill_id) order by bill_id") == [
        (1, "cancelled"),
        (2, "ready"),
    ]
    first, second = entries(district, old)
    assert [first[0], second[0]] == [0, 3]
    assert [-amount for amount in first[1:]] == list(second[1:])
    acts.issue(district.connection, OCTOBER, ALL, LAN)
    owed = district.value("select sum(receivable)::bigint from ledger_entry")
    assert owed == district.value("select total from bill where bill_id = %s", [new])
    with pytest.raises(UsageError, match="found it cancelled; only an issued bill is cancelled"):
        acts.cancel(district.connection, old, MINH)


def test_who_had_a_bill_made_again_does_not_release_it_when_control_holds_it(district: District) -> None:
    customer = grown(district)
    bill_id = bill_of(district, customer)
    acts.release(district.connection, bill_id, DIRECTOR)
    acts.issue(district.connection, NOVEMBER, ALL, LAN)
    new, _ = rebill(district.dsn, bill_id, DIRECTOR)
    assert new is not None
    with pytest.raises(UsageError, match="four eyes"):
        acts.release(district.connection, new, DIRECTOR)
    acts.release(district.connection, new, Actor("Thu", Role.DIRECTOR, "đã kiểm tra"))


def test_a_bill_that_was_not_issued_is_replaced_by_a_newer_version(district: District) -> None:
    customers = [household(1), household(2)]
    district.add(customers)
    run_billing(district.dsn, OCTOBER)
    district.connection.execute("update contract set households = 3 where metering_point_id = %s", [customers[1].point])
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.billed, summary.replaced, summary.unchanged, summary.differing) == (0, 1, 1, 0)
    assert district.rows("select version, state from bill join bill_state using (bill_id) order by bill_id") == [
        (1, "ready"),
        (1, "superseded"),
        (2, "ready"),
    ]
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 2
    assert run_billing(district.dsn, OCTOBER).unchanged == 2


def test_every_bill_computed_again_from_what_is_stored_is_the_same(district: District) -> None:
    from tests.billing_runs.test_runs import village

    district.add(village(11, 60))
    run_billing(district.dsn, OCTOBER)
    found = list(replay(district.connection, period=OCTOBER))
    assert len(found) == 60
    assert all(each.same for each in found), [each.why for each in found if not each.same]


def test_a_stored_bill_that_was_tampered_with_does_not_come_out_the_same(district: District) -> None:
    district.add([household(number) for number in (1, 2, 3)])
    run_billing(district.dsn, OCTOBER)
    with psycopg.connect(district.dsn, autocommit=True) as owner:
        owner.execute("alter table bill disable trigger bill_stays")
        owner.execute("update bill set metered[6] = metered[6] + 1000 where bill_id = 2")
        owner.execute("update bill set line_amount[1] = line_amount[1] + 1, total = total + 1 where bill_id = 3")
    found = {each.bill_id: each for each in replay(district.connection, period=OCTOBER)}
    assert [found[bill].same for bill in (1, 2, 3)] == [True, False, False]
    assert "billed energy: 166 kWh today, 165 kWh stored" in found[2].why
    assert "the total: 384,912 đ today, 384,913 đ stored" in found[3].why


@pytest.mark.parametrize("table", ["ledger_entry", "ledger_block", "bill_act"])
def test_what_is_entered_can_be_neither_changed_nor_deleted(district: District, table: Any) -> None:
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    column = {"ledger_entry": "receivable", "ledger_block": "actor", "bill_act": "note"}[table]
    for statement in (f"delete from {table}", f"truncate {table}", f"update {table} set {column} = {column}"):
        with pytest.raises(psycopg.errors.RaiseException, match="is append-only: enter the opposite instead"):
            district.connection.execute(statement)


def test_an_entry_altered_behind_the_triggers_breaks_the_chain(district: District) -> None:
    district.add([household(number) for number in (1, 2)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan", chunk_points=1))
    assert ledger_of(district.connection)["broken_at_block"] is None
    with psycopg.connect(district.dsn, autocommit=True) as owner:
        owner.execute("alter table ledger_entry disable trigger ledger_entry_stays")
        owner.execute(
            "update ledger_entry set receivable = receivable + 5, energy = energy - 5"
            " where block_id = (select block_id from ledger_block where position = 2)"
        )
    assert ledger_of(district.connection)["broken_at_block"] == 1


def test_workers_in_processes_bill_the_same_as_this_one_alone(district: District) -> None:
    from tests.billing_runs.test_runs import village

    district.add(village(12, 60))
    dry = run_billing(district.dsn, OCTOBER, Plan(dry_run=True))
    summary = run_billing(district.dsn, OCTOBER, Plan(workers=2, chunk_points=7, issue_as="Lan"))
    assert (summary.billed, summary.digest, summary.total) == (60, dry.digest, dry.total)
    found = ledger_of(district.connection)
    assert (found["sum"], found["broken_at_block"]) == (0, None)


def test_a_run_can_be_for_one_book_or_one_unit(district: District) -> None:
    customers = [household(number) for number in (1, 2, 3)]
    district.add(customers)
    district.connection.execute("insert into reading_book (book_id, unit, reading_day) values ('S-07', 'PD0100', 7)")
    district.connection.execute(
        "update metering_point set book_id = 'S-07' where metering_point_id = any(%s)",
        [[c.point for c in customers[:2]]],
    )
    assert run_billing(district.dsn, OCTOBER, Plan(selection=Selection(book="S-07"))).billed == 2
    assert run_billing(district.dsn, OCTOBER, Plan(selection=Selection(unit="PX0000"))).billed == 0
    assert run_billing(district.dsn, OCTOBER, Plan(selection=Selection(unit="PD0100"))).billed == 1
    rows = plan_of(district.connection, OCTOBER, ALL)
    assert [(row["book_id"], row["reading_day"], row["points"], row["billed"]) for row in rows] == [
        ("S-07", 7, 2, 2),
        ("–", None, 1, 1),
    ]


def ends(district: District, words: Sequence[str], status: int, monkeypatch: Any, capsys: Any) -> str:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    assert main(["bill", *words]) == status
    said = capsys.readouterr()
    return str(said.out + said.err)


def test_the_commands_go_from_a_plan_to_an_explained_issued_bill(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    customer = grown(district)
    bill = str(bill_of(district, customer))

    def say(*words: str, status: int = 0) -> str:
        return ends(district, words, status, monkeypatch, capsys)

    november = ("--period", "2026-10")
    assert "PD0100" in say("plan", *november)
    vietnamese = say("status", "--period", "2026-11", status=1)
    assert "điện năng [kWh]" in vietnamese
    assert "cần giám đốc ký duyệt" in vietnamese
    assert "to be signed by a director" in say("status", "--period", "2026-11", "--language", "en", status=1)
    release = ("release", bill, "--as", "Lan", "--note", "ok")
    assert "control asks for director" in say(*release, "--language", "en", status=2)
    assert "Lan ký với tư cách nhân viên tính hóa đơn, kiểm soát đòi giám đốc" in say(*release, status=2)
    lan, minh = ("--as", "Lan", "--note", "xem lại"), ("--as", "Minh", "--role", "head", "--note", "sai")
    english = ("--language", "en")
    assert f"hóa đơn {bill} đã bị Lan giữ lại" in say("hold", bill, *lan)
    assert f"bill {bill} held by Lan" in say("hold", bill, *lan, *english)
    son = ("--as", "Sơn", "--role", "director", "--note", "đúng")
    assert f"hóa đơn {bill} đã được Sơn ký duyệt cho phát hành" in say("release", bill, *son)
    assert "Lan đã phát hành 1 hóa đơn của 2026-11" in say("issue", "--period", "2026-11", "--as", "Lan")
    assert "0 bills of 2026-11 issued by Lan" in say("issue", "--period", "2026-11", "--as", "Lan", *english)
    assert "đã tính lại 1 hóa đơn: 1 giống hệt, 0 khác" in say("replay", bill)
    assert "2.000 kWh" in say("explain", bill)
    assert "Tier 6" in say("explain", bill, "--language", "en")
    assert "6 bills computed again: 6 are the same, 0 are not" not in say("replay", "--period", "2026-11", *english)
    assert json.loads(say("replay", bill, "--json")) == {"replayed": 1, "different": []}
    assert "every block is as it was sealed" in say("ledger", "--language", "en")
    assert "mọi khối còn nguyên như lúc niêm phong" in say("ledger")
    assert "found 0 of 1 bills" in say("replay", "999", status=2)
    assert "expected a person's name" in say("issue", "--period", "2026-11", "--as", " ", status=2)
    assert "--note: missing" in say("cancel", bill, "--as", "Minh", "--role", "head", "--note", " ", status=2)
    assert f"bill {bill} cancelled by Minh" in say("cancel", bill, *minh, *english)
    assert "there is no bill 999" in say("hold", "999", "--as", "Lan", "--note", "?", status=2)
    assert "--workers: found '0'" in say("run", "--period", "2026-10", "--workers", "0", status=2)
    assert "--unit: found 'X'" in say("run", "--period", "2026-10", "--unit", "X", status=2)
    assert "expected a file like" in say("run", "--period", "2026-10", "--thresholds", "/nowhere", status=2)


def test_what_waited_is_issued_in_whichever_chunks_of_the_run_and_by_whichever_worker(district: District) -> None:
    """Of seven, those of four chunks wait, one held; the run bills and issues the others itself."""
    district.add([household(number) for number in range(1, 8)])
    waiting = tuple(household(number).point for number in (1, 3, 4, 7))
    run_billing(district.dsn, OCTOBER, Plan(selection=Selection(waiting)))
    acts.hold(district.connection, bill_of(district, household(4)), MINH)
    summary = run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan", chunk_points=2, workers=2))
    assert (summary.billed, summary.unchanged, summary.issued) == (3, 4, 6)
    assert states(district) == {household(number).point: "held" if number == 4 else "issued" for number in range(1, 8)}
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan", chunk_points=2)).issued == 0
    assert ledger_of(district.connection)["accounts"]["receivable"] == 6 * 384_912
