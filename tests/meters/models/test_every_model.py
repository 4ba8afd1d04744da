"""Every model that comes with congto: parsed, its reads planned, served by the simulator and read back equal."""

import struct
from fractions import Fraction

import pytest

from protocols.dlms.axdr import decode
from protocols.dlms.data import Data, integer_of
from protocols.dlms.objects import scaler_unit_of, to_base
from protocols.dlms.xdlms.references import Attribute
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.counters import counter_of
from protocols.meters.model import (
    CosemAttribute,
    Group,
    Measurement,
    MeterModel,
    ModbusRegister,
    Protocol,
    RegisterType,
)
from protocols.meters.recognise import answers_as, question_of
from protocols.modbus.messages import FUNCTION_OF_TABLE, Function, ReadRegisters, RegistersReply
from protocols.modbus.plan import plan_reads, serial_cost
from protocols.modbus.rtu import RtuClient, encode_reply, encode_request
from protocols.modbus.values import Unusable, decode_value, encode_value, exponent_of
from protocols.obis import UNIT_FACTORS
from simulators.chance import key_of
from simulators.dlms.objects import CosemObjects
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.slave import TENTHS, ModbusSlave
from tests.simulators.meters import INSTALLED, NOW

MODBUS = [key for key in model_keys() if load_model(key).protocol is Protocol.MODBUS]
DLMS = [key for key in model_keys() if load_model(key).protocol is Protocol.DLMS]
FLOATS = {RegisterType.FLOAT32: 24, RegisterType.FLOAT64: 53}  # bits of the mantissa


def meter(key: str) -> SimulatedMeter:
    """Return a household's meter, with panels on the roof so that energy flows in both directions."""
    consumer = Consumer(Kind.HOUSEHOLD, 250, "hanoi", key_of(1, key), key_of(1), 3_000)
    return SimulatedMeter(key, load_model(key), 1, consumer, installed_at_ms=INSTALLED)


def register_of(measurement: Measurement) -> ModbusRegister:
    assert isinstance(measurement.at, ModbusRegister)
    return measurement.at


def shown(measurement: Measurement, value: int) -> tuple[Fraction, Fraction]:
    """Return between which bounds a register shows ``value``: its step below for integers, half a place for floats."""
    register = register_of(measurement)
    _, numerator, denominator = UNIT_FACTORS[measurement.unit]
    step = Fraction(register.scale) * Fraction(numerator, denominator)
    if register.exponent_at is not None:
        step *= Fraction(10) ** (-1 if measurement.unit in TENTHS else 0)
    if register.type in FLOATS:
        place = Fraction(abs(value), 2 ** FLOATS[register.type]) + Fraction(1, 2)
        return value - place, value + place
    return value - max(step, Fraction(1)), Fraction(value) + Fraction(1, 2)


@pytest.mark.parametrize("key", MODBUS)
def test_what_the_simulated_meter_knows_is_what_planned_questions_bring_back(key: str) -> None:
    device = meter(key)
    slave = ModbusSlave(device)
    cost = serial_cost(device.model.serial.baud, 11, 20e3)
    read_back: dict[str, int] = {}
    for read in plan_reads(device.model.measurements, cost, registers_max=device.model.registers_per_read_max):
        reply = slave.answer(struct.pack(">BHH", read.function, read.address, read.count), NOW)
        assert reply[:2] == bytes((read.function, 2 * read.count))
        for each in read.measurements:
            value = decode_value(each, read.slice_of(each, reply[2:]))
            assert not isinstance(value, Unusable), (each.key, value)
            read_back[each.key] = value
    assert set(read_back) == {each.key for each in device.model.measurements}
    for each in device.model.measurements:
        low, high = shown(each, device.value(each.obis, NOW))
        assert low <= read_back[each.key] <= high, each.key
        again = decode_value(
            each,
            encode_value(each, read_back[each.key], -1 if each.unit in TENTHS and register_of(each).exponent_at else 0),
        )
        assert not isinstance(again, Unusable)
        assert abs(again - read_back[each.key]) <= high - low, each.key


@pytest.mark.parametrize("key", DLMS)
def test_a_dlms_models_objects_are_served_and_scaled_back_to_what_the_meter_knows(key: str) -> None:
    device = meter(key)
    objects = CosemObjects(device)
    objects.at_ms = NOW
    assert device.model.dlms is not None
    for each in device.model.measurements:
        assert isinstance(each.at, CosemAttribute)
        sap = device.model.dlms.client_sap
        value = objects.get(sap, Attribute(each.at.class_id, each.obis, each.at.attribute), None)
        scaler = objects.get(sap, Attribute(each.at.class_id, each.obis, 3), None)
        assert isinstance(value, Data)
        assert isinstance(scaler, Data)
        assert to_base(integer_of(value), scaler_unit_of(scaler), each.obis) == device.value(each.obis, NOW), each.key


@pytest.mark.parametrize("key", model_keys())
def test_a_model_measures_energy_says_where_from_and_has_one_place_for_each_measurement(key: str) -> None:
    model = load_model(key)
    assert any(each.obis.d == 8 and each.group is Group.BILLING for each in model.measurements)
    assert len(model.source) > 40
    places = [(each.at, each.obis) if isinstance(each.at, CosemAttribute) else each.at for each in model.measurements]
    assert len(set(places)) == len(places)
    assert {name for frame in model.frames for name in (*frame.values, *frame.missing)} <= {
        each.key for each in model.measurements
    }


