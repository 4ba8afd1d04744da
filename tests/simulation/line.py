"""A pair of wires with Modbus meters on it, in virtual time, below the agent's own serial line.

Octets take their time. What a meter answers may come late, twice, in pieces, cut short, with flipped bits, behind
noise or glued to the next answer, or not at all; an adapter may give the master its own question back.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from random import Random

from edge_agent.failures import LineLostError
from edge_agent.serial_line import UNREAD_OCTETS_MAX, LineSettings, SerialLine
from protocols.modbus.crc import crc16
from simulators.modbus.slave import ModbusSlave
from tests.simulation.meters import TrueMeter, slave_of

LATE_S_MAX = 8.0  # less than the master's patience with a question of one shape (modbus_rtu.LATE_ANSWER_S)
DUPLICATE_S_MAX = 0.18  # repeaters and radio that double a frame do so within the reply timeout
HELD_OCTETS_MAX = 30
OCTETS_S_MAX = 0.35  # a frame of 256 octets and another's tail: what was over before garbles nothing any more
SILENCE_CHARACTERS = 3.5
SILENCE_TOLERANCE_S = 1e-6


class Trouble(Enum):
    """What happens to an answer on its way."""

    DROP = "drop"
    LATE = "late"
    TOO_LATE = "too late"  # after the master has given up, or while a probe's quarantine lasts
    CORRUPT = "corrupt"
    TRUNCATE = "truncate"
    SPLIT = "split"
    DUPLICATE = "duplicate"
    DUPLICATE_LATE = "duplicate late"
    NOISE = "noise"
    GLUE = "glue"  # it is held back and comes just before the next answer
    TRAILING = "trailing"


@dataclass(frozen=True, slots=True)
class Transmission:
    """When somebody sends [s]."""

    begin_s: float
    end_s: float


class Wires:
    """The physical line: meters by unit, what is wrong with it just now, and who has it open."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: Context, settings: LineSettings, meters: list[TrueMeter]
    ) -> None:
        self._loop, self._context = loop, context
        self.settings = settings
        self.rng = Random(0)
        self._slaves: dict[int, tuple[TrueMeter, ModbusSlave]] = {
            meter.address: (meter, slave_of(meter)) for meter in meters
        }
        self.trouble: dict[Trouble, float] = {}
        self.echo = False
        self.unplugged = False
        self.turnaround_s = 0.02
        self.note: Callable[[str], None] = lambda _what: None
        self.silence_violations = 0
        self._held = b""
        self.delay: tuple[int, float, Callable[[], None]] | None = None
        self._line: SimulatedLine | None = None
        self._last_octet_s = self._cut_s = -1.0
        self._on_wires: list[Transmission] = []

    def attach(self, line: "SimulatedLine") -> None:
        """Let ``line`` hear the wires; whoever had them before is gone."""
        if self.unplugged:
            raise LineLostError("unplugged")
        self._line = line

    def delay_one(self, after: int, late_s: float, then: Callable[[], None]) -> None:
        """Let an answer come ``late_s`` late when ``after`` others have come; ``then`` is called when it should."""
        self.delay = after, late_s, then

    def _delayed_s(self) -> float | None:
        if self.delay is None:
            return None
        left, late_s, then = self.delay
        self.delay = (left - 1, late_s, then) if left else None
        if left:
            return None
        then()
        return late_s

    def lose_contact(self) -> None:
        """Take the adapter away and put it back."""
        self.unplug()
        self.unplugged = False

    def detach(self, line: "SimulatedLine") -> None:
        """Let it hear no more."""
        if self._line is line:
            self._line = None

    def detach_all(self) -> None:
        """Nobody hears them any more: the process is gone."""
        self._line = None

    def unplug(self) -> None:
        """Take the adapter away."""
        self.unplugged = True
        self._cut_s = self._loop.time()
        self._last_octet_s = min(self._last_octet_s, self._cut_s)  # what was being sent goes no further
        if self._line is not None:
            self._line.lose()
            self._line = None

    def hear_master(self, data: bytes) -> None:
        """Take a question; it is over when its last octet has passed."""
        now_s = self._loop.time()
        if now_s - self._last_octet_s < SILENCE_CHARACTERS * self.settings.character_s - SILENCE_TOLERANCE_S:
            self.silence_violations += 1
        sent = self._transmit(now_s, len(data))
        self._last_octet_s = sent.end_s
        self._loop.call_at(sent.end_s, self._answer, data, sent, context=self._context)

    def _transmit(self, begin_s: float, octets: int) -> Transmission:
        """Occupy the wires; two that do so at one time garble each other."""
        sent = Transmission(begin_s, begin_s + octets * self.settings.character_s)
        now_s = self._loop.time()
        self._on_wires = [each for each in self._on_wires if each.end_s > now_s - OCTETS_S_MAX] + [sent]
        return sent

    def _is_garbled(self, sent: Transmission) -> bool:
        return any(
            each is not sent and each.begin_s < sent.end_s and sent.begin_s < each.end_s for each in self._on_wires
        )

    def _answer(self, frame: bytes, sent: Transmission) -> None:
        if self.echo:
            self._hear(frame)
        if self._is_garbled(sent) or sent.begin_s < self._cut_s < sent.end_s:
            return
        found = self._slaves.get(frame[0])
        if found is None or len(frame) < 4 or crc16(frame[:-2]) != frame[-2:] or found[0].silent:
            return
        reply = frame[:1] + found[1].answer(frame[1:-2], 0)
        reply += crc16(reply)
        self._send(reply)

    def _send(self, reply: bytes) -> None:
        """Put an answer on the wires, through what is wrong with them."""
        rng = self.rng
        kind = next((each for each, share in self.trouble.items() if rng.random() < share), None)
        begin_s = self.turnaround_s * (0.5 + rng.random())
        delayed_s = self._delayed_s()
        if delayed_s is not None:
            kind = Trouble.TOO_LATE
        if kind is not None:
            self.note(f"line {kind.value}")
        if kind is Trouble.DROP:
            return
        if kind is Trouble.GLUE and len(self._held) < HELD_OCTETS_MAX:
            self._held += reply
            return
        if kind in (Trouble.LATE, Trouble.TOO_LATE):
            begin_s = rng.uniform(0.05, 0.45) if kind is Trouble.LATE else delayed_s or rng.uniform(0.3, LATE_S_MAX)
        reply = _spoiled(reply, kind, rng)
        if kind is Trouble.DUPLICATE_LATE:
            self._later(begin_s + len(reply) * self.settings.character_s + rng.uniform(0, DUPLICATE_S_MAX), reply)
        if self._held:  # a gateway that sends all that it has kept, at once
            reply, self._held = self._held + reply, b""
            self._later(begin_s, reply)
        elif kind is Trouble.SPLIT or rng.random() < 0.1:
            middle = rng.randrange(len(reply) + 1)
            self._later(begin_s, reply[:middle])
            begin_s += middle * self.settings.character_s + rng.uniform(0, 0.3 if kind is Trouble.SPLIT else 0.001)
            self._later(begin_s, reply[middle:])
        else:
            self._later(begin_s, reply)

    def _later(self, begin_s: float, data: bytes) -> None:
        sent = self._transmit(self._loop.time() + begin_s, len(data))
        self._loop.call_at(sent.end_s, self._deliver, data, sent, context=self._context)

    def _deliver(self, data: bytes, sent: Transmission) -> None:
        if data and self._is_garbled(sent):
            at = self.rng.randrange(len(data))
            data = data[:at] + bytes((data[at] ^ self.rng.randrange(1, 256),)) + data[at + 1 :]
        self._hear(data)

    def _hear(self, data: bytes) -> None:
        if self._line is not None and data:  # a master that was not there yet has not heard it
            self._last_octet_s = self._loop.time()
            self._line.feed(data)


