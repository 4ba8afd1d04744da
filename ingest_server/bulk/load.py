"""A file's readings into the database: admitted as a message's are, in chunks that are transactions of their own.

With each chunk goes a note of how many of the file's rows are committed, under the hash of its content: the same
command after a kill goes on there. When the file is done the note goes too, so that it may be imported again, for
instance after meters were registered; what is there already is recognised. A reading with another value than is stored
becomes a conflict and overwrites nothing; it names the file by the first digits of its hash.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import asyncio
import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ingest_server.bulk.loaded import STRANGE_KEPT_MAX, Loaded
from ingest_server.bulk.row import Row
from ingest_server.pipeline.admission import admit
from ingest_server.pipeline.bundle import Bundle, Imported
from ingest_server.pipeline.registered import Registered
from ingest_server.pipeline.store import Connection, open_connection, store
from protocols.telemetry.batch import ROWS_MAX, Batch

CHUNK_ROWS = ROWS_MAX  # what is not admitted of a chunk must fit into one message for the quarantine
GENERATION_DIGITS = 16

SELECT_DONE = "select rows from bulk_import where file_sha256 = %s"
DELETE_DONE = "delete from bulk_import where file_sha256 = %s"
SELECT_GATEWAYS = "select meter_id, gateway_id from meter where meter_id = any(%s)"


def file_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


async def load_rows(
    dsn: str, rows: Iterator[Row], file: Imported, *, now_ms: int, progress: Callable[[int], None]
) -> Loaded:
    """Store ``rows``, all that ``file`` holds; ``progress`` is told how many are done.

    Raises :class:`UsageError` where a row can't be read: what stands before it is then committed or comes again.
    """
    loaded = Loaded()
    async with await open_connection(dsn) as connection:
        found = await (await connection.execute(SELECT_DONE, [file.sha256])).fetchone()
        done = loaded.skipped = found[0] if found else 0
        rows = islice(rows, done, None)
        registered = Registered()
        careful = done > 0
        reading = asyncio.create_task(_read(rows))
        while chunk := await reading:
            reading = asyncio.create_task(_read(rows))  # the next one, while the database stores this one
            done += len(chunk)
            bundle = await _bundle(connection, registered, chunk, file._replace(rows=done), loaded, now_ms=now_ms)
            careful |= any(each.may_collide for each in bundle.admissions)
            if careful:
                bundle = replace(bundle, suspects=frozenset(range(len(bundle.admissions))))
            stored = await store(connection, bundle)
            careful |= bool(stored.duplicate or stored.conflict)  # then the rest is likely to be there as well
            loaded.add(stored.new, stored.duplicate, stored.conflict)
            progress(done)
        await connection.execute(DELETE_DONE, [file.sha256])
    return loaded


async def _read(rows: Iterator[Row]) -> list[Row]:
    return await asyncio.to_thread(lambda: list(islice(rows, CHUNK_ROWS)))


async def _bundle(
    connection: Connection, registered: Registered, chunk: list[Row], imported: Imported, loaded: Loaded, *, now_ms: int
) -> Bundle:
    """Return what to store of ``chunk``: one admission a gateway."""
    meters = sorted({row.reading.meter for row in chunk})
    gateway_of: dict[str, str] = dict(await (await connection.execute(SELECT_GATEWAYS, [meters])).fetchall())
    by_gateway: dict[str, list[Row]] = {}
    for row in chunk:
        gateway = gateway_of.get(row.reading.meter)
        if gateway is None:
            loaded.left_out += 1
            if row.reading.meter not in loaded.strange and len(loaded.strange) < STRANGE_KEPT_MAX:
                loaded.strange.append(row.reading.meter)
        else:
            by_gateway.setdefault(gateway, []).append(row)
    await registered.load(connection, by_gateway.keys())
    generation, sequence = imported.sha256.hex()[:GENERATION_DIGITS], imported.rows
    admissions = [
        admit(_batch(gateway, generation, sequence, rows), registered.channels(gateway), now_ms)
        for gateway, rows in by_gateway.items()
    ]
    rejected = [each for admission in admissions for each in admission.rejected]
    loaded.quarantined += sum(len(rows) for rows in by_gateway.values()) - sum(len(each.rows) for each in admissions)
    flags = [(*row.reading[:4], row.flag) for rows in by_gateway.values() for row in rows if row.flag is not None]
    return Bundle(admissions, rejected=rejected, imported=imported, flags=flags)


def _batch(gateway: str, generation: str, sequence: int, rows: list[Row]) -> Batch:
    index: dict[tuple[str, str], int] = {}
    for row in rows:
        index.setdefault(row.reading[:2], len(index))
    return Batch(
        gateway,
        generation,
        sequence,
        tuple(index),
        channel=array("q", [index[row.reading[:2]] for row in rows]),
        at_ms=array("q", [row.reading.measured_at_ms for row in rows]),
        value=array("q", [row.reading.value for row in rows]),
        quality=array("q", [row.reading.quality for row in rows]),
    )
