"""What the gateway says of its spool in the status message."""

from collections.abc import Mapping
from datetime import date, timedelta

from edge_agent.store import Store
from protocols.telemetry.receipt import DAYS_MAX, DayTaken, State, Status

EPOCH = date(1970, 1, 1)


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
