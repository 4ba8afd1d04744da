"""``congto vee`` from the words of the command to what it prints: found, shown, decided by another, undone."""

import json
from datetime import timedelta

import pytest

from billing_core.validation.catalogue import RULES
from deploy.cli import main
from ingest_server.billing.gather import Selection
from ingest_server.billing.run import Plan, run_billing
from ingest_server.vee.cases import queue_of
from ingest_server.vee.display import print_cases
from tests.billing_runs.district import IMPORT, OCTOBER, District, household
from tests.vee.village import HALF_HOUR, install, lose, registers

pytestmark = pytest.mark.integration
OCTOBER_WORDS = ("--period", "2026-10")
MIDNIGHT = "2026-11-01T00:00:00+07:00"
MINH = ("--as", "Minh", "--role", "head", "--note", "đúng")


@pytest.fixture
def say(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    monkeypatch.setenv("COLUMNS", "200")

    def said(*words: str, status: int = 0) -> str:
        assert main(["vee", *words]) == status, capsys.readouterr()
        out = capsys.readouterr()
        return out.out + out.err

    return said


def test_a_gap_is_found_listed_shown_with_its_effect_and_approved_by_another(district: District, say) -> None:
    [one, *_] = install(district, [1, 2])
    lose(district, one, OCTOBER.end_at - 3 * HALF_HOUR, 6)
    said = say("run", *OCTOBER_WORDS, "--as", "Lan", status=1)
    assert "V06 thiếu chỉ số" in said
    assert "congto vee cases --period 2026-10" in said
    counts = json.loads(say("run", *OCTOBER_WORDS, "--as", "Lan", "--json"))
    assert (counts["judged"], counts["unchanged"], counts["proposed"]) == (0, 2, 0)
    assert "1 ước tính (Lan)" in say("cases", *OCTOBER_WORDS, status=1)
    [case] = json.loads(say("cases", *OCTOBER_WORDS, "--json", status=1))["cases"]
    assert (case["metering_point_id"], case["reasons"][0]["rule"], case["waiting"][0]["change_id"]) == (
        one.point,
        "V06",
        1,
    )
    shown = json.loads(say("show", "1", "--json"))
    assert shown["effects"][0]["before"]["held"] == "missing_register_reading"
    total = shown["effects"][0]["after"]["total"]
    assert f"+{total:,} đ" in say("show", "1")
    assert "another person must approve it (four eyes)" in say(
        "approve", "1", "--as", "Lan", "--role", "director", "--note", "x", status=2
    )
    hoa = ("approve", "1", "--as", "Hoa", "--note", "x")
    assert "người có hạn mức cao hơn phải duyệt" in say(*hoa, status=2)
    assert "somebody with a higher limit must approve it" in say(*hoa, "--language", "en", status=2)
    assert "Approved by Minh (head): đúng" in say("approve", "1", *MINH, "--language", "en")
    assert run_billing(district.dsn, OCTOBER, Plan(dry_run=True)).held == 0
    assert "Minh decided on it already (approve)" in say("reject", "1", *MINH, status=2)
    say("run", *OCTOBER_WORDS, "--as", "Lan")
    assert "không có gì cần xem xét" in say("cases", *OCTOBER_WORDS)


def test_a_conflict_is_cured_by_a_reading_that_somebody_keys_and_undone_by_another_version(
    district: District, say
) -> None:
    one = household(1)
    district.add([one])
    district.connection.execute(
        "insert into reading_conflict (channel_id, measured_at, value, quality, gateway_id, generation, sequence)"
        " select channel_id, measured_at, value + 5000, 0, 'gw-01', 'g', 1 from reading where measured_at = %s",
        [OCTOBER.end_at],
    )
    assert run_billing(district.dsn, OCTOBER).held == 1
    edit = ("edit", "--point", one.point, "--at", MIDNIGHT, "--as", "Lan", "--note", "phúc tra")
    assert "whole Wh" in say(*edit, "--value-wh", "-1", status=2)
    assert "digits of kWh" in say(*edit, "--value-wh", "2000000000", status=2)
    assert "1 thay đổi chờ" in say(*edit, "--value-wh", "1170000", "--read-by-hand")
    say("approve", "1", *MINH)
    summary = run_billing(district.dsn, OCTOBER)
    assert (summary.held, summary.energy_wh) == (0, 170_000)
    assert district.rows("select value, quality from billing_reading where measured_at = %s", [OCTOBER.end_at]) == [
        (1_170_000, 64)
    ]
    assert "1 thay đổi chờ người khác duyệt: 2" in say("undo", "1", "--as", "Lan", "--note", "nhầm")
    assert "only an approved one" in say("undo", "2", "--as", "Lan", "--note", "nhầm", status=2)
    say("approve", "2", "--as", "Hoa", "--role", "head", "--note", "nhầm")
    assert district.rows("select value, quality from billing_reading where measured_at = %s", [OCTOBER.end_at]) == [
        (1_165_000, 0)
    ]
    assert district.value("select count(*) from reading_change") == 2


def test_a_missing_register_is_estimated_on_demand_and_nothing_to_lean_on_is_said(district: District, say) -> None:
    one, two = household(1), household(2)
    district.add([one, two])
    for customer in (one, two):
        district.forget(customer.meter, IMPORT, OCTOBER.end_at)
    district.store(one.meter, IMPORT, OCTOBER.start_at - timedelta(days=31), 1_000_000 - 155_000)
    told = json.loads(say("estimate", *OCTOBER_WORDS, "--as", "Lan", "--json", status=1))
    assert (told["changes"], told["left"]) == ([1], 1)
    [reading] = json.loads(say("show", "1", "--json"))["readings"]
    assert (reading["value_wh"], reading["method"]) == (1_155_000, "E6_AVERAGE_DAY")
    assert "1 registers have nothing to lean" in say(
        "estimate", *OCTOBER_WORDS, "--as", "Lan", "--language", "en", status=1
    )


def test_a_true_up_of_one_month_says_what_it_found_in_it(district: District, say) -> None:
    one = household(1)
    district.add([one])
    district.forget(one.meter, IMPORT, OCTOBER.end_at)
    district.store(one.meter, IMPORT, OCTOBER.start_at - timedelta(days=31), 1_000_000 - 155_000)
    say("estimate", *OCTOBER_WORDS, "--as", "Lan")
    say("approve", "1", *MINH)
    district.store(one.meter, IMPORT, OCTOBER.end_at + timedelta(days=30), 1_300_000)
    words = ("true-up", "--as", "Lan", "--note", "đã đọc", "--json")
    assert json.loads(say(*words, "--period", "2026-09"))["changes"] == []
    assert json.loads(say(*words, *OCTOBER_WORDS))["changes"] == [2]
    assert "expected a month" in say(*words, "--period", "October", status=2)


def test_words_that_make_no_sense_are_refused_with_what_to_do(district: District, say) -> None:
    for words, told in (
        (("show", "x"), "expected the number of a change"),
        (("show", "9"), "there is no change 9"),
        (("run", *OCTOBER_WORDS, "--as", "Lan", "--workers", "0"), "expected a number from 1"),
        (
            ("edit", "--point", "p", "--at", "soon", "--value-wh", "1", "--as", "L", "--note", "x"),
            "expected an instant",
        ),
        (
            ("edit", "--point", "p", "--at", "2026-10-01T00:00:00", "--value-wh", "1", "--as", "L", "--note", "x"),
            "found no offset",
        ),
        (("edit", "--point", "p", "--at", MIDNIGHT, "--value-wh", "1", "--as", "L", "--note", "x"), "no meter with"),
        (("approve", "1", "--as", "L", "--note", "x", "--limits", "/nowhere"), "expected a file like"),
        (
            (
                "edit",
                "--point",
                "p",
                "--at",
                "0001-01-01T00:00:00+14:00",
                "--value-wh",
                "1",
                "--as",
                "L",
                "--note",
                "x",
            ),
            "expected a year from 2000",
        ),
        (("run", *OCTOBER_WORDS, "--as", "Lan", "--point", "PD0"), "there is no metering point 'PD0'"),
        (("cases", *OCTOBER_WORDS, "--point", "PD0"), "there is no metering point 'PD0'"),
        (("estimate", *OCTOBER_WORDS, "--as", "Lan", "--point", "PD0"), "there is no metering point 'PD0'"),
        (("true-up", "--as", "Lan", "--note", "x", "--point", "PD0"), "there is no metering point 'PD0'"),
    ):
        assert told in say(*words, status=2)
    assert registers(1)[0][1] == 1_001_000


def test_the_queue_tells_each_rules_numbers_and_how_many_cases_it_leaves_out(
    district: District, say, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in install(district, [1, 2, 3]):
        lose(district, one, OCTOBER.start_at + timedelta(days=one.number, hours=3), 9)
    say("run", *OCTOBER_WORDS, "--as", "Lan", status=1)
    assert "04/10: missing 10, expected 48" in say("cases", *OCTOBER_WORDS, "--language", "en", status=1)
    [case, *_] = json.loads(say("cases", *OCTOBER_WORDS, "--json", status=1))["cases"]
    assert (case["reasons"][0]["rule"], case["reasons"][0]["rule_version"]) == ("V06", RULES["V06"].version)
    queue = queue_of(district.connection, OCTOBER, Selection(), most=2)
    assert (len(queue.cases), queue.more) == (2, 1)
    scores = [each.score_wh for each in queue_of(district.connection, OCTOBER, Selection()).cases]
    assert scores == sorted(scores, reverse=True)
    print_cases(OCTOBER, queue, "en")
    assert "and 1 more with less at risk" in capsys.readouterr().out


def test_a_meter_that_was_moved_is_a_case_at_each_of_its_points(district: District, say) -> None:
    one, two = install(district, [1, 2])
    moved_at = OCTOBER.start_at + timedelta(days=15)
    district.connection.execute("delete from installation where metering_point_id = %s", [two.point])
    district.connection.execute("update installation set removed_at = %s", [moved_at])
    district.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, multiplier) values (%s, %s, %s, 1)",
        [two.point, one.meter, moved_at],
    )
    for day in (5, 25):
        lose(district, one, OCTOBER.start_at + timedelta(days=day, hours=3), 9)
    say("run", *OCTOBER_WORDS, "--as", "Lan", status=1)
    cases = json.loads(say("cases", *OCTOBER_WORDS, "--json", status=1))["cases"]
    days = {case["metering_point_id"]: {each["on"] for each in case["reasons"]} for case in cases}
    assert days == {one.point: {"2026-10-06"}, two.point: {"2026-10-26"}}


def test_a_value_that_customer_and_company_agreed_on_is_told_as_such(district: District, say) -> None:
    one = household(1)
    district.add([one])
    district.forget(one.meter, IMPORT, OCTOBER.end_at)
    edit = ("edit", "--point", one.point, "--at", MIDNIGHT, "--as", "Lan", "--note", "khách hàng đọc", "--agreed")
    assert "a reading needs no agreement" in say(*edit, "--value-wh", "1", "--read-by-hand", status=2)
    say(*edit, "--value-wh", "1120000")
    [reading] = json.loads(say("show", "1", "--json"))["readings"]
    assert (reading["method"], reading["reason"], reading["quality"]) == ("E8_AGREED", "AGREED_WITH_CUSTOMER", 32)
    say("approve", "1", *MINH)
    assert run_billing(district.dsn, OCTOBER).energy_wh == 120_000
