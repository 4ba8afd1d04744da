"""What a bus has read since its last commit: turned into readings, slots and holes, told, and committed as one.

The canonical log line ``bus.cycle_finished`` is one commit.
"""

from collections.abc import Callable, Iterable, Mapping

from edge_agent import policy
from edge_agent.healing import Healer
from edge_agent.log import Recurring
from edge_agent.meter import Answer
from edge_agent.series import Finished, Got, Polled, Series
from edge_agent.spool import Cycle, Hole, SlotDone
from edge_agent.statistics import MeterTally
from edge_agent.store import Store
from protocols.meters.glitch import Judgement, Verdict
from protocols.meters.model import Group
from protocols.telemetry.event import EventKind, MeterEvent
from protocols.telemetry.fields import TEXT_CHARACTERS_MAX
from protocols.telemetry.reading import Quality, Reading


class Gathering:
    """The cycle that is being gathered on one bus."""

    def __init__(
        self,
        bus: str,
        store: Store,
        recurring: Recurring,
        time_s: Callable[[], float],
        tallies: Mapping[str, MeterTally],
    ) -> None:
        self._bus = bus
        self._store = store
        self._recurring = recurring
        self._time_s = time_s
        self._tallies = tallies
        self._cycle = Cycle()
        self._asked: dict[str, bool] = {}
        self._began_s: float | None = None
        self._repeating: set[str] = set()  # registers that repeat a snapshot, whose octets have been told

    @property
    def is_empty(self) -> bool:
        """Whether no meter was read since the last commit."""
        return self._began_s is None

    def age_s(self) -> float:
        """Return how long ago the first question of this cycle was asked."""
        return 0.0 if self._began_s is None else self._time_s() - self._began_s

    def begin(self) -> None:
        """Note that a question is asked."""
        if self._began_s is None:
            self._began_s = self._time_s()

    def got(self, polled: Polled, answer: Answer, now_ms: int, steady_ms: int) -> list[Got] | None:
        """Return the values of ``answer`` with the times and qualities that they carry.

        ``None`` if the question is to be asked once more: some can't be right, which is told, or they are the first
        that were ever heard. ``steady_ms`` is a time that never goes back.
        """
        if not polled.doubted and polled.watch.is_first(answer, steady_ms):
            polled.doubted = True
            return None  # nothing tells yet whether it is right: it is asked once more
        doubts = polled.watch.doubts(answer, steady_ms)
        self._tell_doubts(polled, answer, doubts, now_ms)
        if doubts and not polled.doubted:
            polled.doubted = True
            return None
        for key in polled.watch.take(answer, steady_ms, doubts, now_ms):
            self._tell_new_base(polled, answer, key, now_ms)
        found: list[Got] = []
        self._cycle.taken_at_ms = now_ms
        for measurement, value in answer.values:
            at_ms = polled.stamp(measurement, now_ms)
            if at_ms is not None:
                quality = Quality.SUSPECT if measurement.key in doubts else Quality.ACTUAL
                found.append(Got(measurement, value, at_ms, int(quality)))
        return found

    def _tell_doubts(self, polled: Polled, answer: Answer, doubts: Mapping[str, Judgement], now_ms: int) -> None:
        meter = polled.config.id
        for measurement, value in answer.values:
            fields = {"bus": self._bus, "meter": meter, "measurement": measurement.key}
            subject = f"{meter} {measurement.key}"
            doubt = doubts.get(measurement.key)
            repeats = doubt is not None and doubt.verdict is Verdict.REPEATED_SNAPSHOT
            told = repeats and subject in self._repeating
            (self._repeating.add if repeats else self._repeating.discard)(subject)
            if doubt is None:
                self._recurring.recovered(subject, "meter.glitch", "meter.counts", **fields)
                continue
            raw = answer.raw.get(measurement.key, b"")
            self._tallies[meter].count("glitches")
            self._recurring.failed(subject, "meter.glitch", **fields, reason=doubt, raw=raw.hex())
            if told:
                continue  # it may last for days, and its octets are the same
            self._cycle.events.append(
                MeterEvent(
                    EventKind.GLITCH,
                    meter,
                    now_ms,
                    str(measurement.obis),
                    value=value,
                    text=str(doubt)[:TEXT_CHARACTERS_MAX],
                    body=raw or None,
                )
            )

    def _tell_new_base(self, polled: Polled, answer: Answer, key: str, now_ms: int) -> None:
        measurement, value = next(each for each in answer.values if each[0].key == key)
        meter = polled.config.id
        self._recurring.log.warning("meter.counter_rebased", bus=self._bus, meter=meter, measurement=key, value=value)
        self._cycle.events.append(MeterEvent(EventKind.COUNTER, meter, now_ms, str(measurement.obis), value=value))

    def finish(self, polled: Polled, done: Iterable[Finished]) -> None:
        """Take slots that are read. Half a billing reading is left out where a load profile has it whole."""
        meter = polled.config
        for each in done:
            series = each.series
            self._tallies[meter.id].count("slots_failed" if each.failed else "slots_read")
            heals = series.key == Group.BILLING.value and meter.heal
            if each.failed and (heals or not each.got):
                continue
            self._cycle.readings += [
                Reading(meter.id, str(got.measurement.obis), got.at_ms, got.value, got.quality) for got in each.got
            ]
            before_ms = self._last_slot_ms(meter.id, series) if heals else None
            self._cycle.slots.append(SlotDone(meter.id, series.key, each.stamp.slot_ms))
            missed = policy.missed_slots(before_ms, each.stamp, series.every_ms)
            if missed and heals:
                self._cycle.holes.append(Hole(meter.id, *missed))

    def _last_slot_ms(self, meter: str, series: Series) -> int | None:
        """Return the last slot that was read: of this cycle, if the clock was set meanwhile or slots are short."""
        here = [each.slot_ms for each in self._cycle.slots if (each.meter, each.series) == (meter, series.key)]
        return here[-1] if here else series.stored_ms

    def report(self, polled: Polled, failure: str | None) -> None:
        """Tell how the reading of a meter ended, if that is news."""
        name = polled.config.id
        refusals, polled.refusals = polled.refusals, []
        fields = {"bus": self._bus, "meter": name}
        self._asked[name] = failure is None
        if failure is None:
            self._recurring.recovered(name, "meter.not_read", "meter.answered", **fields)
        else:
            self._recurring.failed(name, "meter.not_read", **fields, reason=failure)
        if refusals:
            self._recurring.failed(name, "meter.refused", **fields, reason="; ".join(refusals))
        elif failure is None:
            self._recurring.recovered(name, "meter.refused", "meter.complete", **fields)

    async def commit(self, polled: Mapping[str, Polled], healer: Healer) -> list[str]:
        """Spool what was gathered; return the meters that answered in full."""
        cycle, self._cycle = self._cycle, Cycle()
        asked, self._asked = self._asked, {}
        took_s, self._began_s = self.age_s(), None
        if not cycle.is_empty:
            cycle.registers = {name: each.watch.kept() for name, each in polled.items() if each.watch.changed}
        if not cycle.is_empty and await self._store.commit(cycle, self._bus, self._recurring):
            for slot in cycle.slots:
                polled[slot.meter].note_stored(slot.series, slot.slot_ms)
            healer.note(cycle.holes)
        answered = [name for name, in_full in asked.items() if in_full]
        if asked:
            self._recurring.log.info(
                "bus.cycle_finished",
                bus=self._bus,
                meters=len(asked),
                read=len(answered),
                failed=len(asked) - len(answered),
                readings=len(cycle.readings),
                took_s=took_s,
            )
        return answered
