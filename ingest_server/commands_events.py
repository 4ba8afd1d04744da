"""``congto ingest events``: what happened at the meters, as they or their gateways tell it."""

import argparse
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ingest_server.civil_date import check_days, civil_date
from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from
from ingest_server.newest import add_newest_argument, newest_from
from protocols.telemetry.event import EventKind

if TYPE_CHECKING:
    from ingest_server.database.events import Event

DAYS = 7


def add_events_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--gateway", metavar="ID", help="only what this one has told")
    parser.add_argument("--meter", metavar="ID", help="only this meter's")
    parser.add_argument("--kind", choices=[each.value for each in EventKind], help="only these")
    parser.add_argument(
        "--from", dest="first_on", type=civil_date, metavar="DATE", help="first civil day (default: six days ago)"
    )
    parser.add_argument(
        "--to",
        dest="last_on",
        type=civil_date,
        metavar="DATE",
        help="last civil day (default: whatever is told, a clock that is ahead included)",
    )
    add_newest_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(parser)


def events(arguments: argparse.Namespace) -> int:
    """List events, the newest first; the status is 0."""
    from ingest_server.database.events import Asked, select_events
    from ingest_server.database.readings import check_gateway, check_meter

    newest = newest_from(arguments)
    from_at, to_at = _span(arguments.first_on, arguments.last_on, datetime.now(UTC))
    asked = Asked(from_at, to_at, arguments.gateway, arguments.meter, arguments.kind)
    with connect(dsn_from(arguments)) as connection:
        check_gateway(connection, arguments.gateway)
        check_meter(connection, arguments.meter)
        rows = select_events(connection, asked, newest + 1)
    more, rows = len(rows) > newest, rows[:newest]
    if arguments.json:
        print(json.dumps({"events": [_shown(each) for each in rows], "more": more}, ensure_ascii=False))
        return 0
    for each in rows:
        print(_line(each))
    print(f"{len(rows)} events{'; there are more: --newest, --to' if more else ''}")
    return 0


def _span(first_on: date | None, last_on: date | None, now: datetime) -> tuple[datetime, datetime]:
    """Return both instants of the civil days asked for; without a last day there is no end."""
    from ingest_server.database.completeness import CIVIL_OFFSET

    check_days(first_on, last_on)
    first_on = first_on or (last_on or (now + CIVIL_OFFSET).date()) - timedelta(days=DAYS - 1)

    def begin_of(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC) - CIVIL_OFFSET

    last = datetime.max.replace(tzinfo=UTC) if last_on is None else begin_of(last_on + timedelta(days=1))
    return begin_of(first_on), last


def _shown(event: "Event") -> dict[str, Any]:
    at = {name: getattr(event, name).isoformat() for name in ("happened_at", "received_at")}
    shown = {**event._asdict(), **at, "body": None if event.body is None else event.body.hex()}
    del shown["fingerprint"]
    return shown


def _line(event: "Event") -> str:
    said = [
        f"{name} {value}"
        for name, value in (("object", event.object), ("code", event.code), ("value", event.value))
        if value is not None
    ]
    if event.text is not None:
        said.append(event.text)
    if event.body is not None:
        said.append(f"{len(event.body)} octets")
    return (
        f"{event.happened_at:%Y-%m-%dT%H:%M:%SZ} {event.gateway} {event.meter} {event.kind}: {', '.join(said) or '–'}"
    )
