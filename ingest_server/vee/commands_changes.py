"""``congto vee show|estimate|edit|approve|reject|undo|true-up``: readings beside a meter's own, and who answers."""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.billing.acts import Actor

VALUE_WH_MAX = 10**15


def _show(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.changes import load_change
    from ingest_server.vee.decisions import effects_of
    from ingest_server.vee.display import change_json, print_change

    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        change = load_change(connection, _number(arguments.change_id))
        effects = effects_of(connection, change) if change["act"] is None else None
    if arguments.json:
        print_json(change_json(change, effects))
    else:
        print_change(change, effects, arguments.language)
    return 0


def _estimate(arguments: argparse.Namespace) -> int:
    from billing_core.validation.parameters import load_parameters, rule_set_hash
    from ingest_server.billing.asked import print_json, selection_from
    from ingest_server.billing.period import Period
    from ingest_server.database.connection import dsn_from
    from ingest_server.vee.display import print_proposed
    from ingest_server.vee.ends import propose_ends

    period, actor = Period.of_text(arguments.period), _actor(arguments)
    rule_set = rule_set_hash(load_parameters(), period.first_on)
    made, _, left = propose_ends(
        dsn_from(arguments), period, selection_from(arguments), actor=actor.name, now=datetime.now(UTC),
        rule_set=rule_set,
    )  # fmt: skip
    if arguments.json:
        print_json({"period": str(period), "changes": made, "left": left})
    else:
        print_proposed(made, left, arguments.language)
    return 1 if left else 0


def _edit(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.display import print_proposed
    from ingest_server.vee.edit import propose_edit

    at, text = _instant(arguments.at), arguments.value_wh
    if not (text.isascii() and text.isdigit() and int(text) <= VALUE_WH_MAX):
        raise UsageError(f"--value-wh: found {text!r}; expected whole Wh, as the register shows them")
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        number = propose_edit(
            connection, arguments.point, arguments.obis, at, int(text), by_hand=arguments.read_by_hand,
            agreed=arguments.agreed, actor=_actor(arguments), now=datetime.now(UTC),
        )  # fmt: skip
    if arguments.json:
        print_json({"changes": [number], "left": 0})
    else:
        print_proposed([number], 0, arguments.language)
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.acts import need_note
    from ingest_server.billing.asked import print_json
    from ingest_server.billing.limits import limits_from
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.changes import load_change
    from ingest_server.vee.decisions import decide_change
    from ingest_server.vee.display import change_json, print_change

    number, actor, limits = _number(arguments.change_id), _actor(arguments), limits_from(arguments.limits)
    need_note(actor, "why the change is right or wrong")
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        effects = decide_change(connection, number, arguments.action, actor, limits)
        change = load_change(connection, number)
    if arguments.json:
        print_json(change_json(change, effects))
    else:
        print_change(change, effects, arguments.language)
    return 0


def _accept(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.accept import accept
    from ingest_server.vee.words import WORDS

    text = arguments.case_id
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise UsageError(f"CASE {text!r}: expected the number of a case, as the reason of a hold says it")
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        point = accept(connection, int(text), _actor(arguments))
    if arguments.json:
        print_json({"case": int(text), "metering_point_id": point})
    else:
        print(WORDS[arguments.language]["accepted"].format(case=text, point=point))
    return 0


def _undo(arguments: argparse.Namespace) -> int:
    from ingest_server.billing.asked import print_json
    from ingest_server.database.connection import connect, dsn_from, translated
    from ingest_server.vee.changes import undo
    from ingest_server.vee.display import print_proposed

    actor = _actor(arguments)
    with translated(), connect(dsn_from(arguments)) as connection:
        connection.autocommit = True
        number = undo(
            connection, _number(arguments.change_id), made_by=actor.name, made_at=datetime.now(UTC), why=actor.note
        )
    if arguments.json:
        print_json({"changes": [number], "left": 0})
    else:
        print_proposed([number], 0, arguments.language)
    return 0


def _true_up(arguments: argparse.Namespace) -> int:
    from billing_core.validation.parameters import load_parameters, rule_set_hash
    from ingest_server.billing.asked import print_json, selection_from
    from ingest_server.billing.period import Period
    from ingest_server.database.connection import dsn_from
    from ingest_server.vee.display import print_true_up, true_up_json
    from ingest_server.vee.true_up import true_up

    actor, now = _actor(arguments), datetime.now(UTC)
    period = None if arguments.period is None else Period.of_month(arguments.period)
    outcome = true_up(
        dsn_from(arguments), selection_from(arguments), made_by=actor.name, why=actor.note, now=now,
        rule_set=rule_set_hash(load_parameters(), now.date()), period=period,
    )  # fmt: skip
    if arguments.json:
        print_json(true_up_json(outcome))
    else:
        print_true_up(outcome, arguments.language)
    return 1 if outcome.still_open else 0


def _actor(arguments: argparse.Namespace) -> "Actor":
    from ingest_server.billing.asked import actor_from

    arguments.role = getattr(arguments, "role", "biller")
    return actor_from(arguments)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise UsageError(f"CHANGE {text!r}: expected the number of a change, as `congto vee cases` shows it")
    return int(text)


def _instant(text: str) -> datetime:
    from ingest_server.billing.period import YEAR_MAX, YEAR_MIN

    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--at {text!r}: expected an instant like 2026-11-01T00:00:00+07:00 ({error})") from error
    if at.tzinfo is None:
        raise UsageError(f"--at {text!r}: found no offset; give it, like 2026-11-01T00:00:00+07:00")
    if not YEAR_MIN <= at.year <= YEAR_MAX:
        raise UsageError(f"--at {text!r}: expected a year from {YEAR_MIN} to {YEAR_MAX}; correct it")
    return at


CHANGES = {
    "show": _show, "estimate": _estimate, "edit": _edit, "approve": _decide, "reject": _decide, "undo": _undo,
    "accept": _accept, "true-up": _true_up,
}  # fmt: skip
