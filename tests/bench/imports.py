"""`congto import` of CSV, Parquet and NEM12 against a bare COPY of as many rows into the same hypertable.

The files are the largest of what people have: half hour after half hour of 10,000 meters, and a NEM12 file meter after
meter. Both go through the command's own way, hash of the file included. The CPU is that of this process alone: what the
database computes is in the ratio.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ingest_server.bulk.csv_file import read_csv, write_csv
from ingest_server.bulk.load import file_sha256, load_parts
from ingest_server.bulk.nem12 import read_nem12, write_nem12
from ingest_server.bulk.parquet_file import read_parquet, write_parquet
from ingest_server.bulk.part import Part
from ingest_server.bulk.row import Row
from ingest_server.database import connect
from ingest_server.pipeline.bundle import Imported
from protocols.telemetry.reading import Quality, Reading
from tests.bench import _ingest_world as world

STEPS = 48  # half hours of 10,000 channels: a day, in NEM12's own form
ROUNDS = 3
NEM_OBIS = "1.0.1.29.0"
UTC_OFFSET_H = 7
INTERVAL = "update channel set obis = %s"

Files = dict[Path, Callable[[], Iterator[Part]]]


def measure() -> list[dict[str, Any]]:
    """Return the ratios, and the CPU of each format a million readings."""
    with tempfile.TemporaryDirectory(prefix="congto-bench-") as name, world.servers() as servers:
        files = _files(Path(name))
        steps = world.make_rows(world.channel_ids(servers.dsn), STEPS)
        best, cpu_s = dict.fromkeys(files, 0.0), dict.fromkeys(files, float("inf"))
        again = bare = 0.0
        with connect(servers.dsn) as connection:
            connection.execute(INTERVAL, [NEM_OBIS])
        for _ in range(ROUNDS):
            bare = max(bare, world.bare_copy(servers.dsn, steps))
            for path, read in files.items():
                rate, took_s = _import(servers.dsn, path, read, new=True)
                best[path], cpu_s[path] = max(best[path], rate), min(cpu_s[path], took_s)
                if path.name == "csv":
                    again = max(again, _import(servers.dsn, path, read, new=False)[0])
                world.clear(servers.dsn)
                with connect(servers.dsn) as connection:
                    connection.execute("truncate reading_flag")
    found = []
    for path, rate in best.items():
        kind = path.name
        ratio = rate / bare
        found += [
            world.row(f"import: {kind} ÷ bare COPY", ratio, "ratio", "≥ 0.80", met=ratio >= 0.8),
            world.row(f"import: {kind}, CPU a million readings", cpu_s[path], "s", "stated", met=True),
        ]
    ratio = again / bare
    return [*found, world.row("import: csv, all there already ÷ bare COPY", ratio, "ratio", "≥ 0.30", met=ratio >= 0.3)]


def _files(directory: Path) -> Files:
    """Write the same readings in each format; return how each file is read."""
    start_ms = world.START_MS
    rows = [
        Row(Reading(f"g{gateway}-{meter}", NEM_OBIS, start_ms + step * world.HALF_HOUR_MS, 1000 * step + meter))
        for step in range(1, STEPS + 1)
        for gateway in range(world.GATEWAYS)
        for meter in range(world.METERS)
    ]
    csv, parquet, nem, estimated = (directory / name for name in ("csv", "parquet", "nem12", "nem12 of estimates"))
    with csv.open("w", encoding="utf-8", newline="") as out:
        write_csv(rows, out)
    write_parquet(rows, parquet)
    with nem.open("w", encoding="utf-8", newline="") as out:
        write_nem12(sorted(rows), out, datetime.now(UTC) - timedelta(days=1), UTC_OFFSET_H)
    estimates = [row._replace(reading=row.reading._replace(quality=Quality.ESTIMATED), flag="E52") for row in rows]
    with estimated.open("w", encoding="utf-8", newline="") as out:
        write_nem12(sorted(estimates), out, datetime.now(UTC) - timedelta(days=1), UTC_OFFSET_H)
    return {
        csv: lambda: _csv(csv),
        parquet: lambda: read_parquet(parquet),
        nem: lambda: _nem12(nem),
        estimated: lambda: _nem12(estimated),
    }


def _csv(path: Path) -> Iterator[Part]:
    with path.open("rb") as file:
        yield from read_csv(file, path.name)


def _nem12(path: Path) -> Iterator[Part]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from read_nem12(file, path.name, UTC_OFFSET_H)


def _import(dsn: str, path: Path, read: Callable[[], Iterator[Part]], *, new: bool) -> tuple[float, float]:
    """Return the readings a second, and the seconds of CPU a million."""
    started, computed = time.perf_counter(), time.process_time()
    file = Imported(file_sha256(path), path.name, 0)
    now_ms = time.time_ns() // 1_000_000
    loaded = asyncio.run(load_parts(dsn, read(), file, now_ms=now_ms, progress=lambda _: None))
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - computed
    count = STEPS * world.GATEWAYS * world.METERS
    assert (loaded.new if new else loaded.duplicate) == count, loaded
    return count / took_s, cpu_s / count * 1e6
