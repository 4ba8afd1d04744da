"""One billing run: a snapshot, chunk after chunk of it decided and written, whatever happens in between.

A reading connection holds one repeatable read transaction, so all chunks see the same readings and contracts; a writing
connection commits chunk by chunk, so a run that is killed leaves whole bills behind and the next run goes on from
there: points whose bill rests on the same inputs are skipped. The writing connection also holds an advisory lock on
the period, taken before the snapshot: a second run waits, and then finds the work done. Should somebody write bills
without the lock, the unique key of ``bill`` stops us, and nothing is billed twice.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import psycopg
from psycopg import Connection

from ingest_server.billing.decide import Decision, decide
from ingest_server.billing.documents import Amounts, Bill, Difference, Hold
from ingest_server.billing.gather import gather
from ingest_server.billing.period import Period
from ingest_server.billing.write import FINISH_RUN, INSERT_RUN, write_chunk
from ingest_server.database import connect
from ingest_server.database.connection import translated
from protocols.errors import UnavailableError, UsageError

POINTS_PER_CHUNK = 5_000  # some 40 MB of columns and JSON at a time, a commit every second or so
BILLS_KEPT_MAX = 1_000  # of a run's bills, holds and differences each so many are kept to be shown; all are counted
LOCK_CLASS = 0x62696C6C  # "bill": the first key of the advisory lock; the second is the month as YYYYMM

TRY_LOCK = "select pg_try_advisory_lock(%(class)s, %(month)s)"
AWAIT_LOCK = "select pg_advisory_lock(%(class)s, %(month)s)"
SNAPSHOT = "set transaction isolation level repeatable read, read only"
UNKNOWN_POINTS = """
    select wanted from unnest(%(wanted)s::text[]) as wanted
    where not exists (select from metering_point p where p.metering_point_id = wanted)
    order by wanted limit 5
"""
COUNT_POINTS = (
    "select count(*) from metering_point where %(wanted)s::text[] is null or metering_point_id = any (%(wanted)s)"
)


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run did, or a dry run would do. [Wh, đ]

    ``billed`` are new bills, ``unchanged`` were there for the same inputs, ``differing`` were there for others and are
    left alone; ``held`` have no bill, ``purchases_held`` have one, but not the purchase that belongs beside it. The
    sums are over the bills that stand, new or issued before; ``difference`` is what the totals of the differing ones
    would change by. The digest is over every bill computed, new or not, so a dry run, the real run and any later run
    over the same data all say the same.
    """

    period: Period
    dry_run: bool
    run_id: int | None = None
    billed: int = 0
    unchanged: int = 0
    held: int = 0
    purchases_held: int = 0
    differing: int = 0
    energy_wh: int = 0
    subtotal: int = 0
    vat: int = 0
    total: int = 0
    purchased_wh: int = 0
    purchased: int = 0
    difference: int = 0
    bills: list[Bill] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def digest(self) -> str:
        """SHA-256 over all bills computed, in order of their points: equal runs have equal digests."""
        return str(self._digest.hexdigest())

    def add(self, decision: Decision) -> None:
        """Count a chunk."""
        self.billed += len(decision.new)
        self.unchanged += len(decision.computed) - len(decision.new) - len(decision.differences)
        self.held += len(decision.holds)
        self.purchases_held += len(decision.purchase_holds)
        self.differing += len(decision.differences)
        for amounts in decision.standing:
            for name in Amounts.__slots__:
                setattr(self, name, getattr(self, name) + getattr(amounts, name))
        self.difference += sum(each.computed_total - each.issued_total for each in decision.differences)
        for bill in decision.computed:
            self._digest.update(bill.text.encode() + b"\n")
        self.bills = [*self.bills, *decision.computed][:BILLS_KEPT_MAX]
        self.holds = [*self.holds, *decision.holds, *decision.purchase_holds][:BILLS_KEPT_MAX]
        self.differences = [*self.differences, *decision.differences][:BILLS_KEPT_MAX]


Progress = Callable[[int, int], None]
"""Called with how many points are done and how many there are at most."""


def run_billing(
    dsn: str,
    period: Period,
    *,
    points: Sequence[str] | None = None,
    dry_run: bool = False,
    chunk_points: int = POINTS_PER_CHUNK,
    progress: Progress = lambda _done, _of: None,
    waiting: Callable[[], None] = lambda: None,
) -> Summary:
    """Bill ``period`` from what the database holds; write nothing if ``dry_run``.

    Parameters
    ----------
    points
        Only these metering points; none means all.
    waiting
        Called when another run of the period holds the lock, before we wait for it.

    Raises
    ------
    UsageError
        If one of ``points`` is unknown.
    UnavailableError
        If the database goes away, or somebody bills the same points at the same time in another way. What was
        committed stays; run again.
    """
    try:
        with translated(), connect(dsn) as reader, connect(dsn) as writer:
            writer.autocommit = True
            if not dry_run:
                _lock(writer, period, waiting)
            reader.execute(SNAPSHOT)
            summary = Summary(period=period, dry_run=dry_run)
            return _run(reader, writer, summary, points, chunk_points=chunk_points, progress=progress)
    except psycopg.errors.UniqueViolation as error:
        raise UnavailableError(
            f"billing {period}: somebody billed the same points meanwhile ({error}); run again"
        ) from error


def _lock(writer: Connection[Any], period: Period, waiting: Callable[[], None]) -> None:
    key = {"class": LOCK_CLASS, "month": period.first_on.year * 100 + period.first_on.month}
    row = writer.execute(TRY_LOCK, key).fetchone()
    if row is None or not row[0]:
        waiting()
        writer.execute(AWAIT_LOCK, key)


def _run(
    reader: Connection[Any],
    writer: Connection[Any],
    summary: Summary,
    wanted: Sequence[str] | None,
    *,
    chunk_points: int,
    progress: Progress,
) -> Summary:
    period = summary.period
    parameters = {"wanted": None if wanted is None else list(wanted)}
    if wanted is not None and (unknown := [row[0] for row in reader.execute(UNKNOWN_POINTS, parameters)]):
        raise UsageError(f"--point: there is no metering point {', '.join(map(repr, unknown))}; check the registry")
    count = reader.execute(COUNT_POINTS, parameters).fetchone()
    of, done, after = (count[0] if count else 0), 0, ""
    if not summary.dry_run:
        span = {"first_on": period.first_on, "last_on": period.last_on, "version": version("congto")}
        started = writer.execute(INSERT_RUN, span).fetchone()
        assert started is not None, "an insert returning gives a row"
        summary.run_id = started[0]
    while (chunk := gather(reader, period, after=after, wanted=wanted, points_max=chunk_points)) is not None:
        decision = decide(chunk)
        if summary.run_id is not None:
            write_chunk(writer, summary.run_id, decision)
        summary.add(decision)
        done += len(chunk.metering_point_id)
        after = chunk.metering_point_id[-1]
        progress(done, of)
    if summary.run_id is not None:
        writer.execute(FINISH_RUN, {"run": summary.run_id})
    return summary
