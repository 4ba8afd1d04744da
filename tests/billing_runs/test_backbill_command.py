"""``congto bill backbill`` from its words to what it prints, what is proposed, and how a bill explains it."""

import json
from datetime import date
from typing import Any

import psycopg
import pytest

from billing_core.codes import Certainty
from billing_core.rate_plan import RatePlan
from deploy.cli import main
from ingest_server.billing.back_bill import replay_back_billings
from ingest_server.billing.run import Plan, run_billing
from tests.api.server import serving
from tests.billing_runs.district import OCTOBER, District, household
from tests.billing_runs.test_back_billing import HOME_TOTAL, MONTHS, issued

pytestmark = pytest.mark.integration


@pytest.fixture
def say(district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    monkeypatch.setenv("COLUMNS", "200")

    def said(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status, capsys.readouterr()
        found = capsys.readouterr()
        return found.out + found.err

    return said


def test_the_command_shows_a_dry_run_proposes_the_same_and_the_bill_explains_it(district: District, say: Any) -> None:
    point = issued(district, MONTHS[:2]).point
    words = ("backbill", point, "--found", "2026-08-31", "--category", "business")
    english = ("--language", "en")
    told = say(*words, "--from", "2026-08-01")
    assert "Áp sai giá từ 01/08/2026, phát hiện ngày 31/08/2026." in told
    assert "474.876" in told
    assert "680.832" in told
    assert "+205.956" in told
    assert "Chưa ghi gì; thêm --propose" in told
    told = say(*words, "--start-unknown", *english)
    assert "Nobody knows since when the price is wrong: from 2025-08-31, 12 months before it was found" in told
    assert "+411,912" in told
    assert "(the article is not verified)" in told
    dry = json.loads(say(*words, "--start-unknown", "--json"))
    assert (dry["difference"], dry["start_unknown"], dry["proposed"]) == (411_912, True, False)
    assert district.value("select count(*) from bill_difference") == 0
    propose = (*words, "--start-unknown", "--propose", "--as", "Lan", "--note", "bán hàng")
    done = json.loads(say(*propose, "--json"))
    assert [each.pop("difference_id") for each in done["bills"]] == [1, 2]
    assert done["bills"] == [{name: each[name] for name in each if name != "difference_id"} for each in dry["bills"]]
    again = say(*propose, status=1)
    assert "Hóa đơn 1 (2026-07) không tính lại: điều chỉnh 1 đã truy thu, thoái hoàn hóa đơn này" in again
    assert "chờ duyệt" in say("explain", "1")
    minh = ("--as", "Minh", "--role", "head", "--note", "đúng")
    assert "difference 1 of bill 1 approved by Minh" in say("approve", "1", *minh, *english)
    told = say("explain", "1", *english)
    assert "Nobody knows since when the price is wrong" in told
    assert "200 kWh × 3,152 đ/kWh = 630,400 đ" in told
    assert "With the differences that were approved the bill comes to 680,832 đ to pay." in told
    assert "Với các điều chỉnh đã duyệt, hóa đơn thành 680.832 đ phải trả." in say("show", "1", "--explain")
    explanation = json.loads(say("explain", "1", "--json"))["explanation"]
    assert explanation[-1].endswith("680.832 đ phải trả.")
    with serving(district.dsn) as api:
        assert api.get("/v1/bills/1")["explanation"] == explanation
    assert "12 tháng trước ngày phát hiện" in say("differences", "--period", "2026-07", "--lines")
    listed = json.loads(say("differences", "--period", "2026-07", "--json"))
    assert (listed[0]["corrected_from"], listed[0]["since_on"]) == ("2026-07-01", None)
    assert "1 back-billings computed again: 1 are the same, 0 are not" in say("replay", "1", *english)
    assert json.loads(say("replay", "1", "2", "--json")) == {"replayed": 2, "back_billings": 2, "different": []}
    with psycopg.connect(district.dsn, autocommit=True) as owner:
        owner.execute("alter table bill_difference disable trigger bill_difference_stays")
        owner.execute("update bill_difference set total = total + 1 where difference_id = 2")
    assert "điều chỉnh 2 của hóa đơn 2: tổng cộng tính lại là 205.956 đ, đã lưu 205.957 đ" in say(
        "replay", "2", status=1
    )


def test_words_that_make_no_sense_are_refused_with_what_to_do(district: District, say: Any) -> None:
    point = issued(district, MONTHS[:1]).point
    since = ("backbill", point, "--from", "2026-07-01")
    for words, told in (
        (since, "give --category, --voltage or --rate-plan"),
        ((*since, "--category", "shop"), "--category 'shop': known are residential"),
        ((*since, "--voltage", "high"), "--voltage 'high': known are lt6"),
        ((*since, "--category", "business", "--found", "soon"), "expected a day like"),
        ((*since, "--category", "business", "--found", "1999-01-01"), "expected a year from"),
        ((*since, "--category", "business", "--found", "2099-01-01"), "still to come"),
        ((*since, "--category", "business", "--propose"), "found no --as"),
        ((*since, "--category", "business", "--propose", "--as", "Lan"), "--note: missing"),
    ):
        assert told in say(*words, status=2)
    nothing = ("backbill", point, "--from", "2026-08-02", "--found", "2026-08-31", "--category", "business")
    assert f"{point} không có hóa đơn nào từ 02/08/2026 đến 31/08/2026." in say(*nothing, status=1)
    plan = ("--found", "2026-07-31", "--rate-plan", "home")
    assert "chưa có biểu giá riêng đó" in say(*since, *plan, status=1)


def test_a_shop_billed_by_the_plan_of_homes_is_priced_by_its_own(district: District, say: Any) -> None:
    customer = household(1, 200_000)
    district.add([customer])
    for name, price in (("home", 400), ("shop", 700)):
        plan = RatePlan(
            name=name,
            effective_on=date(2026, 1, 1),
            source="invented",
            certainty=Certainty.UNVERIFIED,
            single=price,
            fixed_monthly=price * 10,
            tax_permille=100,
        )
        district.connection.execute(
            "insert into rate_plan values (%s, '2026-01-01', %s)", [name, json.dumps(plan.to_json())]
        )
    district.connection.execute("update contract set rate_plan = 'home'")
    assert run_billing(district.dsn, OCTOBER, Plan(issue_as="Hoa")).issued == 1
    words = ("backbill", customer.point, "--found", "2026-10-31", "--rate-plan", "shop")
    assert json.loads(say(*words, "--from", "2026-10-01", "--json"))["difference"] == 200 * 330 + 3_300
    # From the 22nd on 10 of 31 days: 65 kWh, and of the fixed charges 968 and not 2,258.
    assert json.loads(say(*words, "--from", "2026-10-22", "--json"))["bills"][0]["subtotal"] == 65 * 300 + 2_258 - 1_290
    none = ("backbill", customer.point, "--found", "2026-10-31", "--rate-plan", "none", "--from", "2026-10-01")
    done = json.loads(say(*none, "--propose", "--as", "Lan", "--note", "x", "--json"))
    assert done["bills"][0]["after"] == HOME_TOTAL
    assert [each.same for each in replay_back_billings(district.connection)] == [True]
