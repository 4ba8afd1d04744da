"""``congto vee parameter``: thresholds of rules for a class, or for one customer until a day."""

import argparse
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from protocols.errors import UsageError

if TYPE_CHECKING:
    from psycopg import Connection

NUMBER_MAX = 2**63 - 1
WORDS: Mapping[str, Mapping[str, str]] = {
    "vi": {
        "proposed": "Tham số {number} chờ người khác duyệt: congto vee parameter approve {number}",
        "approve": "Đã duyệt tham số {number} ({actor}): kỳ kiểm tra sau sẽ áp dụng",
        "reject": "Đã từ chối tham số {number} ({actor})",
        "none": "chưa có tham số riêng nào",
        "waiting": "chờ duyệt",
        "until": "đến hết",
        "open": "không thời hạn",
    },
    "en": {
        "proposed": "Parameter {number} waits for another person: congto vee parameter approve {number}",
        "approve": "Parameter {number} approved by {actor}: the next run applies it",
        "reject": "Parameter {number} rejected by {actor}",
        "none": "no parameter is set",
        "waiting": "waits",
        "until": "until",
        "open": "no end",
    },
}


def add_parameter_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``congto vee parameter``."""
    from ingest_server.billing.arguments import add_actor_argument
    from ingest_server.database.connection import add_dsn_arguments

    doings = parser.add_subparsers(dest="doing", metavar="DOING", required=True)
    propose = doings.add_parser("set", help="propose a value for a class, or for a point until a day")
    approve = doings.add_parser("approve", help="let a value hold: by another person than who proposed it")
    reject = doings.add_parser("reject", help="refuse a value")
    listing = doings.add_parser("list", help="list what was set, by whom and why, the newest first")
    propose.add_argument("name", metavar="NAME", help="of the parameter, as in billing_core/validation/parameters.toml")
    propose.add_argument("value", metavar="VALUE", help="a whole number")
    propose.add_argument("--class", dest="meter_class", metavar="CLASS", help="household, shop or large")
    propose.add_argument("--point", metavar="ID", help="one metering point; then --until is needed")
    propose.add_argument("--from", dest="start_on", metavar="DATE", required=True, help="first day, like 2026-10-01")
    propose.add_argument("--until", dest="end_on", metavar="DATE", help="last day; default, of a class: none")
    for sub in (approve, reject):
        sub.add_argument("number", metavar="NUMBER", help="of the parameter, as the list shows it")
    listing.add_argument("--point", metavar="ID", help="only this point's")
    listing.add_argument("--on", metavar="DATE", help="only what holds on this day")
    for sub in (propose, approve, reject):
        add_actor_argument(sub)
        sub.add_argument("--note", metavar="TEXT", required=True, help="why")
    for sub in (propose, approve, reject, listing):
        add_dsn_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.add_argument(
            "--language", choices=("vi", "en"), default="vi", help="language of what is said (default: vi)"
        )


def run_parameter(arguments: argparse.Namespace) -> int:
    """Carry out ``congto vee parameter``; return the exit status."""
    from ingest_server.database.connection import connect, dsn_from, translated

    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        return {"set": _set, "approve": _decide, "reject": _decide, "list": _list}[arguments.doing](
            arguments, connection
        )


def _set(arguments: argparse.Namespace, connection: "Connection[Any]") -> int:
    from ingest_server.billing.acts import need_note
    from ingest_server.billing.asked import print_json
    from ingest_server.vee.settings import propose_setting
    from ingest_server.vee.terms_by_day import FOREVER, Setting

    actor = _actor(arguments)
    need_note(actor, "set")
    end_on = FOREVER if arguments.end_on is None else _day(arguments.end_on, "--until")
    setting = Setting(
        arguments.meter_class,
        arguments.point,
        arguments.name,
        _number(arguments.value, "VALUE"),
        _day(arguments.start_on, "--from"),
        end_on,
    )
    number = propose_setting(connection, setting, why=actor.note, made_by=actor.name)
    if arguments.json:
        print_json({"parameter_id": number})
    else:
        print(WORDS[arguments.language]["proposed"].format(number=number))
    return 0


def _decide(arguments: argparse.Namespace, connection: "Connection[Any]") -> int:
    from ingest_server.billing.acts import need_note
    from ingest_server.billing.asked import print_json
    from ingest_server.vee.settings import decide_setting

    actor, number = _actor(arguments), _number(arguments.number, "NUMBER")
    need_note(actor, arguments.doing)
    decide_setting(connection, number, arguments.doing, actor.name, actor.note)
    if arguments.json:
        print_json({"parameter_id": number, "act": arguments.doing, "actor": actor.name})
    else:
        print(WORDS[arguments.language][arguments.doing].format(number=number, actor=actor.name))
    return 0


def _list(arguments: argparse.Namespace, connection: "Connection[Any]") -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.vee.settings import list_settings

    on = None if arguments.on is None else _day(arguments.on, "--on")
    rows = list_settings(connection, arguments.point, on)
    if arguments.json:
        print_json([{k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()} for row in rows])
        return 0
    words = WORDS[arguments.language]
    if not rows:
        print(words["none"])
    for row in rows:
        whom = row["meter_class"] or row["metering_point_id"]
        end = words["open"] if row["end_on"] is None else f"{words['until']} {row['end_on']}"
        decided = words["waiting"] if row["act"] is None else f"{row['act']}: {row['actor']}, {row['note']}"
        print(
            f"{row['parameter_id']:6} {whom:20} {row['name']} = {row['value']}  {row['start_on']} {end}  "
            f"{row['made_by']}: {row['why']}  [{decided}]"
        )
    return 0


def _actor(arguments: argparse.Namespace) -> Any:
    from ingest_server.billing.asked import actor_from

    arguments.role = "biller"
    return actor_from(arguments)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= NUMBER_MAX):
        raise UsageError(f"{name}: found {text!r}; expected a whole number")
    return int(text)


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{name}: found {text!r}; expected a day like 2026-10-01") from error
