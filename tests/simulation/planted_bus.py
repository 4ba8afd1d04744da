"""Mistakes of the bus: slots, stamps, holes, glitches, silent meters."""

from dataclasses import replace
from typing import Any

from edge_agent import healing, policy
from edge_agent.bus import Bus
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.store import Store
from edge_agent.suspicion import Watch
from protocols.telemetry.reading import Reading
from tests.simulation.faults import Kind
from tests.simulation.planted import PlantedBug, replacing, wrapping

HOLES = (Kind.METER_SILENT, Kind.PROFILE_BROKEN, Kind.KILL, Kind.POWER)
REFUSED = (Kind.DISK_FULL, Kind.DISK_FULL, Kind.KILL)
CLOCK = (Kind.CLOCK_FORWARD, Kind.CLOCK_BACK, Kind.CLOCK_UNSET)


def _dropped(_store: Store, _cycle: Any) -> None:
    return None


def _as_actual(original: Any) -> Any:
    return lambda *words: [each._replace(quality=0) for each in original(*words)]


def _nothing_kept(original: Any) -> Any:
    return lambda *words: original(*words)[:1]


def _a_slot_too_late(original: Any) -> Any:
    def readings_of(config: Any, found: Any, from_ms: int, to_ms: int) -> list[Reading]:
        every_ms = next(iter(config.every_ms.values()))
        moved = [replace(each, at_ms=each.at_ms + every_ms) for each in found]
        return list(original(config, moved, from_ms, to_ms))

    return readings_of


def _last_values_again(original: Any) -> Any:
    async def ask(self: ModbusMeter, question: Any, *, probe: bool) -> Any:
        answer = await original(self, question, probe=probe)
        kept = self.__dict__.setdefault("_kept", {})
        if answer.failure is not None:
            return kept.get(question.measurements, answer)
        kept[question.measurements] = answer
        return answer

    return ask


def _never_again(original: Any) -> Any:
    return lambda health, now_ms: replace(original(health, now_ms), probe_from_ms=now_ms + 365 * policy.DAY_MS)


def _each_slot_again(_original: Any) -> Any:
    return lambda now_ms, every_ms, _last_slot_ms: policy.slot_of(now_ms, every_ms)


def _by_the_clock_alone(original: Any) -> Any:
    """Begin anew at each look at the clock: what it shows is read, whether it was read before or not."""

    def jobs(self: Bus, now_ms: int) -> Any:
        for polled in self._polled.values():
            for each in polled.series:
                if each.done_ms > now_ms:
                    each.done_ms = policy.slot_of(now_ms, each.every_ms) - each.every_ms
        return original(self, now_ms)

    return jobs


def _too_few_missed(original: Any) -> Any:
    def missed(last_slot_ms: Any, read: Any, every_ms: int) -> Any:
        found = original(last_slot_ms, read, every_ms)
        return found and (found if found[0] == found[1] else (found[0] + every_ms, found[1]))

    return missed


def _whole_but_its_end(original: Any) -> Any:
    def chunk(from_ms: int, to_ms: int, every_ms: int, *more: Any) -> Any:
        first, last = original(from_ms, to_ms, every_ms, *more)
        return (first, last + every_ms)

    return chunk


def _at_once(_watch: Watch, _answer: Any, _at_ms: int) -> bool:
    return False


def _forgotten(_store: Store) -> dict[str, bytes]:
    return {}


BUGS = (
    PlantedBug(
        "what a counter said first is believed at once",
        replacing(Watch, "is_first", _at_once),
        (Kind.METER_GLITCHES, Kind.METER_GLITCHES),
        schedules_max=300,
    ),
    PlantedBug(
        "what counters said before is forgotten by a restart",
        replacing(Store, "registers", _forgotten),
        (Kind.METER_GLITCHES, Kind.METER_GLITCHES, Kind.METER_GLITCHES, Kind.RESTART, Kind.RESTART),
        schedules_max=600,
    ),
    PlantedBug("a counter's glitch passes", replacing(Watch, "doubts", lambda *_: {}), (Kind.METER_GLITCHES,)),
    PlantedBug("what a full disk refuses counts as taken", replacing(Store, "_commit_in_memory", _dropped), REFUSED),
    PlantedBug("what comes from a load profile is called actual", wrapping(healing, "readings_of", _as_actual), HOLES),
    PlantedBug("a hole is struck off although little was kept", wrapping(healing, "readings_of", _nothing_kept), HOLES),
    PlantedBug("a load profile's rows are a slot off", wrapping(healing, "readings_of", _a_slot_too_late), HOLES),
    PlantedBug("a hole begins a slot too late", wrapping(policy, "missed_slots", _too_few_missed), HOLES),
    PlantedBug(
        "a piece of a hole reaches into what was read", wrapping(policy, "heal_chunk", _whole_but_its_end), HOLES
    ),
    PlantedBug(
        "the last values are given again when a meter fails",
        wrapping(ModbusMeter, "ask", _last_values_again),
        (Kind.METER_SILENT, Kind.LINE),
    ),
    PlantedBug(
        "a late reading carries the slot's beginning",
        replacing(policy, "PUNCTUAL_MS", 10**9),
        (Kind.UNPLUGGED, Kind.KILL, Kind.POWER),
    ),
    PlantedBug(
        "a silent meter is never tried again",
        wrapping(policy, "after_failure", _never_again),
        (Kind.METER_SILENT, Kind.METER_SILENT, Kind.UNPLUGGED),
    ),
    PlantedBug(
        "a slot is read again after each start",
        wrapping(policy, "first_due", _each_slot_again),
        (Kind.KILL, Kind.KILL_AT_STEP, Kind.KILL_AT_DISK),
    ),
    PlantedBug("a slot is read again when the clock is set back", wrapping(Bus, "_jobs", _by_the_clock_alone), CLOCK),
    PlantedBug("a clock that was never set is believed", replacing(policy, "CLOCK_SANE_FROM_MS", 0), CLOCK),
    PlantedBug(
        "a line that is lost is not opened again", replacing(Bus, "_close_line", lambda _bus: None), (Kind.UNPLUGGED,)
    ),
)
