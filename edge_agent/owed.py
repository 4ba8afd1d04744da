"""What the spool's file is owed after a time in which the disk refused and readings went into memory only.

Two things. The slots that only memory holds are holes for whoever comes after a restart, if a load profile can fill
them: they are noted as such with the next cycle that the disk takes, and struck off when the server has receipted the
readings. And what the server has receipted belongs to the file's counts and digests of days, for memory forgets it: it
is counted there in the same way. What memory loses without a receipt is in neither.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace

from edge_agent.cycle import Cycle, Hole
from protocols.meters.model import Group
from protocols.telemetry.reading import Reading
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import Ranges


@dataclass(slots=True)
class _Held:
    """A cycle in memory: the numbers of its batches that have no receipt yet, and what to strike off when all have."""

    sequences: set[int]
    filled: list[Hole]


@dataclass(slots=True)
class Owed:
    """Collected on the spool's thread."""

    holes: list[Hole] = field(default_factory=list)
    filled: list[Hole] = field(default_factory=list)
    counted: list[Reading] = field(default_factory=list)
    _held: list[_Held] = field(default_factory=list)

    def hold(self, cycle: Cycle, sequences: range, heals: Set[str]) -> None:
        """Note what was taken into memory under these numbers; ``heals`` are meters with load profiles."""
        slots = [
            Hole(each.meter, each.slot_ms, each.slot_ms)
            for each in cycle.slots
            if each.series == Group.BILLING.value
            and each.meter in heals
            and not _has(cycle.holes, each.meter, each.slot_ms)
        ]
        self.holes += [*cycle.holes, *slots]
        self._held.append(_Held(set(sequences), [*slots, *cycle.filled]))

    def note_receipt(self, sequences: Ranges, batches: Iterable[bytes]) -> None:
        """Note that the server has what memory held under ``sequences``: ``batches``, which waited for it."""
        for payload in batches:
            self.counted += decode_readings(payload).readings()
        for each in self._held:
            each.sequences = {
                one for one in each.sequences if not any(first <= one <= last for first, last in sequences)
            }
        self.filled += [hole for each in self._held if not each.sequences for hole in each.filled]
        self._held = [each for each in self._held if each.sequences]

    @property
    def is_empty(self) -> bool:
        """Whether the file is owed nothing."""
        return not (self.holes or self.filled or self.counted)

    def added_to(self, cycle: Cycle) -> Cycle:
        """Return ``cycle`` with all that is owed."""
        if self.is_empty:
            return cycle
        return replace(
            cycle,
            holes=[*self.holes, *cycle.holes],
            filled=[*self.filled, *cycle.filled],
            counted=list(self.counted),
        )

    def holds(self, hole: Hole) -> bool:
        """Return whether memory still holds what would fill ``hole``: then nobody is asked for it."""
        return hole in self.filled or any(hole in each.filled for each in self._held)

    def settle(self) -> list[Reading]:
        """Forget what is owed, for it is in the file now; return the readings that were counted there."""
        counted, self.holes, self.filled, self.counted = self.counted, [], [], []
        return counted


def _has(holes: Iterable[Hole], meter: str, slot_ms: int) -> bool:
    return any(each.meter == meter and each.from_ms <= slot_ms <= each.to_ms for each in holes)
