"""``congto model``, as a user calls it."""

import json
from pathlib import Path

import pytest

from deploy.cli import main
from edge_agent.config import parse_config
from edge_agent.model_tool.check import examine
from protocols.errors import UsageError
from protocols.meters.catalogue import load_model, model_keys
from protocols.meters.model import parse_model

AGENT = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[models]
directory = "own"
[[bus]]
id = "b"
tcp = "127.0.0.1:5020"
[[bus.meter]]
id = "M-1"
model = "maker_type"
address = 1
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A directory with one model of one's own."""
    directory = tmp_path / "own"
    directory.mkdir()
    assert main(["model", "new", "maker_type", "--models", str(directory)]) == 0
    return directory


def test_a_list_has_every_model_once_with_how_sure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["key"] for row in rows] == list(model_keys())
    assert len(rows) >= 40
    assert {row["certainty"] for row in rows} == {"vendor document", "public sources", "constructed"}
    assert main(["model", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(rows[0])
    assert len(lines) == len(rows) + 1


@pytest.mark.parametrize("key", model_keys())
def test_show_names_every_measurement_and_its_place(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", key]) == 0
    shown = capsys.readouterr().out
    model = load_model(key)
    assert model.source in shown
    assert all(note in shown for note in model.notes)
    assert all(f"{each.key} " in shown and str(each.obis) in shown for each in model.measurements)


def test_show_says_which_keys_a_dlms_meter_needs_and_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", "dlms_secured"]) == 0
    shown = capsys.readouterr().out
    assert "entered as client 1, high-gmac, authenticated and encrypted by suite 0; needs an encryption and" in shown
    assert "load profile 1.0.99.1.0 each 30 min" in shown
    assert "relay 0.0.96.3.10" in shown
    assert "event logs: standard 0.0.99.98.0" in shown
    assert main(["model", "show", "dlms_residential"]) == 0
    assert "low; needs a secret (secret_env, secret_file or" in capsys.readouterr().out


def test_no_built_in_model_has_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "test", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("protocol", "frames"), [("modbus", 1), ("dlms", 1), ("iec62056_21", 0)])
def test_a_new_model_holds_as_it_is_written_and_is_told_to_be_filled_in(
    protocol: str, frames: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["model", "new", "a1", "--protocol", protocol, "--models", str(tmp_path)]) == 0
    assert main(["model", "test", str(tmp_path / "a1.toml")]) == 0
    shown = capsys.readouterr().out
    assert f"a1: {frames} frames, 0 faults" in shown
    assert "name, source, notes: as congto model new wrote it" in shown
    assert "the table is constructed" in shown
    assert main(["model", "new", "a1", "--models", str(tmp_path)]) == 2  # never over a file that is there
    assert "is there already" in capsys.readouterr().err


SKELETON_CHANGES = [
    ("values = { import_active = 1_234_500 }", "values = { import_active = 1 }", "found 1234500; expected 1"),
    ("values = { import_active = 1_234_500 }", 'missing = ["import_active"]', "found 1234500; expected no value"),
    ("values = { import_active = 1_234_500 }", "values = { voltage_l1 = 1 }", "its registers are not in the reply"),
    ("f3 5b", "f3 5c", "checksum f35c: expected f35b"),
    ("f1 dd", "f1 de", "the checksum should be f1 dd"),
    ('request = "01 04', 'request = "01 06', "expected 8 octets with function 3 or 4"),
    ("44 9a 50 00 f3 5b", "44 9a 50", "expected 4 octets of registers"),
    ('type = "float32"               # int16', 'type = "uint16"  # int16', "16 bits begin again too often"),
    ("address = 0x0000", "address = 0x0049", "share the input register 0x0049"),
    ('obis = "1.0.1.8.0"             # IEC', 'obis = "1.0.1.8.0"\ngroup = "instantaneous" # IEC', "nothing to bill"),
]


@pytest.mark.parametrize(("old", "new", "fault"), SKELETON_CHANGES)
def test_what_is_wrong_is_told(old: str, new: str, fault: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "maker_type.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert main(["model", "test", "maker_type", "--models", str(own)]) == 1
    assert fault in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("values = { import_active = 12_345_678 }", "values = { import_active = 1 }", "found 12345678; expected 1"),
        ("c4 01 c1 00", "c4 01 c2 00", "another invoke-id"),
        ("c4 01 c1 00 06", "c4 01 c1 01 06", "holds no data"),
        ("c0 01 c1 00 03", "c0 01 c1 00 04", "asks for another attribute"),
        ("c4 01", "c4 02", "of the choice normal"),
        (
            "with_list = true ",
            "with_list = true\nquirks = { nul_is_missing = true } ",
            "did you mean 'null_is_missing'",
        ),
    ],
)
def test_what_is_wrong_with_a_dlms_model_is_told(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert main(["model", "new", "a1", "--protocol", "dlms", "--models", str(tmp_path)]) == 0
    text = (tmp_path / "a1.toml").read_text(encoding="utf-8")
    assert old in text
    findings = list(examine(parse_model(text.replace(old, new), "a1")))
    assert any(finding.fault and fault in finding.text for finding in findings), findings


def test_models_of_ones_own_need_no_release(own: Path) -> None:
    assert set(model_keys(own)) == {*model_keys(), "maker_type"}
    assert "maker_type" not in model_keys()
    config = parse_config(AGENT, "agent.toml", own.parent, {})
    assert config.buses[0].meters[0].model.key == "maker_type"


def test_a_model_of_ones_own_takes_the_place_of_a_built_in_one(own: Path) -> None:
    (own / "maker_type.toml").rename(own / "eastron_sdm630.toml")
    assert load_model("eastron_sdm630", own).name == "Maker and type as on the meter's plate"
    assert load_model("eastron_sdm630").name == "Eastron SDM630-Modbus"
    assert load_model("abb_b23", own) is load_model("abb_b23")


def test_a_directory_that_is_none_and_a_name_that_is_no_key_are_refused(own: Path) -> None:
    with pytest.raises(UsageError, match="can't be read as a directory of meter models"):
        model_keys(own / "nothing")
    (own / "Maker Type.toml").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="the name is the model's key"):
        load_model("maker_type", own)
    with pytest.raises(UsageError, match=r"models\.directory: missing"):
        parse_config(AGENT.replace('directory = "own"', "# none"), "agent.toml", own.parent, {})


def test_an_unknown_model_is_refused_with_the_known_ones_of_both_places(own: Path) -> None:
    with pytest.raises(UsageError, match=r"known models: abb_b21, .*maker_type"):
        load_model("maker_typo", own)
