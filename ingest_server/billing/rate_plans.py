"""Rate plans that were loaded with the registry, as the engine takes them."""

from typing import Any

from psycopg import Connection

from billing_core.rate_plan import RatePlan, rate_plan_from_json

SELECT_PLANS = "select figures from rate_plan where name = %(name)s order by effective_on"


def rate_plans_named(connection: Connection[Any], name: str | None) -> tuple[RatePlan, ...]:
    """Return all of a name, from the oldest on; none for no name."""
    return tuple(rate_plan_from_json(figures) for (figures,) in connection.execute(SELECT_PLANS, {"name": name}))
