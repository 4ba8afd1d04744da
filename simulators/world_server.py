"""The clock's socket: who connects says what it is, and then only speaks as such (docs/contracts/world.md)."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.errors import UsageError
from simulators.world import World

LINE_OCTETS_MAX = 4096
CONNECTIONS_MAX = 1024
TIME_MS_MAX = 4_102_444_800_000  # 2100-01-01; a later appointment is somebody's mistake in units


def system_ms() -> int:
    """Return the computer's time. [ms]"""
    return time.time_ns() // 1_000_000


class WorldServer:
    """Serves a world's clock on a Unix socket; simulated meters read :meth:`now_ms` in the same process."""

    def __init__(self, start_ms: int, clock_ms: Callable[[], int] = system_ms) -> None:
        self.world = World(start_ms)
        self._clock_ms = clock_ms
        self._participants: dict[str, _Connection] = {}
        self._observers: set[_Connection] = set()
        self._directors: set[_Connection] = set()
        self._connections: set[_Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._told_ms = start_ms
        self.on_time: Callable[[int], None] = lambda _now_ms: None

    def now_ms(self) -> int:
        """Return the world's time. [ms since 1970 UTC]"""
        if self.world.live:
            return max(self.world.now_ms, self._clock_ms())
        return self.world.now_ms

    async def open(self, path: Path) -> None:
        """Listen on a Unix socket at ``path``; one left by a dead world is replaced."""
        make_room_for_socket(path)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Connection(self), str(path))
        self._path = path

    async def close(self) -> None:
        """End all connections and the socket."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    # What connections report.

    def opened(self, connection: "_Connection") -> None:
        """Take a new connection in."""
        self._connections.add(connection)
        if len(self._connections) > CONNECTIONS_MAX:
            connection.refuse(f"more than {CONNECTIONS_MAX} connections")

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection; a participant's turn ends with it."""
        self._connections.discard(connection)
        self._observers.discard(connection)
        self._directors.discard(connection)
        if connection.participant is not None:
            del self._participants[connection.participant]
            self._carry_out(self.world.leave(connection.participant))

    def received(self, connection: "_Connection", message: dict[str, Any]) -> str | None:
        """Do what a line says; return what is wrong with it, if anything."""
        match message:
            case {"wait": int(until_ms), **rest} if not rest and connection.participant is not None:
                if isinstance(until_ms, bool) or not 0 <= until_ms <= TIME_MS_MAX:
                    return f"wait {until_ms}: expected milliseconds since 1970 UTC"
                self._carry_out(self.world.wait(connection.participant, until_ms))
            case {"join": str(name), **rest} if not rest and connection.is_new:
                if not name or name in self._participants:
                    return f"join {name!r}: expected a name that no other participant has"
                connection.participant = name
                self._participants[name] = connection
                self.world.join(name)
                connection.send({"now": self.now_ms()})
            case {"observe": True, **rest} if not rest and connection.is_new:
                connection.observes = True
                self._observers.add(connection)
                connection.tell(self.now_ms())
            case {"command": "start", "until": int(until_ms), "participants": int(count), **rest} if (
                not rest and connection.may_direct
            ):
                if not self.now_ms() <= until_ms <= TIME_MS_MAX or count < 0:
                    return f"start until {until_ms} with {count}: expected a time not before now and a count"
                self._direct(connection)
                self._carry_out(self.world.start(until_ms, count))
            case {"command": "live", **rest} if not rest and connection.may_direct:
                self._direct(connection)
                self._carry_out(self.world.follow(self._clock_ms()))
            case _:
                return "unexpected; see docs/contracts/world.md for what each side may say"
        return None

    def _direct(self, connection: "_Connection") -> None:
        connection.directs = True
        self._directors.add(connection)

    def _carry_out(self, woken: list[str]) -> None:
        world = self.world
        if world.now_ms != self._told_ms:
            self._told_ms = world.now_ms
            for observer in self._observers:
                observer.tell(world.now_ms)
            self.on_time(world.now_ms)
        message = b'{"now": %d}\n' % world.now_ms
        for name in woken:
            self._participants[name].write(message)
        if world.finished:
            done, world.until_ms = world.until_ms, None
            for director in self._directors:
                director.send({"done": done})
        if world.live:
            self._set_timer()

    def _set_timer(self) -> None:
        """Come back when the next appointment is due, and at least once a second for the observers."""
        if self._timer is not None:
            self._timer.cancel()
        next_ms = self.world.next_wait_ms
        pause_ms = 1000 if next_ms is None else min(max(next_ms - self._clock_ms(), 1), 1000)
        self._timer = asyncio.get_running_loop().call_later(pause_ms / 1000, self._tick)

    def _tick(self) -> None:
        if self.world.live:
            self._carry_out(self.world.tick(self._clock_ms()))


def make_room_for_socket(path: Path) -> None:
    """Remove a dead socket at ``path``; raise :class:`UsageError` if a socket can't be there or one is alive."""
    if path.exists() and not path.is_socket():
        raise UsageError(f"{path}: is there and no socket; choose another directory for the world")
    if len(str(path).encode()) > 100:  # sun_path of unix(7) holds 108
        raise UsageError(f"{path}: too long for a Unix socket; choose a directory with a shorter path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(f"{path}: another world is running there; choose another directory or stop it")


class _Connection(asyncio.Protocol):
    """One client: splits lines, and keeps only the newest time for an observer that reads slowly."""

    def __init__(self, server: WorldServer) -> None:
        self._server = server
        self._transport: asyncio.WriteTransport | None = None
        self._rest = b""
        self._paused = False
        self._owed_ms: int | None = None
        self.participant: str | None = None
        self.observes = False
        self.directs = False

    @property
    def is_new(self) -> bool:
        """Whether it has not said yet what it is."""
        return self.participant is None and not self.observes and not self.directs

    @property
    def may_direct(self) -> bool:
        """Whether it is a director or may become one."""
        return self.participant is None and not self.observes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.set_write_buffer_limits(high=4096)
        self._server.opened(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._transport is None or self._transport.is_closing():
                return
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            wrong = self._server.received(self, message if isinstance(message, dict) else {})
            if wrong is not None:
                self.refuse(wrong)
        if len(self._rest) > LINE_OCTETS_MAX:
            self.refuse(f"a line of more than {LINE_OCTETS_MAX} octets")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._owed_ms is not None:
            owed, self._owed_ms = self._owed_ms, None
            self.tell(owed)

    def tell(self, now_ms: int) -> None:
        """Tell an observer the time, or remember it while the observer is slow."""
        if self._paused:
            self._owed_ms = now_ms
        else:
            self.write(b'{"now": %d}\n' % now_ms)

    def send(self, message: dict[str, Any]) -> None:
        """Send one line."""
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Send octets if the client is still there."""
        if self._transport is not None:
            self._transport.write(data)

    def refuse(self, why: str) -> None:
        """Say what is wrong and end the connection."""
        self.send({"error": why})
        self.close()

    def close(self) -> None:
        """End the connection after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once, however slowly the client reads."""
        if self._transport is not None:
            self._transport.abort()
