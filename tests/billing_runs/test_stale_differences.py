"""Differences that readings have overtaken are not approved, and no message leads to a dead end."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from billing_core.explain import Language
from deploy.cli import main
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.run import run_vee
from ingest_server.vee.true_up import true_up
from tests.billing_runs.district import IMPORT, OCTOBER, District, household
from tests.billing_runs.test_corrections import ALL, CORRECT, MINH, corrected, read_again
from tests.billing_runs.test_runs import quoted

pytestmark = pytest.mark.integration
MARCH, APRIL, MAY = (Period.of_month(text) for text in ("2025-03", "2025-04", "2025-05"))
DIRECTOR = Actor("Minh", Role.DIRECTOR, "đúng")
NOW = datetime(2025, 6, 3, tzinfo=UTC)


def newest(district: District, period: Period = OCTOBER) -> int:
    return int(differences_of(district.connection, period, ALL)[0]["difference_id"])


def refused(district: District, difference_id: int) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        decide_difference(district.connection, difference_id, "approve", MINH)
    return found.value


def two_estimated_months(district: District) -> None:
    """Bill March from readings, April and May by estimates; then the reading of 1 June comes, 1,000 kWh after March."""
    district.add([household(1, energy_wh=310_000)], MARCH)
    run_billing(district.dsn, MARCH, Plan(issue_as="Lan"))
    for month in (APRIL, MAY):
        run_vee(district.dsn, month, actor="Lan", now=NOW)
        change = district.value("select max(change_id) from reading_change")
        decide_change(district.connection, change, "approve", DIRECTOR, limits_from(None))
        assert run_billing(district.dsn, month, Plan(issue_as="Lan")).issued == 1
    district.store(household(1).meter, IMPORT, MAY.end_at, 1_310_000 + 1_000_000)


def trued_up(district: District) -> None:
    """Propose the readings, have them approved, and propose the differences of April and May."""
    common: dict[str, Any] = {"made_by": "Lan", "why": "đã có chỉ số", "now": NOW, "rule_set": "x"}
    [change] = true_up(district.dsn, Selection(), **common).changes
    decide_change(district.connection, change, "approve", DIRECTOR, limits_from(None))
    assert [each.proposed for each in true_up(district.dsn, Selection(), **common).corrected] == [1, 1]


Say = Callable[..., str]


@pytest.fixture
def say(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def told(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status
        said = capsys.readouterr()
        return said.out + said.err

    return told


def test_a_difference_from_before_a_true_up_gives_way_to_those_after_it_and_the_months_come_out_right(
    district: District, say: Say
) -> None:
    two_estimated_months(district)
    told = say("correct", "--period", "2025-05", "--as", "Lan", "--note", "chỉ số về", "--language", "en")
    assert "Difference 1: its bill begins at an estimate that was not trued up" in told
    assert "run `congto vee true-up` before approving" in told
    trued_up(district)
    words = ("--as", "Minh", "--role", "director", "--note", "đúng")
    listed = say("differences", "--period", "2025-05", "--language", "en")
    assert "difference 3 takes its place: reject it" in listed
    assert "điều chỉnh 3 đã thay nó; hãy bác" in say("differences", "--period", "2025-05")
    assert "difference 3 of the same bill takes its place; reject it and decide on 3" in say(
        "approve", "1", *words, "--language", "en", status=2
    )
    assert "điều chỉnh 3 của cùng hóa đơn đã thay nó" in say("approve", "1", *words, status=2)
    say("reject", "1", *words)
    for number in ("2", "3"):
        say("approve", number, *words)
    for month in (APRIL, MAY):
        assert run_billing(district.dsn, month, Plan(dry_run=True)).differing == 0
    energies = district.rows("select energy_wh from bill_standing order by bill_id")
    assert energies == [(310_000,), (491_803,), (508_197,)]  # 1,000 kWh over 30 + 31 days
    assert ledger_of(district.connection)["sum"] == 0


def test_a_true_up_that_is_due_is_told_in_vietnamese_too_and_not_once_it_is_done(district: District, say: Say) -> None:
    two_estimated_months(district)
    may = ("correct", "--period", "2025-05", "--as", "Lan", "--note", "chỉ số về")
    told = say(*may)
    assert "Điều chỉnh 1: chỉ số đầu kỳ còn là ước tính chưa truy chỉnh" in told
    assert "hãy chạy congto vee true-up trước khi duyệt" in told
    trued_up(district)
    for number in (1, 2, 3):
        decide_difference(district.connection, number, "reject", DIRECTOR)
    read = "update reading set value = value + 1000 where measured_at = %s"
    district.connection.execute(read, [MAY.end_at])
    found = json.loads(say(*may, "--json"))
    assert (found["proposed"], found["before_true_up"], found["replaced"]) == (1, [], [])


def test_a_difference_whose_reading_changed_since_is_not_approved_and_the_next_one_replaces_it(
    district: District, say: Say
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    read_again(district, 210_000)
    found = refused(district, 1)
    assert "today's readings and contract do not come to it any more" in found.told(Language.EN)
    assert found.told(Language.EN).endswith(f"congto bill correct --period 2026-10 --point {household(2).point}")
    assert "chỉ số và hợp đồng hiện nay không còn cho ra điều chỉnh này" in found.told(Language.VI)
    correct = ("correct", "--period", "2026-10", "--as", "Lan", "--note", "x")
    assert "difference 2 takes the place of 1, which waits: reject 1" in say(*correct, "--language", "en")
    assert "difference 2 of the same bill takes its place" in refused(district, 1).told(Language.EN)
    decide_difference(district.connection, 2, "approve", MINH)
    assert run_billing(district.dsn, OCTOBER).differing == 0


def test_a_difference_whose_reading_was_taken_back_to_what_the_bill_says_or_is_gone_is_not_approved(
    district: District,
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    read_again(district, 165_000)
    assert "do not come to it any more" in refused(district, 1).told(Language.EN)
    district.forget(household(2).meter, IMPORT, OCTOBER.end_at)
    gone = refused(district, 1)
    assert "its bill can't be computed today (missing_register_reading)" in gone.told(Language.EN)
    assert "hiện nay không tính lại được hóa đơn của nó (missing_register_reading)" in gone.told(Language.VI)
    read_again(district, 200_000)
    decide_difference(district.connection, 1, "approve", MINH)


def test_what_was_rejected_is_proposed_anew_once_another_was_approved_since(district: District) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    decide_difference(district.connection, 1, "reject", MINH)
    assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == 0
    read_again(district, 210_000)
    assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == 1
    decide_difference(district.connection, 2, "approve", MINH)
    read_again(district, 200_000)
    assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == 1
    decide_difference(district.connection, newest(district), "approve", MINH)
    total = district.value("select sum(receivable)::bigint from ledger_entry where bill_id = 2")
    assert total == quoted(household(2, 200_000))[3]


def test_what_waits_behind_a_newer_difference_is_proposed_anew_when_its_readings_come_back(district: District) -> None:
    corrected(district)
    for energy, proposed in ((200_000, 1), (210_000, 1), (200_000, 1), (200_000, 0)):
        read_again(district, energy)
        assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == proposed
    for number in (1, 2):
        assert "difference 3 of the same bill takes its place" in str(refused(district, number))
    decide_difference(district.connection, 3, "approve", MINH)
    for number in (1, 2):
        assert "another was approved since it was computed (3)" in str(refused(district, number))
        assert "đã được duyệt sau khi nó được tính" in refused(district, number).told(Language.VI)
        decide_difference(district.connection, number, "reject", MINH)
    assert run_billing(district.dsn, OCTOBER, CORRECT).differing == 0
