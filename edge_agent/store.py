"""The spool as the buses and the publisher use it: commits on a thread of its own, so that a slow disk holds up none
of the lines, and a word to whoever waits when something has changed.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from edge_agent.failures import SpoolFullError
from edge_agent.log import Recurring
from edge_agent.spool import Cycle, Hole, Spool
from protocols.errors import UnavailableError


class Store:
    """A spool and its thread."""

    def __init__(self, spool: Spool, executor: Executor | None = None) -> None:
        """Work on ``spool`` in ``executor``, one thing at a time; in a thread of its own if there is none."""
        self.spool = spool
        self.grown = asyncio.Event()
        self.events_grown = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "spool") if executor is None else executor
        self._loop = asyncio.get_running_loop()

    async def commit(self, cycle: Cycle, bus: str, recurring: Recurring) -> bool:
        """Take ``cycle`` durably; say whether it was taken, and tell the log when it was not."""
        try:
            await self._loop.run_in_executor(self._thread, self.spool.commit, cycle)
        except SpoolFullError as error:
            recurring.failed("spool", "spool.full", bus=bus, reason=error, readings=len(cycle.readings))
            return False
        except UnavailableError as error:
            recurring.failed("spool", "spool.refused", bus=bus, reason=error, readings=len(cycle.readings))
            return False
        for event in ("spool.full", "spool.refused"):
            recurring.recovered("spool", event, "spool.accepted", bus=bus)
        self.grown.set()
        if cycle.events:
            self.events_grown.set()
        return True

    async def forget(self, sequences: Sequence[tuple[int, int]]) -> int:
        """Remove receipted batches; return how many there were."""
        return await self._loop.run_in_executor(self._thread, self.spool.forget, sequences)

    async def batches_after(self, sequence: int, count: int) -> list[tuple[int, bytes]]:
        """Return the next batches beyond ``sequence``."""
        return await self._loop.run_in_executor(self._thread, self.spool.batches_after, sequence, count)

    async def events(self, count: int) -> list[tuple[int, bytes]]:
        """Return the oldest messages of events."""
        return await self._loop.run_in_executor(self._thread, self.spool.events, count)

    async def forget_event(self, sequence: int) -> None:
        """Remove a message of events that the broker has."""
        await self._loop.run_in_executor(self._thread, self.spool.forget_event, sequence)

    def logs_read(self) -> dict[tuple[str, str], int]:
        """Return how far each meter's event logs were read."""
        return self.spool.logs_read()

    def slots(self) -> dict[tuple[str, str], int]:
        """Return the last stored slot by meter and series."""
        return self.spool.slots()

    def holes(self) -> list[Hole]:
        """Return the holes that are not filled."""
        return self.spool.holes()

    def close(self) -> None:
        """Finish what the thread has begun, then close the file."""
        self._thread.shutdown()
        self.spool.close()
