"""What ingest did since it started, for its log."""

import asyncio
from dataclasses import asdict, dataclass

from ingest_server.journal import LOG, fact
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.settings import REPORT_EVERY_S
from ingest_server.pipeline.suspects import Stored
from protocols.telemetry.sequences import count_sequences

QUARANTINED_SHOWN_MAX = 5  # of one transaction; the table has them all


@dataclass(slots=True)
class Counts:
    """Messages and transactions, rows new and there already, messages and parts of messages in the quarantine.

    ``lost`` counts batches that gateways have declared lost, ``given_up`` messages that the quarantine had no room for.
    """

    messages: int = 0
    transactions: int = 0
    new: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    strangers: int = 0
    events: int = 0
    lost: int = 0
    given_up: int = 0
    store_s: float = 0.0

    def add(self, messages: int, bundle: Bundle, stored: Stored, took_s: float) -> None:
        """Count one transaction, and log what somebody should look at."""
        self.messages += messages
        self.transactions += 1
        self.new += stored.new
        self.duplicate += stored.duplicate
        self.conflict += stored.conflict
        self.quarantined += len(bundle.rejected)
        self.strangers += bundle.strangers
        self.events += len(bundle.events)
        self.lost += sum(count_sequences(each.sequences) for each in bundle.losses)
        self.given_up += stored.given_up
        self.store_s += took_s
        for each in bundle.rejected[:QUARANTINED_SHOWN_MAX]:
            LOG.warning(fact("message.quarantined", topic=each.topic[:200], reason=each.reason))
        for loss in bundle.losses:
            declared = {"gateway": loss.gateway, "batches": count_sequences(loss.sequences), "why": loss.reason.value}
            LOG.warning(fact("batches.declared_lost", **declared))
        if stored.conflict:
            LOG.warning(fact("reading.conflicts_kept", rows=stored.conflict))
        LOG.debug(fact("bundle.stored", messages=messages, new=stored.new, took_ms=round(took_s * 1000)))

    def log(self) -> None:
        """Log all counts."""
        LOG.info(fact("ingest.counted", **{**asdict(self), "store_s": round(self.store_s, 3)}))

    async def report(self) -> None:
        """Log all counts now and then, if they have changed."""
        before = self.messages
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if self.messages != before:
                before = self.messages
                self.log()
