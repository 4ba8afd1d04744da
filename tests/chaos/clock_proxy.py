"""The gateway's clock, which may be wrong: between the agent and the simulated world (docs/contracts/world.md).

What the world says is passed on with :attr:`ClockProxy.ahead_ms` added, what the agent waits for with it taken off. Who
waits when the clock is set is told at once, and time stands still until it waits again.
"""

import asyncio
import json
from pathlib import Path


class ClockProxy:
    """Serves the world's clock at ``world`` anew at ``path``, set wrong. Its methods run in its loop."""

    def __init__(self, path: Path, world: Path) -> None:
        self._path = path
        self._world = world
        self._server: asyncio.Server | None = None
        self._waiting: set[asyncio.StreamWriter] = set()  # the world's ends of those who wait
        self.ahead_ms = 0

    def set(self, ahead_ms: int) -> None:
        """Let it be so much ahead of the world from now on."""
        self.ahead_ms = ahead_ms
        for writer in self._waiting:
            writer.write(b'{"wait": 0}\n')  # replaces the appointment, and is answered at once

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._accept, str(self._path))

    def close(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            world_reader, world_writer = await asyncio.open_unix_connection(str(self._world))
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, world_writer))
                both.create_task(self._answer(world_reader, writer, world_writer))
        except* OSError:
            pass
        finally:
            self._waiting.discard(world_writer)
            writer.transport.abort()
            world_writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, world: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "wait" in message:
                message["wait"] = max(0, message["wait"] - self.ahead_ms)
                self._waiting.add(world)
            await _send(world, message)
        world.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, world: asyncio.StreamWriter
    ) -> None:
        while line := await reader.readline():
            self._waiting.discard(world)
            message = json.loads(line)
            if "now" in message:
                message["now"] += self.ahead_ms
            await _send(writer, message)
        writer.close()


async def _send(writer: asyncio.StreamWriter, message: dict[str, object]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()
