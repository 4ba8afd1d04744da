"""One transaction: readings, conflicts, quarantine, sequences and statuses of many messages, all or nothing.

The fast path is a COPY straight into the hypertable. It is for batches that were never seen before; if a row is there
all the same, the whole transaction is done again by the staged path (:mod:`.suspects`), which compares each row with
what is stored; and if somebody else stores one of them meanwhile, by a third that can't fail so. A wrong guess costs
time and never a reading.
"""

import json
from hashlib import sha256
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.connection import SET_UTC, connection_options
from ingest_server.database.edition import CHECK_READABLE
from ingest_server.database.quarantine import LOCK_GROUPS_OF
from ingest_server.pipeline.bundle import Bundle, Flags, GatewayEvent, GatewayStatus
from ingest_server.pipeline.flags import store_flags
from ingest_server.pipeline.given_up import forget, multirange, note
from ingest_server.pipeline.quarantine import UNLIMITED, Limits, keep
from ingest_server.pipeline.suspects import (
    CREATE_STAGED,
    Stored,
    Storing,
    copy_readings,
    find_standing,
    store_carefully,
    store_compared,
)
from protocols.telemetry.loss import Loss
from protocols.telemetry.receipt import State
from protocols.telemetry.sequences import Ranges, join_ranges

Connection = psycopg.AsyncConnection[TupleRow]

DELETE_QUARANTINED = "delete from quarantine where quarantine_id = %s"
# Ordered, so that two processes that meet the same gateways wait for each other instead of locking each other out.
UPSERT_SEQUENCES = """
    insert into gateway_sequence (gateway_id, generation, received, lost, events)
    select gateway_id, generation, received, lost, events
    from unnest(%s::text[], %s::text[], %s::int8multirange[], %s::int8multirange[], %s::int8multirange[])
        as s (gateway_id, generation, received, lost, events)
    join gateway using (gateway_id)
    order by gateway_id, generation
    on conflict (gateway_id, generation) do update
    set received = gateway_sequence.received + excluded.received, lost = gateway_sequence.lost + excluded.lost,
        events = gateway_sequence.events + excluded.events, updated_at = now()
"""
INSERT_LOSSES = """
    insert into gateway_loss (gateway_id, generation, fingerprint, sequences, reason, readings, first_at, last_at)
    select gateway_id, generation, fingerprint, sequences, reason, readings, to_timestamp(first_ms / 1000.0),
        to_timestamp(last_ms / 1000.0)
    from unnest(%s::text[], %s::text[], %s::bytea[], %s::int8multirange[], %s::text[], %s::bigint[], %s::bigint[],
        %s::bigint[]) as l (gateway_id, generation, fingerprint, sequences, reason, readings, first_ms, last_ms)
    join gateway using (gateway_id)
    order by gateway_id, generation, fingerprint
    on conflict do nothing
"""
UPSERT_CLOCKS = """
    insert into meter_clock (meter_id, ahead_ms, told_at)
    select meter_id, ahead_ms, to_timestamp(told_at_ms / 1000.0)
    from unnest(%s::text[], %s::bigint[], %s::bigint[]) as c (meter_id, ahead_ms, told_at_ms)
    order by meter_id
    on conflict (meter_id) do update set ahead_ms = excluded.ahead_ms, told_at = excluded.told_at
    where meter_clock.told_at < excluded.told_at
"""
# All that this transaction changes, in order and before the first is changed; not the key, for which other rows look.
LOCK_GATEWAYS = "select from gateway where gateway_id = any(%s) order by gateway_id for no key update"
UPDATE_CONTACT = "update gateway set last_contact_at = now() where gateway_id = any(%s)"
INSERT_EVENTS = """
    insert into meter_event (meter_id, happened_at, fingerprint, kind, object, code, value, text, body, gateway_id)
    select meter_id, to_timestamp(at_ms / 1000.0), fingerprint, kind, object, code, value, text, body, gateway_id
    from unnest(%s::text[], %s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[],
        %s::bytea[], %s::text[])
        as e (meter_id, at_ms, fingerprint, kind, object, code, value, text, body, gateway_id)
    order by meter_id, at_ms, fingerprint
    on conflict do nothing
"""
UPSERT_IMPORT = """
    insert into bulk_import (file_sha256, name, rows) values (%s, %s, %s)
    on conflict (file_sha256) do update set rows = greatest(bulk_import.rows, excluded.rows), updated_at = now()
"""
# Of two transactions side by side the one with the older status may come later: it does not take the newer one's place.
# A time that is still to come is of a clock that was set back.
UPDATE_STATUS = """
    update gateway set state = %(state)s, status = %(status)s, status_arrived_at = to_timestamp(%(arrived_us)s / 1e6),
        last_contact_at = case when %(contact)s then now() else last_contact_at end,
        clock_ahead_ms = coalesce(%(clock_ahead_ms)s, clock_ahead_ms),
        clock_told_at = case when %(clock_ahead_ms)s::bigint is null then clock_told_at else now() end
    where gateway_id = %(gateway)s
        and (status_arrived_at > to_timestamp(%(arrived_us)s / 1e6)
            and status_arrived_at <= clock_timestamp()) is not true
"""


async def open_connection(dsn: str) -> Connection:
    """Return a session for :func:`store`: in UTC, each statement on its own outside a transaction."""
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **connection_options(dsn))
    await connection.execute(SET_UTC)
    await connection.execute(CHECK_READABLE)
    await connection.execute(CREATE_STAGED)
    return connection


