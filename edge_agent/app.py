"""The agent's program: opens what the configuration names, in order, and runs it until it is told to stop.

One task owns each bus, one the broker, one the commands. A task that fails by a mistake of ours is started again after
a pause and does not take the others with it. SIGHUP takes the configuration's file anew, as a transaction
(:mod:`edge_agent.remote.configuration`).
"""

import asyncio
import json
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from random import Random, SystemRandom

from edge_agent.bus import Bus, Line, unless_stopped
from edge_agent.claim import claim_spool
from edge_agent.clock import Clock, SystemClock, WorldClock
from edge_agent.config import AgentConfig, BusConfig, TcpPlace
from edge_agent.connection import Connect
from edge_agent.lines import Tap, open_line
from edge_agent.log import EventLog
from edge_agent.mqtt_connection import MqttConnector
from edge_agent.progress import BeatingClock
from edge_agent.publisher import Publisher
from edge_agent.push_ports import PushPorts
from edge_agent.pushes import PushDesk
from edge_agent.remote import figures, metrics_socket
from edge_agent.remote.actions import Actions
from edge_agent.remote.config_file import ConfigFile, Loaded
from edge_agent.remote.configuration import Configuration
from edge_agent.remote.desk import CommandDesk
from edge_agent.remote.fleet import Fleet
from edge_agent.remote.journal import Journal, open_journal
from edge_agent.remote.performer import GatewayPerformer
from edge_agent.remote.running import GatewayRunning, StoreArchive
from edge_agent.spool import open_spool
from edge_agent.status import spool_figures
from edge_agent.store import Store
from edge_agent.systemd import WAIT_S_MAX, Watchdog
from edge_agent.unheard import SUFFIX as UNHEARD_SUFFIX
from edge_agent.unheard import Unheard, this_boot
from protocols.errors import UnavailableError

RESTART_PAUSE_S = 10.0
STATUS_FAILED = 3  # see deploy.cli
PUBLISHER = "publisher"
JOURNAL_SUFFIX = ".commands"


def run(path: Path) -> int:
    """Run the agent by the configuration in ``path``; return the exit status. Raises UsageError if there is none."""
    file = ConfigFile(path)
    return asyncio.run(_run(file, file.load()))


@dataclass(frozen=True, slots=True)
class Outside:
    """What the agent takes from the world around it."""

    connect: Callable[[AgentConfig], Connect]
    open_line: Callable[[AgentConfig, BusConfig, Tap | None, Unheard], Awaitable[Line]]
    open_clock: Callable[[AgentConfig, BusConfig], Awaitable[Clock]]
    chance: Random = field(default_factory=SystemRandom)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    watchdog: Watchdog = field(default_factory=Watchdog)


async def _open_clock(config: AgentConfig, bus: BusConfig) -> Clock:
    return SystemClock() if config.world is None else await WorldClock.join(config.world, f"{config.gateway}/{bus.id}")


WORLD = Outside(
    connect=lambda config: MqttConnector(config.gateway, config.broker),
    open_line=lambda config, bus, tap, unheard: open_line(bus, config.counters, tap, config.learned, unheard),
    open_clock=_open_clock,
)


async def _run(file: ConfigFile, loaded: Loaded) -> int:
    log, config = EventLog(), loaded.config
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    if loaded.refused is not None:
        log.error("configuration.refused", reason=loaded.refused, running="the last good one")
    try:
        claim = claim_spool(config.spool)
        is_new = not config.spool.exists()
        spool, damaged = open_spool(config.spool, config.gateway, config.spool_octets_max)
        journal, lost = open_journal(config.spool.with_name(config.spool.name + JOURNAL_SUFFIX), _now_ms())
    except UnavailableError as error:
        log.error("spool.not_opened", reason=error)
        return STATUS_FAILED
    if damaged is not None:
        log.error("spool.set_aside", path=damaged, generation=spool.generation)
    if lost is not None:
        log.error("journal.set_aside", path=lost)
    if spool.renewed is not None:
        log.error("spool.renewed", reason=spool.renewed, generation=spool.generation)
    store = Store(spool)
    unheard = Unheard(config.spool.with_name(config.spool.name + UNHEARD_SUFFIX), this_boot(), is_new=is_new)
    _tell_refused(log, config, unheard)
    log.info("agent.started", gateway=config.gateway, generation=spool.generation, spooled=spool.batches)
    try:
        await Agent(file, loaded, store, journal, log, unheard=unheard).run(stop, again)
    except* UnavailableError as group:
        log.error("agent.failed", reason=_first(group))
        return_status = STATUS_FAILED
    except* sqlite3.DatabaseError as group:
        log.error("spool.damaged", reason=_first(group))
        return_status = STATUS_FAILED
    else:
        return_status = 0
        unheard.close()
        _tell_refused(log, config, unheard)
    store.close()
    claim.close()
    log.info("agent.stopped", gateway=config.gateway, taken=spool.taken, spooled=spool.batches)
    return return_status


