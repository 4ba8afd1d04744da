"""Doubles of the agent's own seams: a clock that is moved by hand, and meters that answer what a test says."""

import asyncio
from collections.abc import Callable, Sequence

from edge_agent.config import BusConfig
from edge_agent.dlms_duties import LogEntry
from edge_agent.failures import LineLostError
from edge_agent.meter import Answer, Fault, Meter, ProfileValue, Question
from edge_agent.tending import Duties
from protocols.meters.dlms_settings import EventLog
from protocols.meters.model import Group, Measurement, MeterModel


class StoppingClock:
    """Time that jumps to each appointment, and stops the bus when ``until_ms`` is reached."""

    def __init__(self, now_ms: int, until_ms: int, stop: asyncio.Event) -> None:
        self._now_ms, self._until_ms, self._stop = now_ms, until_ms, stop

    def now_ms(self) -> int:
        return self._now_ms

    async def wait_until(self, at_ms: int) -> None:
        if at_ms > self._until_ms:
            self._stop.set()
        else:
            self._now_ms = at_ms

    def pass_ms(self, duration_ms: int) -> None:
        """Let time pass while the bus works."""
        self._now_ms += duration_ms

    async def close(self) -> None:
        return None


class CountingMeter:
    """Counts a Wh each second since 1970. ``failing`` says when it does not answer; it remembers half hours."""

    def __init__(
        self, model: MeterModel, clock: StoppingClock, failing: Callable[[int], bool], slow_ms: int = 0
    ) -> None:
        self._model, self._clock, self._failing, self._slow_ms = model, clock, failing, slow_ms
        self.glitches: dict[int, int] = {}  # by the number of the question, what is added to its values
        self.probes = 0
        self.reads = 0

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        return (Question(tuple(wanted), 100.0),)

    def free_at(self, question: Question) -> float:
        return 0.0

    async def ask(self, question: Question, *, probe: bool) -> Answer:
        at_ms = self._clock.now_ms()
        self.reads += 1
        self.probes += probe
        self._clock.pass_ms(self._slow_ms)
        if self._failing(at_ms):
            return Answer((), failure="no reply", fault=Fault.SILENT)
        glitch = self.glitches.get(self.reads, 0)
        return Answer(tuple((each, at_ms // 1000 + glitch) for each in question.measurements))

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        (question,) = self.questions([each for each in self._model.measurements if each.group in groups])
        return await self.ask(question, probe=probe)

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
        every_ms = 1_800_000
        first = -(-from_ms // every_ms) * every_ms
        return tuple(ProfileValue("1.0.1.8.0", at_ms, at_ms // 1000) for at_ms in range(first, to_ms + 1, every_ms))


class ClockOnly:
    """A meter whose clock is right and whose logs are none; remembers when it was asked."""

    logs: tuple[EventLog, ...] = ()

    def __init__(self, clock: StoppingClock) -> None:
        self._clock = clock
        self.asked_ms: list[int] = []

    async def read_clock(self) -> int | str:
        self.asked_ms.append(self._clock.now_ms())
        return self._clock.now_ms()

    async def shift_clock(self, seconds: int) -> bool | str:
        return "not asked for"

    async def read_log(self, log: EventLog, from_ms: int, to_ms: int) -> tuple[LogEntry, ...] | str:
        return "no log"


class FakeLine:
    """A line with the meters of a test; may be lost at the beginning."""

    def __init__(self, meters: dict[str, Meter], losses: int = 0, duties: dict[str, Duties] | None = None) -> None:
        self.meters = meters
        self.duties = duties or {}
        self._losses = losses

    async def open(self, _bus: BusConfig) -> "FakeLine":
        if self._losses:
            self._losses -= 1
            raise LineLostError("unplugged")
        return self

    def close(self) -> None:
        return None
