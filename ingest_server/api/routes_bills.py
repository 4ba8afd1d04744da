"""Bills with their lines and explanations, what is held, and quotes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from billing_core.explain import Language as Tongue
from billing_core.explain import line_name
from billing_core.explain_quote import quote_texts
from billing_core.line import BillLine
from billing_core.quote import quote
from billing_core.request_plan import with_plan
from billing_core.request_text import request_from_text
from ingest_server.api.parameters import (
    LIMIT_DEFAULT,
    BillId,
    Cursor,
    InLanguage,
    Language,
    Limit,
    Month,
    OptionalMeter,
    OptionalPoint,
    Pages,
    QuoteWords,
)
from ingest_server.api.problems import not_found
from ingest_server.api.shapes import BillDetail, BillShape, HoldShape, Page, QuoteShape
from ingest_server.billing.difference_words import explain_differences
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.period import Period
from ingest_server.billing.rate_plans import rate_plans_named
from ingest_server.billing.stored import list_bills, list_holds, load_bill

router = APIRouter(prefix="/v1", tags=["bills"])


@router.get("/bills", response_model=Page[BillShape])
def list_bills_of_month(
    request: Request,
    *,
    period: Month,
    meter_id: OptionalMeter = None,
    metering_point_id: OptionalPoint = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Any:
    """List the bills for days of a month, in order of metering points."""
    month = Period.of_month(period)
    pages = Pages.of(request)
    point, bill = pages.after(cursor, ["", 0])
    with request.app.state.connections.take() as connection:
        rows = list_bills(
            connection, month, point=metering_point_id, meter=meter_id, after=(point, bill), rows_max=limit + 1
        )
    return pages.page(rows, limit, lambda row: [row["metering_point_id"], row["bill_id"]])


@router.get("/bills/{bill_id}", response_model=BillDetail)
def get_bill(request: Request, bill_id: BillId, language: InLanguage = Language.VI) -> Any:
    """Return a bill with its lines, the purchase beside it, what it rests on, and an explanation in sentences."""
    with request.app.state.connections.take() as connection:
        bill = load_bill(connection, bill_id)
        tongue = Tongue(language.value)
        differences = [] if bill is None else explain_differences(connection, bill_id, tongue)
    if bill is None:
        raise not_found("bill", bill_id)
    for line in bill["lines"]:
        line["name"] = line_name(BillLine.from_json(line["operands"]), tongue)
    return {**bill, "explanation": [*explain_bill(bill, tongue), *differences]}


@router.get("/holds", response_model=Page[HoldShape])
def list_holds_of_month(
    request: Request,
    *,
    period: Month,
    meter_id: OptionalMeter = None,
    language: InLanguage = Language.VI,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Any:
    """List what is held of a month and not billed yet, with reasons and cures, in order of metering points."""
    month = Period.of_month(period)
    pages = Pages.of(request)
    [after] = pages.after(cursor, [""])
    with request.app.state.connections.take() as connection:
        rows = list_holds(
            connection, month, meter=meter_id, after=after, rows_max=limit + 1, language=Tongue(language.value)
        )
    return pages.page(rows, limit, lambda row: [row["metering_point_id"]])


@router.get("/quote", response_model=QuoteShape, tags=["quote"])
def get_quote(http: Request, words: Annotated[QuoteWords, Query()]) -> Any:
    """Say what an amount of energy costs, and why: the words of ``congto quote``, the same engine as the bills.

    Both days are billed. ``plan_name`` is one of the rate plans that were loaded with the registry. ``explanation``
    explains what the energy comes from where that is not plain (indexes, netting, several uses, changes of price), the
    lines in order, then the tax, then a purchase of solar energy.
    """
    given = words.model_dump(by_alias=True, exclude={"language", "plan_name", "demand_before_kw"})
    request = request_from_text(given)
    if words.plan_name is not None or words.demand_before_kw is not None:
        with http.app.state.connections.take() as connection:
            plans = rate_plans_named(connection, words.plan_name)
        request = with_plan(request, plans, words.plan_name, words.demand_before_kw)
    answer = quote(request)
    tongue = Tongue(words.language.value)
    return {**answer.to_json(tongue), "explanation": list(quote_texts(answer, tongue, given))}
