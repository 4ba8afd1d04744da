"""The clocks: the computer's, and a world's over its socket."""

import asyncio
import json
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock, WorldClock
from protocols.errors import UnavailableError


async def join_world(path: Path, answers: list[bytes]) -> tuple[WorldClock, list[object], asyncio.Server]:
    """Serve a world that gives ``answers`` in turn, then hangs up; return the joined clock and what it was asked."""
    asked: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            asked.append(json.loads(await reader.readline()))
            writer.write(answer)
        await reader.readline()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    return await WorldClock.join(path, "gw-01/bus-1"), asked, server


def test_a_world_tells_the_time_and_is_told_the_next_appointment(tmp_path: Path) -> None:
    async def go() -> None:
        clock, asked, server = await join_world(tmp_path / "world.sock", [b'{"now": 1000}\n', b'{"now": 5000}\n'])
        assert clock.now_ms() == 1000
        await clock.wait_until(5000)
        await clock.wait_until(4000)  # has passed: nothing is asked
        assert clock.now_ms() == 5000
        assert asked == [{"join": "gw-01/bus-1"}, {"wait": 5000}]
        await clock.close()
        server.close()

    asyncio.run(go())


@pytest.mark.parametrize("answer", [b"", b"hello\n", b'{"now": "noon"}\n', b'{"then": 1}\n', b"[]\n", b"7\n"])
def test_a_world_that_answers_what_is_no_time_is_gone(answer: bytes, tmp_path: Path) -> None:
    async def go() -> None:
        clock, _, server = await join_world(
            tmp_path / "world.sock", [b'{"now": 1000}\n', *([answer] if answer else [])]
        )
        with pytest.raises(UnavailableError, match="the world's clock"):
            await clock.wait_until(2000)
        await clock.close()
        server.close()

    asyncio.run(go())


def test_the_computers_clock_does_not_wait_for_the_past() -> None:
    async def go() -> None:
        clock = SystemClock()
        async with asyncio.timeout(5):
            await clock.wait_until(clock.now_ms() - 1)
            target_ms = clock.now_ms() + 20
            await clock.wait_until(target_ms)
            assert clock.now_ms() >= target_ms

    asyncio.run(go())
