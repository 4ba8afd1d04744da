"""What a Modbus meter answers: protocol data units in, protocol data units out, no line and no clock.

A read is planned once, which measurement's octets go where, and the plan is kept, as masters ask the same questions
again and again. A master may ask for half a value; it gets that half.

Registers between a model's known ones are holes. What real meters do there differs: many answer zero, some refuse.
Beyond the first and last known register of a table every meter here refuses with exception 2. Asked for just the
registers of its model's identity, a meter says its code; in a longer question they hold what else lies there, as
Carlo Gavazzi's do.

Source: Modbus Application Protocol Specification V1.1b3, sections 6 and 7.
"""

import struct
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from protocols.errors import UsageError
from protocols.meters.model import Measurement, MeterModel, ModbusRegister, RegisterType
from protocols.modbus.values import exponent_octets, reorder
from protocols.obis import UNIT_FACTORS
from simulators.meter import SimulatedMeter

READ_HOLDING, READ_INPUT = 3, 4
TABLES = {READ_HOLDING: "holding", READ_INPUT: "input"}
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
REGISTERS_PER_READ_MAX = 125  # section 6.3
TENTHS = ("V", "A", "Hz")  # shown in tenths by meters that say so in a register of their own
PLANS_MAX = 512  # a master asks few different questions; beyond this they are planned anew

_FORMATS = {RegisterType.FLOAT32: ">f", RegisterType.FLOAT64: ">d"}
_SIGNED = frozenset({RegisterType.INT16, RegisterType.INT32, RegisterType.INT64})


class Holes(Enum):
    """What a meter says about registers it doesn't have, between those it has."""

    ZERO = "zero"
    REFUSE = "refuse"


class _Field(NamedTuple):
    """Which registers hold a value, or the power of ten of one."""

    address: int
    registers: int
    measurement: Measurement
    encode: Callable[[int], bytes]


class _Piece(NamedTuple):
    """Which octets of a value go where in a reply."""

    measurement: Measurement
    encode: Callable[[int], bytes]
    at: int
    start: int
    end: int


class ModbusSlave:
    """A meter's register map, as a function from request to reply."""

    def __init__(self, meter: SimulatedMeter, holes: Holes = Holes.ZERO) -> None:
        self.meter = meter
        self._holes = holes
        self._fields: dict[str, dict[int, _Field]] = {}
        for each in meter.model.measurements:
            if not isinstance(each.at, ModbusRegister):
                raise UsageError(f"model {meter.model.key} is no Modbus model")
            fields = self._fields.setdefault(each.at.table, {})
            fields[each.at.address] = _Field(each.at.address, each.at.type.registers, each, _encoder(each))
            if each.at.exponent_at is not None:  # several measurements may share it
                octets = exponent_octets(_exponent(each))
                fields[each.at.exponent_at] = _Field(each.at.exponent_at, 1, each, partial(_constant, octets))
        self._identity = _identity(meter.model)
        self._plans: dict[bytes, tuple[_Piece, ...] | int | bytes] = {}

    def answer(self, request: bytes, at_ms: int) -> bytes:
        """Return the reply to a request, both without address and check; a refusal is a reply too."""
        plan = self._plans.get(request)
        if plan is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            plan = self._plans[request] = self._plan(request)
        if isinstance(plan, int):
            return bytes((request[0] | 0x80, plan))
        if isinstance(plan, bytes):
            return plan
        reply = bytearray(2 + 2 * int.from_bytes(request[3:5], "big"))
        reply[0], reply[1] = request[0], len(reply) - 2
        for piece in plan:
            octets = piece.encode(self.meter.value(piece.measurement.obis, at_ms))
            reply[piece.at : piece.at + piece.end - piece.start] = octets[piece.start : piece.end]
        return bytes(reply)

    def _plan(self, request: bytes) -> tuple[_Piece, ...] | int | bytes:
        """Return what a reply consists of, or the exception code, or the reply that is always the same."""
        if self._identity is not None and request == self._identity[0]:
            return self._identity[1]
        fields = self._fields.get(TABLES.get(request[0], ""))
        if fields is None:
            return ILLEGAL_FUNCTION
        if len(request) != 5:
            return ILLEGAL_VALUE
        first, count = struct.unpack(">HH", request[1:])
        if not 1 <= count <= REGISTERS_PER_READ_MAX:
            return ILLEGAL_VALUE
        lowest = min(fields)
        beyond = max(field.address + field.registers for field in fields.values())
        if first < lowest or first + count > beyond:
            return ILLEGAL_ADDRESS
        pieces = []
        for field in fields.values():
            start, end = max(field.address, first), min(field.address + field.registers, first + count)
            if start < end:
                octets = (2 * (start - field.address), 2 * (end - field.address))
                pieces.append(_Piece(field.measurement, field.encode, 2 + 2 * (start - first), *octets))
        held = sum(piece.end - piece.start for piece in pieces) // 2
        if held < count and self._holes is Holes.REFUSE:
            return ILLEGAL_ADDRESS
        return tuple(pieces)


def _identity(model: MeterModel) -> tuple[bytes, bytes] | None:
    """Return the question for the model's code, and the reply; ``None`` if the model has no code."""
    identity = model.identity
    if identity is None or identity.table is None:
        return None
    size = 2 * identity.registers
    if identity.starts_with is not None:
        octets = identity.starts_with.upper().encode("ascii").ljust(size, b"\0")
    else:
        octets = identity.equals[0].to_bytes(size, "big")
    function = next(code for code, table in TABLES.items() if table == identity.table)
    question = struct.pack(">BHH", function, identity.address, identity.registers)
    return question, bytes((function, size)) + octets


def _constant(octets: bytes, _value: int) -> bytes:
    return octets


def _exponent(measurement: Measurement) -> int:
    """Return the power of ten that a simulated meter shows, where its model has a register for it: tenths, but of W."""
    at = measurement.at
    assert isinstance(at, ModbusRegister)
    return -1 if at.exponent_at is not None and measurement.unit in TENTHS else 0


def _encoder(measurement: Measurement) -> Callable[[int], bytes]:
    """Return the function from a value in the base unit to the octets of its registers."""
    at = measurement.at
    assert isinstance(at, ModbusRegister)
    _, numerator, denominator = UNIT_FACTORS[measurement.unit]
    raw_per_base = (
        Fraction(denominator, numerator) / Fraction(Decimal(at.scale)) / Fraction(10) ** _exponent(measurement)
    )
    up, down = raw_per_base.numerator, raw_per_base.denominator
    size = 2 * at.type.registers
    fmt = _FORMATS.get(at.type)

    def encode(value: int) -> bytes:
        if fmt is not None:
            octets = struct.pack(fmt, value * up / down)
        else:  # a counter shows whole steps and begins again at zero when its registers are full
            octets = (value * up // down % (1 << 8 * size)).to_bytes(size, "big")
        return reorder(at, octets)

    return encode