def test_every_modbus_model_has_frames_of_an_energy_and_is_recognised_if_it_can_be() -> None:
    without = {key for key in MODBUS if question_of(load_model(key)) is None}
    assert without == {"eastron_sdm72d"}  # its first version shows nothing but energies and a power
    for key in MODBUS:
        measured = {each.key: each for each in load_model(key).measurements}
        assert any(measured[name].obis.d == 8 for frame in load_model(key).frames for name in frame.values), key


@pytest.mark.parametrize("key", MODBUS)
def test_frames_say_what_the_model_says_they_do_in_both_directions(key: str) -> None:
    model = load_model(key)
    measured = {each.key: each for each in model.measurements}
    for frame in model.frames:
        request = ReadRegisters(
            frame.request[0],
            Function(frame.request[1]),
            int.from_bytes(frame.request[2:4], "big"),
            int.from_bytes(frame.request[4:6], "big"),
        )
        assert encode_request(request) == frame.request
        client = RtuClient()
        client.send(request)
        client.receive_data(frame.reply)
        reply = client.next_event()
        assert isinstance(reply, RegistersReply)
        assert encode_reply(reply) == frame.reply
        for name in (*frame.values, *frame.missing):
            register = register_of(measured[name])
            assert request.function is FUNCTION_OF_TABLE[register.table]
            octets = reply.data[2 * (register.first - request.address) : 2 * (register.end - request.address)]
            value = decode_value(measured[name], octets)
            if name in frame.missing:
                assert isinstance(value, Unusable)
                continue
            assert value == frame.values[name]
            encoded = encode_value(measured[name], value, exponent_of(register, octets) or 0)
            assert decode_value(measured[name], encoded) == value
            assert register.type in FLOATS or register.exponent_at is not None or encoded == octets


def test_identities_are_told_apart_by_their_codes() -> None:
    def question(key: str) -> tuple[str, int, int]:
        found = question_of(load_model(key))
        assert found is not None
        assert found.strong
        return found.table, found.address, found.registers

    assert question("abb_b21") == question("abb_b23") == ("holding", 0x8960, 2)
    assert answers_as(load_model("abb_b21"), b"B21 ")
    assert not answers_as(load_model("abb_b23"), b"B21 ")
    assert question("socomec_countis_e14") == ("holding", 0xC38A, 8)
    wide = b"".join(bytes((0, code)) for code in b"COUNTIS ")  # one character a register
    assert not answers_as(load_model("socomec_countis_e14"), wide)
    assert answers_as(load_model("socomec_countis_e14"), b"COUNTIS E14".ljust(16, b"\0"))
    assert answers_as(load_model("gavazzi_em24_e1"), (1648).to_bytes(2, "big"))
    assert not answers_as(load_model("gavazzi_em24_din"), (1648).to_bytes(2, "big"))


def test_a_plausible_voltage_is_a_weak_sign_and_an_impossible_one_none() -> None:
    model = load_model("eastron_sdm630")
    found = question_of(model)
    assert found is not None
    assert not found.strong
    assert answers_as(model, struct.pack(">f", 230.2))
    assert not answers_as(model, struct.pack(">f", 2.3))
    assert not answers_as(model, struct.pack(">f", float("nan")))


def counter(key: str, name: str = "import_active"):  # type: ignore[no-untyped-def]  # a tuple of what differs
    model = load_model(key)
    measured = next(each for each in model.measurements if each.key == name)
    found = counter_of(model, measured)
    return found and (found.width_bits, found.resolution, found.rollover, found.slope_max_w, found.monotonic)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("abb_b23", (64, 10, 2**64 * 10, 53_820, True)),
        ("gavazzi_em340", (31, 100, 2**31 * 100, 53_820, True)),
        ("socomec_countis_e24", (32, 10, 2**32 * 10, None, True)),
        ("schneider_pm5110", (63, 1, 2**63, None, True)),
        ("eastron_sdm120", (24, 1, None, 12_420, True)),
        ("sunspec_meter", (32, 1, None, None, True)),
        ("dlms_three_phase", (None, 1, None, None, True)),
    ],
)
def test_how_an_energy_counts_follows_from_type_scale_and_rules(key: str, expected: tuple[object, ...]) -> None:
    assert counter(key) == expected
    assert counter(key, "voltage_l1") is None


def models_of(protocol: Protocol) -> list[MeterModel]:
    return [load_model(key) for key in model_keys() if load_model(key).protocol is protocol]


def test_dlms_frames_are_a_get_and_its_answer() -> None:
    for model in models_of(Protocol.DLMS):
        measured = {each.key: each for each in model.measurements}
        for frame in model.frames:
            ((name, value),) = frame.values.items()
            at = measured[name].at
            assert isinstance(at, CosemAttribute)
            assert frame.request[:3] == bytes.fromhex("c0 01 c1")
            assert frame.request[3:] == Attribute(at.class_id, measured[name].obis, at.attribute).encode() + b"\0"
            assert frame.reply[:4] == bytes.fromhex("c4 01 c1 00")
            assert integer_of(decode(frame.reply[4:])) == value
