"""``congto bill correct|differences|approve|reject``: what issued bills should have been."""

import argparse
import sys


def add_correction_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments of these actions."""
    from ingest_server.billing.arguments import (
        add_actor_argument,
        add_bills_argument,
        add_cycle_arguments,
        add_language_argument,
        add_limits_argument,
        add_period_argument,
        add_role_argument,
        add_selection_arguments,
    )
    from ingest_server.database.connection import add_dsn_arguments

    correct = actions.add_parser("correct", help="propose differences for issued bills whose readings changed since")
    listed = actions.add_parser("differences", help="list the differences of a month's bills")
    approve = actions.add_parser("approve", help="approve a difference: by another person than who proposed it")
    reject = actions.add_parser("reject", help="reject a difference")
    for sub in (correct, listed):
        add_dsn_arguments(sub)
        if sub is correct:
            add_period_argument(sub)
            add_cycle_arguments(sub)
        else:
            add_bills_argument(sub)
        add_selection_arguments(sub)
    for sub in (approve, reject):
        add_dsn_arguments(sub)
        sub.add_argument("difference_id", metavar="DIFFERENCE_ID", help="number of the difference")
        add_role_argument(sub)
    add_limits_argument(approve)
    for sub in (correct, approve, reject):
        add_actor_argument(sub)
        sub.add_argument("--note", metavar="TEXT", required=True, help="why")
    listed.add_argument("--lines", action="store_true", help="list the lines of each difference too")
    for sub in (correct, listed, approve, reject):
        add_language_argument(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")


def _correct(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language, format_number
    from ingest_server.billing.act_words import said
    from ingest_server.billing.acts import need_note
    from ingest_server.billing.asked import actor_from, by_cycle, periods_from, print_json
    from ingest_server.billing.correction_notes import notes_of_run
    from ingest_server.billing.print_run import HOLDS_PRINTED_MAX, difference_text, hold_text, progress_bar
    from ingest_server.billing.run import BILLS_KEPT_MAX, Plan, run_billing
    from ingest_server.database.connection import connect, dsn_from, translated

    arguments.role = "biller"
    actor = actor_from(arguments)
    need_note(actor, "why issued bills are corrected")
    dsn = dsn_from(arguments)
    with translated(), connect(dsn) as connection:
        asked = periods_from(arguments, connection)
    told = []
    for period, selection in asked:
        plan = Plan(selection=selection, correct_as=(actor.name, actor.note), kept=BILLS_KEPT_MAX)
        with progress_bar(f"{period}") as progress:
            summary = run_billing(dsn, period, plan, progress=progress)
        with translated(), connect(dsn) as connection:
            notes = notes_of_run(connection, summary.run_id, HOLDS_PRINTED_MAX)
        names = ("proposed", "differing", "difference", "held")
        counted = {name: getattr(summary, name) for name in names}
        told.append({"period": str(period), **counted, **notes._asdict()})
        if arguments.json:
            continue
        language = Language(arguments.language)
        counts = {"count": summary.proposed, "differing": summary.differing, "difference": summary.difference}
        numbers = {name: format_number(count, language) for name, count in counts.items()}
        print(said("correct", arguments.language, period=period, who=actor.name, **numbers))
        for difference in summary.differences[:HOLDS_PRINTED_MAX]:
            print(difference_text(difference, language))
        for hold in summary.holds[:HOLDS_PRINTED_MAX]:
            print(hold_text(hold, language))
        for number, old in notes.replaced:
            print(said("replaces", arguments.language, number=number, old=old))
        if notes.before_true_up:
            numbers_told = ", ".join(map(str, notes.before_true_up))
            print(said("before_true_up", arguments.language, numbers=numbers_told))
    if arguments.json:
        print_json({"period": arguments.period, "cycles": told} if by_cycle(arguments) else told[0])
    return 0


def _differences(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.act_words import said
    from ingest_server.billing.asked import print_json, selection_from
    from ingest_server.billing.corrections import correction_lines, differences_of, json_value
    from ingest_server.billing.difference_words import difference_texts
    from ingest_server.billing.period import Period
    from ingest_server.database.connection import connect, dsn_from, translated

    period, selection = Period.of_text(arguments.period), selection_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        found = differences_of(connection, period, selection)
        if arguments.lines:
            lines = correction_lines(connection, [row["difference_id"] for row in found], Language(arguments.language))
            found = [row | {"lines": lines[row["difference_id"]]} for row in found]
    if arguments.json:
        print_json([{name: json_value(value) for name, value in row.items()} for row in found])
        return 0
    for row in found:
        print("\n".join(difference_texts(row, Language(arguments.language))))
    if not found:
        print(said("no_differences", arguments.language, period=period), file=sys.stderr)
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.act_words import said
    from ingest_server.billing.asked import actor_from, number_from, print_json
    from ingest_server.billing.corrections import decide_difference
    from ingest_server.billing.limits import limits_from
    from ingest_server.database.connection import connect, dsn_from, translated

    number, actor = number_from(arguments.difference_id), actor_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        limits = limits_from(arguments.limits) if arguments.action == "approve" else None
        bill_id = decide_difference(connection, number, arguments.action, actor, limits)
    done = {"approve": "approved", "reject": "rejected"}[arguments.action]
    if arguments.json:
        print_json({"difference_id": number, "bill_id": bill_id, "done": done, "by": actor.name})
    else:
        print(said(arguments.action, arguments.language, number=number, bill=bill_id, who=actor.name))
    return 0


CORRECTIONS = {"correct": _correct, "differences": _differences, "approve": _decide, "reject": _decide}
