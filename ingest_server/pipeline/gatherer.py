"""Gathers and decodes what has come, for whoever stores next.

While transactions are under way the next one is gathered, so a transaction is as large as the load makes it: a few
messages when there is little to do, up to ``BUNDLE_ROWS_MAX`` rows when there is much. One that is as large as it may
become begins beside another; a smaller one waits until none is under way, for more and smaller transactions only cost
more.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from ingest_server.pipeline.bundle import Arrival
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import decode
from ingest_server.pipeline.settings import BUNDLE_OCTETS_MAX, BUNDLE_ROWS_MAX, LINGER_S, TURN_ROWS
from protocols.telemetry.batch import Batch


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


class Gatherer:
    """Takes from ``inbox`` and gives what it has gathered to several that store."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._gathering = Gathering()
        self._under_way = 0
        self._turn = asyncio.Lock()  # one after the other takes
        self._stopping = asyncio.Event()
        self._begin = asyncio.Event()  # a transaction may begin
        self._full = asyncio.Event()  # as much is gathered as a transaction takes
        self._room = asyncio.Event()  # no longer so much
        self._alone = False
        self._inside = 0
        self._left = asyncio.Condition()

    @property
    def unattended(self) -> bool:
        """Whether something waits and nobody stores anything."""
        return not self._under_way and bool(len(self._inbox) or self._gathering.arrivals)

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopping.is_set()

    async def gather(self) -> None:
        """Decode what comes, for ever."""
        rows = 0
        while True:
            message = await self._inbox.take()
            arrival = Arrival(message, decode(message))
            while self._gathering.is_full():
                self._room.clear()
                await self._room.wait()
            rows += self._gathering.add(arrival)
            self._look()
            if rows >= TURN_ROWS:
                rows = 0
                await asyncio.sleep(0)  # the socket and the database have their turn

    async def next(self) -> list[Arrival] | None:
        """Return a transaction's messages once they are enough or old enough; ``None`` when asked to stop.

        Whoever has taken some calls :meth:`done` when they are settled.
        """
        async with self._turn:
            await self._begin.wait()
            linger_s = LINGER_S - (time.monotonic() - self._gathering.since_s)
            if linger_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(linger_s):
                        await self._full.wait()
            if self.stopping:
                return None
            gathering, self._gathering = self._gathering, Gathering()
            self._under_way += 1
            self._look()
            self._room.set()
            return gathering.arrivals

    def done(self) -> None:
        """Let others begin."""
        self._under_way -= 1
        self._look()

    def stop(self) -> None:
        """Let :meth:`next` give nothing more; what is not stored then comes again."""
        self._stopping.set()
        self._look()

    async def stopped(self) -> None:
        """Wait for :meth:`stop`."""
        await self._stopping.wait()

    @contextlib.asynccontextmanager
    async def storing(self, *, alone: bool) -> AsyncIterator[None]:
        """Store beside others, or ``alone``: what is compared with what is stored must not miss what is about to be."""
        async with self._left:
            await self._left.wait_for(lambda: not self._alone and not (alone and self._inside))
            self._inside += 1
            self._alone = alone
        try:
            yield
        finally:
            self._inside -= 1
            self._alone = False
            async with self._left:
                self._left.notify_all()

    def _look(self) -> None:
        full = self._gathering.is_full()
        if full or self.stopping:
            self._full.set()
        else:
            self._full.clear()
        if self.stopping or full or (self._gathering.arrivals and not self._under_way):
            self._begin.set()
        else:
            self._begin.clear()
