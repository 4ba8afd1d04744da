"""Meters, their readings and charts, and gateways."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request

from ingest_server.api import queries
from ingest_server.api.chart import SPAN_MAX, STEP_US, load_chart
from ingest_server.api.daily import DAYS_MAX, load_daily
from ingest_server.api.parameters import (
    INSTANT,
    INSTANT_FROM,
    LIMIT_DEFAULT,
    READINGS_LIMIT_DEFAULT,
    Cursor,
    FirstDay,
    Instant,
    LastDay,
    Limit,
    MeterId,
    OptionalGateway,
    OptionalObis,
    Pages,
    ReadingsLimit,
    instant,
    span,
)
from ingest_server.api.problems import invalid, not_found
from ingest_server.api.shapes import Chart, Daily, GatewayShape, MeterDetail, MeterShape, Page, ReadingShape
from ingest_server.billing.period import us_of

router = APIRouter(prefix="/v1", tags=["meters"])
BEFORE_ALL = "0001-01-01T00:00:00Z"


@router.get("/meters", response_model=Page[MeterShape])
def list_meters(
    request: Request, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = None, gateway_id: OptionalGateway = None
) -> Any:
    """List meters in order of their ids, each with where it hangs and its last reading of total import."""
    pages = Pages.of(request)
    [after] = pages.after(cursor, [""])
    with request.app.state.connections.take() as connection:
        rows = queries.select_meters(connection, after=after, gateway=gateway_id, rows_max=limit + 1)
    return pages.page(rows, limit, lambda row: [row["meter_id"]])


@router.get("/meters/{meter_id}", response_model=MeterDetail)
def get_meter(request: Request, meter_id: MeterId) -> Any:
    """Return one meter with its registers and installations."""
    with request.app.state.connections.take() as connection:
        meter = queries.select_meter(connection, meter_id)
    if meter is None:
        raise not_found("meter", meter_id)
    return meter


@router.get("/meters/{meter_id}/readings", response_model=Page[ReadingShape])
def list_readings(
    request: Request,
    meter_id: MeterId,
    *,
    obis: OptionalObis = None,
    from_: Annotated[Instant | None, INSTANT_FROM] = None,
    to: Annotated[Instant | None, INSTANT] = None,
    limit: ReadingsLimit = READINGS_LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Any:
    """List a meter's readings, register by register in order of OBIS code, each in order of time.

    ``from`` is included, ``to`` is not. Without ``obis`` all registers are listed.
    """
    from_at, to_at = span(from_, to)
    pages = Pages.of(request)
    after_obis, after_text = pages.after(cursor, ["", BEFORE_ALL])
    with request.app.state.connections.take() as connection:
        channels = queries.select_channels(connection, meter_id)
        if not channels and queries.select_meter(connection, meter_id) is None:
            raise not_found("meter", meter_id)
        if obis is not None and obis not in channels:
            raise not_found(f"register of meter {meter_id}", obis)
        rows: list[queries.Row] = []
        for code, channel in channels.items():
            if code < after_obis or obis not in (None, code) or len(rows) > limit:
                continue
            rows += queries.select_readings(
                connection,
                channel,
                from_at=from_at,
                to_at=to_at,
                after_at=instant(after_text) if code == after_obis else datetime.min.replace(tzinfo=UTC),
                rows_max=limit + 1 - len(rows),
            )
    return pages.page(rows, limit, lambda row: [row["obis"], row["measured_at"]])


@router.get("/meters/{meter_id}/chart", response_model=Chart)
def get_chart(
    request: Request,
    meter_id: MeterId,
    *,
    from_: Annotated[Instant, INSTANT_FROM],
    to: Annotated[Instant, INSTANT],
) -> Any:
    """Return half-hourly import and export between two half hours, at most 62 days apart, from the registers."""
    from_at, to_at = span(from_, to)
    if to_at - from_at > SPAN_MAX:
        raise invalid("to", f"expected at most {SPAN_MAX.days} days after from")
    for where, at in (("from", from_at), ("to", to_at)):
        if us_of(at) % STEP_US:
            raise invalid(where, "expected a half hour, like 2026-10-01T00:30:00Z")
    with request.app.state.connections.take() as connection:
        meter = queries.select_meter(connection, meter_id)
        if meter is None:
            raise not_found("meter", meter_id)
        channels = queries.select_channels(connection, meter_id)
        return load_chart(connection, meter, channels, from_at=from_at, to_at=to_at)


@router.get("/meters/{meter_id}/daily", response_model=Daily)
def get_daily(request: Request, meter_id: MeterId, *, first: FirstDay, last: LastDay) -> Any:
    """Return the energy of each register and civil day, both days included, at most 400, from registers at midnight.

    A day is known if its register was read at both of its midnights. ``went_back`` names days on which it fell: rolled
    over, exchanged or reset.
    """
    first_on, last_on = date.fromisoformat(first), date.fromisoformat(last)
    if not 0 <= (last_on - first_on).days < DAYS_MAX:
        raise invalid("to", f"expected a day from {first_on} on, {DAYS_MAX} days in all at most")
    with request.app.state.connections.take() as connection:
        channels = queries.select_channels(connection, meter_id)
        if not channels and queries.select_meter(connection, meter_id) is None:
            raise not_found("meter", meter_id)
        return load_daily(connection, meter_id, channels, first_on=first_on, last_on=last_on)


@router.get("/gateways", response_model=Page[GatewayShape], tags=["gateways"])
def list_gateways(request: Request, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = None) -> Any:
    """List gateways in order of their ids, with last contact and the gaps in what they sent."""
    pages = Pages.of(request)
    [after] = pages.after(cursor, [""])
    with request.app.state.connections.take() as connection:
        rows = queries.select_gateways(connection, after=after, rows_max=limit + 1)
    return pages.page(rows, limit, lambda row: [row["gateway_id"]])
