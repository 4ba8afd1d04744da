"""Whether a meter repeats a snapshot: says again what it said before, though time has passed. Pure state.

Two things tell. A meter whose own clock came with the reading must show a later time. Without a clock physics tells:
if all registers, those that flicker too, are equal to the last digit in several polls, while at the power that is told
an energy register should have risen by more than its step, and has not, then nothing was measured anew.
Without a power beside the energy, or with a power of zero, equal registers prove nothing: nobody may be at home.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.meter import Answer
from protocols.meters.counters import ENERGY, counter_of
from protocols.meters.glitch import METER_TIME_STEP_MS, MS_PER_HOUR, Judgement, Verdict
from protocols.meters.model import MeterModel

POLLS_MIN = 3  # so often each instantaneous value must have been the same
SPAN_MS_MIN = 300_000  # meters and gateways that renew their registers seldom do so every five minutes
RISE_MIN_WH = 100  # a register that comes as a float may have a step of 0.1 kWh that no model tells
INSTANTANEOUS = 7  # OBIS value group D
# Which total energy a total power feeds, by value group C, and with which sign (IEC 62056-6-1, table 13).
_FEEDS = ((1, 1, 1), (2, 2, 1), (15, 15, 1), (16, 1, 1), (16, 2, -1))


@dataclass(frozen=True, slots=True)
class _Said:
    """What a register says, from when until when and how often in a row; the meter's time of the last one."""

    value: int
    raw: bytes
    first_ms: int
    last_ms: int
    times: int = 1
    meter_at_ms: int | None = None

    def again(self, now: "_Said") -> "_Said":
        """Return what is known after ``now`` was said."""
        if (self.value, self.raw) != (now.value, now.raw):
            return now
        return _Said(self.value, self.raw, self.first_ms, now.last_ms, self.times + 1, now.meter_at_ms)


@dataclass(frozen=True, slots=True)
class _Feed:
    """A power and the energy register that it feeds, the register's step in Wh."""

    power: str
    energy: str
    sign: int
    step: int


class Snapshots:
    """All registers of one meter that are read."""

    def __init__(self, model: MeterModel) -> None:
        self._feeds = tuple(_feeds_of(model))
        self._instantaneous = frozenset(each.key for each in model.measurements if each.obis.d == INSTANTANEOUS)
        self._said: dict[str, _Said] = {}

    def doubts(self, answer: Answer, at_ms: int) -> dict[str, Judgement]:
        """Return the measurements of ``answer`` that repeat a snapshot, by their keys."""
        fresh = _said_in(answer, at_ms)
        same = {key for key, now in fresh.items() if (old := self._said.get(key)) is not None and _is_same(old, now)}
        found = {key: self._judgement(key, at_ms) for key in same if _is_same_time(self._said[key], fresh[key])}
        if not fresh or len(same) < len(fresh):
            return found
        due = self._contradiction({**self._said, **{key: self._said[key].again(now) for key, now in fresh.items()}})
        return found if due is None else {key: self._judgement(key, at_ms, due) for key in fresh}

    def take(self, answer: Answer, at_ms: int) -> None:
        """Remember what was said."""
        for key, now in _said_in(answer, at_ms).items():
            old = self._said.get(key)
            self._said[key] = now if old is None else old.again(now)

    def _judgement(self, key: str, at_ms: int, due: int | None = None) -> Judgement:
        said = self._said[key]
        return Judgement(Verdict.REPEATED_SNAPSHOT, said.value, said.value, at_ms - said.first_ms, 0, None, due=due)

    def _contradiction(self, said: dict[str, _Said]) -> int | None:
        """Return by how much [Wh] an energy should have risen since the last change of any register, and has not."""
        if any(each.times < POLLS_MIN for key, each in said.items() if key in self._instantaneous):
            return None
        since_ms = max(each.first_ms for each in said.values())
        for feed in self._feeds:
            power, energy = said.get(feed.power), said.get(feed.energy)
            if power is None or energy is None:
                continue
            span_ms = min(power.last_ms, energy.last_ms) - since_ms
            due = feed.sign * power.value * span_ms // MS_PER_HOUR
            if span_ms >= SPAN_MS_MIN and due >= max(RISE_MIN_WH, 2 * feed.step):
                return due
        return None


def _said_in(answer: Answer, at_ms: int) -> dict[str, _Said]:
    return {
        each.key: _Said(value, answer.raw.get(each.key, b""), at_ms, at_ms, meter_at_ms=answer.meter_at_ms)
        for each, value in answer.values
    }


def _is_same(old: _Said, now: _Said) -> bool:
    return (old.value, old.raw) == (now.value, now.raw)


def _is_same_time(old: _Said, now: _Said) -> bool:
    elapsed_ms = now.last_ms - old.last_ms
    return now.meter_at_ms is not None and now.meter_at_ms == old.meter_at_ms and elapsed_ms >= METER_TIME_STEP_MS


def _feeds_of(model: MeterModel) -> Iterator[_Feed]:
    totals = {(each.obis.c, each.obis.d): each for each in model.measurements if each.obis.e == 0}
    for power_c, energy_c, sign in _FEEDS:
        power, energy = totals.get((power_c, INSTANTANEOUS)), totals.get((energy_c, ENERGY))
        if power is not None and energy is not None:
            counter = counter_of(model, energy)
            assert counter is not None
            yield _Feed(power.key, energy.key, sign, counter.resolution)
