"""The process that opens a long spool and drains it into a stub, while live readings come; prints its figures."""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

from edge_agent.config import parse_config
from edge_agent.connection import Letter
from edge_agent.log import EventLog, Recurring
from edge_agent.publisher import Publisher
from edge_agent.spool import Cycle, Spool
from edge_agent.store import Store
from protocols.telemetry.batch import decompress
from protocols.telemetry.columns import is_columns, take_head, take_header
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import Receipt

DRAINED_MIN = 1_000_000  # readings; what follows goes no other way
PART = 250_000
LIVE_EVERY_S = 0.5
LIVE_METERS = 125
BATCH_READINGS = 125
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://stub"
[[bus]]
id = "rs485-1"
port = "line"
[[bus.meter]]
id = "M-000001"
model = "eastron_sdm120"
address = 1
"""


class Stub:
    """A broker and a server in one: receipts what it gets at once, and knows when live batches came."""

    def __init__(self) -> None:
        self.receipts: asyncio.Queue[Letter] = asyncio.Queue()
        self.settled = 0
        self.live_from = 0
        self.came_s: dict[int, float] = {}

    @asynccontextmanager
    async def connect(self, _will: Letter) -> AsyncIterator["Stub"]:
        """Enter the connection."""
        yield self

    async def subscribe(self, topic: str) -> None:
        """Agree."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Take a message and receipt it."""
        if not topic.endswith("/readings"):
            return
        text = decompress(payload)
        assert is_columns(text)
        header = take_header(take_head(text)[0])
        for first, last in header.settles:
            self.settled += last - first + 1
            for sequence in range(max(first, self.live_from), last + 1):
                self.came_s.setdefault(sequence, time.perf_counter())
        receipt = Receipt(header.gateway, header.generation, header.settles)
        self.receipts.put_nowait(Letter("congto/v1/gw-01/receipts", receipt.encode()))

    async def messages(self) -> AsyncIterator[Letter]:
        """Yield the receipts."""
        while True:
            yield await self.receipts.get()


async def drain(path: Path) -> dict[str, float]:
    """Return how long the start took, the rate, the longest wait of a live batch, and the memory."""
    started = time.perf_counter()
    config = parse_config(CONFIG, "bench.toml", path.parent, {})
    store = Store(Spool(path, "gw-01", 1 << 30))
    start_s = time.perf_counter() - started
    stub, stop = Stub(), asyncio.Event()
    stub.live_from = store.spool.last_sequence + 1
    log = EventLog()
    publisher = Publisher(
        config, store, log, connect=stub.connect, now_ms=lambda: 1_763_200_000_000, version="bench", chance=Random(1)
    )
    publishing = asyncio.create_task(publisher.run(stop))
    taken_s: dict[int, float] = {}
    began = time.perf_counter()
    number = 0
    marks = [(began, 0)]
    while stub.settled * BATCH_READINGS < DRAINED_MIN:
        number += 1
        at_ms = 1_763_200_000_000 + number * 1000
        readings = [Reading(f"M-{meter:06}", "1.0.1.8.0", at_ms, number) for meter in range(LIVE_METERS)]
        assert await store.commit(Cycle(readings), "rs485-1", Recurring(log))
        taken_s[store.spool.last_sequence] = time.perf_counter()
        await asyncio.sleep(LIVE_EVERY_S)
        if (stub.settled - marks[-1][1]) * BATCH_READINGS >= PART:
            marks.append((time.perf_counter(), stub.settled))
    # The best part: what else a machine does only adds to the time.
    rate = max((now - before) * BATCH_READINGS / (to - since) for (since, before), (to, now) in pairwise(marks))
    waits = [stub.came_s[sequence] - at_s for sequence, at_s in taken_s.items() if sequence in stub.came_s]
    late = [time.perf_counter() - at_s for sequence, at_s in taken_s.items() if sequence not in stub.came_s]
    stop.set()
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "start_s": start_s,
        "rate": rate,
        "live_s": max(waits + late),
        "rss_mb": memory * 1024 / 1e6,
        "live_batches": len(waits),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(drain(Path(sys.argv[1])))))
