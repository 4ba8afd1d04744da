"""Relays and clocks are believed when they were read back, and nothing is done twice when the line is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from edge_agent.bus import OpenMeter
from edge_agent.config import MeterConfig
from edge_agent.dlms_duties import LogEntry
from edge_agent.failures import LineLostError
from edge_agent.relay import PLAN_MS_MAX
from edge_agent.remote.actions import Actions, Done
from protocols.dlms.control import ControlState, RelayState
from protocols.meters.catalogue import load_model
from protocols.meters.dlms_settings import EventLog
from protocols.meters.model import Group
from protocols.telemetry.command import Arm, Confirm, SetClock
from protocols.telemetry.event import EventKind
from protocols.telemetry.reply import Outcome
from tests.edge_agent.fakes import CountingMeter, StoppingClock

T = TypeVar("T")
NOW_MS = 1_759_251_600_000
MODEL = load_model("dlms_secured")
METER = MeterConfig("D-1", MODEL, 1, {Group.BILLING: 1_800_000}, None, False)
ON = RelayState(conducts=True, control=ControlState.CONNECTED)
OFF = RelayState(conducts=False, control=ControlState.DISCONNECTED)
READY = RelayState(conducts=False, control=ControlState.READY_FOR_RECONNECTION)


@dataclass
class FakeDuties:
    """A meter's relay and clock. ``obeys`` is what the relay does; ``deaf`` makes it unreadable from then on."""

    now: list[int]
    relay: RelayState = ON
    ahead_ms: int = 0
    obeys: Callable[[bool], RelayState | str] = lambda connect: ON if connect else OFF
    shifts: Callable[[int], int] = lambda seconds: 1000 * seconds
    deaf: bool = False
    deaf_after: bool = False
    switched: list[bool] = field(default_factory=list)
    shifted: list[int] = field(default_factory=list)
    logs: tuple[EventLog, ...] = ()

    async def read_relay(self) -> RelayState | str:
        return "the relay: no reply" if self.deaf else self.relay

    async def switch(self, *, connect: bool) -> RelayState | str:
        self.switched.append(connect)
        found = self.obeys(connect)
        self.deaf = self.deaf_after
        if isinstance(found, str):
            return found
        self.relay = found
        return await self.read_relay()

    async def read_clock(self) -> int | str:
        return "the clock: no reply" if self.deaf else self.now[-1] + self.ahead_ms

    async def shift_clock(self, seconds: int) -> bool | str:
        self.shifted.append(seconds)
        self.ahead_ms += self.shifts(seconds)
        self.deaf = self.deaf_after
        return True

    async def read_log(self, log: EventLog, from_ms: int, to_ms: int) -> tuple[LogEntry, ...] | str:
        return "no log"


class FakeBus:
    """A bus whose line is lost after so many pieces of work; then each is done again on the opened one, as on a bus."""

    def __init__(self, duties: FakeDuties) -> None:
        self.duties = duties
        self.lost_after_work = False
        self.closed = False

    async def urgent(self, meter: str, work: Callable[[OpenMeter], Awaitable[T]]) -> T:
        if self.closed:
            raise LineLostError("unplugged")
        clock = StoppingClock(NOW_MS, NOW_MS, asyncio.Event())
        found = OpenMeter(METER, CountingMeter(MODEL, clock, lambda _at: False), self.duties)
        result = await work(found)
        return await work(found) if self.lost_after_work else result

    def find(self, meter: str) -> tuple[MeterConfig, "FakeBus"] | None:
        return (METER, self) if meter == METER.id else None


class World:
    """Actions on one meter; time is moved by hand."""

    def __init__(self) -> None:
        self.now = [NOW_MS]
        self.duties = FakeDuties(self.now)
        self.bus = FakeBus(self.duties)
        self.actions = Actions(self.bus, lambda: self.now[-1])
        self.begun = 0

    async def begin(self) -> None:
        self.begun += 1

    async def arm(self, connect: bool = False) -> str:
        return str((await self.actions.arm(Arm("D-1", connect), self.begin)).result["token"])

    async def confirm(self, token: str, connect: bool = False) -> Done:
        return await self.actions.confirm(Confirm("D-1", connect, token), self.begin)


def play(story: Callable[[World], Awaitable[T]]) -> T:
    async def go() -> T:
        return await story(World())

    return asyncio.run(go())


def test_a_supply_is_switched_once_for_a_token_and_the_event_is_kept() -> None:
    async def story(world: World) -> None:
        token = await world.arm()
        assert world.duties.switched == []
        done = await world.confirm(token)
        assert (done.outcome, done.result["conducts"]) == (Outcome.DONE, False)
        assert [(each.kind, each.code) for each in done.events] == [(EventKind.RELAY, 0)]
        assert (await world.confirm(token)).outcome is Outcome.REFUSED
        assert world.duties.switched == [False]

    play(story)


def test_when_the_line_is_lost_on_the_way_the_relay_is_read_back_and_not_switched_again() -> None:
    async def story(world: World) -> None:
        token = await world.arm()
        world.bus.lost_after_work = True
        done = await world.confirm(token)
        assert (done.outcome, world.duties.switched) == (Outcome.DONE, [False])
        assert done.reason == "the line was lost; read back: open, disconnected"

    play(story)


