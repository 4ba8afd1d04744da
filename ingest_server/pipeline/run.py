"""`congto ingest run`: the parts put together, watched, and stopped."""

import asyncio
import signal

from ingest_server.database.migrations import migrate
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.broker import Broker
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.pipeline import Pipeline
from ingest_server.pipeline.settings import WATCHDOG_EVERY_S, WATCHDOG_S, Settings
from ingest_server.pipeline.watchdog import watch


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

    async def stop_when_asked() -> None:
        await asked.wait()
        pipeline.stop()

    async with asyncio.TaskGroup() as tasks:
        endless = [tasks.create_task(each) for each in (broker.run(), pipeline.gather(), pipeline.counts.report())]
        tasks.create_task(stop_when_asked())
        await pipeline.store()
        for task in endless:
            task.cancel()
    await broker.close()
    pipeline.counts.log()
    LOG.info(fact("ingest.stopped"))
