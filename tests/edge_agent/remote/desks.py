"""A command desk on a journal in a file, with a performer that a test writes and a broker that only listens."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.log import EventLog
from edge_agent.remote.actions import Begin, Done
from edge_agent.remote.desk import CommandDesk
from edge_agent.remote.journal import open_journal
from protocols.telemetry.command import Asked, Command, Kind
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reply import Outcome, Reply, decode_reply
from protocols.telemetry.topics import Kind as TopicKind

NOW_MS = 1_759_251_600_000
KEY = "0b54a9d2c1e84f07"
ALL = frozenset(Kind)
DEADLINE_S = 30.0


def command(asked: Asked, key: str = KEY, gateway: str = "gw-01", expires_ms: int = NOW_MS + 60_000) -> bytes:
    return Command(gateway, key, NOW_MS - 1000, expires_ms, asked).encode()


@dataclass
class FakePerformer:
    """Counts what it did; ``cut`` is where the power goes: before anything, before or after the effect.

    ``busy`` is called while the line is not free yet.
    """

    rights: frozenset[Kind] = ALL
    cut: str | None = None
    busy: Callable[[], None] = lambda: None
    effects: list[Asked] = field(default_factory=list)
    resumed: list[Asked] = field(default_factory=list)
    kept: list[MeterEvent] = field(default_factory=list)
    dark: asyncio.Event = field(default_factory=asyncio.Event)

    async def perform(self, asked: Asked, begin: Begin) -> Done:
        await self._cut_at("received")
        self.busy()
        await begin()
        await self._cut_at("begun")
        self.effects.append(asked)
        await self._cut_at("done")
        return Done(Outcome.DONE)

    async def _cut_at(self, place: str) -> None:
        if self.cut == place:
            self.dark.set()
            await asyncio.Event().wait()

    async def resume(self, asked: Asked) -> Done:
        self.resumed.append(asked)
        return Done(Outcome.UNKNOWN, "cut off")

    async def keep(self, events: tuple[MeterEvent, ...]) -> None:
        self.kept += events

    def allowed(self) -> frozenset[Kind]:
        return self.rights

    def status(self) -> Mapping[str, object]:
        return {}


def converse(
    directory: Path,
    performer: FakePerformer,
    payloads: list[bytes],
    *,
    now_ms: Callable[[], int] = lambda: NOW_MS,
    replies: int = 1,
) -> list[Reply]:
    """Give ``payloads`` to a desk and return its first ``replies``; none if the power goes before."""

    async def go() -> list[Reply]:
        journal, _ = open_journal(directory / "spool.commands", NOW_MS)
        desk = CommandDesk("gw-01", journal, performer, EventLog(), now_ms=now_ms)
        said: list[Reply] = []
        enough, stop = asyncio.Event(), asyncio.Event()

        async def say(kind: TopicKind, payload: bytes) -> None:
            assert kind is TopicKind.REPLIES
            said.append(decode_reply(payload))
            if len(said) >= replies:
                enough.set()

        for payload in payloads:
            desk.take(TopicKind.COMMANDS, payload)
        working = [asyncio.ensure_future(desk.run(stop)), asyncio.ensure_future(desk.converse(say))]
        ends = [asyncio.ensure_future(enough.wait()), asyncio.ensure_future(performer.dark.wait())]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait([*working, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*working, *ends):
                task.cancel()
            await asyncio.gather(*working, *ends, return_exceptions=True)
            desk.close()
        return said

    return asyncio.run(go())
