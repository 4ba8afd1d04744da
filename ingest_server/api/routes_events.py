"""What happened at the meters."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ingest_server.api.parameters import (
    INSTANT,
    INSTANT_FROM,
    LIMIT_DEFAULT,
    Cursor,
    Instant,
    Limit,
    OptionalGateway,
    OptionalMeter,
    Pages,
    span,
)
from ingest_server.api.shapes import EventShape, Page
from ingest_server.billing.documents import instant_text
from ingest_server.database.events import Asked, Event, Place, select_events
from protocols.telemetry.event import EventKind

router = APIRouter(prefix="/v1", tags=["events"])
KINDS = ", ".join(each.value for each in EventKind)
OptionalKind = Annotated[EventKind | None, Query(description=f"only of this kind: {KINDS}", examples=["log"])]


@router.get("/events", response_model=Page[EventShape])
def list_events(
    request: Request,
    *,
    meter_id: OptionalMeter = None,
    gateway_id: OptionalGateway = None,
    kind: OptionalKind = None,
    from_: Annotated[Instant | None, INSTANT_FROM] = None,
    to: Annotated[Instant | None, INSTANT] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Any:
    """List what happened at meters, the newest first: power, covers, tamper, relays, clocks, registers in doubt.

    Times are by the clock that saw it, which may be wrong; ``received_at`` is by the server's. ``from`` is included,
    ``to`` is not.
    """
    from_at, to_at = span(from_, to)
    pages = Pages.of(request)
    at, meter, fingerprint = pages.after(cursor, ["", "", ""])
    before = Place(datetime.fromisoformat(at), meter, bytes.fromhex(fingerprint)) if at else None
    asked = Asked(from_at, to_at, gateway_id, meter_id, None if kind is None else kind.value)
    with request.app.state.connections.take() as connection:
        rows = select_events(connection, asked, limit + 1, before)
    page = pages.page(rows, limit, lambda row: [row.happened_at.isoformat(), row.meter, row.fingerprint.hex()])
    return {**page, "items": [_shown(each) for each in page["items"]]}


def _shown(event: Event) -> dict[str, Any]:
    return {
        "meter_id": event.meter,
        "gateway_id": event.gateway,
        "happened_at": instant_text(event.happened_at),
        "received_at": instant_text(event.received_at),
        "kind": event.kind,
        "object": event.object,
        "code": event.code,
        "value": event.value,
        "text": event.text,
        "body": None if event.body is None else event.body.hex(),
    }
