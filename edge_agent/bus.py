"""One bus and the one task that owns it: waits for the next slot, reads who is due, spools what they said.

A cycle reads every meter that is due, those that answer first, those that are silent last, and commits everything in
one transaction. Then holes in the series of meters with a load profile are filled from it, a bounded piece a cycle
(:mod:`edge_agent.healing`). What to do is decided in :mod:`edge_agent.policy`; here it is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent import policy
from edge_agent.clock import Clock
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.failures import LineLostError
from edge_agent.healing import Healer
from edge_agent.log import EventLog, Recurring
from edge_agent.meter import Answer, Meter
from edge_agent.spool import Cycle, Hole, SlotDone
from edge_agent.store import Store
from edge_agent.tending import Duties, Tending
from protocols.errors import ProtocolError
from protocols.meters.model import Group
from protocols.telemetry.reading import Reading

WAIT_MAX_MS = 3_600_000  # look at the clock again at least this often: it may have been set


class Line(Protocol):
    """An open line with its meters, by their identifiers."""

    meters: dict[str, Meter]

    @property
    def duties(self) -> Mapping[str, Duties]:
        """What is done daily, for meters that have such."""
        ...

    def close(self) -> None:
        """Close the line."""
        ...


@dataclass(slots=True)
class Series:
    """One group of a meter's measurements: its interval, and the last slots that were attempted and stored."""

    group: Group
    every_ms: int
    stored_ms: int | None
    done_ms: int = 0


@dataclass(slots=True)
class Polled:
    """A meter of the bus, and how it stands."""

    config: MeterConfig
    series: list[Series]
    health: policy.Health = field(default_factory=policy.Health)

    def due_ms(self) -> int:
        """Return when the meter is due next."""
        return min(policy.next_due(each.done_ms, each.every_ms, self.health) for each in self.series)


