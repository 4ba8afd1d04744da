"""What happened at meters, as gateways have told it: lists of events, the newest first."""

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

# The order is that of the index on time, or of the primary key where one meter is asked for.
SELECT_EVENTS = """
    select meter_id, gateway_id, happened_at, received_at, kind, object, code, value, text, body, fingerprint
    from meter_event
    where happened_at >= %(from_at)s and happened_at < %(to_at)s
        and (%(gateway)s::text is null or gateway_id = %(gateway)s)
        and (%(meter)s::text is null or meter_id = %(meter)s)
        and (%(kind)s::text is null or kind = %(kind)s)
        and (%(before_at)s::timestamptz is null
            or (happened_at, meter_id, fingerprint) < (%(before_at)s, %(before_meter)s, %(before_fingerprint)s))
    order by happened_at desc, meter_id desc, fingerprint desc
    limit %(most)s
"""


class Event(NamedTuple):
    """One event. ``happened_at`` is by the clock that saw it, which may be wrong; ``received_at`` by the server's.

    What ``object``, ``code``, ``value``, ``text`` and ``body`` say depends on ``kind``: see
    :class:`protocols.telemetry.event.EventKind`.
    """

    meter: str
    gateway: str
    happened_at: datetime
    received_at: datetime
    kind: str
    object: str | None
    code: int | None
    value: int | None
    text: str | None
    body: bytes | None
    fingerprint: bytes


class Place(NamedTuple):
    """Where an event stands in a list; what comes after it is older."""

    happened_at: datetime
    meter: str
    fingerprint: bytes


class Asked(NamedTuple):
    """Which events: of ``from_at`` <= instant < ``to_at``, of one gateway, meter or kind, or of all."""

    from_at: datetime
    to_at: datetime
    gateway: str | None = None
    meter: str | None = None
    kind: str | None = None


def select_events(connection: Connection[Any], asked: Asked, most: int, before: Place | None = None) -> list[Event]:
    """Return at most so many events, the newest first; those older than ``before``, if that is given."""
    place = (None, None, None) if before is None else before
    names = ("before_at", "before_meter", "before_fingerprint")
    given = {**asked._asdict(), **dict(zip(names, place, strict=True)), "most": most}
    return [Event(*row) for row in connection.execute(SELECT_EVENTS, given)]
