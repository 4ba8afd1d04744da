"""The order of a simulated world: who waits for when, and how far time may go. No socket and no clock in here.

Time stands still while any participant works. When all who joined wait, it jumps to the earliest of their appointments,
and those who waited for it work again. A run begins when enough participants have joined, so that nobody misses its
start, and ends at its last moment when all wait for later. With nobody joined time stands still, as there is nothing
to do. In live mode the computer's clock leads instead.
"""

from dataclasses import dataclass, field
from typing import Final

WORKING: Final = None


@dataclass(slots=True)
class World:
    """The world's state. Methods return which participants may work now, by name and in that order."""

    now_ms: int
    waits: dict[str, int | None] = field(default_factory=dict)  # when each participant works again; WORKING now
    until_ms: int | None = None  # the end of the run in progress
    wanted: int = 0  # how many participants a run needs before it starts
    live: bool = False

    def join(self, name: str) -> None:
        """Let a participant in; it works until it waits. ``name`` must be new."""
        assert name not in self.waits
        self.waits[name] = WORKING

    def leave(self, name: str) -> list[str]:
        """Let a participant go; it no longer holds time up."""
        del self.waits[name]
        return self._advance()

    def wait(self, name: str, until_ms: int) -> list[str]:
        """Note that a participant does nothing before ``until_ms``."""
        self.waits[name] = until_ms
        return self._advance()

    def start(self, until_ms: int, participants: int) -> list[str]:
        """Run to ``until_ms`` as soon as ``participants`` have joined."""
        self.until_ms, self.wanted, self.live = until_ms, participants, False
        return self._advance()

    def follow(self, clock_ms: int) -> list[str]:
        """Go live: time is the computer's, but never runs back."""
        self.live, self.until_ms = True, None
        return self.tick(clock_ms)

    def tick(self, clock_ms: int) -> list[str]:
        """Move to the computer's time (live mode only)."""
        assert self.live
        self.now_ms = max(self.now_ms, clock_ms)
        return self._wake()

    @property
    def finished(self) -> bool:
        """Whether the run in progress has reached its end and everybody waits for a later time."""
        return (
            self.until_ms is not None
            and self.now_ms >= self.until_ms
            and len(self.waits) >= self.wanted
            and all(until is not WORKING and until > self.now_ms for until in self.waits.values())
        )

    @property
    def next_wait_ms(self) -> int | None:
        """The earliest appointment, if any."""
        return min((until for until in self.waits.values() if until is not WORKING), default=None)

    def _advance(self) -> list[str]:
        woken = self._wake()
        if woken or self.live or self.until_ms is None or WORKING in self.waits.values():
            return woken
        if len(self.waits) < self.wanted:
            return []
        self.wanted = min(self.wanted, 1)  # started: who leaves from now on holds nothing up
        earliest = self.next_wait_ms
        if earliest is None:
            return []
        self.now_ms = max(self.now_ms, min(earliest, self.until_ms))
        return self._wake()

    def _wake(self) -> list[str]:
        """Give every participant whose time has come its turn."""
        woken = sorted(name for name, until in self.waits.items() if until is not WORKING and until <= self.now_ms)
        for name in woken:
            self.waits[name] = WORKING
        return woken