def _spoiled(reply: bytes, kind: Trouble | None, rng: Random) -> bytes:
    """Return what becomes of the octets of an answer."""
    if kind is Trouble.CORRUPT:
        bit = rng.randrange(8 * len(reply))
        return reply[: bit // 8] + bytes((reply[bit // 8] ^ 1 << bit % 8,)) + reply[bit // 8 + 1 :]
    if kind is Trouble.TRUNCATE:
        return reply[: rng.randrange(1, len(reply))]
    if kind is Trouble.NOISE:
        return rng.randbytes(rng.randrange(1, 8)) + reply
    if kind is Trouble.TRAILING:
        return reply + rng.randbytes(rng.randrange(1, 6))
    return 2 * reply if kind is Trouble.DUPLICATE else reply


class LoopTimer:
    """The loop's own timers, which are exact here."""

    async def wait_until(self, at_s: float) -> None:
        """Return at ``at_s``."""
        loop = asyncio.get_running_loop()
        come = loop.create_future()
        loop.call_at(at_s, come.set_result, None)
        await come


class SimulatedLine(SerialLine):
    """The agent's serial line without a descriptor: octets come from the wires and go to them."""

    def __init__(self, wires: Wires) -> None:
        self.settings = wires.settings
        self._tap = None
        self._wires = wires
        self._loop = asyncio.get_running_loop()
        self._timer = LoopTimer()  # type: ignore[assignment]
        self._received = bytearray()
        self._waiter = None
        self._lost = None
        self.quiet_since = self._loop.time()
        wires.attach(self)

    def close(self) -> None:
        """Let go of the wires."""
        self._wires.detach(self)

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        if self._lost is not None:
            raise self._lost
        self._wires.hear_master(data)
        self.quiet_since = self._loop.time() + len(data) * self.settings.character_s

    def feed(self, data: bytes) -> None:
        """Take what comes from the wires."""
        self.quiet_since = self._loop.time()
        self._received += data
        del self._received[:-UNREAD_OCTETS_MAX]
        self._wake()

    def lose(self) -> None:
        """Be gone."""
        self._lost = LineLostError("simulated: lost: end of file")
        self._wake()

    def _take(self) -> None:
        """There is no descriptor to read: what has come was fed."""
