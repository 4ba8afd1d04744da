"""What the API answers to good questions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing_core.commands import FLAGS, OPTIONS
from billing_core.quote import quote
from billing_core.request_text import request_from_text
from ingest_server.api.parameters import QuoteWords
from ingest_server.registry.store import load_registry
from tests.api.conftest import SCRIPT
from tests.api.server import Api
from tests.billing_runs.district import EXPORT, IMPORT, OCTOBER, District

pytestmark = pytest.mark.integration
UTILITY_ELSEWHERE = Path(__file__).parents[1] / "billing_core" / "utility_elsewhere.toml"
FROM, TO = "2026-09-30T17:00:00Z", "2026-10-31T17:00:00Z"


def every_item(api: Api, path: str, limit: int, **parameters: Any) -> tuple[list[Any], int]:
    """Walk all pages of a list; return its items and how many pages there were."""
    items: list[Any] = []
    pages, cursor = 0, None
    while True:
        page = api.get(path, limit=limit, **parameters, **({} if cursor is None else {"cursor": cursor}))
        assert len(page["items"]) <= limit
        items += page["items"]
        pages, cursor = pages + 1, page["next_cursor"]
        if cursor is None:
            return items, pages


@pytest.mark.parametrize(
    ("path", "parameters", "key"),
    [
        ("/v1/meters", {}, lambda row: row["meter_id"]),
        ("/v1/meters/M-0002/readings", {}, lambda row: (row["obis"], row["measured_at"])),
        ("/v1/meters/M-0007/readings", {}, lambda row: (row["obis"], row["measured_at"])),
        ("/v1/gateways", {}, lambda row: row["gateway_id"]),
        ("/v1/bills", {"period": "2026-10"}, lambda row: (row["metering_point_id"], row["bill_id"])),
        ("/v1/holds", {"period": "2026-10"}, lambda row: row["metering_point_id"]),
    ],
)
def test_pages_of_any_size_make_the_same_list(
    api: Api, path: str, parameters: dict[str, str], key: Callable[[Any], Any]
):
    whole, pages = every_item(api, path, 200, **parameters)
    assert pages == 1
    assert [key(row) for row in whole] == sorted({key(row) for row in whole})
    for limit in (1, 2, 3):
        found, pages = every_item(api, path, limit, **parameters)
        assert found == whole
        assert pages == max(1, -(-len(whole) // limit))


def test_a_meter_is_shown_with_its_customer_registers_and_last_reading(api: Api):
    meter = api.get("/v1/meters/M-0007")
    assert meter["customer"] == {"customer_id": "PD01000000007", "name": "Nguyễn Thị Hoa"}
    assert meter["last_reading"] == {"obis": IMPORT, "unit": "Wh", "measured_at": TO, "value": 300_000, "quality": []}
    assert [channel["obis"] for channel in meter["channels"]] == [IMPORT, EXPORT]
    assert meter["installation"] == meter["installations"][0]


def test_readings_are_cut_to_register_and_span_with_the_end_left_out(api: Api):
    whole = api.get("/v1/meters/M-0007/readings", obis=EXPORT)["items"]
    assert [row["value"] for row in whole] == [0, 400_000]
    first = api.get("/v1/meters/M-0007/readings", obis=EXPORT, **{"from": FROM, "to": TO})["items"]
    assert first == whole[:1]


def test_a_quality_is_told_by_name(api: Api):
    rows = api.get("/v1/meters/M-0002/readings")["items"]
    assert [row["measured_at"] for row in rows if row["quality"] == ["PROFILE"]] == ["2026-10-01T08:00:00Z"]


def test_gateways_tell_what_is_missing_of_each_generation(api: Api):
    gateways = {row["gateway_id"]: row for row in api.get("/v1/gateways")["items"]}
    [whole] = gateways["gw-01"]["sequences"]
    [torn] = gateways["gw-02"]["sequences"]
    assert (whole["newest"], whole["missing"], whole["missing_count"]) == (10, [], 0)
    assert torn["missing"] == [{"first": 1, "last": 2}, {"first": 5, "last": 7}]
    assert (torn["newest"], torn["missing_count"]) == (10, 5)


def test_the_chart_knows_half_hours_marks_and_holes_and_loses_no_energy(api: Api):
    chart = api.get("/v1/meters/M-0002/chart", **{"from": FROM, "to": TO})
    [series] = chart["series"]
    assert chart["multiplied"] is False
    assert chart["multipliers"] == [{"from": "2025-01-01T00:00:00Z", "to": None, "multiplier": 1}]
    assert len(series["energy"]) == len(series["quality"]) == 31 * 48
    assert series["energy"][:9] == [100] * 9
    assert series["energy"][9:20] == [None] * 11
    assert series["quality"][29:31] == [1, 1]
    assert series["quality_names"]["1"] == "PROFILE"
    hole, rest = series["gaps"]
    assert hole == {"from": "2026-09-30T21:30:00Z", "to": "2026-10-01T03:00:00Z", "energy": 1_100}
    assert (rest["from"], rest["to"]) == ("2026-10-01T16:30:00Z", TO)
    assert series["known_energy"] + hole["energy"] + rest["energy"] == 165_000


def test_a_bill_comes_with_lines_inputs_and_an_explanation_in_either_language(api: Api):
    [listed] = api.get("/v1/bills", period="2026-10", meter_id="M-0001")["items"]
    bill = api.get(f"/v1/bills/{listed['bill_id']}")
    assert (bill["subtotal"], bill["vat"], bill["total"]) == (356_400, 28_512, 384_912)
    assert sum(line["amount"] for line in bill["lines"]) == bill["total"]
    assert [line["name"] for line in bill["lines"]] == ["Bậc 1", "Bậc 2", "Bậc 3", "Thuế GTGT"]
    assert any("384.912 đ" in sentence for sentence in bill["explanation"])
    english = api.get(f"/v1/bills/{listed['bill_id']}", language="en")
    assert any("384,912 đ" in sentence for sentence in english["explanation"])
    assert bill["inputs"]["meters"][0]["registers"][0]["readings"][1] == {
        "at": TO,
        "value_wh": 1_165_000,
        "quality": 0,
        "version": None,
    }


def test_the_surplus_of_net_metering_is_shown_beside_the_bill(api: Api):
    [listed] = api.get("/v1/bills", period="2026-10", meter_id="M-0007")["items"]
    purchase = api.get(f"/v1/bills/{listed['bill_id']}")["purchase"]
    assert (purchase["energy_wh"], purchase["carried_out_wh"]) == (0, 100_000)


def test_what_is_held_is_listed_with_its_reason(api: Api):
    [hold] = api.get("/v1/holds", period="2026-10")["items"]
    assert hold["reason"] == "missing_register_reading"
    assert TO in hold["detail"]
    assert "chưa có chỉ số cho thời điểm đó" in hold["detail"]
    [in_english] = api.get("/v1/holds", period="2026-10", language="en")["items"]
    assert "no reading is stored" in in_english["detail"]
    assert api.get("/v1/holds", period="2026-10", meter_id="M-0001")["items"] == []
    assert api.get("/v1/holds", period="2026-09")["items"] == []


def test_every_word_of_the_command_is_one_of_the_api_and_the_other_way_round():
    of_command = {option.removeprefix("--").replace("-", "_") for option, _, _ in OPTIONS} | set(FLAGS)
    of_api = {field.alias or name for name, field in QuoteWords.model_fields.items()}
    of_plan = {"plan_name", "demand_before_kw"}  # of the command's own options for a file of plans
    assert of_api - {"language"} == of_command | of_plan


def test_many_changes_of_households_are_quoted(api: Api):
    changes = ",".join(f"2025-12-{day:02}={day % 5 + 1}" for day in range(2, 20))
    asked = {"category": "residential", "from": "2025-12-01", "to": "2025-12-31", "kwh": "900"}
    answer = api.get("/v1/quote", **asked, households_change=changes)
    assert answer["total"] < api.get("/v1/quote", **asked)["total"]


def test_a_demand_and_several_uses_are_quoted(api: Api):
    days = {"from": "2026-10-01", "to": "2026-10-31"}
    pilot = {"category": "production", "voltage": "22_110", "rates": "BT=9,CD=3,TD=2", "demand_kw": "1000"}
    assert any(line["kind"] == "demand" for line in api.get("/v1/quote", **pilot, **days)["lines"])
    mixed = api.get("/v1/quote", category="residential", kwh="700", uses="business@lt6=40", **days)
    assert {line["clause"] for line in mixed["lines"]} >= {"business, lt6, normal rate"}


def test_a_rate_plan_that_was_loaded_is_quoted_as_the_command_does_from_its_file(api: Api, district: District):
    """10 kWh at 400 with 5,000 fixed; workshop: 80 % of 100 kW at 30,000."""
    with psycopg.connect(district.dsn) as connection:
        load_registry(connection, UTILITY_ELSEWHERE.read_text(), "plans.toml")
    october = {"from": "2026-10-01", "to": "2026-10-31"}
    home = api.get("/v1/quote", category="residential", kwh="10", plan_name="home", **october)
    assert [line["amount"] for line in home["lines"]] == [4_000, 5_000, 16_000]
    shop = {"category": "business", "rates": "BT=1,CD=1,TD=1", "plan_name": "workshop", "demand_kw": "30"}
    workshop = api.get("/v1/quote", **shop, demand_before_kw="100", **october)
    assert [line["amount"] for line in workshop["lines"] if line["kind"] == "demand"] == [2_400_000]
    for words, told in (
        ({"plan_name": "palace"}, "plan-name: found 'palace' and no such plan on 2026-10-01"),
        ({"plan_name": "home", "uses": "business=40"}, "a plan is for one use"),
        ({"demand_before_kw": "3"}, "expected plan-name with it"),
    ):
        asked = {"category": "residential", "kwh": "10", **october, **words}
        assert told in api.client.get("/v1/quote", params=asked).text


def test_a_quote_is_what_the_engine_says(api: Api):
    words = {"category": "residential", "kwh": "165", "from": "2025-12-01", "to": "2025-12-31"}
    answer = api.get("/v1/quote", **words)
    explanation = answer.pop("explanation")
    assert answer == json.loads(json.dumps(quote(request_from_text(words)).to_json()))
    assert answer["total"] == 384_912
    assert len(explanation) == 4


def test_names_that_look_like_html_come_back_as_json_text_and_nothing_else(api: Api):
    meters = api.client.get("/v1/meters", params={"limit": 200})
    assert meters.headers["content-type"] == "application/json"
    assert meters.headers["x-content-type-options"] == "nosniff"
    assert [row["customer"]["name"] for row in meters.json()["items"]].count(SCRIPT) == 1
    assert SCRIPT in [row["gateway_id"] for row in api.get("/v1/gateways")["items"]]


def test_the_page_holds_no_data_and_lets_nothing_in_from_elsewhere(api: Api, district: District):
    pages = [
        "/",
        "/docs",
        *(
            f"/static/{name}"
            for name in (
                "page.js",
                "meter.js",
                "chart.js",
                "cases.js",
                "daybars.js",
                "events.js",
                "growing.js",
                "words.js",
                "style.css",
            )
        ),
    ]
    for path in pages:
        answer = api.stranger.get(path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "Nguyễn Thị Hoa" not in answer.text
        assert district.dsn not in answer.text
        assert "https://" not in answer.text
        assert "innerHTML" not in answer.text
        assert "http://" not in answer.text.replace("http://www.w3.org/", "")


def test_health_is_open_and_says_that_the_database_answers(api: Api):
    answer = api.stranger.get("/health")
    assert (answer.status_code, answer.json()["database"]) == (200, "ok")


def test_the_description_has_an_example_for_every_field(api: Api):
    shapes = api.get("/openapi.json")["components"]["schemas"]
    unexplained = [
        f"{name}.{field}"
        for name, shape in shapes.items()
        if name.endswith("Shape") or name in ("Chart", "BillDetail", "MeterDetail")
        for field, value in shape["properties"].items()
        if value.get("type") in ("string", "integer") and "examples" not in value
    ]
    assert unexplained == []
    assert OCTOBER.days == 31
