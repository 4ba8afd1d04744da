"""What commands do to meters: each takes the line in the bus's urgent lane and answers with what was read back.

Failures of a meter are answers (:class:`Done` with an outcome), the loss of a line too. Nothing here knows the journal
or the broker; ``begin`` is called when the line is ours and before anything can have an effect.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from edge_agent import policy, relay
from edge_agent.bus import OpenMeter
from edge_agent.config import MeterConfig
from edge_agent.failures import LineLostError
from edge_agent.meter import Answer, Meter, ProfileValue
from edge_agent.relay import Switched, SwitchPlan
from edge_agent.tending import Duties
from protocols.dlms.control import RelayState
from protocols.errors import ProtocolError, UsageError
from protocols.meters.model import CosemAttribute, Group, Measurement, MeterModel
from protocols.meters.model import Protocol as MeterProtocol
from protocols.obis import Obis, base_unit
from protocols.telemetry.command import Arm, Confirm, Profile, Read, SetClock
from protocols.telemetry.event import EventKind, MeterEvent
from protocols.telemetry.reply import LIST_MAX, Outcome

T = TypeVar("T")
ARMED_MAX = 100
TOKEN_OCTETS = 8
REGISTER_CLASS, VALUE_ATTRIBUTE = 3, 2  # Blue Book 4.3.2

Begin = Callable[[], Awaitable[None]]


class ExpiredError(Exception):
    """The command's time had passed when the line was ours."""


class UrgentBus(Protocol):
    """What is needed of a bus."""

    async def urgent(self, meter: str, work: Callable[[OpenMeter], Awaitable[T]]) -> T:
        """Do ``work`` with a meter between two questions; raise :class:`LineLostError` if there is no line.

        When an open line is lost, it is opened once more and ``work`` is done again.
        """
        ...


class Buses(Protocol):
    """The buses that run now."""

    def find(self, meter: str) -> tuple[MeterConfig, UrgentBus] | None:
        """Return a meter and its bus."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a command, and the events that the server is told of."""

    outcome: Outcome
    reason: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[MeterEvent, ...] = ()


def failed(reason: object, **result: Any) -> Done:
    """Return the answer that says no."""
    return Done(Outcome.FAILED, str(reason), result)


def refused(reason: object) -> Done:
    """Return the answer that nothing was begun."""
    return Done(Outcome.REFUSED, str(reason))


@dataclass(slots=True)
class _Armed:
    """A switching that waits for its confirmation; gone at a restart, so that nothing old is confirmed."""

    meter: str
    plan: SwitchPlan


