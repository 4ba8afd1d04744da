"""Searches a serial line: passes over all addresses, goes back where something was heard.

See :mod:`edge_agent.meter_tool.scan_plan` for the time. What counts as an answer is a frame with a right checksum that
names the unit, a refusal too. What is heard and understood by nobody is told: a wrong parity, noise, or two meters with
one address.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_agent.failures import NoReplyError
from edge_agent.meter_tool.place import open_port
from edge_agent.meter_tool.scan_plan import Pass, ScanPlan
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.crc import crc16
from protocols.modbus.messages import EXCEPTION_BIT, Function, ReadRegisters
from protocols.modbus.plan import serial_cost
from protocols.modbus.rtu import NEED_DATA, RtuClient

# Function 3 is what most meters know; others refuse it, and that is an answer. Two registers make the answer longer
# than the question, so that a part of it is heard even by an adapter that is deaf while it sends the next one.
PROBED = (Function.READ_HOLDING, 0, 2)
PATIENT_S = 0.3  # for an answer when something was heard: the slowest meters take 250 ms
PATIENT_TRIES = 2
SETTLE_S = 0.02  # of silence, until what is on the line is taken to be over
HEARD_OCTETS_MAX = 512
LISTEN_S_MAX = 1.0
RETURNS_MAX = 4  # fruitless returns in one pass, until the line is called noisy and no longer gone back on


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that answered."""

    unit: int
    settings: LineSettings


@dataclass(slots=True)
class Heard:
    """What a scan has brought: who answered, and where something was heard that nobody understands."""

    found: list[Found] = field(default_factory=list)
    noise: list[tuple[LineSettings, int, bytes]] = field(default_factory=list)


async def scan(plan: ScanPlan, units: Iterable[int], tell: Callable[[str], None]) -> Heard:
    """Search as planned; ``tell`` hears of each pass and each meter found."""
    heard = Heard()
    units = tuple(units)
    for each in plan.passes:
        tell(f"{each.settings.baud} 8{each.settings.parity}{each.settings.stop_bits} …")
        line = open_port(each.settings)
        try:
            await _Passing(line, each, heard, tell).over(units)
        finally:
            line.close()
    return heard


class _Passing:
    """One pass."""

    def __init__(self, line: SerialLine, one: Pass, heard: Heard, tell: Callable[[str], None]) -> None:
        self._line, self._pass, self._heard, self._tell = line, one, heard, tell
        self._client = RtuClient()
        self._loop = asyncio.get_running_loop()
        self._known: set[int] = set()
        self._fruitless = 0
        self._back = 1 + int(PATIENT_S / one.probe_s)  # so many questions ago an answer may have been asked for
        settings = one.settings
        self._silence_s = serial_cost(settings.baud, settings.bits_per_character, 0).silence_us / 1e6

    async def over(self, units: tuple[int, ...]) -> None:
        due_s = self._loop.time()
        for place, unit in enumerate(units):
            if unit in self._known:
                continue
            due_s += self._pass.probe_s
            octets = await self._ask(unit, self._window_s(due_s))
            if octets:
                await self._go_back(units[max(0, place - self._back) : place + 1][::-1], octets)
                due_s = self._loop.time()  # that takes what it takes
        await self._listen_for_late_ones(units)

    def _window_s(self, due_s: float) -> float:
        """Return how long to wait for an answer, for the next question to begin when it is due."""
        left_s = due_s - self._loop.time() - self._pass.request_s
        return min(self._pass.window_s, max(self._pass.window_min_s, left_s))

    async def _ask(self, unit: int, window_s: float) -> bytes:
        """Ask one unit; return what is heard, if an octet comes within the window."""
        frame = self._client.send(ReadRegisters(unit, *PROBED))
        await self._line.write(frame)  # what came before is not thrown away: it is somebody's late answer
        octets = await self._hear(self._loop.time() + len(frame) * self._pass.settings.character_s + window_s)
        return octets.replace(frame, b"", 1)  # an adapter with echo

    async def _hear(self, deadline: float) -> bytes:
        """Return what comes: nothing, or all until the line is silent."""
        heard = bytearray()
        end = self._loop.time() + LISTEN_S_MAX
        while len(heard) < HEARD_OCTETS_MAX and self._loop.time() < end:
            try:
                heard += await self._line.read(deadline)
            except NoReplyError:
                break
            deadline = max(deadline, self._loop.time() + SETTLE_S + self._silence_s)
        return bytes(heard)

    async def _go_back(self, units: tuple[int, ...], octets: bytes) -> None:
        """Something was heard: find out from whom of ``units``, the last asked first."""
        named = answering_unit(octets)
        if named in self._known:
            return
        if named is not None:
            await self._ask_patiently(named)
            return
        if self._fruitless >= RETURNS_MAX:
            return
        before = len(self._known)
        for unit in units:
            if unit not in self._known:
                await self._ask_patiently(unit)
        if len(self._known) == before:
            self._fruitless += 1
            self._heard.noise.append((self._pass.settings, units[0], octets[:HEARD_OCTETS_MAX]))

    async def _ask_patiently(self, unit: int) -> None:
        for _ in range(PATIENT_TRIES):
            octets = await self._ask(unit, PATIENT_S)
            if answering_unit(octets) == unit or self._is_reply(octets):
                self._known.add(unit)
                self._heard.found.append(Found(unit, self._pass.settings))
                self._tell(f"  unit {unit} answers")
                return

    def _is_reply(self, octets: bytes) -> bool:
        try:
            self._client.receive_data(octets)
            return self._client.next_event() is not NEED_DATA
        except RemoteProtocolError:
            return False

    async def _listen_for_late_ones(self, units: tuple[int, ...]) -> None:
        """The last few of a pass have had no time to be late."""
        octets = await self._hear(self._loop.time() + PATIENT_S)
        if octets:
            await self._go_back(units[-self._back :][::-1], octets)


def answering_unit(octets: bytes) -> int | None:
    """Return the unit of a reply to :data:`PROBED` anywhere in ``octets``, known by its checksum, or ``None``."""
    function, _, count = PROBED
    for start in range(len(octets) - 4):
        code = octets[start + 1]
        length = 5 if code == function | EXCEPTION_BIT else 5 + 2 * count
        frame = octets[start : start + length]
        if code in (function, function | EXCEPTION_BIT) and len(frame) == length and crc16(frame[:-2]) == frame[-2:]:
            return frame[0]
    return None
