"""Who made something does not check it: readings behind a held bill, differences, bills in place of cancelled ones."""

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_core.estimation.versions import Limit
from billing_core.explain import Language
from deploy.cli import main
from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.makers import makers_of_bill
from ingest_server.billing.rebill import rebill
from ingest_server.billing.refused import REFUSALS, RefusedError
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from ingest_server.vee.changes import Change, Kind, Version, propose
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from protocols.telemetry.reading import Quality
from tests.billing_runs.district import IMPORT, OCTOBER, District, household

pytestmark = pytest.mark.integration
LAN, MINH, HOA, THU = (Actor(name, Role.DIRECTOR, "phúc tra") for name in ("Trần Lân", "Minh", "Hoa", "Thu"))
NOW = datetime(2026, 11, 2, tzinfo=UTC)
ALL = Selection()
BILL = "select max(bill_id) from bill"


def edited(district: District, value_wh: int = 1_200_000, maker: Actor = LAN, **how: Any) -> int:
    """Put a reading in at the end of October, and let Minh approve it."""
    how = {"by_hand": True, **how}
    number = propose_edit(
        district.connection, household(1).point, IMPORT, OCTOBER.end_at, value_wh, actor=maker, now=NOW, **how
    )
    decide_change(district.connection, number, "approve", MINH, limits_from(None))
    return number


def held(district: District) -> int:
    """Compute October and let Hoa hold its bill."""
    run_billing(district.dsn, OCTOBER)
    bill_id: int = district.value(BILL)
    acts.hold(district.connection, bill_id, HOA)
    return bill_id


def refused(district: District, bill_id: int, actor: Actor) -> str:
    with pytest.raises(RefusedError) as found:
        acts.release(district.connection, bill_id, actor)
    return str(found.value)


def test_who_edited_a_reading_does_not_release_the_bill_that_rests_on_it_and_another_person_may(
    district: District,
) -> None:
    district.add([household(1)])
    number = edited(district)
    bill_id = held(district)
    told = refused(district, bill_id, LAN)
    assert told == (
        f"bill {bill_id}: it rests on readings that Trần Lân put in with change {number}, so Trần Lân can't release "
        "it: another person must (four eyes)"
    )
    for typed in (" trần  LÂN", unicodedata.normalize("NFD", "Trần Lân")):
        assert "another person must" in refused(district, bill_id, Actor(typed, Role.DIRECTOR, "đúng"))
    acts.release(district.connection, bill_id, THU)
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1


def test_who_approved_the_edit_looked_at_it_as_another_person_and_may_release(district: District) -> None:
    district.add([household(1)])
    edited(district)
    acts.release(district.connection, held(district), MINH)


@pytest.mark.parametrize("how", [{"by_hand": False}, {"by_hand": False, "agreed": True}])
def test_a_substitute_and_a_reading_agreed_with_the_customer_are_made_by_somebody_too(
    district: District, how: dict[str, bool]
) -> None:
    district.add([household(1)])
    edited(district, **how)
    bill_id = held(district)
    assert "another person must" in refused(district, bill_id, LAN)
    acts.release(district.connection, bill_id, THU)


def test_who_had_a_missing_reading_estimated_does_not_release_the_bill(district: District) -> None:
    district.add([household(1)])
    meter = household(1).meter
    district.forget(meter, IMPORT, OCTOBER.end_at)
    channel = district.value("select channel_id from channel where meter_id = %s", [meter])
    change = Change(
        point=household(1).point,
        channel_id=channel,
        kind=Kind.ESTIMATE,
        made_by=LAN.name,
        made_at=NOW,
        why="thiếu",
        rule_set="r",
        versions=(Version(OCTOBER.end_at, 1_170_000, int(Quality.ESTIMATED), 6, 1),),
    )
    decide_change(district.connection, propose(district.connection, change), "approve", MINH, limits_from(None))
    bill_id = held(district)
    assert "another person must" in refused(district, bill_id, LAN)
    acts.release(district.connection, bill_id, THU)


def test_only_the_readings_count_that_the_bill_was_computed_from(district: District) -> None:
    """Another instant, a proposal nobody approved, an edit that another took the place of, one approved after it."""
    district.add([household(1)])
    point, connection = household(1).point, district.connection
    elsewhere = OCTOBER.end_at - timedelta(days=3)
    for at, value, approved in ((elsewhere, 1_100_000, True), (OCTOBER.end_at, 1_111_000, False)):
        number = propose_edit(connection, point, IMPORT, at, value, by_hand=True, actor=LAN, now=NOW)
        if approved:
            decide_change(connection, number, "approve", MINH, limits_from(None))
    edited(district, 1_190_000, LAN)
    replaced = edited(district, 1_200_000, HOA)
    run_billing(district.dsn, OCTOBER)
    bill_id = district.value(BILL)
    assert makers_of_bill(connection, bill_id) == ((replaced, "Hoa"),)
    acts.hold(connection, bill_id, MINH)
    edited(district, 1_210_000, THU)
    assert makers_of_bill(connection, bill_id) == ((replaced, "Hoa"),)
    assert "Hoa can't release it" in refused(district, bill_id, HOA)
    acts.release(connection, bill_id, LAN)


def test_who_gave_the_meter_its_word_back_does_not_release_the_bill_either(district: District) -> None:
    district.add([household(1)])
    first = edited(district)
    channel = district.value("select channel_id from reading_change limit 1")
    undo = Change(
        point=household(1).point,
        channel_id=channel,
        kind=Kind.UNDO,
        made_by=THU.name,
        made_at=NOW,
        why="nhầm",
        rule_set="r",
        versions=(Version(OCTOBER.end_at, None, 0, 0, 0),),
        undoes=first,
    )
    decide_change(district.connection, propose(district.connection, undo), "approve", MINH, limits_from(None))
    bill_id = held(district)
    assert "Thu can't release it" in refused(district, bill_id, THU)
    acts.release(district.connection, bill_id, LAN)


