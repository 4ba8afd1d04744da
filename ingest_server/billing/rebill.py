"""Rebill: an issued bill is cancelled and its point computed again from today's readings and contract."""

from collections.abc import Mapping

from psycopg import Connection

from billing_core.estimation.versions import Limit
from ingest_server.billing.acts import Actor, cancel, note_rebilled
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, Summary, run_billing
from ingest_server.database import connect
from ingest_server.database.connection import translated

SELECT_NEW = """
    select bill_id from bill where metering_point_id = %(point)s and run_id = %(run)s order by bill_id desc limit 1
"""


def rebill(
    dsn: str, bill_id: int, actor: Actor, limits: Mapping[str, Limit] | None = None
) -> tuple[int | None, Summary]:
    """Cancel a bill and make another; return its number, none if the point can't be billed now, and the run.

    Killed in between, the bill is cancelled and the next run of its month makes the new one.
    """
    with translated(), connect(dsn) as connection:
        connection.autocommit = True
        state = cancel(connection, bill_id, actor, limits)
        period = Period(state["period_from"], state["period_to"], state["nominal_days"], state["closes_year"])
        summary = run_billing(dsn, period, Plan(selection=Selection((state["metering_point_id"],))))
        new_id = _new_bill(connection, state["metering_point_id"], summary.run_id)
        if new_id is not None:
            note_rebilled(connection, new_id, bill_id, actor)
    return new_id, summary


def _new_bill(connection: Connection[tuple[int]], point: str, run_id: int | None) -> int | None:
    row = connection.execute(SELECT_NEW, {"point": point, "run": run_id}).fetchone()
    return None if row is None else row[0]
