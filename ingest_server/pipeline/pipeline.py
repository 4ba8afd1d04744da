"""Gather what has come, store it in one transaction, send receipts, acknowledge; for ever.

While a transaction is under way the next one is gathered and decoded, so a bundle is as large as the load makes it: a
few messages when there is little to do, up to ``BUNDLE_ROWS_MAX`` rows when there is much.
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
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message, Rejected, decode, gateway_of
from ingest_server.pipeline.quarantine import RENEW_S, Limits
from ingest_server.pipeline.registered import GATEWAYS_MAX, Registered
from ingest_server.pipeline.settings import (
    BUNDLE_OCTETS_MAX,
    BUNDLE_ROWS_MAX,
    LINGER_S,
    TURN_ROWS,
)
from ingest_server.pipeline.store import Connection, open_connection, store
from protocols.telemetry.batch import Batch

# What the database says of the data and not of itself: trying again would be for ever.
REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)

Settled = Callable[[list[Message], Bundle], Awaitable[None]]


@dataclass(slots=True)
class Gathering:
    """The messages of the next transaction, decoded."""

    arrivals: list[Arrival] = field(default_factory=list)
    rows: int = 0
    octets: int = 0
    since_s: float = 0.0  # when the first message came

    def add(self, arrival: Arrival) -> int:
        """Add one message; return how many rows it has."""
        message, decoded = arrival
        if not self.arrivals:
            self.since_s = time.monotonic()
        self.arrivals.append(arrival)
        rows = len(decoded) if isinstance(decoded, Batch) else 1
        self.rows += rows
        self.octets += len(message.payload)
        return rows

    def is_full(self) -> bool:
        """Return whether the transaction is as large as it may become."""
        return self.rows >= BUNDLE_ROWS_MAX or self.octets >= BUNDLE_OCTETS_MAX


class Pipeline:
    """Takes from ``inbox`` and stores into the database at ``dsn``; ``settled`` is told what is committed."""

    def __init__(self, dsn: str, inbox: Inbox, settled: Settled, limits: Limits | None = None) -> None:
        self.counts = Counts()
        self.clocks_s: dict[str, float] = {}  # by gateway: its clock less ours, by its last status
        self.database_lost = False  # since the last transaction
        self.progress = 0  # grows with each transaction and each attempt to reach the database
        self._dsn = dsn
        self._inbox = inbox
        self._settled = settled
        self._limits = limits
        self._gave_up_at_s: float | None = None  # by the monotonic clock
        self._registered = Registered()
        self._connection: Connection | None = None
        self._gathering = Gathering()
        self._storing = False
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()  # something is gathered
        self._full = asyncio.Event()  # as much as a transaction takes
        self._room = asyncio.Event()  # no longer so much

    @property
    def waiting(self) -> bool:
        """Whether there is something to be done."""
        return bool(len(self._inbox) or self._gathering.arrivals or self._storing)

    @property
    def gave_up_s(self) -> float | None:
        """How long ago the quarantine last had no room, ``None`` if it always had."""
        return None if self._gave_up_at_s is None else time.monotonic() - self._gave_up_at_s

    async def gather(self) -> None:
        """Decode what comes, for the next transaction."""
        rows = 0
        while True:
            message = await self._inbox.take()
            arrival = Arrival(message, decode(message))
            while self._gathering.is_full():
                self._room.clear()
                await self._room.wait()
            rows += self._gathering.add(arrival)
            self._ready.set()
            if self._gathering.is_full():
                self._full.set()
            if rows >= TURN_ROWS:
                rows = 0
                await asyncio.sleep(0)  # the socket and the database have their turn

    async def store(self) -> None:
        """Store what is gathered, until :meth:`stop`; a transaction that has begun is finished first."""
        while gathering := await self._next():
            self._storing = True
            await self._settle(gathering.arrivals)
            self._storing = False
        await self._disconnect()

    def stop(self) -> None:
        """Let :meth:`store` return soon; what is not stored then comes again."""
        self._stopping.set()
        self._ready.set()
        self._full.set()

    async def _next(self) -> Gathering | None:
        """Return the next transaction's messages once they are enough or old enough; ``None`` when asked to stop."""
        await self._ready.wait()
        linger_s = LINGER_S - (time.monotonic() - self._gathering.since_s)
        if linger_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    await self._full.wait()
        if self._stopping.is_set():
            return None
        gathering, self._gathering = self._gathering, Gathering()
        self._ready.clear()
        self._full.clear()
        self._room.set()
        return gathering

    async def _settle(self, arrivals: list[Arrival]) -> None:
        """Store ``arrivals``, as often as it takes; give up only when asked to stop, and then they come again."""
        failures = 0
        while True:
            try:
                await self._store_or_split(arrivals)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if failures == 0:
                    LOG.warning(fact("database.lost", reason=one_line(error), messages=len(arrivals)))
                failures += 1
                self.database_lost = True
                self.progress += 1
                await self._disconnect()
                if self._stopping.is_set():
                    return
                await self._back_off(failures)
            else:
                self.database_lost = False
                if failures:
                    LOG.info(fact("database.back", attempts=failures))
                return

    async def _back_off(self, failures: int) -> None:
        """Wait, longer with each failure and never in step with others; not once we are to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(back_off_s(failures)):
                await self._stopping.wait()

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
        if self._connection is None:
            self._connection = await open_connection(self._dsn)
            await self._registered.watch(self._connection)
        bundle = await self._bundle(self._connection, arrivals, time.time_ns() // 1_000_000)
        stored = await store(self._connection, bundle, self._limits)
        for admission in bundle.admissions:
            self._registered.advance(admission.header.spool, admission.header.settles[-1][1])
        self.progress += 1
        self._note_clocks(bundle)
        if stored.given_up:
            self._note_given_up(stored.given_up)
        self.counts.add(len(arrivals), bundle, stored, time.monotonic() - started)
        await self._settled([message for message, _ in arrivals], bundle)

    def _note_given_up(self, messages: int) -> None:
        """Tell the first of a row; the counts tell the others."""
        if self.gave_up_s is None or self.gave_up_s > RENEW_S:
            LOG.error(fact("quarantine.full", given_up=messages))
        self._gave_up_at_s = time.monotonic()

    def _note_clocks(self, bundle: Bundle) -> None:
        for each in bundle.statuses:
            if each.clock_ahead_ms is not None:
                self.clocks_s[each.status.gateway] = each.clock_ahead_ms / 1000
        if len(self.clocks_s) > GATEWAYS_MAX:
            self.clocks_s.clear()

    async def _bundle(self, connection: Connection, arrivals: list[Arrival], now_ms: int) -> Bundle:
        registered = self._registered
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
        return bundle

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
