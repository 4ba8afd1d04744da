"""``congto audit``: compare what is stored with what gateways have taken."""

import argparse
import json
import sys
from pathlib import Path

from ingest_server.database.audit import Said
from ingest_server.database.connection import add_dsn_arguments, connect, dsn_from, translated
from protocols.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``congto audit``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    readings = actions.add_parser(
        "readings",
        help="find days of which a reading is missing, extra or altered, by gateway; status 1 if there are any",
    )
    readings.add_argument("--gateway", metavar="ID", help="only this one")
    readings.add_argument(
        "--said",
        type=Path,
        metavar="FILE",
        help="what a gateway says: the answer of `congto agent digest --json` (default: each gateway's last status)",
    )
    readings.add_argument("--json", action="store_true", help="print one JSON object")
    add_dsn_arguments(readings)


def run(arguments: argparse.Namespace) -> int:
    """Compare; the status is 1 if anything differs, or nothing could be compared."""
    with translated():
        return _readings(arguments)


def _readings(arguments: argparse.Namespace) -> int:
    from ingest_server.database.audit import Verdict, compare, said_by_file, said_by_status
    from ingest_server.database.readings import check_gateway, reading_totals

    with connect(dsn_from(arguments)) as connection:
        check_gateway(connection, arguments.gateway)
        said: dict[str, Said] = {}
        if arguments.said is not None:
            gateway, days = said_by_file(_load(arguments.said), str(arguments.said))
            said[gateway] = days
        else:
            said = said_by_status(connection)
        if arguments.gateway is not None:
            said = {arguments.gateway: said.get(arguments.gateway, Said((), 0))}
        silent = sorted(gateway for gateway, each in said.items() if not each.days)
        audits = [
            audit
            for gateway, each in said.items()
            if each.days
            for audit in compare(gateway, each.days, reading_totals(connection, gateway))
        ]
    different = [audit for audit in audits if audit.verdict is not Verdict.SAME]
    if arguments.json:
        rows = [{**each._asdict(), "on": each.on.isoformat(), "verdict": each.verdict.value} for each in audits]
        waiting = {gateway: each.spooled for gateway, each in said.items()}
        print(json.dumps({"days": rows, "silent": silent, "waiting": waiting}))
        return 0 if audits and not different else 1
    for audit in different:
        waiting_batches = said[audit.gateway].spooled
        waits = f"; {waiting_batches} of its batches wait for a receipt" if waiting_batches else ""
        print(f"{audit.gateway} {audit.on}: {audit.verdict.value}, taken {audit.taken}, stored {audit.stored}{waits}")
    if silent:
        print(
            f"no digests from {', '.join(silent)}; ask them with `congto agent digest --json` and --said",
            file=sys.stderr,
        )
    print(f"{len(audits)} days compared, {len(different)} differ")
    return 0 if audits and not different else 1


def _load(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; expected what `congto agent digest --json` prints") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: expected what `congto agent digest --json` prints, an object")
    return found
