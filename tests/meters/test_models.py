"""The models that come with congto, and what a model's file may not say."""

import pytest

from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import Group, ModbusRegister, Protocol, parse_model
from protocols.obis import Obis

GOOD = """
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
type = "float32"
unit = "kWh"
"""


def test_the_five_models_of_the_demo_are_there() -> None:
    assert set(model_keys()) >= {
        "dlms_residential",
        "dlms_three_phase",
        "eastron_sdm120",
        "eastron_sdm630",
        "schneider_iem3155",
    }


@pytest.mark.parametrize("key", model_keys())
def test_every_model_loads_and_counts_energy(key: str) -> None:
    """Imported, or exported where an inverter is read, or the sum of both where the meter has no more."""
    model = load_model(key)
    found = [model.measurement(Obis.parse(code)) for code in ("1.0.1.8.0", "1.0.2.8.0", "1.0.15.8.0")]
    energy = next(each for each in found if each is not None)
    assert energy.group is Group.BILLING
    assert all(each.source for each in model.measurements)
    assert (model.dlms is not None) == (model.protocol is Protocol.DLMS)


@pytest.mark.parametrize(
    ("key", "obis", "table", "address", "unit"),
    [
        # Eastron, SDM120-Modbus protocol V2.4: 30073 and 30075; SDM630-Modbus V2 manual: 30001, 30005, 30077, 30053.
        ("eastron_sdm120", "1.0.1.8.0", "input", 30073 - 30001, "kWh"),
        ("eastron_sdm120", "1.0.2.8.0", "input", 30075 - 30001, "kWh"),
        ("eastron_sdm630", "1.0.32.7.0", "input", 30001 - 30001, "V"),
        ("eastron_sdm630", "1.0.72.7.0", "input", 30005 - 30001, "V"),
        ("eastron_sdm630", "1.0.3.8.0", "input", 30077 - 30001, "kvarh"),
        ("eastron_sdm630", "1.0.16.7.0", "input", 30053 - 30001, "W"),
        # Schneider Electric, DOCA0005EN: registers counted from 1.
        ("schneider_iem3155", "1.0.1.8.0", "holding", 3204 - 1, "Wh"),
        ("schneider_iem3155", "1.0.1.8.1", "holding", 4196 - 1, "Wh"),
        ("schneider_iem3155", "1.0.1.8.4", "holding", 4208 - 1, "Wh"),
        ("schneider_iem3155", "1.0.16.7.0", "holding", 3060 - 1, "kW"),
    ],
)
def test_registers_lie_where_the_vendors_say(key: str, obis: str, table: str, address: int, unit: str) -> None:
    measurement = load_model(key).measurement(Obis.parse(obis))
    assert measurement is not None
    assert isinstance(measurement.at, ModbusRegister)
    assert (measurement.at.table, measurement.at.address, measurement.unit) == (table, address, unit)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known models: abb_b21, "):
        load_model("eastron_sdm999")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "kWh"', 'unit = "kWh"\nadress = 1', "unknown key; did you mean 'address'"),
        ('unit = "kWh"', 'unit = "V"', "can't be turned into Wh"),
        ("address = 72", "address = 65535", "beyond the last register"),
        ("address = 72", "address = 65536", "expected 0 to 65535"),
        ('type = "float32"', 'type = "bcd"', "expected one of int16"),
        ('obis = "1.0.1.8.0"', 'obis = "1.0.0.2.0"', "no base unit"),
        ('unit = "kWh"', 'unit = "kWh"\nscale = "0"', "expected a positive number"),
        ('unit = "kWh"', 'unit = "kWh"\nscale = "nan"', "expected a positive number"),
        ("version = 1", "version = 1\nregisters_per_read_max = 126", "expected 4 to 125"),
        ('certainty = "constructed"', 'certainty = "a friend"', "expected one of vendor document"),
        ("[serial]", "[serial]\nbits = 7", "unknown key"),
        ("[measurements.import_active]", "[[measurements]]", "expected a table"),
    ],
)
def test_a_model_that_is_wrong_is_refused_naming_the_key(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_model(GOOD.replace(old, new, 1), "a_meter")


def test_a_channel_has_one_source() -> None:
    double = GOOD + GOOD[GOOD.index("[measurements") :].replace("import_active", "again")
    with pytest.raises(UsageError, match="two measurements have one OBIS code"):
        parse_model(double, "a_meter")
