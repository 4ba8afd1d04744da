"""Subscribing to the gateways of one part as the registry has them, from its beginning and whenever it changes."""

import asyncio
from collections.abc import Callable, Sequence

import psycopg
from psycopg.rows import TupleRow

from ingest_server.database.connection import connect, connection_options, one_line
from ingest_server.database.readings import SELECT_GATEWAYS, gateways
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.back_off import back_off_s
from ingest_server.pipeline.partition import Partition
from ingest_server.pipeline.registered import LISTEN

FOLLOW_S = 60.0  # the registry is asked again at least that often, whatever was missed


def first_filters(dsn: str, partition: Partition) -> list[str]:
    """Return the filters that the registry gives now."""
    if partition.whole:
        return partition.filters(())
    with connect(dsn) as connection:
        return partition.filters(gateways(connection))


async def follow(dsn: str, partition: Partition, subscribe: Callable[[Sequence[str]], None]) -> None:
    """Tell ``subscribe`` all filters again and again, for ever; nothing is to be followed if there is but one part."""
    failures = 0
    while not partition.whole:
        try:
            connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **connection_options(dsn))
            async with connection:
                await connection.execute(LISTEN)
                while True:
                    subscribe(partition.filters(await _gateways(connection)))
                    failures = 0
                    async for _ in connection.notifies(timeout=FOLLOW_S, stop_after=1):
                        pass
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if failures == 0:
                LOG.warning(fact("registry.lost", reason=one_line(error)))
            failures += 1
            await asyncio.sleep(back_off_s(failures))


async def _gateways(connection: psycopg.AsyncConnection[TupleRow]) -> list[str]:
    return [gateway for (gateway,) in await (await connection.execute(SELECT_GATEWAYS)).fetchall()]
