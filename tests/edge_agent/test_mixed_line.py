"""One pair of wires with meters of three protocols, each at its own speed, all read by the agent."""

import asyncio
from pathlib import Path

import pytest

from deploy.cli import main
from edge_agent.config import parse_config
from edge_agent.lines import open_line
from edge_agent.meter import Answer
from protocols.meters.model import Group
from simulators.dlms.hdlc_line import HdlcMeters
from simulators.dlms.meter import DlmsMeter
from simulators.iec62056_21.meters import open_meters
from simulators.modbus.rtu import RtuSlaves
from simulators.modbus.slave import ModbusSlave
from simulators.serial_line import LineSettings
from simulators.shared_line import SharedLine
from tests.simulators.meters import NOW, meter

SECRET = "12345678"
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1"
[[bus]]
id = "wires"
port = "{port}"
paced = {paced}
baud = 9600
parity = "N"
reply_timeout = "1s"
[[bus.meter]]
id = "modbus-fast"
model = "eastron_sdm120"
address = 1
baud = 19200
[[bus.meter]]
id = "modbus-slow"
model = "eastron_sdm120"
address = 2
baud = 2400
[[bus.meter]]
id = "dlms"
model = "dlms_residential"
address = 17
baud = 9600
secret_env = "SECRET"
[[bus.meter]]
id = "iec"  # of 7E1, whatever the bus says
model = "iec_residential"
address = "42"
"""


async def read_all(directory: Path, *, paced: bool) -> dict[str, list[Answer]]:
    """Read each meter twice, in turn, so that the port is set anew before every question."""
    line = SharedLine(directory / "line", lambda: NOW, 0.0, paced=paced)
    fast, slow = meter(), meter(address=2)
    for device, baud in ((fast, 19200), (slow, 2400)):
        RtuSlaves(line.tap(LineSettings(baud, "N", 1, paced=paced)), [ModbusSlave(device)], lambda: NOW)
    hdlc = DlmsMeter(meter("dlms_residential", 17), SECRET.encode())
    HdlcMeters(line.tap(LineSettings(9600, "N", 1, paced=paced)), [hdlc], lambda: NOW)
    characters = [meter("iec_residential", 42)]
    open_meters(line, characters, lambda: NOW, baud_max=9600, password="", secret=b"", hdlc=False, turnaround_s=0.02)
    text = CONFIG.format(port=directory / "line", paced=str(paced).lower())
    (bus,) = parse_config(text, "agent.toml", directory, {"SECRET": SECRET}).buses
    opened = await open_line(bus, directory / "counters")
    try:
        answers: dict[str, list[Answer]] = {}
        for _ in range(2):
            for name, each in opened.meters.items():
                answers.setdefault(name, []).append(await each.read(frozenset({Group.BILLING}), probe=False))
        return answers
    finally:
        opened.close()
        line.close()


@pytest.mark.parametrize("paced", [False, pytest.param(True, marks=pytest.mark.integration)])
def test_meters_of_three_protocols_and_speeds_share_one_pair_of_wires(tmp_path: Path, *, paced: bool) -> None:
    answers = asyncio.run(read_all(tmp_path, paced=paced))
    assert set(answers) == {"modbus-fast", "modbus-slow", "dlms", "iec"}
    devices = {
        "modbus-fast": meter(),
        "modbus-slow": meter(address=2),
        "dlms": meter("dlms_residential", 17),
        "iec": meter("iec_residential", 42),
    }
    for name, (first, second) in answers.items():
        assert first.failure is None, (name, first.failure)
        assert first.values == second.values
        for measurement, value in first.values:
            true = devices[name].value(measurement.obis, NOW)
            assert abs(value - true) <= (0 if name == "dlms" else 1000), name
        assert len(first.values) == 2


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("eastron_sdm120", "expected MODEL@UNITS"),
        ("eastron_sdm120@1:12345", "expected a usual speed"),
        ("iec_residential@42:115200", "for IEC 62056-21 at most 19200"),
        ("nothing@1", "meter model 'nothing': unknown"),
    ],
)
def test_what_is_no_group_of_meters_is_refused(
    argument: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", "mixed", "--port-link", str(tmp_path / "line"), "--meter", argument]) == 2
    assert words in capsys.readouterr().err
