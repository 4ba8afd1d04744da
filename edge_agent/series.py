"""What is read of one meter, and how far that has come. Pure state: no clock, no port, no line.

The measurements of a meter that have one interval are a *series*; all of a group that have none of their own are one.
When a slot of a series begins, its measurements are wanted; the meter says which questions ask for them; each answer
goes to the series of its measurements. A series' sample is finished when no question for it is left, when the meter
failed, or when its slot is over. What is due together is asked together, so that neighbours share a question.

Each slot is sampled at most once, and a value that comes after its slot's end is not taken: it is the next one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent import policy
from edge_agent.config import MeterConfig
from edge_agent.meter import Question
from edge_agent.policy import Health, Stamp
from edge_agent.schedule import Job, ProbeBudget, Standing, deadline
from edge_agent.suspicion import Watch
from protocols.meters.model import Group, Measurement


@dataclass(frozen=True, slots=True)
class Got:
    """A value that came, with the time and the quality that it carries."""

    measurement: Measurement
    value: int
    at_ms: int
    quality: int


@dataclass(slots=True)
class Sample:
    """A slot that is being read."""

    slot_ms: int
    got: list[Got] = field(default_factory=list)
    punctual: bool = True


@dataclass(frozen=True, slots=True)
class Finished:
    """A slot that has been read: ``failed`` if not in full."""

    series: "Series"
    stamp: Stamp
    got: tuple[Got, ...]
    failed: bool


@dataclass(slots=True)
class Series:
    """Measurements of one interval; the last slots that were attempted and stored, and the one that is open."""

    key: str
    group: Group
    every_ms: int
    measurements: tuple[Measurement, ...]
    stored_ms: int | None
    done_ms: int = 0
    sample: Sample | None = None

    def finish(self, *, failed: bool) -> Finished | None:
        """Close the open slot and return it."""
        sample, self.sample = self.sample, None
        if sample is None:
            return None
        return Finished(
            self, Stamp(sample.slot_ms, sample.slot_ms, sample.punctual and not failed), tuple(sample.got), failed
        )


def series_of(meter: MeterConfig, slots: Mapping[tuple[str, str], int]) -> list[Series]:
    """Return a meter's series; ``slots`` are the last stored ones by meter and key."""
    found: dict[str, list[Measurement]] = {}
    every: dict[str, int] = {}
    for measurement in meter.measurements:
        every_ms = meter.interval_of(measurement)
        own = every_ms != meter.every_ms.get(measurement.group)
        key = f"{measurement.group.value}/{every_ms}" if own else measurement.group.value
        found.setdefault(key, []).append(measurement)
        every[key] = every_ms
    return [
        Series(key, wanted[0].group, every[key], tuple(wanted), slots.get((meter.id, key)))
        for key, wanted in found.items()
    ]


