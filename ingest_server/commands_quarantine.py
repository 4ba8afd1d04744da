"""``congto ingest quarantine``: what could not be taken, its bytes, and the end of what nobody will ever take."""

import argparse
import json
import sys

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from protocols.errors import UsageError

NEWEST = 50
NUMBER_MAX = 2**63 - 1


def add_quarantine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--payload", type=int, metavar="NUMBER", help="write this message's bytes to standard output")
    what.add_argument(
        "--forget",
        type=int,
        nargs="+",
        metavar="NUMBER",
        help="delete these messages for good: their readings then are nowhere but perhaps at the gateway",
    )
    parser.add_argument("--gateway", metavar="ID", help="list only what came in this one's topics")
    parser.add_argument(
        "--newest", type=int, default=NEWEST, metavar="N", help="list at most so many (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def quarantine(arguments: argparse.Namespace) -> int:
    """List, write out or delete; the status of a list is 1 if there is anything in it."""
    from ingest_server.database.quarantine import forget, kept, payload_of, size

    numbers = arguments.forget or ([] if arguments.payload is None else [arguments.payload])
    if not all(0 < number <= NUMBER_MAX for number in numbers):
        raise UsageError("--payload, --forget: expected numbers from 1 on, as `congto ingest quarantine` lists them")
    if not 0 < arguments.newest <= NUMBER_MAX:
        raise UsageError(f"--newest {arguments.newest}: expected 1 or more")
    with connect(dsn_from(arguments)) as connection:
        if arguments.payload is not None:
            sys.stdout.buffer.write(payload_of(connection, arguments.payload))
            return 0
        if arguments.forget is not None:
            forget(connection, arguments.forget)
            print(f"{len(set(arguments.forget))} messages deleted")
            return 0
        rows, together = kept(connection, arguments.gateway, arguments.newest), size(connection, arguments.gateway)
    if arguments.json:
        shown = [{**each._asdict(), "first_at": str(each.first_at), "last_at": str(each.last_at)} for each in rows]
        print(json.dumps({**together._asdict(), "newest": shown}))
    else:
        for each in rows:
            print(
                f"{each.number} {_printable(each.topic)}: {_printable(each.reason)}; {each.octets} octets, "
                f"{each.times} times, last {each.last_at:%Y-%m-%dT%H:%M:%SZ}"
            )
        print(f"{together.messages} messages in the quarantine, {together.octets} octets; {len(rows)} shown")
    return 1 if together.messages else 0


def _printable(text: str) -> str:
    """Return ``text``, which strangers have written, as something that a terminal only shows."""
    return text if text.isprintable() else repr(text)
