"""Store what is gathered in one transaction, send receipts, acknowledge; for ever.

A process has two pipelines, each with a connection of its own: while the database commits for one, the other's readings
are on their way. What may be stored already waits for the other to finish.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg

from ingest_server.database.connection import one_line
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.back_off import back_off_s
from ingest_server.pipeline.bundle import Arrival, Bundle, make_bundle, refuse
from ingest_server.pipeline.counts import Counts
from ingest_server.pipeline.gatherer import Gatherer
from ingest_server.pipeline.message import Message, Rejected, gateway_of
from ingest_server.pipeline.quarantine import RENEW_S, Limits
from ingest_server.pipeline.registered import GATEWAYS_MAX, Registered
from ingest_server.pipeline.store import Connection, open_connection, store
from protocols.telemetry.batch import Batch

# What the database says of the data and not of itself: trying again would be for ever.
REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)

Settled = Callable[[list[Message], Bundle], Awaitable[None]]


@dataclass(slots=True)
class Together:
    """What the pipelines of a process have in common, and others look at."""

    counts: Counts = field(default_factory=Counts)
    clocks_s: dict[str, float] = field(default_factory=dict)  # by gateway: its clock less ours, by its last status
    database_lost: bool = False  # since the last transaction
    gave_up_at_s: float | None = None  # by the monotonic clock
    registered: Registered = field(default_factory=Registered)
    judging: asyncio.Lock = field(default_factory=asyncio.Lock)  # by what is registered, one after the other

    @property
    def gave_up_s(self) -> float | None:
        """How long ago the quarantine last had no room, ``None`` if it always had."""
        return None if self.gave_up_at_s is None else time.monotonic() - self.gave_up_at_s


class Pipeline:
    """Stores what ``gatherer`` gives into the database at ``dsn``; ``settled`` is told what is committed."""

    def __init__(
        self, dsn: str, gatherer: Gatherer, together: Together, settled: Settled, limits: Limits | None = None
    ) -> None:
        self.progress = 0  # grows with each transaction and each attempt to reach the database
        self._dsn = dsn
        self._gatherer = gatherer
        self._together = together
        self._settled = settled
        self._limits = limits
        self._connection: Connection | None = None
        self._began_s: float | None = None  # when what is stored now was taken up, by the monotonic clock

    @property
    def waiting(self) -> bool:
        """Whether there is something to be done here."""
        return self._began_s is not None or self._gatherer.unattended

    @property
    def still_s(self) -> float:
        """For how long it has been storing what it stores now; 0 if it is idle."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    async def store(self) -> None:
        """Store what is gathered, until the gatherer stops; a transaction that has begun is finished first."""
        with contextlib.suppress(psycopg.OperationalError):  # the first transaction says so if it lasts
            await self._connected()
        while (arrivals := await self._gatherer.next()) is not None:
            self._began_s = time.monotonic()
            await self._settle(arrivals)
            self._began_s = None
            self._gatherer.done()
        await self._disconnect()

    async def _settle(self, arrivals: list[Arrival]) -> None:
        """Store ``arrivals``, as often as it takes; give up only when asked to stop, and then they come again."""
        failures = 0
        while True:
            try:
                await self._store_or_split(arrivals)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                failures += 1
                self.progress += 1
                if not self._together.database_lost:  # the other pipeline has said it otherwise
                    LOG.warning(fact("database.lost", reason=one_line(error), messages=len(arrivals)))
                self._together.database_lost = True
                await self._disconnect()
                if self._gatherer.stopping:
                    return
                await self._back_off(failures)
            else:
                if self._together.database_lost:
                    LOG.info(fact("database.back", attempts=failures))
                self._together.database_lost = False
                return

    async def _back_off(self, failures: int) -> None:
        """Wait, longer with each failure and never in step with others; not once we are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(back_off_s(failures)):
                await self._gatherer.stopped()

    async def _store_or_split(self, arrivals: list[Arrival]) -> None:
        """Store ``arrivals`` together; if the database refuses them, by halves, and quarantine the one it refuses."""
        try:
            await self._store(arrivals)
        except REFUSALS as error:
            if len(arrivals) == 1:
                LOG.error(fact("message.refused_by_database", reason=one_line(error)))
                await self._store([refuse(arrivals[0], f"refused by the database: {type(error).__name__}")])
                return
            half = len(arrivals) // 2
            await self._store_or_split(arrivals[:half])
            await self._store_or_split(arrivals[half:])

    async def _store(self, arrivals: list[Arrival]) -> None:
        """Store ``arrivals`` in one transaction, and tell it."""
        started = time.monotonic()
        connection = await self._connected()
        async with self._together.judging:
            bundle = await self._judge(connection, arrivals, time.time_ns() // 1_000_000)
        async with self._gatherer.storing(alone=bool(bundle.suspects)):
            stored = await store(connection, bundle, self._limits)
        self.progress += 1
        self._note_clocks(bundle)
        if stored.given_up:
            self._note_given_up(stored.given_up)
        self._together.counts.add(len(arrivals), bundle, stored, time.monotonic() - started)
        await self._settled([message for message, _ in arrivals], bundle)

    def _note_given_up(self, messages: int) -> None:
        """Tell the first of a row; the counts tell the others."""
        before_s = self._together.gave_up_s
        if before_s is None or before_s > RENEW_S:
            LOG.error(fact("quarantine.full", given_up=messages))
        self._together.gave_up_at_s = time.monotonic()

    def _note_clocks(self, bundle: Bundle) -> None:
        clocks_s = self._together.clocks_s
        for each in bundle.statuses:
            if each.clock_ahead_ms is not None:
                clocks_s[each.status.gateway] = each.clock_ahead_ms / 1000
        if len(clocks_s) > GATEWAYS_MAX:
            clocks_s.clear()

    async def _judge(self, connection: Connection, arrivals: list[Arrival], now_ms: int) -> Bundle:
        """Return what to store of ``arrivals``, and count their batches as seen, whether they are stored yet or not."""
        registered = self._together.registered
        decoded = [each for _, each in arrivals]
        await registered.hear(connection)
        await registered.load(connection, {gateway_of(each) for each in decoded if not isinstance(each, Rejected)})
        await registered.load_highest(
            connection, {(each.gateway, each.generation) for each in decoded if isinstance(each, Batch)}
        )
        bundle = make_bundle(arrivals, registered.channels, registered.highest, now_ms)
        unregistered = {each.header.gateway for each in bundle.admissions if each.unregistered}
        if unregistered:  # perhaps registered since we last looked
            await registered.load(connection, unregistered, again=True)
            bundle = make_bundle(arrivals, registered.channels, registered.highest, now_ms)
        for admission in bundle.admissions:
            registered.advance(admission.header.spool, admission.header.settles[-1][1])
        return bundle

    async def _connected(self) -> Connection:
        if self._connection is None:
            connection = await open_connection(self._dsn)
            try:
                async with self._together.judging:
                    await self._together.registered.watch(connection)
            except psycopg.Error:  # one that is not told of changes is of no use
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
