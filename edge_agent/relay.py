"""Switching a supply on or off, in two phases: what is asked for is said back first, and done only if nothing changed.

::

    plan = await prepare(duties, connect=False, now_ms=...)     # the state before; show it to whoever decides
    outcome = await carry_out(duties, plan, now_ms=...)         # within five minutes

A relay is believed only when its state was read back. Carrying out one plan twice switches once: the second time the
state is no longer the plan's.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from protocols.dlms.control import ControlState, RelayState
from protocols.obis import Obis
from protocols.telemetry.event import EventKind, MeterEvent

PLAN_MS_MAX = 300_000  # a second person decides within five minutes; later the house may be another one's


@runtime_checkable
class Switchable(Protocol):
    """A meter with a relay; failures are in the answer, in words."""

    async def read_relay(self) -> RelayState | str:
        """Return the relay's state."""
        ...

    async def switch(self, *, connect: bool) -> RelayState | str:
        """Switch, and return the state as read back."""
        ...


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """What will be done, and the state in which it was decided."""

    connect: bool
    before: RelayState
    prepared_at_ms: int


@dataclass(frozen=True, slots=True)
class Switched:
    """What became of it. ``obeyed``: the state read back is the one asked for, or waits for a hand at the meter."""

    after: RelayState
    obeyed: bool
    acted: bool


@dataclass(frozen=True, slots=True)
class NotSwitched:
    """Why there is no state to tell; ``acted``: the meter was told to switch, and what it did is not known."""

    reason: str
    acted: bool


async def prepare(meter: Switchable, *, connect: bool, now_ms: int) -> SwitchPlan | str:
    """Return the plan, or why there can be none. Nothing is switched."""
    state = await meter.read_relay()
    return state if isinstance(state, str) else SwitchPlan(connect, state, now_ms)


async def carry_out(meter: Switchable, plan: SwitchPlan, *, now_ms: int) -> Switched | NotSwitched:
    """Carry out ``plan`` if it is fresh and the relay stands as it did; return what was read back, or why not."""
    age_ms = now_ms - plan.prepared_at_ms
    if not 0 <= age_ms <= PLAN_MS_MAX:
        return NotSwitched(f"the plan is {age_ms // 1000} s old, at most {PLAN_MS_MAX // 1000} s hold", acted=False)
    state = await meter.read_relay()
    if isinstance(state, str):
        return NotSwitched(state, acted=False)
    if state != plan.before:
        reason = f"the relay has changed since the plan: {words(plan.before)} then, {words(state)} now"
        return NotSwitched(reason, acted=False)
    if stands(state, connect=plan.connect):
        return Switched(state, obeyed=True, acted=False)
    said = await meter.switch(connect=plan.connect)
    after = await meter.read_relay() if isinstance(said, str) else said
    if isinstance(after, str):
        return NotSwitched(f"{said}; what the relay did is not known: read it", acted=True)
    return Switched(after, stands(after, connect=plan.connect), acted=True)


def event_of(meter: str, relay: Obis, outcome: Switched, at_ms: int) -> MeterEvent:
    """Return the event that tells the server what became of a plan."""
    state = outcome.after
    return MeterEvent(EventKind.RELAY, meter, at_ms, str(relay), int(state.conducts), int(state.control), words(state))


def stands(state: RelayState, *, connect: bool) -> bool:
    """Return whether ``state`` is what was asked for; one that is ready for reconnection waits for a hand only."""
    if connect:
        return state.conducts or state.control is ControlState.READY_FOR_RECONNECTION
    return not state.conducts and state.control is ControlState.DISCONNECTED


def words(state: RelayState) -> str:
    """Return a relay's state in words."""
    return f"{'conducting' if state.conducts else 'open'}, {state.control.name.lower().replace('_', ' ')}"
