"""Corrections: differences for issued bills whose readings or contract changed after they went out.

The bill stands as it went out. What is missing or too much is a document of its own, in the bill's own period and at
its prices; it is proposed by one person and enters the ledger once another has approved it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.codes import LineKind
from billing_core.explain import Language, line_name
from billing_core.ledger import difference_entries
from billing_core.line import ENERGY_KEYS, BillLine, wh_as_kwh
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.book import post
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from protocols.errors import UsageError

LISTED_MAX = 1_000

SELECT_DIFFERENCES = """
    select f.difference_id, f.bill_id, b.metering_point_id, b.period_from, b.period_to, f.energy_wh, f.subtotal, f.vat,
           f.total, f.purchased_wh, f.purchased, f.carried_out_wh, f.actor, f.note, f.made_at,
           coalesce(a.act, 'propose') as act, a.actor as decided_by
    from bill_difference f
    join bill b using (bill_id)
    left join bill_difference_act a using (difference_id)
    where b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
    order by f.difference_id desc limit %(rows_max)s
"""
SELECT_DIFFERENCE = """
    select f.bill_id, f.subtotal, f.vat, f.purchased, f.actor, a.act, a.actor,
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
LOCK_BILL = "select from bill where bill_id = %(bill)s for update"
SELECT_STANDS = """
    select count(*) from bill_difference n join bill_difference_act o using (difference_id)
    where n.bill_id = %(bill)s and o.act = 'approve' and o.acted_at > (
        select made_at from bill_difference where difference_id = %(difference)s)
"""
INSERT_ACT = """
    insert into bill_difference_act (difference_id, act, actor, role, note)
    values (%(difference)s, %(act)s, %(actor)s, %(role)s, %(note)s)
"""


def differences_of(connection: Connection[Any], period: Period, selection: Selection) -> list[dict[str, Any]]:
    """Return the differences of a period's bills, the newest first. [Wh, đ]"""
    parameters = {**selection.parameters, **period.bounds, "rows_max": LISTED_MAX}
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SELECT_DIFFERENCES, parameters).fetchall()


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


def decide_difference(connection: Connection[Any], difference_id: int, act: str, actor: Actor) -> int:
    """Approve (``act`` is ``approve``) or reject a proposed difference; return the number of its bill.

    Raises
    ------
    UsageError
        If there is none, it was decided, its bill was cancelled, another was approved since it was computed, or the
        same person proposed it.
    """
    with connection.transaction():
        row = connection.execute(SELECT_DIFFERENCE, {"difference": difference_id}).fetchone()
        if row is None:
            raise UsageError(f"there is no difference {difference_id}; `congto bill differences` shows their numbers")
        bill_id, subtotal, vat, purchased, proposed_by, decided, decided_by, cancelled = row
        connection.execute(LOCK_BILL, {"bill": bill_id})
        where = f"difference {difference_id}: "
        if decided is not None:
            raise UsageError(f"{where}{decided_by} decided on it already ({decided})")
        if actor.role.code < Role.CONTROLLER.code:
            raise UsageError(f"{where}{actor.name} is a {actor.role.value}; a controller or higher decides")
        if act == "approve":
            if actor.is_named(proposed_by):
                raise UsageError(f"{where}{actor.name} proposed it: another person must approve it (four eyes)")
            if cancelled:
                raise UsageError(f"{where}its bill {bill_id} was cancelled; reject it")
            if _one(connection, SELECT_STANDS, bill_id, difference_id):
                raise UsageError(f"{where}another was approved since it was computed; reject it and propose anew")
        parameters = {"difference": difference_id, "act": act, "actor": actor.name, "role": actor.role.value}
        connection.execute(INSERT_ACT, parameters | {"note": actor.note})
        if act == "approve":
            columns = (np.array([number], dtype=np.int64) for number in (bill_id, subtotal, vat, purchased))
            post(connection, difference_entries(*columns), actor=actor.name)
    return int(bill_id)


def _one(connection: Connection[Any], query: Any, bill_id: int, difference_id: int) -> int:
    row = connection.execute(query, {"bill": bill_id, "difference": difference_id}).fetchone()
    return 0 if row is None else int(row[0])
