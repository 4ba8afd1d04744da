"""What the spool's file is owed after a time in which the disk refused and readings went into memory only.

Two things. The slots that only memory holds are holes for whoever comes after a restart, if a load profile can fill
them: they are noted as such with the next cycle that the disk takes, and struck off when the server has receipted the
readings. And what the server has receipted belongs to the file's counts and digests of days, for memory forgets it: it
is counted there in the same way, once, though the server may ask for it again. What memory gives up or loses is in
neither, and stays a hole.

All of it is bounded: while a disk stays full for long, what is beyond :data:`OWED_MAX` is not noted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from edge_agent.cycle import Cycle, Hole
from edge_agent.policy import DAY_MS
from protocols.meters.model import Group
from protocols.telemetry.reading import DIGEST_MODULUS, Reading, reading_digest
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import Ranges

OWED_MAX = 100_000  # holes and batches, some 10 MB: half a day of 2,000 meters' quarters of an hour


@dataclass(slots=True)
class _Held:
    """A cycle in memory: how many of its batches have no receipt yet, and what to strike off when all have."""

    left: int
    filled: list[Hole]
    is_whole: bool = True  # none of them was given up


@dataclass(slots=True)
class Owed:
    """Collected on the spool's thread."""

    _holes: dict[Hole, None] = field(default_factory=dict)  # not in the file yet, in the order in which they came
    _filled: list[Hole] = field(default_factory=list)
    _counted: dict[int, tuple[int, int]] = field(default_factory=dict)
    _held: dict[int, _Held] = field(default_factory=dict)  # by the number of a batch

    def hold(self, cycle: Cycle, sequences: range, every_ms: Mapping[str, int]) -> None:
        """Note what was taken into memory under these numbers; ``every_ms`` are intervals of meters with profiles."""
        slots = [
            Hole(each.meter, each.slot_ms, each.slot_ms)
            for each in cycle.slots
            if each.series == Group.BILLING.value
            and each.meter in every_ms
            and not _has(cycle.holes, each.meter, each.slot_ms)
        ]
        filled = [*slots, *cycle.filled]
        if self.size + len(cycle.holes) + 2 * len(slots) + len(cycle.filled) + len(sequences) > OWED_MAX:
            return
        self._holes |= dict.fromkeys([*cycle.holes, *slots])
        if sequences:
            self._held |= dict.fromkeys(sequences, _Held(len(sequences), filled))
        else:
            self._strike_off(filled)

    @property
    def size(self) -> int:
        """How many holes and batches are noted."""
        held = {id(each): each for each in self._held.values()}
        return len(self._holes) + len(self._filled) + len(self._held) + sum(len(each.filled) for each in held.values())

    def note_receipt(self, sequences: Ranges, batches: Mapping[int, bytes]) -> None:
        """Note that memory need not keep ``sequences`` any more: the server has those of them that are in ``batches``,
        and was told that the others were given up.
        """
        for number in _among(self._held, sequences):
            held = self._held.pop(number)
            held.left -= 1
            if number in batches:
                self._count(decode_readings(batches[number]).readings())
            else:
                held.is_whole = False
            if not held.left and held.is_whole:
                self._strike_off(held.filled)

    def _count(self, readings: Iterable[Reading]) -> None:
        days: dict[int, list[Reading]] = {}
        for reading in readings:
            days.setdefault(reading.measured_at_ms // DAY_MS, []).append(reading)
        for day, found in days.items():
            count, digest = self._counted.get(day, (0, 0))
            self._counted[day] = (count + len(found), (digest + reading_digest(found)) % DIGEST_MODULUS)

    def _strike_off(self, holes: Iterable[Hole]) -> None:
        for hole in holes:
            if hole in self._holes:
                del self._holes[hole]
            else:
                self._filled.append(hole)

    @property
    def is_empty(self) -> bool:
        """Whether the file is owed nothing."""
        return not (self._holes or self._filled or self._counted)

    @property
    def has_holes(self) -> bool:
        """Whether there are holes that the file does not have."""
        return bool(self._holes)

    def added_to(self, cycle: Cycle, every_ms: Mapping[str, int]) -> Cycle:
        """Return ``cycle`` with all that is owed."""
        if self.is_empty:
            return cycle
        return replace(
            cycle,
            holes=[*_joined(self._holes, every_ms), *cycle.holes],
            filled=[*self._filled, *cycle.filled],
            counted=dict(self._counted),
        )

    def without_held(self, holes: Iterable[Hole]) -> list[Hole]:
        """Return those of ``holes`` of which memory holds no part: nobody is asked for what is on its way."""
        held: dict[str, list[Hole]] = {}
        for each in (*self._filled, *(hole for one in self._held.values() for hole in one.filled)):
            held.setdefault(each.meter, []).append(each)
        return [
            hole
            for hole in holes
            if not any(each.from_ms <= hole.to_ms and each.to_ms >= hole.from_ms for each in held.get(hole.meter, ()))
        ]

    def settle(self) -> dict[int, tuple[int, int]]:
        """Forget what is owed, for it is in the file now; return the counts and digests of days that went there."""
        counted, self._holes, self._filled, self._counted = self._counted, {}, [], {}
        return counted


def _has(holes: Iterable[Hole], meter: str, slot_ms: int) -> bool:
    return any(each.meter == meter and each.from_ms <= slot_ms <= each.to_ms for each in holes)


def _among(held: Mapping[int, object], sequences: Ranges) -> list[int]:
    """Return the numbers that are held and in one of the ranges, which may be longer than anything."""
    found: list[int] = []
    for first, last in sequences:
        found += (
            filter(held.__contains__, range(first, last + 1))
            if last - first < len(held)
            else (number for number in held if first <= number <= last)
        )
    return list(dict.fromkeys(found))


def _joined(holes: Iterable[Hole], every_ms: Mapping[str, int]) -> list[Hole]:
    """Return ``holes`` with each that begins in the slot after its meter's last one joined to that: one question more
    or less to a meter is a slot's or a day's.
    """
    found: list[Hole] = []
    last: dict[str, int] = {}  # where the meter's last one is
    for hole in holes:
        at = last.get(hole.meter)
        if at is not None and hole.from_ms == found[at].to_ms + every_ms.get(hole.meter, 0):
            found[at] = Hole(hole.meter, found[at].from_ms, hole.to_ms)
        else:
            last[hole.meter] = len(found)
            found.append(hole)
    return found
