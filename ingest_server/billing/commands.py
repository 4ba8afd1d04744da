"""``congto bill``: compute bills from stored readings, list them, show and explain one."""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.billing.run import Summary

POINTS_MAX = 1_000  # named on one command line
BILL_ID_MAX = 2**63 - 1  # of a bigint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto bill``."""
    from ingest_server.database.connection import add_dsn_arguments

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser(
        "run", help="bill a month: what can be computed is billed, the rest held with reasons"
    )
    list_parser = actions.add_parser("list", help="list a month's bills and what is held")
    show_parser = actions.add_parser("show", help="show a bill, and explain it line by line")
    for sub in (run_parser, list_parser, show_parser):
        add_dsn_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
        period_help = "calendar month in Vietnam, like 2026-10"
        sub.add_argument("--period", metavar="YYYY-MM", required=sub is not show_parser, help=period_help)
    for sub in (list_parser, show_parser):
        sub.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables and explanations")
    run_parser.add_argument(
        "--point", metavar="ID", action="append", help="only this metering point; may be given several times"
    )
    run_parser.add_argument("--dry-run", action="store_true", help="compute everything, write nothing")
    show_parser.add_argument("bill_id", nargs="?", metavar="BILL_ID", help="number of the bill")
    show_parser.add_argument("--point", metavar="ID", help="show this metering point's bill of --period")
    show_parser.add_argument("--explain", action="store_true", help="say how each figure comes about")


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``congto bill``: 0 done, 1 some points are held or differ (or there is no such bill)."""
    return {"run": _run, "list": _list, "show": _show}[arguments.action](arguments)


def _run(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.period import Period
    from ingest_server.billing.print_run import print_summary, progress_bar, summary_json
    from ingest_server.billing.run import run_billing
    from ingest_server.database.connection import dsn_from

    if arguments.point is not None and len(arguments.point) > POINTS_MAX:
        raise UsageError(f"--point: found {len(arguments.point)}, at most {POINTS_MAX} fit one call; bill all instead")
    period = Period.of_month(arguments.period)
    period.check_ended(datetime.now(UTC))
    dsn = dsn_from(arguments)

    def waiting() -> None:
        print(f"congto: another run bills {period} now; waiting until it is done", file=sys.stderr)

    with progress_bar(f"{period}") as progress:
        summary: Summary = run_billing(
            dsn, period, points=arguments.point, dry_run=arguments.dry_run, progress=progress, waiting=waiting
        )
    if arguments.json:
        _print_json(summary_json(summary))
    else:
        print_summary(summary)
    return 1 if summary.held or summary.purchases_held or summary.differing else 0


def _list(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.period import Period
    from ingest_server.billing.print_bill import print_list
    from ingest_server.billing.stored import every_bill, every_hold
    from ingest_server.database.connection import connect, dsn_from, translated

    period = Period.of_month(arguments.period)
    with translated(), connect(dsn_from(arguments)) as connection:
        bills, holds = every_bill(connection, period), every_hold(connection, period)
        if arguments.json:
            _print_json({"period": str(period), "bills": list(bills), "held": list(holds)})
        else:
            print_list(bills, holds, Language(arguments.language))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.explain import explain_bill
    from ingest_server.billing.print_bill import print_bill
    from ingest_server.billing.stored import load_bill
    from ingest_server.database.connection import connect, dsn_from, translated

    language = Language(arguments.language)
    with translated(), connect(dsn_from(arguments)) as connection:
        bill_id = _bill_id(arguments, connection)
        bill = None if bill_id is None else load_bill(connection, bill_id)
    if bill is None:
        if bill_id is not None:
            print(
                f"congto: there is no bill {bill_id}; `congto bill list --period …` shows those there are",
                file=sys.stderr,
            )
        return 1
    if arguments.json:
        explanation = {"explanation": explain_bill(bill, language)} if arguments.explain else {}
        _print_json({**bill, **explanation})
    else:
        print_bill(bill, language, explain=arguments.explain)
    return 0


def _bill_id(arguments: argparse.Namespace, connection: Any) -> int | None:
    """Return which bill is meant; none, after having said why, if the point has none."""
    from ingest_server.billing.period import Period
    from ingest_server.billing.stored import list_bills, list_holds

    if arguments.bill_id is not None:
        if arguments.point is not None or arguments.period is not None:
            raise UsageError("found BILL_ID together with --point or --period: give the number, or point and period")
        if not (arguments.bill_id.isascii() and arguments.bill_id.isdigit() and int(arguments.bill_id) <= BILL_ID_MAX):
            raise UsageError(
                f"BILL_ID {arguments.bill_id!r}: expected the number of a bill, as `congto bill list` shows it"
            )
        return int(arguments.bill_id)
    if arguments.point is None or arguments.period is None:
        raise UsageError("which bill? give BILL_ID, or --point and --period")
    period = Period.of_month(arguments.period)
    bills = list_bills(connection, period, point=arguments.point)
    if bills:
        return int(bills[-1]["bill_id"])
    holds = list_holds(connection, period, point=arguments.point)
    why = f"it is held: {holds[0]['reason']}: {holds[0]['detail']}" if holds else "run `congto bill run` first"
    print(f"congto: {arguments.point} has no bill of {period}; {why}", file=sys.stderr)
    return None


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
