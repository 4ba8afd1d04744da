"""Modbus RTU on a serial line: time, and why a late answer is never taken for another question's.

A reply carries unit, function and length, but not the address that was asked; its checksum is right however late it
comes. Hence:

* before a question what is on the line is thrown away, and 3.5 characters of silence are kept;
* a question is given up only when twice ``reply_timeout`` has passed: until then nothing else is sent, so an answer
  that comes can only be this one's. After an error on the line the same time is waited out;
* a meter that has been silent for long is only probed: the line is free again after ``reply_timeout``, but that unit
  is left alone for as long again. An answer to the probe that comes meanwhile names its unit and is refused;
* should an answer be later still, or come twice: for :data:`LATE_ANSWER_S` the unit is asked no other question of the
  same length. One that would have it is lengthened (:mod:`edge_agent.lengths`). Where the meter refuses that, it is not
  asked while a late answer may come, and after an answer ``reply_timeout`` is waited for its double. The same question
  may be asked at any time: its answer is the same registers;
* a refusal that may be another question's, late or doubled, counts when it has come three times;
* what was asked is remembered over the loss of the line, and as far as need be over the process's end
  (:mod:`edge_agent.unheard`).
"""

import asyncio

from edge_agent.costs import line_cost
from edge_agent.failures import NoReplyError
from edge_agent.lengths import Lengths
from edge_agent.serial_line import SerialLine
from edge_agent.tuned_line import TunedLine
from protocols.errors import RemoteProtocolError
from protocols.modbus.messages import ExceptionCode, ExceptionReply, ReadRegisters, RegistersReply, Reply, Request
from protocols.modbus.plan import LineCost
from protocols.modbus.rtu import FRAME_OVERHEAD_OCTETS, NEED_DATA, RtuClient

CONFIRMATIONS = 2
LATE_ANSWER_S = 10.0  # no meter, adapter or radio bridge we know of holds an answer longer

_BEYOND = (ExceptionCode.ILLEGAL_DATA_ADDRESS, ExceptionCode.ILLEGAL_DATA_VALUE)  # a question reaches too far


