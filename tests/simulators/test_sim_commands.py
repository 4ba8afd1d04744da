"""``congto sim`` as processes: what they print, what answers, and that nothing is left when they end."""

import json
import shlex
import signal
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient

from deploy.cli import build_parser, main
from simulators.meter_commands import parse_units
from simulators.village import load_village

pytestmark = pytest.mark.integration
DEADLINE_S = 20


@contextmanager
def sim(*words):
    """Run ``congto sim`` until it has said its first line; end it as a user would and see that it ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "sim", *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_village_answers_on_all_its_buses_and_leaves_nothing_behind(tmp_path):
    village = load_village(None, starts_on=date(2026, 9, 1))
    directory = tmp_path / "v"
    with sim("village", "--directory", directory, "--unpaced", "--from", "2026-09-01") as line:
        assert line.startswith(f"village ready: {len(village.meters)} meters on 4 buses")
        world = json.loads((directory / "world.json").read_text())
        assert world["from"] == "2026-09-01"
        with socket.socket(socket.AF_UNIX) as clock:
            clock.connect(str(directory / "world.sock"))
            clock.sendall(b'{"observe": true}\n')
            assert json.loads(clock.makefile().readline()) == {"now": village.starts_at_ms}
        port = world["buses"]["rs485-1"]["port"]
        client = ModbusSerialClient(port, baudrate=9600, timeout=5)
        assert client.connect()
        registers = client.read_input_registers(0x48, count=2, device_id=1).registers
        client.close()
        shown = round(struct.unpack(">f", struct.pack(">2H", *registers))[0] * 1000)
        assert shown == village.meters[0].true_wh("1.0.1.8.0", village.starts_at_ms)
        assert main(["sim", "village", "--directory", str(directory)]) == 2
    assert list((directory / "lines").iterdir()) == []
    assert sorted(each.name for each in directory.iterdir()) == ["lines"]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("modbus", "--units", "1-3,7"), "port"),
        (("dlms", "--units", "17", "--baud", "9600"), "port"),
        (("modbus-tcp", "--model", "schneider_iem3155"), "tcp"),
        (("dlms", "--tcp", "--model", "dlms_three_phase"), "tcp"),
    ],
)
def test_meters_can_be_started_singly_and_stopped_by_a_signal(tmp_path, words, place):
    link = tmp_path / "line"
    more = [] if place == "tcp" else ["--port-link", link]
    with sim(*words, *more) as line:
        said = json.loads(line)
        assert said["units"]
        if place == "tcp":
            host, port = said["tcp"].split(":")
            socket.create_connection((host, int(port)), DEADLINE_S).close()
        else:
            assert link.is_char_device()
    assert not link.is_symlink()


def test_truth_is_printed_for_people_and_programs(capsys):
    words = ["sim", "truth", "--from", "2026-09-01", "--at", "2026-09-30T17:00:00Z"]
    assert main([*words, "--json"]) == 0
    truth = json.loads(capsys.readouterr().out)
    meter = load_village(None, starts_on=date(2026, 9, 1)).meters[20]
    assert truth[meter.name]["1.0.3.8.0"] == meter.true_wh("1.0.3.8.0", 1_790_787_600_000)
    assert main(words) == 0
    assert "varh" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["modbus", "--port-link", "x", "--units", "5-1"],
        ["modbus", "--port-link", "x", "--units", "one"],
        ["modbus", "--port-link", "x", "--size", "0"],
        ["modbus", "--port-link", "x", "--baud", "1"],
        ["modbus", "--port-link", "x", "--model", "dlms_residential"],
        ["modbus", "--port-link", "x", "--units", "248"],
        ["modbus-tcp", "--port", "70000"],
        ["dlms", "--tcp", "--model", "eastron_sdm120"],
        ["village", "--directory", "x", "--seed", "-1"],
        ["village", "--directory", "x", "--config", "none.toml"],
        ["truth", "--at", "2026-09-30T17:00:00Z", "--seed", "-1"],
    ],
)
def test_what_cannot_be_done_is_refused_with_status_2_and_nothing_is_left(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sim", *words]) == 2
    assert "congto: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said_with_status_3(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["sim", "modbus-tcp", "--port", str(port)]) == 3
    assert "can't listen" in capsys.readouterr().err


def test_a_time_without_a_zone_is_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["sim", "truth", "--at", "2026-09-30T17:00:00"])
    assert refused.value.code == 2
    assert "without time zone" in capsys.readouterr().err


def test_units_are_written_as_ranges():
    assert parse_units("1-3,9") == [1, 2, 3, 9]


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "simulators.md"


@pytest.mark.parametrize("line", [line for line in GUIDE.read_text().splitlines() if line.startswith("congto sim ")])
def test_the_guides_commands_are_understood(line):
    arguments = build_parser(["sim"]).parse_args(shlex.split(line)[1:])
    assert arguments.command == "sim"
