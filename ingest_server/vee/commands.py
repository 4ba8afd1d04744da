"""``congto vee``: validate what is stored, estimate what is missing, edit, approve, undo, true up."""

import argparse
from datetime import UTC, datetime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto vee``."""
    from ingest_server.billing.arguments import (
        add_actor_argument,
        add_period_argument,
        add_role_argument,
        add_selection_arguments,
    )
    from ingest_server.database.connection import add_dsn_arguments
    from ingest_server.vee.commands_parameters import add_parameter_arguments

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="apply the rules to a month's readings and propose what is missing")
    cases = actions.add_parser("cases", help="list what failed, what is suspected and what waits, the riskiest first")
    show = actions.add_parser("show", help="show a change: its readings, who and why, and what it does to bills")
    estimate = actions.add_parser(
        "estimate", help="propose registers that are missing at the ends of a month, or of a cycle"
    )
    edit = actions.add_parser("edit", help="propose a reading by hand, for one register and instant")
    approve = actions.add_parser("approve", help="approve a change: by another person than who made it, within limits")
    reject = actions.add_parser("reject", help="reject a change")
    accept = actions.add_parser("accept", help="accept a case: its readings stand as they are; by another person")
    undo = actions.add_parser("undo", help="propose what stood before an approved change")
    true_up = actions.add_parser(
        "true-up", help="spread a late reading over estimated months, then correct their bills"
    )
    add_parameter_arguments(
        actions.add_parser("parameter", help="set thresholds of rules for a class, or for one customer until a day")
    )
    every = (run_parser, cases, show, estimate, edit, approve, reject, accept, undo, true_up)
    for sub in every:
        add_dsn_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.add_argument("--language", choices=("vi", "en"), default="vi", help="language of tables (default: vi)")
    for sub in (run_parser, cases):
        add_period_argument(sub)
    either = "calendar month in Vietnam, like 2026-10, or the days of a reading cycle, like 2026-09-17/2026-10-16"
    estimate.add_argument("--period", metavar="YYYY-MM", required=True, help=either)
    for sub in (run_parser, cases, estimate, true_up):
        add_selection_arguments(sub)
    true_up.add_argument("--period", metavar="YYYY-MM", help="only estimates and bills of this month (default: all)")
    for sub in (show, approve, reject, undo):
        sub.add_argument("change_id", metavar="CHANGE", help="number of the change")
    accept.add_argument("case_id", metavar="CASE", help="number of the case, as the list or a hold says it")
    for sub in (run_parser, estimate, edit, approve, reject, accept, undo, true_up):
        add_actor_argument(sub)
    for sub in (edit, approve, reject, accept, undo, true_up):
        sub.add_argument("--note", metavar="TEXT", required=True, help="why")
    for sub in (approve, reject, accept):
        add_role_argument(sub)
    for sub in (approve, reject):
        sub.add_argument("--limits", metavar="FILE", help="what each role may approve (default: congto's limits.toml)")
    run_parser.add_argument("--workers", metavar="N", default="1", help="processes to work in (default: 1)")
    cases.add_argument("--all", action="store_true", help="also those that were accepted or decided on")
    edit.add_argument("--point", metavar="ID", required=True, help="the metering point")
    edit.add_argument("--obis", metavar="CODE", default="1.0.1.8.0", help="the register (default: 1.0.1.8.0)")
    edit.add_argument("--at", metavar="TIME", required=True, help="instant with offset, like 2026-11-01T00:00:00+07:00")
    edit.add_argument("--value-wh", metavar="WH", required=True, help="what the register said, in Wh")
    edit.add_argument(
        "--read-by-hand", action="store_true", help="somebody read the meter: the reading is a manual one"
    )
    edit.add_argument(
        "--agreed", action="store_true", help="customer and company agreed on it (E8): a reading, a value or no use"
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``congto vee``: 0 done, 1 something failed, is missing or waits for somebody."""
    from billing_core.explain import Language
    from ingest_server.billing.refused import RefusedError
    from ingest_server.vee.commands_changes import CHANGES
    from ingest_server.vee.commands_parameters import run_parameter
    from protocols.errors import UsageError

    own = {"run": _run, "cases": _cases, "parameter": run_parameter}
    try:
        return (own | CHANGES)[arguments.action](arguments)
    except RefusedError as refused:
        raise UsageError(refused.told(Language(arguments.language))) from refused


def _run(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import actor_from, print_json, selection_from
    from ingest_server.billing.executors import WORKERS_MAX
    from ingest_server.billing.period import Period
    from ingest_server.billing.print_run import progress_bar
    from ingest_server.database.connection import dsn_from
    from ingest_server.vee.display import outcome_json, print_outcome
    from ingest_server.vee.run import run_vee
    from protocols.errors import UsageError

    words = arguments.workers
    if not (words.isascii() and words.isdigit() and 1 <= int(words) <= WORKERS_MAX):
        raise UsageError(f"--workers: found {words!r}; expected a number from 1 to {WORKERS_MAX}")
    arguments.role = "biller"
    actor, period, now = actor_from(arguments), Period.of_month(arguments.period), datetime.now(UTC)
    with progress_bar(f"{period}") as progress:
        outcome = run_vee(
            dsn_from(arguments),
            period,
            selection_from(arguments),
            actor=actor.name,
            now=now,
            workers=int(words),
            progress=progress,
        )
    if arguments.json:
        print_json({"period": str(period), **outcome_json(outcome)})
    else:
        print_outcome(period, outcome, arguments.language)
    return 1 if outcome.failed or outcome.proposed or outcome.gaps_left or outcome.ends_left else 0


def _cases(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json, selection_from
    from ingest_server.billing.period import Period
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.cases import OPEN, queue_of
    from ingest_server.vee.display import case_json, print_cases
    from ingest_server.vee.gather import check_points

    period, selection = Period.of_month(arguments.period), selection_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        check_points(connection, selection)
        queue = queue_of(connection, period, selection, every=arguments.all)
    if arguments.json:
        print_json({"period": str(period), "cases": [case_json(case) for case in queue.cases], "more": queue.more})
    else:
        print_cases(period, queue, arguments.language)
    return 1 if any(case.state in OPEN for case in queue.cases) else 0
