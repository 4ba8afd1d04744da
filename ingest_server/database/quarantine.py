"""What lies in the quarantine: messages and parts of them that could not be taken, with their bytes and the reason."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from protocols.errors import UsageError

OF_GATEWAY = "%(gateway)s::text is null or split_part(topic, '/', 3) = %(gateway)s"
SELECT_KEPT = f"""
    select quarantine_id, topic, reason, times, octet_length(payload), first_at, last_at
    from quarantine
    where {OF_GATEWAY}
    order by last_at desc, quarantine_id desc
    limit %(most)s
"""  # noqa: S608  # the constant above
COUNT_KEPT = f"select count(*), coalesce(sum(octet_length(payload)), 0)::bigint from quarantine where {OF_GATEWAY}"  # noqa: S608
SELECT_PAYLOAD = "select payload from quarantine where quarantine_id = %s"
DELETE_KEPT = "delete from quarantine where quarantine_id = any(%s) returning quarantine_id"


class Kept(NamedTuple):
    """A message in the quarantine; ``times`` counts how often the same bytes came."""

    number: int
    topic: str
    reason: str
    times: int
    octets: int
    first_at: datetime
    last_at: datetime


class Size(NamedTuple):
    """How much lies there."""

    messages: int
    octets: int


def kept(connection: psycopg.Connection[TupleRow], gateway: str | None, most: int) -> list[Kept]:
    """Return at most so many messages, of the topics of one gateway or of all; those that came last are first."""
    return [Kept(*row) for row in connection.execute(SELECT_KEPT, {"gateway": gateway, "most": most})]


def size(connection: psycopg.Connection[TupleRow], gateway: str | None) -> Size:
    """Return how many messages there are and how large they are together."""
    return Size(*(connection.execute(COUNT_KEPT, {"gateway": gateway}).fetchone() or (0, 0)))


def payload_of(connection: psycopg.Connection[TupleRow], number: int) -> bytes:
    """Return the bytes of a message as they came; raise :class:`UsageError` if there is none of that number."""
    row = connection.execute(SELECT_PAYLOAD, [number]).fetchone()
    if row is None:
        raise _none_of([number])
    return bytes(row[0])


def forget(connection: psycopg.Connection[TupleRow], numbers: Sequence[int]) -> None:
    """Delete messages, all or none; raise :class:`UsageError` if one is not there."""
    gone = {number for (number,) in connection.execute(DELETE_KEPT, [list(numbers)])}
    missing = sorted(set(numbers) - gone)
    if missing:
        connection.rollback()
        raise _none_of(missing)
    connection.commit()


def _none_of(numbers: Sequence[int]) -> UsageError:
    shown = ", ".join(map(str, numbers))
    return UsageError(f"no message {shown} in the quarantine; `congto ingest quarantine` lists their numbers")
