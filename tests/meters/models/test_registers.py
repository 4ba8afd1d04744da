"""Registers lie where the sources say, in the sources' own notation: a second reading against slips of the pen.

Energies first, as they are billed; then one value of each kind with its scale.
"""

import pytest

from protocols.meters.catalogue import load_model
from protocols.meters.model import ModbusRegister

INPUTS, EASTRON = 300_001, 30_001  # what lists that count from 300001 or 30001 mean by their first register
FROM_ONE = 1  # Schneider Electric counts from 1
FINDER = 30_000  # "the memory reference for input registers is 30000"
SUNSPEC_MODEL = 40_002 + 2 + 65  # behind "SunS" and the common model with its header
SUNSPEC_METER = SUNSPEC_MODEL + 2 + 50 + 2 + 65  # behind the inverter's model and the meter's common model


REGISTERS = [
    # Eastron, SDM630 V1.8 page 3 and SDM230 V1.2 pages 2 and 3.
    ("eastron_sdm630", "import_active", "input", 30073 - EASTRON, "float32", "1", "kWh"),
    ("eastron_sdm630", "export_active", "input", 30075 - EASTRON, "float32", "1", "kWh"),
    ("eastron_sdm630", "export_reactive", "input", 30079 - EASTRON, "float32", "1", "kvarh"),
    ("eastron_sdm630", "frequency", "input", 30071 - EASTRON, "float32", "1", "Hz"),
    ("eastron_sdm230", "import_active", "input", 30073 - EASTRON, "float32", "1", "kWh"),
    ("eastron_sdm230", "import_reactive", "input", 30077 - EASTRON, "float32", "1", "kvarh"),
    ("eastron_sdm230", "active_power", "input", 30013 - EASTRON, "float32", "1", "W"),
    ("eastron_sdm220", "current_l1", "input", 30007 - EASTRON, "float32", "1", "A"),
    # Tinkerforge/esp32-firmware, sdm72dm_defs.cpp: registers 53, 73 and 75, counted from 1.
    ("eastron_sdm72d", "active_power", "input", 53 - 1, "float32", "1", "W"),
    ("eastron_sdm72d", "import_active", "input", 73 - 1, "float32", "1", "kWh"),
    ("eastron_sdm72d_v2", "export_active", "input", 75 - 1, "float32", "1", "kWh"),
    # Schneider Electric: registers 3204 …, 3000, 3028, 3060, 3110 of the PM2xxx and PM51xx lists.
    ("schneider_pm5110", "import_active", "holding", 3204 - FROM_ONE, "int64", "1", "Wh"),
    ("schneider_pm5110", "export_active", "holding", 3208 - FROM_ONE, "int64", "1", "Wh"),
    ("schneider_pm5110", "current_l3", "holding", 3004 - FROM_ONE, "float32", "1", "A"),
    ("schneider_pm2200", "import_active", "holding", 3204 - FROM_ONE, "int64", "1", "Wh"),
    ("schneider_pm2200", "active_power", "holding", 3060 - FROM_ONE, "float32", "1", "kW"),
    ("schneider_iem3255", "import_active_rate_4", "holding", 4208 - FROM_ONE, "int64", "1", "Wh"),
    ("schneider_iem3255", "voltage_l2", "holding", 3030 - FROM_ONE, "float32", "1", "V"),
    # victronenergy/dbus-modbus-client, abb.py: base, divisor.
    ("abb_b21", "import_active", "holding", 0x5000, "uint64", "0.01", "kWh"),
    ("abb_b23", "export_active", "holding", 0x5004, "uint64", "0.01", "kWh"),
    ("abb_b23", "voltage_l3", "holding", 0x5B04, "uint32", "0.1", "V"),
    ("abb_b24", "current_l2", "holding", 0x5B0E, "uint32", "0.01", "A"),
    ("abb_b24", "active_power", "holding", 0x5B14, "int32", "0.01", "W"),
    ("abb_b24", "frequency", "holding", 0x5B2C, "uint16", "0.01", "Hz"),
    # OpenEMS, em300 and em100: 300053, 300079, 300019 …; victronenergy for EM24 E1; Tinkerforge for EM24 DIN.
    ("gavazzi_em340", "import_active", "input", 300053 - INPUTS, "int32", "0.1", "kWh"),
    ("gavazzi_em340", "export_active", "input", 300079 - INPUTS, "int32", "0.1", "kWh"),
    ("gavazzi_em340", "active_power", "input", 300041 - INPUTS, "int32", "0.1", "W"),
    ("gavazzi_em340", "current_l2", "input", 300015 - INPUTS, "int32", "0.001", "A"),
    ("gavazzi_em111", "import_active", "input", 300017 - INPUTS, "int32", "0.1", "kWh"),
    ("gavazzi_em111", "export_active", "input", 300033 - INPUTS, "int32", "0.1", "kWh"),
    ("gavazzi_em111", "frequency", "input", 300016 - INPUTS, "uint16", "0.1", "Hz"),
    ("gavazzi_em24_e1", "import_active", "input", 0x0034, "int32", "0.1", "kWh"),
    ("gavazzi_em24_e1", "export_active", "input", 0x004E, "int32", "0.1", "kWh"),
    ("gavazzi_em24_din", "import_active", "input", 62, "int32", "0.1", "kWh"),
    ("gavazzi_em24_din", "export_active", "input", 92, "int32", "0.1", "kWh"),
    # OpenEMS, umg96rme.
    ("janitza_umg96", "import_active", "holding", 19068, "float32", "1", "Wh"),
    ("janitza_umg96", "export_active", "holding", 19076, "float32", "1", "Wh"),
    # Socomec: 50520 V/100, 50526 Hz/1000, 50528 A/1000 (header for E13); OpenEMS 0xC702, 0xC708.
    ("socomec_countis_e14", "voltage_l1", "holding", 50520, "uint32", "0.01", "V"),
    ("socomec_countis_e14", "frequency", "holding", 50526, "uint32", "0.001", "Hz"),
    ("socomec_countis_e14", "current_l1", "holding", 50528, "uint32", "0.001", "A"),
    ("socomec_countis_e24", "import_active", "holding", 0xC702, "uint32", "0.01", "kWh"),
    ("socomec_countis_e44", "export_active", "holding", 0xC708, "uint32", "0.01", "kWh"),
    ("socomec_countis_e44", "active_power", "holding", 0xC568, "int32", "10", "W"),
    # volkszaehler/mbmd for DTSU666; OpenEMS and Tasmota for DDSU666.
    ("chint_dtsu666", "import_active", "holding", 0x101E, "float32", "1", "kWh"),
    ("chint_dtsu666", "export_active", "holding", 0x1028, "float32", "1", "kWh"),
    ("chint_dtsu666", "voltage_l1", "holding", 0x2006, "float32", "0.1", "V"),
    ("chint_ddsu666", "import_active", "holding", 0x4000, "float32", "1", "kWh"),
    ("chint_ddsu666", "active_power", "holding", 0x2004, "float32", "1", "kW"),
    # Acrel, ADL3000-E manual, 9.1; public readers: 97, 100, 362.
    ("acrel_adl400", "import_active", "holding", 0x000A, "uint32", "0.01", "kWh"),
    ("acrel_adl400", "export_active", "holding", 0x0014, "uint32", "0.01", "kWh"),
    ("acrel_adl400", "active_power", "holding", 362, "int32", "1", "W"),
    ("acrel_dtsd1352", "current_l1", "holding", 100, "uint16", "0.01", "A"),
    ("acrel_dtsd1352", "voltage_l3", "holding", 97 + 2, "uint16", "0.1", "V"),
    # Siemens: offsets of the manual.
    ("siemens_pac2200", "import_active", "holding", 801, "float64", "1", "Wh"),
    ("siemens_pac2200", "export_reactive", "holding", 825, "float64", "1", "varh"),
    ("siemens_pac3200", "active_power", "holding", 65, "float32", "1", "W"),
    # Finder, Modbus 7M24 – 7M38 v2, pages 9, 10 and 32 to 34.
    ("finder_7m24", "import_active", "input", 32752 - FINDER, "float32", "1", "Wh"),
    ("finder_7m24", "active_power", "input", 32536 - FINDER, "float32", "1", "W"),
    ("finder_7m38", "export_active", "input", 32756 - FINDER, "float32", "1", "Wh"),
    # groupsky/ya-modbus, driver-or-we-516: relative to 0x0100; a second reader of OR-WE-514: 40960, gain 100.
    ("orno_we516", "import_active", "holding", 0x0100 + 8, "float32", "1", "kWh"),
    ("orno_we517", "export_active", "holding", 0x0100 + 16, "float32", "1", "kWh"),
    ("orno_we514", "total_active", "holding", 40960, "uint32", "0.01", "kWh"),
    ("orno_we515", "current_l1", "holding", 313, "int32", "0.001", "A"),
    # nymea/nymea-plugins-modbus, pro380-registers.json.
    ("inepro_pro380", "import_active", "holding", 24588, "float32", "1", "kWh"),
    ("inepro_pro380", "export_active", "holding", 24600, "float32", "1", "kWh"),
    # SunSpec: offsets in the models.
    ("sunspec_inverter", "export_active", "holding", SUNSPEC_MODEL + 24, "uint32", "1", "Wh"),
    ("sunspec_inverter_float", "export_active", "holding", SUNSPEC_MODEL + 32, "float32", "1", "Wh"),
    ("sunspec_meter", "import_active", "holding", SUNSPEC_METER + 46, "uint32", "1", "Wh"),
    ("sunspec_meter", "export_active", "holding", SUNSPEC_METER + 38, "uint32", "1", "Wh"),
]


