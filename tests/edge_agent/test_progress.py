"""The watchdog hears of a bus at each question and while it waits, and of nobody who only asks the time behind it."""

import asyncio

from edge_agent.progress import BeatingClock
from tests.edge_agent.fakes import StoppingClock

NOW_MS = 1_759_251_600_000


def test_a_bus_that_waits_for_half_an_hour_is_heard_of_each_minute() -> None:
    async def go() -> tuple[int, int]:
        behind = StoppingClock(NOW_MS, NOW_MS + 3_600_000, asyncio.Event())
        beats: list[int] = []
        clock = BeatingClock(behind, lambda: beats.append(behind.now_ms()), 60.0)
        await clock.wait_until(NOW_MS + 1_800_000)
        behind.now_ms()
        return len(beats), behind.now_ms()

    assert asyncio.run(go()) == (31, NOW_MS + 1_800_000)


def test_a_clock_that_is_set_back_ends_the_wait() -> None:
    class SetBack(StoppingClock):
        async def wait_until(self, at_ms: int) -> None:
            self.pass_ms(-10_000)

    async def go() -> int:
        behind = SetBack(NOW_MS, NOW_MS + 3_600_000, asyncio.Event())
        await BeatingClock(behind, lambda: None, 60.0).wait_until(NOW_MS + 1_800_000)
        return behind.now_ms()

    assert asyncio.run(go()) == NOW_MS - 10_000
