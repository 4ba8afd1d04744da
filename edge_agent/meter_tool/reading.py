"""Reads a Modbus meter by its model and keeps each question with its answer, for people who want to see them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from edge_agent.failures import NoReplyError
from edge_agent.modbus_meter import Link
from protocols.errors import RemoteProtocolError, UsageError
from protocols.meters.model import Group, Measurement, MeterModel, ModbusRegister, Protocol
from protocols.modbus.messages import ExceptionCode, ExceptionReply, ReadRegisters, RegistersReply, Reply
from protocols.modbus.plan import PlannedRead, cuts_for, plan_reads
from protocols.modbus.values import Unusable, decode_value
from protocols.obis import UNIT_FACTORS

TRIES = 2


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, what came back, and how long that took from the first octet to the last."""

    planned: PlannedRead
    request: ReadRegisters
    reply: Reply | None
    failure: str | None
    took_ms: float


@dataclass(frozen=True, slots=True)
class Value:
    """One measurement of an exchange; ``value`` is in the base unit. Without one ``why`` says why."""

    measurement: Measurement
    raw: bytes
    value: int | None
    why: str | None = None


def wanted_of(model: MeterModel, groups: Sequence[str], keys: Sequence[str]) -> tuple[Measurement, ...]:
    """Return the measurements of a Modbus model that are asked for; raise :class:`UsageError`."""
    if model.protocol is not Protocol.MODBUS:
        tool = "dlms" if model.protocol is Protocol.DLMS else "iec62056-21"
        raise UsageError(f"model {model.key} speaks {model.protocol.value}: use `congto {tool} read` for it")
    known = {each.key: each for each in model.measurements}
    for key in keys:
        if key not in known:
            raise UsageError(f"model {model.key} has no measurement {key!r}; it has {', '.join(known)}")
    if keys:
        return tuple(known[key] for key in keys)
    chosen = {Group(each) for each in groups} or set(Group)
    return tuple(each for each in model.measurements if each.group in chosen)


async def read_meter(
    link: Link, unit: int, model: MeterModel, wanted: Sequence[Measurement], *, tries: int = TRIES
) -> list[Exchange]:
    """Ask for ``wanted``. A question that bridges a hole and is refused for it is divided; a silent meter ends it."""
    exchanges: list[Exchange] = []
    waiting = list(plan_reads(wanted, link.cost, registers_max=model.registers_per_read_max))
    while waiting:
        planned = waiting.pop(0)
        exchange = await _ask(link, unit, planned, tries)
        exchanges.append(exchange)
        if isinstance(exchange.reply, ExceptionReply) and exchange.reply.code == ExceptionCode.ILLEGAL_DATA_ADDRESS:
            cuts = cuts_for(planned)
            if cuts:
                waiting[:0] = plan_reads(planned.measurements, link.cost, registers_max=planned.count, cuts=cuts)
        if exchange.reply is None:
            break
    return exchanges


async def _ask(link: Link, unit: int, planned: PlannedRead, tries: int) -> Exchange:
    request = ReadRegisters(unit, planned.function, planned.address, planned.count)
    failure = ""
    for _ in range(tries):
        began = time.perf_counter()
        try:
            reply = await link.exchange(request)
        except (NoReplyError, RemoteProtocolError) as error:
            failure = str(error)
        else:
            return Exchange(planned, request, reply, None, 1000 * (time.perf_counter() - began))
    return Exchange(planned, request, None, failure, 1000 * (time.perf_counter() - began))


def values_of(exchanges: Sequence[Exchange]) -> list[Value]:
    """Return each measurement once, in the order of the answers; refused ones that were asked again are left out."""
    found: dict[str, Value] = {}
    for exchange in exchanges:
        for measurement in exchange.planned.measurements:
            found[measurement.key] = _value(exchange, measurement)
    return list(found.values())


def _value(exchange: Exchange, measurement: Measurement) -> Value:
    if not isinstance(exchange.reply, RegistersReply):
        return Value(measurement, b"", None, exchange.failure or str(exchange.reply))
    raw = exchange.planned.slice_of(measurement, exchange.reply.data)
    value = decode_value(measurement, raw)
    if isinstance(value, Unusable):
        return Value(measurement, raw, None, value.reason)
    return Value(measurement, raw, value)


def in_unit(measurement: Measurement, value: int) -> str:
    """Return a value of the base unit in the model's unit, exactly, such as ``230.2 V``."""
    _, numerator, denominator = UNIT_FACTORS[measurement.unit]
    number = Decimal(value) * denominator / numerator
    return f"{number.normalize():f} {measurement.unit}".strip()


def registers_of(measurement: Measurement) -> str:
    """Return where a measurement is, such as ``input 0x0048–0x0049``."""
    at = measurement.at
    assert isinstance(at, ModbusRegister)
    return f"{at.table} 0x{at.first:04x}" + (f"–0x{at.end - 1:04x}" if at.end - at.first > 1 else "")
