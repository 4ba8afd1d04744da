"""An event loop whose time is a number: when nothing is left to do now, it is the time of the next appointment.

Everything in a schedule runs on one such loop: the agent, the line, the meters, the broker, the server. What the
agent starts runs in a context that names its process, and the loop skips whatever belongs to a process that is dead:
a kill between any two steps costs no more than a flag, and no ``finally`` of the killed runs.

An executor's work is done on the loop too, in the order in which it was given, after the time that the disk takes.
"""

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPSILON_S = 1e-9


class Life:
    """One life of the agent's process, from its start to its end or its death."""

    __slots__ = ("alive", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)


class NothingLeftError(Exception):
    """The loop has neither work nor an appointment: something waits for what can't come."""


class VirtualLoop(base_events.BaseEventLoop):
    """Runs callbacks in the order of their time; the time between them does not pass."""

    def __init__(self, latency_s: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.now_s = 0.0
        self.steps = 0
        self.on_step: Callable[[], None] | None = None
        self._latency_s = latency_s
        self._busy_until_s = 0.0
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Return the loop's time in seconds."""
        return self.now_s

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]  # of BaseEventLoop
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise NothingLeftError
            self.now_s = max(self.now_s, scheduled[0]._when)
        until_s = self.now_s + EPSILON_S
        while scheduled and scheduled[0]._when <= until_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            life = handle._context.get(LIFE)
            if life is None:
                handle._run()
            elif life.alive:
                self.steps += 1
                if self.on_step is not None:
                    self.on_step()
                if life.alive:
                    handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap: it is skipped when its time comes."""

    def run_in_executor(  # type: ignore[override]  # the work is done on the loop
        self, executor: object, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Do the work on the loop, after what was given before."""
        future: asyncio.Future[T] = self.create_future()
        self._busy_until_s = max(self._busy_until_s, self.now_s) + self._latency_s()
        self.call_at(self._busy_until_s, self._work, future, func, args)
        return future

    def _work(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            result = func(*args)
        except BaseException as error:
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def _process_events(self, _event_list: object) -> None:
        """There are no descriptors."""