@pytest.mark.parametrize("row", REGISTERS, ids=[f"{row[0]}-{row[1]}" for row in REGISTERS])
def test_a_register_lies_where_its_source_says(row: tuple[str, str, str, int, str, str, str]) -> None:
    key, name, *place = row
    found = next(each for each in load_model(key).measurements if each.key == name)
    assert isinstance(found.at, ModbusRegister)
    assert [found.at.table, found.at.address, found.at.type.value[0], str(found.at.scale), found.unit] == place


def test_only_carlo_gavazzi_sends_the_low_register_first() -> None:
    makers = {
        key.partition("_")[0]
        for key in ("abb_b23", "acrel_adl400", "gavazzi_em340", "gavazzi_em24_din", "gavazzi_em24_e1", "gavazzi_em111",
                    "siemens_pac2200", "chint_dtsu666", "socomec_countis_e24", "orno_we514")
        for each in load_model(key).measurements
        if isinstance(each.at, ModbusRegister) and each.at.word_order == "little" and each.at.type.registers > 1
    }  # fmt: skip
    assert makers == {"gavazzi"}


def test_sunspec_values_are_read_with_their_powers_of_ten() -> None:
    powers = {
        (key, each.key): each.at.exponent_at
        for key in ("sunspec_inverter", "sunspec_meter")
        for each in load_model(key).measurements
        if isinstance(each.at, ModbusRegister)
    }
    assert powers["sunspec_inverter", "export_active"] == SUNSPEC_MODEL + 26
    assert powers["sunspec_inverter", "voltage_l3"] == SUNSPEC_MODEL + 13
    assert powers["sunspec_inverter", "current_l1"] == SUNSPEC_MODEL + 6
    assert powers["sunspec_meter", "import_active"] == powers["sunspec_meter", "export_active"] == SUNSPEC_METER + 54
    assert powers["sunspec_meter", "voltage_l1"] == SUNSPEC_METER + 15
    assert None not in powers.values()
