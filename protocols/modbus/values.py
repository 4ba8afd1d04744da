"""From registers to integers in the base unit, exactly.

A register's raw number times the model's scale times the unit's factor is computed as a fraction of integers and
rounded once, half to even. A binary float is taken as the fraction that it is. So a float32 in kWh, which is what many
meters keep, gives the meter's Wh without error as long as the float can tell one Wh from the next: its steps are
2⁻¹⁰ kWh below 16,384 kWh, less than a Wh, and the nearest float to n Wh lies within half a step of it.
"""

import math
import struct
from dataclasses import dataclass

from protocols.errors import UsageError
from protocols.meters.model import Measurement, ModbusRegister, RegisterType
from protocols.obis import UNIT_FACTORS
from protocols.telemetry.batch import VALUE_MAX

_FORMATS = {
    RegisterType.INT16: ">h",
    RegisterType.UINT16: ">H",
    RegisterType.INT32: ">i",
    RegisterType.UINT32: ">I",
    RegisterType.INT64: ">q",
    RegisterType.UINT64: ">Q",
    RegisterType.FLOAT32: ">f",
    RegisterType.FLOAT64: ">d",
}
# What meters answer where they have no value: the most negative signed number, all ones in an unsigned one, a NaN in
# a float. Source: SunSpec Information Model Specification, "unimplemented" values; Schneider Electric, DOCA0005EN.
_NOT_AVAILABLE = {
    RegisterType.INT16: b"\x80\x00",
    RegisterType.UINT16: b"\xff" * 2,
    RegisterType.INT32: b"\x80\x00\x00\x00",
    RegisterType.UINT32: b"\xff" * 4,
    RegisterType.INT64: b"\x80" + b"\x00" * 7,
    RegisterType.UINT64: b"\xff" * 8,
}
EXPONENT_MAX = 10  # SunSpec Information Model Specification: sunssf is −10 to 10, 0x8000 if not implemented
ENERGY = 8  # OBIS value group D: time integral
NET_QUANTITIES = (16, 36, 56, 76)  # OBIS value group C: |+A| − |−A|, total and by phase; the only energies with a sign


@dataclass(frozen=True, slots=True)
class Unusable:
    """The meter answered, but with no value: why, and the octets that said so."""

    reason: str
    raw: bytes


def decode_value(measurement: Measurement, raw: bytes) -> int | Unusable:
    """Return the measurement held in ``raw``, the octets of its registers, in the base unit of its OBIS code.

    Where a register has a power of ten beside it, ``raw`` reaches from the first to the last of both.
    """
    register = measurement.at
    assert isinstance(register, ModbusRegister)
    exponent = exponent_of(register, raw)
    if exponent is None:
        return Unusable("no power of ten", raw)
    start = 2 * (register.address - register.first)
    octets = reorder(register, raw[start : start + 2 * register.type.registers])
    if octets in (_NOT_AVAILABLE.get(register.type), register.missing):
        return Unusable("the meter's mark for 'not available'", raw)
    number: int | float = struct.unpack(_FORMATS[register.type], octets)[0]
    if not math.isfinite(number):
        return Unusable("not a number", raw)
    value = to_base_unit(number, register, measurement.unit, exponent)
    if abs(value) > VALUE_MAX:
        return Unusable("beyond ±(2⁶² − 1)", raw)
    if value < 0 and measurement.obis.d == ENERGY and measurement.obis.c not in NET_QUANTITIES:
        return Unusable("an energy register below zero", raw)
    return value


def encode_value(measurement: Measurement, value: int, exponent: int = 0) -> bytes:
    """Return the octets of the registers that hold ``value``, in the base unit: :func:`decode_value` backwards.

    An integer register shows whole steps, rounded down as counters do. ``exponent`` is the power of ten of a register
    that has one; registers between the two are zero.

    Raises
    ------
    UsageError
        If the registers can't hold the value.
    """
    register = measurement.at
    assert isinstance(register, ModbusRegister)
    _, unit_numerator, unit_denominator = UNIT_FACTORS[measurement.unit]
    scale_numerator, scale_denominator = register.scale.as_integer_ratio()
    numerator, denominator = value * unit_denominator * scale_denominator, unit_numerator * scale_numerator
    numerator, denominator = numerator * 10 ** max(-exponent, 0), denominator * 10 ** max(exponent, 0)
    floating = register.type in (RegisterType.FLOAT32, RegisterType.FLOAT64)
    try:
        octets = struct.pack(_FORMATS[register.type], numerator / denominator if floating else numerator // denominator)
    except (struct.error, OverflowError) as error:
        raise UsageError(f"{measurement.key}: {value} does not fit into {register.type.value[0]}") from error
    if register.exponent_at is None:
        return reorder(register, octets)
    span = bytearray(2 * (register.end - register.first))
    for address, piece in (
        (register.address, reorder(register, octets)),
        (register.exponent_at, exponent_octets(exponent)),
    ):
        start = 2 * (address - register.first)
        span[start : start + len(piece)] = piece
    return bytes(span)


def exponent_octets(exponent: int) -> bytes:
    """Return the register of a power of ten."""
    return exponent.to_bytes(2, "big", signed=True)


def exponent_of(register: ModbusRegister, raw: bytes) -> int | None:
    """Return the power of ten among ``raw``, 0 for a register without one, ``None`` if it is none."""
    if register.exponent_at is None:
        return 0
    start = 2 * (register.exponent_at - register.first)
    exponent = int.from_bytes(raw[start : start + 2], "big", signed=True)
    return exponent if abs(exponent) <= EXPONENT_MAX else None


def reorder(register: ModbusRegister, octets: bytes) -> bytes:
    """Return ``octets`` between the order of the wire and most-significant-first; the same in both directions."""
    if register.word_order == "little":
        octets = _reverse_words(octets)
    return _swap_octets(octets) if register.byte_order == "little" else octets


def to_base_unit(number: float, register: ModbusRegister, unit: str, exponent: int = 0) -> int:
    """Return ``number`` × scale × 10^exponent in the base unit of ``unit``, rounded half to even, once."""
    numerator, denominator = number.as_integer_ratio()
    scale_numerator, scale_denominator = register.scale.as_integer_ratio()
    _, unit_numerator, unit_denominator = UNIT_FACTORS[unit]
    return round_half_even(
        numerator * scale_numerator * unit_numerator * 10 ** max(exponent, 0),
        denominator * scale_denominator * unit_denominator * 10 ** max(-exponent, 0),
    )


def round_half_even(numerator: int, denominator: int) -> int:
    """Return ``numerator`` / ``denominator`` (positive) as the nearest integer, the even one of two equally near."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def _swap_octets(raw: bytes) -> bytes:
    return b"".join(raw[at : at + 2][::-1] for at in range(0, len(raw), 2))


def _reverse_words(raw: bytes) -> bytes:
    return b"".join(raw[at : at + 2] for at in range(len(raw) - 2, -1, -2))
