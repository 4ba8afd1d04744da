"""Brings each kind of command to what carries it out: meters, spool, configuration, statistics."""

from collections.abc import Callable, Mapping
from typing import Protocol

from edge_agent.remote.actions import Actions, Begin, Done, failed, refused
from edge_agent.remote.configuration import Configuration
from edge_agent.remote.figures import in_status, rows
from edge_agent.statistics import BusStatistics
from protocols.telemetry.command import (
    Arm,
    Asked,
    Configure,
    Confirm,
    Kind,
    Profile,
    Read,
    Resend,
    SetClock,
    Tell,
)
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reply import Outcome


class Archive(Protocol):
    """What is needed of the spool."""

    @property
    def generation(self) -> str:
        """The generation that is being filled."""
        ...

    async def resend(self, first: int, last: int) -> tuple[int, int, int]:
        """Have kept batches sent again; return how many, the first and the last (0 where there is none)."""
        ...

    async def keep_events(self, events: tuple[MeterEvent, ...]) -> None:
        """Spool events."""
        ...


class GatewayPerformer:
    """Carries out the commands of one gateway."""

    def __init__(
        self,
        actions: Actions,
        configuration: Configuration,
        archive: Archive,
        statistics: Callable[[], list[BusStatistics]],
    ) -> None:
        self._actions = actions
        self._configuration = configuration
        self._archive = archive
        self._statistics = statistics

    async def perform(self, asked: Asked, begin: Begin) -> Done:
        """Do what is asked."""
        match asked:
            case Read():
                return await self._actions.read(asked, begin)
            case Profile():
                return await self._actions.profile(asked, begin)
            case Tell():
                return self._tell()
            case SetClock():
                return await self._actions.set_clock(asked, begin)
            case Arm():
                return await self._actions.arm(asked, begin)
            case Confirm():
                return await self._actions.confirm(asked, begin)
            case Resend():
                await begin()
                return await self._resend(asked)
            case Configure():
                return await self._configuration.change(asked, begin)

    async def resume(self, asked: Asked) -> Done:
        """Answer for what was begun before a restart."""
        match asked:
            case SetClock() | Confirm():
                return await self._actions.look_back(asked)
            case Configure():
                return self._configuration.resume(asked)
            case Resend():
                return await self._resend(asked)  # a batch is stored once however often it comes
            case Read() | Profile() | Tell() | Arm():
                return failed("cut off by a restart; ask again")

    async def keep(self, events: tuple[MeterEvent, ...]) -> None:
        """Spool the events of a command."""
        if events:
            await self._archive.keep_events(events)

    def allowed(self) -> frozenset[Kind]:
        """Return what the configuration allows."""
        return self._configuration.config.commands.allowed

    def status(self) -> Mapping[str, object]:
        """Return what the status message says."""
        return {"configuration": self._configuration.status(), **in_status(self._statistics())}

    def _tell(self) -> Done:
        buses, meters = rows(self._statistics())
        return Done(Outcome.DONE, None, {"buses": buses, "meters": meters, "left_out": 0})

    async def _resend(self, asked: Resend) -> Done:
        if asked.generation != self._archive.generation:
            return refused(f"the spool's generation is {self._archive.generation}; {asked.generation} is gone")
        batches, first, last = await self._archive.resend(asked.first, asked.last)
        result = {"batches": batches, "first": first, "last": last}
        if not batches:
            return failed("none of these is kept any more; heal from the load profiles", **result)
        return Done(Outcome.DONE, None, result)
