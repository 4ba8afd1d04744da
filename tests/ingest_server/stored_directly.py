"""Messages straight into the database, without broker and process: decode, admit, store, as the pipeline does."""

import asyncio
from collections.abc import Sequence

from ingest_server.pipeline.bundle import Arrival, Bundle, make_bundle
from ingest_server.pipeline.message import Message, Rejected, decode, gateway_of
from ingest_server.pipeline.quarantine import Limits
from ingest_server.pipeline.receipts import encode_receipts
from ingest_server.pipeline.registered import Registered
from ingest_server.pipeline.store import open_connection, store
from protocols.telemetry.batch import Batch, encode_batch
from protocols.telemetry.reading import Reading

GENERATION = "5f0c2e9a1b7d4463"
START_MS = 1_759_251_600_000  # 2025-10-01 00:00 in Vietnam
HALF_HOUR_MS = 1_800_000
DAY_MS = 86_400_000
NOW_MS = START_MS + 100 * DAY_MS


def registry(gateway: str, meters: int, channels: str = '["1.0.1.8.0", "1.0.2.8.0"]') -> str:
    rows = [
        f'[[meter]]\nid = "{gateway}-M{number}"\ngateway = "{gateway}"\nmodel = "eastron_sdm120"\n'
        f"channels = {channels}\n"
        for number in range(meters)
    ]
    return f'[[gateway]]\nid = "{gateway}"\n' + "".join(rows)


def message(gateway: str, sequence: int, readings: Sequence[Reading], generation: str = GENERATION) -> Message:
    return Message(f"congto/v1/{gateway}/readings", encode_batch(gateway, generation, sequence, readings))


def receipts_of(bundle: Bundle) -> list[tuple[str, bytes]]:
    """Return topics and payloads of the receipts for what ``bundle`` settles."""
    return [each for spool, settled in bundle.settled().items() for each in encode_receipts(spool, *settled)]


def store_transactions(dsn: str, transactions: Sequence[Sequence[Message]], limits: Limits | None = None) -> None:
    """Store each of ``transactions`` in one of its own, in their order, within the quarantine's ``limits``."""

    async def store_all() -> None:
        async with await open_connection(dsn) as connection:
            registered = Registered()
            for messages in transactions:
                arrivals = [Arrival(each, decode(each)) for each in messages]
                batches = [each.decoded for each in arrivals if isinstance(each.decoded, Batch)]
                known = {gateway_of(each.decoded) for each in arrivals if not isinstance(each.decoded, Rejected)}
                await registered.load(connection, known)
                await registered.load_highest(connection, {(each.gateway, each.generation) for each in batches})
                bundle = make_bundle(arrivals, registered.channels, registered.highest, NOW_MS)
                await store(connection, bundle, limits)
                for each in bundle.admissions:
                    registered.advance(each.header.spool, each.header.sequence)

    asyncio.run(store_all())
