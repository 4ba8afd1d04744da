"""Filling holes from load profiles: what a meter remembers of the slots in which it was not read.

A hole begins in the same transaction as the reading that ended it, so it is known after any crash. It is asked for a
UTC day at a time, and each piece is spooled and struck off in one transaction: no slot is taken twice. A slot of which
the profile holds nothing is struck off too, and told.
"""

from collections.abc import Iterable, Sequence

from edge_agent import policy
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.failures import LineLostError
from edge_agent.log import EventLog, Recurring
from edge_agent.meter import Meter, ProfileValue
from edge_agent.spool import Cycle, Hole
from edge_agent.store import Store
from protocols.errors import ProtocolError
from protocols.meters.model import Group
from protocols.telemetry.reading import Quality, Reading


class Healer:
    """The holes of one bus."""

    def __init__(self, bus: BusConfig, store: Store, recurring: Recurring, log: EventLog) -> None:
        self._bus = bus.id
        self._store = store
        self._recurring = recurring
        self._log = log
        meters = {meter.id for meter in bus.meters if meter.heal}
        self._holes = [hole for hole in store.holes() if hole.meter in meters]

    def note(self, holes: Iterable[Hole]) -> None:
        """Remember holes that have just been stored."""
        self._holes.extend(holes)

    async def fill(self, meters: Sequence[tuple[MeterConfig, Meter]]) -> None:
        """Ask those of ``meters`` that have holes, up to a bounded number of pieces; the rest waits for next time."""
        if not self._holes:
            return
        left = policy.HEAL_CHUNKS_MAX
        for config, meter in meters:
            for hole in [each for each in self._holes if each.meter == config.id]:
                left = await self._fill_hole(config, meter, hole, left)

    async def _fill_hole(self, config: MeterConfig, meter: Meter, hole: Hole, left: int) -> int:
        """Fill ``hole`` piece by piece; return how many pieces may still be asked for."""
        while left:
            left -= 1
            from_ms, to_ms = policy.heal_chunk(hole.from_ms, hole.to_ms)
            found = await _read_profile(meter, from_ms, to_ms)
            if isinstance(found, str):
                self._recurring.failed(hole.meter, "meter.not_healed", bus=self._bus, meter=hole.meter, reason=found)
                return 0
            self._recurring.recovered(hole.meter, "meter.not_healed", "meter.healing", bus=self._bus, meter=hole.meter)
            readings = readings_of(config, found, from_ms, to_ms)
            piece = Hole(hole.meter, from_ms, to_ms)
            if not await self._store.commit(Cycle(readings=readings, filled=[piece]), self._bus, self._recurring):
                return 0
            self._tell(config, piece, readings)
            self._holes.remove(hole)
            if to_ms >= hole.to_ms:
                return left
            hole = Hole(hole.meter, to_ms + 1, hole.to_ms)
            self._holes.append(hole)
        return 0

    def _tell(self, config: MeterConfig, piece: Hole, readings: Sequence[Reading]) -> None:
        every_ms = config.every_ms[Group.BILLING]
        first = -(-piece.from_ms // every_ms)
        slots = piece.to_ms // every_ms - first + 1
        filled = len({reading.measured_at_ms for reading in readings})
        self._log.info(
            "meter.hole_filled" if filled == slots else "meter.hole_not_in_profile",
            bus=self._bus,
            meter=piece.meter,
            from_ms=piece.from_ms,
            to_ms=piece.to_ms,
            slots=slots,
            filled=filled,
        )


def readings_of(config: MeterConfig, found: Iterable[ProfileValue], from_ms: int, to_ms: int) -> list[Reading]:
    """Return the readings for the slots of a hole: billing channels of the model, on the meter's slots, each once."""
    wanted = {str(each.obis) for each in config.model.measurements if each.group is Group.BILLING}
    every_ms = config.every_ms[Group.BILLING]
    values = {
        (each.obis, each.at_ms): each.value
        for each in found
        if each.obis in wanted and from_ms <= each.at_ms <= to_ms and each.at_ms % every_ms == 0
    }
    return [
        Reading(config.id, obis, at_ms, value, int(Quality.PROFILE)) for (obis, at_ms), value in sorted(values.items())
    ]


async def _read_profile(meter: Meter, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:
    try:
        return await meter.read_profile(from_ms, to_ms)
    except (LineLostError, ProtocolError) as error:
        return str(error)
