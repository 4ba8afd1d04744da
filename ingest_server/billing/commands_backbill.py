"""``congto bill backbill``: issued bills of a wrong price, as they were and as they should have been."""

import argparse
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.billing.back_bill_prices import BackBilled, Use, Wrong

NO_PLAN = "none"  # says on the command line that no rate plan is right
Found = list[tuple["BackBilled", int | None]]


def add_backbill_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the arguments of this action."""
    from ingest_server.billing.arguments import add_language_argument
    from ingest_server.database.connection import add_dsn_arguments

    sub = actions.add_parser("backbill", help="bill issued bills of a wrong price later, or pay them back")
    add_dsn_arguments(sub)
    sub.add_argument("point", metavar="POINT", help="the metering point")
    since = sub.add_mutually_exclusive_group(required=True)
    since.add_argument("--from", dest="since_on", metavar="DAY", help="first day of the right use, like 2026-03-15")
    since.add_argument(
        "--start-unknown", action="store_true", help="nobody knows that day: twelve months before the day found"
    )
    sub.add_argument("--found", metavar="DAY", help="day on which the wrong price was found (default: today)")
    sub.add_argument("--category", metavar="CATEGORY", help="what the electricity was used for: business, …")
    sub.add_argument("--voltage", metavar="VOLTAGE", help="the right voltage: lt6, …; default: as billed")
    sub.add_argument("--rate-plan", metavar="NAME", help=f"the right rate plan, {NO_PLAN} for none; default: as billed")
    sub.add_argument("--propose", action="store_true", help="propose the differences; else nothing is written")
    sub.add_argument("--as", dest="actor", metavar="NAME", help="who proposes them")
    sub.add_argument("--note", metavar="TEXT", help="why")
    add_language_argument(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")


def _backbill(arguments: argparse.Namespace) -> int:
    from billing_core.explain import Language
    from ingest_server.billing.acts import need_note
    from ingest_server.billing.asked import actor_from, print_json
    from ingest_server.billing.back_bill import back_bill, propose_back_billing
    from ingest_server.database.connection import connect, dsn_from, translated

    point, wrong = arguments.point, _wrong_from(arguments)
    actor = None
    if arguments.propose:
        if arguments.actor is None:
            raise UsageError("--propose: found no --as; say who proposes, and why (--note)")
        arguments.role = "biller"
        actor = actor_from(arguments)
        need_note(actor, "why the price was wrong")
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        if actor is None:
            found: Found = [(each, None) for each in back_bill(connection, point, wrong)]
        else:
            found = propose_back_billing(connection, point, wrong, actor)
    if arguments.json:
        print_json(_as_json(point, found, wrong, proposed=actor is not None))
    else:
        from ingest_server.billing.print_back_bill import print_back_billing

        language = Language(arguments.language)
        print_back_billing(point, found, wrong, None if actor is None else actor.name, language)
    return 0 if found and not any(each.refused for each, _ in found) else 1


def _wrong_from(arguments: argparse.Namespace) -> "Wrong":
    from zoneinfo import ZoneInfo

    from ingest_server.billing.back_bill_prices import Wrong
    from ingest_server.billing.period import CIVIL_TIME_ZONE

    today = datetime.now(UTC).astimezone(ZoneInfo(CIVIL_TIME_ZONE)).date()
    found_on = today if arguments.found is None else _day("--found", arguments.found)
    if found_on > today:
        raise UsageError(f"--found {found_on}: that day is still to come; give the day on which it was found")
    since_on = None if arguments.since_on is None else _day("--from", arguments.since_on)
    return Wrong(right=_use_from(arguments), found_on=found_on, since_on=since_on)


def _day(option: str, text: str) -> date:
    from ingest_server.billing.period import YEAR_MAX, YEAR_MIN

    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected a day like 2026-03-15") from None
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise UsageError(f"{option} {text!r}: expected a year from {YEAR_MIN} to {YEAR_MAX}; correct it")
    return day


def _use_from(arguments: argparse.Namespace) -> "Use":
    from billing_core.codes import Category, Voltage
    from ingest_server.billing.back_bill_prices import Use

    if arguments.category is None and arguments.voltage is None and arguments.rate_plan is None:
        raise UsageError("what was wrong? give --category, --voltage or --rate-plan as they should have been")
    category = None if arguments.category is None else _member(Category, "--category", arguments.category)
    voltage = None if arguments.voltage is None else _member(Voltage, "--voltage", arguments.voltage)
    plan = "" if arguments.rate_plan == NO_PLAN else arguments.rate_plan
    return Use(category=category, voltage=voltage, rate_plan=plan)


def _member(kind: Any, option: str, text: str) -> Any:
    members = {each.value: each for each in kind}
    if text not in members:
        raise UsageError(f"{option} {text!r}: known are {', '.join(members)}")
    return members[text]


def _as_json(point: str, found: Found, wrong: "Wrong", *, proposed: bool) -> dict[str, Any]:
    numbers = ("before", "energy_wh", "energy_difference", "subtotal", "vat", "total")
    bills = [
        {
            "bill_id": each.bill_id,
            **{name: getattr(each, name).isoformat() for name in ("period_from", "period_to", "first_on", "last_on")},
            **{name: getattr(each, name) for name in numbers},
            "after": each.before + each.total,
            "refused": each.refused or None,
            "difference_id": number,
        }
        for each, number in found
    ]
    return {
        "metering_point_id": point,
        "first_on": wrong.first_on.isoformat(),
        "found_on": wrong.found_on.isoformat(),
        "start_unknown": wrong.since_on is None,
        "proposed": proposed,
        "bills": bills,
        "difference": sum(each.total for each, _ in found),
    }


BACKBILL = {"backbill": _backbill}
