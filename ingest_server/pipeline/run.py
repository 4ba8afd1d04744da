"""`congto ingest run`: the parts put together, watched, and stopped."""

import asyncio
import signal
from collections.abc import Callable, Sequence

from ingest_server import journal
from ingest_server.database.migrations import migrate
from ingest_server.journal import LOG, fact
from ingest_server.pipeline.asking import ask
from ingest_server.pipeline.broker import FLUSH_S, Broker
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.following import first_filters, follow
from ingest_server.pipeline.gatherer import Gatherer
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.metrics import Snapshot
from ingest_server.pipeline.monitoring import Requests, Share, monitor
from ingest_server.pipeline.observer import observe
from ingest_server.pipeline.pipeline import Pipeline, Together
from ingest_server.pipeline.receipts import Receipts
from ingest_server.pipeline.service import tell
from ingest_server.pipeline.settings import RESEND_EVERY_S, TRANSACTIONS_AT_ONCE, WATCHDOG_EVERY_S, WATCHDOG_S, Settings
from ingest_server.pipeline.watchdog import Moves, watch
from protocols.errors import CongtoError

EXIT_FAILED = 3


def run_here(settings: Settings) -> int:
    """Run in this process until SIGTERM or SIGINT; return the exit status, and raise only what the caller explains."""
    journal.configure()
    try:
        asyncio.run(ingest(settings))
    except CongtoError:
        raise
    except Exception:
        # The supervisor of the process starts it anew; what was not acknowledged comes again.
        LOG.critical(fact("ingest.failed", exit_status=EXIT_FAILED), exc_info=True)
        return EXIT_FAILED
    return 0


async def ingest(settings: Settings) -> None:
    """Store what comes, until SIGTERM or SIGINT; what nobody foresaw is raised, and ends the process."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ran = await asyncio.to_thread(migrate, settings.dsn)
    if ran:
        LOG.info(fact("database.migrated", migrations=",".join(ran)))

    inbox = Inbox()
    filters = await asyncio.to_thread(first_filters, settings.dsn, settings.partition)
    broker = Broker(settings.broker, settings.client_id, inbox, filters, settings.credentials)

    receipts = Receipts()

    async def settled(messages: list[Message], bundle: Bundle) -> None:
        receipts.add(bundle)
        broker.acknowledge(messages)

    gatherer, together = Gatherer(inbox), Together()
    given = (settings.dsn, gatherer, together, settled, settings.quarantine)
    pipelines = [Pipeline(*given) for _ in range(TRANSACTIONS_AT_ONCE)]

    def moves() -> Moves:
        return [(each.progress, each.waiting) for each in pipelines]

    watch(moves, WATCHDOG_S, WATCHDOG_EVERY_S, lambda: tell("WATCHDOG=1"))

    snapshot, keep_seen = _looking(pipelines, together, broker, inbox)
    observer = await _observed(settings.metrics_port, snapshot)

    async def stop_when_asked() -> None:
        await asked.wait()
        tell("STOPPING=1")
        gatherer.stop()

    async with asyncio.TaskGroup() as tasks:
        follows = follow(settings.dsn, settings.partition, broker.subscribe)
        work = [broker.run(), receipts.send(broker.publish), gatherer.gather(), together.counts.report(), follows]
        if settings.partition.number == 1:  # one of several processes asks for all
            work.append(ask(settings.dsn, broker.publish, settings.quarantine, settings.resend_after_s, RESEND_EVERY_S))
            if observer is not None:
                work.append(monitor(settings.dsn, keep_seen))
        endless = [tasks.create_task(each) for each in work]
        tasks.create_task(stop_when_asked())
        await _store_all(pipelines)
        for task in endless:
            task.cancel()
    if observer is not None:
        observer.close()
    await receipts.finish(broker.publish, FLUSH_S)
    await broker.close()
    together.counts.log()
    LOG.info(fact("ingest.stopped"))


def _looking(
    pipelines: Sequence[Pipeline], together: Together, broker: Broker, inbox: Inbox
) -> tuple[Callable[[], Snapshot], Callable[[Sequence[Share], Requests], None]]:
    """Return what says how all stands, and what keeps for it what the monitor has seen last."""
    seen: tuple[Sequence[Share], Requests | None] = ((), None)

    def keep_seen(shares: Sequence[Share], requests: Requests) -> None:
        nonlocal seen
        seen = shares, requests

    def snapshot() -> Snapshot:
        shares, requests = seen
        return Snapshot(
            together.counts,
            broker.ready,
            not together.database_lost,
            len(inbox),
            inbox.octets,
            inbox.full,
            max(each.still_s for each in pipelines),
            together.clocks_s.values(),
            shares,
            together.gave_up_s,
            requests,
        )

    return snapshot, keep_seen


async def _observed(port: int | None, snapshot: Callable[[], Snapshot]) -> asyncio.Server | None:
    if port is None:
        return None
    observer = await observe(port, snapshot)
    host, found = observer.sockets[0].getsockname()[:2]
    LOG.info(fact("metrics.ready", url=f"http://{host}:{found}/metrics"))
    return observer


async def _store_all(pipelines: Sequence[Pipeline]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for each in pipelines:
            tasks.create_task(each.store())
