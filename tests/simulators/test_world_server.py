"""The clock's socket, with several real connections."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from protocols.errors import UsageError
from simulators.world_server import WorldServer
from tests.simulators.meters import run

HALF_HOUR = 1_800_000


class Client:
    """A connection that says lines and hears lines."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    def say(self, **message):
        self._writer.write(json.dumps(message).encode() + b"\n")

    def say_octets(self, octets):
        self._writer.write(octets)

    async def hear(self):
        line = await self._reader.readline()
        return json.loads(line) if line else None

    async def close(self):
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def world_at(path, start_ms=0, clock_ms=lambda: 0):
    server = WorldServer(start_ms, clock_ms)
    await server.open(path)
    clients = []

    async def connect(**message):
        client = Client(*await asyncio.open_unix_connection(str(path), limit=256))
        clients.append(client)
        if message:
            client.say(**message)
        return client

    try:
        yield server, connect
    finally:
        for client in clients:
            await client.close()
        await server.close()


async def works(client, name, appointments, history):
    assert "now" in await client.hear()
    for at in appointments:
        client.say(wait=at)
        heard = await client.hear()
        history.append((name, heard["now"]))
    client.say(wait=appointments[-1] + HALF_HOUR)


def test_participants_work_one_after_the_other_in_the_order_of_their_appointments(tmp_path):
    """Four buses with different intervals: everybody is woken exactly on time, and nobody out of order."""
    plans = {f"bus-{n}": [n * 60_000 + slot * HALF_HOUR for slot in range(1, 30)] for n in range(4)}

    async def history():
        seen = []
        async with world_at(tmp_path / "w") as (_, connect):
            tasks = [
                asyncio.create_task(works(await connect(join=name), name, plan, seen)) for name, plan in plans.items()
            ]
            director = await connect(command="start", until=29 * HALF_HOUR + 200_000, participants=4)
            assert await director.hear() == {"done": 29 * HALF_HOUR + 200_000}
            await asyncio.gather(*tasks)
        return seen

    first = run(history)
    assert first == sorted(((name, at) for name, plan in plans.items() for at in plan), key=lambda each: each[1])
    assert run(history) == first


def test_who_disconnects_no_longer_holds_time_up(tmp_path):
    async def work():
        async with world_at(tmp_path / "w") as (_, connect):
            stays, leaves = await connect(join="stays"), await connect(join="leaves")
            assert await stays.hear() == await leaves.hear() == {"now": 0}
            await connect(command="start", until=100, participants=2)
            stays.say(wait=10)
            leaves.say(wait=10)
            assert await stays.hear() == await leaves.hear() == {"now": 10}
            stays.say(wait=50)
            await leaves.close()
            assert await stays.hear() == {"now": 50}

    run(work)


def test_observers_see_time_move_and_never_hold_it_up(tmp_path):
    async def work():
        async with world_at(tmp_path / "w", 7) as (_, connect):
            observer = await connect(observe=True)
            assert await observer.hear() == {"now": 7}
            participant = await connect(join="p")
            await participant.hear()
            director = await connect(command="start", until=5000, participants=1)
            for at in range(1000, 5001, 1000):
                participant.say(wait=at)
                assert await participant.hear() == {"now": at}
                assert await observer.hear() == {"now": at}
            participant.say(wait=9000)
            assert await director.hear() == {"done": 5000}

    run(work)


def test_an_observer_that_does_not_read_costs_no_memory_and_sees_the_newest_time_in_the_end(tmp_path):
    moves = 4_000  # more than the sockets' buffers take

    async def work():
        async with world_at(tmp_path / "w") as (_, connect):
            observer = await connect(observe=True)
            participant = await connect(join="p")
            await participant.hear()
            await connect(command="start", until=moves, participants=1)
            for at in range(1, moves + 1):
                participant.say(wait=at)
                await participant.hear()
            heard = 0
            last = None
            while last != {"now": moves}:
                last = await observer.hear()
                heard += 1
            return heard

    assert run(work) < moves


def test_a_director_may_go_on_after_the_end_of_a_run(tmp_path):
    async def work():
        async with world_at(tmp_path / "w") as (server, connect):
            participant = await connect(join="p")
            await participant.hear()
            director = await connect(command="start", until=100, participants=1)
            participant.say(wait=150)
            assert await director.hear() == {"done": 100}
            assert server.now_ms() == 100
            director.say(command="start", until=200, participants=1)
            assert await participant.hear() == {"now": 150}
            participant.say(wait=300)
            assert await director.hear() == {"done": 200}

    run(work)


def test_a_live_world_follows_the_computers_clock(tmp_path):
    clock = [1_000]

    async def work():
        async with world_at(tmp_path / "w", 500, lambda: clock[0]) as (server, connect):
            participant = await connect(join="p")
            assert await participant.hear() == {"now": 500}
            participant.say(wait=1_010)
            director = await connect(command="live")
            clock[0] = 1_020
            assert (await participant.hear())["now"] in {1_010, 1_020}
            assert server.now_ms() == 1_020
            clock[0] = 900
            assert server.now_ms() >= 1_000
            await director.close()

    run(work)


@pytest.mark.parametrize(
    "line",
    [b"rubbish\n", b"[]\n",
     b'{"wait": 5}\n', b'{"join": ""}\n', b'{"join": "p", "extra": 1}\n', b'{"observe": false}\n',
     b'{"command": "start", "until": -1, "participants": 1}\n', b'{"command": "stop"}\n', b"\xff\xfe\n",
     b'{"command": "start", "until": 5, "participants": -1}\n', b"x" * 5000],
)  # fmt: skip
def test_whoever_breaks_the_rules_hears_why_and_is_shown_out(tmp_path, line):
    async def work():
        async with world_at(tmp_path / "w") as (_, connect):
            client = await connect()
            client.say_octets(line)
            assert "error" in await client.hear()
            assert await client.hear() is None

    run(work)


@pytest.mark.parametrize("second", [{"join": "p"}, {"wait": True}, {"wait": -1}, {"wait": 10**15}, {"observe": True}])
def test_a_participant_that_says_something_else_is_shown_out(tmp_path, second):
    async def work():
        async with world_at(tmp_path / "w") as (server, connect):
            client = await connect(join="p")
            assert await client.hear() == {"now": 0}
            client.say(**second)
            assert "error" in await client.hear()
            assert await client.hear() is None
            assert server.world.waits == {}

    run(work)


def test_a_second_participant_of_the_same_name_is_refused_and_the_first_stays(tmp_path):
    async def work():
        async with world_at(tmp_path / "w") as (server, connect):
            first = await connect(join="p")
            await first.hear()
            second = await connect(join="p")
            assert "error" in await second.hear()
            assert list(server.world.waits) == ["p"]

    run(work)


def test_a_socket_of_a_dead_world_is_replaced_one_of_a_living_world_is_not(tmp_path):
    path = tmp_path / "w"

    async def work():
        async with world_at(path):
            with pytest.raises(UsageError, match="another world is running"):
                await WorldServer(0).open(path)
        assert not path.exists()
        path.write_text("a file")
        with pytest.raises(UsageError, match="no socket"):
            await WorldServer(0).open(path)
        with pytest.raises(UsageError, match="too long"):
            await WorldServer(0).open(tmp_path / ("x" * 100))

    run(work)
