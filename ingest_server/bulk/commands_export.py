"""``congto export``: write stored readings to a file that ``congto import`` takes."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ingest_server.civil_date import check_days, civil_date
from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, translated
from protocols.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``congto export``."""
    parser.add_argument("file", metavar="FILE", help="where to write; - for standard output")
    parser.add_argument(
        "--format",
        choices=("csv", "nem12", "parquet"),
        default="csv",
        help="csv and parquet hold all of a reading; nem12 intervals with its own qualities (default: %(default)s)",
    )
    parser.add_argument("--gateway", metavar="ID", help="only the meters of this one")
    parser.add_argument("--meter", metavar="ID", help="only this one")
    parser.add_argument("--from", dest="first_on", type=civil_date, metavar="DATE", help="first civil day")
    parser.add_argument("--to", dest="last_on", type=civil_date, metavar="DATE", help="last civil day")
    parser.add_argument(
        "--utc-offset",
        type=int,
        choices=range(-12, 15),
        default=10,
        metavar="HOURS",
        help="zone of NEM12's local times, 7 in Vietnam (default: %(default)s, as its specification has it)",
    )
    add_dsn_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; it appears under its name when it is whole."""
    check_days(arguments.first_on, arguments.last_on)
    dsn = dsn_from(arguments)
    try:
        if arguments.file == "-":
            if arguments.format == "parquet":
                raise UsageError("- with --format parquet: Parquet needs a file that it can seek in; name one")
            count = _write(arguments, dsn, sys.stdout)
        else:
            path = Path(arguments.file)
            unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
            try:
                with unfinished.open("x", encoding="utf-8", newline="") as out:
                    count = _write(arguments, dsn, unfinished if arguments.format == "parquet" else out)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{arguments.file}: {error}; expected a place where a file can be written") from error
    print(f"{count} readings written", file=sys.stderr)
    return 0


def _write(arguments: argparse.Namespace, dsn: str, out: TextIO | Path) -> int:
    from ingest_server.bulk.csv_file import write_csv
    from ingest_server.bulk.give import stored_rows
    from ingest_server.bulk.nem12 import LETTERS, write_nem12
    from ingest_server.bulk.parquet_file import write_parquet
    from ingest_server.database.readings import check_gateway, check_meter

    with translated(), connect(dsn) as connection:
        check_gateway(connection, arguments.gateway)
        check_meter(connection, arguments.meter)
        rows = stored_rows(
            connection,
            gateway=arguments.gateway,
            meter=arguments.meter,
            obis=list(LETTERS) if arguments.format == "nem12" else None,
            first_on=arguments.first_on,
            last_on=arguments.last_on,
        )
        if isinstance(out, Path):
            return write_parquet(rows, out)
        if arguments.format == "csv":
            return write_csv(rows, out)
        return write_nem12(rows, out, datetime.now(UTC), arguments.utc_offset)
