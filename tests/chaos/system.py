"""The whole system in one directory: meters, agent, broker, ingest and database, with proxies on every wire.

::

    sim village ── lines ── agent ── uplink ── Mosquitto ── downlink ── ingest ── wire ── TimescaleDB
         └── clock ── clock proxy ──┘

Simulated time stands still while the agent works, is stopped or is away; so whatever happens to it, nothing that the
meters had to say is missed, unless it was just saying it.
"""

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import TupleRow

from deploy.runtime import processes
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from tests.chaos import village
from tests.chaos.clock_proxy import ClockProxy
from tests.chaos.parts import READY_S, Broker, Database, Part, SmallDisk, congto, in_loop
from tests.chaos.proxy import LoopThread, Proxy

SPOOL_DISK_MEGABYTES = 48
DATABASE_DISK_MEGABYTES = 96
STATEMENT_TIMEOUT_S = 30
INGEST = "chaos-ingest"  # its client's name


class Director:
    """Lets the world's time pass, a piece at a time."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._observer = socket.socket(socket.AF_UNIX)
        self._observer.connect(str(path))
        self._observer.sendall(b'{"observe": true}\n')
        self._told = {self._socket: b"", self._observer: b""}
        self.now_ms = 0
        self.until_ms = 0
        while not self.now_ms:
            self._observer.settimeout(READY_S)
            self._take(self._observer)
        for each in self._told:
            each.setblocking(False)

    def let_pass(self, slots: int) -> None:
        """Let so many more slots pass, once every bus has joined; return at once."""
        self.look()
        self.until_ms = max(self.until_ms, self.now_ms) + slots * village.EVERY_MS
        self.start()

    def start(self) -> None:
        """Say again until when, after somebody has left: nobody's return shall miss a moment."""
        command = {"command": "start", "until": self.until_ms, "participants": len(village.BUSES)}
        self._socket.sendall(json.dumps(command).encode() + b"\n")

    def look(self) -> int:
        """Return the world's time."""
        for each in self._told:
            with contextlib.suppress(BlockingIOError):
                while self._take(each):
                    pass
        return self.now_ms

    @property
    def done(self) -> bool:
        """Whether all that was let pass has passed."""
        return self.look() >= self.until_ms

    def _take(self, connection: socket.socket) -> bool:
        data = connection.recv(65_536)
        assert data, "the world's clock is gone"
        *lines, self._told[connection] = (self._told[connection] + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            assert "error" not in message, message
            self.now_ms = max(self.now_ms, message.get("now", message.get("done", 0)))
        return True

    def close(self) -> None:
        """Leave the world."""
        for each in self._told:
            each.close()


class System:
    """Everything, running. ``planted`` names programs to be started with a bug (:mod:`tests.chaos.planted`)."""

    def __init__(self, planted: Mapping[str, Sequence[str]] | None = None, *, resend_after_s: float = 2.0) -> None:
        self._planted = planted or {}
        self.set_ms = 0  # how far the gateway's clock is ahead when it was set last, whatever it says now
        self.directory = Path(tempfile.mkdtemp(prefix="congto-chaos-"))
        self.directory.chmod(0o711)
        self._closing = contextlib.ExitStack()
        try:
            with contextlib.ExitStack() as opened:
                opened.callback(shutil.rmtree, self.directory, ignore_errors=True)
                self._open(opened, resend_after_s)
                self._closing = opened.pop_all()
        except BaseException:
            self._closing.close()
            raise

    def _open(self, opened: contextlib.ExitStack, resend_after_s: float) -> None:
        place = self.directory
        self.spool_disk = SmallDisk(place / "spool", SPOOL_DISK_MEGABYTES)
        opened.callback(self.spool_disk.close)
        self.database_disk = SmallDisk(place / "tables", DATABASE_DISK_MEGABYTES)
        opened.callback(self.database_disk.close)
        self.broker = Broker(place / "broker")
        opened.callback(self.broker.kill)
        self.broker.start()
        self.broker.wait_until_ready()
        self.database = Database(place / "runtime", f"mqtt://127.0.0.1:{self.broker.port}")
        opened.callback(self.database.close)
        self._prepare_database()
        self.loop = LoopThread()
        self.clock = ClockProxy(place / "clock.sock", place / "world" / "world.sock")
        self.uplink, self.downlink = Proxy(self.broker.port), Proxy(self.broker.port)
        self.wire = Proxy(urlsplit(self.database.dsn).port or 5432)
        opened.callback(in_loop, self.loop, self.uplink, self.downlink, self.wire, self.clock)
        for proxy in (self.uplink, self.downlink, self.wire):
            self.loop.run(proxy.open())
        (place / "village.toml").write_text(village.village_text(), encoding="utf-8")
        words = ["--config", str(place / "village.toml"), "--from", village.STARTS_ON.isoformat(), "--unpaced"]
        self.sim = self._part("sim", congto("sim", "village", "--directory", str(place / "world"), *words))
        opened.callback(self.sim.kill)
        described = place / "world" / "world.json"
        assert processes.wait_until(described.exists, READY_S), self.sim.said()
        self.loop.run(self.clock.open())
        self.director = Director(place / "world" / "world.sock")
        opened.callback(self.director.close)
        text = village.agent_text(json.loads(described.read_text()), self.uplink.port, "clock.sock")
        (place / "agent.toml").write_text(text, encoding="utf-8")
        words = ["ingest", "run", "--client-id", INGEST, "--resend-after", f"{resend_after_s:g}"]
        self.ingest = self._part("ingest", self._words("ingest", words))
        opened.callback(self.ingest.kill)
        self.agent = self._part("agent", self._words("agent", ["agent", "run", "--config", str(place / "agent.toml")]))
        opened.callback(self.agent.end)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The programs that start again when they end by themselves."""
        return (self.broker, self.sim, self.ingest, self.agent)

    @property
    def spool(self) -> Path:
        """Where the agent's spool is."""
        return self.spool_disk.path / "spool.sqlite"

    def _words(self, name: str, words: Sequence[str]) -> list[str]:
        first, *others = congto(*words)
        planted = self._planted.get(name)
        return [first, *others] if planted is None else [first, "-m", "tests.chaos.planted", *planted, *words]

    def _part(self, name: str, words: Sequence[str]) -> Part:
        there = urlsplit(self.database.dsn)
        dsn = there._replace(netloc=f"{there.username}:{there.password}@127.0.0.1:{self.wire.port}").geturl()
        environment = {"CONGTO_DSN": dsn, "CONGTO_BROKER": f"mqtt://127.0.0.1:{self.downlink.port}"}
        part = Part(name, words, self.directory / f"{name}.log", environment)
        part.start()
        return part

    def _prepare_database(self) -> None:
        """Put the tables on the small disk, and the schema and the registry into the database."""
        identity = self.database.identity
        if os.geteuid() == 0:
            os.chown(self.database_disk.path, identity.uid, identity.gid)
        with psycopg.connect(self.database.dsn, autocommit=True) as connection:
            connection.execute(f"create tablespace small location '{self.database_disk.path}'")  # type: ignore[call-overload]
            connection.execute("alter database congto set default_tablespace = small")
        migrate(self.database.dsn)
        with connect(self.database.dsn) as connection:
            load_registry(connection, village.registry_text(), "registry.toml")

    def tend(self) -> None:
        """Start again what has ended by itself."""
        for part in self.parts:
            part.tend()

    def connect(self) -> psycopg.Connection[TupleRow]:
        """Return a connection to the database past the proxies."""
        return psycopg.connect(self.database.dsn, autocommit=True, connect_timeout=STATEMENT_TIMEOUT_S)

    def close(self, *, keep: bool = False) -> None:
        """End everything; with ``keep`` the logs are left behind and their place is told."""
        if keep:
            place = Path(tempfile.mkdtemp(prefix="congto-chaos-logs-"))
            for log in [*self.directory.glob("*.log"), self.directory / "broker" / "log"]:
                shutil.copy(log, place / f"{log.parent.name}-{log.name}")
            print(f"logs: {place}")
        self._closing.close()


def gateway_ms(system: System) -> int:
    """Return the time by the gateway's clock. [ms]"""
    return system.director.look() + system.clock.ahead_ms
