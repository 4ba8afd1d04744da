"""Modbus RTU on a serial line: time, and why a late answer is never taken for another question's.

A reply carries unit, function and length, but not the address that was asked; its checksum is right however late it
comes. Hence:

* before a question what is on the line is thrown away, and 3.5 characters of silence are kept;
* a question is given up only when twice ``reply_timeout`` has passed: until then nothing else is sent, so an answer
  that comes can only be this one's. After an error on the line the same time is waited out;
* a meter that has been silent for long is only probed: the line is free again after ``reply_timeout``, but that unit
  is left alone for as long again. An answer to the probe that comes meanwhile names its unit and is refused;
* should an answer be later still: for :data:`LATE_ANSWER_S` after a question that was not answered, the unit is asked
  no other question of the same shape (function and length). The same question may be asked: its answer is the same
  registers. (Issue a plan whose questions differ in length, and this never costs anything; the built-in models do.)
"""

import asyncio

from edge_agent.failures import NoReplyError
from edge_agent.serial_line import SerialLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import Reply, Request
from protocols.modbus.plan import LineCost, serial_cost
from protocols.modbus.rtu import FRAME_OVERHEAD_OCTETS, NEED_DATA, RtuClient

LATE_ANSWER_S = 10.0  # no meter, adapter or radio bridge we know of holds an answer longer
TURNAROUND_US = 20_000.0  # typical; meters take 5 to 250 ms


class RtuLink:
    """Asks one question at a time on a line that it owns."""

    def __init__(self, line: SerialLine, reply_timeout_s: float, *, late_answer_s: float = LATE_ANSWER_S) -> None:
        settings = line.settings
        self.cost: LineCost = serial_cost(settings.baud, settings.bits_per_character, TURNAROUND_US)
        self._line = line
        self._reply_timeout_s = reply_timeout_s
        self._late_answer_s = late_answer_s
        self._silence_s = self.cost.silence_us / 1e6 if settings.paced else 0.0
        self._client = RtuClient()
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[tuple[int, int, int], tuple[Request, float]] = {}
        self._left_alone_until: dict[int, float] = {}

    async def exchange(self, request: Request, *, probe: bool = False) -> Reply:
        """Return the answer to ``request``.

        Raises
        ------
        NoReplyError, RemoteProtocolError
            If there was none, or nothing that could be one. The line may be used again at once.
        LineLostError
            If the line is gone.
        """
        await self._wait_for_turn(request)
        await self._line.keep_silence(self._silence_s)
        self._line.discard()
        frame = self._client.send(request)
        await self._line.write(frame)
        characters = len(frame) + FRAME_OVERHEAD_OCTETS + request.reply_octets_max
        answered_by = self._loop.time() + characters * self._line.settings.character_s + self._reply_timeout_s
        given_up_at = answered_by if probe else answered_by + self._reply_timeout_s
        try:
            return await self._receive(given_up_at)
        except NoReplyError as error:
            self._note_unanswered(request, answered_by)
            waited_ms = round(1000 * (given_up_at - answered_by + self._reply_timeout_s))
            raise NoReplyError(f"unit {request.unit}: no reply within {waited_ms} ms") from error
        except RemoteProtocolError:
            self._note_unanswered(request, answered_by)
            await self._drain(given_up_at)
            raise

    def close(self) -> None:
        """Close the line."""
        self._line.close()

    async def _receive(self, deadline: float) -> Reply:
        while True:
            event = self._client.next_event()
            if event is not NEED_DATA:
                return event
            self._client.receive_data(await self._line.read(deadline))

    async def _wait_for_turn(self, request: Request) -> None:
        before, since = self._unanswered.get(request.shape, (request, 0.0))
        if before != request and self._loop.time() < since + self._late_answer_s:
            raise NoReplyError(
                f"unit {request.unit}: {request} not asked: the answer to {before}, of the same length, may still come"
            )
        until = self._left_alone_until.pop(request.unit, 0.0)
        if until > self._loop.time():
            await self._drain(until)

    def _note_unanswered(self, request: Request, answered_by: float) -> None:
        self._unanswered[request.shape] = (request, self._loop.time())
        self._left_alone_until[request.unit] = answered_by + self._reply_timeout_s

    async def _drain(self, until: float) -> None:
        """Listen until ``until`` and throw away what comes."""
        while self._loop.time() < until:
            try:
                await self._line.read(until)
            except NoReplyError:
                return
