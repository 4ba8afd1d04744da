"""What the benches of ingest share: servers of their own, a registry, messages made beforehand, the bare COPY."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.runtime import lifecycle
from ingest_server.database import connect, migrate
from ingest_server.database.copy import HEADER, TRAILER, encode_readings
from ingest_server.pipeline.admission import Rows
from ingest_server.registry import load_registry
from protocols.telemetry.batch import encode_batch
from protocols.telemetry.reading import Reading

GATEWAYS, METERS = 20, 500  # meters of each gateway, each with one channel
START_MS = 1_759_251_600_000
HALF_HOUR_MS = 1_800_000
COPY_READINGS = "copy reading (channel_id, measured_at, value, quality) from stdin (format binary)"


@dataclass(frozen=True, slots=True)
class Message:
    """One readings message."""

    gateway: str
    sequence: int
    payload: bytes

    @property
    def topic(self) -> str:
        return f"congto/v1/{self.gateway}/readings"


@contextmanager
def bare_servers() -> Iterator[lifecycle.Running]:
    """Give servers of one's own with nothing in them."""
    directory = Path(tempfile.mkdtemp(prefix="congto-bench-"))
    directory.chmod(0o711)  # the servers' user must get through
    try:
        yield lifecycle.up(directory / "runtime")
    finally:
        lifecycle.down(directory / "runtime")
        shutil.rmtree(directory)


@contextmanager
def servers() -> Iterator[lifecycle.Running]:
    """Give servers with the meters registered."""
    with bare_servers() as running:
        migrate(running.dsn)
        meters = "".join(
            f'[[meter]]\nid = "g{gateway}-{meter}"\ngateway = "g{gateway}"\nmodel = "eastron_sdm120"\n'
            'channels = ["1.0.1.8.0"]\n'
            for gateway in range(GATEWAYS)
            for meter in range(METERS)
        )
        gateways = "".join(f'[[gateway]]\nid = "g{gateway}"\n' for gateway in range(GATEWAYS))
        with connect(running.dsn) as connection:
            load_registry(connection, gateways + meters, "bench.toml")
        yield running


def make_messages(readings: int, messages: int) -> list[Message]:
    """Return messages of so many readings each, gateway after gateway, time after time."""
    generation = uuid.uuid4().hex[:16]
    made = []
    for number in range(messages):
        gateway, turn = f"g{number % GATEWAYS}", number // GATEWAYS
        first = turn * readings % METERS
        at_ms = START_MS + turn * readings // METERS * HALF_HOUR_MS
        rows = [
            Reading(f"{gateway}-{meter}", "1.0.1.8.0", at_ms, meter + turn) for meter in range(first, first + readings)
        ]
        made.append(Message(gateway, turn + 1, encode_batch(gateway, generation, turn + 1, rows)))
    return made


def channel_ids(dsn: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the channels, those of one gateway together."""
    with connect(dsn) as connection:
        return np.array([row[0] for row in connection.execute("select channel_id from channel order by 1")], np.int32)


def make_rows(channels: np.ndarray[Any, np.dtype[np.int32]], steps: int) -> list[list[Rows]]:
    """Return for each half hour the rows of each gateway."""
    value = np.arange(METERS, dtype=np.int64)
    quality = np.zeros(METERS, np.int16)
    return [
        [
            Rows(
                channels[gateway * METERS : (gateway + 1) * METERS],
                np.full(METERS, START_MS + step * HALF_HOUR_MS),
                value + 1000 * step,
                quality,
            )
            for gateway in range(GATEWAYS)
        ]
        for step in range(steps)
    ]


def bare_copy(dsn: str, steps: Sequence[Sequence[Rows]], *, keep: bool = False) -> float:
    """Return the rate of one COPY of the rows into the hypertable with its key and triggers."""
    parts = [encode_readings(rows.channel_id, rows.at_ms, rows.value, rows.quality) for step in steps for rows in step]
    with connect(dsn) as connection:
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(COPY_READINGS) as copy:
            for part in (HEADER, *parts, TRAILER):
                copy.write(part)
        connection.commit()
        took_s = time.perf_counter() - started
    if not keep:
        clear(dsn)
    return sum(len(rows) for step in steps for rows in step) / took_s


def clear(dsn: str) -> None:
    """Remove all readings and what was made of them."""
    with connect(dsn) as connection:
        connection.execute("truncate reading, reading_conflict, gateway_sequence, daily_register")


def row(name: str, value: float, unit: str, target: str, *, met: bool) -> dict[str, Any]:
    """Return one figure."""
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "command": "make bench"}
