"""``congto registry``: load and show who is metered by what."""

import argparse
import json
import sys
from pathlib import Path

from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, translated
from protocols.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto registry``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    load = actions.add_parser("load", help="store what a TOML file says, all or nothing")
    load.add_argument("file", type=Path, metavar="FILE.toml", help="format: docs/contracts/registry.md")
    bulk = actions.add_parser("bulk", help="load a whole company's tables at once, from files of a directory")
    bulk.add_argument("directory", type=Path, metavar="DIR", help="with customer.tsv, meter.tsv and so on")
    show = actions.add_parser("show", help="count what is registered, by gateway")
    for action in (load, bulk, show):
        add_dsn_arguments(action)
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Carry out one action; return the exit status."""
    with translated():
        return {"load": _load, "bulk": _bulk, "show": _show}[arguments.action](arguments)


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


def _bulk(arguments: argparse.Namespace) -> int:
    from ingest_server.database.migrations import migrate
    from ingest_server.registry.bulk import load_bulk

    dsn = dsn_from(arguments)
    migrate(dsn)
    tell = sys.stderr.isatty()

    def progress(table: str, done: int, of: int) -> None:
        if tell:
            print(f"\r{table:15} {done * 100 // max(of, 1):3} %", end="", file=sys.stderr, flush=True)

    with connect(dsn) as connection:
        loaded = load_bulk(connection, arguments.directory, progress)
    if tell:
        print(file=sys.stderr)
    if arguments.json:
        print(json.dumps(loaded))
    else:
        for table, rows in loaded.items():
            print(f"{table:15} {rows:12,} rows")
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
        heard_at = gateway["last_contact_at"]
        heard = "never" if heard_at is None else f"{heard_at:%Y-%m-%dT%H:%M:%SZ}"
        print(f"{gateway['gateway']:20} {gateway['state']:8} {heard:>20}  {models}")
    return 0
