"""Which values of a meter's energy registers can't be right, and what follows. Pure state: no clock, no port.

A value that :func:`protocols.meters.glitch.judge` does not find fine is told with its octets, and its question asked
once more. If the second answer is fine, it is taken; if not, it is taken as it is and marked ``Quality.SUSPECT``.
Nothing is mended. The value accepted last stays the one to compare with, until :data:`REBASED_AFTER` doubtful values in
a row agree among themselves: then the register really stands there (an exchanged or reset meter), which is told, and
they are the new base.

The values accepted last are kept over a restart (:meth:`Watch.kept`). A register of which nothing was ever accepted
has nothing to be compared with: if its octets can be torn or swapped at all, its question is asked twice, and it is
accepted once two values in a row agree; until then what it says is marked. A mistake that a meter makes twice in the
same way in its very first answers is therefore taken for right, and found when the next values contradict it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.accepted import Accepted, decode_accepted, encode_accepted
from edge_agent.meter import Answer
from edge_agent.snapshots import Snapshots
from protocols.meters.counters import counter_of
from protocols.meters.glitch import Judgement, Sample, Verdict, judge
from protocols.meters.model import MeterModel

REBASED_AFTER = 3
LONG_AGO_MS = 30 * 86_400_000  # of a value whose time the clock has not come to yet: it was wrong, then or now


@dataclass(slots=True)
class _Register:
    """One register: the sample accepted last, and the doubtful ones since that agree.

    ``taken_ms`` is when it was accepted by the gateway's clock.
    """

    accepted: Sample | None = None
    taken_ms: int = 0
    doubtful: list[Sample] = field(default_factory=list)


class Watch:
    """The energy registers of one meter."""

    def __init__(self, model: MeterModel) -> None:
        self._counters = {
            each.key: counter for each in model.measurements if (counter := counter_of(model, each)) is not None
        }
        self._model = model
        self._registers: dict[str, _Register] = {}
        self._snapshots = Snapshots(model)
        self.changed = False  # since :meth:`kept` was asked for

    def restore(self, octets: bytes, now_ms: int, at_ms: int) -> None:
        """Go on from what :meth:`kept` returned in an earlier life, at ``now_ms`` by the gateway's clock."""
        for key, (taken_ms, value, raw) in decode_accepted(self._model, octets).items():
            elapsed_ms = now_ms - taken_ms if now_ms >= taken_ms else LONG_AGO_MS
            if key in self._counters:
                self._registers[key] = _Register(Sample(at_ms - elapsed_ms, value, raw), taken_ms)

    def kept(self) -> bytes:
        """Return what was accepted last, for the spool."""
        self.changed = False
        found = {
            key: Accepted(each.taken_ms, each.accepted.value, each.accepted.raw)
            for key, each in self._registers.items()
            if each.accepted is not None
        }
        return encode_accepted(self._model, found)

    def is_first(self, answer: Answer, at_ms: int) -> bool:
        """Return whether ``answer`` has octets of a register of which nothing was heard before, and remember them."""
        first = False
        for measurement, value in answer.values:
            raw, register = answer.raw.get(measurement.key), self._of(measurement.key)
            if measurement.key in self._counters and raw and register.accepted is None and not register.doubtful:
                register.doubtful, first = [Sample(at_ms, value, raw)], True
        return first

    def doubts(self, answer: Answer, at_ms: int) -> dict[str, Judgement]:
        """Return why values of ``answer`` are doubtful, by their measurements' keys. ``at_ms`` never goes back."""
        found = self._snapshots.doubts(answer, at_ms)
        for measurement, value in answer.values:
            counter = self._counters.get(measurement.key)
            register = self._of(measurement.key)
            before = register.accepted or (register.doubtful[-1] if register.doubtful else None)
            if counter is not None and before is not None and measurement.key not in found:
                now = Sample(at_ms, value, answer.raw.get(measurement.key, b""), answer.meter_at_ms)
                judgement = judge(counter, measurement, before, now)
                if not judgement.is_fine:
                    found[measurement.key] = judgement
        return found

    def take(self, answer: Answer, at_ms: int, doubts: Mapping[str, Judgement], now_ms: int = 0) -> list[str]:
        """Remember what was taken; return the keys of registers that have a new base now.

        ``now_ms`` is the gateway's clock, which may be set; ``at_ms`` never goes back.
        """
        self._snapshots.take(answer, at_ms)
        rebased: list[str] = []
        for measurement, value in answer.values:
            counter = self._counters.get(measurement.key)
            if counter is None:
                continue
            register = self._of(measurement.key)
            now = Sample(at_ms, value, answer.raw.get(measurement.key, b""), answer.meter_at_ms)
            if measurement.key not in doubts:
                self._accept(register, now, now_ms)
                continue
            if doubts[measurement.key].verdict is Verdict.REPEATED_SNAPSHOT:
                continue  # it is the value of before: no other base
            if register.doubtful and not judge(counter, measurement, register.doubtful[-1], now).is_fine:
                register.doubtful = []
            register.doubtful.append(now)
            if len(register.doubtful) >= REBASED_AFTER:
                self._accept(register, now, now_ms)
                rebased.append(measurement.key)
        return rebased

    def _accept(self, register: _Register, now: Sample, now_ms: int) -> None:
        register.accepted, register.taken_ms, register.doubtful = now, now_ms, []
        self.changed = True

    def _of(self, key: str) -> _Register:
        return self._registers.setdefault(key, _Register())
