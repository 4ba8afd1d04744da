"""Encoding and decoding undo each other, in every order of words and octets, with a power of ten and without."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import UsageError
from protocols.meters.model import Group, Measurement, ModbusRegister, RegisterType, parse_model
from protocols.modbus.values import Unusable, decode_value, encode_value, exponent_of
from protocols.obis import Obis

INTEGERS = [RegisterType.INT16, RegisterType.UINT16, RegisterType.INT32, RegisterType.UINT32, RegisterType.INT64]


def measured(register: ModbusRegister, obis: str = "1.0.16.7.0", unit: str = "W") -> Measurement:
    return Measurement("a", Obis.parse(obis), Group.BILLING, unit, register, "a test")


registers = st.builds(
    ModbusRegister,
    table=st.just("input"),
    address=st.integers(100, 110),
    type=st.sampled_from(INTEGERS),
    word_order=st.sampled_from(["big", "little"]),
    scale=st.sampled_from([Decimal(1), Decimal("0.1"), Decimal("0.01"), Decimal(10)]),
    byte_order=st.sampled_from(["big", "little"]),
    exponent_at=st.sampled_from([None, 98, 99, 120]),
)


@given(registers, st.integers(-12_000, 12_000), st.integers(-1, 1))
def test_what_is_encoded_is_decoded_to_the_step_of_its_register(
    register: ModbusRegister, value: int, exponent: int
) -> None:
    exponent = 0 if register.exponent_at is None else exponent
    measurement = measured(register)
    try:
        octets = encode_value(measurement, value, exponent)
    except UsageError:
        return  # too much, or below zero, for these registers
    assert len(octets) == 2 * (register.end - register.first)
    found = decode_value(measurement, octets)
    if isinstance(found, Unusable):
        assert found.reason == "the meter's mark for 'not available'"
        return
    step = register.scale * Decimal(10) ** exponent
    assert value - step < found <= value + Decimal("0.5")
    assert decode_value(measurement, encode_value(measurement, found, exponent)) == found or step < 1


def test_the_octets_of_each_order() -> None:
    def octets(words: str, bytes_: str) -> str:
        register = ModbusRegister("input", 0, RegisterType.UINT32, words, Decimal(1), bytes_)
        return encode_value(measured(register), 0x01020304).hex()

    assert octets("big", "big") == "01020304"
    assert octets("little", "big") == "03040102"
    assert octets("big", "little") == "02010403"
    assert octets("little", "little") == "04030201"


def test_a_power_of_ten_that_is_none_makes_no_value() -> None:
    """SunSpec: sunssf is −10 to 10, and 0x8000 if it is not implemented."""
    register = ModbusRegister("holding", 10, RegisterType.UINT16, "big", Decimal(1), exponent_at=12)
    measurement = measured(register, "1.0.32.7.0", "V")
    assert decode_value(measurement, bytes.fromhex("0902 0000 ffff")) == 230_600
    assert decode_value(measurement, bytes.fromhex("0017 0000 0001")) == 230_000
    for none in ("8000", "000b", "fff5"):
        assert isinstance(decode_value(measurement, bytes.fromhex(f"0902 0000 {none}")), Unusable)
        assert exponent_of(register, bytes.fromhex(f"0902 0000 {none}")) is None


def test_a_meters_own_mark_for_no_value_is_no_value() -> None:
    """ABB: a signed value that a B21 does not have is 0x7FFFFFFF, which would be 21,474,836.47 W."""
    register = ModbusRegister(
        "holding", 0x5B14, RegisterType.INT32, "big", Decimal("0.01"), missing=b"\x7f\xff\xff\xff"
    )
    assert isinstance(decode_value(measured(register), b"\x7f\xff\xff\xff"), Unusable)
    assert decode_value(measured(register), b"\x7f\xff\xff\xfe") == 21_474_836


@pytest.mark.parametrize("address", [0x0148, 0xFFFF])
def test_a_power_of_ten_too_far_from_its_value_is_refused(address: int) -> None:
    text = f"""
name = "A meter"
version = 1
protocol = "modbus"
source = "its manual"
certainty = "constructed"
[serial]
baud = 9600
parity = "N"
stop_bits = 1
[measurements.import_active]
obis = "1.0.1.8.0"
table = "input"
address = 72
exponent_at = {address}
type = "uint32"
unit = "Wh"
"""
    with pytest.raises(UsageError, match="expected a register read with the value"):
        parse_model(text, "a_meter")
