"""What one commit of the spool takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.outbox import LogRead
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reading import Reading


@dataclass(frozen=True, slots=True)
class SlotDone:
    """A meter's series (billing or instantaneous) was read in the slot that begins at ``slot_ms``."""

    meter: str
    series: str
    slot_ms: int


@dataclass(frozen=True, slots=True)
class Hole:
    """The slots from ``from_ms`` to ``to_ms``, both included, were missed and may be in the meter's load profile."""

    meter: str
    from_ms: int
    to_ms: int


@dataclass(slots=True)
class Cycle:
    """What one commit takes, gathered meter by meter. ``filled`` are parts of holes that need not be tried again,
    ``registers`` each meter's values that were accepted last (:mod:`edge_agent.accepted`). ``counted`` are numbers of
    readings and their digests, by UTC day, that the server has and the file's days lack (:mod:`edge_agent.owed`).

    ``taken_at_ms`` is the gateway's clock at the end of the cycle, ``clock_offsets_ms`` what is known of its meters'
    clocks less the gateway's; both travel with the readings.
    """

    readings: list[Reading] = field(default_factory=list)
    slots: list[SlotDone] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    filled: list[Hole] = field(default_factory=list)
    events: list[MeterEvent] = field(default_factory=list)
    logs: list[LogRead] = field(default_factory=list)
    registers: dict[str, bytes] = field(default_factory=dict)
    counted: dict[int, tuple[int, int]] = field(default_factory=dict)
    taken_at_ms: int | None = None
    clock_offsets_ms: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep. A slot without a reading is not kept: it is read again after a restart."""
        return not (self.readings or self.filled or self.events or self.logs)