class Bus:
    """Owns a line, its meters' schedule and its clock."""

    def __init__(
        self,
        config: BusConfig,
        clock: Clock,
        store: Store,
        log: EventLog,
        open_line: Callable[[BusConfig], Awaitable[Line]],
    ) -> None:
        self._config = config
        self._clock = clock
        self._store = store
        self._log = log
        self._recurring = Recurring(log)
        self._open_line = open_line
        self._line: Line | None = None
        self._lost: str | None = None  # why the line could not be opened in this cycle
        slots = store.slots()
        self._polled = [
            Polled(
                meter,
                [
                    Series(group, every_ms, slots.get((meter.id, group.value)))
                    for group, every_ms in meter.every_ms.items()
                ],
            )
            for meter in config.meters
        ]
        self._healer = Healer(config, store, self._recurring, log)
        self._tending = Tending(config, clock, store, self._recurring, log)

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until ``stop`` is set; a cycle that has begun is finished."""
        try:
            await self._wait_for_sane_clock(stop)
            self._begin()
            while not stop.is_set():
                now_ms = self._clock.now_ms()
                read_ms = min(polled.due_ms() for polled in self._polled)
                due_ms = min(read_ms, self._tending.due_ms() or read_ms)
                if due_ms > now_ms + 2 * policy.DAY_MS:  # nobody is read less often than daily
                    self._log.error("clock.went_back", bus=self._config.id, now_ms=now_ms, due_ms=due_ms)
                    self._begin()
                elif due_ms > now_ms:
                    await unless_stopped(self._clock.wait_until(min(due_ms, now_ms + WAIT_MAX_MS)), stop)
                elif read_ms <= now_ms:
                    await self._cycle()
                else:
                    await self._tend()
        finally:
            self._close_line()

    async def _wait_for_sane_clock(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._clock.now_ms() < policy.CLOCK_SANE_FROM_MS:
            now_ms = self._clock.now_ms()
            self._recurring.failed("clock", "clock.not_set", bus=self._config.id, now_ms=now_ms)
            await unless_stopped(self._clock.wait_until(now_ms + policy.PUNCTUAL_MS), stop)
        self._recurring.recovered("clock", "clock.not_set", "clock.set", bus=self._config.id)

    def _begin(self) -> None:
        now_ms = self._clock.now_ms()
        for polled in self._polled:
            for series in polled.series:
                series.done_ms = policy.first_due(now_ms, series.every_ms, series.stored_ms) - series.every_ms
        self._tending.begin()

    async def _tend(self) -> None:
        """Do what is done daily, for meters that answer on a line that is open."""
        silent = {polled.config.id for polled in self._polled if polled.health.failures}
        duties = {} if self._line is None else self._line.duties
        try:
            await self._tending.tend({name: each for name, each in duties.items() if name not in silent})
        except LineLostError:
            self._close_line()  # the next cycle opens it again and tells if it can't

    async def _cycle(self) -> None:
        began_s = asyncio.get_running_loop().time()
        now_ms = self._clock.now_ms()
        self._lost = None
        due = sorted(
            (each for each in self._polled if each.due_ms() <= now_ms),
            key=lambda each: (each.health.silent, each.due_ms()),
        )
        cycle = Cycle()
        answered = [polled for polled in due if await self._read(polled, cycle)]
        if cycle.readings and await self._store.commit(cycle, self._config.id, self._recurring):
            self._note_stored(due, cycle.slots)
            self._healer.note(cycle.holes)
        if self._line is not None:
            await self._healer.fill([(each.config, self._line.meters[each.config.id]) for each in answered])
        self._log.info(
            "bus.cycle_finished",
            bus=self._config.id,
            meters=len(due),
            read=len(answered),
            failed=len(due) - len(answered),
            readings=len(cycle.readings),
            took_s=asyncio.get_running_loop().time() - began_s,
        )

    async def _read(self, polled: Polled, cycle: Cycle) -> bool:
        """Read one meter into ``cycle``; say whether it answered in full."""
        now_ms = self._clock.now_ms()
        stamps: dict[Group, policy.Stamp] = {}
        for series in polled.series:
            if policy.next_due(series.done_ms, series.every_ms, polled.health) <= now_ms:
                stamps[series.group] = policy.stamp(now_ms, series.every_ms)
                series.done_ms = stamps[series.group].slot_ms
        if not stamps:
            return False  # the clock was set back since the cycle began
        answer = await self._ask(polled, frozenset(stamps))
        self._report(polled.config.id, answer)
        if answer.failure is not None and not answer.values:
            polled.health = policy.after_failure(polled.health, now_ms)
            return False
        polled.health = policy.Health()
        self._take(polled, stamps, answer, cycle)
        return answer.failure is None

    async def _ask(self, polled: Polled, groups: frozenset[Group]) -> Answer:
        """Read a meter. A line that was open and is lost is opened again once; one that can't be waits for a cycle."""
        while self._lost is None:
            opened_now = self._line is None
            try:
                if self._line is None:
                    self._line = await self._open_line(self._config)
                    self._recurring.recovered(self._config.id, "bus.line_lost", "bus.line_opened", bus=self._config.id)
                return await self._line.meters[polled.config.id].read(groups, probe=polled.health.silent)
            except LineLostError as error:
                self._close_line()
                if opened_now:
                    self._lost = str(error)
                    self._recurring.failed(self._config.id, "bus.line_lost", bus=self._config.id, reason=error)
            except ProtocolError as error:  # one meter's trouble, even if it is a mistake of ours, is not the others'
                return Answer((), failure=str(error))
        return Answer((), failure=self._lost)

    def _take(self, polled: Polled, stamps: dict[Group, policy.Stamp], answer: Answer, cycle: Cycle) -> None:
        """Add what a meter said to ``cycle``. Half a billing reading is left out where a load profile has it whole."""
        meter = polled.config
        left_out = Group.BILLING if meter.heal and answer.failure is not None else None
        for measurement, value in answer.values:
            if measurement.group is not left_out:
                at_ms = stamps[measurement.group].at_ms
                cycle.readings.append(Reading(meter.id, str(measurement.obis), at_ms, value))
        for series in polled.series:
            if series.group in stamps and series.group is not left_out:
                stamp = stamps[series.group]
                cycle.slots.append(SlotDone(meter.id, series.group.value, stamp.slot_ms))
                missed = policy.missed_slots(series.stored_ms, stamp, series.every_ms)
                if missed and series.group is Group.BILLING and meter.heal:
                    cycle.holes.append(Hole(meter.id, *missed))

    def _note_stored(self, polled: list[Polled], slots: Iterable[SlotDone]) -> None:
        series = {(each.config.id, one.group.value): one for each in polled for one in each.series}
        for slot in slots:
            series[slot.meter, slot.series].stored_ms = slot.slot_ms

    def _report(self, meter: str, answer: Answer) -> None:
        fields = {"bus": self._config.id, "meter": meter}
        if answer.failure is None:
            self._recurring.recovered(meter, "meter.not_read", "meter.answered", **fields)
        else:
            self._recurring.failed(meter, "meter.not_read", **fields, reason=answer.failure)
        if answer.refusals:
            self._recurring.failed(meter, "meter.refused", **fields, reason="; ".join(answer.refusals))
        elif answer.failure is None:
            self._recurring.recovered(meter, "meter.refused", "meter.complete", **fields)

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


async def unless_stopped(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Await ``work``, but leave it when ``stop`` is set."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
