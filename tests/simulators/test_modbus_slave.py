"""What a Modbus meter answers, without a line."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import UsageError
from protocols.meters.model import parse_model
from protocols.obis import Obis
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.slave import Holes, ModbusSlave
from tests.simulators.meters import INSTALLED, NOW, meter


def ask(slave, function, address, count):
    return slave.answer(struct.pack(">BHH", function, address, count), NOW)


def test_energy_is_a_float_of_kilowatt_hours_that_tells_each_watt_hour():
    sdm120 = meter(panels_w=3_000)
    reply = ask(ModbusSlave(sdm120), 4, 0x48, 4)
    assert reply[:2] == bytes((4, 8))
    imported, exported = struct.unpack(">ff", reply[2:])
    assert round(imported * 1000) == sdm120.true_wh("1.0.1.8.0", NOW)
    assert round(exported * 1000) == sdm120.true_wh("1.0.2.8.0", NOW)


def test_energy_is_an_integer_of_watt_hours_where_the_model_says_so():
    iem3155 = meter("schneider_iem3155")
    rates = struct.unpack(">qqqq", ask(ModbusSlave(iem3155), 3, 4195, 16)[2:])
    assert rates == tuple(iem3155.true_wh(f"1.0.1.8.{rate}", NOW) for rate in (1, 2, 3, 4))
    assert sum(rates) == iem3155.true_wh("1.0.1.8.0", NOW)
    assert rates[3] == 0


@given(st.integers(0, 16_383_999))
def test_below_16384_kwh_no_two_watt_hours_look_alike_in_a_float(energy_wh):
    """So a float32 register loses nothing, as long as the simulated meters stay below it."""
    (shown_kwh,) = struct.unpack(">f", struct.pack(">f", energy_wh / 1000))
    assert round(shown_kwh * 1000) == energy_wh


@pytest.mark.parametrize("key", ["eastron_sdm120", "eastron_sdm630", "schneider_iem3155"])  # all: tests/meters/models
def test_every_measurement_of_every_model_can_be_read_and_is_what_the_meter_knows(key):
    device = meter(key)
    slave = ModbusSlave(device)
    for each in device.model.measurements:
        function = 3 if each.at.table == "holding" else 4
        reply = ask(slave, function, each.at.address, each.at.type.registers)
        assert reply[:2] == bytes((function, 2 * each.at.type.registers)), each.key
        fmt = {"float32": ">f", "int64": ">q"}[each.at.type.value[0]]
        (raw,) = struct.unpack(fmt, reply[2:])
        per_unit = {"kWh": 1000, "kvarh": 1000, "V": 1000, "A": 1000, "kW": 1000, "Hz": 1000}.get(each.unit, 1)
        assert round(raw * per_unit) == device.value(each.obis, NOW), each.key


@given(st.integers(0, 0x60), st.integers(1, 40))
def test_any_window_onto_the_registers_shows_the_same_octets(first, count):
    slave = ModbusSlave(meter("eastron_sdm630", panels_w=2_000))
    everything = ask(slave, 4, 0, 0x50)[2:]
    reply = ask(slave, 4, first, count)
    if first + count > 0x50:
        assert reply == bytes((0x84, 2))
    else:
        assert reply[2:] == everything[2 * first : 2 * (first + count)]


def test_holes_are_zero_or_refused_as_the_bus_says():
    """The SDM120 has nothing between voltage (0, 1) and current (6, 7)."""
    zero, refuse = (ModbusSlave(meter(), holes) for holes in (Holes.ZERO, Holes.REFUSE))
    assert ask(zero, 4, 2, 4) == bytes((4, 8)) + bytes(8)
    assert ask(refuse, 4, 2, 4) == ask(refuse, 4, 0, 4) == bytes((0x84, 2))
    assert ask(refuse, 4, 0, 2) == ask(zero, 4, 0, 2)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (struct.pack(">BHH", 1, 0, 1), 1),
        (struct.pack(">BHH", 3, 0, 2), 1),  # the SDM120's model has input registers only
        (struct.pack(">BHH", 4, 0x4C, 2), 2),
        (struct.pack(">BHH", 4, 0x4B, 2), 2),
        (struct.pack(">BHH", 4, 0xFFFF, 2), 2),
        (struct.pack(">BHH", 4, 0, 0), 3),
        (struct.pack(">BHH", 4, 0, 126), 3),
        (b"\x04\x00", 3),
        (b"\x2b\x0e\x01\x00", 1),
    ],
)
def test_what_a_meter_does_not_have_is_refused_by_the_right_exception(request_, code):
    assert ModbusSlave(meter()).answer(request_, NOW) == bytes((request_[0] | 0x80, code))


@given(st.binary(min_size=1, max_size=300))
def test_any_request_has_an_answer(request_):
    slave = ModbusSlave(meter())
    reply = slave.answer(request_, NOW)
    assert reply == slave.answer(request_, NOW)
    assert reply[0] & 0x7F == request_[0] & 0x7F


INTEGER_MODEL = """
name = "Invented"
version = 1
protocol = "modbus"
source = "invented for this test"
certainty = "constructed"
serial = { baud = 9600, parity = "N", stop_bits = 1 }
[measurements.import_active]
obis = "1.0.1.8.0"
table = "holding"
address = 10
type = "uint32"
word_order = "little"
unit = "kWh"
scale = "0.01"
[measurements.power]
obis = "1.0.16.7.0"
table = "holding"
address = 12
type = "int16"
unit = "W"
"""


def test_integers_are_whole_steps_in_the_models_word_order():
    consumer = Consumer(Kind.SHOP, 100, "hanoi", 1, 1)
    device = SimulatedMeter("X", parse_model(INTEGER_MODEL, "invented"), 1, consumer, installed_at_ms=INSTALLED)
    reply = ask(ModbusSlave(device), 3, 10, 3)
    low, high, power = struct.unpack(">HHh", reply[2:])
    assert high << 16 | low == device.true_wh("1.0.1.8.0", NOW) // 10
    assert power == device.value(Obis.parse("1.0.16.7.0"), NOW)


def test_a_model_that_asks_for_what_no_simulator_has_is_refused():
    broken = parse_model(INTEGER_MODEL.replace("1.0.1.8.0", "1.0.9.8.0").replace("kWh", "kVAh"), "invented")
    consumer = Consumer(Kind.SHOP, 100, "hanoi", 1, 1)
    with pytest.raises(UsageError, match=r"no value for 1\.0\.9\.8\.0"):
        SimulatedMeter("X", broken, 1, consumer, installed_at_ms=0)
