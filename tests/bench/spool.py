"""The spool at its size, how fast it drains, and what a value costs on the wire.

A spool with 45 days of 2,000 meters' billing registers at quarters of an hour (8.64 million readings) is written, and
opened and drained by a process of its own, so that its memory is its own. The wire is real: the agent's publisher, a
proxy that counts every octet of the connection in both directions, and Mosquitto; a server stub receipts. Beside it
stands the entropy of the values' differences, code by code: what a coder would need for values alone that knew these
very frequencies, without names, times, protocol and receipts. No coder reaches that on so few values.
"""

import asyncio
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

from deploy.runtime import lifecycle
from edge_agent import spool_seals
from edge_agent.spool import Spool
from edge_agent.spool_seals import LIFE_SHIFT, SEQUENCE_MASK, WAITING, Life
from protocols.telemetry.columns import Rows, encode_channels
from tests.bench._wire import measure_wire

GATEWAY = "gw-01"
DAYS, METERS_ALL, BUSES, EVERY_MS = 45, 2000, 16, 900_000
START_MS = 1_759_251_600_000
READINGS = DAYS * METERS_ALL * 86_400_000 // EVERY_MS
GIBIBYTE = 1 << 30
COMMAND = "make bench"
LIVE_CYCLES, BACKLOG_CYCLES = 12, 48


def measure() -> list[dict[str, Any]]:
    """Return the figures of the spool and of the uplink."""
    directory = Path(tempfile.mkdtemp(prefix="congto-bench-"))
    directory.chmod(0o711)  # the servers' user must get through
    try:
        path = directory / "spool.sqlite"
        _fill(path)
        size = path.stat().st_size
        found = _in_a_process(path)
        running = lifecycle.up(directory / "runtime")
        wire = asyncio.run(measure_wire(running.broker_url, directory, LIVE_CYCLES, BACKLOG_CYCLES))
        lifecycle.down(directory / "runtime")
    finally:
        shutil.rmtree(directory)
    live, backlog, live_floor, backlog_floor = wire
    return [
        _row("spool: 8.64 million readings on disk", size / (1 << 20), "MiB", "≤ 1024", met=size <= GIBIBYTE),
        _row("spool: start with these", found["start_s"], "s", "≤ 10", met=found["start_s"] <= 10),
        _row(
            "spool: memory at the start and while it drains", found["rss_mb"], "MB", "≤ 100", met=found["rss_mb"] <= 100
        ),
        _row("spool: drains", found["rate"], "readings/s", "≥ 50,000", met=found["rate"] >= 50_000),
        _row("spool: live readings meanwhile, longest wait", found["live_s"], "s", "≤ 2", met=found["live_s"] <= 2),
        _row("uplink: live, 200 meters × 8", live, "octets/value", "≤ 4", met=live <= 4),
        _row("uplink: live, entropy of the values", live_floor, "octets/value", "reference", met=True),
        _row("uplink: backlog, 200 meters × 8", backlog, "octets/value", "≤ 2", met=backlog <= 2),
        _row("uplink: backlog, entropy of the values", backlog_floor, "octets/value", "reference", met=True),
    ]


def _row(name: str, value: float, unit: str, target: str, *, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "command": COMMAND}


def _fill(path: Path) -> None:
    """Write the spool of a long outage, batch by batch as cycles would have, but in large transactions."""
    spool = Spool(path, GATEWAY, GIBIBYTE)
    generation = spool.generation
    spool.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode=wal")
        for part in _batches(generation):
            db.executemany("insert into batch values (?, ?, 1, ?, ?, ?, ?, ?)", part)
            spool_seals.put(db, Life(1, generation, part[-1][0] & SEQUENCE_MASK))
            db.commit()
        db.execute("update meta set value = ? where key = 'taken'", (READINGS,))
        db.commit()


def _batches(generation: str) -> Iterator[list[tuple[Any, ...]]]:
    chance = random.Random(45)
    registers = [chance.randrange(50_000_000) for _ in range(METERS_ALL)]
    sequence, per_bus = 0, METERS_ALL // BUSES
    for day in range(DAYS):
        part = []
        for slot in range(86_400_000 // EVERY_MS):
            at_ms = START_MS + day * 86_400_000 + slot * EVERY_MS
            for bus in range(BUSES):
                sequence += 1
                channels: dict[tuple[str, str], Rows] = {}
                for meter in range(bus * per_bus, (bus + 1) * per_bus):
                    registers[meter] += int(chance.random() * 400)
                    channels[f"M-{meter:06}", "1.0.1.8.0"] = [(at_ms, registers[meter], 0)]
                payload = encode_channels(GATEWAY, generation, ((sequence, sequence),), channels)
                key = (1 << LIFE_SHIFT) + sequence
                part.append((key, crc32(payload), per_bus, at_ms, at_ms, WAITING, payload))
        yield part


def _in_a_process(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench._drain", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found
