"""One billing run: a snapshot, chunk after chunk of it decided and written, whatever happens in between.

The run holds a repeatable read transaction whose snapshot all chunks read from, so they see the same readings and
contracts, and an advisory lock on each month of the period, taken before the snapshot: a second run waits, and then
finds the work done. Each chunk is committed whole, so a run that is killed leaves whole bills behind and the next goes
on from there: points whose bill rests on the same inputs are skipped. Should somebody write bills without the lock, the
unique key of ``bill`` stops us, and nothing is billed twice.

A bill is computed first and issued afterwards, once control or a person has let it pass. Until then a run may replace
it by a newer version; from then on it never changes, and a run only reports that it would come out otherwise.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from typing import Any

import psycopg
from psycopg import Connection

from billing_core.control.thresholds import Thresholds, load_thresholds
from billing_core.tariff_files import load_tariffs
from ingest_server.billing import queries
from ingest_server.billing.acts import Actor, Role, issue
from ingest_server.billing.chunk import Job, Outcome, carry_out
from ingest_server.billing.columns import Int64Array, Terms
from ingest_server.billing.documents import Amounts, Bill, Difference, Hold
from ingest_server.billing.executors import AHEAD, executor_of, in_order
from ingest_server.billing.gather import REACTIVE_NEVER_KW, Frame, Selection, chunks_of_run, terms_of_run
from ingest_server.billing.period import Period
from ingest_server.database import connect
from ingest_server.database.connection import translated
from protocols.errors import UnavailableError, UsageError

POINTS_PER_CHUNK = 20_000  # some 100 MB of columns at a time, a commit every second or so
BILLS_KEPT_MAX = 1_000  # of a run's bills, holds and differences each so many are kept to be shown; all are counted
LOCK_CLASS = 0x62696C6C  # "bill": the first key of the advisory lock; the second is the month as YYYYMM

TRY_LOCK = "select pg_try_advisory_lock(%(class)s, %(month)s)"
AWAIT_LOCK = "select pg_advisory_lock(%(class)s, %(month)s)"
SNAPSHOT = "set transaction isolation level repeatable read, read only"
EXPORT_SNAPSHOT = "select pg_export_snapshot()"
INSERT_RUN = """
    insert into billing_run (period_from, period_to, nominal_days, closes_year, code_version)
    values (%(first_on)s, %(last_on)s, %(nominal_days)s, %(closes_year)s, %(version)s)
    returning run_id
