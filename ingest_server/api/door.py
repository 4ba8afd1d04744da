"""The door of the API: what every request passes on its way in, and every answer on its way out.

Closed unless said otherwise: a path that is not in :data:`OPEN` needs the token, whether there is anything behind it
or not, so a new route is closed the day it is written, and who has no token learns nothing about what there is. What
is open holds no data: the health check, and the shell of the page (files that ask for the token before they ask for
anything else).
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_server.api.problems import answer
from ingest_server.api.security import Guard
from ingest_server.journal import fact

log = logging.getLogger("congto.api")

OPEN = frozenset({"/", "/docs", "/health", "/favicon.ico"})
OPEN_PREFIX = "/static/"
REQUESTS_MAX = 256  # under way at once; forty are served at a time, the others wait in line for a thread
QUERY_OCTETS_MAX = 4_096  # all parameters of a quote at their longest, and a cursor, fit twice

# Nothing from elsewhere, nothing inline, no frames, no forms that leave: the page is three files and this API.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Door:
    """Checks token and size, adds the headers of all answers, and logs what nobody caught."""

    def __init__(self, app: ASGIApp, guard: Guard, paths: Sequence[str]) -> None:
        self.paths = paths
        self._app, self._guard = app, guard
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = "no-cache" if scope["path"].startswith(OPEN_PREFIX) else "no-store"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:  # the supervisor: what nobody foresaw was answered (problems.py) and is logged here
            log.exception(fact("api.request_failed", method=scope["method"], path=scope["path"]))
        finally:
            self._under_way -= 1

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the answer to a request that may not come in; none if it may."""
        headers = Headers(scope=scope)
        is_open = scope["path"] in OPEN or scope["path"].startswith(OPEN_PREFIX)
        if not is_open and not self._guard.admits(headers.get("authorization")):
            detail = "this needs the API's token: send the header Authorization: Bearer TOKEN"
            return answer(
                HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="congto"'}
            )
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            detail = "nothing here takes a body: put the parameters into the query"
            return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail, headers={"Connection": "close"})
        if len(scope["query_string"]) > QUERY_OCTETS_MAX:
            detail = f"the query has {len(scope['query_string'])} octets, at most {QUERY_OCTETS_MAX} are read"
            return answer(HTTPStatus.REQUEST_URI_TOO_LONG, "too-large", detail)
        if self._under_way >= REQUESTS_MAX:
            detail = "too many requests are under way; try again"
            return answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers={"Retry-After": "5"})
        return None
