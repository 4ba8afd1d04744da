"""The timer of the line's silences: never early, for a question inside the silence breaks the frame."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.exact_timer import ExactTimer


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-0.001, 0.004), min_size=1, max_size=8))
def test_it_is_never_early_and_can_be_used_again(waits: list[float]) -> None:
    async def wait() -> list[float]:
        timer, loop = ExactTimer(), asyncio.get_running_loop()
        early = []
        for wait_s in waits:
            at_s = loop.time() + wait_s
            await timer.wait_until(at_s)
            early.append(at_s - loop.time())
        timer.close()
        return early

    assert all(each <= 0 for each in asyncio.run(wait()))


def test_a_wait_that_is_given_up_does_not_end_the_next_one_early() -> None:
    async def wait() -> float:
        timer, loop = ExactTimer(), asyncio.get_running_loop()
        given_up = asyncio.ensure_future(timer.wait_until(loop.time() + 0.002))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        at_s = loop.time() + 0.01
        await timer.wait_until(at_s)
        timer.close()
        return at_s - loop.time()

    assert asyncio.run(wait()) <= 0
