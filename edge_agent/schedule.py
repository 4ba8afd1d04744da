"""Who is asked next on a bus: the earliest deadline first. Pure: no clock, no port.

A *series* is what is read of one meter at one interval, on the boundaries of the clock. Its sample is wanted at the
slot's beginning: until :data:`edge_agent.policy.PUNCTUAL_MS` after it (or the slot's end) it may carry that time, so
that is its deadline; once that has passed, the slot's end is.

Work is cut into questions, each one transaction on the line, so that a sample that falls due, or an urgent question,
waits for one transaction at most. Of what is due the meters that answer come first, then those that have just failed
to, then those known to be silent; within each the earliest deadline.

Silent meters are only probed, and the probes together take no more than :data:`PROBE_SHARE` of the bus: a budget
(:class:`ProbeBudget`) fills at that rate and a probe takes what it cost.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from edge_agent.policy import PUNCTUAL_MS

PROBE_SHARE = 0.01
PROBE_CREDIT_MS_MAX = 120_000.0  # a quiet night saves up no more than this


class Standing(IntEnum):
    """How much a meter deserves the line."""

    HEALTHY = 0
    DOUBTFUL = 1  # did not answer lately
    SILENT = 2  # is only probed


@dataclass(frozen=True, slots=True)
class Job:
    """A meter with something due from ``due_ms`` on and wanted by ``deadline_ms``."""

    meter: str
    standing: Standing
    due_ms: int
    deadline_ms: int

    @property
    def rank(self) -> tuple[Standing, int, int]:
        """The smaller, the sooner."""
        return (self.standing, self.deadline_ms, self.due_ms)


def deadline(slot_ms: int, every_ms: int, now_ms: int) -> int:
    """Return by when the sample of the slot at ``slot_ms`` is wanted."""
    punctual_ms = slot_ms + min(every_ms, PUNCTUAL_MS)
    return punctual_ms if now_ms < punctual_ms else slot_ms + every_ms


def choose(jobs: Iterable[Job], now_ms: int) -> Job | None:
    """Return the job to do now, ``None`` if none is due."""
    return min((job for job in jobs if job.due_ms <= now_ms), key=lambda job: job.rank, default=None)


@dataclass(frozen=True, slots=True)
class ProbeBudget:
    """How much of the bus's time probes of silent meters may take, as of ``at_ms``."""

    at_ms: int
    credit_ms: float = 0.0

    def at(self, now_ms: int) -> "ProbeBudget":
        """Return the budget at a later time; a clock that was set back adds nothing."""
        gained = max(0, now_ms - self.at_ms) * PROBE_SHARE
        return ProbeBudget(now_ms, min(PROBE_CREDIT_MS_MAX, self.credit_ms + gained))

    def spend(self, took_ms: float) -> "ProbeBudget":
        """Return what is left after a probe."""
        return ProbeBudget(self.at_ms, self.credit_ms - took_ms)

    def ready_ms(self, cost_ms: float) -> int:
        """Return from when on a probe of ``cost_ms`` may be made."""
        missing = min(cost_ms, PROBE_CREDIT_MS_MAX) - self.credit_ms
        return self.at_ms + max(0, math.ceil(missing / PROBE_SHARE))
