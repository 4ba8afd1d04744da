"""The application: routes, problems, the page's files, and the door around them all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from ingest_server.api import routes_bills, routes_cases, routes_events, routes_meters
from ingest_server.api.connections import Connections
from ingest_server.api.door import Door
from ingest_server.api.examples import JSON, example_of, problem_example
from ingest_server.api.problems import MEDIA_TYPE, PROBLEMS, answer_with_problems, invalid, not_found
from ingest_server.api.security import Guard
from ingest_server.api.shapes import Health, ProblemShape
from protocols.errors import UnavailableError

HEALTH_WAIT_S = 2.0  # whoever asks for health wants to know soon
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FAILING = {"status": "failing", "database": "does not answer"}
DESCRIPTION = """Meters, readings, bills and quotes. Energy is integer Wh, money integer đồng, times are UTC, ISO 8601
with Z. Every route but `/health` needs `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457). Lists come
in pages: give `next_cursor` of one page as `cursor` of the next, with the same other parameters."""


def create_app(connections: Connections, guard: Guard) -> ASGIApp:
    """Return the API over ``connections``, open to whom ``guard`` admits."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        connections.close()

    app = FastAPI(
        title="congto",
        version=version("congto"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page fetches scripts from elsewhere; ours is static/docs.html
        redoc_url=None,
    )
    app.state.connections, app.state.guard = connections, guard
    app.state.parameters = {}
    answer_with_problems(app)
    problem = {"model": ProblemShape, "description": "a problem"}
    refusals: dict[int | str, dict[str, Any]] = dict.fromkeys((401, 404, 413, 414, 422, 503), problem)
    for router in (routes_meters.router, routes_events.router, routes_bills.router, routes_cases.router):
        app.include_router(router, dependencies=[Depends(refuse_unknown_parameters)], responses=refusals)
    app.include_router(_open_routes())
    schema = describe(app)
    for path, methods in schema["paths"].items():
        names = {item["name"] for item in methods["get"].get("parameters", []) if item["in"] == "query"}
        app.state.parameters[path] = names
    return Door(app, guard, list(schema["paths"]))


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of ``app``, which serves it from now on: with security, problems and examples."""
    schema = app.openapi()
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["x-problems"] = PROBLEMS
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path == "/health" else [{"token": []}]
            answers = operation["responses"]
            if "{" not in path:
                answers.pop("404", None)  # a list may be empty, and then that is the answer
            answer = answers["200"]["content"][JSON]
            answer["example"] = example_of(schema, answer["schema"])
            for status in answers.keys() - {"200"} if path != "/health" else ():
                code = HTTPStatus(int(status))
                problem = {"schema": {"$ref": "#/components/schemas/ProblemShape"}, "example": problem_example(code)}
                answers[status] |= {"description": code.phrase, "content": {MEDIA_TYPE: problem}}
    health = schema["paths"]["/health"]["get"]["responses"]
    failing = {**health["200"]["content"][JSON]["example"], **FAILING}
    health["503"]["content"][JSON]["example"] = failing
    return schema


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a parameter nobody reads: a mistyped filter would otherwise answer with everything."""
    known = request.app.state.parameters[request.scope["route"].path]
    for name in request.query_params:
        if name not in known:
            raise invalid(name[:40], f"unknown parameter; known are {', '.join(sorted(known)) or 'none'}")


def _open_routes() -> APIRouter:
    """Return what needs no token: health, and the page's files, which hold no data."""
    router = APIRouter()

    failing: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "the database does not answer"}}

    @router.get("/health", response_model=Health, tags=["health"], responses=failing)
    def health(request: Request) -> Any:
        """Say whether the database answers; 503 if not."""
        body = {"status": "ok", "version": version("congto"), "database": "ok"}
        try:
            with request.app.state.connections.take(HEALTH_WAIT_S) as connection:
                connection.execute("select 1 from bill limit 1")
        except UnavailableError:
            body |= FAILING
            return JSONResponse(body, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        return body

    @router.get("/", include_in_schema=False)
    def page() -> Response:
        return _file("index.html")

    @router.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return _file("docs.html")

    @router.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return _file("icon.svg")

    @router.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        return _file(name)

    return router


def _file(name: str) -> Response:
    """Return one of the page's files; only names that are there, so no path leads out of the folder."""
    for entry in (files("ingest_server.api") / "static").iterdir():
        media_type = MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if entry.name == name and media_type is not None:
            return Response(entry.read_bytes(), media_type=media_type)
    raise not_found("file", name)
