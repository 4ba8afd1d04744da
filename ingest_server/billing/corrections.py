"""Corrections: differences for issued bills whose readings or contract changed after they went out.

The bill stands as it went out. What is missing or too much is a document of its own, in the bill's own period and at
its prices; it is proposed by one person and enters the ledger once another has approved it.
"""

from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.ledger import difference_entries
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.book import post
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from protocols.errors import UsageError

LISTED_MAX = 1_000

SELECT_DIFFERENCES = """
    select f.difference_id, f.bill_id, b.metering_point_id, b.period_from, b.period_to, f.energy_wh, f.subtotal, f.vat,
           f.total, f.actor, f.note, f.made_at, coalesce(a.act, 'propose') as act, a.actor as decided_by
    from bill_difference f
    join bill b using (bill_id)
    left join bill_difference_act a using (difference_id)
    where b.period_from <= %(last_on)s and b.period_to >= %(first_on)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
    order by f.difference_id desc limit %(rows_max)s
"""
SELECT_DIFFERENCE = """
    select f.bill_id, f.subtotal, f.vat, f.actor, a.act, a.actor,
           exists (select from bill_act c where c.bill_id = f.bill_id and c.act = 'cancel')
    from bill_difference f left join bill_difference_act a using (difference_id)
    where f.difference_id = %(difference)s
"""
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
    parameters = {"first_on": period.first_on, "last_on": period.last_on, "rows_max": LISTED_MAX}
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SELECT_DIFFERENCES, selection.parameters | parameters).fetchall()


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
        bill_id, subtotal, vat, proposed_by, decided, decided_by, cancelled = row
        connection.execute(LOCK_BILL, {"bill": bill_id})
        where = f"difference {difference_id}: "
        if decided is not None:
            raise UsageError(f"{where}{decided_by} decided on it already ({decided})")
        if actor.role.code < Role.CONTROLLER.code:
            raise UsageError(f"{where}{actor.name} is a {actor.role.value}; a controller or higher decides")
        if act == "approve":
            if actor.name == proposed_by:
                raise UsageError(f"{where}{actor.name} proposed it: another person must approve it (four eyes)")
            if cancelled:
                raise UsageError(f"{where}its bill {bill_id} was cancelled; reject it")
            if _one(connection, SELECT_STANDS, bill_id, difference_id):
                raise UsageError(f"{where}another was approved since it was computed; reject it and propose anew")
        parameters = {"difference": difference_id, "act": act, "actor": actor.name, "role": actor.role.value}
        connection.execute(INSERT_ACT, parameters | {"note": actor.note})
        if act == "approve":
            columns = (np.array([number], dtype=np.int64) for number in (bill_id, subtotal, vat))
            post(connection, difference_entries(*columns), actor=actor.name)
    return int(bill_id)


def _one(connection: Connection[Any], query: Any, bill_id: int, difference_id: int) -> int:
    row = connection.execute(query, {"bill": bill_id, "difference": difference_id}).fetchone()
    return 0 if row is None else int(row[0])
