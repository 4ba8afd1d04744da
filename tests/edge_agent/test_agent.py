"""The agent as it is run: a real broker, simulated meters on a pseudo-terminal, processes that are killed."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.runtime import lifecycle
from deploy.runtime.lifecycle import Running
from edge_agent.spool import Spool
from protocols.telemetry.reading import Reading, reading_digest
from protocols.telemetry.readings import decode_readings
from tests.edge_agent.processes import Program, Server

pytestmark = pytest.mark.integration

CONFIG = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "{broker}"
reconnect_max = "1s"
resend_after = "1s"
[[bus]]
id = "rs485-1"
port = "line"
paced = false
reply_timeout = "500ms"
"""
METER = """
[[bus.meter]]
id = "M-{address:04}"
model = "eastron_sdm120"
address = {address}
every = "1s"
"""


@pytest.fixture
def gateway() -> str:
    return f"gw-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def config(tmp_path: Path, runtime: Running, gateway: str) -> Path:
    """Write the configuration of a gateway with three meters."""
    path = tmp_path / "agent.toml"
    meters = "".join(METER.format(address=address) for address in (1, 2, 3))
    path.write_text(CONFIG.format(gateway=gateway, broker=runtime.broker_url) + meters)
    return path


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Program]:
    """Start three meters, of which the configuration knows; the line is there when this returns."""
    program = Program("sim", "modbus", "--port-link", str(tmp_path / "line"), "--units", "1-3", "--unpaced")
    program.wait_for("line")
    yield program
    program.clear()


@pytest.fixture
def server(runtime: Running, gateway: str) -> Iterator[Server]:
    found = Server(runtime.broker_url, gateway)
    yield found
    found.close()


@pytest.fixture
def agents(config: Path) -> Iterator[list[Program]]:
    """Give a list for the agents of a test; those that still run are killed at its end."""
    started: list[Program] = []
    yield started
    for agent in started:
        agent.clear()


def start(config: Path, agents: list[Program]) -> Program:
    agent = Program("agent", "run", "--config", str(config))
    agents.append(agent)
    return agent


