"""``congto ingest``: store what gateways publish, each reading exactly once."""

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from ingest_server.civil_date import check_days, civil_date
from ingest_server.commands_conflicts import add_conflicts_arguments, conflicts
from ingest_server.commands_events import add_events_arguments, events
from ingest_server.commands_policies import add_policies_arguments, policies
from ingest_server.commands_quarantine import add_quarantine_arguments, quarantine
from ingest_server.commands_repair import add_repair_arguments, clocks, resend
from ingest_server.commands_run import add_leave_arguments, add_run_arguments, leave_session, run_ingest
from ingest_server.database.connection import (
    SCHEMA_ERRORS,
    add_dsn_arguments,
    connect,
    dsn_from,
    older_schema,
    unavailable,
)
from protocols.errors import UnavailableError, UsageError

DAYS_MAX = 400  # of one look at gaps or completeness


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto ingest``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_run_arguments(actions.add_parser("run", help="take messages from the broker and store them, until SIGTERM"))
    add_leave_arguments(actions.add_parser("leave", help="let the broker forget a session that nobody will continue"))
    add_repair_arguments(actions)
    add_policies_arguments(actions)
    top = actions.add_parser("top", help="show what a running ingest does, each second anew")
    top.add_argument("--metrics-port", type=int, required=True, metavar="PORT", help="as given to `congto ingest run`")
    top.add_argument("--seconds", type=int, metavar="N", help="end after so many (default: at Ctrl-C)")
    migrate_action = actions.add_parser("migrate", help="bring the database to this version's schema")
    add_quarantine_arguments(
        actions.add_parser("quarantine", help="show what could not be taken, and why; status 1 if there is anything")
    )
    add_conflicts_arguments(
        actions.add_parser("conflicts", help="show readings for which two values came; status 1 if there are any")
    )
    add_events_arguments(actions.add_parser("events", help="list what happened at the meters, the newest first"))
    readmit = actions.add_parser("readmit", help="store what can now be taken of the messages in the quarantine")
    digest = actions.add_parser("digest", help="count and digest what is stored, by gateway and UTC day")
    digest.add_argument("--gateway", metavar="ID", help="only this one")
    digest.add_argument("--json", action="store_true", help="print one JSON object")
    backup = actions.add_parser("backup", help="write all of a running database into a new directory")
    backup.add_argument("directory", type=Path, metavar="DIR", help="where to write; must not exist yet")
    restore = actions.add_parser("restore", help="fill an empty database with a backup, all or nothing")
    restore.add_argument("directory", type=Path, metavar="DIR", help="what `congto ingest backup` has written")
    gaps = actions.add_parser("gaps", help="show readings and batches that should have come and did not")
    completeness = actions.add_parser("completeness", help="show the share of expected readings that are there")
    completeness.add_argument(
        "--by",
        choices=("gateway", "feeder", "meter", "channel", "day"),
        default="gateway",
        help="what to add up by (default: %(default)s)",
    )
    for action in (gaps, completeness):
        action.add_argument("--gateway", metavar="ID", help="only this one")
        action.add_argument(
            "--from", dest="first_on", type=civil_date, metavar="DATE", help="first civil day (default: six days ago)"
        )
        action.add_argument(
            "--to", dest="last_on", type=civil_date, metavar="DATE", help="last civil day (default: today)"
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")
    for action in (migrate_action, readmit, digest, gaps, completeness, backup, restore):
        add_dsn_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    actions = {
        "run": run_ingest,
        "leave": leave_session,
        "resend": resend,
        "clocks": clocks,
        "policies": policies,
        "top": _top,
        "migrate": _migrate,
        "quarantine": quarantine,
        "conflicts": conflicts,
        "events": events,
        "readmit": _readmit,
        "digest": _digest,
        "gaps": _gaps,
        "completeness": _completeness,
        "backup": _backup,
        "restore": _restore,
    }
    try:
        return actions[arguments.action](arguments)
    except SCHEMA_ERRORS as error:
        raise older_schema(error) from error
    except psycopg.OperationalError as error:
        print(f"congto ingest: {unavailable(error)}", file=sys.stderr)
        return 3
    except UnavailableError as missing:
        print(f"congto ingest: {missing}", file=sys.stderr)
        return 3


def _top(arguments: argparse.Namespace) -> int:
    from ingest_server.top import show

    if arguments.seconds is not None and arguments.seconds < 1:
        raise UsageError(f"--seconds {arguments.seconds}: expected 1 or more; without it until Ctrl-C")
    return show(arguments.metrics_port, arguments.seconds)


def _migrate(arguments: argparse.Namespace) -> int:
    from ingest_server.database.migrations import migrate

    for name in migrate(dsn_from(arguments)):
        print(name)
    return 0


def _readmit(arguments: argparse.Namespace) -> int:
    from ingest_server.pipeline.readmit import readmit

    done = asyncio.run(readmit(dsn_from(arguments), time.time_ns() // 1_000_000))
    print(
        f"{done.messages} messages taken up, {done.left} left; "
        f"readings: {done.new} new, {done.duplicate} there already, {done.conflict} in conflict"
    )
    return 0


def _digest(arguments: argparse.Namespace) -> int:
    from ingest_server.database.readings import gateways, reading_totals

    found = {}
    with connect(dsn_from(arguments)) as connection:
        for gateway in [arguments.gateway] if arguments.gateway else gateways(connection):
            found[gateway] = reading_totals(connection, gateway)
    if arguments.json:
        shown = {
            gateway: [
                {"day": total.on.isoformat(), "readings": total.readings, "digest": f"{total.digest:016x}"}
                for total in totals
            ]
            for gateway, totals in found.items()
        }
        print(json.dumps(shown))
        return 0
    for gateway, totals in found.items():
        for total in totals:
            print(f"{gateway:20} {total.on} {total.readings:10} {total.digest:016x}")
    return 0


def _days(arguments: argparse.Namespace, now: datetime) -> tuple[date, date]:
    from ingest_server.database.completeness import CIVIL_OFFSET

    last_on = arguments.last_on or (now + CIVIL_OFFSET).date()
    first_on = arguments.first_on or last_on - timedelta(days=6)
    check_days(first_on, last_on)
    if (last_on - first_on).days >= DAYS_MAX:
        raise UsageError(f"--from {first_on} --to {last_on}: expected at most {DAYS_MAX} days")
    return first_on, last_on


def _gaps(arguments: argparse.Namespace) -> int:
    """Show gaps; the status is 1 if there are any."""
    from ingest_server.database.completeness import reading_gaps, sequence_gaps

    now = datetime.now(UTC)
    with connect(dsn_from(arguments)) as connection:
        gaps = reading_gaps(connection, *_days(arguments, now), arguments.gateway, now)
        sequences = sequence_gaps(connection, arguments.gateway)
    if arguments.json:
        shown = {
            "readings": [{**gap._asdict(), "age": round(gap.age.total_seconds())} for gap in gaps],
            "sequences": [gap._asdict() for gap in sequences],
        }
        print(json.dumps(shown, default=datetime.isoformat))
    else:
        for gap in gaps:
            print(
                f"{gap.gateway} {gap.meter} {gap.obis}: {gap.intervals} missing from {gap.first_at:%Y-%m-%dT%H:%MZ} "
                f"to {gap.end_at:%Y-%m-%dT%H:%MZ}, for {_age(gap.age)}"
            )
        for each in sequences:
            print(f"{each.gateway} spool {each.generation}: batches {each.first} to {each.last} never came")
        print(f"{len(gaps)} gaps in readings, {len(sequences)} in sequences")
    return 1 if gaps or sequences else 0


def _age(age: timedelta) -> str:
    """Return days, hours and minutes: more of it nobody can know, for a reading is due within its interval."""
    hours, minutes = divmod(int(age.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def _completeness(arguments: argparse.Namespace) -> int:
    from ingest_server.database.completeness import add_up, channel_days

    now = datetime.now(UTC)
    with connect(dsn_from(arguments)) as connection:
        rows = channel_days(connection, *_days(arguments, now), arguments.gateway, now)
    sums = add_up(rows, arguments.by)
    if arguments.json:
        print(json.dumps([{**each._asdict(), "share": each.share} for each in sums]))
        return 0
    if not sums:
        print("no reading is expected of these days: no meter hung anywhere, or was registered, before their end")
    for each in sums:
        print(f"{each.name:30} {each.found:10} of {each.expected:10} {each.share * 100:8.3f} %")
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    from ingest_server.database.backup import back_up

    rows = back_up(dsn_from(arguments), arguments.directory, datetime.now(UTC))
    print(f"{sum(rows.values())} rows of {len(rows)} tables written to {arguments.directory}")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from ingest_server.database.backup import restore

    rows = restore(dsn_from(arguments), arguments.directory)
    print(f"{sum(rows.values())} rows of {len(rows)} tables restored")
    return 0
