"""The case queue and its changes over HTTP, as a run of validation and a clerk leave them."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_core.validation.catalogue import RULES
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.limits import limits_from
from ingest_server.vee.changes import load_change
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.edit import propose_edit
from ingest_server.vee.run import run_vee
from tests.api.server import Api
from tests.api.test_answers import every_item
from tests.billing_runs.district import GATEWAY, IMPORT, OCTOBER, District, household

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 24, tzinfo=UTC)
LAN, MINH = Actor("Lan", Role.BILLER, "phúc tra"), Actor("Minh", Role.HEAD, "đúng")


@pytest.fixture(scope="module")
def judged(district: District) -> District:
    """Give the district with two wrong plates, judged; of one customer a register waits that he agreed on."""
    for number in (1, 3):
        district.connection.execute(
            "insert into meter_plate (meter_id, valid_from, multiplier, source, entered_by)"
            " values (%s, '2026-01-01', 40, 'visit', 'Lan')",
            [household(number).meter],
        )
    run_vee(district.dsn, OCTOBER, actor="Lan", now=NOW)
    return district


def test_cases_come_by_what_is_at_stake_with_the_rules_version_and_numbers_and_what_waits(
    judged: District, api: Api
) -> None:
    cases = api.get("/v1/cases", period="2026-10", language="en")["items"]
    stakes = [case["score_wh"] for case in cases]
    assert stakes == sorted(stakes, reverse=True)
    by_point = {case["metering_point_id"]: case for case in cases}
    wrong = by_point[household(3).point]
    [reason] = wrong["reasons"]
    assert (reason["rule"], reason["rule_version"], reason["text"]) == ("V03", 1, RULES["V03"].name)
    assert (reason["evidence"]["multiplier_plate"], reason["evidence"]["multiplier_registry"]) == (40, 1)
    assert (wrong["transformer_id"], wrong["obis"], wrong["waiting"]) == (None, IMPORT, [])
    waiting = by_point[household(6).point]
    assert [each["made_by"] for each in waiting["waiting"]] == ["Lan"]
    assert waiting["score_wh"] == 0
    vietnamese = api.get("/v1/cases", period="2026-10", metering_point_id=household(3).point)["items"]
    assert [each["reasons"][0]["text"] for each in vietnamese] == ["khác dữ liệu gốc của công tơ"]
    assert api.get("/v1/cases", period="2026-09")["items"] == []


def test_pages_of_cases_of_any_size_make_the_same_list(judged: District, api: Api) -> None:
    whole, _ = every_item(api, "/v1/cases", 200, period="2026-10")
    assert len(whole) >= 3
    for limit in (1, 2):
        assert every_item(api, "/v1/cases", limit, period="2026-10")[0] == whole


def test_a_change_is_told_with_its_provenance_before_and_after_it_is_decided(judged: District, api: Api) -> None:
    [case] = api.get("/v1/cases", period="2026-10", metering_point_id=household(6).point)["items"]
    number = case["waiting"][0]["change_id"]
    change = api.get(f"/v1/changes/{number}")
    assert (change["kind"], change["made_by"], change["why"], change["decision"]) == (
        "edit", "Lan", "khách hàng đọc", None,
    )  # fmt: skip
    assert change["readings"] == [
        {"at": "2026-10-31T17:00:00Z", "value_wh": 1_100_000, "quality": ["SUBSTITUTED"], "method": "E8_AGREED",
         "reason": "AGREED_WITH_CUSTOMER"},
    ]  # fmt: skip
    assert change["hash"] == load_change(judged.connection, number)["hash"].hex()
    decide_change(judged.connection, number, "approve", MINH, limits_from(None))
    decision = api.get(f"/v1/changes/{number}")["decision"]
    assert (decision["act"], decision["actor"], decision["role"], decision["note"]) == (
        "approve", "Minh", "head", "đúng",
    )  # fmt: skip
    assert api.get("/v1/cases", period="2026-10", metering_point_id=household(6).point)["items"] == []


def test_no_page_leaves_out_a_meter_that_was_exchanged_in_the_month(judged: District, api: Api) -> None:
    one, exchanged_at = household(4), OCTOBER.start_at + timedelta(days=14)
    old, new = one.meter, f"{one.meter}-B"
    judged.copy("meter (meter_id, gateway_id, model, digits)", [(new, GATEWAY, "test", 6)])
    judged.copy("channel (meter_id, obis, unit)", [(new, IMPORT, "Wh")])
    judged.connection.execute("update installation set removed_at = %s where meter_id = %s", [exchanged_at, old])
    judged.connection.execute(
        "insert into installation (metering_point_id, meter_id, installed_at, multiplier) values (%s, %s, %s, 1)",
        [one.point, new, exchanged_at],
    )
    for days, index_wh in ((5, 1_050_000), (20, 50_000)):
        at = OCTOBER.start_at + timedelta(days=days)
        propose_edit(judged.connection, one.point, IMPORT, at, index_wh, by_hand=True, actor=LAN, now=NOW)
    for limit in (200, 1):
        found = every_item(api, "/v1/cases", limit, period="2026-10", metering_point_id=one.point)[0]
        assert [case["meter_id"] for case in found] == [old, new]
