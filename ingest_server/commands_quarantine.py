"""``congto ingest quarantine``: what could not be taken, its bytes, and the end of what nobody will ever take."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from ingest_server.newest import add_newest_argument, newest_from
from protocols.errors import UsageError

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import TupleRow

    from ingest_server.database.quarantine import Choice, Group, Kept, Size

NEWEST = 50
NUMBER_MAX = 2**63 - 1
# Those of ingest_server/pipeline/message.py, and what came before kinds were told apart.
KINDS = (
    "broken",
    "too_large",
    "other_topic",
    "other_gateway",
    "unregistered",
    "future",
    "by_database",
    "earlier",
)


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
    what.add_argument(
        "--forget-all",
        action="store_true",
        help="delete all messages of --gateway, --kind or both for good, and so make room",
    )
    what.add_argument(
        "--clear-given-up",
        action="store_true",
        help="begin to count anew what was given up for want of room, once somebody has looked",
    )
    parser.add_argument("--gateway", metavar="ID", help="only what came in this one's topics")
    parser.add_argument("--kind", choices=KINDS, help="only what was refused for this")
    add_newest_argument(parser, NEWEST)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def quarantine(arguments: argparse.Namespace) -> int:
    """List, write out or delete; the status of a list is 1 if there is anything in it or was given up."""
    from ingest_server.database.quarantine import Choice, groups, kept, payload_of, size

    numbers = arguments.forget or ([] if arguments.payload is None else [arguments.payload])
    if not all(0 < number <= NUMBER_MAX for number in numbers):
        raise UsageError("--payload, --forget: expected numbers from 1 on, as `congto ingest quarantine` lists them")
    newest = newest_from(arguments)
    chosen = Choice(arguments.gateway, arguments.kind)
    if arguments.forget_all and chosen == Choice():
        raise UsageError("--forget-all: expected --gateway, --kind or both with it, for what is deleted is gone")
    with connect(dsn_from(arguments)) as connection:
        if arguments.payload is not None:
            sys.stdout.buffer.write(payload_of(connection, arguments.payload))
            return 0
        if arguments.forget is not None or arguments.forget_all or arguments.clear_given_up:
            print(_change(connection, arguments, chosen))
            return 0
        rows, together = kept(connection, chosen, newest), size(connection, chosen)
        filled = groups(connection, chosen)
    if arguments.json:
        shown = [{**each._asdict(), "first_at": str(each.first_at), "last_at": str(each.last_at)} for each in rows]
        print(json.dumps({**together._asdict(), "newest": shown, "groups": [_group_json(each) for each in filled]}))
    else:
        _print(rows, together, filled)
    return 1 if together.messages or any(each.given_up for each in filled) else 0


def _change(connection: "psycopg.Connection[TupleRow]", arguments: argparse.Namespace, chosen: "Choice") -> str:
    """Carry out what changes something; return what to say."""
    from ingest_server.database.quarantine import clear_given_up, forget, forget_all

    if arguments.forget is not None:
        forget(connection, arguments.forget)
        return f"{len(set(arguments.forget))} messages deleted"
    if arguments.forget_all:
        return f"{forget_all(connection, chosen)} messages deleted"
    return f"{clear_given_up(connection, chosen)} counts set back to 0"


def _print(rows: "Sequence[Kept]", together: "Size", filled: "Sequence[Group]") -> None:
    for each in rows:
        print(
            f"{each.number} {_printable(each.topic)}: {_printable(each.reason)}; {each.octets} octets, "
            f"{each.times} times, last {each.last_at:%Y-%m-%dT%H:%M:%SZ}"
        )
    for group in filled:
        if group.first_given_up_at is not None and group.last_given_up_at is not None:
            print(
                f"no room: {_printable(group.gateway or 'gateways that are not registered')}, {group.kind}: "
                f"{group.messages} messages fill it with {group.octets} octets; {group.given_up} of "
                f"{group.given_up_octets} octets were given up from {group.first_given_up_at:%Y-%m-%dT%H:%M:%SZ} "
                f"to {group.last_given_up_at:%Y-%m-%dT%H:%M:%SZ}; {group.to_ask} batches of them are to be asked for "
                "again"
            )
    print(f"{together.messages} messages in the quarantine, {together.octets} octets; {len(rows)} shown")


def _group_json(group: "Group") -> dict[str, object]:
    at = {name: getattr(group, name) for name in ("first_given_up_at", "last_given_up_at")}
    return {**group._asdict(), **{name: None if when is None else when.isoformat() for name, when in at.items()}}


def _printable(text: str) -> str:
    """Return ``text``, which strangers have written, as something that a terminal only shows."""
    return text if text.isprintable() else repr(text)
