"""The agent's process in the simulation: the real parts, wired as ``edge_agent.app`` wires them, and its supervisor.

What is not real is below the agent's seams: disk, wires, network, the computer's clock. A life ends by being told to
stop, by a failure that only a restart mends, by a kill or by a power cut; the next begins after a pause.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from random import Random
from typing import TYPE_CHECKING, Any

from edge_agent.bus import Bus, Line
from edge_agent.clock import SystemClock
from edge_agent.config import AgentConfig, BusConfig
from edge_agent.cycle import Cycle
from edge_agent.log import EventLog
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.modbus_rtu import RtuLink
from edge_agent.publisher import Publisher
from edge_agent.serial_line import LineSettings
from edge_agent.spool import Spool, open_spool
from edge_agent.store import Store
from edge_agent.unheard import SUFFIX, Unheard
from protocols.errors import UnavailableError, UsageError
from protocols.telemetry.reading import Reading
from tests.simulation.line import SimulatedLine
from tests.simulation.loop import LIFE, Life, VirtualLoop
from tests.simulation.vfs import VFS

if TYPE_CHECKING:
    from tests.simulation.world import World

RESTART_PAUSE_S = 5.0
TASK_PAUSE_S = 10.0  # as edge_agent.app has it
RECHECK_S = 30.0


class WatchedLog(EventLog):
    """The agent's log, kept for the check of what was told."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def info(self, event: str, **fields: object) -> None:
        self._world.told(event, fields)

    warning = error = info

    def crash(self, event: str, **fields: object) -> None:
        self._world.told(event, fields)


class RtuBusLine:
    """An open line of Modbus meters, as ``edge_agent.lines`` builds it."""

    def __init__(self, link: RtuLink, bus: BusConfig) -> None:
        self.meters = {each.id: ModbusMeter(link, each.address, each.model) for each in bus.meters}
        self.duties: dict[str, Any] = {}
        self.close = link.close


class ProfileBusLine:
    """An open line of meters with load profiles."""

    def __init__(self, meters: dict[str, Any]) -> None:
        self.meters = meters
        self.duties: dict[str, Any] = {}

    def close(self) -> None:
        """Nothing is open."""


