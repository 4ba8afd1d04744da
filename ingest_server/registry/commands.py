"""``congto registry``: load and show who is metered by what."""

import argparse
import json
from pathlib import Path

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, translated
from protocols.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto registry``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    load = actions.add_parser("load", help="store what a TOML file says, all or nothing")
    load.add_argument("file", type=Path, metavar="FILE.toml", help="format: docs/contracts/registry.md")
    show = actions.add_parser("show", help="count what is registered, by gateway")
    for action in (load, show):
        add_dsn_arguments(action)
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    with translated():
        return _load(arguments) if arguments.action == "load" else _show(arguments)


def _load(arguments: argparse.Namespace) -> int:
    from ingest_server.database.migrations import migrate
    from ingest_server.registry.store import load_registry

    try:
        text = arguments.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{arguments.file}: {error}; expected a TOML file in UTF-8") from error
    dsn = dsn_from(arguments)
    migrate(dsn)
    with connect(dsn) as connection:
        summary = load_registry(connection, text, str(arguments.file))
    if arguments.json:
        print(json.dumps({"given": summary.given, "changed": summary.changed}))
    else:
        for table, given in summary.given.items():
            print(f"{table:15} {given:7} given {summary.changed[table]:7} new or changed")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from ingest_server.registry.overview import load_overview

    with connect(dsn_from(arguments)) as connection:
        overview = load_overview(connection)
    if arguments.json:
        print(json.dumps(overview, default=str))
        return 0
    print(f"{overview['customers']} customers, {overview['metering_points']} metering points, ", end="")
    print(f"{overview['contracts']} contracts, {overview['installations']} meters installed now")
    for gateway in overview["gateways"]:
        models = ", ".join(f"{count} × {model}" for model, count in gateway["models"].items())
        print(f"{gateway['gateway']:20} {gateway['state']:8} {gateway['last_contact_at'] or 'never':>32}  {models}")
    return 0