async def store(connection: Connection, bundle: Bundle, limits: Limits | None = None) -> Stored:
    """Store ``bundle`` and commit; raise :class:`psycopg.Error` with nothing stored, or with all stored and unknown.

    ``limits`` are those of the quarantine. What is readmitted and lies there already only becomes less.
    """
    limits = UNLIMITED if bundle.readmitted is not None else limits or Limits()
    everything = frozenset(range(len(bundle.admissions)))
    for suspect in (bundle.suspects, everything):
        try:
            return await _store(connection, bundle, suspect, store_compared, limits)
        except psycopg.errors.UniqueViolation:
            pass  # somebody was faster
    return await _store(connection, bundle, everything, store_carefully, limits)


async def _store(
    connection: Connection, bundle: Bundle, suspect: frozenset[int], store_suspects: Storing, limits: Limits
) -> Stored:
    async with connection.transaction(), connection.cursor() as cursor:
        fast = [each for number, each in enumerate(bundle.admissions) if number not in suspect and len(each.rows)]
        await copy_readings(cursor, [each.rows for each in fast])
        new = sum(len(each.rows) for each in fast)
        staged = [(bundle.admissions[number], number + 1) for number in sorted(suspect)]
        stored = await store_suspects(cursor, [(each, number) for each, number in staged if len(each.rows)])
        if bundle.readmitted is not None:
            await cursor.execute(LOCK_GROUPS_OF, [[bundle.readmitted]])
            await cursor.execute(DELETE_QUARANTINED, [bundle.readmitted])
        given_up = await keep(cursor, bundle.rejected, limits)
        if bundle.readmitted is None and bundle.imported is None:
            await forget(cursor, _come_again(bundle))
            await note(cursor, given_up.rejected)
        if bundle.events:
            rows_of_events = map(_event_row, bundle.events)
            await cursor.execute(INSERT_EVENTS, [list(column) for column in zip(*rows_of_events, strict=True)])
        if bundle.imported is None:
            await _advance(cursor, bundle)
        else:
            await cursor.execute(UPSERT_IMPORT, bundle.imported)
        if bundle.losses:
            rows_of_losses = map(_loss_row, bundle.losses)
            await cursor.execute(INSERT_LOSSES, [list(column) for column in zip(*rows_of_losses, strict=True)])
        if bundle.clocks:
            await cursor.execute(UPSERT_CLOCKS, [list(column) for column in zip(*bundle.clocks, strict=True)])
        if bundle.flags:
            await _keep_flags(cursor, bundle.flags, all_stand=not suspect)
        for each in sorted(bundle.statuses, key=lambda each: each.status.gateway):
            await cursor.execute(UPDATE_STATUS, _status_row(each))
    return Stored(new + stored.new, stored.duplicate, stored.conflict, given_up.messages)


def _come_again(bundle: Bundle) -> dict[tuple[str, str], tuple[Ranges, Ranges]]:
    """Return what ``bundle`` settles, unless it is batches alone that were never seen before."""
    seen = bundle.suspects or bundle.losses or bundle.told or any(each.header for each in bundle.rejected)
    return bundle.settled() if seen else {}


async def _keep_flags(cursor: psycopg.AsyncCursor[TupleRow], flags: Flags, *, all_stand: bool) -> None:
    """Keep the flags of the readings that stand: one that came with a conflicting value has none."""
    standing = np.ones(len(flags.rows), bool) if all_stand else await find_standing(cursor, flags.rows)
    await store_flags(cursor, flags.rows.chosen(standing), flags.number[standing], flags.texts)


async def _advance(cursor: psycopg.AsyncCursor[TupleRow], bundle: Bundle) -> None:
    """Note which batches are now in the database or the quarantine, and that their gateways were heard."""
    received, lost, events = bundle.batches(), bundle.lost(), bundle.event_messages()
    spools = dict.fromkeys((*received, *lost, *events))
    if spools:
        rows = [(*spool, *(multirange(found.get(spool, ())) for found in (received, lost, events))) for spool in spools]
        await cursor.execute(UPSERT_SEQUENCES, [list(column) for column in zip(*rows, strict=True)])
    heard = sorted({gateway for gateway, _ in spools})
    touched = sorted({*heard, *(each.status.gateway for each in bundle.statuses)})
    if touched:
        await cursor.execute(LOCK_GATEWAYS, [touched])
    if heard:
        await cursor.execute(UPDATE_CONTACT, [heard])


def _event_row(each: GatewayEvent) -> tuple[Any, ...]:
    event = each.event
    said = (event.kind.value, event.object, event.code, event.value, event.text)
    fingerprint = sha256(repr((event.meter, event.at_ms, *said, event.body)).encode()).digest()
    return (event.meter, event.at_ms, fingerprint, *said, event.body, each.gateway)


def _loss_row(loss: Loss) -> tuple[Any, ...]:
    sequences = multirange(join_ranges(loss.sequences))
    known = (loss.readings, loss.from_ms, loss.to_ms)
    fingerprint = sha256(loss.encode()).digest()
    return (loss.gateway, loss.generation, fingerprint, sequences, loss.reason.value, *known)


def _status_row(each: GatewayStatus) -> dict[str, Any]:
    status = each.status
    shown = {
        "at": status.at_ms,
        "generation": status.generation,
        "spooled": status.spooled,
        "taken": status.taken,
        "version": status.version,
        "days": [[each.on.isoformat(), each.readings, f"{each.digest:016x}"] for each in status.days],
    }
    return {
        "gateway": status.gateway,
        "state": status.state.value,
        "status": json.dumps(shown),
        "contact": not each.retained and status.state is State.ONLINE,
        "clock_ahead_ms": each.clock_ahead_ms,
        "arrived_us": each.arrived_us,
    }
