"""The staged path: rows of which some may be stored already.

They are put into a temporary table, joined with what is stored, and compared here by NumPy; what is new then goes by
COPY straight into the hypertable, in the order of its key. That is faster than an INSERT that looks at each row
(measured: docs/decisions/0010), but fails if another process stores one of the rows between the look and the COPY. So
there is a second way, by ON CONFLICT DO NOTHING, for when that has happened.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import TupleRow

from ingest_server.database.copy import HEADER, TRAILER, decode_pairs, encode_readings
from ingest_server.pipeline.admission import Admission, Rows
from ingest_server.pipeline.compare import Staged, compare, order

Cursor = psycopg.AsyncCursor[TupleRow]

CREATE_STAGED = """
    create temp table if not exists staged_reading (
        message     integer     not null,    -- the place of its message in the transaction, or of the row
        channel_id  integer     not null,
        measured_at timestamptz not null,
        value       bigint      not null,
        quality     smallint    not null
    ) on commit delete rows
"""
COPY_READINGS = "copy reading (channel_id, measured_at, value, quality) from stdin (format binary)"
COPY_STAGED = "copy staged_reading (message, channel_id, measured_at, value, quality) from stdin (format binary)"
CLEAR_STAGED = "truncate staged_reading"
# The bounds on the time let the planner leave out the other chunks.
COPY_FOUND = """
    copy (
        select s.message, r.value
        from staged_reading s
        join reading r using (channel_id, measured_at)
        where r.measured_at between {first} and {last}
    ) to stdout (format binary)
"""
INSERT_STAGED = """
    insert into reading (channel_id, measured_at, value, quality)
    select channel_id, measured_at, value, quality
    from staged_reading
    order by channel_id, measured_at, message
    on conflict do nothing
"""
INSERT_CONFLICTS = """
    insert into reading_conflict (channel_id, measured_at, value, quality, gateway_id, generation, sequence)
    select s.channel_id, s.measured_at, s.value, s.quality, m.gateway_id, m.generation, m.sequence
    from staged_reading s
    join unnest(%(gateways)s::text[], %(generations)s::text[], %(sequences)s::bigint[])
        with ordinality as m (gateway_id, generation, sequence, message) on m.message = s.message
    order by s.channel_id, s.measured_at, s.value, s.message
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a transaction did: rows new, there already with the same value, and there already with another value.

    ``given_up`` counts messages for which the quarantine had no room.
    """

    new: int = 0
    duplicate: int = 0
    conflict: int = 0
    given_up: int = 0


Parts = Sequence[tuple[Admission, int]]
Storing = Callable[[Cursor, Parts], Awaitable[Stored]]


async def copy_readings(cursor: Cursor, parts: Sequence[Rows]) -> None:
    """Send all rows at once into the hypertable: a write costs as much as some hundred rows."""
    if parts:
        rows = Rows.together(parts)
        await _copy(cursor, COPY_READINGS, encode_readings(rows.channel_id, rows.at_ms, rows.value, rows.quality))


async def store_compared(cursor: Cursor, parts: Parts) -> Stored:
    """Store what is not there yet, and what says another value than is there as conflicts.

    Raises :class:`psycopg.errors.UniqueViolation` if somebody else stores one of the rows meanwhile.
    """
    if not parts:
        return Stored()
    staged = order([(admission.rows, number) for admission, number in parts])
    compared = compare(staged, *await _find(cursor, staged.rows))
    if len(compared.new):
        await copy_readings(cursor, [compared.new.rows])
    kept = await _keep_conflicts(cursor, compared.conflicts, parts) if len(compared.conflicts) else 0
    seen_before = len(compared.conflicts) - kept
    return Stored(len(compared.new), compared.duplicates + seen_before, kept)


async def store_carefully(cursor: Cursor, parts: Parts) -> Stored:
    """Do the same, row by row and whoever else stores the same rows at the same time."""
    if not parts:
        return Stored()
    staged = order([(admission.rows, number) for admission, number in parts])
    await _stage(cursor, staged.message, staged.rows)
    await cursor.execute(INSERT_STAGED)
    new = cursor.rowcount
    await cursor.execute(CLEAR_STAGED)
    place, value = await _find(cursor, staged.rows)
    conflicts = compare(staged, place, value).conflicts
    kept = await _keep_conflicts(cursor, conflicts, parts) if len(conflicts) else 0
    return Stored(new, len(staged) - new - kept, kept)


async def find_standing(cursor: Cursor, rows: Rows) -> NDArray[np.bool_]:
    """Return which of ``rows`` are stored with the value that they say."""
    standing = np.zeros(len(rows), bool)
    if len(rows):
        await cursor.execute(CLEAR_STAGED)
        place, value = await _find(cursor, rows)
        standing[place] = rows.value[place] == value
    return standing


def _bounds(rows: Rows) -> dict[str, sql.Composed]:
    """Return the first and the last time of ``rows`` as SQL."""
    bounds = {"first": rows.at_ms.min(), "last": rows.at_ms.max()}
    return {name: sql.SQL("to_timestamp({} / 1000.0)").format(sql.Literal(int(each))) for name, each in bounds.items()}


async def _find(cursor: Cursor, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the rows that are stored, and the values that stand there."""
    await _stage(cursor, np.arange(len(rows), dtype=np.int32), rows)
    data = bytearray()
    async with cursor.copy(sql.SQL(COPY_FOUND).format(**_bounds(rows))) as copy:
        async for piece in copy:
            data += piece
    return decode_pairs(bytes(data))


async def _keep_conflicts(cursor: Cursor, conflicts: Staged, parts: Parts) -> int:
    """Return how many of ``conflicts`` were not kept before."""
    await cursor.execute(CLEAR_STAGED)
    await _stage(cursor, conflicts.message, conflicts.rows)
    last = max(number for _, number in parts)
    headers = {number: admission.header for admission, number in parts}
    numbered = [headers.get(number) for number in range(1, last + 1)]
    await cursor.execute(
        INSERT_CONFLICTS,
        {
            "gateways": [header and header.gateway for header in numbered],
            "generations": [header and header.generation for header in numbered],
            "sequences": [header and header.sequence for header in numbered],
        },
    )
    return cursor.rowcount


async def _stage(cursor: Cursor, message: NDArray[np.int32], rows: Rows) -> None:
    data = encode_readings(rows.channel_id, rows.at_ms, rows.value, rows.quality, message)
    await _copy(cursor, COPY_STAGED, data)


async def _copy(cursor: Cursor, statement: str, data: bytes) -> None:
    async with cursor.copy(statement.encode()) as copy:
        await copy.write(HEADER + data + TRAILER)
