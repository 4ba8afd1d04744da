"""The schema and the loader say the same of the same file."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from edge_agent.model_tool.page import PAGE, render_page
from edge_agent.model_tool.schema import SCHEMA, model_schema, render_schema
from edge_agent.model_tool.skeleton import SKELETONS
from protocols.errors import UsageError
from protocols.meters.catalogue import model_keys
from protocols.meters.model import parse_model
from tests.meters.models.schema_checker import holds

ROOT = Path(__file__).parents[3]
MODBUS = SKELETONS["modbus"].format(key="a")
DLMS = SKELETONS["dlms"].format(key="a")


def loads(text: str) -> bool:
    try:
        parse_model(text, "a")
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("key", model_keys())
def test_every_model_is_as_the_schema_says(key: str) -> None:
    text = (files("protocols.meters") / "models" / f"{key}.toml").read_text(encoding="utf-8")
    assert holds(tomllib.loads(text), model_schema())


@pytest.mark.parametrize(
    ("base", "old", "new", "taken"),
    [
        (MODBUS, "version = 1 ", "version = 0 ", False),
        (MODBUS, "version = 1 ", "version = 9999 ", True),
        (MODBUS, 'protocol = "modbus"', 'protocol = "mbus"', False),
        (MODBUS, 'certainty = "constructed"', 'certainty = "a friend"', False),
        (MODBUS, 'certainty = "constructed"', 'certainty = "public sources"', True),
        (MODBUS, "baud = 9600", "baud = 110", False),
        (MODBUS, 'parity = "N"', 'parity = "M"', False),
        (MODBUS, "stop_bits = 1", "stop_bits = 1\nbits = 7", False),
        (MODBUS, 'table = "input"', 'table = "coil"', False),
        (MODBUS, "address = 0x0048", "address = 65536", False),
        (MODBUS, "address = 0x0048", "adress = 72", False),
        (MODBUS, 'type = "float32"', 'type = "bcd"', False),
        (MODBUS, 'unit = "kWh"', 'unit = "kJ"', False),
        (MODBUS, 'unit = "kWh"', 'unit = "kWh"\nscale = 1', False),
        (MODBUS, 'unit = "V"', 'unit = "V"\nscale = "0.1"\nword_order = "little"\nbyte_order = "little"', True),
        (MODBUS, 'unit = "V"', 'unit = "V"\nbyte_order = "middle"', False),
        (MODBUS, 'unit = "V"', 'unit = "V"\nmissing = "7f ff ff ff"', True),
        (MODBUS, 'unit = "V"', 'unit = "V"\nmissing = "7f f"', False),
        (MODBUS, 'group = "instantaneous"', 'group = "now"', False),
        (MODBUS, 'obis = "1.0.1.8.0"', 'obis = "1.8.0"', False),
        (MODBUS, "between = [80, 300]", "between = [80]", False),
        (MODBUS, "between = [80, 300]", 'between = [80, 300]\nequals = [1]', False),
        (MODBUS, 'measurement = "voltage_l1"\nbetween = [80, 300]', 'table = "holding"\naddress = 1', False),
        (MODBUS, 'origin = "constructed"', 'origin = "guessed"', False),
        (MODBUS, 'origin = "constructed"', 'origin = "captured"\nsource = "my meter"', True),
        (MODBUS, 'request = "01 04', 'request = "1 04', False),
        (MODBUS, "import_active = 1_234_500 }", "import_active = 1.5 }", False),
        (MODBUS, "[serial]", "[counters]\npower_max_w = 0\n[serial]", False),
        (MODBUS, "[serial]", "[counters]\npower_max_w = 12_420\nmonotonic = false\nrollover = 100\n[serial]", True),
        (MODBUS, "[serial]", '[firmware]\nfirst = "1.10"\n[serial]', True),
        (MODBUS, "[serial]", "[firmware]\nfirst = 1.10\n[serial]", False),
        (MODBUS, "notes = [", 'notes = ["", ', False),
        (MODBUS, "notes = [", "registers_per_read_max = 126\nnotes = [", False),
        (DLMS, "client_sap = 1 ", "client_sap = 128 ", False),
        (DLMS, 'mechanism = "low"', 'mechanism = "high-gmac"', True),
        (DLMS, 'mechanism = "low"', 'mechanism = "lowest"', False),
        (DLMS, "with_list = true", "with_list = true\n[dlms.quirks]\nnull_is_missing = true", True),
        (DLMS, 'interval = "15m"', 'interval = "15 minutes"', False),
        (DLMS, 'starts_with = "XYZ"', "equals = [7]", True),
        (DLMS, 'starts_with = "XYZ"', "", False),
        (DLMS, "class = 3 ", "class = 0 ", False),
        (DLMS, 'unit = "Wh"', 'unit = "Wh"\naddress = 1', False),
    ],
)  # fmt: skip
def test_schema_and_loader_agree(base: str, old: str, new: str, taken: bool) -> None:
    changed = base.replace(old, new, 1)
    assert changed != base
    assert loads(base)
    assert holds(tomllib.loads(base), model_schema())
    assert loads(changed) is taken
    assert holds(tomllib.loads(changed), model_schema()) is taken


def test_what_only_the_loader_knows_the_schema_lets_pass() -> None:
    for old, new in (
        ('unit = "kWh"', 'unit = "V"'),
        ("address = 0x0048", "address = 65535"),
        ('obis = "1.0.32.7.0"', 'obis = "1.0.1.8.0"'),
        ("between = [80, 300]", "between = [300, 80]"),
        ('measurement = "voltage_l1"', 'measurement = "voltage_l9"'),
        ("import_active = 1_234_500 }", "imported = 1_234_500 }"),
    ):
        changed = MODBUS.replace(old, new, 1)
        assert not loads(changed), new
        assert holds(tomllib.loads(changed), model_schema()), new


def test_the_files_of_page_and_schema_are_what_the_code_writes() -> None:
    cure = "run: python -m edge_agent.model_tool.page"
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == render_schema(), cure
    assert (ROOT / PAGE).read_text(encoding="utf-8") == render_page(), cure
    assert json.loads(render_schema())["oneOf"][0]["properties"]["protocol"] == {"const": "modbus"}
