"""``congto ingest conflicts``: readings for which a second value came, and both values."""

import argparse
import json
from datetime import datetime
from typing import TYPE_CHECKING

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from ingest_server.newest import add_newest_argument, newest_from

if TYPE_CHECKING:
    from ingest_server.database.conflicts import Conflict


def add_conflicts_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--gateway", metavar="ID", help="only what this one has sent")
    parser.add_argument("--meter", metavar="ID", help="only this meter's")
    add_newest_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def conflicts(arguments: argparse.Namespace) -> int:
    """List conflicts, those that came last first; the status is 1 if there are any that nobody has decided."""
    from ingest_server.database.conflicts import select_conflicts
    from ingest_server.database.readings import check_gateway, check_meter

    newest = newest_from(arguments)
    with connect(dsn_from(arguments)) as connection:
        check_gateway(connection, arguments.gateway)
        check_meter(connection, arguments.meter)
        found, count, decided = select_conflicts(connection, arguments.gateway, arguments.meter, newest)
    if arguments.json:
        shown = {"conflicts": [each._asdict() for each in found], "count": count, "decided": decided}
        print(json.dumps(shown, default=datetime.isoformat, ensure_ascii=False))
    else:
        for each in found:
            print(_line(each))
        print(f"{count} conflicts, {decided} of them decided; {len(found)} shown")
    return 1 if count > decided else 0


def _line(each: "Conflict") -> str:
    from ingest_server.bulk.csv_file import quality_text

    stands = "nothing" if each.stands is None else f"{each.stands} {each.unit}"
    counts = "" if each.decided is None else f"; decided: {each.decided} {each.unit} counts"
    return (
        f"{each.meter} {each.obis} {each.measured_at:%Y-%m-%dT%H:%M:%SZ}: {stands} stands, {each.value} {each.unit} "
        f"({quality_text(each.quality)}) came from {each.gateway}, batch {each.sequence} of {each.generation}, at "
        f"{each.received_at:%Y-%m-%dT%H:%M:%SZ}{counts}"
    )
