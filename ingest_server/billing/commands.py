"""``congto bill``: from stored readings to issued bills, and everything that people do on the way."""

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.billing.period import Period
    from ingest_server.billing.run import Plan, Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto bill``."""
    from ingest_server.billing.commands_acts import add_act_arguments
    from ingest_server.billing.commands_backbill import add_backbill_arguments
    from ingest_server.billing.commands_corrections import add_correction_arguments

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_run_arguments(actions)
    _add_reading_arguments(actions)
    add_act_arguments(actions)
    add_correction_arguments(actions)
    add_backbill_arguments(actions)


def _add_run_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from ingest_server.billing.arguments import (
        add_cycle_arguments,
        add_language_argument,
        add_period_argument,
        add_selection_arguments,
    )
    from ingest_server.database.connection import add_dsn_arguments

    plan = actions.add_parser("plan", help="say what a run would find: points, books, units, what is there already")
    run_parser = actions.add_parser(
        "run", help="bill a month: what can be computed is billed, the rest held with reasons"
    )
    for sub in (plan, run_parser):
        add_dsn_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
        add_period_argument(sub)
        add_cycle_arguments(sub)
        add_selection_arguments(sub)
        add_language_argument(sub)
    run_parser.add_argument("--dry-run", action="store_true", help="compute everything, write nothing")
    run_parser.add_argument(
        "--issue-as",
        metavar="NAME",
        help="issue at once, in this person's name, what control lets pass and what earlier runs left ready",
    )
    run_parser.add_argument(
        "--thresholds", metavar="FILE", help="the company's thresholds of bill control (default: congto's)"
    )
    run_parser.add_argument("--workers", metavar="N", default="1", help="processes to compute in (default: 1)")
    run_parser.add_argument("--dask", metavar="ADDRESS", help="compute on the Dask cluster of this scheduler")


def _add_reading_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from ingest_server.billing.arguments import add_bills_argument, add_language_argument
    from ingest_server.database.connection import add_dsn_arguments

    list_parser = actions.add_parser("list", help="list a month's bills and what is held")
    show_parser = actions.add_parser("show", help="show a bill, and explain it line by line")
    explain_parser = actions.add_parser("explain", help="explain a bill line by line, to be read to the customer")
    for sub in (list_parser, show_parser, explain_parser):
        add_dsn_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
        add_bills_argument(sub, required=sub is list_parser)
        add_language_argument(sub)
    for sub in (show_parser, explain_parser):
        sub.add_argument("bill_id", nargs="?", metavar="BILL_ID", help="number of the bill")
        sub.add_argument("--point", metavar="ID", help="show this metering point's bill of --period")
    show_parser.add_argument("--explain", action="store_true", help="say how each figure comes about")
    explain_parser.add_argument(
        "--difference", metavar="DIFFERENCE_ID", help="explain this difference of a bill, and not a bill"
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``congto bill``: 0 done, 1 some points are held or differ (or there is no such bill)."""
    from billing_core.explain import Language
    from ingest_server.billing.commands_acts import ACTS
    from ingest_server.billing.commands_backbill import BACKBILL
    from ingest_server.billing.commands_corrections import CORRECTIONS
    from ingest_server.billing.refused import RefusedError

    own = {"plan": _plan, "run": _run, "list": _list, "show": _show, "explain": _explain}
    try:
        return (own | ACTS | CORRECTIONS | BACKBILL)[arguments.action](arguments)
    except RefusedError as refused:
        raise UsageError(refused.told(Language(arguments.language))) from refused