"""
FINISH_RUN = "update billing_run set finished_at = clock_timestamp() where run_id = %(run)s"


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run did, or a dry run would do. [Wh, đ]

    ``billed`` are new bills, ``replaced`` newer versions of bills that were not issued, ``unchanged`` were there for
    the same inputs, ``differing`` were issued for others and are left alone; ``held`` have no bill, ``purchases_held``
    have one, but not the purchase that belongs beside it. Of those billed or replaced, ``to_sign`` must be signed by
    somebody before they may be issued. ``issued`` were issued at once: of those, and of the bills made before that were
    ready. ``proposed`` are differences of issued ones.

    The sums are over the bills that stand, new or made before; ``difference`` is what the totals of the differing ones
    would change by. The digest is over every bill computed, new or not, so a dry run, the real run and any later run
    over the same data all say the same.
    """

    period: Period
    dry_run: bool
    run_id: int | None = None
    billed: int = 0
    replaced: int = 0
    unchanged: int = 0
    held: int = 0
    purchases_held: int = 0
    differing: int = 0
    to_sign: int = 0
    issued: int = 0
    proposed: int = 0
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

    def add(self, outcome: Outcome, kept: int) -> None:
        """Count a chunk."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        for each in fields(Amounts):
            setattr(self, each.name, getattr(self, each.name) + getattr(outcome.standing, each.name))
        self._digest.update(outcome.documents)
        self.bills = [*self.bills, *outcome.bills][:kept]
        self.holds = [*self.holds, *outcome.holds][:kept]
        self.differences = [*self.differences, *outcome.differences][:kept]


COUNTED = (
    *("billed", "replaced", "unchanged", "held", "purchases_held", "differing", "to_sign", "issued"),
    "proposed",
    "difference",
)
Progress = Callable[[int, int], None]
"""Called with how many points are done and how many there are at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run is to be done.

    Parameters
    ----------
    selection
        Which points.
    dry_run
        Compute everything, write nothing.
    issue_as
        Who issues at once what control lets pass, and what earlier runs left ready; none to issue nothing.
    correct_as
        Who proposes, and why, differences for issued bills that should have been others; then nothing else is written.
    thresholds
        Of control; none for those of the package.
    workers, dask
        Processes, or the address of a Dask scheduler.
    kept
        How many bills, holds and differences are kept to be shown.
    """

    selection: Selection = field(default_factory=Selection)
    dry_run: bool = False
    issue_as: str | None = None
    correct_as: tuple[str, str] | None = None
    thresholds: Thresholds | None = None
    chunk_points: int = POINTS_PER_CHUNK
    workers: int = 1
    dask: str | None = None
    kept: int = BILLS_KEPT_MAX


def run_billing(
    dsn: str,
    period: Period,
    plan: Plan | None = None,
    *,
    progress: Progress = lambda _done, _of: None,
    waiting: Callable[[], None] = lambda: None,
) -> Summary:
    """Bill ``period`` from what the database holds.

    Parameters
    ----------
    waiting
        Called when another run of the period holds the lock, before we wait for it.

    Raises
    ------
    UsageError
        If one of the points is unknown.
    UnavailableError
        If the database or a worker goes away, or somebody bills the same points at the same time in another way. What
        was committed stays; run again.
    """
    plan = plan or Plan()
    try:
        with translated(), connect(dsn) as reader, connect(dsn) as writer:
            writer.autocommit = True
            if not plan.dry_run:
                _lock(writer, period, waiting)
            reader.execute(SNAPSHOT)
            summary = Summary(period=period, dry_run=plan.dry_run)
            jobs = _jobs(reader, writer, dsn, plan, summary)
            waiting_bills = _work(jobs, plan, summary, progress)
            if plan.issue_as is not None and plan.correct_as is None and not plan.dry_run:
                summary.issued += _issue_what_waited(writer, plan, period, waiting_bills)
            if summary.run_id is not None:
                writer.execute(FINISH_RUN, {"run": summary.run_id})
            return summary
    except psycopg.errors.UniqueViolation as error:
        raise UnavailableError(
            f"billing {period}: somebody billed the same points meanwhile ({error}); run again"
        ) from error
    except BrokenProcessPool as error:
        raise UnavailableError(f"billing {period}: a worker died ({error}); run again: it goes on there") from error


def _lock(writer: Connection[Any], period: Period, waiting: Callable[[], None]) -> None:
    for month in period.months:  # in order, so that two runs never wait for one another
        key = {"class": LOCK_CLASS, "month": month}
        row = writer.execute(TRY_LOCK, key).fetchone()
        if row is None or not row[0]:
            waiting()
            writer.execute(AWAIT_LOCK, key)


def _jobs(reader: Connection[Any], writer: Connection[Any], dsn: str, plan: Plan, summary: Summary) -> list[Job]:
    """Begin the run; return what there is to do, for the snapshot that ``reader`` holds."""
    period = summary.period
    _check_points(reader, plan.selection)
    frame = frame_of(reader, writer, period, plan.selection, put_in=not plan.dry_run)
    chunks = chunks_of_run(reader, plan.selection, plan.chunk_points)
    snapshot = reader.execute(EXPORT_SNAPSHOT).fetchone()
    assert snapshot is not None, "a function gives a row"
    if not plan.dry_run:
        span = {each.name: getattr(period, each.name) for each in fields(Period)}
        started = writer.execute(INSERT_RUN, span | {"version": version("congto")}).fetchone()
        assert started is not None, "an insert returning gives a row"
        summary.run_id = started[0]
    thresholds = plan.thresholds or load_thresholds()
    return [
        Job(
            dsn=dsn,
            snapshot=snapshot[0],
            frame=frame,
            chunk=chunk,
            thresholds=thresholds,
            run_id=summary.run_id,
            actor=plan.issue_as if plan.correct_as is None else plan.correct_as[0],
            correct=None if plan.correct_as is None else plan.correct_as[1],
            kept=plan.kept,
            own_process=plan.workers > 1 and plan.dask is None,
        )
        for chunk in chunks
    ]


def frame_of(
    reader: Connection[Any], writer: Connection[Any], period: Period, selection: Selection, *, put_in: bool
) -> Frame:
    """Return what all chunks of a run share; with ``put_in`` terms that are new get their numbers."""
    tariffs = load_tariffs()
    table = tariffs.power_factor_on(period.last_on)
    reactive_from_kw = REACTIVE_NEVER_KW if table is None else table.from_kw
    terms = terms_of_run(reader, period, reactive_from_kw)
    terms_ids = _terms_ids(writer, terms, put_in=put_in)
    return Frame(
        period,
        selection,
        terms,
        terms_ids,
        tariffs.changes_within(period.first_on, period.last_on),
        reactive_from_kw,
        _ever_terms(writer, terms, terms_ids),
    )


def _work(jobs: list[Job], plan: Plan, summary: Summary, progress: Progress) -> list[Int64Array]:
    """Do the jobs; return the bills of each chunk that earlier runs made and nobody issued."""
    waiting: list[Int64Array] = []
    of = jobs[-1].chunk.points_so_far if jobs else 0
    with executor_of(plan.workers, plan.dask) as executor:
        ahead = 1 if plan.workers == 1 and plan.dask is None else AHEAD * plan.workers
        for job, outcome in zip(jobs, in_order(executor, carry_out, jobs, ahead=ahead), strict=True):
            summary.add(outcome, plan.kept)
            waiting += [outcome.waiting] if outcome.waiting.size else []
            progress(job.chunk.points_so_far, of)
    return waiting


def _issue_what_waited(writer: Connection[Any], plan: Plan, period: Period, waiting: Sequence[Int64Array]) -> int:
    """Issue what earlier runs left ready; return how many there were.

    The chunks saw which bills wait: to look for them among all of the period, nearly all of which are issued, would
    cost a tenth of the run.
    """
    assert plan.issue_as is not None, "asked by the caller"
    actor = Actor(plan.issue_as, Role.BILLER)
    return sum(issue(writer, period, plan.selection, actor, only=bills.tolist()) for bills in waiting)


def _check_points(reader: Connection[Any], selection: Selection) -> None:
    if selection.points is None:
        return
    unknown = [row[0] for row in reader.execute(queries.UNKNOWN_POINTS, selection.parameters)]
    if unknown:
        raise UsageError(f"--point: there is no metering point {', '.join(map(repr, unknown))}; check the registry")


def _terms_ids(writer: Connection[Any], terms: tuple[Terms, ...], *, put_in: bool) -> tuple[int, ...]:
    """Return the database's numbers of terms, 0 for those it has not and, in a dry run, does not get."""
    found = []
    for each in terms:
        if put_in:
            writer.execute(queries.INSERT_TERMS, each.columns)
        row = writer.execute(queries.SELECT_TERMS_IDS, each.columns).fetchone()
        found.append(0 if row is None else row[0])
    return tuple(found)


def _ever_terms(
    writer: Connection[Any], terms: tuple[Terms, ...], terms_ids: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Return the database's numbers that stand for each of the terms, and its place: several where a plan is dated."""
    found = []
    for place, (each, number) in enumerate(zip(terms, terms_ids, strict=True)):
        if each.rate_plan is not None:
            rows = writer.execute(queries.SELECT_EVER_TERMS_IDS, each.columns)
            found += [(own, place) for (own,) in rows]
        elif number:
            found.append((number, place))
    return tuple(found)
