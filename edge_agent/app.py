"""The agent's program: opens what the configuration names, in order, and runs it until it is told to stop.

One task owns each bus, one the broker. A task that fails by a mistake of ours is started again after a pause and does
not take the others with it.
"""

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from random import SystemRandom

from edge_agent.bus import Bus, unless_stopped
from edge_agent.claim import claim_spool
from edge_agent.clock import Clock, SystemClock, WorldClock
from edge_agent.config import AgentConfig, BusConfig
from edge_agent.lines import OpenLine, open_line
from edge_agent.log import EventLog
from edge_agent.mqtt_connection import MqttConnector
from edge_agent.publisher import Publisher
from edge_agent.push_ports import PushPorts
from edge_agent.pushes import PushDesk
from edge_agent.spool import open_spool
from edge_agent.store import Store
from protocols.errors import UnavailableError

RESTART_PAUSE_S = 10.0
STATUS_FAILED = 3  # see deploy.cli


def run(config: AgentConfig) -> int:
    """Run the agent; return the exit status."""
    return asyncio.run(_run(config))


async def _run(config: AgentConfig) -> int:
    log = EventLog()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        claim = claim_spool(config.spool)
        spool, damaged = open_spool(config.spool, config.gateway, config.spool_octets_max)
    except UnavailableError as error:
        log.error("spool.not_opened", reason=error)
        return STATUS_FAILED
    if damaged is not None:
        log.error("spool.set_aside", path=damaged, generation=spool.generation)
    store = Store(spool)
    log.info("agent.started", gateway=config.gateway, generation=spool.generation, spooled=spool.batches)
    try:
        await _run_tasks(config, store, log, stop)
    except* UnavailableError as group:
        log.error("agent.failed", reason=_first(group))
        return_status = STATUS_FAILED
    except* sqlite3.DatabaseError as group:
        log.error("spool.damaged", reason=_first(group))
        return_status = STATUS_FAILED
    else:
        return_status = 0
    store.close()
    claim.close()
    log.info("agent.stopped", gateway=config.gateway, taken=spool.taken, spooled=spool.batches)
    return return_status


async def _run_tasks(config: AgentConfig, store: Store, log: EventLog, stop: asyncio.Event) -> None:
    clocks = [await _open_clock(config, bus) for bus in config.buses]
    leave = asyncio.Event()

    def now_ms() -> int:
        return max(clock.now_ms() for clock in clocks)

    desk = PushDesk(config, store, log, now_ms)

    async def open_one(bus: BusConfig) -> OpenLine:
        return await open_line(bus, config.counters, desk.tap(bus))

    publisher = Publisher(
        config,
        store,
        log,
        connect=MqttConnector(config.gateway, config.broker),
        now_ms=now_ms,
        version=version("congto"),
        chance=SystemRandom(),
    )
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        udp, tcp = await PushPorts(desk).open(config.push, stack)
        if udp or tcp:
            log.info("push.listening", udp=udp, tcp=tcp)
        tasks.create_task(_supervise("push", lambda: desk.run(leave), leave, log))
        tasks.create_task(_supervise("publisher", lambda: publisher.run(leave), leave, log))
        buses = [
            tasks.create_task(_run_bus(partial(Bus, bus, clock, store, log, open_one), bus.id, clock, stop, log))
            for bus, clock in zip(config.buses, clocks, strict=True)
        ]
        await asyncio.gather(*buses)
        leave.set()


async def _open_clock(config: AgentConfig, bus: BusConfig) -> Clock:
    return SystemClock() if config.world is None else await WorldClock.join(config.world, f"{config.gateway}/{bus.id}")


async def _run_bus(bus: Callable[[], Bus], task: str, clock: Clock, stop: asyncio.Event, log: EventLog) -> None:
    try:
        await _supervise(task, lambda: bus().run(stop), stop, log)
    finally:
        await clock.close()


async def _supervise(task: str, run: Callable[[], Awaitable[None]], stop: asyncio.Event, log: EventLog) -> None:
    """Run a task; start it again after a mistake of ours. What only a restart of the whole can mend goes up."""
    while not stop.is_set():
        try:
            await run()
        except* (UnavailableError, sqlite3.DatabaseError):
            raise
        except* Exception:
            log.crash("task.crashed", task=task, pause_s=RESTART_PAUSE_S)
            await unless_stopped(asyncio.sleep(RESTART_PAUSE_S), stop)


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the first exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
