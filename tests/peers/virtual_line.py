"""The agent's own line master on a bad line whose time is a number: a million questions in the time of a coffee.

Nothing waits: where the master would wait for an octet or a silence, time jumps to it. The master is the one that runs
on gateways, with its own timeouts; only port and clock are exchanged.
"""

import asyncio
import heapq
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, cast

from edge_agent.failures import NoReplyError
from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import LineSettings, SerialLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply
from tests.peers.line_faults import LATE_TIMES, QUESTIONS, REFUSED, deliveries, registers_from

REPLY_TIMEOUT_S = 0.5
LATE_S = LATE_TIMES * REPLY_TIMEOUT_S
PROBED_IN = 5  # one question in so many is a probe, which is given up sooner
TURNAROUND_S = 0.02
UNITS = 3


class _JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose time goes on only when the line says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


class VirtualLine:
    """What :class:`edge_agent.serial_line.SerialLine` is to its master, without a port."""

    def __init__(self, loop: _JumpingLoop, rng: Random) -> None:
        self.settings = LineSettings("virtual", 9600, "N", 1)
        self.quiet_since = 0.0
        self._loop, self._rng = loop, rng
        self._coming: list[tuple[float, int, bytes]] = []
        self._number = count()
        self._received = bytearray()

    async def write(self, data: bytes) -> None:
        asked_s = self._loop.now_s + len(data) * self.settings.character_s
        self.quiet_since = asked_s
        for delay_s, octets in deliveries(data, self._rng, LATE_S):
            due_s = asked_s + TURNAROUND_S + delay_s + len(octets) * self.settings.character_s
            heapq.heappush(self._coming, (due_s, next(self._number), octets))

    async def read(self, deadline: float) -> bytes:
        self._advance(self._loop.now_s)
        if not self._received:
            due_s = self._coming[0][0] if self._coming else deadline
            self._advance(min(due_s, deadline))
        if not self._received:
            raise NoReplyError("no reply")
        data = bytes(self._received)
        self._received.clear()
        return data

    def discard(self) -> int:
        self._advance(self._loop.now_s)
        lost = len(self._received)
        self._received.clear()
        return lost

    async def keep_silence(self, silence_s: float) -> None:
        while self._loop.now_s < self.quiet_since + silence_s:
            self._advance(self.quiet_since + silence_s)

    def close(self) -> None:
        self._coming.clear()

    def _advance(self, until_s: float) -> None:
        self._loop.now_s = max(self._loop.now_s, until_s)
        while self._coming and self._coming[0][0] <= self._loop.now_s:
            due_s, _, octets = heapq.heappop(self._coming)
            self.quiet_since = max(self.quiet_since, due_s)
            self._received += octets


@dataclass(slots=True)
class Tally:
    """How many questions were answered rightly, wrongly, not at all."""

    right: int = 0
    wrong: int = 0
    absent: int = 0


def ask_virtually(questions: int, seed: int, link_of: Any = RtuLink) -> Tally:
    """Ask so many questions; ``link_of`` makes the master from a line and its timeout."""
    loop = _JumpingLoop()
    try:
        return loop.run_until_complete(_ask(loop, questions, Random(seed), link_of))
    finally:
        loop.close()


async def _ask(loop: _JumpingLoop, questions: int, rng: Random, link_of: Any) -> Tally:
    link = link_of(cast(SerialLine, VirtualLine(loop, rng)), REPLY_TIMEOUT_S)
    tally = Tally()
    while tally.right + tally.wrong + tally.absent < questions:
        address, length = rng.choice(QUESTIONS)
        request = ReadRegisters(rng.randint(1, UNITS), Function.READ_INPUT, address, length)
        try:
            reply = await link.exchange(request, probe=rng.randrange(PROBED_IN) == 0)
        except (NoReplyError, RemoteProtocolError):
            tally.absent += 1
            loop.now_s += rng.uniform(0, REPLY_TIMEOUT_S)  # a question that is withheld takes no time: others do
            continue
        refused = isinstance(reply, ExceptionReply)
        good = refused == ((address, length) == REFUSED)
        if isinstance(reply, RegistersReply):
            good = good and reply.data == registers_from(address, length)
        tally.right += good
        tally.wrong += not good
    return tally
