"""What is registered, counted: for a look at it, not for programs."""

from typing import Any

import psycopg
from psycopg.rows import TupleRow

SELECT_COUNTS = """
    select (select count(*) from customer), (select count(*) from metering_point), (select count(*) from contract),
        (select count(*) from installation where removed_at is null)
"""
SELECT_GATEWAYS = """
    select gateway_id, state, last_contact_at,
        coalesce((
            select jsonb_object_agg(model, meters)
            from (select model, count(*) as meters from meter where gateway_id = g.gateway_id group by model) counted
        ), '{}')
    from gateway g
    order by gateway_id
"""


def load_overview(connection: psycopg.Connection[TupleRow]) -> dict[str, Any]:
    """Return counts of customers, points, contracts and installed meters, and each gateway with its meters by model."""
    counts = connection.execute(SELECT_COUNTS).fetchone()
    assert counts is not None, "a select without a table returns one row"
    gateways = [
        {"gateway": gateway, "state": state, "last_contact_at": contact, "models": models}
        for gateway, state, contact, models in connection.execute(SELECT_GATEWAYS)
    ]
    names = ("customers", "metering_points", "contracts", "installations")
    return {**dict(zip(names, counts, strict=True)), "gateways": gateways}