def test_who_edited_a_reading_does_not_approve_the_difference_it_makes(district: District) -> None:
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    edited(district)
    run_billing(district.dsn, OCTOBER, Plan(correct_as=("Hoa", "phúc tra")))
    [found] = differences_of(district.connection, OCTOBER, ALL)
    number = found["difference_id"]
    for actor, told in ((HOA, "Hoa proposed it"), (LAN, "Trần Lân can't approve it")):
        with pytest.raises(RefusedError, match=told):
            decide_difference(district.connection, number, "approve", actor)
    decide_difference(district.connection, number, "approve", THU)
    assert ledger_of(district.connection)["sum"] == 0


def test_who_cancelled_a_bill_neither_releases_nor_issues_the_one_in_its_place(district: District) -> None:
    district.add([household(1), household(2)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    old = district.value("select min(bill_id) from bill")
    new, _ = rebill(district.dsn, old, LAN)
    assert acts.issue(district.connection, OCTOBER, ALL, Actor("trần lân", Role.BILLER)) == 0
    assert acts.left_to_others(district.connection, OCTOBER, ALL, LAN) == [new]
    assert acts.left_to_others(district.connection, OCTOBER, Selection((household(2).point,)), LAN) == []
    assert acts.issue(district.connection, OCTOBER, ALL, HOA) == 1
    assert acts.left_to_others(district.connection, OCTOBER, ALL, LAN) == []


def test_a_bill_that_a_run_made_after_a_cancellation_is_left_to_others_too(district: District) -> None:
    """As if a rebilling had been killed after it had cancelled, or somebody cancelled and ran by hand."""
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    acts.cancel(district.connection, district.value(BILL), LAN)
    summary = run_billing(district.dsn, OCTOBER, Plan(issue_as="TRẦN LÂN"))
    assert (summary.billed, summary.issued) == (1, 0)
    bill_id = district.value(BILL)
    acts.hold(district.connection, bill_id, HOA)
    assert "cancelled the bill in whose place it stands" in refused(district, bill_id, LAN)
    acts.release(district.connection, bill_id, THU)
    assert acts.issue(district.connection, OCTOBER, ALL, LAN) == 1  # Thu looked at it


def test_a_run_of_another_person_issues_at_once_what_takes_the_place_of_a_cancelled_bill(district: District) -> None:
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    acts.cancel(district.connection, district.value(BILL), LAN)
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1


def test_nobody_cancels_or_approves_more_than_the_role_may_move(district: District) -> None:
    """A bill of 165 kWh and 384,912 đ, and a difference of 35 kWh and 89,964 đ."""
    district.add([household(1)])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa"))
    controller = Actor("Vân", Role.CONTROLLER, "đúng")
    limits = limits_from(None) | {"controller": Limit(164, 10**6)}
    with pytest.raises(RefusedError, match="takes back 165 kWh and 384,912 đ; a controller may cancel 164 kWh and 1,0"):
        acts.cancel(district.connection, 1, controller, limits)
    edited(district)
    run_billing(district.dsn, OCTOBER, Plan(correct_as=("Hoa", "phúc tra")))
    [found] = differences_of(district.connection, OCTOBER, ALL)
    vnd = found["total"]
    for limit, allowed in ((Limit(35, vnd - 1), False), (Limit(34, vnd), False), (Limit(35, vnd), True)):
        limits = limits_from(None) | {"controller": limit}
        if allowed:
            decide_difference(district.connection, 1, "approve", controller, limits)
        else:
            with pytest.raises(RefusedError, match="somebody with a higher limit must approve it"):
                decide_difference(district.connection, 1, "approve", controller, limits)
    acts.cancel(district.connection, 1, controller)
    assert set(ledger_of(district.connection)["accounts"].values()) == {0}


def test_a_refusal_says_in_both_languages_who_must_act(
    district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    district.add([household(1)])
    edited(district)
    bill = str(held(district))
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def say(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status
        said = capsys.readouterr()
        return said.out + said.err

    english, note = ("--language", "en"), ("--role", "head", "--note", "đúng")
    release = ("release", bill, *note, "--as", "trần lân")
    assert "người khác phải ký (hai người duyệt)" in say(*release, status=2)
    assert "another person must (four eyes)" in say(*release, *english, status=2)
    say("release", bill, *note, "--as", "Thu")
    say("issue", "--period", "2026-10", "--as", "Lan")
    small = tmp_path / "limits.toml"
    small.write_text(
        "[biller]\nkwh = 0\nvnd = 0\n[controller]\nkwh = 0\nvnd = 0\n[head]\nkwh = 1\nvnd = 1\n[director]\n"
    )
    cancel = ("cancel", bill, *note, "--as", "Thu", "--limits", str(small))
    assert "trưởng phòng được hủy đến 1 kWh và 1 đ: người có hạn mức cao hơn phải hủy" in say(*cancel, status=2)
    assert "--limits /nowhere" in say(*cancel[:-1], "/nowhere", status=2)
    say("rebill", bill, *note, "--as", "Thu")
    issue = ("issue", "--period", "2026-10", "--as", "Thu")
    assert "Thu đã hủy hóa đơn trước nó; người khác phải phát hành" in say(*issue)
    assert "another person must issue it (four eyes)" in say(*issue, *english)


def test_every_refusal_is_told_in_both_languages() -> None:
    assert all(set(texts) == set(Language) for texts in REFUSALS.values())
