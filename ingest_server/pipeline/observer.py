"""A window on the loopback interface: ``/metrics`` for Prometheus, ``/health`` for whoever supervises.

As little of HTTP as both need: one GET a connection, answered and closed; bounded in size, time and number.
"""

import asyncio
import json
from collections.abc import Callable

from ingest_server.pipeline.metrics import CONTENT_TYPE, Snapshot, complaints, render_metrics
from protocols.errors import UnavailableError

LOOPBACK = "127.0.0.1"
REQUEST_OCTETS_MAX = 8192
REQUEST_S_MAX = 5.0
CONNECTIONS_MAX = 16


async def observe(port: int, snapshot: Callable[[], Snapshot]) -> asyncio.Server:
    """Answer on ``port`` of the loopback interface; raise :class:`UnavailableError` if it is taken."""
    open_connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_connections
        open_connections += 1
        try:
            if open_connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_S_MAX):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(respond(request, snapshot()))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or does not ask as one asks
        finally:
            open_connections -= 1
            writer.close()

    try:
        return await asyncio.start_server(answer, LOOPBACK, port, limit=REQUEST_OCTETS_MAX)
    except OSError as error:
        raise UnavailableError(
            f"--metrics-port {port}: cannot listen on {LOOPBACK}: {error.strerror}; choose another port"
        ) from error


def respond(request: bytes, now: Snapshot) -> bytes:
    """Return the answer to a request's head."""
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        return _response("405 Method Not Allowed", "text/plain", "only GET\n")
    if words[1] == b"/metrics":
        return _response("200 OK", CONTENT_TYPE, render_metrics(now))
    if words[1] == b"/health":
        reasons = complaints(now)
        status = "503 Service Unavailable" if reasons else "200 OK"
        return _response(status, "application/json", json.dumps({"healthy": not reasons, "reasons": reasons}) + "\n")
    return _response("404 Not Found", "text/plain", "there are /metrics and /health\n")


def _response(status: str, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
