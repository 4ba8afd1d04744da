"""Asking gateways to send again what is missing: gaps that stay, and everything after a database was restored.

A gateway sends by itself what has no receipt. What it can't know is that a receipt no longer holds, because the
database is an older one than it was: then its next batch leaves a gap, or ``congto ingest restore`` has noted a
watermark; or that a batch was refused, could not even be kept, and now can be (:mod:`.given_up`). One request a spool
goes out at a time, again after ever longer; what comes is stored as anything else is. A gateway answers with the
batches or declares them lost, and either ends it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.connection import connection_options, one_line
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.back_off import back_off_s
from ingest_server.pipeline.quarantine import Limits
from ingest_server.pipeline.registered import LISTEN
from protocols.telemetry.resend import Resend
from protocols.telemetry.sequences import RANGES_MAX, SEQUENCE_MAX, Ranges, join_ranges
from protocols.telemetry.topics import Kind, Topic

TIMES_MAX = 15  # the waits double up to a day: over a week in all, and then a person must look
# Asked while it is away, a gateway may never hear of it: its session at the broker lasts a day. So not more often than
# this counts, which is once in 21 hours, and the rest is kept for when it is back.
TIMES_AWAY_MAX = 8
REQUESTS_A_TURN_MAX = 200
CHANGE_S = 60.0  # for so long after the registry has changed something is noted that was refused before

Publish = Callable[[str, bytes], Awaitable[bool]]

NOTE_GAPS = """
    insert into resend_request (gateway_id, generation)
    select gateway_id, generation from gateway_sequence_gap
    union
    select gateway_id, generation from gateway_event_gap
    on conflict do nothing
"""
# A spool that a gateway says it has and of which nothing has come: the database is older than the spool.
NOTE_UNKNOWN_SPOOLS = """
    insert into resend_request (gateway_id, generation, watermark)
    select gateway_id, status ->> 'generation', 0
    from gateway
    where state = 'online' and (status ->> 'taken')::bigint > 0
        and (gateway_id, status ->> 'generation') not in (select gateway_id, generation from gateway_sequence)
    on conflict do nothing
"""
# Other channels are registered than were then. It counts all channels of these gateways: not to be asked at each look.
# What was refused before the registry changed may be noted after it: of so long as ``look_back`` all is asked for.
NOTE_CURES = """
    update quarantine_given_up set cured = true
    where not cured and (channels <> gateway_channels(gateway_id) or last_at > now() - %(look_back)s)
"""
# It can be taken now, or there is room for half as much as is kept at the most.
GIVEN_UP_DUE = """
    select gateway_id, generation, sequences, events
    from quarantine_given_up q
    join quarantine_group g using (gateway_id, kind)
    where q.cured
        or (g.octets * 2 <= %(group_octets)s
            and (select sum(octets) from quarantine_group) * 2 <= %(total_octets)s)
"""
NOTE_GIVEN_UP = f"""
    insert into resend_request (gateway_id, generation)
    select distinct gateway_id, generation from ({GIVEN_UP_DUE}) due
    on conflict do nothing
"""  # noqa: S608  # the constant above
# What comes above it before it was asked for may have been sent again by itself, and tells nothing of the end of a
# spool that has ended. One of which nothing was known (0) is running.
FORGET_WATERMARKS = """
    update resend_request r set watermark = null
    from gateway_sequence s
    where s.gateway_id = r.gateway_id and s.generation = r.generation and (r.times > 0 or r.watermark = 0)
        and greatest(upper(received), upper(lost)) - 1 > r.watermark
"""
DELETE_SETTLED = f"""
    delete from resend_request
    where watermark is null
        and (gateway_id, generation) not in (select gateway_id, generation from ({GIVEN_UP_DUE}) due)
        and (gateway_id, generation) not in (select gateway_id, generation from gateway_sequence_gap)
        and (gateway_id, generation) not in (select gateway_id, generation from gateway_event_gap)
"""  # noqa: S608  # the constant above
# Whoever updates the row asks; another process then finds it asked.
PICK = """
    update resend_request r set asked_at = now(),
        times = case when due.is_away then greatest(r.times, least(r.times + 1, %(times_away_max)s))
            else r.times + 1 end
    from (
        select gateway_id, generation, state = 'offline' as is_away
        from resend_request join gateway using (gateway_id)
        where times < %(times_max)s and case when asked_at is null then seen_at < now() - %(after)s
            else asked_at < now() - least(%(after)s * 2 ^ times, interval '1 day') end
        order by seen_at, gateway_id, generation
        limit %(requests_max)s
        for update of resend_request skip locked
    ) due
    where (r.gateway_id, r.generation) = (due.gateway_id, due.generation)
    returning r.gateway_id, r.generation, r.watermark, r.times
