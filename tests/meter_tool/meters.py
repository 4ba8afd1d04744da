"""Simulated Modbus meters behind the seam of the agent's links, without a line; and on one, for scans."""

from collections.abc import Mapping

from protocols.meters.catalogue import load_model
from protocols.modbus.messages import (
    ExceptionReply,
    IdentificationReply,
    ReadIdentification,
    ReadRegisters,
    RegistersReply,
    Reply,
    Request,
)
from protocols.modbus.plan import LineCost, serial_cost
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.slave import ModbusSlave

NOON_MS = 1_790_000_000_000  # a day in September 2026


def meter(key: str, address: int = 1) -> SimulatedMeter:
    """Return a household's meter of this model, with panels on the roof, so that all it measures is alive."""
    consumer = Consumer(Kind("household"), size_kwh=400, place="hanoi", seed=5, sky_seed=5, panels_w=3000)
    return SimulatedMeter(f"{key}-{address}", load_model(key), address, consumer, installed_at_ms=NOON_MS - 10**10)


class SlaveLink:
    """Asks one simulated meter directly; it says ``words`` of itself, if any, some objects at a time."""

    def __init__(self, key: str, words: Mapping[int, bytes] | None = None) -> None:
        self.cost: LineCost = serial_cost(9600, 10, 5000)
        self.turnaround_us: float | None = None
        self.quarantine_s = 0.0
        self.asked: list[Request] = []
        self._slave = ModbusSlave(meter(key))
        self._words = sorted((words or {}).items())

    async def exchange(self, request: Request, *, probe: bool = False, patience_s: float | None = None) -> Reply:
        """Answer as the meter does."""
        self.asked.append(request)
        if isinstance(request, ReadIdentification) and self._words:
            rest = [each for each in self._words if each[0] >= request.first]
            following = rest[1][0] if len(rest) > 1 else None
            return IdentificationReply(request, 0x01, following, tuple(rest[:1]))
        pdu = self._slave.answer(request.pdu(), NOON_MS)
        if pdu[0] & 0x80 or not isinstance(request, ReadRegisters):
            return ExceptionReply(request, pdu[1])
        return RegistersReply(request, pdu[2:])

    def close(self) -> None:
        """There is nothing to close."""
