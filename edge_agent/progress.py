"""A bus's clock that tells the watchdog when its bus gets on: at each question, and now and then while it waits."""

from collections.abc import Callable

from edge_agent.clock import Clock


class BeatingClock:
    """The clock of one bus. Others ask the clock behind it, for that is no progress of the bus."""

    def __init__(self, clock: Clock, beat: Callable[[], None], every_s: float) -> None:
        self._clock = clock
        self._beat = beat
        self._every_ms = int(1000 * every_s)

    def now_ms(self) -> int:
        """Return the time."""
        self._beat()
        return self._clock.now_ms()

    async def wait_until(self, at_ms: int) -> None:
        """Return when ``at_ms`` has come, earlier if the clock was set back."""
        while (now_ms := self.now_ms()) < at_ms:
            step_ms = min(at_ms, now_ms + self._every_ms)
            await self._clock.wait_until(step_ms)
            if self._clock.now_ms() < step_ms:
                return

    async def close(self) -> None:
        """Leave."""
        await self._clock.close()