@pytest.mark.parametrize(
    ("obeys", "deaf", "outcome", "words"),
    [
        (lambda _connect: ON, False, Outcome.FAILED, "did not obey: conducting"),
        (lambda _connect: "refused by the meter", False, Outcome.FAILED, "did not obey: conducting"),
        (lambda _connect: "no reply", True, Outcome.UNKNOWN, "not known: read it"),
        (lambda _connect: OFF, True, Outcome.UNKNOWN, "not known: read it"),
    ],
)
def test_a_relay_is_believed_only_when_it_was_read_back(
    obeys: Callable[[bool], RelayState | str], deaf: bool, outcome: Outcome, words: str
) -> None:
    async def story(world: World) -> None:
        token = await world.arm()
        world.duties.obeys, world.duties.deaf_after = obeys, deaf
        done = await world.confirm(token)
        assert (done.outcome, words in str(done.reason)) == (outcome, True), done

    play(story)


def test_a_relay_that_waits_for_a_hand_has_obeyed() -> None:
    async def story(world: World) -> None:
        world.duties.relay, world.duties.obeys = OFF, lambda _connect: READY
        done = await world.confirm(await world.arm(connect=True), connect=True)
        assert (done.outcome, done.result["control"]) == (Outcome.DONE, 2)

    play(story)


def test_what_was_armed_holds_for_five_minutes_for_one_state_and_until_it_is_armed_anew() -> None:
    async def story(world: World) -> None:
        late = await world.arm()
        world.now.append(NOW_MS + PLAN_MS_MAX + 1)
        assert "at most 300 s hold" in str((await world.confirm(late)).reason)
        changed = await world.arm()
        world.duties.relay = OFF
        assert "has changed since" in str((await world.confirm(changed)).reason)
        older, newer = await world.arm(connect=True), await world.arm(connect=True)
        assert (await world.confirm(older, connect=True)).outcome is Outcome.REFUSED
        assert (await world.confirm(newer, connect=False)).outcome is Outcome.REFUSED
        assert (await world.confirm(newer, connect=True)).outcome is Outcome.DONE
        assert world.duties.switched == [True]

    play(story)


@pytest.mark.parametrize(
    ("ahead_ms", "outcome", "shifted", "after_ms"),
    [
        (1000, Outcome.DONE, [], 1000),
        (-20_000, Outcome.DONE, [20], 0),
        (30_000, Outcome.DONE, [-30], 0),
        (31_000, Outcome.FAILED, [], 31_000),
    ],
)
def test_a_clock_is_shifted_within_the_limit_and_read_back(
    ahead_ms: int, outcome: Outcome, shifted: list[int], after_ms: int
) -> None:
    async def story(world: World) -> None:
        world.duties.ahead_ms = ahead_ms
        done = await world.actions.set_clock(SetClock("D-1", 30), world.begin)
        assert (done.outcome, world.duties.shifted, done.result["ahead_ms"]) == (outcome, shifted, after_ms)
        assert world.begun == len(shifted)  # nothing is begun when nothing will be done

    play(story)


def test_a_clock_that_does_not_obey_is_told_and_one_that_is_not_read_back_is_unknown() -> None:
    async def story(world: World) -> None:
        world.duties.ahead_ms, world.duties.shifts = 20_000, lambda _seconds: 0
        done = await world.actions.set_clock(SetClock("D-1", 30), world.begin)
        assert (done.outcome, done.reason) == (Outcome.FAILED, "the clock did not obey")
        world.duties.deaf_after = True
        done = await world.actions.set_clock(SetClock("D-1", 30), world.begin)
        assert done.outcome is Outcome.UNKNOWN

    play(story)


@pytest.mark.parametrize(
    ("asked", "state", "deaf", "closed", "outcome"),
    [
        (Confirm("D-1", False, "ab" * 8), OFF, False, False, Outcome.DONE),
        (Confirm("D-1", False, "ab" * 8), ON, False, False, Outcome.FAILED),
        (Confirm("D-1", False, "ab" * 8), ON, True, False, Outcome.UNKNOWN),
        (Confirm("D-1", False, "ab" * 8), ON, False, True, Outcome.UNKNOWN),
        (Confirm("D-2", False, "ab" * 8), ON, False, False, Outcome.UNKNOWN),
        (SetClock("D-1", 30), ON, False, False, Outcome.DONE),
        (SetClock("D-1", 30), ON, True, False, Outcome.UNKNOWN),
        (SetClock("D-2", 30), ON, False, False, Outcome.UNKNOWN),
    ],
)
def test_after_a_restart_what_was_begun_is_looked_at_and_not_done(
    asked: Confirm | SetClock, state: RelayState, deaf: bool, closed: bool, outcome: Outcome
) -> None:
    async def story(world: World) -> None:
        world.duties.relay, world.duties.deaf, world.bus.closed = state, deaf, closed
        done = await world.actions.look_back(asked)
        assert (done.outcome, world.duties.switched, world.duties.shifted) == (outcome, [], [])
        assert "cut off by a restart" in str(done.reason)

    play(story)


def test_a_model_without_a_relay_is_told_so() -> None:
    async def story(world: World) -> None:
        assert MODEL.dlms is not None
        model = replace(MODEL, dlms=replace(MODEL.dlms, relay=None))
        world.bus.find = lambda _meter: (replace(METER, model=model), world.bus)  # type: ignore[method-assign]
        done = await world.actions.arm(Arm("D-1", False), world.begin)
        assert (done.outcome, "has no relay" in str(done.reason)) == (Outcome.REFUSED, True)

    play(story)
