"""Which batches the quarantine gave up, so that their gateways can be asked for them once they can be taken or kept.

A gateway keeps what was receipted for some days. What of it was given up here is noted by spool, as ranges of
sequences; it is forgotten when it comes again or is declared lost, and noted again should it be given up again. Of
gateways that are not registered nothing is noted: they are asked for all that they keep as soon as they are.
"""

from collections.abc import Iterable, Mapping, Sequence

import psycopg
from psycopg.rows import TupleRow

from ingest_server.pipeline.message import Rejected
from protocols.telemetry.sequences import RANGES_MAX, Ranges, join_ranges

Cursor = psycopg.AsyncCursor[TupleRow]
Spool = tuple[str, str]  # gateway, generation

NOTED_MAX = 10_000  # spools and kinds; beyond it, and beyond the ranges of one request, they are counted only

FORGET = """
    with wanted as (
        select q.gateway_id, q.kind, q.generation, s.sequences, s.events
        from quarantine_given_up q
        join unnest(%s::text[], %s::text[], %s::int8multirange[], %s::int8multirange[])
            as s (gateway_id, generation, sequences, events) using (gateway_id, generation)
        where q.sequences && s.sequences or q.events && s.events
        order by q.gateway_id, q.kind, q.generation
        for update of q
    )
    update quarantine_given_up q set sequences = q.sequences - w.sequences, events = q.events - w.events
    from wanted w
    where (q.gateway_id, q.kind, q.generation) = (w.gateway_id, w.kind, w.generation)
"""
DELETE_EMPTY = """
    delete from quarantine_given_up where isempty(sequences) and isempty(events) and gateway_id = any(%s)
"""
NOTE = """
    insert into quarantine_given_up (gateway_id, kind, generation, sequences, events, channels)
    select gateway_id, kind, generation, sequences, events, gateway_channels(gateway_id)
    from unnest(%(gateway)s::text[], %(kind)s::text[], %(generation)s::text[], %(sequences)s::int8multirange[],
        %(events)s::int8multirange[]) as s (gateway_id, kind, generation, sequences, events)
    join gateway using (gateway_id)
    where (select count(*) from quarantine_given_up) < %(noted_max)s
        or (gateway_id, kind, generation) in (select gateway_id, kind, generation from quarantine_given_up)
    order by gateway_id, kind, generation
    on conflict (gateway_id, kind, generation) do update
    set sequences = quarantine_given_up.sequences + excluded.sequences,
        events = quarantine_given_up.events + excluded.events, channels = excluded.channels, cured = false,
        last_at = now()
    where (select count(*) from unnest(quarantine_given_up.sequences + excluded.sequences)) < %(ranges_max)s
        and (select count(*) from unnest(quarantine_given_up.events + excluded.events)) < %(ranges_max)s
"""


def multirange(pairs: Iterable[tuple[int, int]]) -> str:
    """Return closed ranges as PostgreSQL writes them."""
    return "{" + ",".join(f"[{first},{last}]" for first, last in pairs) + "}"


async def forget(cursor: Cursor, came: Mapping[Spool, tuple[Ranges, Ranges]]) -> None:
    """Forget batches and messages of events that came again, or never will."""
    if came:
        rows = [(*spool, multirange(batches), multirange(events)) for spool, (batches, events) in came.items()]
        await cursor.execute(FORGET, [list(column) for column in zip(*rows, strict=True)])
        if cursor.rowcount:
            await cursor.execute(DELETE_EMPTY, [[gateway for gateway, _ in came]])


async def note(cursor: Cursor, given_up: Sequence[Rejected]) -> None:
    """Note whose batches, and whose messages of events, were given up; what names none can't be asked for."""
    found: dict[tuple[str, str, str], tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    for each in given_up:
        for place, header in enumerate((each.header, each.told)):
            if header is not None:
                spool = (header.gateway, each.kind.value, header.generation)
                found.setdefault(spool, ([], []))[place].extend(header.settles)
    if not found:
        return
    rows = [(*spool, *(multirange(join_ranges(each)) for each in ranges)) for spool, ranges in found.items()]
    columns = zip(("gateway", "kind", "generation", "sequences", "events"), zip(*rows, strict=True), strict=True)
    given = {name: list(column) for name, column in columns}
    await cursor.execute(NOTE, {**given, "noted_max": NOTED_MAX, "ranges_max": RANGES_MAX})
