"""Whether a proposed difference still is what would be proposed: readings and contract may have changed since.

A bill's newest proposal takes the place of those that wait before it, and what another difference has settled is
settled. Beyond that its bill is computed again, from what the database holds now, and must come to the difference.
"""

from typing import Any

import numpy as np
from psycopg import Connection

from billing_core.control.thresholds import load_thresholds
from ingest_server.billing.chunk import compute, purchase_differences
from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.period import Period
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.run import frame_of
from ingest_server.billing.write import PURCHASED

SELECT_APPROVED_SINCE = """
    select n.difference_id from bill_difference n join bill_difference_act o using (difference_id)
    where n.bill_id = %(bill)s and o.act = 'approve' and o.acted_at > (
        select made_at from bill_difference where difference_id = %(difference)s)
    order by o.acted_at desc limit 1
"""
SELECT_PROPOSED_SINCE = """
    select n.difference_id from bill_difference n
    where n.bill_id = %(bill)s and n.difference_id > %(difference)s
      and not exists (select from bill_difference_act o where o.difference_id = n.difference_id)
      and not exists (select from back_billing k where k.difference_id in (n.difference_id, %(difference)s))
    order by n.difference_id desc limit 1
"""
SELECT_PROPOSED = f"""
    select b.metering_point_id, r.period_from, r.period_to, r.nominal_days, r.closes_year, f.inputs_hash,
           {", ".join(f"f.{name}" for name in PURCHASED)}
    from bill_difference f
    join bill b using (bill_id)
    join billing_run r on r.run_id = b.run_id
    where f.difference_id = %(difference)s
      and not exists (select from back_billing k where k.difference_id = f.difference_id)
"""  # noqa: S608 - put together from constants


def refuse_what_is_not_due(connection: Connection[Any], difference_id: int, bill_id: int) -> None:
    """Refuse to approve a difference that would not be proposed today.

    Of a back-billing only what was approved since counts: it rests on what its bill rests on, whatever is read later.

    Raises
    ------
    RefusedError
        If another difference of the bill was approved since, a newer one waits, or the bill would today come to another
        difference, or to none, or can't be computed. Each says what to do.
    """
    about = {"bill": bill_id, "difference": difference_id}
    for reason, query in (
        ("approved_since", SELECT_APPROVED_SINCE),
        ("proposed_since", SELECT_PROPOSED_SINCE),
    ):
        other = connection.execute(query, about).fetchone()
        if other is not None:
            raise RefusedError(reason, number=difference_id, other=other[0])
    proposed = connection.execute(SELECT_PROPOSED, about).fetchone()
    if proposed is None:
        return
    point, first_on, last_on, nominal_days, closes_year, *of_difference = proposed
    period = Period(first_on, last_on, nominal_days, closes_year)
    told = {"number": difference_id, "asked": f"{period.asked} --point {point}"}
    found, holds = _due(connection, period, point, bill_id)
    if found is None and holds:
        raise RefusedError("not_computed_today", why=holds[0], **told)
    if found != of_difference:
        raise RefusedError("not_due_today", **told)


def _due(
    connection: Connection[Any], period: Period, point: str, bill_id: int
) -> tuple[list[Any] | None, tuple[str, ...]]:
    """Return what a bill's difference would rest on today and correct of its purchase, none if there would be none.

    Beside it why the point is held, if it is.
    """
    selection = Selection((point,))
    frame = frame_of(connection, connection, period, selection, put_in=False)
    chunk = Chunk(after=point[:-1], upto=point, points_so_far=1)  # what is cut short sorts before the whole
    decision, packed, compared = compute(connection, frame, chunk, load_thresholds(), correcting=True)
    own = packed.computed.points.issued.bill_id[packed.rows] == bill_id
    for bill in np.flatnonzero(own & compared.differing).tolist():
        missing = purchase_differences(packed, compared)[bill].tolist()
        return [packed.inputs_hash[bill].tobytes(), *missing], ()
    return None, tuple(hold.reason for hold in decision.holds)
