"""What ingest did since it started, for its log."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from ingest_server.journal import LOG, fact
from ingest_server.pipeline.bundle import Bundle
from ingest_server.pipeline.message import Rejected
from ingest_server.pipeline.settings import REPORT_EVERY_S
from ingest_server.pipeline.suspects import Stored
from protocols.telemetry.sequences import count_sequences

TEXT_SHOWN_MAX = 200  # of a topic or a reason; the table has all of it


@dataclass(slots=True)
class Refused:
    """What went to the quarantine and is not told yet: the first at once, the others now and then, in one line."""

    kinds: Counter[str] = field(default_factory=Counter)
    first: Rejected | None = None
    told: bool = False  # since the last time that there was nothing to tell

    def add(self, rejected: Sequence[Rejected]) -> None:
        """Count ``rejected``; tell the first of a row."""
        if not rejected:
            return
        self.kinds.update(each.kind.value for each in rejected)
        self.first = self.first or rejected[0]
        if not self.told:
            self.tell()

    def tell(self) -> None:
        """Log one line of what has come since the last one, with its first as an example."""
        self.told = self.first is not None
        if self.first is None:
            return
        kinds = ",".join(f"{kind}:{count}" for kind, count in self.kinds.most_common())
        topic, reason = self.first.topic[:TEXT_SHOWN_MAX], self.first.reason[:TEXT_SHOWN_MAX]
        total = self.kinds.total()
        LOG.warning(fact("message.quarantined", messages=total, kinds=kinds, first_topic=topic, first_reason=reason))
        self.kinds.clear()
        self.first = None


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
    _refused: Refused = field(default_factory=Refused)

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
        self._refused.add(bundle.rejected)
        for loss in bundle.losses:
            declared = {"gateway": loss.gateway, "batches": count_sequences(loss.sequences), "why": loss.reason.value}
            LOG.warning(fact("batches.declared_lost", **declared))
        if stored.conflict:
            LOG.warning(fact("reading.conflicts_kept", rows=stored.conflict))
        LOG.debug(fact("bundle.stored", messages=messages, new=stored.new, took_ms=round(took_s * 1000)))

    def log(self) -> None:
        """Log all counts."""
        self._refused.tell()
        shown = {each.name: getattr(self, each.name) for each in fields(self) if not each.name.startswith("_")}
        LOG.info(fact("ingest.counted", **{**shown, "store_s": round(self.store_s, 3)}))

    async def report(self) -> None:
        """Log all counts now and then, if they have changed."""
        before = self.messages
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            if self.messages != before:
                before = self.messages
                self.log()
            else:
                self._refused.tell()
