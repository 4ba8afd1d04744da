"""Errors as problem details (RFC 9457): one shape for whatever goes wrong, never a traceback.

``type`` is a reference into docs/contracts/api.md, ``title`` says what kind of problem, ``detail`` what was found and
what to do. Problems of input carry ``errors``, a list of ``{"where", "what"}``.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from protocols.errors import UnavailableError, UsageError

log = logging.getLogger("congto.api")

PROBLEMS = {
    "unauthorized": "401: the token is missing or wrong; send the header Authorization: Bearer TOKEN.",
    "not-found": "404: there is no such route, meter, register, bill or file.",
    "method-not-allowed": "405: everything here is read with GET.",
    "too-large": "413: the request has a body, which nothing here takes. 414: its query is too long.",
    "invalid-input": "422: a parameter is missing, unknown or impossible; errors names each, and what is right.",
    "internal-error": "500: a fault of the server; its log says more.",
    "unavailable": "503: the database does not answer, took too long, or too much is asked at once; try again.",
}
"""The kinds of problems, as docs/contracts/api.md and the documentation page tell them."""

MEDIA_TYPE = "application/problem+json"
LIBRARY_PREFIX = "Value error, "  # pydantic begins with it what our own checks say
ERRORS_MAX = 20  # a request has fewer parameters than that; more would only repeat


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """What a route raises to answer with a problem: a status, a name in the contract, and a sentence."""

    def __init__(self, status: HTTPStatus, name: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.headers = status, name, detail, headers


def not_found(what: str, key: object) -> Problem:
    """Return the problem of a thing that is not there."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"there is no {what} {str(key)[:80]!r}")


def invalid(where: str, what: str) -> RequestValidationError:
    """Return the problem of a parameter that is well-formed and yet impossible."""
    return RequestValidationError([{"loc": ("query", where), "msg": what, "type": "value_error"}])


def answer(
    status: HTTPStatus, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return the response for a problem; ``name`` is its heading in docs/contracts/api.md."""
    body = {"type": f"/docs#{name}", "title": status.phrase, "status": int(status), "detail": detail, **members}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def answer_with_problems(app: FastAPI) -> None:
    """Make ``app`` answer every error as a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return answer(error.status, error.name, error.detail, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        return answer(status, status.phrase.lower().replace(" ", "-"), str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {
                "where": ".".join(str(part) for part in item["loc"]),
                "what": str(item["msg"]).removeprefix(LIBRARY_PREFIX),
            }
            for item in error.errors()[:ERRORS_MAX]
        ]
        detail = "; ".join(f"{item['where']}: {item['what']}" for item in errors)
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", detail, errors=errors)

    @app.exception_handler(UsageError)
    async def usage(_: Request, error: UsageError) -> JSONResponse:
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", str(error), errors=[])

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, _error: Exception) -> JSONResponse:
        # The framework raises it again once this is sent, so that the door can log it.
        detail = "something went wrong here; it is in the server's log, tell whoever runs it"
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail)

    @app.exception_handler(UnavailableError)
    async def unavailable(_: Request, error: UnavailableError) -> JSONResponse:
        return answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error), headers={"Retry-After": "5"})
