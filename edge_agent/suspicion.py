"""Which values of a meter's energy registers can't be right, and what follows. Pure state: no clock, no port.

A value that :func:`protocols.meters.glitch.judge` does not find fine is told with its octets, and its question asked
once more. If the second answer is fine, it is taken; if not, it is taken as it is and marked ``Quality.SUSPECT``.
Nothing is mended. The value accepted last stays the one to compare with, until :data:`REBASED_AFTER` doubtful values in
a row agree among themselves: then the register really stands there (an exchanged or reset meter), which is told, and
they are the new base.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.meter import Answer
from protocols.meters.counters import counter_of
from protocols.meters.glitch import Judgement, Sample, judge
from protocols.meters.model import MeterModel

REBASED_AFTER = 3


@dataclass(slots=True)
class _Register:
    """One register: the sample accepted last, and the doubtful ones since that agree."""

    accepted: Sample | None = None
    doubtful: list[Sample] = field(default_factory=list)


class Watch:
    """The energy registers of one meter."""

    def __init__(self, model: MeterModel) -> None:
        self._counters = {
            each.key: counter for each in model.measurements if (counter := counter_of(model, each)) is not None
        }
        self._registers: dict[str, _Register] = {}

    def doubts(self, answer: Answer, at_ms: int) -> dict[str, Judgement]:
        """Return why values of ``answer`` are doubtful, by their measurements' keys. ``at_ms`` never goes back."""
        found: dict[str, Judgement] = {}
        for measurement, value in answer.values:
            counter = self._counters.get(measurement.key)
            accepted = self._of(measurement.key).accepted
            if counter is not None and accepted is not None:
                now = Sample(at_ms, value, answer.raw.get(measurement.key, b""))
                judgement = judge(counter, measurement, accepted, now)
                if not judgement.is_fine:
                    found[measurement.key] = judgement
        return found

    def take(self, answer: Answer, at_ms: int, doubts: Mapping[str, Judgement]) -> list[str]:
        """Remember what was taken; return the keys of registers that have a new base now."""
        rebased: list[str] = []
        for measurement, value in answer.values:
            counter = self._counters.get(measurement.key)
            if counter is None:
                continue
            register = self._of(measurement.key)
            now = Sample(at_ms, value, answer.raw.get(measurement.key, b""))
            if measurement.key not in doubts:
                register.accepted, register.doubtful = now, []
                continue
            if register.doubtful and not judge(counter, measurement, register.doubtful[-1], now).is_fine:
                register.doubtful = []
            register.doubtful.append(now)
            if len(register.doubtful) >= REBASED_AFTER:
                register.accepted, register.doubtful = now, []
                rebased.append(measurement.key)
        return rebased

    def _of(self, key: str) -> _Register:
        return self._registers.setdefault(key, _Register())