class Actions:
    """Carries out commands on meters."""

    def __init__(self, buses: Buses, now_ms: Callable[[], int]) -> None:
        self._buses = buses
        self._now_ms = now_ms
        self._armed: dict[str, _Armed] = {}

    async def read(self, asked: Read, begin: Begin) -> Done:
        """Read a meter's measurements."""
        found = self._buses.find(asked.meter)
        if found is None:
            return refused(f"no meter {asked.meter} here")
        config, bus = found
        try:
            wanted = measurements_of(config.model, asked.objects)
        except UsageError as error:
            return refused(error)

        async def work(found: OpenMeter) -> Done:
            await begin()
            at_ms = self._now_ms()
            answer = await _ask(found.meter, wanted)
            values = [[str(each.obis), value] for each, value in answer.values]
            result = {"meter": config.id, "at": at_ms, "values": values, "refusals": list(answer.refusals)}
            if answer.failure is not None:
                return Done(Outcome.FAILED, answer.failure, result)
            return Done(Outcome.DONE, None, result)

        return await _on(bus, config.id, work)

    async def profile(self, asked: Profile, begin: Begin) -> Done:
        """Read a range of a meter's load profile."""
        found = self._buses.find(asked.meter)
        if found is None:
            return refused(f"no meter {asked.meter} here")
        config, bus = found
        if config.model.profile is None:
            return refused(f"the model {config.model.key} has no load profile")

        rows: list[ProfileValue] = []
        from_ms = asked.from_ms
        while from_ms <= asked.to_ms:  # a day at a time: between the days the bus reads who is due
            first_ms, last_ms = from_ms, min(asked.to_ms, policy.slot_of(from_ms, policy.DAY_MS) + policy.DAY_MS - 1)

            async def work(found: OpenMeter, first_ms: int = first_ms, last_ms: int = last_ms) -> Done:
                await begin()
                values = await found.meter.read_profile(first_ms, last_ms)
                if isinstance(values, str):
                    return failed(values)
                rows.extend(values)
                return Done(Outcome.DONE)

            done = await _on(bus, config.id, work)
            if done.outcome is not Outcome.DONE:
                return done
            if len(rows) > LIST_MAX:
                return failed(f"more than {LIST_MAX} values; ask for a shorter range")
            from_ms = last_ms + 1
        return Done(Outcome.DONE, None, _columns(asked.meter, rows))

    async def set_clock(self, asked: SetClock, begin: Begin) -> Done:
        """Shift a meter's clock to ours if the difference lies within the limit, and read it back."""
        found = self._buses.find(asked.meter)
        if found is None:
            return refused(f"no meter {asked.meter} here")
        config, bus = found

        async def work(found: OpenMeter) -> Done:
            if found.duties is None:
                return refused(f"the model {config.model.key} has no clock that could be set")
            return await self._shift(config.id, found.duties, asked.limit_s, begin)

        return await _on(bus, config.id, work)

    async def _shift(self, meter: str, duties: Duties, limit_s: int, begin: Begin) -> Done:
        before = await self._difference(duties)
        if isinstance(before, str):
            return failed(before)
        result = {"meter": meter, "before_ms": before, "ahead_ms": before, "shifted_s": 0}
        if abs(before) > limit_s * 1000:
            return failed(f"the clock is {before // 1000} s ahead, beyond the limit of {limit_s} s", **result)
        if abs(before) < policy.CLOCK_TOLERANCE_MS:
            return Done(Outcome.DONE, None, result)
        await begin()
        shift_s = -before // 1000
        said = await duties.shift_clock(shift_s)
        event = MeterEvent(EventKind.CLOCK_SHIFTED, meter, self._now_ms(), value=shift_s * 1000)
        after = await self._difference(duties)
        if isinstance(after, str):
            reason = f"after a shift by {shift_s} s the clock can't be read: {after}"
            return Done(Outcome.UNKNOWN, reason, result, (event,))
        result |= {"ahead_ms": after, "shifted_s": shift_s}
        if abs(after) < policy.CLOCK_TOLERANCE_MS:
            return Done(Outcome.DONE, None, result, (event,))
        return failed(said if isinstance(said, str) else "the clock did not obey", **result)

    async def _difference(self, duties: Duties) -> int | str:
        before_ms = self._now_ms()
        said = await duties.read_clock()
        return said if isinstance(said, str) else policy.clock_difference(said, before_ms, self._now_ms())

    async def arm(self, asked: Arm, begin: Begin) -> Done:
        """Read the relay and keep its state under a token; nothing is switched."""

        async def work(meter: relay.Switchable) -> Done:
            await begin()
            plan = await relay.prepare(meter, connect=asked.connect, now_ms=self._now_ms())
            if isinstance(plan, str):
                return failed(plan)
            token = secrets.token_hex(TOKEN_OCTETS)
            self._keep(token, _Armed(asked.meter, plan))
            until_ms = plan.prepared_at_ms + relay.PLAN_MS_MAX
            return Done(Outcome.DONE, None, _stand(asked.meter, plan.before) | {"token": token, "until": until_ms})

        return await self._on_relay(asked.meter, work)

    def _keep(self, token: str, armed: _Armed) -> None:
        """Keep one arming a meter, and not too many."""
        for old, each in list(self._armed.items()):
            if each.meter == armed.meter or len(self._armed) >= ARMED_MAX:
                del self._armed[old]
        self._armed[token] = armed

    async def confirm(self, asked: Confirm, begin: Begin) -> Done:
        """Switch what was armed, once; answer with the state read back."""
        armed = self._armed.get(asked.token)
        if armed is None or (armed.meter, armed.plan.connect) != (asked.meter, asked.connect):
            return refused("nothing is armed under this token for this meter; arm it first")
        plan = armed.plan

        async def work(meter: relay.Switchable) -> Done:
            if self._armed.pop(asked.token, None) is None:  # the line was lost on the way and is open again
                return await self._see_relay(asked, meter, "the line was lost")
            await begin()
            now_ms = self._now_ms()
            outcome = await relay.carry_out(meter, plan, now_ms=now_ms)
            if isinstance(outcome, Switched):
                return self._switched(asked.meter, outcome)
            return Done(Outcome.UNKNOWN if outcome.acted else Outcome.FAILED, outcome.reason)

        return await self._on_relay(asked.meter, work)

    def _switched(self, meter: str, outcome: Switched) -> Done:
        result = _stand(meter, outcome.after) | {"acted": outcome.acted, "obeyed": outcome.obeyed}
        found = self._buses.find(meter)
        settings = found[0].model.dlms if found is not None else None
        events: tuple[MeterEvent, ...] = ()
        if outcome.acted and settings is not None and settings.relay is not None:
            events = (relay.event_of(meter, settings.relay, outcome, self._now_ms()),)
        if outcome.obeyed:
            return Done(Outcome.DONE, None, result, events)
        return Done(Outcome.FAILED, f"the relay did not obey: {relay.words(outcome.after)}", result, events)

    async def look_back(self, asked: Confirm | SetClock) -> Done:
        """Read back what a command that was cut off by a restart has done; nothing is repeated."""
        why = "cut off by a restart"
        if isinstance(asked, Confirm):
            done = await self._on_relay(asked.meter, lambda meter: self._see_relay(asked, meter, why))
        else:
            done = await self._see_clock(asked, why)
        if done.outcome in (Outcome.DONE, Outcome.UNKNOWN) or done.result:
            return done
        return Done(Outcome.UNKNOWN, f"{why}; {done.reason}")

    async def _see_relay(self, asked: Confirm, meter: relay.Switchable, why: str) -> Done:
        state = await meter.read_relay()
        if isinstance(state, str):
            return Done(Outcome.UNKNOWN, f"{why}, and the relay can't be read: {state}")
        done = self._switched(asked.meter, Switched(state, relay.stands(state, connect=asked.connect), acted=True))
        return Done(done.outcome, f"{why}; read back: {relay.words(state)}", done.result, done.events)

    async def _see_clock(self, asked: SetClock, why: str) -> Done:
        found = self._buses.find(asked.meter)
        if found is None:
            return failed(f"no meter {asked.meter} here any more")
        config, bus = found

        async def see(found: OpenMeter) -> Done:
            ahead = "no clock" if found.duties is None else await self._difference(found.duties)
            if isinstance(ahead, str):
                return Done(Outcome.UNKNOWN, f"{why}, and the clock can't be read: {ahead}")
            outcome = Outcome.DONE if abs(ahead) < policy.CLOCK_TOLERANCE_MS else Outcome.FAILED
            result = {"meter": config.id, "ahead_ms": ahead}
            return Done(outcome, f"{why}; the clock is {ahead // 1000} s ahead", result)

        return await _on(bus, config.id, see)

    async def _on_relay(self, meter: str, act: Callable[[relay.Switchable], Awaitable[Done]]) -> Done:
        found = self._buses.find(meter)
        if found is None:
            return refused(f"no meter {meter} here")
        config, bus = found
        if config.model.dlms is None or config.model.dlms.relay is None:
            return refused(f"the model {config.model.key} has no relay")

        async def work(found: OpenMeter) -> Done:
            duties: object = found.duties
            if not isinstance(duties, relay.Switchable):
                return refused("the line has no way to the meter's relay")
            return await act(duties)

        return await _on(bus, meter, work)


