"""A new configuration is kept or taken back, touches only what differs, and never takes the agent down."""

import os
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.runtime.lifecycle import Running
from edge_agent.remote.config_file import digest_of
from edge_agent.remote.metrics_socket import ask
from protocols.telemetry.command import Configure, Tell
from protocols.telemetry.reply import Outcome, Reply, decode_reply
from tests.edge_agent.processes import Program, Server
from tests.edge_agent.remote.asker import Asker

pytestmark = pytest.mark.integration

HEAD = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "{broker}"
reconnect_max = "1s"
[commands]
allow = ["read", "status", "configure"]
[metrics]
socket = "agent.sock"
"""
BUS = """
[[bus]]
id = "{name}"
port = "line-{name}"
paced = false
reply_timeout = "300ms"
"""
METER = """
[[bus.meter]]
id = "{name}"
model = "eastron_sdm120"
address = {address}
every = "2s"
"""
WATCH_S = 2


class Site:
    """A gateway with two lines, a meter on the first and two on the second."""

    def __init__(self, directory: Path, broker: str) -> None:
        self.gateway = f"gw-{uuid.uuid4().hex[:8]}"
        self.broker = broker
        self.config = directory / "agent.toml"
        self.config.write_text(self.text({"A-1": 1}, {"B-1": 1}))
        self.programs = [
            Program("sim", "modbus", "--port-link", str(directory / f"line-{name}"), "--units", units, "--unpaced")
            for name, units in (("a", "1"), ("b", "1-2"))
        ]
        for program in self.programs:
            program.wait_for("line")
        self.server = Server(broker, self.gateway)
        self.asker = Asker(broker, self.gateway)

    def text(self, first: dict[str, int], second: dict[str, int], broker: str | None = None) -> str:
        """Return a configuration: addresses of meters by name, on the first line and on the second."""
        found = HEAD.format(gateway=self.gateway, broker=broker or self.broker)
        for bus, meters in (("a", first), ("b", second)):
            found += BUS.format(name=bus) if meters else ""
            found += "".join(METER.format(name=name, address=address) for name, address in meters.items())
        return found

    def start(self) -> Program:
        agent = Program("agent", "run", "--config", str(self.config))
        self.programs.append(agent)
        agent.wait_for("broker.connected")
        return agent

    def wait_for_readings(self) -> None:
        """Return when both first meters have been read and are known to have answered."""
        self.server.wait_until(lambda: {"A-1", "B-1"} <= {name for name, _ in self.times()})

    def times(self) -> set[tuple[str, int]]:
        """Return meters and times of all readings."""
        return {(meter, at_ms) for meter, _, at_ms in self.server.stored()}

    def wait_for_more(self, meter: str, count: int = 2) -> None:
        """Return when ``meter`` was read ``count`` more times."""
        before = {at for name, at in self.times() if name == meter}
        self.server.wait_until(lambda: len({at for name, at in self.times() if name == meter} - before) >= count)

    def configure(self, text: str, watch_s: int = WATCH_S) -> Reply:
        return self.asker.ask(Configure(text, watch_s))

    def close(self) -> None:
        for program in self.programs:
            program.clear()
        self.server.close()
        self.asker.close()


@pytest.fixture
def site(tmp_path: Path, runtime: Running) -> Iterator[Site]:
    found = Site(tmp_path, runtime.broker_url)
    yield found
    found.close()


def test_one_bus_is_changed_and_the_other_misses_nothing(site: Site) -> None:
    agent = site.start()
    site.wait_for_readings()
    text = site.text({"A-1": 1}, {"B-1": 1, "B-2": 2})
    reply = site.configure(text)
    assert reply.outcome is Outcome.DONE, reply
    assert reply.result == {"sha256": digest_of(text), "changed": ["b"], "problems": [], "rolled_back": False}
    assert site.config.read_text() == text
    assert site.config.with_name("agent.toml.good").read_text() == text
    assert not site.config.with_name("agent.toml.new").exists()
    site.wait_for_more("B-2")
    site.wait_for_more("A-1")
    times = sorted(at for name, at in site.times() if name == "A-1")
    assert times == list(range(times[0], times[-1] + 1, 2000))
    _, said = agent.end()
    assert said.count("broker.connected") == 1
    assert "bus.line_lost" not in said


def test_one_that_kills_the_health_is_taken_back(site: Site) -> None:
    agent = site.start()
    site.wait_for_readings()
    before = site.config.read_text()
    for text, problem in (
        (site.text({"A-1": 1}, {"B-1": 9}), "meter B-1 does not answer any more"),
        (site.text({"A-1": 1}, {"B-1": 1}, broker="mqtt://127.0.0.1:1"), "the broker is not connected"),
        (site.text({"A-1": 1}, {"B-1": 1}).replace("line-b", "line-nowhere"), "bus b:"),
    ):
        reply = site.configure(text)
        assert (reply.outcome, reply.result["rolled_back"]) == (Outcome.FAILED, True)
        assert problem in str(reply.result["problems"])
        assert site.config.read_text() == before
        site.wait_for_more("B-1")
    assert site.asker.statuses[-1].agent["configuration"]["standing"] == "taken_back"
    assert agent.wait_for("configuration.taken_back")


def test_one_that_does_not_hold_touches_nothing(site: Site) -> None:
    site.start()
    site.wait_for_readings()
    for text, reason in (
        ("[gateway", "agent.toml"),
        (site.text({"A-1": 1}, {"A-1": 1}), "two have the same id"),
        (site.text({"A-1": 1}, {"B-1": 1}).replace("every", "evry"), "did you mean 'every'?"),
        (site.text({"A-1": 1}, {"B-1": 1}).replace("spool.sqlite", "other.sqlite"), "restart"),
        (site.text({"A-1": 1}, {"B-1": 1}).replace('"configure"', '"configure", "relay"'), "at the gateway itself"),
        (site.text({"A-1": 1}, {"B-1": 1}).replace(site.gateway, "gw-other"), "gateway can't be changed"),
    ):
        reply = site.configure(text)
        assert (reply.outcome, reason in str(reply.reason)) == (Outcome.REFUSED, True), reply
    assert site.asker.ask(Tell()).result["buses"][0]["transactions"] > 0


def test_a_kill_while_one_is_tried_leaves_the_old_one(site: Site) -> None:
    agent = site.start()
    site.wait_for_readings()
    before = site.config.read_text()
    command = site.asker.command(Configure(site.text({"A-1": 1}, {"B-1": 1, "B-2": 2}), 600))
    site.asker.send(command.encode())
    agent.wait_for("configuration.tried")
    agent.kill()
    site.start()
    reply = decode_reply(site.asker.replies_to(command)[0])
    assert (reply.outcome, reply.result["rolled_back"]) == (Outcome.FAILED, True)
    assert site.config.read_text() == before
    assert sorted(each.name for each in site.config.parent.glob("agent.toml*")) == ["agent.toml"]


def test_a_broken_file_never_takes_the_agent_down(site: Site) -> None:
    agent = site.start()
    site.wait_for_readings()
    assert site.configure(site.text({"A-1": 1}, {"B-1": 1, "B-2": 2})).outcome is Outcome.DONE
    site.config.write_text("[gateway\n")
    os.kill(agent._process.pid, signal.SIGHUP)
    assert "agent.toml" in agent.wait_for("configuration.refused")
    site.wait_for_more("B-2")
    agent.kill()
    again = Program("agent", "run", "--config", str(site.config))
    site.programs.append(again)
    again.wait_for("configuration.refused")
    again.wait_for("broker.connected")
    site.wait_for_more("B-2")
    site.asker.wait_until(lambda: site.asker.statuses[-1].agent["configuration"]["standing"] == "refused")
    assert site.config.read_text() == "[gateway\n"  # a person's file is theirs to mend
    site.config.with_name("agent.toml.good").unlink()
    again.end()
    nothing = Program("agent", "run", "--config", str(site.config))
    status, said = nothing.wait()
    assert (status, "agent.toml" in said) == (2, True)


def test_the_figures_are_told_on_a_socket_and_in_the_status(site: Site) -> None:
    agent = site.start()
    site.wait_for_readings()
    path = site.config.with_name("agent.sock")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    metrics = ask(path, "/metrics")
    assert 'congto_agent_bus_open{bus="a"} 1' in metrics
    assert "congto_agent_broker_connected 1" in metrics
    lines = [line for line in metrics.splitlines() if line.startswith('congto_agent_meter_answered_total{bus="b"')]
    assert lines
    command = [sys.executable, "-m", "deploy.cli", "agent", "top", "--config", str(site.config)]
    shown = subprocess.run([*command, "--seconds", "1"], capture_output=True, text=True, timeout=60, check=False)
    assert (shown.returncode, "B-1" in shown.stdout) == (0, True), shown.stderr
    agent.kill()
    gone = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (gone.returncode, "no agent answers" in gone.stderr) == (3, True)
    site.start()  # over what the killed one has left
    site.asker.wait_until(lambda: bool(site.asker.statuses[-1].agent.get("buses")))
