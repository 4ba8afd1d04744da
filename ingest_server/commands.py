"""``congto ingest``: store what gateways publish, each reading exactly once."""

import argparse
import asyncio
import json
import sys
import time

import psycopg

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, unavailable
from protocols.errors import CongtoError, UnavailableError
from protocols.telemetry.topics import check_identifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto ingest``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_action = actions.add_parser("run", help="take messages from the broker and store them, until SIGTERM")
    run_action.add_argument(
        "--broker", metavar="URL", help="such as mqtt://127.0.0.1:1883, without a password (default: $CONGTO_BROKER)"
    )
    run_action.add_argument(
        "--client-id",
        default="congto-ingest",
        metavar="ID",
        help="fixed name at the broker, which keeps our session under it (default: %(default)s)",
    )
    migrate_action = actions.add_parser("migrate", help="bring the database to this version's schema")
    readmit = actions.add_parser("readmit", help="store what can now be taken of the messages in the quarantine")
    digest = actions.add_parser("digest", help="count and digest what is stored, by gateway and UTC day")
    digest.add_argument("--gateway", metavar="ID", help="only this one")
    digest.add_argument("--json", action="store_true", help="print one JSON object")
    for action in (run_action, migrate_action, readmit, digest):
        add_dsn_arguments(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    actions = {"run": _run, "migrate": _migrate, "readmit": _readmit, "digest": _digest}
    try:
        return actions[arguments.action](arguments)
    except psycopg.OperationalError as error:
        print(f"congto ingest: {unavailable(error)}", file=sys.stderr)
        return 3
    except UnavailableError as missing:
        print(f"congto ingest: {missing}", file=sys.stderr)
        return 3


def _run(arguments: argparse.Namespace) -> int:
    from ingest_server import journal
    from ingest_server.pipeline.run import ingest
    from ingest_server.pipeline.settings import Settings, parse_broker

    client_id = check_identifier(arguments.client_id, "--client-id")
    settings = Settings(dsn_from(arguments), parse_broker(arguments.broker), client_id)
    journal.configure()
    try:
        asyncio.run(ingest(settings))
    except CongtoError:
        raise
    except Exception:
        # The supervisor of the process starts it anew; what was not acknowledged comes again.
        journal.LOG.critical(journal.fact("ingest.failed", exit_status=3), exc_info=True)
        return 3
    return 0


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
