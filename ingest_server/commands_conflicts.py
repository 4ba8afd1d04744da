"""``congto ingest conflicts``: readings for which a second value came, and both values."""

import argparse
import json
from datetime import datetime
from typing import TYPE_CHECKING

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.database.conflicts import Conflict

NEWEST, NEWEST_MAX = 200, 100_000


def add_conflicts_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--gateway", metavar="ID", help="only what this one has sent")
    parser.add_argument("--meter", metavar="ID", help="only this meter's")
    parser.add_argument(
        "--newest", type=int, default=NEWEST, metavar="N", help="list at most so many (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def conflicts(arguments: argparse.Namespace) -> int:
    """List conflicts, those that came last first; the status is 1 if there are any."""
    from ingest_server.database.conflicts import select_conflicts
    from ingest_server.database.readings import check_gateway

    if not 0 < arguments.newest <= NEWEST_MAX:
        raise UsageError(f"--newest {arguments.newest}: expected 1 to {NEWEST_MAX}")
    with connect(dsn_from(arguments)) as connection:
        check_gateway(connection, arguments.gateway)
        found, count = select_conflicts(connection, arguments.gateway, arguments.meter, arguments.newest)
    if arguments.json:
        shown = {"conflicts": [each._asdict() for each in found], "count": count}
        print(json.dumps(shown, default=datetime.isoformat, ensure_ascii=False))
    else:
        for each in found:
            print(_line(each))
        print(f"{count} conflicts; {len(found)} shown")
    return 1 if count else 0


def _line(each: "Conflict") -> str:
    from ingest_server.bulk.csv_file import quality_text

    stands = "nothing" if each.stands is None else f"{each.stands} {each.unit}"
    return (
        f"{each.meter} {each.obis} {each.measured_at:%Y-%m-%dT%H:%M:%SZ}: {stands} stands, {each.value} {each.unit} "
        f"({quality_text(each.quality)}) came from {each.gateway}, batch {each.sequence} of {each.generation}, at "
        f"{each.received_at:%Y-%m-%dT%H:%M:%SZ}"
    )
