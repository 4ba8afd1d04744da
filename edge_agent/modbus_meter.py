"""Reads a Modbus meter by its model: plans the questions, asks them, turns registers into values."""

from typing import Protocol

from edge_agent.failures import NoReplyError
from edge_agent.meter import Answer, ProfileValue
from protocols.errors import RemoteProtocolError
from protocols.meters.model import Group, Measurement, MeterModel
from protocols.modbus.messages import ExceptionCode, ExceptionReply, ReadRegisters, RegistersReply, Reply, Request
from protocols.modbus.plan import LineCost, PlannedRead, plan_reads, split_at_holes
from protocols.modbus.values import Unusable, decode_value

TRIES = 2


class Link(Protocol):
    """A way to ask Modbus questions, serial or TCP."""

    cost: LineCost

    async def exchange(self, request: Request, *, probe: bool = False) -> Reply:
        """Return the answer to ``request``."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class ModbusMeter:
    """One unit behind a link. Remembers which questions had to be divided because the meter refuses holes."""

    def __init__(self, link: Link, unit: int, model: MeterModel) -> None:
        self._link = link
        self._unit = unit
        self._model = model
        self._plans: dict[frozenset[Group], tuple[PlannedRead, ...]] = {}

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups``; what was read before a failure is kept."""
        values: list[tuple[Measurement, int]] = []
        refusals: list[str] = []
        for read in self._plan(groups):
            try:
                for part, reply in await self._ask(groups, read, probe=probe):
                    self._take(part, reply, values, refusals)
            except (NoReplyError, RemoteProtocolError) as error:
                return Answer(tuple(values), tuple(refusals), str(error))
        return Answer(tuple(values), tuple(refusals))

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:  # noqa: ARG002
        """Say that Modbus has no load profiles; the configuration asks for none."""
        return "a Modbus meter has no load profile"

    async def _ask(
        self, groups: frozenset[Group], read: PlannedRead, *, probe: bool
    ) -> list[tuple[PlannedRead, Reply]]:
        """Ask ``read``; if the meter refuses an address and a hole was bridged, ask its parts, now and from now on."""
        reply = await self._try(read, probe=probe)
        if isinstance(reply, ExceptionReply) and reply.code == ExceptionCode.ILLEGAL_DATA_ADDRESS:
            parts = split_at_holes(read, self._link.cost)
            if len(parts) > 1:
                plan = self._plans[groups]
                at = plan.index(read)
                self._plans[groups] = (*plan[:at], *parts, *plan[at + 1 :])
                return [(part, await self._try(part, probe=probe)) for part in parts]
        return [(read, reply)]

    async def _try(self, read: PlannedRead, *, probe: bool) -> Reply:
        request = ReadRegisters(self._unit, read.function, read.address, read.count)
        for _ in range(0 if probe else TRIES - 1):
            try:
                return await self._link.exchange(request)
            except (NoReplyError, RemoteProtocolError):
                continue  # once more, the very same question: a late answer to the first would be the same registers
        return await self._link.exchange(request, probe=probe)

    def _take(
        self, read: PlannedRead, reply: Reply, values: list[tuple[Measurement, int]], refusals: list[str]
    ) -> None:
        if not isinstance(reply, RegistersReply):
            refusals.append(f"registers {read.address} to {read.address + read.count - 1}: {reply}")
            return
        for measurement in read.measurements:
            value = decode_value(measurement, read.slice_of(measurement, reply.data))
            if isinstance(value, Unusable):
                refusals.append(f"{measurement.key}: {value.reason} ({value.raw.hex()})")
            else:
                values.append((measurement, value))

    def _plan(self, groups: frozenset[Group]) -> tuple[PlannedRead, ...]:
        if groups not in self._plans:
            wanted = [each for each in self._model.measurements if each.group in groups]
            self._plans[groups] = plan_reads(wanted, self._link.cost, registers_max=self._model.registers_per_read_max)
        return self._plans[groups]
