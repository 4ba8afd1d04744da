"""What the words of ``congto bill`` mean: which points, which bill, who acts, whose thresholds."""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection

from billing_core.control.thresholds import Thresholds, parse_thresholds
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.cycles import Asked, cycles_of, part_from, reading_day_from
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.stored import list_bills, list_holds
from protocols.errors import UsageError

POINTS_MAX = 1_000  # named on one command line
BILL_ID_MAX = 2**63 - 1  # of a bigint
UNIT_LENGTH = 6
NAME_MAX = 100


def selection_from(arguments: argparse.Namespace) -> Selection:
    """Return which points are meant; raise :class:`UsageError` for what can't be."""
    points = arguments.point
    if points is not None and len(points) > POINTS_MAX:
        raise UsageError(f"--point: found {len(points)}, at most {POINTS_MAX} fit one call; use --book or --unit")
    if arguments.unit is not None and len(arguments.unit) != UNIT_LENGTH:
        raise UsageError(f"--unit: found {arguments.unit!r}; expected the {UNIT_LENGTH} characters of a unit: PD0100")
    return Selection(None if points is None else tuple(points), arguments.unit, arguments.book)


def thresholds_from(path: str | None) -> Thresholds | None:
    """Return the thresholds in a file, none for congto's own."""
    if path is None:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--thresholds {path}: {error}; expected a file like congto's thresholds.toml") from error
    return parse_thresholds(text, Path(path).name)


def actor_from(arguments: argparse.Namespace) -> Actor:
    """Return who acts."""
    name = arguments.actor.strip()
    if not name or len(name) > NAME_MAX or not name.isprintable():
        raise UsageError(f"--as: found {arguments.actor!r}; expected a person's name of at most {NAME_MAX} characters")
    return Actor(name, Role(arguments.role), getattr(arguments, "note", None) or "")


def by_cycle(arguments: argparse.Namespace) -> bool:
    """Say whether books are billed by their own reading cycles."""
    return bool(arguments.cycle or arguments.part is not None or arguments.reading_day is not None)


def periods_from(
    arguments: argparse.Namespace, connection: Connection[Any], now: datetime | None = None
) -> list[tuple[Period, Selection]]:
    """Return the periods a command is about, with the points of each: a month's, or those of the books' own cycles.

    Raises
    ------
    UsageError
        If none has ended before ``now``; a cycle that has not is left out.
    """
    month, selection = Period.of_month(arguments.period), selection_from(arguments)
    if by_cycle(arguments):
        asked = Asked(month, part_from(arguments.part), reading_day_from(arguments.reading_day))
        return cycles_of(connection, asked, selection, now)
    if now is not None:
        month.check_ended(now)
    return [(month, selection)]


def number_from(text: str) -> int:
    """Return the number of a bill."""
    if not (text.isascii() and text.isdigit() and int(text) <= BILL_ID_MAX):
        raise UsageError(f"BILL_ID {text!r}: expected the number of a bill, as `congto bill list` shows it")
    return int(text)


def bill_id_from(arguments: argparse.Namespace, connection: Connection[Any]) -> int | None:
    """Return which bill is meant; none, after having said why, if the point has none."""
    if arguments.bill_id is not None:
        if arguments.point is not None or arguments.period is not None:
            raise UsageError("found BILL_ID together with --point or --period: give the number, or point and period")
        return number_from(arguments.bill_id)
    if arguments.point is None or arguments.period is None:
        raise UsageError("which bill? give BILL_ID, or --point and --period")
    period = Period.of_text(arguments.period)
    bills = list_bills(connection, period, point=arguments.point)
    if bills:
        return int(bills[-1]["bill_id"])
    holds = list_holds(connection, period, point=arguments.point)
    why = f"it is held: {holds[0]['reason']}: {holds[0]['detail']}" if holds else "run `congto bill run` first"
    print(f"congto: {arguments.point} has no bill of {period}; {why}", file=sys.stderr)
    return None


def print_json(value: object) -> None:
    """Print ``value`` as JSON for people and programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
