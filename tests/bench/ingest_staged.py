"""The staged path, for rows that may be stored already, against a bare COPY of as many into the same hypertable."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from ingest_server.pipeline.admission import Admission, Rows
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.store import open_connection, store
from ingest_server.pipeline.suspects import Stored
from protocols.telemetry.batch import Header
from tests.bench import _ingest_world as world

STEPS = 30  # half hours of 10,000 channels
STEPS_A_TRANSACTION = 5  # 50,000 rows, as many as the pipeline takes
ROUNDS = 3
GENERATION = "5f0c2e9a1b7d4463"


def measure() -> list[dict[str, Any]]:
    """Return the ratios."""
    best = {"all new": 0.0, "all duplicates": 0.0, "half conflicts": 0.0}
    bare = 0.0
    with world.servers() as servers:
        steps = world.make_rows(world.channel_ids(servers.dsn), STEPS)
        others = [[_half_changed(rows) for rows in step] for step in steps]
        count = STEPS * world.GATEWAYS * world.METERS
        for _ in range(ROUNDS):
            bare = max(bare, world.bare_copy(servers.dsn, steps, keep=True))
            for name, rows, expected in (
                ("all duplicates", steps, Stored(0, count, 0)),
                ("half conflicts", others, Stored(0, count // 2, count // 2)),
                ("all new", steps, Stored(count, 0, 0)),
            ):
                if name == "all new":
                    world.clear(servers.dsn)
                rate, stored = asyncio.run(_staged(servers.dsn, rows))
                assert stored == expected, stored
                best[name] = max(best[name], rate)
            world.clear(servers.dsn)
    return [
        world.row(f"ingest: staged path, {name} ÷ bare COPY", rate / bare, "ratio", "≥ 0.30", met=rate >= 0.3 * bare)
        for name, rate in best.items()
    ]


def _half_changed(rows: Rows) -> Rows:
    return replace(rows, value=rows.value + np.arange(len(rows)) % 2)


async def _staged(dsn: str, steps: Sequence[Sequence[Rows]]) -> tuple[float, Stored]:
    """Return rows a second, and what became of them."""
    bundles = []
    for first in range(0, len(steps), STEPS_A_TRANSACTION):
        admissions = [
            Admission(Header(f"g{gateway}", GENERATION, first + number + 1), rows)
            for number, step in enumerate(steps[first : first + STEPS_A_TRANSACTION])
            for gateway, rows in enumerate(step)
        ]
        bundles.append(Bundle(admissions, suspects=frozenset(range(len(admissions)))))
    async with await open_connection(dsn) as connection:
        started = perf_counter()
        found = [await store(connection, bundle) for bundle in bundles]
        took_s = perf_counter() - started
    total = Stored(*(sum(getattr(each, name) for each in found) for name in ("new", "duplicate", "conflict")))
    return (total.new + total.duplicate + total.conflict) / took_s, total
