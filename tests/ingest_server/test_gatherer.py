"""When a transaction may begin beside another, and when it has to wait."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.pipeline import gatherer as gatherer_module
from ingest_server.pipeline.gatherer import Gatherer
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.settings import BUNDLE_OCTETS_MAX
from ingest_server.pipeline.watchdog import Stillness, longest_s

TURNS = 50  # of the loop: after so many everything that can happen without time passing has happened
HALF = BUNDLE_OCTETS_MAX // 2


def small(number: int) -> Message:
    return Message("t", b"%d" % number)


def large(number: int) -> Message:
    """Return a message of which two fill a transaction."""
    return Message("t", b"%d" % number + bytes(HALF))


async def settle_down() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def with_gatherer(play: Callable[[Gatherer, Inbox], Awaitable[None]]) -> None:
    async def run() -> None:
        inbox = Inbox()
        gatherer = Gatherer(inbox)
        gathering = asyncio.create_task(gatherer.gather())
        await play(gatherer, inbox)
        gathering.cancel()

    asyncio.run(run())


def numbers(arrivals: object) -> list[int]:
    assert isinstance(arrivals, list)
    return [int(message.payload.rstrip(b"\0")) for message, _ in arrivals]


def test_a_small_transaction_waits_until_the_one_under_way_is_done(monkeypatch):
    monkeypatch.setattr(gatherer_module, "LINGER_S", 0.0)

    async def play(gatherer: Gatherer, inbox: Inbox) -> None:
        inbox.put(small(1))
        assert numbers(await gatherer.next()) == [1]
        inbox.put(small(2))
        second = asyncio.create_task(gatherer.next())
        await settle_down()
        assert not second.done()
        inbox.put(small(3))
        gatherer.done()
        assert numbers(await second) == [2, 3]

    with_gatherer(play)


def test_a_full_transaction_begins_beside_the_one_under_way():
    async def play(gatherer: Gatherer, inbox: Inbox) -> None:
        inbox.put(small(1))
        assert numbers(await gatherer.next()) == [1]
        for number in (2, 3, 4):
            inbox.put(large(number))
        assert numbers(await gatherer.next()) == [2, 3]
        assert not gatherer.unattended

    with_gatherer(play)


def test_none_is_given_once_it_is_to_stop():
    async def play(gatherer: Gatherer, inbox: Inbox) -> None:
        waiting = [asyncio.create_task(gatherer.next()) for _ in range(2)]
        await settle_down()
        gatherer.stop()
        assert [await each for each in waiting] == [None, None]

    with_gatherer(play)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12))
def test_whoever_stores_alone_is_alone_and_everybody_has_his_turn(stores):
    """Each of ``stores`` says whether it must be alone, and for how many turns of the loop it stores."""

    async def run() -> None:
        gatherer = Gatherer(Inbox())
        inside: list[bool] = []
        done = 0

        async def store(turns: int, *, alone: bool) -> None:
            nonlocal done
            async with gatherer.storing(alone=alone):
                inside.append(alone)
                for _ in range(turns + 1):
                    assert len(inside) == 1 or not any(inside)
                    await asyncio.sleep(0)
                inside.remove(alone)
                done += 1

        await asyncio.gather(*(store(turns, alone=alone) for alone, turns in stores))
        assert done == len(stores)

    asyncio.run(run())


def test_one_that_stands_still_is_seen_while_the_other_gets_on():
    stillness = [Stillness(0.0), Stillness(0.0)]
    assert longest_s(stillness, [(1, True), (1, True)], 1.0) == 0.0
    assert longest_s(stillness, [(1, True), (2, True)], 100.0) == 99.0
    assert longest_s(stillness, [(2, True), (2, False)], 200.0) == 0.0
