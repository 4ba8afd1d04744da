"""An example for each answer of the description, put together from the examples of its fields.

So an example can't say what its shape no longer has, and a field's example is written once.
"""

from http import HTTPStatus
from typing import Any

JSON = "application/json"
DEPTH_MAX = 16  # steps; no shape nests deeper
INVALID = {"where": "query.limit", "what": "Input should be less than or equal to 200"}
PROBLEM_DETAILS = {
    HTTPStatus.UNAUTHORIZED: (
        "unauthorized",
        "this needs the API's token: send the header Authorization: Bearer TOKEN",
    ),
    HTTPStatus.NOT_FOUND: ("not-found", "there is no meter 'M-0099'"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too-large", "nothing here takes a body: put the parameters into the query"),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("too-large", "the query has 5007 octets, at most 4096 are read"),
    HTTPStatus.UNPROCESSABLE_ENTITY: ("invalid-input", f"{INVALID['where']}: {INVALID['what']}"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "all database connections are busy; try again"),
}


def example_of(schema: dict[str, Any], shape: dict[str, Any], depth: int = 0) -> Any:
    """Return an example of ``shape``, a schema within the description ``schema``."""
    assert depth <= DEPTH_MAX, f"a shape that contains itself has no example: {shape}"
    if "$ref" in shape:
        return example_of(schema, schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]], depth + 1)
    if shape.get("examples"):
        return shape["examples"][0]
    if "anyOf" in shape:
        return example_of(schema, shape["anyOf"][0], depth + 1)
    if "items" in shape:
        return [example_of(schema, shape["items"], depth + 1)]
    return {name: example_of(schema, each, depth + 1) for name, each in shape.get("properties", {}).items()}


def problem_example(status: HTTPStatus) -> dict[str, Any]:
    """Return an example of the problem with ``status``."""
    name, detail = PROBLEM_DETAILS[status]
    body: dict[str, Any] = {
        "type": f"/docs#{name}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
    }
    if name == "invalid-input":
        body["errors"] = [INVALID]
    return body
