"""The agent's figures on a Unix socket that only its owner can open: HTTP, ``/metrics`` for Prometheus, ``/statistics``
for ``congto agent top``. No port listens.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from protocols.errors import UnavailableError

REQUEST_S_MAX = 5.0
REQUEST_OCTETS_MAX = 4096
CALLERS_MAX = 8
ANSWER_OCTETS_MAX = 16 << 20
ANSWER_S_MAX = 10.0


@contextlib.asynccontextmanager
async def serve(path: Path, pages: Mapping[str, tuple[str, Callable[[], str]]]) -> AsyncIterator[None]:
    """Serve ``pages``, by path their content type and what makes them; raise :class:`UnavailableError`."""
    callers = asyncio.Semaphore(CALLERS_MAX)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with callers, asyncio.timeout(REQUEST_S_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, pages))
                await writer.drain()
        writer.close()

    try:
        bound = _bind(path)
        server = await asyncio.start_unix_server(answer, sock=bound, limit=REQUEST_OCTETS_MAX)
    except OSError as error:
        raise UnavailableError(f"[metrics] socket {path}: {error}; its directory must be the agent's own") from error
    async with server:
        yield
    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    """Return the socket, bound; it is the owner's from its first moment on, and what a killed agent left is removed."""
    if path.is_socket():
        path.unlink()
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(found.fileno(), stat.S_IRUSR | stat.S_IWUSR)  # Linux gives the file the mode of the socket
    try:
        found.bind(str(path))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    except OSError:
        found.close()
        raise
    return found


def _response(head: bytes, pages: Mapping[str, tuple[str, Callable[[], str]]]) -> bytes:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    page = pages.get(words[1].decode("ascii", "replace")) if len(words) == 3 and words[0] == b"GET" else None
    if page is None:
        status, kind, body = "404 Not Found", "text/plain", f"expected GET of {', '.join(pages)}\n"
    else:
        status, kind, body = "200 OK", page[0], page[1]()
    octets = body.encode()
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(octets)}\r\nConnection: close\r\n\r\n"
    return lines.encode() + octets


def ask(path: Path, page: str) -> str:
    """Return a page of a running agent; raise :class:`UnavailableError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(ANSWER_S_MAX)
            line.connect(str(path))
            line.sendall(f"GET {page} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: line.recv(65_536), b""))[:ANSWER_OCTETS_MAX]
    except OSError as error:
        raise UnavailableError(
            f"{path}: no agent answers ({error}); start it with [metrics] socket set to this"
        ) from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise UnavailableError(f"{path}: answered {head[:80].decode('ascii', 'replace')!r}; is this an agent's socket?")
    return body.decode()
