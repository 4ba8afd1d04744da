"""The description of the API: every operation says what it does, answers and refuses, with examples that are right."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from fastapi.routing import APIRoute

from ingest_server.api import routes_bills, routes_cases, routes_events, routes_meters
from ingest_server.api.app import create_app
from ingest_server.api.connections import Connections
from ingest_server.api.problems import MEDIA_TYPE, PROBLEMS
from ingest_server.api.security import Guard
from ingest_server.api.shapes import Health, ProblemShape

JSON = "application/json"
REFUSALS = {"401", "413", "414", "422", "503"}


def described() -> dict[str, Any]:
    door = create_app(Connections("dbname=none"), Guard("t" * 32))
    found: dict[str, Any] = door._app.openapi()  # type: ignore[attr-defined]
    return found


SCHEMA = described()
OPERATIONS = [
    pytest.param(path, operation, id=f"{method} {path}")
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
]
SHAPES = {
    route.path: route.response_model
    for router in (routes_meters.router, routes_events.router, routes_bills.router, routes_cases.router)
    for route in router.routes
    if isinstance(route, APIRoute)
} | {"/health": Health}


def test_there_is_no_operation_that_is_not_described():
    assert set(SHAPES) == set(SCHEMA["paths"])
    assert all(set(methods) == {"get"} for methods in SCHEMA["paths"].values())


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_says_what_it_does_and_its_example_is_one_of_its_answers(path: str, operation: Any):
    assert operation["summary"]
    assert operation["description"].rstrip().endswith(".")
    answer = operation["responses"]["200"]["content"][JSON]
    assert "$ref" in answer["schema"]
    assert answer["example"]
    shape = SHAPES[path].model_validate(answer["example"])
    assert json.loads(shape.model_dump_json(by_alias=True)) == answer["example"]


@pytest.mark.parametrize(("path", "operation"), [each for each in OPERATIONS if each.id != "get /health"])
def test_every_operation_tells_how_it_refuses(path: str, operation: Any):
    refusals = {status: each for status, each in operation["responses"].items() if status != "200"}
    assert set(refusals) == REFUSALS | ({"404"} if "{" in path else set())
    for status, each in refusals.items():
        assert set(each["content"]) == {MEDIA_TYPE}
        problem = ProblemShape.model_validate(each["content"][MEDIA_TYPE]["example"])
        assert (problem.status, problem.title) == (int(status), HTTPStatus(int(status)).phrase)
        assert problem.type.removeprefix("/docs#") in PROBLEMS


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_parameter_is_explained_or_has_an_example(path: str, operation: Any):
    for each in operation.get("parameters", ()):
        shape = next((one for one in each["schema"].get("anyOf", ()) if one.get("type") != "null"), each["schema"])
        told = each.get("description") or each["schema"].get("examples") or shape.get("examples")
        assert told, f"{path}: {each['name']}"


def test_health_says_what_it_answers_when_the_database_does_not():
    failing = SCHEMA["paths"]["/health"]["get"]["responses"]["503"]["content"][JSON]["example"]
    assert Health.model_validate(failing).status == "failing"
