"""What a file says of its readings' quality beyond our flags: kept by stretch, for it is said of hours and days.

A stretch is a run of readings of one channel, one flag and one step within one UTC day. It holds readings that stand,
each of them, so nothing that comes later can lie between them and be taken for a part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import TupleRow

from ingest_server.pipeline.admission import Rows

Cursor = psycopg.AsyncCursor[TupleRow]
DAY_MS = 86_400_000

SELECT_COVERING = """
    select channel_id, (extract(epoch from first_at) * 1000)::bigint, (extract(epoch from last_at) * 1000)::bigint,
        coalesce(step_ms, 0)
    from reading_flag
    where channel_id = any(%(channels)s)
        and last_at >= to_timestamp(%(first_ms)s / 1000.0) and first_at <= to_timestamp(%(last_ms)s / 1000.0)
    order by 1, 2
"""
INSERT_FLAGS = """
    insert into reading_flag (channel_id, first_at, last_at, step_ms, flag)
    select channel_id, to_timestamp(first_ms / 1000.0), to_timestamp(last_ms / 1000.0), nullif(step_ms, 0),
        (%(texts)s::text[])[number]
    from unnest(%(channel_id)s::integer[], %(first_ms)s::bigint[], %(last_ms)s::bigint[], %(step_ms)s::bigint[],
        %(number)s::integer[]) as s (channel_id, first_ms, last_ms, step_ms, number)
    order by channel_id, first_ms
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches as columns; ``step_ms`` is 0 for one of a single reading, ``number`` that of its text."""

    channel_id: NDArray[np.int32]
    first_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    step_ms: NDArray[np.int64]
    number: NDArray[np.int32]


def find_stretches(rows: Rows, number: NDArray[np.int32]) -> Stretches:
    """Return stretches that hold ``rows``, no two with one key, each in one, and nothing else."""
    order = np.lexsort((rows.at_ms, rows.channel_id))
    channel_id, at_ms, number = rows.channel_id[order], rows.at_ms[order], number[order]
    step_ms = np.diff(at_ms)
    goes_on = (np.diff(channel_id) == 0) & (np.diff(number) == 0) & (np.diff(at_ms // DAY_MS) == 0)
    # Within a run each step is as the one before; the first one may be any.
    goes_on[1:] &= ~goes_on[:-1] | (step_ms[1:] == step_ms[:-1])
    (begins,) = np.nonzero(np.concatenate(([True], ~goes_on)))
    ends = np.append(begins[1:], len(at_ms)) - 1
    steps = np.where(ends > begins, at_ms[np.minimum(begins + 1, len(at_ms) - 1)] - at_ms[begins], 0)
    return Stretches(channel_id[begins], at_ms[begins], at_ms[ends], steps, number[begins])


def find_covered(rows: Rows, stretches: Sequence[tuple[int, int, int, int]]) -> NDArray[np.bool_]:
    """Return which of ``rows`` lie in one of ``stretches``: channel, first, last, step. [ms]"""
    covered = np.zeros(len(rows), bool)
    order = np.lexsort((rows.at_ms, rows.channel_id))
    channel_id, at_ms = rows.channel_id[order], rows.at_ms[order]
    for channel, first_ms, last_ms, step_ms in stretches:
        begin, end = np.searchsorted(channel_id, (channel, channel + 1)).tolist()
        times = at_ms[begin:end]
        inside = (times >= first_ms) & (times <= last_ms) & ((times - first_ms) % (step_ms or DAY_MS) == 0)
        covered[order[begin:end]] |= inside
    return covered


async def store_flags(cursor: Cursor, rows: Rows, number: NDArray[np.int32], texts: Sequence[str]) -> None:
    """Keep what is said of the quality of ``rows``, which stand: of each the text with its number, from 1.

    What was said of one of them before stands.
    """
    if not len(rows):
        return
    channels = np.unique(rows.channel_id).tolist()
    bounds = {"first_ms": int(rows.at_ms.min()), "last_ms": int(rows.at_ms.max())}
    await cursor.execute(SELECT_COVERING, {"channels": channels, **bounds})
    told = ~find_covered(rows, await cursor.fetchall())
    if not told.any():
        return
    found = find_stretches(rows.chosen(told), number[told])
    columns = ("channel_id", "first_ms", "last_ms", "step_ms", "number")
    await cursor.execute(
        INSERT_FLAGS, {"texts": list(texts), **{each: getattr(found, each).tolist() for each in columns}}
    )
