"""``congto bill status|hold|release|issue|cancel|rebill|replay|ledger``: what people do with computed bills."""

import argparse
import sys
from typing import TYPE_CHECKING

from protocols.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest_server.billing.replay import Replayed


def add_act_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments of these actions."""
    from ingest_server.billing.arguments import (
        add_actor_argument,
        add_bills_argument,
        add_language_argument,
        add_limits_argument,
        add_role_argument,
        add_selection_arguments,
    )
    from ingest_server.database.connection import add_dsn_arguments

    of_month = {
        "status": actions.add_parser("status", help="bills of a month by state, and who must sign which"),
        "issue": actions.add_parser("issue", help="issue the bills of a month that nobody need sign any more"),
        "replay": actions.add_parser("replay", help="compute bills again from what is stored; they must be the same"),
    }
    for name, sub in of_month.items():
        add_dsn_arguments(sub)
        add_bills_argument(sub, required=name != "replay")
        if name != "replay":
            add_selection_arguments(sub)
    of_month["replay"].add_argument("bill_id", nargs="*", metavar="BILL_ID", help="numbers of bills")
    of_bill = {
        "hold": actions.add_parser("hold", help="hold a bill, so that it isn't issued"),
        "release": actions.add_parser("release", help="release a held bill: by another person, with the role needed"),
        "cancel": actions.add_parser("cancel", help="cancel an issued bill: the opposite is entered in the ledger"),
        "rebill": actions.add_parser("rebill", help="cancel an issued bill and compute it again from today's readings"),
    }
    for sub in of_bill.values():
        add_dsn_arguments(sub)
        sub.add_argument("bill_id", metavar="BILL_ID", help="number of the bill")
        sub.add_argument("--note", metavar="TEXT", required=True, help="why")
    for name in ("cancel", "rebill"):
        add_limits_argument(of_bill[name])
    for sub in (of_month["issue"], *of_bill.values()):
        add_actor_argument(sub)
        add_role_argument(sub)
    ledger = actions.add_parser("ledger", help="what stands on each account, and whether the chain of blocks holds")
    add_dsn_arguments(ledger)
    for sub in (*of_month.values(), *of_bill.values(), ledger):
        sub.add_argument("--json", action="store_true", help="print JSON")
        add_language_argument(sub)


def _status(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import print_json, selection_from
    from ingest_server.billing.period import Period
    from ingest_server.billing.standing import print_status, status_of
    from ingest_server.database.connection import connect, dsn_from, translated

    period, selection = Period.of_text(arguments.period), selection_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        found = status_of(connection, period, selection)
    if arguments.json:
        print_json(found)
    else:
        print_status(found, Language(arguments.language))
    return 1 if found["states"]["held"]["bills"] else 0


def _issue(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language, format_number
    from ingest_server.billing.act_words import said
    from ingest_server.billing.acts import issue, left_to_others
    from ingest_server.billing.asked import actor_from, print_json, selection_from
    from ingest_server.billing.doubted import doubted_bills
    from ingest_server.billing.period import Period
    from ingest_server.billing.standing import print_doubted
    from ingest_server.database.connection import connect, dsn_from, translated

    period, selection, actor = Period.of_text(arguments.period), selection_from(arguments), actor_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        issued = issue(connection, period, selection, actor)
        left = left_to_others(connection, period, selection, actor)
        kept_back = [each.to_json() for each in doubted_bills(connection, period, selection, ("ready",))]
    if arguments.json:
        print_json({"period": str(period), "issued": issued, "left_to_others": left, "kept_back": kept_back})
    else:
        language = Language(arguments.language)
        count = format_number(issued, language)
        print(said("issue", arguments.language, count=count, period=period, who=actor.name))
        for bill_id in left:
            print(said("left", arguments.language, bill=bill_id, who=actor.name), file=sys.stderr)
        print_doubted(kept_back, language)
    return 1 if kept_back else 0


def _act(arguments: argparse.Namespace) -> int:
    from ingest_server.billing import acts
    from ingest_server.billing.act_words import said
    from ingest_server.billing.asked import actor_from, number_from, print_json
    from ingest_server.billing.limits import limits_from
    from ingest_server.database.connection import connect, dsn_from, translated

    bill_id, actor = number_from(arguments.bill_id), actor_from(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        if arguments.action == "cancel":
            acts.cancel(connection, bill_id, actor, limits_from(arguments.limits))
        else:
            {"hold": acts.hold, "release": acts.release}[arguments.action](connection, bill_id, actor)
    done = {"hold": "held", "release": "released", "cancel": "cancelled"}[arguments.action]
    if arguments.json:
        print_json({"bill_id": bill_id, "done": done, "by": actor.name})
    else:
        print(said(arguments.action, arguments.language, bill=bill_id, who=actor.name))
    return 0


def _rebill(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.act_words import said
    from ingest_server.billing.asked import actor_from, number_from, print_json
    from ingest_server.billing.limits import limits_from
    from ingest_server.billing.reasons import reason_title
    from ingest_server.billing.rebill import rebill
    from ingest_server.billing.sentences import text_of
    from ingest_server.database.connection import dsn_from

    bill_id, actor = number_from(arguments.bill_id), actor_from(arguments)
    new_id, summary = rebill(dsn_from(arguments), bill_id, actor, limits_from(arguments.limits))
    if arguments.json:
        print_json({"cancelled": bill_id, "bill_id": new_id, "holds": [hold.detail for hold in summary.holds]})
    elif new_id is None:
        language = Language(arguments.language)
        why = "; ".join(
            f"{reason_title(each.reason, language)}: {text_of(each.sentences, language)}" for each in summary.holds
        )
        print(f"congto: {said('rebill_held', arguments.language, bill=bill_id, why=why)}", file=sys.stderr)
    else:
        print(said("rebill", arguments.language, bill=bill_id, new=new_id))
    return 0 if new_id is not None else 1


def _replay(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import number_from, print_json
    from ingest_server.billing.back_bill import replay_back_billings
    from ingest_server.billing.period import Period
    from ingest_server.billing.replay import replay
    from ingest_server.database.connection import connect, dsn_from, translated

    if bool(arguments.bill_id) == (arguments.period is not None):
        raise UsageError("which bills? give BILL_ID …, or --period")
    bills = [number_from(each) for each in arguments.bill_id] or None
    period = None if arguments.period is None else Period.of_text(arguments.period)
    counted, different = [0, 0], []
    with translated(), connect(dsn_from(arguments)) as connection:
        for place, all_of in enumerate((replay, replay_back_billings)):
            for each in all_of(connection, bills=bills, period=period):
                counted[place] += 1
                if not each.same:
                    different.append(each)
    if bills is not None and counted[0] < len(set(bills)):
        raise UsageError(f"found {counted[0]} of {len(set(bills))} bills; `congto bill list` shows their numbers")
    if arguments.json:
        more = {"back_billings": counted[1]} if counted[1] else {}
        print_json({"replayed": counted[0], **more, "different": [_replayed_json(each) for each in different]})
    else:
        _print_replayed(counted, different, arguments.language)
    return 1 if different else 0


def _replayed_json(replayed: "Replayed") -> dict[str, object]:
    names = ("bill_id", "same", "stored_total", "computed_total", "why", "difference_id")
    return {name: getattr(replayed, name) for name in names}


def _print_replayed(counted: "Sequence[int]", different: "Sequence[Replayed]", language: str) -> None:
    from billing_core.explain import Language, format_number
    from ingest_server.billing.act_words import said

    for place, name in enumerate(("replay", "replay_differences")):
        unlike = sum((each.difference_id is not None) == bool(place) for each in different)
        counts = {"count": counted[place], "same": counted[place] - unlike, "different": unlike}
        if counted[place] or not place:
            numbers = {each: format_number(count, Language(language)) for each, count in counts.items()}
            print(said(name, language, **numbers))
    for each in different:
        name = "replayed" if each.difference_id is None else "replayed_difference"
        print(said(name, language, bill=each.bill_id, number=each.difference_id, why=each.told(Language(language))))


def _ledger(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.asked import print_json
    from ingest_server.billing.standing import ledger_of, print_ledger
    from ingest_server.database.connection import connect, dsn_from, translated

    with translated(), connect(dsn_from(arguments)) as connection:
        found = ledger_of(connection)
    if arguments.json:
        print_json(found)
    else:
        print_ledger(found, Language(arguments.language))
    return 0 if found["broken_at_block"] is None and found["sum"] == 0 else 1


ACTS = {
    "status": _status,
    "issue": _issue,
    "hold": _act,
    "release": _act,
    "cancel": _act,
    "rebill": _rebill,
    "replay": _replay,
    "ledger": _ledger,
}
