"""Receipts that wait to be sent, joined by spool, so that storing never waits for the broker.

It must not: what ingest waits for would be the broker's acknowledgements of receipts, and these stand behind messages
that are not read while the inbox is full, which only storing empties.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ingest_server.pipeline.bundle import Bundle
from protocols.telemetry.receipt import Receipt
from protocols.telemetry.sequences import RANGES_MAX, Ranges, join_ranges
from protocols.telemetry.topics import Kind, Topic

SPOOLS_MAX = 100_000  # the oldest is forgotten beyond it: its gateway sends again and is told again
JOIN_FROM = 100  # ranges of one spool

Publish = Callable[[str, bytes], Awaitable[bool]]


class Receipts:
    """What is settled and not told yet, by (gateway, generation): batches, and messages of events."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], tuple[Ranges, Ranges]] = {}
        self._some = asyncio.Event()

    def add(self, bundle: Bundle) -> None:
        """Let what ``bundle`` settles be told."""
        for spool, (batches, events) in bundle.settled().items():
            waiting = self._waiting.get(spool, ((), ()))
            self._waiting[spool] = (_joined(waiting[0], batches), _joined(waiting[1], events))
            if len(self._waiting) > SPOOLS_MAX:
                del self._waiting[next(iter(self._waiting))]
        if self._waiting:
            self._some.set()

    async def send(self, publish: Publish) -> None:
        """Send what waits, for ever. One that is not sent does no harm: its batches come again and are told again."""
        while True:
            await self._some.wait()
            await self.send_waiting(publish)

    async def send_waiting(self, publish: Publish) -> None:
        """Send what waits now."""
        while self._waiting:
            spool = next(iter(self._waiting))
            batches, events = self._waiting.pop(spool)
            for topic, payload in encode_receipts(spool, batches, events):
                await publish(topic, payload)
        self._some.clear()

    async def finish(self, publish: Publish, within_s: float) -> None:
        """Send what waits, if that can be done within some time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.send_waiting(publish)


def encode_receipts(spool: tuple[str, str], batches: Ranges, events: Ranges) -> list[tuple[str, bytes]]:
    """Return topics and payloads, none with more ranges than a receipt may have."""
    topic = str(Topic(spool[0], Kind.RECEIPTS))
    batches, events = join_ranges(batches), join_ranges(events)
    longest = max(len(batches), len(events))
    return [
        (topic, Receipt(*spool, batches[at : at + RANGES_MAX], events[at : at + RANGES_MAX]).encode())
        for at in range(0, longest, RANGES_MAX)
    ]


def _joined(waiting: Ranges, more: Ranges) -> Ranges:
    together = waiting + more
    return join_ranges(together) if len(together) > JOIN_FROM else together
