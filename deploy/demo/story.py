"""The story of the demo, from an empty directory to bills: every step a real program doing its real work.

::

    servers up → registry loaded → village stands → ingest, API and two agents run → the month passes
    (half-way the broker is killed, and comes back later) → spools run empty → bills → figures → live

Whatever ends the story, also Ctrl-C, ends every program it started.
"""

import json
import os
import secrets as chance
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.demo.figures import Figures, Month, compare_bills, compare_energy, compare_readings, count_trouble
from deploy.demo.programs import Program, Programs
from deploy.demo.village_files import Polling, render_agent, render_registry, secrets
from deploy.demo.world import World
from deploy.runtime import lifecycle
from ingest_server.database import connect
from protocols.errors import UnavailableError
from simulators.vietnam_days import local_date
from simulators.village import load_village, previous_month

SLOT_MS = 30 * 60_000
REPLAY = Polling(every="30m", instantaneous_every="30m", world="world/world.sock")
LIVE = Polling(every="1m", instantaneous_every="10s", world=None)
READY_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 90.0
STALL_TIMEOUT_S = 60.0
BROKER_AWAY_MS = 36 * 3_600_000  # of simulated time
LOOK_AGAIN_S = 0.1


class Story:
    """One demo in one directory."""

    def __init__(
        self,
        directory: Path,
        console: Console,
        *,
        seed: int | None,
        config: Path | None,
        before_end: Callable[[], None],
    ) -> None:
        today = local_date(time.time_ns() // 1_000_000)
        first_on = previous_month(today)
        last_on = today.replace(day=1) - timedelta(days=1)
        self.month = Month(first_on, last_on, SLOT_MS)
        self.village = load_village(config, starts_on=first_on, seed=seed)
        self.figures = Figures()
        self._directory = directory
        self._console = console
        self._seed = seed
        self._config = config
        self._before_end = before_end
        self._began = time.monotonic()

    @contextmanager
    def told(self) -> Iterator["Running"]:
        """Start everything, and yield what runs; in the end everything is stopped."""
        with ExitStack() as ending:
            self._say("database and broker")
            servers = ending.enter_context(self._servers())
            environment = {
                "CONGTO_DSN": servers.dsn,
                "CONGTO_BROKER": servers.broker_url,
                "CONGTO_API_TOKEN": chance.token_urlsafe(24),
                **secrets(self.village),
            }
            programs = Programs(self._directory, environment)
            ending.callback(programs.stop_all)
            self._register(programs)
            self._say(f"village {self.village.name}: {len(self.village.meters)} meters on pseudo-terminals and TCP")
            world = ending.enter_context(self._village(programs))
            self._say("ingest, API and agents")
            programs.start("ingest", "ingest", "run")
            port = _free_port()
            programs.start("api", "api", "run", "--port", str(port))
            self._write_agents(servers.broker_url, REPLAY, "agent")
            running = Running(self, programs, world, servers, port=port, token=environment["CONGTO_API_TOKEN"])
            running.start_agents("agent")
            ending.callback(self._before_end)
            yield running

    @contextmanager
    def _servers(self) -> Iterator[lifecycle.Running]:
        place = self._directory / "runtime"
        # The demo kills its broker, so it never uses one of somebody else's.
        own = {key: value for key, value in os.environ.items() if key not in {"CONGTO_DSN", "CONGTO_BROKER"}}
        try:
            yield lifecycle.up(place, environment=own, say=self._say)
        finally:
            lifecycle.down(place)

    def _register(self, programs: Programs) -> None:
        registry = self._directory / "registry.toml"
        registry.write_text(render_registry(self.village, self.month.first_on), encoding="utf-8")
        programs.call("ingest", "migrate")
        programs.call("registry", "load", str(registry))

    @contextmanager
    def _village(self, programs: Programs) -> Iterator[World]:
        words = ["--directory", str(self._directory / "world"), "--unpaced", "--from", self.month.first_on.isoformat()]
        if self._seed is not None:
            words += ["--seed", str(self._seed)]
        if self._config is not None:
            words += ["--config", str(self._config)]
        programs.start("world", "sim", "village", *words)
        description = self._directory / "world/world.json"
        self.wait_for(description.exists, "the village", programs, READY_TIMEOUT_S)
        world = World(self._directory / "world/world.sock")
        try:
            yield world
        finally:
            world.close()

    def _write_agents(self, broker_url: str, polling: Polling, prefix: str) -> None:
        described = json.loads((self._directory / "world/world.json").read_text(encoding="utf-8"))
        buses = self.village.agent_buses(described)
        for gateway in self.village.gateways:
            text = render_agent(gateway, buses, broker_url, polling)
            (self._directory / f"{prefix}-{gateway}.toml").write_text(text, encoding="utf-8")

    def go_live(self, running: "Running") -> None:
        """Let the village follow the computer's clock and the agents read in seconds."""
        running.stop_agents()
        self._write_agents(running.servers.broker_url, LIVE, "live")
        running.world.go_live()
        running.start_agents("live")

    def path(self, name: str) -> Path:
        """Return the place of a file of the demo."""
        return self._directory / name

    def wait_for(self, condition: Any, what: str, programs: Programs, timeout_s: float) -> None:
        """Wait until ``condition()`` is true; raise :class:`UnavailableError` after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            programs.check()
            if time.monotonic() > deadline:
                raise UnavailableError(f"waited {timeout_s:.0f} s for {what}; see {self._directory / 'logs'}")
            time.sleep(LOOK_AGAIN_S)

    def _say(self, line: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {line}", highlight=False)

    def say(self, line: str) -> None:
        """Tell what happens now."""
        self._say(line)

    def elapsed_s(self) -> float:
        """Return the seconds since the story began."""
        return time.monotonic() - self._began


class Running:
    """The running village: what can be done with it, in the order of the story."""

    def __init__(
        self, story: Story, programs: Programs, world: World, servers: lifecycle.Running, *, port: int, token: str
    ) -> None:
        self._story = story
        self._programs = programs
        self._agents: list[Program] = []
        self.world = world
        self.servers = servers
        base = f"http://127.0.0.1:{port}"
        self.page_url = f"{base}/#token={token}"
        self.docs_url = f"{base}/docs#token={token}"

    def start_agents(self, prefix: str) -> None:
        """Start one agent for each gateway with its configuration ``PREFIX-GATEWAY.toml``."""
        for gateway in self._story.village.gateways:
            config = self._story.path(f"{prefix}-{gateway}.toml")
            self._agents.append(self._programs.start(f"agent-{gateway}", "agent", "run", "--config", str(config)))

    def stop_agents(self) -> None:
        """Stop the agents; they finish what they are at."""
        self._programs.stop(*self._agents)
        self._agents.clear()

    def replay(self, console: Console) -> None:
        """Let the month pass; kill the broker half-way and start it again."""
        story, month = self._story, self._story.month
        half = (month.start_ms + month.end_ms) // 2
        killed_at: int | None = None
        restarted = False
        began = time.monotonic()
        with _bar(console) as progress:
            task = progress.add_task("", total=month.end_ms - month.start_ms, day="")
            passing = self.world.run(
                month.end_ms,
                len(story.village.buses),
                check=self._programs.check,
                stall_timeout_s=STALL_TIMEOUT_S,
            )
            for now_ms in passing:
                progress.update(task, completed=now_ms - month.start_ms, day=_day_text(now_ms))
                if killed_at is None and now_ms >= half:
                    lifecycle.kill_broker(story.path("runtime"))
                    killed_at = now_ms
                    story.say("[yellow]the broker is killed; meters are read on, readings wait in the spools")
                elif killed_at is not None and not restarted and now_ms >= killed_at + BROKER_AWAY_MS:
                    story.figures.broker_down_batches = self._spooled()
                    lifecycle.start_broker(story.path("runtime"))
                    restarted = True
                    story.say(f"[yellow]the broker is back; {story.figures.broker_down_batches} batches were waiting")
        story.figures.replay_s = round(time.monotonic() - began, 1)

    def drain(self) -> None:
        """Wait until the server has receipted everything."""
        self._story.wait_for(lambda: not self._spooled(), "the last receipts", self._programs, DRAIN_TIMEOUT_S)

    def bill(self) -> None:
        """Bill the month; what is held is counted later."""
        month = ("--period", f"{self._story.month.first_on:%Y-%m}")
        self._programs.call("bill", "run", *month, "--issue-as", "demo", accept=(0, 1))
        self._programs.call("bill", "replay", *month)  # each comes out the same, or this fails
        self._programs.call("bill", "ledger")  # sums to zero, every block as it was sealed

    def show_bill(self, metering_point: str) -> str:
        """Return one bill, explained."""
        period = f"{self._story.month.first_on:%Y-%m}"
        return self._programs.call("bill", "show", "--point", metering_point, "--period", period, "--explain")

    def compare(self) -> Figures:
        """Compare everything with everything; return the figures."""
        story = self._story
        figures = story.figures
        taken = {gateway: self._digest(gateway)["days"] for gateway in story.village.gateways}
        compare_readings(figures, taken, json.loads(self._programs.call("ingest", "digest", "--json")))
        with connect(self.servers.dsn) as connection:
            compare_energy(figures, story.village, connection, story.month)
            compare_bills(figures, story.village, connection, story.month)
            count_trouble(figures, connection)
        figures.total_s = round(story.elapsed_s(), 1)
        return figures

    def live(self) -> None:
        """Run until somebody ends it; raise if a program ends by itself."""
        while True:
            self._programs.check()
            time.sleep(1.0)

    def _spooled(self) -> int:
        return sum(self._digest(gateway)["unreceipted"] for gateway in self._story.village.gateways)

    def _digest(self, gateway: str) -> dict[str, Any]:
        config = self._story.path(f"agent-{gateway}.toml")
        found: dict[str, Any] = json.loads(self._programs.call("agent", "digest", "--config", str(config), "--json"))
        return found


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("         {task.fields[day]}"),
        BarColumn(bar_width=50),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _day_text(at_ms: int) -> str:
    return f"{local_date(at_ms - 1):%d/%m/%Y}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
