"""Registers to integers: exact, or refused."""

import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.meters.model import Group, Measurement, ModbusRegister, RegisterType
from protocols.modbus.values import Unusable, decode_value, round_half_even
from protocols.obis import Obis


def measurement(
    kind: RegisterType, unit: str = "Wh", *, scale: str = "1", word_order: str = "big", obis: str = "1.0.1.8.0"
) -> Measurement:
    at = ModbusRegister("input", 0, kind, word_order, Decimal(scale))
    return Measurement("energy", Obis.parse(obis), Group.BILLING, unit, at, "a test")


@given(st.integers(0, 16_384_000))
def test_float32_kwh_gives_each_wh_below_16384_kwh(energy_wh: int) -> None:
    raw = struct.pack(">f", energy_wh / 1000)
    assert decode_value(measurement(RegisterType.FLOAT32, "kWh"), raw) == energy_wh


@given(st.floats(width=32, min_value=0, max_value=2.0**50))
def test_a_float_is_taken_as_the_fraction_that_it_is(kwh: float) -> None:
    expected = round(Fraction(kwh) * 1000)
    assert decode_value(measurement(RegisterType.FLOAT32, "kWh"), struct.pack(">f", kwh)) == expected


@given(st.integers(-(2**200), 2**200), st.integers(1, 2**100))
def test_rounding_is_half_to_even(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(0, 2**62 - 1))
def test_sixty_four_bits_in_either_word_order(energy_wh: int) -> None:
    raw = struct.pack(">q", energy_wh)
    words = [raw[at : at + 2] for at in range(0, 8, 2)]
    assert decode_value(measurement(RegisterType.INT64), raw) == energy_wh
    assert decode_value(measurement(RegisterType.INT64, word_order="little"), b"".join(words[::-1])) == energy_wh


@given(st.integers(0, 65_534), st.integers(-6, 3))
def test_a_scale_is_decimal_and_exact(raw: int, exponent: int) -> None:
    scale = str(Decimal(1).scaleb(exponent))
    found = decode_value(measurement(RegisterType.UINT16, "kWh", scale=scale), struct.pack(">H", raw))
    assert found == round(Fraction(raw) * Fraction(Decimal(scale)) * 1000)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (RegisterType.UINT16, "ffff"),
        (RegisterType.INT16, "8000"),
        (RegisterType.UINT32, "ffffffff"),
        (RegisterType.INT32, "80000000"),
        (RegisterType.UINT64, "ffffffffffffffff"),
        (RegisterType.INT64, "8000000000000000"),
        (RegisterType.INT64, "ffffffffffffffff"),
        (RegisterType.UINT64, "7fffffffffffffff"),
        (RegisterType.FLOAT32, "7fc00000"),
        (RegisterType.FLOAT32, "ffc00000"),
        (RegisterType.FLOAT32, "7f800000"),
        (RegisterType.FLOAT32, "ff800000"),
        (RegisterType.FLOAT32, "7f7fffff"),
        (RegisterType.FLOAT32, "bf800000"),
        (RegisterType.FLOAT64, "7ff8000000000000"),
        (RegisterType.FLOAT64, "fff0000000000000"),
    ],
)
def test_what_is_no_energy_is_refused_with_its_octets(kind: RegisterType, raw: str) -> None:
    found = decode_value(measurement(kind, "kWh"), bytes.fromhex(raw))
    assert isinstance(found, Unusable)
    assert found.raw == bytes.fromhex(raw)


def test_a_power_may_be_negative() -> None:
    power = measurement(RegisterType.FLOAT32, "kW", obis="1.0.16.7.0")
    assert decode_value(power, struct.pack(">f", -1.5)) == -1500


def test_a_net_energy_may_be_negative() -> None:
    net = measurement(RegisterType.INT32, "Wh", obis="1.0.16.8.0")
    assert decode_value(net, struct.pack(">i", -7)) == -7


@given(st.sampled_from(RegisterType), st.binary(min_size=8, max_size=8))
def test_any_octets_give_an_integer_or_a_refusal(kind: RegisterType, raw: bytes) -> None:
    found = decode_value(measurement(kind, "kWh"), raw[: 2 * kind.registers])
    assert isinstance(found, Unusable) or abs(found) < 2**62
