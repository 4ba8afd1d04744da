"""The rate plan of a request: which of those known it asks for by name, and the demand its ratchet looks back at."""

from collections.abc import Sequence
from dataclasses import replace

from billing_core.quote_request import QuoteRequest
from billing_core.rate_plan import RatePlan, plan_in_force
from billing_core.request_words import energy_in
from protocols.errors import UsageError


def with_plan(
    request: QuoteRequest, plans: Sequence[RatePlan], name: str | None, demand_before_kw: str | None
) -> QuoteRequest:
    """Return ``request`` billed by the plan ``name`` in force on its first day.

    Raises
    ------
    UsageError
        If no such plan is in force then, no name is given, or the request has several uses.
    """
    if name is None or request.uses:
        raise UsageError("rate-plan: expected plan-name with it, and no uses: a plan is for one use; correct it")
    before = None if demand_before_kw is None else energy_in("demand-before-kw", demand_before_kw)
    return replace(request, rate_plan=plan_in_force(plans, name, request.start_on), demand_before_w=before)
