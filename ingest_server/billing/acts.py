"""What people do with computed bills: hold, release, issue, cancel, and bill again. Each act says who and why.

A bill goes out only when nobody need sign it any more, and then it never changes: it is in the ledger, and whatever is
wrong with it is entered as a cancellation or a difference. Four eyes: who held a bill by hand, had it billed again, or
made a reading that it rests on, does not release it, and a release needs the role that control asked for, or a higher
one. Who cancelled a bill does not issue what took its place, and cancels no more than the role may move.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from billing_core.codes import Coded
from billing_core.estimation.versions import Limit
from billing_core.ledger import Posting, cancellation_entries
from ingest_server.billing.book import entries_of_bills, post
from ingest_server.billing.doubted import without_doubted
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import refuse_beyond
from ingest_server.billing.makers import cancellers, makers_of_bill
from ingest_server.billing.period import Period
from ingest_server.billing.refused import RefusedError
from protocols.errors import UsageError

ISSUED_AT_ONCE = 20_000  # bills in a block of the ledger


class Role(Coded):
    """Who a person is to billing, each above the one before; the last three are those that control asks for."""

    BILLER = "biller"
    CONTROLLER = "controller"
    HEAD = "head"
    DIRECTOR = "director"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as what, and why."""

    name: str
    role: Role
    note: str = ""

    def is_named(self, name: str) -> bool:
        """Say whether ``name`` is this person's, however it was typed: capitals and spaces make nobody another."""
        return same_person(self.name, name)


def same_person(name: str, other: str) -> bool:
    """Say whether two names as typed are one person's: capitals, spaces and how accents are encoded don't count."""
    return _plain_name(name) == _plain_name(other)


def _plain_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


STATE = """
    select b.bill_id, b.metering_point_id, r.period_from, r.period_to, r.nominal_days, r.closes_year,
           s.state, coalesce(c.signer, 'nobody'), st.energy_wh, st.total
    from bill b
    join billing_run r using (run_id)
    join bill_state s using (bill_id)
    left join bill_control c using (bill_id)
    join lateral (select * from bill_standing own where own.bill_id = b.bill_id limit 1) st on true
    where b.bill_id = %(bill)s
    for update of b
"""
LAST_ACTS = """
    select actor from bill_act
    where act_id > coalesce((select max(act_id) from bill_act where bill_id = %(bill)s and act = 'release'), 0)
      and bill_id = %(bill)s and act in ('hold', 'rebill')
"""
INSERT_ACT = """
    insert into bill_act (bill_id, act, actor, role, note)
    values (%(bill)s, %(act)s, %(actor)s, %(role)s, %(note)s)
"""
# The entries of bills that may go out, in order of their ids: posting, bill, and the accounts as in the ledger.
READY_ENTRIES = """
    with ready as (
        select b.bill_id, b.subtotal, b.vat, b.total
        from bill b join bill_state s using (bill_id)
        where s.state = 'ready' and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
          and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
          and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
          and (%(book)s::text is null or exists (
                select from metering_point p
                where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
          and (%(books)s::text[] is null or exists (
                select from metering_point p
                where p.metering_point_id = b.metering_point_id and p.book_id = any (%(books)s)))
          and b.bill_id > %(after)s and b.bill_id <> all (%(left)s::bigint[])
          and (%(only)s::bigint[] is null or b.bill_id = any (%(only)s::bigint[]))
        order by b.bill_id limit %(bills_max)s
    )
    select 0::smallint as posting, bill_id, total, -subtotal, -vat, 0::bigint, 0::bigint, subtotal + vat - total
    from ready
    union all
    select 1::smallint, bill_id, -p.amount, 0, 0, p.amount, 0, 0 from ready join solar_purchase p using (bill_id)
    order by bill_id, posting
"""
ENTRIES_OF_BILL = """
    select posting, bill_id, receivable, energy, tax, solar_purchase, adjustment, rounding
    from ledger_entry where bill_id = %(bill)s order by block_id, place
"""
HOLD_PERIOD_LOCK = "select pg_advisory_xact_lock(%(class)s, 1)"
LOCK_CLASS = 0x69737375  # "issu": two who issue at once would enter a bill twice


def hold(connection: Connection[Any], bill_id: int, actor: Actor) -> None:
    """Hold a bill that was not issued."""
    with connection.transaction():
        state = _state(connection, bill_id)
        if state["state"] not in ("ready", "held"):
            raise UsageError(f"bill {bill_id}: found it {state['state']}; only a bill that was not issued can be held")
        need_note(actor, "why the bill is held")
        _record(connection, bill_id, "hold", actor)


