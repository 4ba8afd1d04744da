"""Lines that misbehave on purpose: the fault is a pure function, and chance is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from protocols.errors import UsageError


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How often each fault happens, in thousandths of the messages, and how long the line pauses between chunks."""

    drop: int = 0  # nothing arrives
    corrupt: int = 0  # one bit is flipped
    truncate: int = 0  # the end is missing
    delay: int = 0  # a pause comes first
    split: int = 0  # a pause in the middle
    duplicate: int = 0  # it comes twice
    pause_ms: int = 700

    def __post_init__(self) -> None:
        for name in ("drop", "corrupt", "truncate", "delay", "split", "duplicate"):
            if not 0 <= getattr(self, name) <= 1000:
                raise UsageError(f"faults.{name}: found {getattr(self, name)}; expected 0 to 1000 thousandths")
        if not 0 <= self.pause_ms <= 60_000:
            raise UsageError(f"faults.pause_ms: found {self.pause_ms}; expected 0 to 60000")


NO_FAULTS = FaultPlan()


def disturb(data: bytes, plan: FaultPlan, rng: Random) -> list[bytes]:
    """Return the chunks that arrive when ``data`` is sent over a bad line; between chunks the line pauses.

    A first chunk that is empty means that the data is late. An empty list means that nothing arrives.
    """

    def happens(per_mille: int) -> bool:
        return rng.randrange(1000) < per_mille

    if happens(plan.drop) or not data:
        return []
    if happens(plan.corrupt):
        bit = rng.randrange(8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        data = bytes(changed)
    if happens(plan.truncate):
        data = data[: rng.randrange(len(data))]
        if not data:
            return []
    chunks = [data]
    if len(data) > 1 and happens(plan.split):
        middle = rng.randrange(1, len(data))
        chunks = [data[:middle], data[middle:]]
    if happens(plan.duplicate):
        chunks = [*chunks, data]
    if happens(plan.delay):
        chunks = [b"", *chunks]
    return chunks


def is_within(at_ms: int, windows: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a time lies in one of the half-open ``windows`` [ms]: a meter's silent hours."""
    return any(start <= at_ms < end for start, end in windows)
