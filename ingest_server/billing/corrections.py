"""Corrections: differences for issued bills whose readings or contract changed after they went out.

The bill stands as it went out. What is missing or too much is a document of its own, in the bill's own period and at
its prices; it is proposed by one person and enters the ledger once another has approved it.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.codes import LineKind
from billing_core.estimation.versions import Limit
from billing_core.explain import Language, line_name
from billing_core.ledger import difference_entries
from billing_core.line import ENERGY_KEYS, BillLine, wh_as_kwh
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.book import post
from ingest_server.billing.documents import instant_text
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import refuse_beyond
from ingest_server.billing.makers import makers_of_difference
from ingest_server.billing.period import Period
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.still_due import refuse_what_is_not_due
from protocols.errors import UsageError

LISTED_MAX = 1_000

SELECT_DIFFERENCES = """
    select f.difference_id, f.bill_id, b.metering_point_id, b.period_from, b.period_to, f.energy_wh, f.subtotal, f.vat,
           f.total, f.purchased_wh, f.purchased, f.carried_out_wh, f.actor, f.note, f.made_at,
           coalesce(a.act, 'propose') as act, a.actor as decided_by, b.total as bill_total,
           k.first_on as corrected_from, k.found_on, k.since_on,
           case when a.act is null and k.difference_id is null then (
               select max(n.difference_id) from bill_difference n
               where n.bill_id = f.bill_id and n.difference_id > f.difference_id
                 and not exists (select from bill_difference_act o where o.difference_id = n.difference_id)
                 and not exists (select from back_billing l where l.difference_id = n.difference_id)) end as replaced_by
    from bill_difference f
    join bill b using (bill_id)
    left join bill_difference_act a using (difference_id)
    left join back_billing k using (difference_id)
    where (%(bill)s::bigint is null or f.bill_id = %(bill)s)
      and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
    order by f.difference_id desc limit %(rows_max)s
"""
SELECT_DIFFERENCE = """
    select f.bill_id, f.energy_wh, f.subtotal, f.vat, f.purchased_wh, f.purchased, f.actor, a.act, a.actor,
           exists (select from bill_act c where c.bill_id = f.bill_id and c.act = 'cancel')
    from bill_difference f left join bill_difference_act a using (difference_id)
    where f.difference_id = %(difference)s
"""
# What a difference says line by line is what it says less what stood when it was made.
SELECT_CORRECTED = """
    select f.difference_id, f.line_slot, f.line_wh, f.line_amount, own.line_slot, own.line_wh, own.line_amount
    from bill_difference f
    cross join lateral (
        select * from (
            (select e.line_slot, e.line_wh, e.line_amount
             from bill_difference e join bill_difference_act a using (difference_id)
             where e.bill_id = f.bill_id and a.act = 'approve' and a.acted_at <= f.made_at
             order by e.difference_id desc limit 1)
            union all
            (select b.line_slot, b.line_wh, b.line_amount from bill b where b.bill_id = f.bill_id)) as stood
        limit 1) own
    where f.difference_id = any (%(differences)s::bigint[])
"""
SELECT_SLOTS = "select slot_id, slot from bill_slot where slot_id = any (%(slots)s::integer[])"
# A back-billing that was approved, and this is another difference, of a contract that was not corrected since.
SELECT_BACK_BILLED = """
    select k.difference_id from bill_difference f
    join bill_difference other on other.bill_id = f.bill_id and other.difference_id < f.difference_id
    join bill_difference_act a on a.difference_id = other.difference_id and a.act = 'approve'
    join back_billing k on k.difference_id = other.difference_id
    join bill b on b.bill_id = f.bill_id
    join bill_terms own on own.terms_id = f.terms_id
    join bill_terms their on their.terms_id = other.terms_id
    where f.difference_id = %(difference)s and b.bill_id = %(bill)s
      and ((own.category, coalesce(own.voltage, 'lt6'), coalesce(own.rate_plan, ''))
           <> (their.category, coalesce(their.voltage, 'lt6'), coalesce(their.rate_plan, ''))
           or k.first_on > b.period_from)
"""
LOCK_BILL = "select from bill where bill_id = %(bill)s for update"
INSERT_ACT = """
    insert into bill_difference_act (difference_id, act, actor, role, note)
    values (%(difference)s, %(act)s, %(actor)s, %(role)s, %(note)s)
"""


def differences_of(connection: Connection[Any], period: Period, selection: Selection) -> list[dict[str, Any]]:
    """Return the differences of a period's bills, the newest first. [Wh, đ]"""
    about = {**period.bounds, "bill": None}
    return _differences(connection, selection.parameters | about)


def differences_of_bill(connection: Connection[Any], bill_id: int) -> list[dict[str, Any]]:
    """Return the differences of one bill, the newest first. [Wh, đ]"""
    about = {"first_on": date.min, "last_on": date.max, "begins_on": date.min, "bill": bill_id}
    return _differences(connection, Selection().parameters | about)


def _differences(connection: Connection[Any], about: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SELECT_DIFFERENCES, about | {"rows_max": LISTED_MAX}).fetchall()


def json_value(value: Any) -> Any:
    """Return a column of a difference as JSON holds it."""
    if isinstance(value, datetime):
        return instant_text(value)
    return value.isoformat() if isinstance(value, date) else value