class Agent:
    """The parts of the agent, put together; what comes from outside is given."""

    def __init__(
        self,
        file: ConfigFile,
        loaded: Loaded,
        store: Store,
        journal: Journal,
        log: EventLog,
        *,
        unheard: Unheard,
        outside: Outside = WORLD,
    ) -> None:
        self._file = file
        self._loaded = loaded
        self._store = store
        self._journal = journal
        self._log = log
        self._unheard = unheard
        self._outside = outside

    async def run(self, stop: asyncio.Event, again: asyncio.Event) -> None:
        """Run until ``stop`` is set; take the configuration's file anew whenever ``again`` is."""
        config, log, leave = self._loaded.config, self._log, asyncio.Event()
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            fleet = Fleet(tasks, self._make_bus, lambda bus: self._outside.open_clock(config, bus), self._supervise)
            self._pushes = PushDesk(config, self._store, log, fleet.now_ms)
            self._running = GatewayRunning(
                tasks,
                fleet,
                self._pushes,
                self._store,
                make_publisher=self._make_publisher,
                supervise=self._supervise,
                connected=lambda: self._desk.connected,
            )
            self._configuration = Configuration(self._file, self._loaded, self._running, log, self._outside.pause)
            self._fleet = fleet
            self._desk = self._make_desk()
            stack.callback(self._desk.close)
            udp, tcp = await PushPorts(self._pushes).open(config.push, stack)
            if udp or tcp:
                log.info("push.listening", udp=udp, tcp=tcp)
            if config.metrics.socket is not None:
                await stack.enter_async_context(metrics_socket.serve(config.metrics.socket, self._pages()))
            await self._running.follow(config)
            tasks.create_task(self._supervise("push", lambda: self._pushes.run(leave), leave))
            commands = tasks.create_task(self._supervise("commands", lambda: self._desk.run(stop), stop))
            settling = tasks.create_task(self._configuration.settle())
            self._outside.watchdog.ready()
            await self._serve(stop, again)
            self._outside.watchdog.stopping()
            settling.cancel()
            await commands
            await self._running.close()
            leave.set()

    async def _serve(self, stop: asyncio.Event, again: asyncio.Event) -> None:
        """Return when it is time to stop; until then take the configuration anew when it is asked for."""
        while not stop.is_set():
            await unless_stopped(_wait(again), stop)
            if again.is_set() and not stop.is_set():
                again.clear()
                await unless_stopped(self._configuration.reload(), stop)

    def _make_desk(self) -> CommandDesk:
        performer = GatewayPerformer(
            Actions(self._fleet, self._fleet.now_ms),
            self._configuration,
            StoreArchive(self._store, self._log),
            self._fleet.statistics,
        )
        gateway = self._loaded.config.gateway
        return CommandDesk(gateway, self._journal, performer, self._log, now_ms=self._fleet.now_ms)

    def _make_bus(self, bus: BusConfig, clock: Clock) -> Bus:
        async def open_one(wanted: BusConfig) -> Line:
            tap = self._pushes.tap(wanted)
            return await self._outside.open_line(self._loaded.config, wanted, tap, self._unheard)

        def listen_s() -> float:
            return 0.0 if isinstance(bus.place, TcpPlace) or world else self._unheard.listen_s(bus.place.port)

        watchdog = self._outside.watchdog
        watchdog.expect(bus.id)
        beating = BeatingClock(clock, lambda: watchdog.beat(bus.id), watchdog.beat_every_s)
        world = self._loaded.config.world is not None  # its time is not ours to wait for
        return Bus(bus, clock if world else beating, self._store, self._log, open_one, listen_s=listen_s)

    def _make_publisher(self, config: AgentConfig) -> Publisher:
        watchdog = self._outside.watchdog
        if config.broker.reconnect_max_s <= WAIT_S_MAX:
            watchdog.expect(PUBLISHER)

        def now_ms() -> int:
            watchdog.beat(PUBLISHER)
            return self._fleet.now_ms()

        return Publisher(
            config,
            self._store,
            self._log,
            connect=self._outside.connect(config),
            now_ms=now_ms,
            version=version("congto"),
            chance=self._outside.chance,
            correspondents=(self._desk,),
        )

    def _pages(self) -> dict[str, tuple[str, Callable[[], str]]]:
        def metrics() -> str:
            connected = self._desk.connected
            statistics = self._fleet.statistics()
            return figures.prometheus(statistics, spool_figures(self._store), connected=connected)

        def statistics() -> str:
            buses, meters = figures.rows(self._fleet.statistics())
            return json.dumps({"buses": buses, "meters": meters, "configuration": dict(self._configuration.status())})

        return {
            "/metrics": ("text/plain; version=0.0.4; charset=utf-8", metrics),
            "/statistics": ("application/json", statistics),
        }

    async def _supervise(self, task: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Run a task; start it again after a mistake of ours. What only a restart of the whole can mend goes up."""
        while not stop.is_set():
            try:
                await run()
                self._outside.watchdog.dismiss(task)
            except* (UnavailableError, sqlite3.DatabaseError):
                raise
            except* Exception:
                self._log.crash("task.crashed", task=task, pause_s=RESTART_PAUSE_S)
                await unless_stopped(self._outside.pause(RESTART_PAUSE_S), stop)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _tell_refused(log: EventLog, config: AgentConfig, unheard: Unheard) -> None:
    if unheard.refused is not None:
        log.error("lines.not_noted", path=f"{config.spool}{UNHEARD_SUFFIX}", reason=unheard.refused)


def _now_ms() -> int:
    return SystemClock().now_ms()


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the first exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
