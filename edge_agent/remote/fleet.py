"""The buses that run now, each with a task, a clock and a stop of its own, so that one is replaced and the rest go on.

:meth:`Fleet.follow` is given a configuration and changes what differs from what runs: buses that are gone are stopped,
changed ones stopped and started, new ones started. A bus that is the same is not touched: no slot is missed, no line is
closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.bus import Bus
from edge_agent.clock import Clock
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.statistics import BusStatistics

MakeBus = Callable[[BusConfig, Clock], Bus]
OpenClock = Callable[[BusConfig], Awaitable[Clock]]
# Runs a task until its event is set, starting it again after a mistake of ours.
Supervise = Callable[[str, Callable[[], Awaitable[None]], asyncio.Event], Awaitable[None]]


@dataclass(slots=True)
class _Running:
    config: BusConfig
    clock: Clock
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    bus: Bus | None = None
    task: asyncio.Task[None] | None = None


class Fleet:
    """Owns the tasks of the buses."""

    def __init__(
        self, tasks: asyncio.TaskGroup, make_bus: MakeBus, open_clock: OpenClock, supervise: Supervise
    ) -> None:
        self._tasks = tasks
        self._make_bus = make_bus
        self._open_clock = open_clock
        self._supervise = supervise
        self._running: dict[str, _Running] = {}
        self._now_ms = 0
        self._closing = False

    async def follow(self, buses: Sequence[BusConfig]) -> tuple[str, ...]:
        """Run just ``buses``; return the names of those that were stopped or started."""
        wanted = {bus.id: bus for bus in buses}
        gone = [name for name, each in self._running.items() if wanted.get(name) != each.config]
        await self._stop(gone)
        fresh = [bus for bus in buses if bus.id not in self._running]
        for bus in fresh:
            if not self._closing:
                await self._start(bus)
        return tuple(sorted({*gone, *(bus.id for bus in fresh)}))

    async def close(self) -> None:
        """Stop all; return when the last has ended."""
        self._closing = True
        await self._stop(list(self._running))

    async def _start(self, config: BusConfig) -> None:
        running = self._running[config.id] = _Running(config, await self._open_clock(config))

        async def run() -> None:
            running.bus = self._make_bus(config, running.clock)
            await running.bus.run(running.stop)

        async def supervise() -> None:
            try:
                await self._supervise(config.id, run, running.stop)
            finally:
                self._now_ms = max(self._now_ms, running.clock.now_ms())
                await running.clock.close()

        running.task = self._tasks.create_task(supervise())

    async def _stop(self, names: Sequence[str]) -> None:
        found = [self._running[name] for name in names]
        for each in found:
            each.stop.set()
        await asyncio.gather(*(each.task for each in found if each.task is not None))
        for name in names:
            del self._running[name]

    def now_ms(self) -> int:
        """Return the agent's time: the latest of the buses' clocks."""
        clocks = [each.clock.now_ms() for each in self._running.values()]
        return max(clocks) if clocks else self._now_ms

    def find(self, meter: str) -> tuple[MeterConfig, Bus] | None:
        """Return a meter and the bus that reads it."""
        for each in self._running.values():
            for config in each.config.meters:
                if config.id == meter and each.bus is not None:
                    return config, each.bus
        return None

    def bus(self, name: str) -> tuple[BusConfig, Bus] | None:
        """Return a bus that runs."""
        each = self._running.get(name)
        return None if each is None or each.bus is None else (each.config, each.bus)

    def statistics(self) -> list[BusStatistics]:
        """Return what the buses have done since each was started."""
        return [each.bus.statistics() for each in self._running.values() if each.bus is not None]
