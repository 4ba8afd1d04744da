"""A day of a small village, through every kind of line: what is taken is what the meters have counted, to the Wh.

The world's clock leads (docs/contracts/world.md), so a day takes seconds; the broker's port is closed, so the readings
are found in the spool. One serial line is bad on purpose.
"""

import json
import socket
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge_agent.spool import Spool
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.readings import decode_readings
from simulators.village import Village, parse_village
from tests.edge_agent.processes import DEADLINE_S, Program

pytestmark = pytest.mark.integration

STARTS_ON = date(2026, 3, 1)
MIDNIGHT_MS = 1_772_298_000_000  # that day's beginning in Vietnam, 2026-02-28T17:00:00Z
HALF_HOUR_MS = 1_800_000
DAY_MS = 48 * HALF_HOUR_MS
BUSES = {
    "rtu-bad": (
        "modbus_rtu",
        "baud = 9600\nfaults = { drop = 20, corrupt = 20, truncate = 20, delay = 20, pause_ms = 30 }",
    ),
    "rtu-holes": ("modbus_rtu", 'baud = 19200\nparity = "E"\nholes = "refuse"'),
    "tcp": ("modbus_tcp", ""),
    "hdlc": ("dlms_hdlc", "baud = 9600"),
    "wrapper": ("dlms_tcp", ""),
}
METERS = [
    ("M-01", "rtu-bad", "eastron_sdm120", 1, ""),
    ("M-02", "rtu-bad", "eastron_sdm630", 2, ""),
    ("M-03", "rtu-holes", "schneider_iem3155", 1, ""),
    ("M-04", "tcp", "eastron_sdm630", 1, ""),
    ("M-05", "hdlc", "dlms_residential", 17, ""),
    ("M-06", "hdlc", "dlms_three_phase", 200, 'silent = [{ from = "1 06:00", to = "1 18:00" }]'),
    ("M-07", "wrapper", "dlms_residential", 3, 'silent = [{ from = "1 02:00", to = "1 09:00" }]'),
]


def village_text() -> str:
    text = 'name = "Test"\nseed = 7\n'
    for bus, (kind, more) in BUSES.items():
        text += f'[[bus]]\nid = "{bus}"\ngateway = "gw-t"\nkind = "{kind}"\n{more}\n'
    for name, bus, model, address, more in METERS:
        text += f'[[meter]]\nid = "{name}"\nbus = "{bus}"\nmodel = "{model}"\naddress = {address}\n'
        text += f'kind = "household"\nsize_kwh = 300\nplace = "hanoi"\n{more}\n'
    return text


def agent_text(described: dict[str, Any], broker: str) -> str:
    text = f'[gateway]\nid = "gw-t"\nspool = "spool.sqlite"\n[broker]\nurl = "{broker}"\n'
    text += '[clock]\nworld = "world/world.sock"\n'
    for bus, (kind, more) in BUSES.items():
        place = described["buses"][bus]
        text += f'[[bus]]\nid = "{bus}"\nreply_timeout = "{"20ms" if "faults" in more else "200ms"}"\n'
        text += (
            f'tcp = "{place["tcp"]}"\n' if "tcp" in place else f'port = "{place["port"]}"\npaced = false\nbaud = 9600\n'
        )
        for name, its_bus, model, address, _ in METERS:
            if its_bus == bus:
                secret = f'secret_env = "SECRET_{name[2:]}"\n' if kind.startswith("dlms") else ""
                text += f'[[bus.meter]]\nid = "{name}"\nmodel = "{model}"\naddress = {address}\n{secret}'
                text += 'every = "30m"\ninstantaneous_every = "1h"\n'
    return text