class RtuLink:
    """Asks one question at a time on a line that it owns."""

    def __init__(
        self,
        line: SerialLine | TunedLine,
        reply_timeout_s: float,
        lengths: Lengths | None = None,
        *,
        late_answer_s: float = LATE_ANSWER_S,
    ) -> None:
        """Take ``lengths`` from whoever had this line open before, for its answers may still come."""
        settings = line.settings
        self.cost: LineCost = line_cost(settings)
        self.turnaround_us: float | None = None
        """How long the last answer took beyond its octets and the silence before them; None if that is not known."""
        self.quarantine_s = 0.0
        """How long nothing was sent because a late answer might still have come, in all."""
        self._line = line
        self._reply_timeout_s = reply_timeout_s
        self._silence_s = self.cost.silence_us / 1e6 if settings.paced else 0.0
        self._client = RtuClient()
        self._loop = asyncio.get_running_loop()
        self._lengths = Lengths(late_answer_s) if lengths is None else lengths
        self._left_alone_until: dict[int, float] = {}

    async def exchange(self, request: Request, *, probe: bool = False, patience_s: float | None = None) -> Reply:
        """Return the answer to ``request``. A meter known to be quick need not be waited for beyond ``patience_s``.

        Raises
        ------
        NoReplyError, RemoteProtocolError
            If there was none, or nothing that could be one. The line may be used again at once.
        LineLostError
            If the line is gone.
        """
        asked = self._lengths.distinct(request, self._loop.time())
        doubtful = self._lengths.may_refuse_another(asked, self._loop.time())
        reply = await self._exchange(asked, probe=probe, patience_s=patience_s)
        for _ in range(CONFIRMATIONS if doubtful else 0):
            if isinstance(reply, ExceptionReply):
                reply = await self._exchange(asked, probe=probe, patience_s=patience_s)
        if isinstance(reply, ExceptionReply):
            self._lengths.note_without_values(asked, self._loop.time())
        if asked == request:
            return reply
        assert isinstance(asked, ReadRegisters)
        assert isinstance(request, ReadRegisters)
        if isinstance(reply, RegistersReply):
            return RegistersReply(request, reply.data[: 2 * request.count])
        assert isinstance(reply, ExceptionReply)
        if reply.code not in _BEYOND:
            return ExceptionReply(request, reply.code)
        self._lengths.refused(asked)
        return await self.exchange(request, probe=probe, patience_s=patience_s)

    async def _exchange(self, request: Request, *, probe: bool, patience_s: float | None) -> Reply:
        await self._wait_for_turn(request)
        frame = self._client.send(request)
        await self._line.keep_silence(self._silence_s)
        self._line.discard()
        characters = len(frame) + FRAME_OVERHEAD_OCTETS + request.reply_octets_max
        characters_s = characters * self._line.settings.character_s
        patience_s = min(self._reply_timeout_s, patience_s or self._reply_timeout_s)
        self.turnaround_us = None
        asked_at = answered_by = given_up_at = self._loop.time()
        try:
            await self._line.write(frame)
            asked_at = self._loop.time()
            self._lengths.note(request, asked_at)
            answered_by = asked_at + characters_s + patience_s
            given_up_at = answered_by if probe else answered_by + self._reply_timeout_s
            reply = await self._receive(given_up_at)
            self._lengths.note(request, self._loop.time())
            if isinstance(reply, RegistersReply):  # others have no length that is known beforehand
                self.turnaround_us = 1e6 * max(0.0, self._loop.time() - asked_at - characters_s - self._silence_s)
            return reply
        except NoReplyError as error:
            self._note_unanswered(request, answered_by)
            self.quarantine_s += given_up_at - answered_by
            waited_ms = round(1000 * (given_up_at - answered_by + patience_s))
            raise NoReplyError(f"unit {request.unit}: no reply within {waited_ms} ms") from error
        except RemoteProtocolError:
            self._note_unanswered(request, answered_by)
            await self._drain(given_up_at)
            raise
        except BaseException:  # the line is lost, or the task is ended: the meter may answer all the same
            self._note_unanswered(request, answered_by)
            raise

    def free_at(self, request: Request) -> float:
        """Return the loop's time from when on ``request`` can be asked without waiting for what may still come."""
        now_s = self._loop.time()
        asked = self._lengths.distinct(request, now_s)
        free_s = self._left_alone_until.get(request.unit, 0.0)
        if self._lengths.rival(asked, now_s) is None:
            return free_s
        return max(free_s, self._lengths.doubled_until(asked, self._reply_timeout_s))

    @property
    def is_quiet(self) -> bool:
        """Whether all that was asked was answered, or can be no more."""
        return self._lengths.quiet_at(0.0) <= self._loop.time()

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
        now_s = self._loop.time()
        rival = self._lengths.rival(request, now_s)
        if rival is not None:
            if now_s < self._lengths.late_until(request):
                raise NoReplyError(
                    f"unit {request.unit}: {request} not asked: the answer to {rival}, of the same length, may still "
                    "come, and the meter refuses a longer question"
                )
            await self._drain(self._lengths.doubled_until(request, self._reply_timeout_s))
        until = self._left_alone_until.pop(request.unit, 0.0)
        if until > self._loop.time():
            await self._drain(until)

    def _note_unanswered(self, request: Request, answered_by: float) -> None:
        self._lengths.note(request, self._loop.time(), answered=False)
        self._lengths.note_without_values(request, self._loop.time())
        self._left_alone_until[request.unit] = answered_by + self._reply_timeout_s

    async def _drain(self, until: float) -> None:
        """Listen until ``until`` and throw away what comes."""
        began_s = self._loop.time()
        while self._loop.time() < until:
            try:
                await self._line.read(until)
            except NoReplyError:
                break
        self.quarantine_s += self._loop.time() - began_s