def correction_lines(
    connection: Connection[Any], differences: Sequence[int], language: Language
) -> dict[int, list[dict[str, Any]]]:
    """Return the lines of differences: of each tier, rate or charge what is missing or too much, tax last. [kWh, đ]

    Each is dated in the bill's own period and priced by its act; those of a difference sum to it.
    """
    rows = connection.execute(SELECT_CORRECTED, {"differences": list(differences)}).fetchall()
    wanted = {slot_id for row in rows for slot_id in (*row[1], *row[4])}
    slots = dict(connection.execute(SELECT_SLOTS, {"slots": list(wanted)}).fetchall())
    return {row[0]: _correction_lines(row[1:4], row[4:], slots, language) for row in rows}


def _correction_lines(
    found: Sequence[Sequence[int]], stood: Sequence[Sequence[int]], slots: dict[int, Any], language: Language
) -> list[dict[str, Any]]:
    """Return the lines of one difference, each of slots, energies and amounts as they should have been and as are."""
    energies: dict[int, int] = {}
    amounts: dict[int, int] = {}
    for sign, columns in ((1, found), (-1, stood)):
        for slot_id, wh, amount in zip(*columns, strict=True):
            energies[slot_id] = energies.get(slot_id, 0) + sign * wh
            amounts[slot_id] = amounts.get(slot_id, 0) + sign * amount
    lines = []
    for slot_id, amount in amounts.items():
        if not (amount or energies[slot_id]):
            continue
        line = BillLine.from_json({**slots[slot_id], "amount": amount})
        lines.append(
            {
                "name": line_name(line, language),
                "kind": line.kind.value,
                "from": line.start_on.isoformat(),
                "to": line.end_on.isoformat(),
                "act": line.act,
                "price": line.price,
                ENERGY_KEYS.get(line.kind, "kwh"): wh_as_kwh(energies[slot_id]),
                "amount": amount,
            }
        )
    return sorted(lines, key=lambda each: each["kind"] == LineKind.VAT.value)


def decide_difference(
    connection: Connection[Any], difference_id: int, act: str, actor: Actor, limits: Mapping[str, Limit] | None = None
) -> int:
    """Approve (``act`` is ``approve``) or reject a proposed difference; return the number of its bill.

    Parameters
    ----------
    limits
        What each role may approve; None for those of the package.

    Raises
    ------
    UsageError
        If there is none, it was decided, its bill was cancelled, it would not be proposed today
        (:mod:`ingest_server.billing.still_due`), the same person proposed it or made a reading that it rests on, or it
        moves more than the role may approve.
    """
    with connection.transaction():
        row = connection.execute(SELECT_DIFFERENCE, {"difference": difference_id}).fetchone()
        if row is None:
            raise UsageError(f"there is no difference {difference_id}; `congto bill differences` shows their numbers")
        (bill_id, wh, subtotal, vat, purchased_wh, purchased, proposed_by, decided, decided_by, cancelled) = row
        connection.execute(LOCK_BILL, {"bill": bill_id})
        where = f"difference {difference_id}: "
        if decided is not None:
            raise UsageError(f"{where}{decided_by} decided on it already ({decided})")
        if actor.role.code < Role.CONTROLLER.code:
            raise RefusedError("decides_too_low", number=difference_id, who=actor.name, role=actor.role.value)
        if act == "approve":
            if cancelled:
                raise UsageError(f"{where}its bill {bill_id} was cancelled; reject it")
            refuse_what_is_not_due(connection, difference_id, bill_id)
            if back_billed := _one(connection, SELECT_BACK_BILLED, bill_id, difference_id):
                raise UsageError(
                    f"{where}difference {back_billed} back-billed bill {bill_id} for another use than its contract "
                    "says, and this would take that back: correct the contract, reject this and propose anew; where "
                    "only some of its days were back-billed, cancel the bill and bill it again"
                )
            _refuse_who_made_it(connection, difference_id, proposed_by, actor)
            for energy, vnd in ((wh, subtotal + vat), (purchased_wh, purchased)):
                refuse_beyond(
                    *("difference_beyond_limit", actor.role.value),
                    energy_wh=energy,
                    vnd=vnd,
                    limits=limits,
                    number=difference_id,
                )
        parameters = {"difference": difference_id, "act": act, "actor": actor.name, "role": actor.role.value}
        connection.execute(INSERT_ACT, parameters | {"note": actor.note})
        if act == "approve":
            columns = (np.array([number], dtype=np.int64) for number in (bill_id, subtotal, vat, purchased))
            post(connection, difference_entries(*columns), actor=actor.name)
    return int(bill_id)


def _refuse_who_made_it(connection: Connection[Any], difference_id: int, proposed_by: str, actor: Actor) -> None:
    """Refuse who proposed a difference, and who made readings that it rests on."""
    if actor.is_named(proposed_by):
        raise RefusedError("proposed_it", number=difference_id, who=actor.name)
    for change_id, maker in makers_of_difference(connection, difference_id):
        if actor.is_named(maker):
            raise RefusedError("made_its_corrected_readings", number=difference_id, change=change_id, maker=maker)


def _one(connection: Connection[Any], query: Any, bill_id: int, difference_id: int) -> int:
    row = connection.execute(query, {"bill": bill_id, "difference": difference_id}).fetchone()
    return 0 if row is None else int(row[0])