def let_pass(world: Path, until_ms: int) -> None:
    """Let the world's time pass until ``until_ms``, when all buses have joined."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(world))
        command = {"command": "start", "until": until_ms, "participants": len(BUSES)}
        connection.sendall(json.dumps(command).encode() + b"\n")
        with connection.makefile() as lines:
            assert "done" in json.loads(lines.readline())


@pytest.fixture(scope="module")
def village() -> Village:
    return parse_village(village_text(), "village.toml", starts_on=STARTS_ON)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, village: Village) -> tuple[list[Reading], str]:
    """Return the readings of one day, and what the agent said."""
    directory = tmp_path_factory.mktemp("v")
    (directory / "village.toml").write_text(village_text())
    words = ["--config", str(directory / "village.toml"), "--directory", str(directory / "world")]
    world = Program("sim", "village", *words, "--from", STARTS_ON.isoformat(), "--unpaced")
    try:
        world.wait_for("village ready")
        described = json.loads((directory / "world" / "world.json").read_text())
        with socket.socket() as closed:  # bound and not listening: connections are refused for as long as it is held
            closed.bind(("127.0.0.1", 0))
            broker = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
            (directory / "agent.toml").write_text(agent_text(described, broker))
            secrets = {f"SECRET_{meter.name[2:]}": meter.secret for meter in village.meters if meter.secret}
            agent = Program("agent", "run", "--config", str(directory / "agent.toml"), environment=secrets)
            try:
                let_pass(directory / "world" / "world.sock", MIDNIGHT_MS + DAY_MS)
                status, said = agent.end()
                assert status == 0, said
            finally:
                agent.clear()
    finally:
        world.clear()
    spool = Spool(directory / "spool.sqlite", "gw-t", 1 << 30)
    batches = [decode_readings(payload) for _, payload in spool.waiting(0, spool.last_key(), 10_000)]
    spool.close()
    return [reading for batch in batches for reading in batch.readings()], said


def slots_of(readings: list[Reading], meter: str) -> list[int]:
    """Return the times of a meter's imported energy, as half hours since midnight."""
    found = [each.measured_at_ms for each in readings if (each.meter, each.obis) == (meter, "1.0.1.8.0")]
    assert all((at_ms - MIDNIGHT_MS) % HALF_HOUR_MS == 0 for at_ms in found)
    return sorted((at_ms - MIDNIGHT_MS) // HALF_HOUR_MS for at_ms in found)


def test_every_register_read_is_the_meters_own_to_the_wh(taken: tuple[list[Reading], str], village: Village) -> None:
    """On the bad line, too: there readings may be missing, never wrong."""
    readings, _ = taken
    meters = {meter.name: meter for meter in village.meters}
    energies = [each for each in readings if ".8." in each.obis]
    assert len(energies) > 1300
    assert [each for each in energies if meters[each.meter].true_wh(each.obis, each.measured_at_ms) != each.value] == []


@pytest.mark.parametrize("meter", ["M-03", "M-04", "M-05"])
def test_on_good_lines_no_slot_is_missing(meter: str, taken: tuple[list[Reading], str]) -> None:
    assert slots_of(taken[0], meter) == list(range(49))


@pytest.mark.parametrize("meter", ["M-01", "M-02"])
def test_on_a_bad_line_most_slots_are_there_and_none_twice(meter: str, taken: tuple[list[Reading], str]) -> None:
    slots = slots_of(taken[0], meter)
    assert len(set(slots)) == len(slots) > 35


@pytest.mark.parametrize(("meter", "first", "last"), [("M-06", 12, 35), ("M-07", 4, 17)])
def test_a_silent_meters_load_profile_fills_its_hole(
    meter: str, first: int, last: int, taken: tuple[list[Reading], str]
) -> None:
    readings, said = taken
    assert slots_of(readings, meter) == list(range(49))
    healed = {each.measured_at_ms for each in readings if each.meter == meter and each.quality == Quality.PROFILE}
    assert healed == {MIDNIGHT_MS + slot * HALF_HOUR_MS for slot in range(first, last + 1)}
    assert said.count("meter.not_read") - said.count("bus=rtu-bad meter=") <= 2


def test_instantaneous_values_are_read_at_their_own_interval(taken: tuple[list[Reading], str]) -> None:
    voltages = [each for each in taken[0] if (each.meter, each.obis) == ("M-05", "1.0.32.7.0")]
    assert [each.measured_at_ms for each in voltages] == [MIDNIGHT_MS + hour * 2 * HALF_HOUR_MS for hour in range(25)]
    assert all(180_000 < each.value < 280_000 for each in voltages)


def test_a_meter_that_refuses_holes_is_read_in_parts(taken: tuple[list[Reading], str]) -> None:
    """Its voltages and currents would be cheaper in one question; the first refusal divides it for good."""
    channels = {each.obis for each in taken[0] if each.meter == "M-03"}
    assert {"1.0.31.7.0", "1.0.72.7.0", "1.0.14.7.0", "1.0.1.8.4", "1.0.4.8.0"} <= channels
    assert "meter.refused" not in taken[1]
