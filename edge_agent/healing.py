"""Filling holes from load profiles: what a meter remembers of the slots in which it was not read.

A hole begins in the same transaction as the reading that ended it, so it is known after any crash. It is asked for in
pieces of a UTC day at most, each of which fits into the line's idle time before the next sample is due; each piece is
spooled and struck off in one transaction: no slot is taken twice. A slot of which the profile holds nothing is struck
off too, and told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_agent import policy
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.costs import profile_cost
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

    def __init__(
        self, bus: BusConfig, store: Store, recurring: Recurring, log: EventLog, time_s: Callable[[], float]
    ) -> None:
        self._bus = bus.id
        self._store = store
        self._recurring = recurring
        self._log = log
        self._time_s = time_s
        self._configs = {meter.id: meter for meter in bus.meters if meter.heal}
        self._holes = [hole for hole in store.holes() if hole.meter in self._configs]
        self._seen = store.holes_noted
        self._answering: set[str] = set()
        self._costs = {name: profile_cost(meter) for name, meter in self._configs.items()}

    def note(self, holes: Iterable[Hole]) -> None:
        """Remember holes that have just been stored."""
        self._holes.extend(holes)

    def may_ask(self, meters: Iterable[str]) -> None:
        """Note that ``meters`` have just answered: those may be asked for their load profiles."""
        self._answering.update(meters)

    async def fill_piece(self, meters: Mapping[str, Meter], left_ms: int) -> bool:
        """Ask for one piece that fits into ``left_ms`` of idle time; say whether there was one.

        A meter whose profile could not be read is left alone until it has answered again.
        """
        if self._seen != self._store.holes_noted:  # a full spool gave up what profiles remember, or memory had some
            self._seen = self._store.holes_noted
            self._holes = [hole for hole in await self._store.holes_now() if hole.meter in self._configs]
        for hole in self._holes:
            if hole.meter not in self._answering:
                continue
            config = self._configs[hole.meter]
            cost = self._costs[hole.meter]
            every_ms = config.every_ms[Group.BILLING]
            rows = cost.slots_in(left_ms)
            if rows:
                piece = policy.heal_chunk(hole.from_ms, hole.to_ms, every_ms, rows)
                await self._fill(config, meters[hole.meter], hole, piece)
                return True
        return False

    async def _fill(self, config: MeterConfig, meter: Meter, hole: Hole, piece: tuple[int, int]) -> None:
        from_ms, to_ms = piece
        began_s = self._time_s()
        found = await _read_profile(meter, from_ms, to_ms)
        if isinstance(found, str):
            self._answering.discard(hole.meter)
            self._recurring.failed(hole.meter, "meter.not_healed", bus=self._bus, meter=hole.meter, reason=found)
            return
        rows = (to_ms - from_ms) // config.every_ms[Group.BILLING] + 1
        self._costs[hole.meter] = self._costs[hole.meter].learn(rows, 1000 * (self._time_s() - began_s))
        self._recurring.recovered(hole.meter, "meter.not_healed", "meter.healing", bus=self._bus, meter=hole.meter)
        readings = readings_of(config, found, from_ms, to_ms)
        filled = Hole(hole.meter, from_ms, to_ms)
        if not await self._store.commit(Cycle(readings=readings, filled=[filled]), self._bus, self._recurring):
            self._answering.discard(hole.meter)
            return
        self._tell(config, filled, readings)
        self._holes.remove(hole)
        if to_ms < hole.to_ms:
            self._holes.append(Hole(hole.meter, to_ms + 1, hole.to_ms))

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
