"""One bus and the one task that owns it: it asks who is due, spools what they said, and does the rest in idle time.

The task goes from question to question. Between two it does, in this order: what is urgent (:meth:`Bus.urgent`); what
is due, the earliest deadline first (:mod:`edge_agent.schedule`); and when nothing is due, it commits what it has
gathered, in one transaction, fills holes from load profiles as far as that fits before the next sample
(:mod:`edge_agent.healing`), and sees to what is done daily (:mod:`edge_agent.tending`). So an urgent question and a
sample that falls due wait for one transaction at most.

To apply a new configuration to one bus: set the ``stop`` that was given to :meth:`Bus.run`, wait for its end (one
transaction and a commit), make another :class:`Bus`. The others do not notice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from edge_agent import policy
from edge_agent.clock import Clock
from edge_agent.config import BusConfig, MeterConfig
from edge_agent.failures import LineLostError
from edge_agent.gathering import Gathering
from edge_agent.healing import Healer
from edge_agent.log import EventLog, Recurring
from edge_agent.meter import Answer, Fault, Meter, Question
from edge_agent.schedule import Job, ProbeBudget, Standing, choose
from edge_agent.series import Polled
from edge_agent.statistics import BusStatistics, LoadMeter, MeterTally, bus_statistics
from edge_agent.store import Store
from edge_agent.tending import Duties, Tending
from protocols.errors import ProtocolError, UnavailableError

T = TypeVar("T")
WAIT_MAX_MS = 3_600_000  # look at the clock again at least this often: it may have been set
TRIES = 2  # of a question, but for a silent meter
CYCLE_S_MAX = 10.0  # what was gathered is committed after so long even if the bus never rests
HELD_S_MIN = 0.001  # what is shorter is waited out on the line
HOLD_S_MAX = 0.05  # of looking away from the clock while a meter is left alone
LISTENING_TOLD_S = 1.0  # less, for an answer that may come a second time, passes while a program starts
URGENT_MAX = 64  # waiting at one time; more is refused


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


@dataclass(frozen=True, slots=True)
class OpenMeter:
    """What an urgent piece of work gets: a meter on the open line, and its clock, logs and relay if it has such."""

    config: MeterConfig
    meter: Meter
    duties: Duties | None


class Bus:
    """Owns a line, its meters' schedule and its clock."""

    def __init__(
        self,
        config: BusConfig,
        clock: Clock,
        store: Store,
        log: EventLog,
        open_line: Callable[[BusConfig], Awaitable[Line]],
        *,
        listen_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``listen_s`` says for how long still nothing may be asked (:mod:`edge_agent.unheard`)."""
        self._config = config
        self._clock = clock
        self._log = log
        self._recurring = Recurring(log)
        self._open_line = open_line
        self._listen_s = listen_s
        self._line: Line | None = None
        self._loop = asyncio.get_running_loop()
        slots = store.slots()
        self._polled = {meter.id: Polled(meter, slots) for meter in config.meters}
        self._healer = Healer(config, store, self._recurring, log, self._loop.time)
        self._tending = Tending(config, clock, store, self._recurring, log)
        self._budget = ProbeBudget(clock.now_ms())
        self._tallies = {meter.id: MeterTally(meter.id) for meter in config.meters}
        self._load = LoadMeter(self._loop.time())
        self._gathering = Gathering(config.id, store, self._recurring, self._loop.time, self._tallies)
        self._urgent: deque[tuple[str, Callable[[OpenMeter], Awaitable[object]], asyncio.Future[object]]] = deque()
        self._called = asyncio.Event()
        self._urgent_done = 0
        self._steady = (0, clock.now_ms(), round(1000 * self._loop.time()))
        self._running = False

    async def urgent(self, meter: str, work: Callable[[OpenMeter], Awaitable[T]]) -> T:
        """Do ``work`` with a meter of this bus before anything scheduled, between two transactions; return its result.

        Raises
        ------
        LineLostError
            If the line can't be opened or is lost on the way.
        UnavailableError
            If the bus does not run, or too much that is urgent waits.
        Exception
            Whatever ``work`` raises. A caller that no longer waits (cancelled) takes back what has not begun.
        """
        if not self._running:
            raise UnavailableError(f"bus {self._config.id}: is not running")
        if len(self._urgent) >= URGENT_MAX:
            raise UnavailableError(f"bus {self._config.id}: {URGENT_MAX} urgent questions wait already; try later")
        future: asyncio.Future[object] = self._loop.create_future()
        self._urgent.append((meter, work, future))
        self._called.set()
        return await future  # type: ignore[return-value]  # the queue holds work of any result

    def statistics(self) -> BusStatistics:
        """Return what the bus and its meters have done so far."""
        meters = tuple(
            self._tallies[name].snapshot(polled.health.failures, silent=polled.health.silent)
            for name, polled in self._polled.items()
        )
        return bus_statistics(
            self._config.id,
            meters,
            line_open=self._line is not None,
            load=self._load.share(self._loop.time()),
            busy_s=self._load.busy_s,
            probe_s=sum(tally.probe_s for tally in self._tallies.values()),
            urgent=self._urgent_done,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until ``stop`` is set; a transaction that has begun is finished, and what was gathered is committed."""
        self._running = True
        try:
            await self._listen(stop)
            await self._wait_for_sane_clock(stop)
            self._begin()
            while not stop.is_set():
                await self._do_urgent()
                now_ms = self._clock.now_ms()
                if not policy.is_set(now_ms):  # it was, so it is wrong now
                    await self._wait_for_sane_clock(stop)
                    self._begin()
                    continue
                job, held_s = self._choose(now_ms)
                if job is not None:
                    await self._ask(self._polled[job.meter])
                elif held_s is not None:
                    await self._hold(held_s)
                elif not await self._rest(now_ms):
                    await self._wait_for_next(now_ms, stop)
            await self._commit()
        finally:
            self._running = False
            self._refuse_urgent()
            self._close_line()

    async def _listen(self, stop: asyncio.Event) -> None:
        """Hear out what comes to questions of the process before; the first question throws it away."""
        left_s = self._listen_s()
        if left_s <= 0:
            return
        with suppress(LineLostError):  # that is told when it is needed
            await self._on_line(_nothing)
        if left_s >= LISTENING_TOLD_S:
            self._log.info("bus.listening", bus=self._config.id, for_s=round(left_s, 1))
        await unless_stopped(asyncio.sleep(left_s), stop)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def _wait_for_sane_clock(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not policy.is_set(self._clock.now_ms()):
            now_ms = self._clock.now_ms()
            self._recurring.failed("clock", "clock.not_set", bus=self._config.id, now_ms=now_ms)
            await self._wait(now_ms + policy.PUNCTUAL_MS, stop)
        self._recurring.recovered("clock", "clock.not_set", "clock.set", bus=self._config.id)

    async def _wait_for_next(self, now_ms: int, stop: asyncio.Event) -> None:
        due_ms = self._next_due_ms(now_ms)
        if due_ms > now_ms + 2 * policy.DAY_MS:  # nobody is read less often than daily
            self._log.error("clock.went_back", bus=self._config.id, now_ms=now_ms, due_ms=due_ms)
            self._begin()
        else:
            await self._wait(min(due_ms, now_ms + WAIT_MAX_MS), stop)

    async def _wait(self, at_ms: int, stop: asyncio.Event) -> None:
        """Wait for the clock, or for ``stop``; do what is urgent meanwhile."""
        waiting = asyncio.ensure_future(self._clock.wait_until(at_ms))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not waiting.done() and not stopping.done():
                self._called.clear()
                calling = asyncio.ensure_future(self._called.wait())
                await asyncio.wait({waiting, stopping, calling}, return_when=asyncio.FIRST_COMPLETED)
                calling.cancel()
                await self._do_urgent()
            if waiting.done():
                waiting.result()
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    def _choose(self, now_ms: int) -> tuple[Job | None, float | None]:
        """Return the job to do now, or else how long those that are due must be left alone, if any is."""
        due = [job for job in self._jobs(now_ms) if job.due_ms <= now_ms]
        held_s: list[float] = []
        while (job := choose(due, now_ms)) is not None:
            left_s = self._held_s(job.meter)
            if left_s <= 0:
                return job, None
            held_s.append(left_s)
            due.remove(job)
        return None, min(held_s, default=None)

    def _held_s(self, meter: str) -> float:
        """Return how long the next question to a meter must wait for what may still come from it."""
        polled = self._polled[meter]
        if self._line is None or not polled.questions:
            return 0.0
        return self._line.meters[meter].free_at(polled.questions[0]) - self._loop.time() - HELD_S_MIN

    async def _hold(self, held_s: float) -> None:
        """Let the line rest for a moment; what is urgent, or falls due meanwhile, is looked for soon."""
        self._called.clear()
        if not self._urgent:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), min(held_s + HELD_S_MIN, HOLD_S_MAX))

    def _jobs(self, now_ms: int) -> list[Job]:
        self._budget = self._budget.at(now_ms)
        probe_ms = 1000 * self._config.reply_timeout_s
        return [polled.job(now_ms, self._budget, probe_ms) for polled in self._polled.values()]

    def _next_due_ms(self, now_ms: int) -> int:
        read_ms = min(job.due_ms for job in self._jobs(now_ms))
        return min(read_ms, self._tending.due_ms() or read_ms)

    def _begin(self) -> None:
        now_ms = self._clock.now_ms()
        for polled in self._polled.values():
            polled.begin(now_ms)
        self._tending.begin()

    # -- what is due --------------------------------------------------------------------------------------------------

    async def _ask(self, polled: Polled) -> None:
        """Ask one meter its next question."""
        now_ms = self._clock.now_ms()
        self._gathering.begin()
        self._gathering.finish(polled, polled.expire(now_ms))
        wanted = polled.open_due(now_ms)
        probe = polled.health.failures > 0

        async def ask(line: Line) -> tuple[Question, Answer] | None:
            nonlocal wanted
            meter = line.meters[polled.config.id]
            if wanted:
                polled.add(meter.questions(wanted), now_ms)
                wanted = ()  # a line that is opened again asks the same questions, once
            return (
                (polled.questions[0], await meter.ask(polled.questions[0], probe=probe)) if polled.questions else None
            )

        began_s = self._loop.time()
        try:
            asked = await self._on_line(ask)
        except LineLostError as error:
            self._give_up_cycle(str(error))
            return
        except ProtocolError as error:  # one meter's trouble, even if it is a mistake of ours, is not the others'
            asked = (*polled.questions, Question((), 0.0))[0], Answer((), failure=str(error), fault=Fault.GARBLED)
        if asked is None:  # the meter knows no question for what is wanted
            self._gathering.finish(polled, polled.fail())
        else:
            self._note(polled, asked[1], self._loop.time() - began_s, probe=probe)
            self._hear(polled, *asked, now_ms, tries=1 if polled.health.silent else TRIES)
        if self._gathering.age_s() > CYCLE_S_MAX:
            await self._commit()

    def _note(self, polled: Polled, answer: Answer, took_s: float, *, probe: bool) -> None:
        self._load.note(self._loop.time(), took_s)
        self._tallies[polled.config.id].note(answer, took_s, self._clock.now_ms(), probe=probe, retry=polled.tried > 0)
        if polled.standing is Standing.SILENT:
            self._budget = self._budget.spend(1000 * took_s)

    def _hear(self, polled: Polled, question: Question, answer: Answer, now_ms: int, *, tries: int) -> None:
        """Take what a meter said, or what it did not."""
        if answer.failure is None:
            polled.health = policy.Health()
            got = self._gathering.got(polled, answer, now_ms, self._steady_ms())
            if got is None:
                return  # once more
            polled.refusals += answer.refusals
            self._gathering.finish(polled, polled.take(question, got, answer.instead))
            if not polled.questions:
                self._gathering.report(polled, None)
            return
        polled.note_miss()
        if polled.tried < tries:
            return  # once more, but first come those that answer
        finished = polled.fail()
        has_values = any(each.got for each in finished)
        polled.health = policy.Health() if has_values else policy.after_failure(polled.health, now_ms)
        self._gathering.finish(polled, finished)
        self._gathering.report(polled, answer.failure)

    def _steady_ms(self) -> int:
        """Return a time that never goes back: the clock's, or if that was set back, at least as much as has passed."""
        now_ms, loop_ms = self._clock.now_ms(), round(1000 * self._loop.time())
        self._steady = (self._steady[0] + max(0, now_ms - self._steady[1], loop_ms - self._steady[2]), now_ms, loop_ms)
        return self._steady[0]

    def _give_up_cycle(self, reason: str) -> None:
        """The line can't be had: nobody who is due can be read. It is tried again when the next one is."""
        now_ms = self._clock.now_ms()
        self._recurring.failed(self._config.id, "bus.line_lost", bus=self._config.id, reason=reason)
        for polled in self._polled.values():
            polled.open_due(now_ms)
            if polled.is_open:
                self._gathering.begin()
                self._gathering.finish(polled, polled.fail())
                self._gathering.report(polled, reason)

    async def _on_line(self, work: Callable[[Line], Awaitable[T]]) -> T:
        """Do ``work`` on the open line. One that was open and is lost is opened again once, then LineLostError."""
        for last in (self._line is None, True):
            try:
                if self._line is None:
                    self._line = await self._open_line(self._config)
                result = await work(self._line)
            except LineLostError:
                self._close_line()
                if last:
                    raise
            else:
                self._recurring.recovered(self._config.id, "bus.line_lost", "bus.line_opened", bus=self._config.id)
                return result
        raise AssertionError("unreachable: the second try returns or raises")

    # -- what is urgent -----------------------------------------------------------------------------------------------

    async def _do_urgent(self) -> None:
        while self._urgent:
            name, work, future = self._urgent.popleft()
            if future.done():
                continue  # nobody waits for it any more
            began_s = self._loop.time()
            try:
                result = await self._on_line(partial(self._work, name, work))
            except Exception as error:  # it is the caller's, who waits for it
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)
            self._urgent_done += 1
            self._load.note(self._loop.time(), self._loop.time() - began_s)

    async def _work(self, name: str, work: Callable[[OpenMeter], Awaitable[object]], line: Line) -> object:
        polled = self._polled.get(name)
        if polled is None:
            raise UnavailableError(f"meter {name}: is not on bus {self._config.id}")
        return await work(OpenMeter(polled.config, line.meters[name], line.duties.get(name)))

    def _refuse_urgent(self) -> None:
        for _, _, future in self._urgent:
            if not future.done():
                future.set_exception(UnavailableError(f"bus {self._config.id}: was stopped"))
        self._urgent.clear()

    # -- idle time ----------------------------------------------------------------------------------------------------

    async def _rest(self, now_ms: int) -> bool:
        """Do a piece of what may wait; say whether there was any."""
        if not self._gathering.is_empty:
            await self._commit()
            return True
        began_s = self._loop.time()
        done = False
        if self._line is not None:
            read_ms = min(job.due_ms for job in self._jobs(now_ms))
            done = await self._healer.fill_piece(self._line.meters, read_ms - now_ms)
        if not done and (due_ms := self._tending.due_ms()) is not None and due_ms <= now_ms:
            await self._tend()
            done = True
        if done:
            self._load.note(self._loop.time(), self._loop.time() - began_s)
        return done

    async def _tend(self) -> None:
        """Do what is done daily, for meters that answer on a line that is open."""
        silent = {name for name, polled in self._polled.items() if polled.health.failures}
        duties = {} if self._line is None else self._line.duties
        try:
            await self._tending.tend({name: each for name, each in duties.items() if name not in silent})
        except LineLostError:
            self._close_line()  # the next question opens it again and tells if it can't

    async def _commit(self) -> None:
        answered = await self._gathering.commit(self._polled, self._healer)
        self._healer.may_ask(answered)

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


async def _nothing(_line: Line) -> None:
    """Ask nothing."""


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