def release(connection: Connection[Any], bill_id: int, actor: Actor) -> None:
    """Release a held bill, so that it may be issued."""
    with connection.transaction():
        state = _state(connection, bill_id)
        if state["state"] != "held":
            raise UsageError(f"bill {bill_id}: found it {state['state']}; expected a held one")
        needed = Role.CONTROLLER if state["signer"] == "nobody" else Role(state["signer"])
        if actor.role.code < needed.code:
            raise RefusedError(
                "signs_too_low", bill=bill_id, who=actor.name, role=actor.role.value, needed=needed.value
            )
        others = {row[0] for row in connection.execute(LAST_ACTS, {"bill": bill_id})}
        if any(map(actor.is_named, others)):
            raise RefusedError("held_it", bill=bill_id, who=actor.name)
        own = Period(state["period_from"], state["period_to"])
        if left_to_others(connection, own, Selection(), actor, bill_id=bill_id):
            raise RefusedError("cancelled_before", bill=bill_id, who=actor.name)
        for change_id, maker in makers_of_bill(connection, bill_id):
            if actor.is_named(maker):
                raise RefusedError("made_its_readings", bill=bill_id, change=change_id, maker=maker)
        need_note(actor, "why the bill is right")
        _record(connection, bill_id, "release", actor)


def issue(
    connection: Connection[Any],
    period: Period,
    selection: Selection,
    actor: Actor,
    *,
    only: Sequence[int] | None = None,
) -> int:
    """Issue all bills of ``period`` that may go out; return how many there were. Each block is whole or not there.

    Those in the place of bills that the same person cancelled are left to others, and those in doubt stay
    (:mod:`ingest_server.billing.doubted`): what was found out since they were computed counts.

    Parameters
    ----------
    only
        Numbers of bills; none of others is issued.
    """
    span: dict[str, Any] = {**period.bounds, "bills_max": ISSUED_AT_ONCE, "only": None if only is None else list(only)}
    span |= {"left": left_to_others(connection, period, selection, actor)}
    issued, after = 0, 0
    while True:
        with connection.transaction():
            connection.execute(HOLD_PERIOD_LOCK, {"class": LOCK_CLASS})
            made = entries_of_bills(connection, READY_ENTRIES, selection.parameters | span | {"after": after})
            sent = without_doubted(connection, made)
            post(connection, sent, actor=actor.name)
        bills = int((made.posting == Posting.BILL.code).sum())
        issued += int((sent.posting == Posting.BILL.code).sum())
        after = int(made.document.max(initial=after))
        if bills < ISSUED_AT_ONCE:
            return issued


def left_to_others(
    connection: Connection[Any], period: Period, selection: Selection, actor: Actor, *, bill_id: int | None = None
) -> list[int]:
    """Return the bills that stand in the place of ones that this person cancelled and that nobody released since."""
    found = cancellers(connection, period, selection, bill_id)
    return [bill for bill, name in found if actor.is_named(name)]


def cancel(
    connection: Connection[Any], bill_id: int, actor: Actor, limits: Mapping[str, Limit] | None = None
) -> dict[str, Any]:
    """Cancel an issued bill: enter the opposite of all that was entered for it. Return its point and period.

    Parameters
    ----------
    limits
        What each role may move; None for those of the package.
    """
    with connection.transaction():
        state = _state(connection, bill_id)
        if state["state"] != "issued":
            raise UsageError(
                f"bill {bill_id}: found it {state['state']}; only an issued bill is cancelled, "
                "another is replaced by the next run"
            )
        if actor.role.code < Role.CONTROLLER.code:
            raise RefusedError("cancels_too_low", bill=bill_id, who=actor.name, role=actor.role.value)
        need_note(actor, "why the bill is cancelled")
        energy_wh, vnd = state["energy_wh"], state["total"]
        refuse_beyond(
            "cancel_beyond_limit", actor.role.value, energy_wh=energy_wh, vnd=vnd, limits=limits, bill=bill_id
        )
        made = entries_of_bills(connection, ENTRIES_OF_BILL, {"bill": bill_id})
        _record(connection, bill_id, "cancel", actor)
        post(connection, cancellation_entries(made), actor=actor.name)
    return state


def note_rebilled(connection: Connection[Any], bill_id: int, old_bill_id: int, actor: Actor) -> None:
    """Record that a bill was made in place of a cancelled one; whoever had that done does not release it."""
    with connection.transaction():
        note = f"in place of bill {old_bill_id}: {actor.note}"
        _record(connection, bill_id, "rebill", Actor(actor.name, actor.role, note))


def _state(connection: Connection[Any], bill_id: int) -> dict[str, Any]:
    row = connection.execute(STATE, {"bill": bill_id}).fetchone()
    if row is None:
        raise UsageError(f"there is no bill {bill_id}; `congto bill list` shows their numbers")
    names: Sequence[str] = (
        *("bill_id", "metering_point_id", "period_from", "period_to", "nominal_days", "closes_year", "state", "signer"),
        *("energy_wh", "total"),
    )
    return dict(zip(names, row, strict=True))


def need_note(actor: Actor, what: str) -> None:
    """Refuse an act without a reason."""
    if not actor.note.strip():
        raise UsageError(f"--note: missing; say {what}")


def _record(connection: Connection[Any], bill_id: int, act: str, actor: Actor) -> None:
    parameters = {"bill": bill_id, "act": act, "actor": actor.name, "role": actor.role.value, "note": actor.note}
    connection.execute(INSERT_ACT, parameters)
