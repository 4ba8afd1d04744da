"""Mistakes of a master on the line."""

from typing import Any

from edge_agent.failures import NoReplyError
from edge_agent.lengths import Lengths
from edge_agent.modbus_rtu import RtuLink
from protocols.modbus import rtu
from protocols.modbus.messages import ReadRegisters, RegistersReply
from protocols.modbus.rtu import RtuClient
from tests.simulation.faults import Kind
from tests.simulation.line import SimulatedLine, Trouble
from tests.simulation.planted import PlantedBug, replacing, wrapping

LINE = (Kind.LINE,)


async def _no_wait(_self: Any, _silence_s: float) -> None:
    return None


def _without_quarantine(original: Any) -> Any:
    async def exchange(self: RtuLink, request: Any, *, probe: bool = False, **more: Any) -> Any:
        self._lengths = Lengths(0.0)
        self._left_alone_until.clear()
        return await original(self, request, probe=True, **more)

    return exchange


class _AnyChecksum(bytes):
    """Is never unequal."""

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def _any_checksum(original: Any) -> Any:
    return lambda data: _AnyChecksum(original(data))


def _any_unit(original: Any) -> Any:
    def find(self: RtuClient, request: Any) -> int:
        if self._buffer[1:2] == bytes((request.function,)):
            self._buffer[0] = request.unit
            body = bytes(self._buffer[: 3 + 2 * request.count])
            if len(self._buffer) >= len(body) + 2:
                self._buffer[len(body) : len(body) + 2] = rtu.crc16(body)
        return int(original(self, request))

    return find


def _filled_up(original: Any) -> Any:
    async def receive(self: RtuLink, deadline: float) -> Any:
        try:
            return await original(self, deadline)
        except NoReplyError:
            request, heard = self._client._request, bytes(self._client._buffer)
            if not isinstance(request, ReadRegisters) or len(heard) < 5:
                raise
            return RegistersReply(request, heard[3 : 3 + 2 * request.count].ljust(2 * request.count, b"\0"))

    return receive


BUGS = (
    PlantedBug(
        "octets on the line are not thrown away before a question",
        replacing(SimulatedLine, "discard", lambda _line: 0),
        LINE,
        troubles=(Trouble.TOO_LATE, Trouble.DROP),
    ),
    PlantedBug(
        "nothing is waited for after a timeout",
        wrapping(RtuLink, "exchange", _without_quarantine),
        LINE,
        troubles=(Trouble.LATE, Trouble.TOO_LATE),
    ),
    PlantedBug(
        "two questions in a row have the same length",
        replacing(Lengths, "rival", lambda *_: None),
        LINE,
        troubles=(Trouble.DUPLICATE_LATE,),
    ),
    PlantedBug(
        "a doubled answer is not waited for where no other length will do",
        replacing(Lengths, "doubled_until", lambda *_: 0.0),
        LINE,
        schedules_max=400,
        troubles=(Trouble.DUPLICATE_LATE,),
    ),
    PlantedBug(
        "any checksum will do",
        wrapping(rtu, "crc16", _any_checksum),
        LINE,
        troubles=(Trouble.CORRUPT,),
    ),
    PlantedBug(
        "any unit's answer will do",
        wrapping(RtuClient, "_find_start", _any_unit),
        LINE,
        troubles=(Trouble.TOO_LATE,),
    ),
    PlantedBug(
        "the first of two frames is taken",
        replacing(rtu, "TRAILING_NOISE_MAX", 256),
        LINE,
        troubles=(Trouble.GLUE,),
    ),
    PlantedBug(
        "an answer cut short is filled up with zeros",
        wrapping(RtuLink, "_receive", _filled_up),
        LINE,
        troubles=(Trouble.TRUNCATE,),
    ),
    PlantedBug("no silence is kept before a question", replacing(SimulatedLine, "keep_silence", _no_wait), LINE),
)
