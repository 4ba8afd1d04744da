"""One validation run over a month: chunk after chunk read, judged, written; what was judged before is left alone.

Each chunk is committed whole, and a channel whose readings and rules are those of its last judgement is passed over. So
a run may be killed at any point and begun again, and a second run writes nothing: it reads and hashes, and where no
channel of a grid in a chunk changed it does not judge. If one did, all of the grid are judged, for they are its peers.
The balances of transformers come last.
"""

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Any

from psycopg import Connection

from billing_core.validation.catalogue import Severity
from billing_core.validation.parameters import load_parameters, rule_set_hash
from ingest_server.billing.executors import AHEAD, executor_of, in_order
from ingest_server.billing.gather import Chunk, Selection, chunks_of_run
from ingest_server.billing.period import Period, instant_of
from ingest_server.database import connect
from ingest_server.database.connection import translated
from ingest_server.vee import queries
from ingest_server.vee.balances import balance_transformers
from ingest_server.vee.changes import WHY_MAX, Change, Kind, Version, propose
from ingest_server.vee.class_sample import classes_of_run
from ingest_server.vee.ends import ends_of
from ingest_server.vee.fill import Proposed
from ingest_server.vee.gather import Gathered, check_points, gather
from ingest_server.vee.judge import Judged, hash_of, judge, judge_months
from ingest_server.vee.write import left_alone, readings_proposed, write_judgements
from protocols.errors import UnavailableError

POINTS_PER_CHUNK = 500  # some 1.6 million half-hourly readings of one register with the days around a month: 90 MB

SNAPSHOT = "set transaction isolation level repeatable read, read only"
LOCK_CLASS = 0x76656572  # "veer": a second run of a month waits, and then finds the work done
LOCK_PERIOD = "select pg_advisory_lock(%(class)s, %(month)s)"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told."""

    dsn: str
    run_id: int
    period: Period
    selection: Selection
    chunk: Chunk
    rule_set: str
    actor: str
    now: datetime


@dataclass(slots=True)
class Outcome:
    """What came of a chunk, or of all: readings read, channels, judgements written, findings and proposals.

    ``failed`` are judgements written of registers that fail; ``balances_left`` transformers whose month is not known.
    """

    readings: int = 0
    channels: int = 0
    judged: int = 0
    failed: int = 0
    unchanged: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    proposed: int = 0
    values: int = 0
    gaps_left: int = 0
    ends_left: int = 0
    balances_left: int = 0

    def add(self, other: "Outcome") -> None:
        """Add another chunk's counts."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for rule, count in other.findings.items():
            self.findings[rule] = self.findings.get(rule, 0) + count


COUNTED = tuple(each.name for each in fields(Outcome) if each.name != "findings")
Progress = Callable[[int, int], None]


def run_vee(
    dsn: str,
    period: Period,
    selection: Selection | None = None,
    *,
    actor: str,
    now: datetime,
    workers: int = 1,
    chunk_points: int = POINTS_PER_CHUNK,
    progress: Progress = lambda _done, _of: None,
) -> Outcome:
    """Validate a month and propose what is missing.

    Parameters
    ----------
    actor, now
        Who proposes, and when.

    Raises
    ------
    UsageError
        If the month is not over: readings that are still to come would be found missing (V06).
    UnavailableError
        If the database or a worker goes away; what was committed stays, run again.
    """
    period.check_ended(now)
    selection = selection or Selection()
    total = Outcome()
    rule_set = rule_set_hash(load_parameters(), period.first_on)
    try:
        with translated(), connect(dsn) as connection:
            connection.autocommit = True
            check_points(connection, selection)
            month = period.first_on.year * 100 + period.first_on.month
            connection.execute(LOCK_PERIOD, {"class": LOCK_CLASS, "month": month})
            chunks = chunks_of_run(connection, selection, chunk_points)
            span = {"first_on": period.first_on, "last_on": period.last_on, "rule_set": rule_set, "actor": actor}
            row = connection.execute(queries.INSERT_RUN, span).fetchone()
            assert row is not None, "an insert returning gives a row"
            jobs = [Job(dsn, row[0], period, selection, chunk, rule_set, actor, now) for chunk in chunks]
            ahead = 1 if workers == 1 else AHEAD * workers
            with executor_of(workers, None) as executor:
                for job, outcome in zip(jobs, in_order(executor, carry_out, jobs, ahead=ahead), strict=True):
                    total.add(outcome)
                    progress(job.chunk.points_so_far, chunks[-1].points_so_far)
            findings, left = balance_transformers(connection, row[0], period, selection)
            total.add(Outcome(findings=findings, balances_left=left))
    except BrokenProcessPool as error:
        raise UnavailableError(
            f"validation of {period}: a worker died ({error}); run again: it goes on there"
        ) from error
    return total


