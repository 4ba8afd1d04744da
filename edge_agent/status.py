"""What the gateway says of its spool in the status message."""

from collections.abc import Mapping
from datetime import date, timedelta

from edge_agent.remote.figures import SpoolFigures
from edge_agent.store import Store
from protocols.telemetry.receipt import DAYS_MAX, DayTaken, State, Status

EPOCH = date(1970, 1, 1)


def spool_figures(store: Store) -> SpoolFigures:
    """Return what is told of the spool to whoever watches; losses are as of the last status."""
    return SpoolFigures(
        batches=store.waiting,
        taken=store.spool.taken,
        octets=store.octets,
        damaged=store.spool.damaged,
        disk_failed=store.disk_failed,
        not_durable=store.not_durable,
        lost={reason.value: counts for reason, counts in store.lost_before.items()},
    )


async def make_status(store: Store, state: State, now_ms: int, version: str, agent: Mapping[str, object]) -> Status:
    """Return the status; ``agent`` is what others add."""
    spool = store.spool
    days = tuple(
        DayTaken(EPOCH + timedelta(days=each.day), each.readings, each.digest) for each in await store.days(DAYS_MAX)
    )
    losses = {reason.value: counts for reason, counts in (await store.loss_totals()).items()}
    return Status(
        spool.gateway,
        state,
        now_ms,
        spool.generation,
        store.waiting,
        spool.taken,
        version,
        days=days,
        losses=losses,
        damaged=spool.damaged,
        not_durable=store.not_durable,
        agent=agent,
    )
