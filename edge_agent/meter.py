"""What a bus needs of a meter, whatever protocol it speaks."""

from dataclasses import dataclass
from typing import Protocol

from protocols.meters.model import Group, Measurement


@dataclass(frozen=True, slots=True)
class Answer:
    """What a meter said when it was read: values in the base units, and what went wrong with the rest.

    ``failure`` is set if the meter could not be read, in whole or in part; ``refusals`` are correct answers that say
    no (a register that does not exist, a value that is not available).
    """

    values: tuple[tuple[Measurement, int], ...]
    refusals: tuple[str, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class ProfileValue:
    """One value of a load profile: a channel's OBIS code, when it was captured, the value in the base unit."""

    obis: str
    at_ms: int
    value: int


class Meter(Protocol):
    """A meter on a bus. Its failures are in the answer; only the loss of the whole line is raised (LineLostError)."""

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups``; with ``probe`` one short try, no second one."""
        ...

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
        """Return what the load profile holds from ``from_ms`` to ``to_ms``, both included, or why it can't be read."""
        ...
