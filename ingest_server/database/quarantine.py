"""What lies in the quarantine: messages and parts of them that could not be taken, with their bytes and the reason."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from protocols.errors import UsageError

CHOSEN = """
    (%(gateway)s::text is null or split_part(topic, '/', 3) = %(gateway)s)
    and (%(kind)s::text is null or kind = %(kind)s)
"""
SELECT_KEPT = f"""
    select quarantine_id, topic, reason, times, octet_length(payload), first_at, last_at, kind
    from quarantine
    where {CHOSEN}
    order by last_at desc, quarantine_id desc
    limit %(most)s
"""  # noqa: S608  # the constant above
COUNT_KEPT = f"select count(*), coalesce(sum(octet_length(payload)), 0)::bigint from quarantine where {CHOSEN}"  # noqa: S608
SELECT_PAYLOAD = "select payload from quarantine where quarantine_id = %s"
DELETE_KEPT = "delete from quarantine where quarantine_id = any(%s) returning quarantine_id"
DELETE_CHOSEN = f"delete from quarantine where {CHOSEN}"  # noqa: S608
# Before anything is deleted, as whoever puts something there does: so nobody locks the other out.
LOCK_GROUPS_OF = """
    select from quarantine_group
    where (gateway_id, kind) in (select gateway_id, kind from quarantine where quarantine_id = any(%s))
    order by gateway_id, kind
    for update
"""
LOCK_ALL_GROUPS = "select from quarantine_group order by gateway_id, kind for update"
SELECT_GROUPS = """
    select gateway_id, kind, messages, octets, given_up, given_up_octets, first_given_up_at, last_given_up_at,
        coalesce((
            select sum(upper(span) - lower(span))
            from quarantine_given_up u, unnest(sequences) as span
            where (u.gateway_id, u.kind) = (quarantine_group.gateway_id, quarantine_group.kind)
        ), 0)::bigint
    from quarantine_group
    where (%(gateway)s::text is null or gateway_id = %(gateway)s) and (%(kind)s::text is null or kind = %(kind)s)
        and (messages > 0 or given_up > 0)
    order by gateway_id, kind
"""
CLEAR_GIVEN_UP = """
    update quarantine_group
    set given_up = 0, given_up_octets = 0, first_given_up_at = null, last_given_up_at = null
    where given_up > 0 and (%(gateway)s::text is null or gateway_id = %(gateway)s)
        and (%(kind)s::text is null or kind = %(kind)s)
"""


class Choice(NamedTuple):
    """Which messages: those of one gateway's topics, of one kind of refusal, or all."""

    gateway: str | None = None
    kind: str | None = None


class Kept(NamedTuple):
    """A message in the quarantine; ``times`` counts how often the same bytes came."""

    number: int
    topic: str
    reason: str
    times: int
    octets: int
    first_at: datetime
    last_at: datetime
    kind: str


class Size(NamedTuple):
    """How much lies there."""

    messages: int
    octets: int


class Group(NamedTuple):
    """What is kept of a gateway and kind of refusal, and what was given up for want of room.

    ``gateway`` is empty for those that are not registered, all together. ``octets`` are those that count for the
    maximum. The latest message of a full group is not counted. ``to_ask`` counts batches of what was given up: their
    gateway is asked for again once there is room, or once other channels are registered there.
    """

    gateway: str
    kind: str
    messages: int
    octets: int
    given_up: int
    given_up_octets: int
    first_given_up_at: datetime | None
    last_given_up_at: datetime | None
    to_ask: int


def kept(connection: psycopg.Connection[TupleRow], chosen: Choice, most: int) -> list[Kept]:
    """Return at most so many messages; those that came last are first."""
    return [Kept(*row) for row in connection.execute(SELECT_KEPT, {**chosen._asdict(), "most": most})]


def size(connection: psycopg.Connection[TupleRow], chosen: Choice) -> Size:
    """Return how many messages there are and how large they are together."""
    return Size(*(connection.execute(COUNT_KEPT, chosen._asdict()).fetchone() or (0, 0)))


def groups(connection: psycopg.Connection[TupleRow], chosen: Choice) -> list[Group]:
    """Return how full the groups are."""
    return [Group(*row) for row in connection.execute(SELECT_GROUPS, chosen._asdict())]


def payload_of(connection: psycopg.Connection[TupleRow], number: int) -> bytes:
    """Return the bytes of a message as they came; raise :class:`UsageError` if there is none of that number."""
    row = connection.execute(SELECT_PAYLOAD, [number]).fetchone()
    if row is None:
        raise _none_of([number])
    return bytes(row[0])


def forget(connection: psycopg.Connection[TupleRow], numbers: Sequence[int]) -> None:
    """Delete messages, all or none; raise :class:`UsageError` if one is not there."""
    connection.execute(LOCK_GROUPS_OF, [list(numbers)])
    gone = {number for (number,) in connection.execute(DELETE_KEPT, [list(numbers)])}
    missing = sorted(set(numbers) - gone)
    if missing:
        connection.rollback()
        raise _none_of(missing)
    connection.commit()


def forget_all(connection: psycopg.Connection[TupleRow], chosen: Choice) -> int:
    """Delete all messages that are ``chosen``; return how many there were."""
    connection.execute(LOCK_ALL_GROUPS)
    gone = connection.execute(DELETE_CHOSEN, chosen._asdict()).rowcount
    connection.commit()
    return gone


def clear_given_up(connection: psycopg.Connection[TupleRow], chosen: Choice) -> int:
    """Begin to count anew what is given up; return of how many groups something was."""
    cleared = connection.execute(CLEAR_GIVEN_UP, chosen._asdict()).rowcount
    connection.commit()
    return cleared


def _none_of(numbers: Sequence[int]) -> UsageError:
    shown = ", ".join(map(str, numbers))
    return UsageError(f"no message {shown} in the quarantine; `congto ingest quarantine` lists their numbers")
