"""An event loop whose time is a number: when nothing is left to do now, it is the time of the next appointment.

Everything in a schedule runs on one such loop: the agent, the line, the meters, the broker, the server. What the
agent starts runs in a context that names its process, and the loop skips whatever belongs to a process that is dead:
a kill between any two steps costs no more than a flag, and no ``finally`` of the killed runs.

An executor's work is done on the loop too, in the order in which it was given, after the time that the disk takes.
"""

import asyncio
from asyncio import base_events
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
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


class Appointment:
    """What the loop does at a time: as much of :class:`asyncio.Handle` as asyncio asks of one."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args, self.context = args, context

    def cancel(self) -> None:
        """Let it be skipped when its time comes."""
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        """Say whether it is skipped."""
        return self.callback is None


class VirtualLoop(base_events.BaseEventLoop):
    """Runs callbacks in the order of their time; the time between them does not pass."""

    def __init__(self, latency_s: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.now_s = 0.0
        self.steps = 0
        self.on_step: Callable[[], None] | None = None
        self._latency_s = latency_s
        self._busy_until_s = 0.0
        self._timers: list[tuple[float, int, Appointment]] = []  # a heap; the number keeps the order of one time
        self._made = 0
        self.get_debug = bool  # type: ignore[method-assign]  # False, and no frame of Python for it
        self.mistakes: list[Exception] = []  # of what is simulated: nobody else hears of them
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Return the loop's time in seconds."""
        return self.now_s

    def call_soon(  # type: ignore[override]  # what it returns is enough of a handle
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Appointment:
        """Do ``callback`` in the next step."""
        appointment = Appointment(callback, args, copy_context() if context is None else context)
        self._ready.append(appointment)  # type: ignore[attr-defined]  # of BaseEventLoop
        return appointment

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is one thread

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Appointment:
        """Do ``callback`` at ``when``."""
        appointment = Appointment(callback, args, copy_context() if context is None else context)
        self._made += 1
        heappush(self._timers, (when, self._made, appointment))
        return appointment

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Appointment:
        """Do ``callback`` after ``delay``."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """Run until somebody says that it is enough."""
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]  # of BaseEventLoop
        while not self._stopping:  # type: ignore[attr-defined]
            if not ready:
                while timers and timers[0][2].callback is None:
                    heappop(timers)
                if not timers:
                    raise NothingLeftError
                self.now_s = max(self.now_s, timers[0][0])
            until_s = self.now_s + EPSILON_S
            while timers and timers[0][0] <= until_s:
                ready.append(heappop(timers)[2])
            for _ in range(len(ready)):
                self._do(ready.popleft())

    def _do(self, appointment: Appointment) -> None:
        callback = appointment.callback
        if callback is None:
            return
        life = appointment.context.get(LIFE)
        if life is not None:
            if not life.alive:
                return
            self.steps += 1
            if self.on_step is not None:
                self.on_step()
                if not life.alive:
                    return
        try:
            appointment.context.run(callback, *appointment.args)
        except Exception as error:  # a future that is done already, in what asyncio has begun for the agent
            if life is None:
                self.mistakes.append(error)

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