"""
SELECT_GAPS = """
    select first, last from gateway_sequence_gap where (gateway_id, generation) = (%s, %s) order by first limit %s
"""
SELECT_EVENT_GAPS = """
    select first, last from gateway_event_gap where (gateway_id, generation) = (%s, %s) order by first limit %s
"""
SELECT_GIVEN_UP = f"""
    select kind, lower(span), upper(span) - 1
    from (
        select 'batch' as kind, unnest(sequences) as span, gateway_id, generation from ({GIVEN_UP_DUE}) b
        union all
        select 'event', unnest(events), gateway_id, generation from ({GIVEN_UP_DUE}) e
    ) due
    where (gateway_id, generation) = (%(gateway)s, %(generation)s)
    order by 2
"""  # noqa: S608  # the constant above
SELECT_EVENT_WATERMARK = """
    select coalesce(max(upper(events) - 1), 0) from gateway_sequence where (gateway_id, generation) = (%s, %s)
"""


async def ask(dsn: str, publish: Publish, limits: Limits, after_s: float, every_s: float) -> None:
    """Ask for what is missing for longer than ``after_s``, for ever; look each ``every_s``.

    ``limits`` are those of the quarantine, which say whether there is room.
    """
    failures = 0
    changed = asyncio.Event()
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **connection_options(dsn))
            async with connection:
                look_back_s: float | None = 0.0  # the registry may have changed while nobody looked
                until_s = 0.0
                connection.add_notify_handler(lambda _: changed.set())
                await connection.execute(LISTEN)
                while True:
                    if changed.is_set():
                        changed.clear()
                        look_back_s, until_s = CHANGE_S, time.monotonic() + CHANGE_S
                    await ask_once(connection, publish, limits, after_s, look_back_s=look_back_s)
                    failures = 0
                    look_back_s = look_back_s if time.monotonic() < until_s else None
                    await asyncio.sleep(every_s)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            failures += 1
            LOG.debug(fact("resend.not_looked", reason=one_line(error)))  # the pipeline says that the database is lost
            await asyncio.sleep(back_off_s(failures))


async def ask_once(
    connection: psycopg.AsyncConnection[TupleRow],
    publish: Publish,
    limits: Limits,
    after_s: float,
    *,
    look_back_s: float | None = 0.0,
) -> int:
    """Ask each spool that is due; return how many were asked.

    Whether what was given up could be taken now is looked at unless ``look_back_s`` is ``None``; of what was given up
    within ``look_back_s`` it is believed.
    """
    if look_back_s is not None:
        await connection.execute(NOTE_CURES, {"look_back": timedelta(seconds=look_back_s)})
    room = {"group_octets": limits.group_octets, "total_octets": limits.total_octets}
    for statement in (NOTE_GAPS, NOTE_UNKNOWN_SPOOLS, NOTE_GIVEN_UP, FORGET_WATERMARKS, DELETE_SETTLED):
        await connection.execute(statement.encode(), room)
    given = {
        "times_max": TIMES_MAX,
        "times_away_max": TIMES_AWAY_MAX,
        "after": timedelta(seconds=after_s),
        "requests_max": REQUESTS_A_TURN_MAX,
    }
    due = await (await connection.execute(PICK, given)).fetchall()
    for gateway, generation, watermark, times in due:
        spool = (gateway, generation)
        sequences = await _ranges(connection, SELECT_GAPS, spool)
        events = await _ranges(connection, SELECT_EVENT_GAPS, spool)
        cursor = await connection.execute(
            SELECT_GIVEN_UP.encode(), {**room, "gateway": gateway, "generation": generation}
        )
        for kind, first, last in await cursor.fetchall():
            if kind == "batch":
                sequences += ((first, last),)
            else:
                events += ((first, last),)
        sequences, events = (join_ranges(each)[: RANGES_MAX - 1] for each in (sequences, events))
        if watermark is not None:
            sequences += ((watermark + 1, SEQUENCE_MAX),)
            (last,) = await (await connection.execute(SELECT_EVENT_WATERMARK, spool)).fetchone() or (0,)
            events += ((last + 1, SEQUENCE_MAX),)
        sent = await publish(
            str(Topic(gateway, Kind.RECEIPTS)), Resend(gateway, generation, sequences, events).encode()
        )
        LOG.warning(fact("resend.asked", gateway=gateway, generation=generation, times=times, sent=sent))
        if times >= TIMES_MAX:
            LOG.error(fact("resend.unanswered", gateway=gateway, generation=generation, times=times))
    return len(due)


async def _ranges(connection: psycopg.AsyncConnection[TupleRow], statement: str, spool: tuple[str, str]) -> Ranges:
    cursor = await connection.execute(statement.encode(), [*spool, RANGES_MAX - 1])
    return tuple((first, last) for first, last in await cursor.fetchall())
