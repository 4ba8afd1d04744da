"""`congto ingest run`: the parts put together, watched, and stopped."""

import asyncio
import signal
import time

from ingest_server.database.migrations import migrate
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.broker import Broker
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.metrics import Snapshot
from ingest_server.pipeline.observer import observe
from ingest_server.pipeline.pipeline import Pipeline
from ingest_server.pipeline.settings import WATCHDOG_EVERY_S, WATCHDOG_S, Settings
from ingest_server.pipeline.watchdog import Stillness, watch


async def ingest(settings: Settings) -> None:
    """Store what comes, until SIGTERM or SIGINT; what nobody foresaw is raised, and ends the process."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ran = await asyncio.to_thread(migrate, settings.dsn)
    if ran:
        LOG.info(fact("database.migrated", migrations=",".join(ran)))

    inbox = Inbox()
    broker = Broker(settings.broker, settings.client_id, inbox)

    async def settled(messages: list[Message], bundle: Bundle) -> None:
        for topic, payload in bundle.receipts():
            await broker.publish(topic, payload)
        broker.acknowledge(messages)

    pipeline = Pipeline(settings.dsn, inbox, settled)
    watch(lambda: pipeline.progress, lambda: pipeline.waiting, WATCHDOG_S, WATCHDOG_EVERY_S)

    stillness = Stillness(time.monotonic())

    def snapshot() -> Snapshot:
        still_s = stillness.after(time.monotonic(), pipeline.counts.transactions, waiting=pipeline.waiting)
        database = not pipeline.database_lost
        return Snapshot(pipeline.counts, broker.ready, database, len(inbox), inbox.octets, inbox.full, still_s)

    observer = None
    if settings.metrics_port is not None:
        observer = await observe(settings.metrics_port, snapshot)
        host, port = observer.sockets[0].getsockname()[:2]
        LOG.info(fact("metrics.ready", url=f"http://{host}:{port}/metrics"))

    async def stop_when_asked() -> None:
        await asked.wait()
        pipeline.stop()

    async with asyncio.TaskGroup() as tasks:
        endless = [tasks.create_task(each) for each in (broker.run(), pipeline.gather(), pipeline.counts.report())]
        tasks.create_task(stop_when_asked())
        await pipeline.store()
        for task in endless:
            task.cancel()
    if observer is not None:
        observer.close()
    await broker.close()
    pipeline.counts.log()
    LOG.info(fact("ingest.stopped"))
