"""What gateways say that they have taken, against what is stored: day by day, by count and digest."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.readings import ReadingTotal
from protocols.errors import RemoteProtocolError, UsageError
from protocols.telemetry.receipt import DayTaken, take_days

SELECT_SAID = """
    select gateway_id, coalesce(status -> 'days', '[]'), coalesce((status ->> 'spooled')::bigint, 0)
    from gateway
    order by gateway_id
"""


class Verdict(Enum):
    """How what is stored of a gateway's day stands to what the gateway has taken."""

    SAME = "same"
    MISSING = "missing"  # fewer are stored
    EXTRA = "extra"  # more are stored
    ALTERED = "altered"  # as many are stored, and not the same


class DayAudit(NamedTuple):
    """A gateway's UTC day: what it has taken, what is stored, and how these stand to one another."""

    gateway: str
    on: date
    taken: int
    stored: int
    verdict: Verdict


class Said(NamedTuple):
    """What a gateway says: its days, and how many of its batches still wait for a receipt."""

    days: tuple[DayTaken, ...]
    spooled: int


def compare(gateway: str, days: Sequence[DayTaken], stored: Iterable[ReadingTotal]) -> list[DayAudit]:
    """Return the verdict on each day from the first that the gateway speaks of to the last."""
    if not days:
        return []
    taken = {day.on: (day.readings, day.digest) for day in days}
    found = {total.on: (total.readings, total.digest) for total in stored if days[0].on <= total.on <= days[-1].on}
    audits = []
    for on in sorted(taken.keys() | found.keys()):
        (said, said_digest), (kept, kept_digest) = taken.get(on, (0, 0)), found.get(on, (0, 0))
        if kept != said:
            verdict = Verdict.MISSING if kept < said else Verdict.EXTRA
        else:
            verdict = Verdict.SAME if kept_digest == said_digest else Verdict.ALTERED
        audits.append(DayAudit(gateway, on, said, kept, verdict))
    return audits


def said_by_status(connection: psycopg.Connection[TupleRow]) -> dict[str, Said]:
    """Return what each registered gateway's last status says."""
    return {
        gateway: Said(take_days(days), spooled) for gateway, days, spooled in connection.execute(SELECT_SAID).fetchall()
    }


def said_by_file(found: Mapping[str, object], name: str) -> tuple[str, Said]:
    """Return the gateway and what it says in the answer of ``congto agent digest --json``."""
    gateway, days, waiting = found.get("gateway"), found.get("days"), found.get("unreceipted", 0)
    try:
        if not isinstance(gateway, str) or not isinstance(days, list) or not isinstance(waiting, int):
            raise UsageError("expected gateway, days and unreceipted")
        rows = [
            [day.get(key) for key in ("day", "readings", "digest")] if isinstance(day, dict) else day for day in days
        ]
        return gateway, Said(tuple(day for row in rows for day in take_days([row])), waiting)  # it may be any number
    except (UsageError, RemoteProtocolError) as error:
        raise UsageError(f"{name}: {error}; expected what `congto agent digest --json` prints") from error
