"""What every octet of a question and its answer means."""

from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.meter_tool.reading import Exchange, in_unit
from protocols.meters.model import Measurement, ModbusRegister
from protocols.modbus.messages import ExceptionReply, Function, ReadRegisters, RegistersReply, Reply
from protocols.modbus.plan import PlannedRead
from protocols.modbus.rtu import encode_reply, encode_request
from protocols.modbus.values import Unusable, decode_value

_FUNCTIONS = {Function.READ_HOLDING: "read holding registers", Function.READ_INPUT: "read input registers"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some octets and what they mean."""

    octets: bytes
    meaning: str


def explain_request(request: ReadRegisters, *, serial: bool) -> list[Piece]:
    """Return the pieces of a question: with unit and checksum on a serial line, its data unit alone over TCP."""
    frame = encode_request(request)
    pieces = [
        Piece(frame[:1], f"unit {request.unit}"),
        Piece(frame[1:2], f"function {int(request.function)}: {_FUNCTIONS[request.function]}"),
        Piece(frame[2:4], f"from register 0x{request.address:04x} ({request.address})"),
        Piece(frame[4:6], f"{request.count} registers"),
        Piece(frame[6:], "checksum, low octet first"),
    ]
    return pieces if serial else pieces[1:-1]


def explain_reply(exchange: Exchange, *, serial: bool) -> list[Piece]:
    """Return the pieces of an answer; none if there was none."""
    reply = exchange.reply
    if reply is None:
        return []
    pieces = list(_pieces(exchange.planned, reply))
    return pieces if serial else pieces[1:-1]


def _pieces(planned: PlannedRead, reply: Reply) -> Iterator[Piece]:
    frame = encode_reply(reply)
    yield Piece(frame[:1], f"unit {reply.request.unit}")
    if isinstance(reply, ExceptionReply):
        yield Piece(frame[1:2], f"function {int(reply.request.function)}, refused (highest bit)")
        yield Piece(frame[2:3], f"reason: {reply}")
    elif isinstance(reply, RegistersReply):
        yield Piece(frame[1:2], f"function {int(reply.request.function)}")
        yield Piece(frame[2:3], f"{len(reply.data)} octets follow")
        yield from _registers(planned, reply.data)
    yield Piece(frame[-2:], "checksum, low octet first")


def _registers(planned: PlannedRead, data: bytes) -> Iterator[Piece]:
    """Yield the registers in their order; measurements may share some (a power of ten), holes belong to none."""
    done = planned.address
    for measurement in sorted(planned.measurements, key=lambda each: _register(each).first):
        register = _register(measurement)
        if register.first > done:
            yield _hole(planned, data, done, register.first)
        octets = planned.slice_of(measurement, data)
        yield Piece(octets, f"0x{register.first:04x} {measurement.key}: {_say(measurement, octets)}")
        done = max(done, register.end)
    if done < planned.address + planned.count:
        yield _hole(planned, data, done, planned.address + planned.count)


def _hole(planned: PlannedRead, data: bytes, first: int, end: int) -> Piece:
    octets = data[2 * (first - planned.address) : 2 * (end - planned.address)]
    return Piece(octets, f"0x{first:04x} not asked for, read along")


def _say(measurement: Measurement, octets: bytes) -> str:
    register = _register(measurement)
    value = decode_value(measurement, octets)
    kind = register.type.value[0]
    if register.word_order == "little" and register.type.registers > 1:
        kind += ", lowest word first"
    if isinstance(value, Unusable):
        return f"{kind}: {value.reason}"
    scale = f" × {register.scale}" if register.scale != 1 else ""
    return f"{kind}{scale} = {in_unit(measurement, value)}"


def _register(measurement: Measurement) -> ModbusRegister:
    assert isinstance(measurement.at, ModbusRegister)
    return measurement.at
