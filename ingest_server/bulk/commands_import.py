"""``congto import``: store the readings of a file, through the same admission as what gateways send."""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from ingest_server.bulk.loaded import Loaded
from ingest_server.bulk.part import Part
from ingest_server.database.connection import add_dsn_arguments, dsn_from, translated
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality
from protocols.utf8 import decode_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto import``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV or Parquet as `congto export` writes it, or NEM12")
    parser.add_argument(
        "--format",
        choices=("csv", "nem12", "parquet"),
        help="what FILE is (default: NEM12 if it begins with 100,NEM12, Parquet if with PAR1, else CSV)",
    )
    parser.add_argument(
        "--manual", action="store_true", help="mark each reading as read or keyed by a person (quality MANUAL)"
    )
    parser.add_argument(
        "--utc-offset",
        type=int,
        choices=range(-12, 15),
        default=10,
        metavar="HOURS",
        help="zone of NEM12's local times, 7 in Vietnam (default: %(default)s, as its specification has it)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Store the file; the status is 1 if any of its readings was not stored."""
    from ingest_server.database.migrations import migrate

    dsn = dsn_from(arguments)
    migrate(dsn)
    try:
        with translated():
            loaded = _load(arguments, dsn)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{arguments.file}: {error}; expected a text file in UTF-8") from error
    if arguments.json:
        print(json.dumps(asdict(loaded)))
    else:
        _show(loaded)
    return 1 if loaded.conflict or loaded.quarantined or loaded.left_out else 0


def _load(arguments: argparse.Namespace, dsn: str) -> Loaded:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ingest_server.bulk.load import file_sha256, load_parts
    from ingest_server.pipeline.bundle import Imported

    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]} readings"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=arguments.file.stat().st_size, rows=0)
        file = Imported(file_sha256(arguments.file), arguments.file.name, 0)
        parts = _parts(arguments, lambda octets: bar.advance(task, octets))
        quality = int(Quality.MANUAL if arguments.manual else Quality.ACTUAL)
        return asyncio.run(
            load_parts(
                dsn,
                (part.marked(quality) for part in parts),
                file,
                now_ms=time.time_ns() // 1_000_000,
                progress=lambda done: bar.update(task, rows=done),
            )
        )


def _parts(arguments: argparse.Namespace, tell: Callable[[int], None]) -> Iterator[Part]:
    """Yield the file's readings; ``tell`` is told how many octets of it more have been read."""
    from ingest_server.bulk.csv_file import read_csv
    from ingest_server.bulk.nem12 import read_nem12
    from ingest_server.bulk.parquet_file import read_parquet

    kind, path = arguments.format or _guess(arguments.file), arguments.file
    if kind == "parquet":
        yield from read_parquet(path, tell)
    elif kind == "csv":
        with path.open("rb") as file:
            yield from read_csv(file, str(path), tell)
    else:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as text:
            yield from read_nem12(_told(text, str(path), tell), str(path), arguments.utc_offset)


def _guess(path: Path) -> str:
    """Return what a file is, by how it begins."""
    from ingest_server.bulk.nem12 import BEGINNING as NEM12
    from ingest_server.bulk.parquet_file import BEGINNING as PARQUET

    with path.open("rb") as file:
        head = file.read(len(NEM12))
    if head.startswith(PARQUET):
        return "parquet"
    return "nem12" if head == NEM12.encode() else "csv"


def _told(text: TextIO, name: str, tell: Callable[[int], None]) -> Iterator[str]:
    for number, line in enumerate(text, 1):
        tell(len(line))
        yield line if line.isascii() else decode_text(line.encode("utf-8", "surrogateescape"), name, number)


def _show(loaded: Loaded) -> None:
    print(
        f"{loaded.new} readings new, {loaded.duplicate} there already, {loaded.conflict} in conflict, "
        f"{loaded.quarantined} quarantined, {loaded.left_out} left out; {loaded.skipped} done by an earlier run"
    )
    for wrong in loaded.wrong:
        print(f"quarantined: {wrong}")
    for reason, rows in loaded.refused.items():
        print(f"quarantined: {rows} reading{'s' if rows > 1 else ''}: {reason}")
    told = len(loaded.wrong) + sum(loaded.refused.values())
    if told < loaded.quarantined:
        print(f"quarantined: {loaded.quarantined - told} more; congto ingest quarantine shows them all")
    if loaded.strange:
        print(
            f"not registered: {', '.join(loaded.strange)}; register them with `congto registry load` and import "
            "the file again"
        )
