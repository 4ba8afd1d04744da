"""A store that keeps what is committed in memory, where a test is not about the disk."""

from edge_agent.log import Recurring
from edge_agent.spool import Cycle, Hole
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reading import Reading


class KeepingStore:
    """Has what a bus needs of :class:`edge_agent.store.Store`."""

    holes_noted = 0

    def __init__(self) -> None:
        self.cycles: list[Cycle] = []

    async def commit(self, cycle: Cycle, bus: str, recurring: Recurring) -> bool:
        """Take ``cycle``."""
        del bus, recurring
        self.cycles.append(cycle)
        return True

    def slots(self) -> dict[tuple[str, str], int]:
        """Nothing was stored before."""
        return {}

    def registers(self) -> dict[str, bytes]:
        """Nor heard."""
        return {}

    def holes(self) -> list[Hole]:
        """Nor missed."""
        return []

    def logs_read(self) -> dict[tuple[str, str], int]:
        """Nor read."""
        return {}

    @property
    def readings(self) -> list[Reading]:
        """What was read."""
        return [each for cycle in self.cycles for each in cycle.readings]

    @property
    def events(self) -> list[MeterEvent]:
        """What was told."""
        return [each for cycle in self.cycles for each in cycle.events]
