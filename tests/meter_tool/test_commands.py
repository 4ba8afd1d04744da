"""`congto meter` as a user calls it, on simulated meters in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.edge_agent.processes import Program

pytestmark = pytest.mark.integration
CALL_S_MAX = 60


def congto(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=CALL_S_MAX, check=False)


@contextmanager
def simulated(*words: str) -> Iterator[dict[str, object]]:
    """Run simulated meters; yield what they announce."""
    program = Program("sim", *words)
    try:
        yield json.loads(program.wait_for(r"^\{"))
    finally:
        program.clear()


def test_a_scan_finds_the_meters_and_its_proposal_is_what_the_agent_takes(tmp_path: Path) -> None:
    port = str(tmp_path / "line")
    with simulated("modbus", "--port-link", port, "--units", "3,7", "--model", "eastron_sdm120", "--baud", "19200"):
        found = congto(
            "meter", "scan", "--serial", port, "--address", "1-8", "--baud", "19200", "--parity", "N", "--within", "4"
        )
    assert found.returncode == 0, found.stderr
    (tmp_path / "agent.toml").write_text(
        '[gateway]\nid = "g"\nspool = "spool.sqlite"\n[broker]\nurl = "mqtt://localhost"\n' + found.stdout,
        encoding="utf-8",
    )
    checked = congto("agent", "check", "--config", str(tmp_path / "agent.toml"))
    assert checked.returncode == 0, checked.stderr
    assert "B1-003" in checked.stdout
    assert "B1-007" in checked.stdout


def test_a_meter_is_read_with_every_octet_explained(tmp_path: Path) -> None:
    port = str(tmp_path / "line")
    with simulated("modbus", "--port-link", port, "--units", "3", "--model", "eastron_sdm120", "--unpaced"):
        words = ("meter", "read", "--serial", port, "--model", "eastron_sdm120", "--address", "3", "--raw")
        shown, told = congto(*words), congto(*words, "--json")
    assert shown.returncode == 0, shown.stderr
    assert "checksum, low octet first" in shown.stdout
    answer = json.loads(told.stdout)
    assert {each["measurement"] for each in answer["values"]} >= {"import_active", "voltage_l1"}
    assert all(each["failure"] is None for each in answer["exchanges"])


def test_a_meter_is_watched_as_often_as_told(tmp_path: Path) -> None:
    port = str(tmp_path / "line")
    with simulated("modbus", "--port-link", port, "--units", "1", "--model", "eastron_sdm120", "--unpaced"):
        words = ("meter", "watch", "--serial", port, "--model", "eastron_sdm120", "--every", "0.1", "--count", "3")
        told = congto(*words, "--only", "voltage_l1", "--json")
    assert told.returncode == 0, told.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [[each["measurement"] for each in line["values"]] for line in lines] == [["voltage_l1"]] * 3


def test_a_meter_that_signs_on_at_300_baud_is_found_too(tmp_path: Path) -> None:
    port = str(tmp_path / "line")
    with simulated("iec62056-21", "--port-link", port, "--units", "1", "--unpaced"):
        words = ("--address", "1-2", "--baud", "19200", "--parity", "N", "--within", "3", "--sign-on", "--json")
        found = congto("meter", "scan", "--serial", port, *words)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["signed_on"]


def test_meters_behind_a_gateway_are_found_and_read() -> None:
    with simulated("modbus-tcp", "--units", "1,2", "--model", "eastron_sdm630") as announced:
        place = str(announced["tcp"])
        found = congto("meter", "scan", "--tcp", place, "--address", "1-2", "--json")
        read = congto("meter", "read", "--tcp", place, "--model", "eastron_sdm630", "--address", "2", "--json")
    assert [each["unit"] for each in json.loads(found.stdout)["meters"]] == [1, 2], found.stderr
    assert all(each["value"] is not None for each in json.loads(read.stdout)["values"])


def test_a_port_that_another_program_has_is_left_alone_and_the_program_named(tmp_path: Path) -> None:
    port = str(tmp_path / "line")
    with simulated("modbus", "--port-link", port, "--units", "1", "--model", "eastron_sdm120", "--unpaced"):
        watching = Program("meter", "watch", "--serial", port, "--model", "eastron_sdm120", "--json")
        try:
            watching.wait_for(r"^\{")
            refused = congto("meter", "read", "--serial", port, "--model", "eastron_sdm120")
        finally:
            watching.clear()
    assert refused.returncode == 3
    assert "meter watch" in refused.stderr
    assert "stop that one first" in refused.stderr


@pytest.mark.parametrize(
    ("words", "status", "cure"),
    [
        (("read", "--serial", "/nowhere", "--model", "eastron_sdm120"), 3, "is the adapter plugged in"),
        (("read", "--serial", "/nowhere", "--model", "eastron_sdm999"), 2, "known models"),
        (("read", "--serial", os.devnull, "--model", "landis_gyr_zmd"), 2, "use `congto iec62056-21 read`"),
        (("read", "--serial", os.devnull, "--model", "dlms_residential"), 2, "use `congto dlms read`"),
        (("read", "--tcp", "nowhere", "--model", "eastron_sdm120"), 2, "HOST:PORT"),
        (
            ("read", "--tcp", "127.0.0.1:1", "--model", "eastron_sdm120"),
            3,
            "congto: 127.0.0.1:1: no connection; is the",
        ),
        (("scan", "--serial", "/nowhere", "--within", "9"), 2, "allow more time"),
        (("scan", "--serial", os.devnull, "--address", "0"), 2, "1 to 247"),
    ],
)
def test_an_error_says_what_to_do(words: tuple[str, ...], status: int, cure: str) -> None:
    refused = congto("meter", *words)
    assert refused.returncode == status
    assert cure in refused.stderr
    assert "pymodbus" not in refused.stderr
    assert "Failed to connect" not in refused.stderr
    assert "Traceback" not in refused.stderr
