"""The demo's hold on the simulated world's clock: it directs and observes (docs/contracts/world.md)."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from protocols.errors import UnavailableError

SOCKET_TIMEOUT_S = 10.0
LINE_OCTETS_MAX = 65536


class WorldPeer:
    """A connection to the world's clock that takes and gives lines of JSON."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SOCKET_TIMEOUT_S)
        self._socket.connect(str(path))
        self._received = b""

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one line."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """Return the lines that have come; waits for some octets."""
        octets = self._socket.recv(LINE_OCTETS_MAX)
        if not octets:
            raise UnavailableError("the simulated world has closed its clock; see logs/world.log")
        *lines, self._received = (self._received + octets).split(b"\n")
        return [json.loads(line) for line in lines if line]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class World:
    """Lets the simulated world run, and tells of its time as it passes."""

    def __init__(self, path: Path) -> None:
        self._director = WorldPeer(path)
        self._observer = WorldPeer(path)

    def run(
        self, until_ms: int, participants: int, *, check: Callable[[], None], stall_timeout_s: float
    ) -> Iterator[int]:
        """Let time run to ``until_ms`` and yield it, in milliseconds, whenever it has moved, at the end ``until_ms``.

        ``check`` is called twice a second at least. Raises :class:`UnavailableError` if time has stood still for
        ``stall_timeout_s``.
        """
        self._director.send({"command": "start", "until": until_ms, "participants": participants})
        self._observer.send({"observe": True})
        moved_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._director, selectors.EVENT_READ)
            selector.register(self._observer, selectors.EVENT_READ)
            while True:
                ready = selector.select(timeout=0.5)
                check()
                lines = [line for key, _ in ready for line in key.fileobj.receive()]  # type: ignore[union-attr]
                times = [line["now"] for line in lines if "now" in line]
                if times:
                    moved_at = time.monotonic()
                    yield times[-1]
                if any("done" in line for line in lines):
                    yield until_ms
                    return
                if time.monotonic() - moved_at > stall_timeout_s:
                    raise UnavailableError(
                        f"simulated time has stood still for {stall_timeout_s:.0f} s: "
                        "an agent neither works nor waits; see logs/"
                    )

    def go_live(self) -> None:
        """Let the world follow the computer's clock from now on."""
        self._director.send({"command": "live"})

    def close(self) -> None:
        """Leave the world; its time goes on as it was told."""
        self._director.close()
        self._observer.close()
