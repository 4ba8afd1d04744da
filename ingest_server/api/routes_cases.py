"""The case queue of a month, and the changes of readings that it names."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from ingest_server.api.parameters import (
    BIGINT_MAX,
    LIMIT_DEFAULT,
    Cursor,
    InLanguage,
    Language,
    Limit,
    Month,
    OptionalPoint,
    Pages,
)
from ingest_server.api.problems import not_found
from ingest_server.api.shapes import Page
from ingest_server.api.shapes_cases import CaseShape, ChangeShape
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.vee.cases import FIRST, Rank, page_of
from ingest_server.vee.changes import load_change
from ingest_server.vee.display import case_json, change_json, rule_text
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality

router = APIRouter(prefix="/v1", tags=["cases"])
Every = Annotated[bool, Query(alias="all", description="also cases that were accepted or decided on")]


@router.get("/cases", response_model=Page[CaseShape])
def list_cases(
    request: Request,
    *,
    period: Month,
    metering_point_id: OptionalPoint = None,
    every: Every = False,
    language: InLanguage = Language.VI,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Any:
    """List what failed, what is suspected and what waits for a decision in a month, the riskiest first.

    Cases that somebody accepted or decided on are left out, unless all are asked for. ``case_id`` is the number that
    ``congto vee accept`` takes.
    """
    month = Period.of_month(period)
    pages = Pages.of(request)
    after = Rank(*pages.after(cursor, FIRST))
    selection = Selection() if metering_point_id is None else Selection((metering_point_id,))
    with request.app.state.connections.take() as connection:
        cases = page_of(connection, month, selection, after, limit + 1, every=every)
    page = pages.page(cases, limit, lambda case: list(case.rank))
    return {**page, "items": [_told(case_json(case), language.value) for case in page["items"]]}


def _told(row: dict[str, Any], language: str) -> dict[str, Any]:
    reasons = [{**each, "text": rule_text(each["rule"], language)} for each in row["reasons"]]
    names = {"metering_point_id": None, "transformer_id": None}
    return {**names, **row, "obis": row["obis"] or None, "reasons": reasons}


@router.get("/changes/{change_id}", response_model=ChangeShape)
def get_change(request: Request, change_id: Annotated[int, Path(ge=1, le=BIGINT_MAX, examples=[1])]) -> Any:
    """Return a change of readings with its provenance, its readings, and how it was decided.

    What it would do to bills `congto vee show` computes.
    """
    with request.app.state.connections.take() as connection:
        try:
            change = load_change(connection, change_id)
        except UsageError as error:
            raise not_found("change", change_id) from error
    told = change_json(change, None)
    del told["effects"]
    for reading in told["readings"]:
        reading["quality"] = [flag.name for flag in Quality(reading["quality"])]
    return told
