"""Several attributes asked for at once, as the meter grants it: values, and scalers with their units."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from edge_agent.dlms_tool.refusals import refusal_of
from edge_agent.dlms_tool.target import Target
from protocols.dlms.objects import SCALER_UNIT_INDEX, ClassId, ScalerUnit, scaler_unit_of
from protocols.dlms.plan import LIST_ITEMS_DEFAULT, read_attributes, results_of
from protocols.dlms.services import Associated, DataAccessError, Event, Get, GetList, GetResult, Request
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError


class Asks(Protocol):
    """What is needed of a session: what the meter granted, what the arguments said, and an answer to a request."""

    granted: Associated

    @property
    def target(self) -> Target:
        """What the arguments said."""
        ...

    async def ask(self, request: Request) -> Event:
        """Return the outcome of ``request``, which may be a refusal."""
        ...


def requests_for(session: Asks, attributes: Sequence[Attribute]) -> list[Get | GetList]:
    """Return the requests that read ``attributes`` in order."""
    at_once = LIST_ITEMS_DEFAULT if session.target.lists else 1
    return read_attributes(attributes, session.granted.conformance, list_items_max=at_once)


async def get_all(session: Asks, attributes: Sequence[Attribute]) -> list[GetResult | DataAccessError]:
    """Return a value or a refusal for each; RefusedError when the meter refuses the question itself."""
    results: list[GetResult | DataAccessError] = []
    for request in requests_for(session, attributes):
        event = await session.ask(request)
        found = results_of(event)
        if not found:
            raise refusal_of(event, "GET") or RemoteProtocolError(f"GET: found {type(event).__name__}")
        results += found
    return results


def scalers_at(registers: Sequence[Attribute]) -> list[Attribute]:
    """Return where the scaler and unit of each register stands."""
    return [Attribute(one.class_id, one.obis, SCALER_UNIT_INDEX[ClassId(one.class_id)]) for one in registers]


async def read_scalers(session: Asks, registers: Sequence[Attribute]) -> dict[Attribute, ScalerUnit]:
    """Return the scaler and unit of each register that has one that can be used."""
    scalers: dict[Attribute, ScalerUnit] = {}
    for register, answer in zip(registers, await get_all(session, scalers_at(registers)), strict=True):
        if isinstance(answer, GetResult):
            with contextlib.suppress(RemoteProtocolError):  # One that cannot be used costs its own register, no other.
                scalers[register] = scaler_unit_of(answer.value)
    return scalers
