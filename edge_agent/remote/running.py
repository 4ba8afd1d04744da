"""What runs by a configuration: the buses, the publisher, the pushes; and how it is brought from one to another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from edge_agent.bus import Bus
from edge_agent.config import AgentConfig, BrokerConfig, BusConfig
from edge_agent.log import EventLog, Recurring
from edge_agent.publisher import Publisher
from edge_agent.pushes import PushDesk
from edge_agent.remote.fleet import Fleet, Supervise
from edge_agent.spool import Cycle
from edge_agent.store import Store
from protocols.errors import UnavailableError
from protocols.meters.model import Group
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.resend import Resend

MakePublisher = Callable[[AgentConfig], Publisher]


class GatewayRunning:
    """Runs what the configuration says. :meth:`close` stops the buses first, the publisher when they have spooled."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        fleet: Fleet,
        pushes: PushDesk,
        store: Store,
        *,
        make_publisher: MakePublisher,
        supervise: Supervise,
        connected: Callable[[], bool],
    ) -> None:
        self._tasks = tasks
        self._fleet = fleet
        self._pushes = pushes
        self._spool = store.spool
        self._make_publisher = make_publisher
        self._supervise = supervise
        self.connected = connected
        self._broker: BrokerConfig | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self.bus: Callable[[str], tuple[BusConfig, Bus] | None] = fleet.bus

    async def follow(self, config: AgentConfig) -> tuple[str, ...]:
        """Run by ``config``; return the names of the buses that were stopped or started."""
        if config.broker != self._broker:
            await self._stop_publisher()
        self._pushes.know(config)
        self._spool.heals = intervals_healed(config.buses)
        changed = await self._fleet.follow(config.buses)
        if self._publishing is None:  # it tells the time, which it has from the buses' clocks
            self._start_publisher(config)
        return changed

    async def close(self) -> None:
        """Stop everything, in order."""
        await self._fleet.close()
        await self._stop_publisher()

    def _start_publisher(self, config: AgentConfig) -> None:
        publisher, leave = self._make_publisher(config), asyncio.Event()
        self._broker, self._leave = config.broker, leave
        run: Callable[[], Awaitable[None]] = lambda: publisher.run(leave)  # noqa: E731 - it has a type here
        self._publishing = self._tasks.create_task(_awaited(self._supervise("publisher", run, leave)))

    async def _stop_publisher(self) -> None:
        if self._publishing is not None:
            self._leave.set()
            await self._publishing
            self._publishing = self._broker = None


def intervals_healed(buses: Iterable[BusConfig]) -> dict[str, int]:
    """Return how often the meters are read whose load profile fills holes [ms]."""
    return {meter.id: meter.every_ms[Group.BILLING] for bus in buses for meter in bus.meters if meter.heal}


async def _awaited(work: Awaitable[None]) -> None:
    await work


class StoreArchive:
    """The spool, as commands use it."""

    def __init__(self, store: Store, log: EventLog) -> None:
        self._store = store
        self._recurring = Recurring(log)

    @property
    def generation(self) -> str:
        """The generation that is being filled."""
        return self._store.spool.generation

    async def resend(self, first: int, last: int) -> tuple[int, int, int]:
        """Have batches sent again that are kept; what is not is declared as lost."""
        kept = await self._store.kept(first, last)
        await self._store.wait_again(Resend(self._store.spool.gateway, self.generation, ((first, last),)))
        return kept

    async def keep_events(self, events: tuple[MeterEvent, ...]) -> None:
        """Spool events; raise :class:`UnavailableError` if the spool refuses."""
        if not await self._store.commit(Cycle(events=list(events)), "commands", self._recurring):
            raise UnavailableError("the spool refuses the events of a command")
