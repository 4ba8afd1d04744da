"""Time as the agent sees it: the computer's clock, or a simulated world's.

A world's time stands still while the agent works and moves only when every participant waits. See
``docs/contracts/world.md``; one connection for each bus.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from protocols.errors import UnavailableError

RECHECK_S = 10.0  # the computer's clock may be set while we sleep: look at it again at least this often
SET_BACK_MS = 1000
WORLD_PATIENCE_S = 15.0  # how long to wait for the world's socket to appear
UNIX_PATH_OCTETS_MAX = 107  # sun_path in Linux' <sys/un.h>, less the closing zero


class Clock(Protocol):
    """What a bus needs of time."""

    def now_ms(self) -> int:
        """Return the present time in milliseconds since 1970 UTC."""
        ...

    async def wait_until(self, at_ms: int) -> None:
        """Return when ``at_ms`` has come, at once if it has passed, earlier if the clock was set back."""
        ...

    async def close(self) -> None:
        """Leave."""
        ...


class SystemClock:
    """The computer's clock, ``time_ns``; while it is waited for it is looked at each ``recheck_s``."""

    def __init__(self, time_ns: Callable[[], int] = time.time_ns, recheck_s: float = RECHECK_S) -> None:
        self._time_ns = time_ns
        self._recheck_s = recheck_s

    def now_ms(self) -> int:
        """Return the present time in milliseconds since 1970 UTC."""
        return self._time_ns() // 1_000_000

    async def wait_until(self, at_ms: int) -> None:
        """Return when ``at_ms`` has come by the clock, even if it is set meanwhile, earlier if it is set back."""
        latest_ms = self.now_ms()
        while True:
            now_ms = self.now_ms()
            left_ms = at_ms - now_ms
            if left_ms <= 0 or now_ms < latest_ms - SET_BACK_MS:
                return
            latest_ms = now_ms
            await asyncio.sleep(min(left_ms / 1000, self._recheck_s))

    async def close(self) -> None:
        """Do nothing."""


class WorldClock:
    """A participant's connection to a simulated world."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._now_ms = 0

    @classmethod
    async def join(cls, path: Path, name: str) -> "WorldClock":
        """Return the clock of the world at ``path``, joined as ``name``; raise :class:`UnavailableError`."""
        address = _short_path(path)
        deadline = time.monotonic() + WORLD_PATIENCE_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(address)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{path}: no world answers ({error}); start `congto sim village`") from error
                await asyncio.sleep(0.1)
        clock = cls(reader, writer)
        await clock._ask({"join": name})
        return clock

    def now_ms(self) -> int:
        """Return the time that the world told last; it stands still until we wait."""
        return self._now_ms

    async def wait_until(self, at_ms: int) -> None:
        """Return when the world says that ``at_ms`` has come, earlier if it says that time went back."""
        latest_ms = self._now_ms
        while latest_ms - SET_BACK_MS <= self._now_ms < at_ms:
            latest_ms = self._now_ms
            await self._ask({"wait": at_ms})

    async def close(self) -> None:
        """Leave the world: its time goes on without us."""
        self._writer.close()

    async def _ask(self, question: dict[str, object]) -> None:
        try:
            self._writer.write(json.dumps(question).encode() + b"\n")
            line = await self._reader.readline()
            answer = json.loads(line)["now"] if line else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"the world's clock answered what is not a time: {error}") from error
        if type(answer) is not int:
            raise UnavailableError("the world's clock is gone; start the simulated world again, then the agent")
        self._now_ms = answer


def _short_path(path: Path) -> str:
    """Return ``path`` as the system takes it for a socket; a long one relative to the present directory."""
    return str(path) if len(os.fsencode(path)) <= UNIX_PATH_OCTETS_MAX else os.path.relpath(path)
