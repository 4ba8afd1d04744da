"""A TCP proxy that misbehaves when it is told to: it refuses, holds one way, or cuts at an octet or at a commit.

TCP loses nothing while a connection stands, so a one-way cut holds the octets of one direction; what heals it either
lets them go on, or ends the connection, as a time-out or a NAT box that forgot it would.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, TypeVar

CHUNK_OCTETS = 65_536
CALL_S = 10.0
AGAIN_S = 0.05  # between attempts to reach a server that is away
COMMIT = b"COMMIT"
T = TypeVar("T")


class Way(Enum):
    """A direction of a connection, as seen by the client."""

    OUT = "to the server"
    BACK = "to the client"


class CommitCut(Enum):
    """When a connection ends that has just been asked to commit."""

    BEFORE = "before the server hears of it"
    DURING = "with the message on its way"
    AFTER = "with the answer on its way"


class LoopThread:
    """An event loop in a thread of its own; what is handed to it is done there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in the loop; return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def call(self, work: Callable[[], T]) -> T:
        """Call ``work`` in the loop; return what it returns."""

        async def called() -> T:
            return work()

        return self.run(called())

    def close(self) -> None:
        """End the loop, and what is left in it."""

        async def cancel_all() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.run(cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()


class Link:
    """One connection through the proxy: the client's end and the server's."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self.swallows_answer = False
        self.answered = False  # something came back, so both ends take it for a connection

    def end(self) -> None:
        """End it at both sides after what was sent."""
        for writer in self._ends:
            writer.close()

    def abort(self) -> None:
        """End it at both sides at once."""
        for writer in self._ends:
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own and forwards to ``target_port`` on this machine. Its methods run in its loop."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._links: set[Link] = set()
        self._open = {way: asyncio.Event() for way in Way}
        self._server: asyncio.Server | None = None
        self._cut_after: dict[Way, int] = {}
        self._commit_cut: CommitCut | None = None
        self._refusing = False
        self.cuts = 0  # connections that were ended in mid-message or at a commit
        self.port = 0
        for event in self._open.values():
            event.set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening; end all connections."""
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            link.abort()

    def reset(self) -> None:
        """End all connections at once that stand; new ones are taken."""
        for link in list(self._links):
            if link.answered:
                link.abort()

    def refuse(self) -> None:
        """End all connections and let no new ones come about: a cut both ways."""
        self._refusing = True
        self.reset()

    def hold(self, way: Way) -> None:
        """Forward nothing that way: a one-way cut."""
        self._open[way].clear()

    def cut_after(self, way: Way, octets: int) -> None:
        """End the connection that carries so many octets more that way."""
        self._cut_after[way] = octets

    def cut_at_commit(self, when: CommitCut) -> None:
        """End the next connection on which a client commits."""
        self._commit_cut = when

    def heal(self, *, ends: bool) -> None:
        """Forward everything again; with ``ends``, what stood is ended first. Cuts at an octet are still to come."""
        self._refusing = False
        if ends:
            self.reset()
        for event in self._open.values():
            event.set()

    def forget_cuts(self) -> None:
        """Cut no more where that was asked for and has not come about."""
        self._cut_after.clear()
        self._commit_cut = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._reach()
        link = Link(writer, server_writer)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(link, Way.OUT, reader, server_writer))
                both.create_task(self._forward(link, Way.BACK, server_reader, writer))
        except* OSError:
            pass  # one end is gone, so the other goes too
        finally:
            self._links.discard(link)
            link.abort()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server once it is there; until then it is to the client as if packets were lost."""
        while True:
            with contextlib.suppress(OSError):
                if not self._refusing:
                    return await asyncio.open_connection("127.0.0.1", self._target_port)
            await asyncio.sleep(AGAIN_S)

    async def _forward(self, link: Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_OCTETS):
            await self._open[way].wait()
            link.answered |= way is Way.BACK
            if way is Way.BACK and link.swallows_answer:
                break
            if (left := self._cut_after.get(way)) is not None:
                if len(data) > left:
                    del self._cut_after[way]
                    self.cuts += 1
                    await _write(writer, data[:left])
                    break
                self._cut_after[way] = left - len(data)
            if self._commit_cut is not None and way is Way.OUT and COMMIT in data:
                cut, self._commit_cut = self._commit_cut, None
                self.cuts += 1
                if cut is not CommitCut.BEFORE:
                    await _write(writer, data)
                if cut is not CommitCut.AFTER:
                    break
                link.swallows_answer = True
                continue
            await _write(writer, data)
        link.end()


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    with contextlib.suppress(OSError):
        await writer.drain()
