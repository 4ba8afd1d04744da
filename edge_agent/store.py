"""The spool as the buses and the publisher use it: work on a thread of its own, so that a slow disk holds up none of
the lines, and a word to whoever waits when something has changed.

When the disk refuses or fails, readings go into a spool in memory, bounded and with a generation of its own, and are
marked as not durable: they reach the server if the agent lives until then. A disk that is only full is tried again at
each cycle. One that has reported an error is not: after a failed sync nobody knows what of it is on the disk, and a
second sync would report success all the same. The next start looks at the file anew.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from edge_agent.cycle import Cycle, Hole
from edge_agent.failures import DiskFailedError, SpoolFullError
from edge_agent.joining import Outgoing, join
from edge_agent.log import EventLog, Recurring
from edge_agent.owed import Owed
from edge_agent.spool_notes import DayTaken
from edge_agent.spool_seals import LIFE_SHIFT, SEQUENCE_MASK
from edge_agent.spooling import Spool
from protocols.errors import UnavailableError
from protocols.telemetry.event import EventKind
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.reading import DIGEST_MODULUS, Quality
from protocols.telemetry.receipt import Receipt
from protocols.telemetry.resend import Resend

RING_OCTETS_MAX = 16 << 20  # a day of 2,000 meters' billing registers at most; the agent's memory is bounded
BATCHES_AT_ONCE = 200

T = TypeVar("T")


class Store:
    """A spool, the one in memory that stands in for it, and their thread."""

    def __init__(self, spool: Spool, executor: Executor | None = None, log: EventLog | None = None) -> None:
        """Work on ``spool`` in ``executor``, one thing at a time; in a thread of its own if there is none."""
        self.spool = spool
        self.ring: Spool | None = None
        self.disk_failed = False
        self.rewound = False  # older batches wait again; who publishes begins with the oldest
        self._offsets_ms: dict[str, int] = {}  # meters' clocks less ours, as their events have said
        self.lost_before: dict[Reason, tuple[int, int]] = {}  # when it was asked for last, as was the size
        self.octets = 0
        self.not_durable = 0  # readings that went into memory only
        self._registers: dict[str, bytes] = {}  # what counters said since the disk last took a cycle, by meter
        self._owed = Owed()
        self.grown = asyncio.Event()
        self.events_grown = asyncio.Event()
        self.lost = asyncio.Event()
        self._log = log or EventLog()
        self._thread = ThreadPoolExecutor(1, "spool") if executor is None else executor
        self._loop = asyncio.get_running_loop()

    @property
    def spools(self) -> list[Spool]:
        """The spools to publish from."""
        kept = [] if self.disk_failed else [self.spool]
        return kept if self.ring is None else [*kept, self.ring]

    @property
    def waiting(self) -> int:
        """How many batches wait for a receipt."""
        return self.spool.batches + (0 if self.ring is None else self.ring.batches)

    async def commit(self, cycle: Cycle, bus: str, recurring: Recurring) -> bool:
        """Take ``cycle``, durably if the disk allows; say whether it was taken, and tell the log when it was not."""
        self._add_clocks(cycle)
        try:
            if self.disk_failed:
                raise DiskFailedError(f"{self.spool.path}: its disk has failed before; replace it")
            taken = await self._run(self._commit_on_disk, cycle)
        except SpoolFullError as error:
            recurring.failed("spool", "spool.full", bus=bus, reason=error, readings=len(cycle.readings))
            return False
        except UnavailableError as error:
            if isinstance(error, DiskFailedError):
                self.disk_failed = True
                recurring.failed("spool", "spool.disk_failed", bus=bus, reason=error)
            else:
                recurring.failed("spool", "spool.refused", bus=bus, reason=error, readings=len(cycle.readings))
            await self._run(self._commit_in_memory, cycle)
        else:
            for event in ("spool.full", "spool.refused"):
                recurring.recovered("spool", event, "spool.accepted", bus=bus)
            self._tell_losses(recurring, bus)
            self._loop.create_task(self._write_back(recurring)) if taken else None
        self.grown.set()
        if cycle.events:
            self.events_grown.set()
        return True

    def _add_clocks(self, cycle: Cycle) -> None:
        """Have readings travel with what was last seen of their meters' clocks, where these differ from ours."""
        for event in cycle.events:
            if event.kind is EventKind.CLOCK:
                self._offsets_ms[event.meter] = event.value or 0
            elif event.kind is EventKind.CLOCK_SHIFTED:
                self._offsets_ms[event.meter] = self._offsets_ms.get(event.meter, 0) + (event.value or 0)
        meters = {reading.meter for reading in cycle.readings}
        known = {meter: self._offsets_ms[meter] for meter in meters if self._offsets_ms.get(meter)}
        cycle.clock_offsets_ms = {**known, **cycle.clock_offsets_ms}

    def _commit_on_disk(self, cycle: Cycle) -> int:
        self._registers |= cycle.registers
        wanted = self._owed.added_to(cycle, self.spool.heals)
        taken = self.spool.commit(replace(wanted, registers=self._registers))
        self._registers = {}
        self.spool.holes_noted += self._owed.has_holes
        counted = self._owed.settle()
        if counted and self.ring is not None:
            self.ring.uncount(counted)
        return taken

    def _commit_in_memory(self, cycle: Cycle) -> None:
        self._registers |= cycle.registers
        if self.ring is None:
            self.ring = Spool(None, self.spool.gateway, RING_OCTETS_MAX)
        flag = int(Quality.NOT_DURABLE)
        marked = [reading._replace(quality=reading.quality | flag) for reading in cycle.readings]
        self.not_durable += len(marked)
        first = self.ring.last_sequence + 1
        last = self.ring.commit(replace(cycle, readings=marked, holes=[], filled=[], registers={}))
        if not self.disk_failed:  # else the next life finds what the file has, and asks for the rest by itself
            self._owed.hold(cycle, range(first, last + 1), self.spool.heals)

    def _tell_losses(self, recurring: Recurring, bus: str) -> None:
        if self.spool.given_up:
            recurring.failed("losses", "spool.giving_up", bus=bus, batches=self.spool.given_up)
            self.lost.set()
        else:
            recurring.recovered("losses", "spool.giving_up", "spool.room", bus=bus)

    async def _write_back(self, recurring: Recurring) -> None:
        try:
            await self._run(self.spool.write_back)
        except DiskFailedError as error:
            self.disk_failed = True
            recurring.failed("spool", "spool.disk_failed", reason=error)
        except UnavailableError:
            pass  # a full disk: the log keeps growing, and commits will say so

    async def messages(self, spool: Spool, after: int, up_to: int, octets: int) -> list[Outgoing]:
        """Return the next messages of ``spool``, joined from batches of about ``octets`` together, one at least."""
        return await self._run(self._messages, spool, after, up_to, octets)

    def _messages(self, spool: Spool, after: int, up_to: int, octets: int) -> list[Outgoing]:
        damaged = spool.damaged_batches
        found = list(join(_within(spool.waiting(after, up_to, BATCHES_AT_ONCE), octets)))
        if found and found[-1].last_key > spool.sent_up_to:
            self._note_sent(spool)
        if spool.damaged_batches != damaged:
            self._loop.call_soon_threadsafe(self.lost.set)
        return found

    def _note_sent(self, spool: Spool) -> None:
        try:
            spool.note_sent()
        except DiskFailedError:
            self.disk_failed = self.disk_failed or spool is self.spool
        except UnavailableError:
            pass  # a full disk: what is sent makes room; the next cycle that it takes says so as well

    async def settle(self, receipt: Receipt, now_ms: int) -> int:
        """Note what the server has receipted; return how many batches waited for it."""
        count = 0
        for spool in self.spools:
            count += await self._run(self._settle, spool, receipt, now_ms)
        return count

    def _settle(self, spool: Spool, receipt: Receipt, now_ms: int) -> int:
        if spool is self.ring and receipt.generation == spool.generation and not self.disk_failed:
            base = spool.life << LIFE_SHIFT
            waiting = {
                key & SEQUENCE_MASK: payload
                for first, last in receipt.sequences
                for key, payload in spool.waiting(base + first - 1, base + min(last, SEQUENCE_MASK), spool.batches)
            }
            self._owed.note_receipt(receipt.sequences, waiting)
        return spool.settle(receipt.generation, receipt.sequences, receipt.events, now_ms)

    async def wait_again(self, asked: Resend) -> int:
        """Let what the server lacks wait for a receipt again; return how many batches do."""
        count = 0
        for spool in self.spools:
            count += await self._run(spool.wait_again, asked.generation, asked.sequences, asked.events)
        self.rewound = True
        self.lost.set()
        self.grown.set()
        self.events_grown.set()
        return count

    async def kept(self, first: int, last: int) -> tuple[int, int, int]:
        """Return how many batches of the generation that is being filled are kept, the first and the last (0: none)."""
        return await self._run(self.spool.kept, first, last)

    async def losses(self) -> list[Loss]:
        """Return what was given up and not yet told."""
        return [each for spool in self.spools for each in await self._run(spool.losses)]

    async def loss_totals(self) -> dict[Reason, tuple[int, int]]:
        """Return how many batches and readings were ever given up, by reason."""
        self.lost_before = await self._run(self.spool.loss_totals)
        self.octets = await self._run(self.spool.size)
        return self.lost_before

    async def days(self, count: int) -> list[DayTaken]:
        """Return what was taken of the last days, on disk and in memory."""
        found: dict[int, DayTaken] = {}
        for spool in (self.spool, self.ring):
            for day in await self._run(spool.days, count) if spool is not None else ():
                before = found.get(day.day, DayTaken(day.day, 0, 0))
                digest = (before.digest + day.digest) % DIGEST_MODULUS
                found[day.day] = DayTaken(day.day, before.readings + day.readings, digest)
        return [found[day] for day in sorted(found)][-count:]

    async def forget_settled(self, before_ms: int) -> int:
        """Remove batches that were receipted before ``before_ms``."""
        return 0 if self.disk_failed else await self._run(self.spool.forget_settled, before_ms)

    async def events(self, spool: Spool, after: int, count: int) -> list[tuple[int, bytes]]:
        """Return the oldest messages of events that wait beyond ``after``."""
        return await self._run(spool.events, after, count)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await self._loop.run_in_executor(self._thread, work, *arguments)

    def logs_read(self) -> dict[tuple[str, str], int]:
        """Return how far each meter's event logs were read."""
        return self.spool.logs_read()

    def slots(self) -> dict[tuple[str, str], int]:
        """Return the last stored slot by meter and series."""
        return self.spool.slots()

    def registers(self) -> dict[str, bytes]:
        """Return what each meter's counters said last: in memory, if that is newer than what the disk has taken."""
        return {**({} if self.disk_failed else self.spool.registers()), **self._registers}

    def holes(self) -> list[Hole]:
        """Return the holes that are not filled, and will not be by what memory holds."""
        return self._owed.without_held(self.spool.holes())

    @property
    def holes_noted(self) -> int:
        """How often holes were noted that no bus knows of."""
        return self.spool.holes_noted

    async def holes_now(self) -> list[Hole]:
        """Return the holes that are not filled, without a wait for the disk."""
        return await self._run(self.holes)

    async def go_offline(self) -> None:
        """Note that nothing is sent any more of what is taken now.

        In the thread: what a lost connection had still asked for there says the contrary before it.
        """
        await self._run(setattr, self.spool, "sending", False)

    def close(self) -> None:
        """Finish what the thread has begun, then close the file."""
        self._thread.shutdown()
        if not (self._owed.is_empty or self.disk_failed):
            with suppress(
                UnavailableError, sqlite3.DatabaseError
            ):  # the disk is still full, or damaged: that is marked
                self._commit_on_disk(Cycle())
        for spool in (self.spool, self.ring):
            if spool is not None:
                spool.close()


def _within(batches: list[tuple[int, bytes]], octets: int) -> Iterator[tuple[int, bytes]]:
    """Yield the first of ``batches`` and as many more as have ``octets`` together with it."""
    left = octets
    for number, (key, payload) in enumerate(batches):
        left -= len(payload)
        if number and left < 0:
            return
        yield key, payload
