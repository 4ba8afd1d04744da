"""Meters and lines for tests, and a master that only knows octets."""

import asyncio
import os
import select
import time
import tty
from collections.abc import Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from protocols.meters.catalogue import load_model
from simulators.chance import key_of
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.vietnam_days import DAY_MS, local_midnight_ms

INSTALLED = local_midnight_ms(date(2026, 8, 1))
NOW = local_midnight_ms(date(2026, 10, 7)) + 45_678_901  # 12:41:18.901 in Vietnam
T = TypeVar("T")


def meter(model="eastron_sdm120", address=1, *, kind=Kind.HOUSEHOLD, panels_w=0, silent=(), name=None):
    name = name or f"{model}-{address}"
    consumer = Consumer(kind, 250, "hanoi", key_of(1, name), key_of(1), panels_w)
    return SimulatedMeter(name, load_model(model), address, consumer, installed_at_ms=INSTALLED, silent=silent)


def days(number):
    return number * DAY_MS


class Master:
    """The other end of a line: writes octets, reads what comes before a deadline."""

    def __init__(self, port: Path) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read(self, count: int, deadline_s: float = 5.0) -> bytes:
        """Return ``count`` octets, or what came until the deadline."""
        return b"".join(octets for _, octets in self.read_timed(count, deadline_s))

    def read_timed(self, count: int, deadline_s: float = 5.0) -> list[tuple[float, bytes]]:
        """Like :meth:`read`, with the time at which each lump was there."""
        end = time.monotonic() + deadline_s
        lumps: list[tuple[float, bytes]] = []
        while sum(len(octets) for _, octets in lumps) < count and (left := end - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                octets = os.read(self._fd, 4096)
                lumps.append((time.monotonic(), octets))
        return lumps

    def ask(self, request: bytes, count: int, deadline_s: float = 5.0) -> bytes:
        """Write a request and read ``count`` octets."""
        self.write(request)
        return self.read(count, deadline_s)

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, within a deadline."""

    async def limited() -> T:
        return await asyncio.wait_for(work(), 30)

    return asyncio.run(limited())