class Polled:
    """A meter of the bus, how it stands and what is open."""

    def __init__(self, config: MeterConfig, slots: Mapping[tuple[str, str], int]) -> None:
        self.config = config
        self.series = series_of(config, slots)
        self._health = Health()
        self._job: tuple[Job, int, int] | None = None  # and from when until when it holds
        self.questions: list[Question] = []
        self.refusals: list[str] = []
        self.doubted = False  # the first question is asked again because its answer could not be right
        self.watch = Watch(config.model)
        self.tried = 0  # how often it was asked without success since it answered, or was given up
        self._of = {each.key: one for one in self.series for each in one.measurements}
        self._cost_ms = 0.0

    @property
    def health(self) -> Health:
        """How the meter has answered lately."""
        return self._health

    @health.setter
    def health(self, health: Health) -> None:
        self._health, self._job = health, None

    @property
    def is_open(self) -> bool:
        """Whether a slot is being read."""
        return any(each.sample is not None for each in self.series)

    @property
    def standing(self) -> Standing:
        """How much the meter deserves the line."""
        if self.health.silent:
            return Standing.SILENT
        return Standing.DOUBTFUL if self.health.failures or self.tried else Standing.HEALTHY

    def begin(self, now_ms: int) -> None:
        """Set the first slots; what was open is dropped."""
        self._job = None
        self.questions, self.tried, self.doubted = [], 0, False
        for each in self.series:
            each.sample = None
            each.done_ms = policy.first_due(now_ms, each.every_ms, each.stored_ms) - each.every_ms

    def job(self, now_ms: int, budget: ProbeBudget, probe_ms: float) -> Job:
        """Return when the meter is due next, and by when it is wanted."""
        if self._job is not None and self._job[1] <= now_ms < self._job[2]:
            return self._job[0]
        jobs = [(each.sample.slot_ms, each.sample.slot_ms, each) for each in self.series if each.sample is not None]
        jobs += [(due, policy.slot_of(max(due, now_ms), each.every_ms), each) for each, due in self._due()]
        due_ms = min(due for due, _, _ in jobs)
        is_probe = self.standing is Standing.SILENT and not self.is_open
        if is_probe:
            due_ms = max(due_ms, budget.ready_ms(probe_ms))
        wanted = [deadline(slot, each.every_ms, now_ms) for due, slot, each in jobs if due <= max(due_ms, now_ms)]
        job = Job(self.config.id, self.standing, due_ms, min(wanted))
        until_ms = min([job.deadline_ms, *(due for due, _, _ in jobs if due > now_ms)])
        self._job = None if is_probe else (job, now_ms, until_ms)
        return job

    def _due(self) -> list[tuple[Series, int]]:
        return [
            (each, policy.next_due(each.done_ms, each.every_ms, self.health))
            for each in self.series
            if each.sample is None
        ]

    def open_due(self, now_ms: int) -> tuple[Measurement, ...]:
        """Open the slots that are due; return what is wanted for them."""
        self._job = None
        wanted: list[Measurement] = []
        for each, due_ms in self._due():
            if due_ms <= now_ms:
                each.done_ms = policy.slot_of(now_ms, each.every_ms)
                each.sample = Sample(each.done_ms)
                wanted += each.measurements
        return tuple(wanted)

    def add(self, questions: Sequence[Question], now_ms: int) -> None:
        """Put questions in line, those that are wanted first at the head."""
        self.questions += questions
        self.questions.sort(key=lambda each: self._wanted_by(each, now_ms))

    def _wanted_by(self, question: Question, now_ms: int) -> int:
        series = {self._of[each.key].key: self._of[each.key] for each in question.measurements}.values()
        return min(
            (deadline(each.sample.slot_ms, each.every_ms, now_ms) for each in series if each.sample is not None),
            default=now_ms,
        )

    def expire(self, now_ms: int) -> list[Finished]:
        """Close the slots that are over, whatever is missing.

        How often the meter was asked in vain stays: one that takes longer to fail than its slots last must be noticed.
        """
        self._job = None
        over = [
            each for each in self.series if each.sample is not None and each.sample.slot_ms + each.every_ms <= now_ms
        ]
        finished = [done for each in over if (done := each.finish(failed=True)) is not None]
        if over:
            first = self.questions[:1]
            self.questions = [each for each in self.questions if self._is_wanted(each)]
            if self.questions[:1] != first:
                self.doubted = False
        return finished

    def _is_wanted(self, question: Question) -> bool:
        return any(self._of[each.key].sample is not None for each in question.measurements)

    def take(self, question: Question, got: Sequence[Got], instead: Sequence[Question]) -> list[Finished]:
        """Take the answer to the first question; return the slots that are read now."""
        assert self.questions[0] is question
        self.tried, self.doubted, self._job = 0, False, None
        self.questions[:1] = instead
        for each in got:
            series = self._of[each.measurement.key]
            if series.sample is not None:
                series.sample.got.append(each)
                series.sample.punctual &= each.at_ms == series.sample.slot_ms
        left = {each.key for one in self.questions for each in one.measurements}
        complete = [each for each in self.series if not left.intersection(one.key for one in each.measurements)]
        return [done for each in complete if (done := each.finish(failed=False)) is not None]

    def fail(self) -> list[Finished]:
        """Give up what is open: the meter does not answer."""
        self._job = None
        self.questions, self.tried, self.doubted = [], 0, False
        return [done for each in self.series if (done := each.finish(failed=True)) is not None]

    def note_miss(self) -> None:
        """Note that the first question was asked without success."""
        self.tried, self._job = self.tried + 1, None

    def stamp(self, measurement: Measurement, now_ms: int) -> int | None:
        """Return the time that a value asked for now carries; ``None`` if its slot is not open."""
        series = self._of[measurement.key]
        return None if series.sample is None else policy.time_in(series.sample.slot_ms, series.every_ms, now_ms)

    def note_stored(self, key: str, slot_ms: int) -> None:
        """Remember that a slot is in the spool."""
        for each in self.series:
            if each.key == key:
                each.stored_ms = slot_ms
