"""Completeness as it is now, for the metrics: how many readings were expected today and yesterday, and how many came;
and what gateways are asked to send again.

The database counts, as it does for ``congto ingest completeness``; one process of several does it. It looks again after
a minute, and the longer the longer a look takes, so that looking never takes more than a twentieth of one connection.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.completeness import CIVIL_OFFSET
from ingest_server.database.connection import SET_UTC, connection_options, one_line
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.asking import TIMES_MAX
from ingest_server.pipeline.back_off import back_off_s

EVERY_S = 60.0
TIMES_A_LOOK = 20.0
NAMES_MAX = 10_000  # gateways or feeders: each is a line for Prometheus; the least complete are kept
LOOK_S_MAX = 600.0

SELECT_SHARES = """
    select grouping(c.gateway_id, feeder), coalesce(c.gateway_id, feeder, ''), %(today)s - on_day,
        sum(expected)::bigint, sum(found)::bigint
    from reading_completeness(%(today)s - 1, %(today)s, null, %(as_of)s) c
    join meter using (meter_id)
    group by grouping sets ((c.gateway_id, on_day), (feeder, on_day), (on_day))
    order by grouping(c.gateway_id, feeder) = 3 desc, sum(expected) - sum(found) desc, 2
    limit %(most)s
"""
SELECT_REQUESTS = """
    select count(*) filter (where times < %(times_max)s), count(*) filter (where times >= %(times_max)s),
        (select coalesce(sum(upper(span) - lower(span)), 0)::bigint from quarantine_given_up, unnest(sequences) span)
    from resend_request
"""
GROUPINGS = {1: "gateway", 2: "feeder", 3: "all"}  # grouping(): the bits of what was added up
DAYS = ("today", "yesterday")


class Share(NamedTuple):
    """Readings expected and found on one civil day, of one gateway or feeder or of all."""

    by: str  # "gateway", "feeder" or "all"; a feeder without a name: the meters that are on no named one
    name: str
    day: str
    expected: int
    found: int


class Requests(NamedTuple):
    """Spools that are asked to send again, those that were asked so often that they are asked no more, and how many
    batches the quarantine gave up that are to be asked for."""

    asked: int
    unanswered: int
    given_up: int


async def monitor(dsn: str, keep: Callable[[Sequence[Share], Requests], None]) -> None:
    """Give ``keep`` the shares and the requests, for ever; while the database does not answer it keeps what it has."""
    failures = 0
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **connection_options(dsn))
            async with connection:
                await connection.execute(SET_UTC)
                await connection.execute(f"set statement_timeout = '{LOOK_S_MAX:g}s'".encode())
                while True:
                    started = time.monotonic()
                    keep(await shares(connection, datetime.now(UTC)), await requests(connection))
                    failures = 0
                    await asyncio.sleep(pause_s(time.monotonic() - started))
        except psycopg.errors.QueryCanceled:
            LOG.warning(fact("completeness.not_counted", reason=f"it takes longer than {LOOK_S_MAX:g} s"))
            await asyncio.sleep(pause_s(LOOK_S_MAX))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            failures += 1
            LOG.debug(fact("completeness.not_counted", reason=one_line(error)))  # the pipeline says it is lost
            await asyncio.sleep(back_off_s(failures))


def pause_s(took_s: float) -> float:
    """Return how long to wait after a look that took so long."""
    return max(EVERY_S, TIMES_A_LOOK * took_s)


async def requests(connection: psycopg.AsyncConnection[TupleRow]) -> Requests:
    """Return how many spools are asked to send again."""
    row = await (await connection.execute(SELECT_REQUESTS, {"times_max": TIMES_MAX})).fetchone()
    return Requests(*(row or (0, 0, 0)))


async def shares(connection: psycopg.AsyncConnection[TupleRow], now: datetime) -> list[Share]:
    """Return the shares of the civil day of ``now`` and of the day before; the sums are first, then who lacks most."""
    given = {"today": (now + CIVIL_OFFSET).date(), "as_of": now, "most": 4 * NAMES_MAX}
    rows = await (await connection.execute(SELECT_SHARES, given)).fetchall()
    return [
        Share(GROUPINGS[grouping], name, DAYS[ago], expected, found) for grouping, name, ago, expected, found in rows
    ]
