"""Meters that know the truth: what each of their registers held at any time, and what they ever said of it.

A counter runs a Wh every tenth of a second, each channel in a range of its own. So a value tells whose it is, of
which register and of which tenth of a second: a reading that is misattributed, stale or made up matches nothing that
was said.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from edge_agent.config import MeterConfig
from edge_agent.meter import Answer, ProfileValue, Question
from protocols.meters.model import Group, Measurement
from protocols.obis import Obis
from simulators.modbus.slave import Holes, ModbusSlave

ENERGY = 8  # OBIS value group D: time integral
MS_PER_WH = 100
RANGE_WH = 40_000_000  # between the first values of two channels; a schedule runs a tenth of a million
ROLLOVER = 1 << 32
GLITCHES_PART = 0.4  # of the values, while a meter has them: it is not wrong the same way each time


@dataclass(frozen=True, slots=True)
class Saying:
    """A value that a meter told: when, by the true time and by the gateway's clock; whether it was a glitch."""

    at_s: float
    gateway_ms: int
    value: int
    glitch: bool


class Glitch(Enum):
    """What a meter's own mistake looks like."""

    SWAPPED = "swapped words"
    BACK = "going back"
    STEEP = "impossible slope"


class TrueMeter:
    """A meter's registers, and a record of what it said. Also what ``simulators.modbus.slave`` needs of a meter."""

    def __init__(
        self,
        meter: MeterConfig,
        number: int,
        *,
        now_s: Callable[[], float],
        epoch_ms: int,
        gateway_ms: Callable[[], int],
    ) -> None:
        self.name, self.model, self.address = meter.id, meter.model, meter.address
        self._now_s, self._epoch_ms, self._gateway_ms = now_s, epoch_ms, gateway_ms
        self._places = {each.obis: at for at, each in enumerate(meter.model.measurements)}
        self._names = {obis: str(obis) for obis in self._places}
        self.counters = [name for obis, name in self._names.items() if obis.d == ENERGY]
        self._number, self._rng = number, Random(number)
        self._start = {
            obis: (number * 8 + at + 1) * RANGE_WH + 70_000 for obis, at in self._places.items() if obis.d == ENERGY
        }
        self.sayings: dict[str, list[Saying]] = defaultdict(list)
        self.glitch: Glitch | None = None
        self.frozen_s: float | None = None  # it repeats the snapshot of this time
        self.exchanged = 0
        self.silent = self.refuses_holes = False
        self.profile_from_s = 0.0

    def truth(self, obis: Obis, at_s: float) -> int:
        """Return what the register holds."""
        if obis.d != ENERGY:
            return 200_000 + (round(at_s * 10) * 7919 + self._number * 4099) % 40_000
        return (self._start[obis] + round(at_s * 1000) // MS_PER_WH) % ROLLOVER

    def value(self, obis: Obis, _at_ms: int) -> int:
        """Say a register's value; it is recorded."""
        at_s = self._now_s() if self.frozen_s is None else self.frozen_s
        value, glitch = self.truth(obis, at_s), False
        if self.glitch is not None and obis.d == ENERGY and self._rng.random() < GLITCHES_PART:
            value, glitch = self._spoil(value) % ROLLOVER, True  # as its register has it
        self.sayings[self._names[obis]].append(Saying(self._now_s(), self._gateway_ms(), value, glitch))
        return value

    def _spoil(self, value: int) -> int:
        if self.glitch is Glitch.SWAPPED:
            return (value >> 16) | (value & 0xFFFF) << 16
        if self.glitch is Glitch.BACK:
            return value - self._rng.randrange(10_000, 70_000)
        return value + self._rng.randrange(1 << 20, 1 << 24)

    def exchange(self) -> None:
        """Put another meter of the same model in its place: it has counted something else."""
        self.exchanged += 1
        self._start = {obis: start + RANGE_WH // 4 for obis, start in self._start.items()}

    def roll_over_soon(self, at_s: float) -> None:
        """Let the first counter stand two minutes before its end."""
        first = next(iter(self._start))
        self._start[first] = ROLLOVER - round(at_s * 1000) // MS_PER_WH - 1200

    def profile(self, obis: Obis, from_ms: int, to_ms: int, every_ms: int) -> list[ProfileValue]:
        """Return what it has kept of its slots, by its own clock, which is right."""
        last_ms = min(to_ms, self._epoch_ms + round(self._now_s() * 1000))
        first_ms = max(from_ms, self._epoch_ms + round(self.profile_from_s * 1000))
        return [
            ProfileValue(str(obis), at_ms, self.truth(obis, (at_ms - self._epoch_ms) / 1000))
            for at_ms in range(-(-first_ms // every_ms) * every_ms, last_ms + 1, every_ms)
        ]


def slave_of(meter: TrueMeter) -> ModbusSlave:
    """Return the register map of ``meter``, as the project's simulators have it."""
    return ModbusSlave(meter, Holes.REFUSE if meter.refuses_holes else Holes.ZERO)  # type: ignore[arg-type]  # it has what a slave asks of a simulated meter


class ProfileMeter:
    """A meter with a load profile at the bus's own seam: its protocol is left out, its truth is not."""

    def __init__(self, meter: TrueMeter, wait: Callable[[float], object], rng: Random, every_ms: int) -> None:
        self.meter, self._wait, self._rng, self._every_ms = meter, wait, rng, every_ms
        self.fails_in = 0  # one of so many readings breaks off in the middle

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        """Ask for all at once."""
        return (Question(tuple(wanted), 100.0),)

    def free_at(self, question: Question) -> float:
        """It can be asked at once."""
        del question
        return 0.0

    async def ask(self, question: Question, *, probe: bool) -> Answer:
        """Tell the registers, or the first of them, or nothing."""
        values: list[tuple[Measurement, int]] = []
        for each in question.measurements:
            await self._wait(0.05)
            if self.meter.silent:
                await self._wait(0.5 if probe else 2.0)
                return Answer(tuple(values), failure="no reply")
            if self.fails_in and self._rng.randrange(self.fails_in) == 0:
                return Answer(tuple(values), failure="broke off")
            values.append((each, self.meter.value(each.obis, 0)))
        return Answer(tuple(values))

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Tell the registers of these groups."""
        chosen = [each for each in self.meter.model.measurements if each.group in groups]
        return await self.ask(Question(tuple(chosen), 100.0), probe=probe)

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
        """Tell what the load profile holds of a range."""
        await self._wait(0.2)
        if self.meter.silent or (self.fails_in and self._rng.randrange(self.fails_in) == 0):
            return "no reply"
        billing = [each.obis for each in self.meter.model.measurements if each.group is Group.BILLING]
        return tuple(row for obis in billing for row in self.meter.profile(obis, from_ms, to_ms, self._every_ms))