def carry_out(job: Job) -> Outcome:
    """Read a chunk from one snapshot, judge it, and write what came of it in one transaction."""
    with connect(job.dsn) as connection:
        connection.execute(SNAPSHOT)
        gathered = gather(connection, job.period, job.selection, job.chunk)
        connection.rollback()
        outcome = Outcome(readings=gathered.rows, channels=len(gathered.channels))
        for profile in gathered.profiles:
            hashes = [hash_of(profile, row, job.period) for row in range(len(profile.channels))]
            kept = left_alone(connection, job.period, job.rule_set, profile.channels, hashes)
            if kept is not None:
                outcome.unchanged += len(hashes)
                outcome.gaps_left += kept
                continue
            judged = judge(profile, job.period, partial(classes_of_run, job.dsn, job.run_id, job.period))
            written = write_judgements(connection, job.run_id, job.period, job.rule_set, judged, acts=gathered.acts)
            outcome.judged += len(written)
            outcome.failed += _failed(judged, written)
            outcome.unchanged += len(judged.channels) - len(written)
            for each in judged.found:
                if each.row in written:
                    outcome.findings[each.rule] = outcome.findings.get(each.rule, 0) + 1
            outcome.gaps_left += int(judged.gaps_left.sum())
            for proposal in judged.proposed:
                if proposal.row in written:
                    _propose_profile(connection, job, judged, proposal, outcome)
        if gathered.around is not None and gathered.alone:
            _judge_alone(connection, job, gathered, outcome)
        ends = ends_of(connection, job.period, gathered.channels, actor=job.actor, now=job.now, rule_set=job.rule_set)
        outcome.ends_left = ends.left
        outcome.proposed += len(ends.changes)
        outcome.values += ends.values
        connection.commit()
    return outcome


def _failed(judged: Judged, rows: set[int]) -> int:
    return int((judged.severity[sorted(rows)] >= int(Severity.FAIL)).sum())


def _judge_alone(connection: Connection[Any], job: Job, gathered: Gathered, outcome: Outcome) -> None:
    """Judge registers without a profile by what they showed at the months' ends."""
    assert gathered.around is not None, "registers were gathered with what is known around them"
    channels = gathered.alone
    judged = judge_months(channels, gathered.around, job.period, gathered.settings)
    written = write_judgements(connection, job.run_id, job.period, job.rule_set, judged, acts=gathered.acts)
    outcome.judged += len(written)
    outcome.failed += _failed(judged, written)
    outcome.unchanged += len(channels) - len(written)
    for each in judged.found:
        if each.row in written:
            outcome.findings[each.rule] = outcome.findings.get(each.rule, 0) + 1


def _propose_profile(
    connection: Connection[Any], job: Job, judged: Judged, proposal: Proposed, outcome: Outcome
) -> None:
    """Propose readings for a channel's gaps, but for those that are proposed already."""
    channel = judged.channels[proposal.row]
    waiting = readings_proposed(connection, channel.channel_id)
    columns = (proposal.instants_us, proposal.index_wh, proposal.quality, proposal.method, proposal.reason)
    versions = [Version(instant_of(us), *rest) for us, *rest in zip(*(each.tolist() for each in columns), strict=True)]
    fresh = tuple(each for each in versions if each.value not in waiting.get(each.measured_at, {}))
    if not fresh:
        return
    older = sorted({change for each in fresh for change in waiting.get(each.measured_at, {}).values()})
    beside = f"; instead of change {', '.join(map(str, older))}: reject that" if older else ""
    kept = (
        "between the readings around each gap" if proposal.bounded else "after the last reading: no later one fixes it"
    )
    again = f"; fails again on {', '.join(map(str, proposal.again))}" if proposal.again else ""
    why = f"{len(fresh)} readings of {job.period} missing or failed; {kept}{beside}{again}"
    change = Change(
        point=channel.point, channel_id=channel.channel_id, kind=Kind.ESTIMATE, made_by=job.actor, made_at=job.now,
        why=why[:WHY_MAX], rule_set=job.rule_set, versions=fresh,
    )  # fmt: skip
    propose(connection, change)
    outcome.proposed += 1
    outcome.values += len(fresh)