def _plan(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import by_cycle, periods_from, print_json
    from ingest_server.billing.standing import plan_of, print_plan
    from ingest_server.database.connection import connect, dsn_from, translated

    with translated(), connect(dsn_from(arguments)) as connection:
        asked = periods_from(arguments, connection)
        found = [(period, plan_of(connection, period, selection)) for period, selection in asked]
    if not arguments.json:
        for period, books in found:
            print_plan(period, books, Language(arguments.language))
    elif by_cycle(arguments):
        cycles = [{"period": str(period), "nominal_days": period.nominal_days, "books": own} for period, own in found]
        print_json({"period": arguments.period, "cycles": cycles})
    else:
        [(period, books)] = found
        print_json({"period": str(period), "books": books})
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from billing_core.explain import Language
    from ingest_server.billing.asked import by_cycle, periods_from, print_json
    from ingest_server.billing.print_run import print_summary, progress_bar, summary_json
    from ingest_server.billing.run import run_billing
    from ingest_server.database.connection import connect, dsn_from, translated

    plan = _plan_from(arguments)
    dsn = dsn_from(arguments)
    with translated(), connect(dsn) as connection:
        asked = periods_from(arguments, connection, datetime.now(UTC))
    summaries: list[Summary] = []
    doubted = False
    for period, selection in asked:

        def waiting(period: object = period) -> None:
            print(f"congto: another run bills {period} now; waiting until it is done", file=sys.stderr)

        with progress_bar(f"{period}") as progress:
            own = replace(plan, selection=selection)
            summaries.append(run_billing(dsn, period, own, progress=progress, waiting=waiting))
        if not arguments.json:
            print_summary(summaries[-1], Language(arguments.language))
        if plan.issue_as is not None:
            doubted |= _tell_kept_back(dsn, period, own, arguments)
    if arguments.json and by_cycle(arguments):
        print_json({"period": arguments.period, "cycles": [summary_json(each) for each in summaries]})
    elif arguments.json:
        print_json(summary_json(summaries[0]))
    return int(doubted or any(each.held or each.purchases_held or each.differing or each.to_sign for each in summaries))


def _tell_kept_back(dsn: str, period: "Period", plan: "Plan", arguments: argparse.Namespace) -> bool:
    """Tell what was not issued although control let it pass; say whether bills in doubt are among it."""
    from billing_core.explain import Language
    from ingest_server.billing.act_words import said
    from ingest_server.billing.acts import Actor, Role, left_to_others
    from ingest_server.billing.doubted import doubted_bills
    from ingest_server.billing.standing import print_doubted
    from ingest_server.database.connection import connect, translated

    actor = Actor(plan.issue_as or "", Role.BILLER)
    with translated(), connect(dsn) as connection:
        left = left_to_others(connection, period, plan.selection, actor)
        doubted = [each.to_json() for each in doubted_bills(connection, period, plan.selection, ("ready",))]
    for bill_id in left:
        print(said("left", arguments.language, bill=bill_id, who=actor.name), file=sys.stderr)
    if not arguments.json:
        print_doubted(doubted, Language(arguments.language))
    return bool(doubted)


def _plan_from(arguments: argparse.Namespace) -> "Plan":
    from ingest_server.billing.asked import selection_from, thresholds_from
    from ingest_server.billing.executors import WORKERS_MAX
    from ingest_server.billing.print_run import HOLDS_PRINTED_MAX
    from ingest_server.billing.run import BILLS_KEPT_MAX, Plan

    if not (arguments.workers.isascii() and arguments.workers.isdigit() and 1 <= int(arguments.workers) <= WORKERS_MAX):
        raise UsageError(f"--workers: found {arguments.workers!r}; expected a number from 1 to {WORKERS_MAX}")
    if arguments.issue_as is not None and (arguments.dry_run or not arguments.issue_as.strip()):
        raise UsageError("--issue-as: expected a person's name, and no --dry-run: a dry run issues nothing")
    return Plan(
        selection=selection_from(arguments),
        dry_run=arguments.dry_run,
        issue_as=arguments.issue_as,
        thresholds=thresholds_from(arguments.thresholds),
        workers=int(arguments.workers),
        dask=arguments.dask,
        kept=BILLS_KEPT_MAX if arguments.json else HOLDS_PRINTED_MAX,
    )


def _list(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import print_json
    from ingest_server.billing.period import Period
    from ingest_server.billing.print_bill import print_list
    from ingest_server.billing.stored import every_bill, every_hold
    from ingest_server.database.connection import connect, dsn_from, translated

    period = Period.of_text(arguments.period)
    with translated(), connect(dsn_from(arguments)) as connection:
        bills, holds = every_bill(connection, period), every_hold(connection, period, Language(arguments.language))
        if arguments.json:
            print_json({"period": str(period), "bills": list(bills), "held": list(holds)})
        else:
            print_list(bills, holds, Language(arguments.language))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import number_from, print_json
    from ingest_server.billing.difference_words import explain_difference
    from ingest_server.billing.print_bill import print_sentences
    from ingest_server.database.connection import connect, dsn_from, translated

    if arguments.difference is None:
        return _show(arguments)
    if arguments.bill_id is not None or arguments.point is not None:
        raise UsageError("--difference: found a bill too; give one of them")
    number = number_from(arguments.difference)
    with translated(), connect(dsn_from(arguments)) as connection:
        sentences = explain_difference(connection, number, Language(arguments.language))
    if not sentences:
        raise UsageError(f"there is no difference {number}; `congto bill differences` shows their numbers")
    if arguments.json:
        print_json({"difference_id": number, "explanation": sentences})
    else:
        print_sentences(sentences)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import bill_id_from, print_json
    from ingest_server.billing.difference_words import explain_differences
    from ingest_server.billing.explain import explain_bill
    from ingest_server.billing.print_bill import print_bill, print_explanation
    from ingest_server.billing.stored import load_bill
    from ingest_server.database.connection import connect, dsn_from, translated

    language = Language(arguments.language)
    with translated(), connect(dsn_from(arguments)) as connection:
        bill_id = bill_id_from(arguments, connection)
        bill = None if bill_id is None else load_bill(connection, bill_id)
        differences = [] if bill is None else explain_differences(connection, bill["bill_id"], language)
    if bill is None:
        if bill_id is not None:
            print(f"congto: there is no bill {bill_id}; `congto bill list` shows their numbers", file=sys.stderr)
        return 1
    explain = arguments.action == "explain"
    if arguments.json:
        explained = explain or arguments.explain
        print_json({**bill, **({"explanation": explain_bill(bill, language) + differences} if explained else {})})
    elif explain:
        print_explanation(bill, language, differences)
    else:
        print_bill(bill, language, explain=arguments.explain, differences=differences)
    return 0
