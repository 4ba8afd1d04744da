"""What the API refuses, and that every refusal is a problem with a cure."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.server import TOKEN, Api, problem_of, serving
from tests.billing_runs.district import District

pytestmark = pytest.mark.integration
LIBRARY_WORDS = re.compile("Value error|Assertion failed|isoformat|fromisoformat|pydantic", re.IGNORECASE)
EXAMPLES = {"meter_id": "M-0001", "bill_id": "1", "change_id": "1"}
NEEDED: dict[str, dict[str, str]] = {
    "/v1/bills": {"period": "2026-10"},
    "/v1/holds": {"period": "2026-10"},
    "/v1/cases": {"period": "2026-10"},
    "/v1/quote": {"category": "residential", "kwh": "1", "from": "2025-12-01", "to": "2025-12-31"},
    "/v1/meters/{meter_id}/daily": {"from": "2026-10-01", "to": "2026-10-31"},
    "/v1/meters/{meter_id}/chart": {"from": "2026-10-01T00:00:00Z", "to": "2026-10-02T00:00:00Z"},
}


def routes(api: Api) -> list[tuple[str, dict[str, str]]]:
    """Every path of the description with parameters that are good, and the description itself."""
    paths = [path for path in api.get("/openapi.json")["paths"] if path != "/health"]
    found = [(re.sub(r"{(\w+)}", lambda match: EXAMPLES[match[1]], path), NEEDED.get(path, {})) for path in paths]
    return [*found, ("/openapi.json", {})]


def test_every_route_is_closed_without_the_token_and_open_with_it(api: Api):
    found = routes(api)
    assert len(found) >= 10
    for path, parameters in found:
        assert api.client.get(path, params=parameters).status_code == 200, path
        for header in (
            None,
            "",
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
        ):
            headers = {} if header is None else {"Authorization": header}
            answer = api.stranger.get(path, params=parameters, headers=headers)
            problem_of(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        problem_of(api.stranger.get(path, params={**parameters, "token": TOKEN, "access_token": TOKEN}), 401)


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/redoc", "/v1/meters/", "/health/", "/static"])
def test_who_has_no_token_does_not_learn_what_there_is(api: Api, path: str):
    problem_of(api.stranger.get(path), 401)


@pytest.mark.parametrize(
    "name", ["nothing.js", "__init__.py", "%2e%2e%2fapp.py", "..%2f..%2fsql%2f0001_meter_to_bill.sql", ""]
)
def test_no_file_is_served_but_those_of_the_page(api: Api, name: str):
    problem_of(api.stranger.get(f"/static/{name}"), 404)


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/meters/nobody", "/v1/bills/999999", "/v1/changes/999999", "/v1/meters/nobody/readings"]
)
def test_what_is_not_there_is_a_problem(api: Api, path: str):
    assert api.problem(path, 404)["type"] == "/docs#not-found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_everything_is_read_only(api: Api, method: str):
    problem_of(api.client.request(method, "/v1/meters"), 405)


BAD: list[tuple[str, dict[str, str], str]] = [
    ("/v1/meters", {"limit": "0"}, "limit"),
    ("/v1/meters", {"limit": "201"}, "limit"),
    ("/v1/meters", {"limit": "1e9"}, "limit"),
    ("/v1/meters", {"limit": "9" * 400}, "limit"),
    ("/v1/meters", {"limt": "5"}, "limt"),
    ("/v1/meters", {"gateway_id": "x" * 65}, "gateway_id"),
    ("/v1/meters", {"gateway_id": "a\0b"}, "gateway_id"),
    ("/v1/meters/M-0001/readings", {"from": "2026-02-30T00:00:00Z"}, "from"),
    ("/v1/meters/M-0001/readings", {"from": "2026-10-01T00:00:00"}, "from"),
    ("/v1/meters/M-0001/readings", {"from": "2026-10-01T00:00:00+07:00"}, "from"),
    ("/v1/meters/M-0001/readings", {"from": "1999-01-01T00:00:00Z"}, "from"),
    ("/v1/meters/M-0001/readings", {"from": "yesterday"}, "from"),
    ("/v1/meters/M-0001/readings", {"from": "2026-10-02T00:00:00Z", "to": "2026-10-01T00:00:00Z"}, "to"),
    ("/v1/meters/M-0001/readings", {"limit": "10001"}, "limit"),
    ("/v1/meters/M-0001/chart", {"from": "2026-10-01T00:00:00Z", "to": "2027-10-01T00:00:00Z"}, "to"),
    ("/v1/meters/M-0001/chart", {"from": "2026-10-01T00:10:00Z", "to": "2026-10-02T00:00:00Z"}, "from"),
    ("/v1/meters/M-0001/chart", {"from": "2026-10-01T00:00:00Z"}, "to"),
    ("/v1/meters/M-0001/daily", {"from": "2026-10-01", "to": "2026-09-30"}, "to"),
    ("/v1/meters/M-0001/daily", {"from": "2026-10-01", "to": "2027-11-05"}, "to"),
    ("/v1/meters/M-0001/daily", {"from": "2026-02-30", "to": "2026-03-01"}, "from"),
    ("/v1/meters/M-0001/daily", {"from": "20261001", "to": "2026-10-01"}, "from"),
    ("/v1/meters/M-0001/daily", {"from": "2026-W40-4", "to": "2026-10-02"}, "from"),
    ("/v1/meters/M-0001/daily", {"from": "1999-12-31", "to": "2026-10-01"}, "from"),
    ("/v1/meters/M-0001/daily", {"from": "2026-10-01"}, "to"),
    ("/v1/events", {"kind": "party"}, "kind"),
    ("/v1/events", {"from": "2026-10-02T00:00:00Z", "to": "2026-10-01T00:00:00Z"}, "to"),
    ("/v1/events", {"cursor": "x"}, "cursor"),
    ("/v1/bills", {}, "period"),
    ("/v1/bills", {"period": "2026-13"}, "period"),
    ("/v1/bills", {"period": "2026-1"}, "period"),
    ("/v1/bills/0", {}, "bill_id"),
    ("/v1/bills/99999999999999999999", {}, "bill_id"),
    ("/v1/bills/abc", {}, "bill_id"),
    ("/v1/bills/1", {"language": "fr"}, "language"),
    ("/v1/quote", {"category": "residential", "kwh": "-1", "from": "2025-12-01", "to": "2025-12-31"}, "negative"),
    ("/v1/quote", {"category": "residential", "kwh": "1", "from": "2025-12-31", "to": "2025-12-01"}, "first day first"),
    ("/v1/quote", {"category": "palace", "kwh": "1", "from": "2025-12-01", "to": "2025-12-31"}, "palace"),
    ("/v1/quote", {"category": "residential", "kwh": "1", "from": "2025-12-01", "to": "2025-12-32"}, "2025-12-32"),
    ("/v1/quote", {"category": "residential", "watts": "1", "from": "2025-12-01", "to": "2025-12-31"}, "watts"),
]


@pytest.mark.parametrize(("path", "parameters", "named"), BAD)
def test_impossible_input_is_refused_by_name(api: Api, path: str, parameters: dict[str, str], named: str):
    problem = api.problem(path, 422, **parameters)
    assert problem["type"] == "/docs#invalid-input"
    assert named in problem["detail"]
    for said in (problem["detail"], *(each["what"] for each in problem["errors"])):
        assert not LIBRARY_WORDS.search(said), said


def test_a_body_and_an_endless_query_are_refused(api: Api):
    problem_of(api.client.request("GET", "/v1/meters", content=b"x"), 413)
    problem_of(api.client.post("/v1/quote", json={"category": "residential"}), 413)
    problem_of(api.client.request("GET", "/v1/meters", content=iter([b"x" * 100])), 413)
    problem_of(api.client.get("/v1/meters", params={"cursor": "x" * 5_000}), 414)


def first_cursor(api: Api) -> str:
    return str(api.get("/v1/meters", limit=2)["next_cursor"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cursor_that_was_changed_is_refused(api: Api, data: Any):
    cursor = first_cursor(api)
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=~ é"))
    changed = cursor[:place] + letter + cursor[place + 1 :]
    answer = api.client.get("/v1/meters", params={"limit": 2, "cursor": changed})
    if answer.status_code == 200:  # the last letter carries bits that no octet holds
        assert place == len(cursor) - 1 or changed == cursor
    else:
        assert "cursor" in problem_of(answer, 422)["detail"]


def test_a_cursor_of_another_list_or_another_token_is_refused(api: Api, district: District):
    cursor = first_cursor(api)
    api.problem("/v1/gateways", 422, cursor=cursor)
    api.problem("/v1/meters", 422, cursor=cursor, gateway_id="gw-01")
    api.problem("/v1/meters", 422, cursor="")
    with serving(district.dsn, environment={"CONGTO_API_TOKEN": TOKEN + "other"}) as other:
        other.problem("/v1/meters", 422, cursor=cursor)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=80))
def test_any_text_as_a_meter_is_answered_with_a_problem(api: Api, name: str):
    from urllib.parse import quote

    answer = api.client.get(f"/v1/meters/{quote(name.encode('utf-8', 'surrogatepass'), safe='')}/readings")
    problem_of(answer, 404 if answer.status_code == 404 else 422)
