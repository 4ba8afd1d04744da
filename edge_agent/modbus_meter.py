"""Reads a Modbus meter by its model: plans the questions, asks them, turns registers into values.

What it learns – how long the meter takes, and which questions it refuses because they touch registers that it does not
have – is handed to ``learn`` and given back at the next start (:mod:`edge_agent.known`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from edge_agent.costs import questions_of
from edge_agent.failures import NoReplyError
from edge_agent.known import Known
from edge_agent.meter import Answer, ProfileValue, Question, fault_of
from protocols.errors import RemoteProtocolError
from protocols.meters.model import Group, Measurement, MeterModel
from protocols.modbus.messages import ExceptionCode, ExceptionReply, ReadRegisters, RegistersReply, Reply, Request
from protocols.modbus.plan import Cut, LineCost, cuts_for
from protocols.modbus.values import Unusable, decode_value

TRIES = 2
PLANNED_ANEW = 1.25  # when the turnaround has changed by this factor, another plan may be cheaper


class Link(Protocol):
    """A way to ask Modbus questions, serial or TCP."""

    cost: LineCost
    turnaround_us: float | None
    quarantine_s: float

    async def exchange(self, request: Request, *, probe: bool = False, patience_s: float | None = None) -> Reply:
        """Return the answer to ``request``."""
        ...

    def free_at(self, request: Request) -> float:
        """Return the loop's time from when on ``request`` can be asked without waiting first."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class ModbusMeter:
    """One unit behind a link."""

    def __init__(
        self,
        link: Link,
        unit: int,
        model: MeterModel,
        known: Known | None = None,
        learn: Callable[[Known], None] | None = None,
    ) -> None:
        self._link = link
        self._unit = unit
        self._model = model
        self._known = known or Known()
        self._learn = learn
        self._turnaround_us = self._known.turnaround_us or link.cost.turnaround_us
        self._plans: dict[tuple[str, ...], tuple[Question, ...]] = {}

    def questions(self, wanted: Sequence[Measurement]) -> tuple[Question, ...]:
        """Return the cheapest questions for ``wanted``, by what is known of the meter."""
        told_us = self._known.turnaround_us
        if told_us is not None and not 1 / PLANNED_ANEW <= (told_us + 1) / (self._turnaround_us + 1) <= PLANNED_ANEW:
            self._turnaround_us = told_us
            self._plans.clear()
        keys = tuple(each.key for each in wanted)
        if keys not in self._plans:
            cost = replace(self._link.cost, turnaround_us=self._turnaround_us)
            self._plans[keys] = questions_of(self._model, wanted, cost, self._known.cuts)
        return self._plans[keys]

    def free_at(self, question: Question) -> float:
        """Return the loop's time before which a late or doubled answer is waited for instead of asking."""
        return self._link.free_at(self._request(question))

    async def ask(self, question: Question, *, probe: bool) -> Answer:
        """Ask once. A question refused for an illegal address is divided, now and from now on."""
        request = self._request(question)
        before_s = self._link.quarantine_s
        try:
            reply = await self._link.exchange(request, probe=probe, patience_s=self._known.patience_s)
        except (NoReplyError, RemoteProtocolError) as error:
            return Answer((), (), str(error), fault_of(error), quarantine_s=self._link.quarantine_s - before_s)
        if self._link.turnaround_us is not None:
            self._now_known(self._known.after_answer(self._link.turnaround_us))
        answer = self._interpret(question, reply)
        return replace(answer, quarantine_s=self._link.quarantine_s - before_s)

    async def read(self, groups: frozenset[Group], *, probe: bool) -> Answer:
        """Read the measurements of ``groups`` in one go; what was read before a failure is kept."""
        left = list(self.questions([each for each in self._model.measurements if each.group in groups]))
        values: list[tuple[Measurement, int]] = []
        refusals: list[str] = []
        raw: dict[str, bytes] = {}
        tries = 0
        while left:
            answer = await self.ask(left[0], probe=probe)
            tries += 1
            if answer.failure is not None:
                if probe or tries == TRIES:
                    return Answer(tuple(values), tuple(refusals), answer.failure, answer.fault, raw)
                continue  # once more, the very same question: a late answer to the first would be the same registers
            tries = 0
            left[:1] = answer.instead
            values += answer.values
            refusals += answer.refusals
            raw.update(answer.raw)
        return Answer(tuple(values), tuple(refusals), raw=raw)

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...] | str:  # noqa: ARG002
        """Say that Modbus has no load profiles; the configuration asks for none."""
        return "a Modbus meter has no load profile"

    def _request(self, question: Question) -> ReadRegisters:
        read = question.read
        assert read is not None
        return ReadRegisters(self._unit, read.function, read.address, read.count)

    def _interpret(self, question: Question, reply: Reply) -> Answer:
        read = question.read
        assert read is not None
        if isinstance(reply, ExceptionReply):
            if reply.code == ExceptionCode.ILLEGAL_DATA_ADDRESS and (cuts := cuts_for(read)):
                return Answer((), instead=self._divide(question, cuts))
            return Answer((), (f"registers {read.address} to {read.address + read.count - 1}: {reply}",))
        assert isinstance(reply, RegistersReply)
        values: list[tuple[Measurement, int]] = []
        refusals: list[str] = []
        raw: dict[str, bytes] = {}
        for measurement in question.measurements:
            octets = read.slice_of(measurement, reply.data)
            value = decode_value(measurement, octets)
            raw[measurement.key] = octets
            if isinstance(value, Unusable):
                refusals.append(f"{measurement.key}: {value.reason} ({value.raw.hex()})")
            else:
                values.append((measurement, value))
        return Answer(tuple(values), tuple(refusals), raw=raw)

    def _divide(self, question: Question, cuts: frozenset[Cut]) -> tuple[Question, ...]:
        self._plans.clear()
        self._now_known(self._known.after_refusal(cuts))
        cost = replace(self._link.cost, turnaround_us=self._turnaround_us)
        return questions_of(self._model, question.measurements, cost, self._known.cuts | cuts)

    def _now_known(self, known: Known) -> None:
        self._known = known
        if self._learn is not None:
            self._learn(known)