class AgentProcess:
    """Starts the agent, kills it, starts it again."""

    def __init__(self, world: "World", loop: VirtualLoop, context: Context, config: AgentConfig) -> None:
        self._world, self._loop, self._context, self._config = world, loop, context, config
        self._tasks: list[asyncio.Task[Any]] = []
        self.spools: list[Spool] = []
        self.life = Life(0)
        self.life.alive = False
        self.store: Store | None = None
        self._unheard: Unheard
        self.pause_s = RESTART_PAUSE_S
        self.stop = asyncio.Event()
        self.failures: list[BaseException] = []

    def start(self) -> None:
        """Begin a life."""
        self.life = Life(self.life.number + 1)
        context = self._context.copy()
        context.run(LIFE.set, self.life)
        self._tasks.append(self._loop.create_task(self._live(), context=context))

    def kill(self, *, notice: bool = True) -> None:
        """End the life between two steps: nothing of it runs again. Without ``notice`` the broker goes on waiting."""
        if self.life.alive:
            self._end(notice=notice)

    def _end(self, *, notice: bool) -> None:
        self.life.alive = False
        self.store = None
        self._tasks += asyncio.all_tasks(self._loop)  # kept, or Python would run their ends when it likes
        VFS.forget_shared_memory()
        self._world.wires.detach_all()
        if notice:
            self._world.broker.lose_connection()

    def kill_and_restart(self, pause_s: float = RESTART_PAUSE_S) -> None:
        """Kill; the supervisor starts it again."""
        self.kill()
        self.start_later(pause_s)

    def bury(self) -> None:
        """Close what dead lives left open; their files are closed to them."""
        self.kill()
        for spool in self.spools:
            spool.close()
        failures = list(self.failures)  # what the ends of the dead complain of is none of the schedule's
        for task in self._tasks:
            with suppress(Exception):
                task.get_coro().close()
        self._tasks.clear()
        self.failures = failures

    def start_later(self, pause_s: float) -> None:
        """Start after a pause, if nobody has before."""
        self._loop.call_later(pause_s, self.start_if_dead, context=self._context)

    def start_if_dead(self) -> None:
        """Start unless it lives, or has no power."""
        if not self.life.alive and not self._world.power_off:
            self.start()

    async def _live(self) -> None:
        """Live as ``edge_agent.app`` does; whatever ends it, the supervisor starts the next life."""
        try:
            await self._run()
        except* (UnavailableError, sqlite3.DatabaseError) as group:
            self._world.told("agent.failed", {"reason": _first(group)})
        except* UsageError as group:
            self.failures.append(_first(group))
        except* Exception as group:  # a mistake of the agent's that not even its supervisor caught
            if self.life.alive:  # killed at a disk operation: what follows from its disk's refusal is nobody's mistake
                self.failures.append(_first(group))
        self._end(notice=True)
        if not self._world.over:
            self.start_later(self.pause_s)

    async def _run(self) -> None:
        world = self._world
        log = WatchedLog(world)
        path = self._config.spool
        is_new = not path.exists()
        spool, damaged = open_spool(self._config.spool, self._config.gateway, self._config.spool_octets_max)
        if damaged is not None:
            world.spool_set_aside(spool.generation)
            log.error("spool.set_aside", path=damaged, generation=spool.generation)
        if spool.renewed is not None:
            log.error("spool.renewed", reason=spool.renewed, generation=spool.generation)
        world.spool_opened(spool)
        spool.heals = frozenset(meter.id for bus in self._config.buses for meter in bus.meters if meter.heal)
        store = world.parts.store(spool)
        self._unheard = Unheard(path.with_name(f"{path.name}{SUFFIX}"), world.boot(), is_new=is_new)
        self.spools.append(spool)
        self.store, self.stop = store, asyncio.Event()
        try:
            await self._run_tasks(store, log)
            self._unheard.close()
        finally:
            if self.life.alive:
                store.close()

    async def _run_tasks(self, store: Store, log: EventLog) -> None:
        world = self._world
        clock = SystemClock(world.time_ns, RECHECK_S)
        leave = asyncio.Event()
        publisher = world.parts.publisher(
            self._config,
            store,
            log,
            connect=world.broker.connect,
            now_ms=clock.now_ms,
            version="simulation",
            chance=Random(world.rng.getrandbits(32)),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._supervise("publisher", lambda: publisher.run(leave), leave))
            buses = [
                tasks.create_task(
                    self._supervise(
                        bus.id,
                        lambda bus=bus: world.parts.bus(
                            bus, clock, store, log, self._open_line, listen_s=self._unheard.listen_s
                        ).run(self.stop),
                        self.stop,
                    )
                )
                for bus in self._config.buses
            ]
            await asyncio.gather(*buses)
            leave.set()

    async def _open_line(self, bus: BusConfig) -> Line:
        if bus.id == "modbus":
            assert isinstance(bus.place, LineSettings)
            lengths = self._unheard.lengths(bus.place, bus.reply_timeout_s)
            link = self._world.parts.link(SimulatedLine(self._world.wires), bus.reply_timeout_s, lengths)
            return RtuBusLine(link, bus)
        return ProfileBusLine(self._world.profile_meters)

    async def _supervise(self, task: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await run()
            except* (UnavailableError, sqlite3.DatabaseError):
                raise
            except* Exception as group:
                self.failures.append(_first(group))
                await asyncio.sleep(TASK_PAUSE_S)


class Parts:
    """The agent's own classes. A planted bug puts another in the place of one."""

    bus: Any = Bus
    store: Any = Store
    publisher: Any = Publisher
    link: Any = RtuLink


@contextmanager
def watching(taken: Callable[[Spool, list[Reading], int], None]) -> Iterator[None]:
    """Let ``taken`` know what any spool has claimed: the readings of each commit, and its first number."""
    commit = Spool.commit

    def watched(spool: Spool, cycle: Cycle) -> int:
        readings, first = list(cycle.readings), spool.last_sequence + 1
        result = commit(spool, cycle)
        taken(spool, readings, first)
        return result

    Spool.commit = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        Spool.commit = commit  # type: ignore[method-assign]


def _first(group: BaseException) -> BaseException:
    error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