def digest(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert main(["agent", "digest", "--config", str(config), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def check_nothing_lost(server: Server, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare what the server has, and what the spool still holds, with what the spool says it has taken."""
    told = digest(config, capsys)
    spool = Spool(config.with_name("spool.sqlite"), str(told["gateway"]), 1 << 20)
    held = [decode_readings(payload) for _, payload in spool.waiting(0, spool.last_key(), 1000)]
    spool.close()
    stored = server.stored()
    for reading in (reading for batch in held for reading in batch.readings()):
        stored.setdefault(reading[:3], set()).add(reading[3:])
    sequences = {*server.seen, *((batch.generation, batch.sequence) for batch in held)}
    readings = [Reading(*key, *rest) for key, found in stored.items() for rest in found]
    assert sequences == {(told["generation"], each) for each in range(1, int(str(told["last_sequence"])) + 1)}
    assert len(server.seen) > len(held)
    assert len(stored) == len(readings) == told["taken"]
    days = told["days"]
    assert isinstance(days, list)
    assert sum(int(day["digest"], 16) for day in days) % (1 << 64) == reading_digest(readings)


def test_readings_come_out_of_the_registers_and_the_spool_is_emptied(
    config: Path, meters: Program, server: Server, agents: list[Program], capsys: pytest.CaptureFixture[str]
) -> None:
    agent = start(config, agents)
    server.wait_until(lambda: len(server.seen) >= 3)
    status, said = agent.end()
    assert status == 0, said
    server.wait_until(server.offline)
    check_nothing_lost(server, config, capsys)
    assert {meter for meter, _, _ in server.stored()} == {"M-0001", "M-0002", "M-0003"}


def test_a_killed_agent_reuses_no_number_and_loses_nothing(
    config: Path, meters: Program, server: Server, agents: list[Program], capsys: pytest.CaptureFixture[str]
) -> None:
    server.receipting = False  # so that what was taken must survive in the spool
    for _ in range(3):
        agent = start(config, agents)
        seen = len(server.seen)
        server.wait_until(lambda seen=seen: len(server.seen) >= seen + 2)  # type: ignore[misc]  # bound at once
        agent.kill()
        server.wait_until(server.offline)  # the last will
    server.receipting = True
    agent = start(config, agents)
    agent.wait_for("broker.connected")
    server.wait_until(lambda: server.resent >= 6)
    agent.end()
    check_nothing_lost(server, config, capsys)


def test_without_receipts_everything_is_sent_again_in_order(
    config: Path, meters: Program, server: Server, agents: list[Program], capsys: pytest.CaptureFixture[str]
) -> None:
    server.receipting = False
    agent = start(config, agents)
    agent.wait_for("batches.resent")
    server.wait_until(lambda: server.resent > 0)
    assert digest(config, capsys)["unreceipted"] == digest(config, capsys)["last_sequence"]
    server.receipting = True
    agent.wait_for("batches.resent")
    seen = len(server.seen)
    server.wait_until(lambda: len(server.seen) > seen)
    agent.end()
    check_nothing_lost(server, config, capsys)


@pytest.mark.usefixtures("meters")
def test_a_broker_that_is_killed_and_started_again_costs_nothing(
    config: Path, runtime: Running, server: Server, agents: list[Program], capsys: pytest.CaptureFixture[str]
) -> None:
    agent = start(config, agents)
    server.wait_until(lambda: len(server.seen) >= 2)
    lifecycle.kill_broker(runtime.directory)
    try:
        agent.wait_for("broker.not_connected")
        for _ in range(3):  # readings go on
            agent.wait_for("bus.cycle_finished")
    finally:
        lifecycle.start_broker(runtime.directory)
    agent.wait_for("broker.reconnected")
    seen = len(server.seen)
    server.wait_until(lambda: len(server.seen) >= seen + 3)
    agent.end()
    check_nothing_lost(server, config, capsys)


def test_meters_that_are_switched_off_and_on_again_are_told_once_each(
    config: Path, tmp_path: Path, meters: Program, server: Server, agents: list[Program]
) -> None:
    agent = start(config, agents)
    server.wait_until(lambda: len(server.seen) >= 1)
    meters.kill()
    assert "rs485-1" in agent.wait_for("bus.line_lost")
    again = Program("sim", "modbus", "--port-link", str(tmp_path / "line"), "--units", "1-3", "--unpaced")
    agents.append(again)
    agent.wait_for("bus.line_opened")
    agent.wait_for("meter.answered")
    status, said = agent.end()
    assert status == 0
    assert said.count("bus.line_lost") == 1


def test_a_second_agent_on_one_spool_is_refused_and_the_first_goes_on(
    meters: Program, server: Server, config: Path, agents: list[Program]
) -> None:
    first = start(config, agents)
    first.wait_for("agent.started")
    status, said = Program("agent", "run", "--config", str(config)).wait()
    assert status == 3
    assert "another agent is using it" in said
    server.wait_until(lambda: len(server.seen) > 0)


def test_a_wrong_configuration_ends_with_status_2_and_opens_nothing(
    config: Path, agents: list[Program], capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("address = 2", "address = 1"))
    status, said = start(config, agents).wait()
    assert status == 2
    assert "two have the same address 1" in said
    assert main(["agent", "check", "--config", str(config)]) == 2
    assert not config.with_name("spool.sqlite").exists()


def test_check_says_what_the_gateway_will_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "check", "--config", str(config)]) == 0
    assert f"3 meters, {3 * 2 * 86_400} readings a day" in capsys.readouterr().out


def test_after_a_kill_the_lines_are_listened_to_and_after_a_tidy_stop_they_are_not(
    config: Path, meters: Program, server: Server, agents: list[Program]
) -> None:
    """An answer to what the killed agent has asked may still come."""
    agent = start(config, agents)
    agent.wait_for("bus.cycle_finished")
    agent.kill()
    agent = start(config, agents)
    told = agent.wait_for("bus.listening")
    assert 8.0 < float(told.partition("bus=rs485-1 for_s=")[2]) <= 10.0
    agent.wait_for("bus.cycle_finished")
    _, said = agent.end()
    assert "meter.not_read" not in said
    agent = start(config, agents)
    agent.wait_for("bus.cycle_finished")
    _, said = agent.end()
    assert "bus.listening" not in said


def test_an_agent_that_can_not_note_that_it_asks_says_so_listens_and_goes_on(
    config: Path, meters: Program, server: Server, agents: list[Program]
) -> None:
    """As on a card that has become read-only: nothing can be written there, and nothing be removed."""
    (config.parent / "spool.sqlite.unheard").mkdir()
    agent = start(config, agents)
    assert "spool.sqlite.unheard" in agent.wait_for("lines.not_noted")
    agent.wait_for("bus.listening")
    agent.wait_for("bus.cycle_finished")
    status, said = agent.end()
    assert status == 0
    assert "lines.not_noted" in said