async def _on(bus: UrgentBus, meter: str, work: Callable[[OpenMeter], Awaitable[Done]]) -> Done:
    try:
        return await bus.urgent(meter, work)
    except LineLostError as error:
        return failed(f"the line: {error}")
    except ProtocolError as error:  # a mistake of ours is this command's trouble
        return failed(error)


async def _ask(meter: Meter, wanted: Sequence[Measurement]) -> Answer:
    """Ask all of ``wanted``; a question that is not answered is asked once more, and then the rest is left."""
    values: list[tuple[Measurement, int]] = []
    refusals: list[str] = []
    questions = list(meter.questions(wanted))
    while questions:
        question = questions.pop(0)
        answer = await meter.ask(question, probe=False)
        if answer.failure is not None:
            answer = await meter.ask(question, probe=False)
        values += answer.values
        refusals += answer.refusals
        if answer.failure is not None:
            return Answer(tuple(values), tuple(refusals), answer.failure)
        questions = [*answer.instead, *questions]
    return Answer(tuple(values), tuple(refusals))


def measurements_of(model: MeterModel, objects: Sequence[str]) -> list[Measurement]:
    """Return what to read for ``objects``; all that the model measures if there are none.

    A DLMS meter is also asked for registers that its model does not name: it tells their scaler and unit itself.

    Raises
    ------
    UsageError
        If the model does not measure an object, or its base unit is not known.
    """
    if not objects:
        return list(model.measurements)
    known = {str(each.obis): each for each in model.measurements}
    return [known.get(each) or _register(model, Obis.parse(each)) for each in dict.fromkeys(objects)]


def _register(model: MeterModel, obis: Obis) -> Measurement:
    if model.protocol is not MeterProtocol.DLMS:
        raise UsageError(f"the model {model.key} does not measure {obis}")
    at = CosemAttribute(REGISTER_CLASS, VALUE_ATTRIBUTE)
    return Measurement(str(obis), obis, Group.INSTANTANEOUS, base_unit(obis), at, "asked for")


def _stand(meter: str, state: RelayState) -> dict[str, Any]:
    return {"meter": meter, "conducts": state.conducts, "control": int(state.control)}


def _columns(meter: str, rows: list[ProfileValue]) -> dict[str, Any]:
    channels = sorted({each.obis for each in rows})
    index = {obis: number for number, obis in enumerate(channels)}
    ordered = sorted((index[each.obis], each.at_ms, each.value) for each in rows)
    return {
        "meter": meter,
        "channels": channels,
        "channel": [each[0] for each in ordered],
        "at": [each[1] for each in ordered],
        "value": [each[2] for each in ordered],
    }
