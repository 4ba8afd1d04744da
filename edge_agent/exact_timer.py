"""A timer that wakes within some ten microseconds: asyncio's own waits in whole milliseconds.

At 115,200 baud a question with its answer takes ten milliseconds; rounding the silences up to whole ones would cost a
twentieth of the line. The kernel's timer is a descriptor (Linux, timerfd_create(2)), which the loop watches like a
port. Python offers it from 3.13 on; here it is called through the C library.
"""

import asyncio
import ctypes
import os
from math import ceil

CLOCK_MONOTONIC = 1  # what the loop's time() is; linux/time.h
ABSOLUTE = 1  # TFD_TIMER_ABSTIME, sys/timerfd.h
NANOSECONDS = 1_000_000_000
EARLY_S = 0.000_1  # woken so much before, for waking takes as long; the rest is spent looking at the clock


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: the interval, which stays zero, and when it expires first."""

    _fields_ = (("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


class ExactTimer:
    """One timer for one task at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._library.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._waiter: asyncio.Future[None] | None = None
        self._loop.add_reader(self._fd, self._expired)

    async def wait_until(self, at_s: float) -> None:
        """Return when the loop's time has reached ``at_s``."""
        if at_s - EARLY_S <= self._loop.time():
            while self._loop.time() < at_s:
                pass
            return
        at_ns = ceil((at_s - EARLY_S) * NANOSECONDS)
        spec = _TimerSpec((0, 0), (at_ns // NANOSECONDS, at_ns % NANOSECONDS))
        self._waiter = self._loop.create_future()
        if self._library.timerfd_settime(self._fd, ABSOLUTE, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        try:
            await self._waiter
        finally:
            self._waiter = None
        while self._loop.time() < at_s:
            pass

    def close(self) -> None:
        """Give the timer back."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it expired
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
