"""What a bus needs of a meter, whatever protocol it speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from protocols.errors import ProtocolError
from protocols.meters.model import Group, Measurement
from protocols.modbus.plan import PlannedRead
from protocols.modbus.rtu import ChecksumError


class Fault(Enum):
    """Why a question was not answered."""

    SILENT = "silent"  # no reply, or not in time
    CHECKSUM = "checksum"
    GARBLED = "garbled"  # octets that can't be the reply, or a broken rule of the protocol


def fault_of(error: Exception) -> Fault:
    """Return of which kind a failure is."""
    if isinstance(error, ChecksumError):
        return Fault.CHECKSUM
    return Fault.GARBLED if isinstance(error, ProtocolError) else Fault.SILENT


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a meter without a break: one Modbus transaction, one DLMS or IEC 62056-21 session.

    ``cost_ms`` is how long it occupies the line, by the cost model and what is known of the meter; in it the meter
    takes its turnaround ``turns`` times.
    """

    measurements: tuple[Measurement, ...]
    cost_ms: float
    read: PlannedRead | None = None
    turns: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a meter said when it was read: values in the base units, and what went wrong with the rest.

    ``failure`` is set if the meter could not be read, in whole or in part, ``fault`` says of which kind that was;
    ``refusals`` are correct answers that say no (a register that does not exist, a value that is not available).
    ``raw`` has the octets of values by their measurements' keys, where the protocol shows them. ``instead`` are
    questions to ask in place of this one, which the meter refused as a whole. ``meter_at_ms`` is what the meter's own
    clock showed, where that was asked for with the values.
    """

    values: tuple[tuple[Measurement, int], ...]
    refusals: tuple[str, ...] = ()
    failure: str | None = None
    fault: Fault | None = None
    raw: Mapping[str, bytes] = field(default_factory=dict)
    instead: tuple[Question, ...] = ()
    quarantine_s: float = 0.0
    meter_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ProfileValue:
    """One value of a load profile: a channel's OBIS code, when it was captured, the value in the base unit."""

    obis: str
    at_ms: int
    value: int


class Meter(Protocol):
    """A meter on a bus. Its failures are in the answer; only the loss of the whole line is raised (LineLostError)."""

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        """Return what to ask for ``wanted``, the cheapest way."""
        ...

    def free_at(self, question: Question) -> float:
        """Return the loop's time before which asking would only mean waiting; the line is others' until then."""
        ...

    async def ask(self, question: Question, *, probe: bool) -> Answer:
        """Ask once; with ``probe`` be short, for the meter may be dead."""
        ...

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups`` in one go; with ``probe`` one short try, no second one."""
        ...

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
        """Return what the load profile holds from ``from_ms`` to ``to_ms``, both included, or why it can't be read."""
        ...
