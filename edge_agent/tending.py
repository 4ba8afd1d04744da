"""What is done once a day for each DLMS meter: its clock read and perhaps shifted, its event logs read.

In the middle of a slot, when no reading is due, a few meters at a time. What is found is spooled as events in one
transaction with how far the logs were read, so an entry is told once. A meter that could not be tended is tried again
in the next slot.
"""

from collections.abc import Mapping
from typing import Protocol

from edge_agent import policy
from edge_agent.clock import Clock
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.dlms_duties import LogEntry
from edge_agent.log import EventLog, Recurring
from edge_agent.outbox import LogRead
from edge_agent.spool import Cycle
from edge_agent.store import Store
from protocols.errors import ProtocolError
from protocols.meters import dlms_settings
from protocols.meters.model import Group
from protocols.telemetry.event import EventKind, MeterEvent


class Duties(Protocol):
    """A meter with a clock and perhaps event logs; failures are in the answer, in words."""

    logs: tuple[dlms_settings.EventLog, ...]

    async def read_clock(self) -> int | str:
        """Return what the clock shows, in milliseconds since 1970 UTC."""
        ...

    async def shift_clock(self, seconds: int) -> bool | str:
        """Shift the clock."""
        ...

    async def read_log(self, log: dlms_settings.EventLog, from_ms: int, to_ms: int) -> tuple[LogEntry, ...] | str:
        """Return the entries of a log from ``from_ms`` to ``to_ms`` by the meter's clock."""
        ...


class Tending:
    """The daily duties of one bus's meters."""

    def __init__(self, bus: BusConfig, clock: Clock, store: Store, recurring: Recurring, log: EventLog) -> None:
        self._bus = bus.id
        self._clock = clock
        self._store = store
        self._recurring = recurring
        self._log = log
        self._meters = {meter.id: meter for meter in bus.meters if meter.access is not None}
        self._due: dict[str, int] = {}
        self._read = store.logs_read()

    def begin(self) -> None:
        """Set the first time for each meter."""
        now_ms = self._clock.now_ms()
        self._due = {name: policy.tend_due(now_ms, _slot_ms(meter)) for name, meter in self._meters.items()}

    def due_ms(self) -> int | None:
        """Return when the next meter is due; None when there is none to tend."""
        return min(self._due.values(), default=None)

    async def tend(self, duties: Mapping[str, Duties]) -> None:
        """Tend some of those that are due; those that ``duties`` does not have wait for the next slot."""
        now_ms = self._clock.now_ms()
        due = [name for name, at_ms in self._due.items() if at_ms <= now_ms]
        for name in due[: policy.TENDED_AT_ONCE_MAX]:
            meter = self._meters[name]
            self._due[name] = policy.tend_due(now_ms, _slot_ms(meter))  # if the line is lost now
            if name not in duties:
                continue
            failure = await self._tend(meter, duties[name])
            if failure is None:
                self._recurring.recovered(name, "meter.not_tended", "meter.tended", bus=self._bus, meter=name)
                self._due[name] += policy.DAY_MS - _slot_ms(meter)
            else:
                self._recurring.failed(name, "meter.not_tended", bus=self._bus, meter=name, reason=failure)

    async def _tend(self, meter: MeterConfig, duties: Duties) -> str | None:
        """Tend one meter; return what failed."""
        cycle = Cycle()
        try:
            failure = await self._see_to_clock(meter, duties, cycle)
            for log in duties.logs:
                failure = await self._read_log(meter, duties, log, cycle) or failure
        except ProtocolError as error:  # a mistake of ours is one meter's trouble
            failure = str(error)
        if not cycle.is_empty and not await self._store.commit(cycle, self._bus, self._recurring):
            return "the spool refuses"
        self._read.update({(each.meter, each.log): each.up_to_ms for each in cycle.logs})
        return failure

    async def _see_to_clock(self, meter: MeterConfig, duties: Duties, cycle: Cycle) -> str | None:
        before_ms = self._clock.now_ms()
        said = await duties.read_clock()
        if isinstance(said, str):
            return said
        now_ms = self._clock.now_ms()
        difference_ms = policy.clock_difference(said, before_ms, now_ms)
        cycle.events.append(MeterEvent(EventKind.CLOCK, meter.id, now_ms, value=difference_ms))
        self._tell_clock(meter, difference_ms)
        shift_s = policy.clock_shift(difference_ms, meter.clock_limit_s, now_ms, _slot_ms(meter))
        if not shift_s:
            return None
        done = await duties.shift_clock(shift_s)
        if isinstance(done, str):
            return done
        cycle.events.append(MeterEvent(EventKind.CLOCK_SHIFTED, meter.id, self._clock.now_ms(), value=shift_s * 1000))
        self._log.info("clock.shifted", bus=self._bus, meter=meter.id, shift_s=shift_s)
        return None

    def _tell_clock(self, meter: MeterConfig, difference_ms: int) -> None:
        fields = {"bus": self._bus, "meter": meter.id, "ahead_s": difference_ms // 1000}
        limit_s = policy.CLOCK_TOLD_S if meter.clock_limit_s is None else meter.clock_limit_s
        if abs(difference_ms) > limit_s * 1000:
            self._recurring.failed(meter.id, "clock.differs", **fields, limit_s=limit_s)
        else:
            self._recurring.recovered(meter.id, "clock.differs", "clock.agrees", **fields)

    async def _read_log(
        self, meter: MeterConfig, duties: Duties, log: dlms_settings.EventLog, cycle: Cycle
    ) -> str | None:
        now_ms, code = self._clock.now_ms(), str(log.obis)
        first_ms = now_ms - policy.LOG_DAYS_FIRST * policy.DAY_MS
        from_ms = self._read[meter.id, code] + 1000 if (meter.id, code) in self._read else first_ms
        entries = await duties.read_log(log, from_ms, max(now_ms, from_ms) + policy.LOG_AHEAD_MS)
        if isinstance(entries, str):
            return entries
        for each in entries:
            cycle.events.append(MeterEvent(EventKind.LOG, meter.id, each.at_ms, code, each.code, each.value, log.name))
        if entries:
            cycle.logs.append(LogRead(meter.id, code, entries[-1].at_ms))
        return None


def _slot_ms(meter: MeterConfig) -> int:
    """Return the slots that the meter captures in, as far as the model knows; a clock is not shifted across them."""
    profile = meter.model.profile
    return profile.interval_ms if profile is not None else meter.every_ms[Group.BILLING]
