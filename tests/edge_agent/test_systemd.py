"""systemd hears of the agent while every task gets on, and from a real agent that it is ready and listens nowhere."""

import socket
from pathlib import Path

import pytest

from edge_agent.systemd import BEATS_A_PERIOD, WAIT_S_MAX, Watchdog
from tests.edge_agent.processes import Program

PERIOD_S = 180.0


class Time:
    def __init__(self) -> None:
        self.now_s = 1000.0


def listening(directory: Path) -> socket.socket:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(directory / "notify"))
    heard.setblocking(False)
    return heard


def said(heard: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(heard.recv(100).decode())
    except BlockingIOError:
        return found


def watched(directory: Path, time: Time) -> Watchdog:
    environment = {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": str(int(PERIOD_S * 1e6))}
    return Watchdog(environment, lambda: time.now_s)


def test_it_is_fed_when_all_have_got_on(tmp_path: Path) -> None:
    time = Time()
    with listening(tmp_path) as heard:
        watchdog = watched(tmp_path, time)
        for task in ("bus-1", "bus-2", "publisher"):
            watchdog.expect(task)
        for _ in range(3):
            time.now_s += watchdog.beat_every_s
            for task in ("bus-1", "bus-2", "publisher"):
                watchdog.beat(task)
        assert said(heard) == ["WATCHDOG=1"] * 3


def test_one_bus_that_hangs_lets_it_run_out_whatever_the_others_do(tmp_path: Path) -> None:
    time = Time()
    with listening(tmp_path) as heard:
        watchdog = watched(tmp_path, time)
        watchdog.expect("bus-1")
        watchdog.expect("bus-2")
        watchdog.beat("bus-1")
        for _ in range(100):
            time.now_s += 10
            watchdog.beat("bus-2")
        assert said(heard) == ["WATCHDOG=1"], "once, for what both did at the beginning"
        watchdog.dismiss("bus-1")
        time.now_s += 60
        watchdog.beat("bus-2")
        assert said(heard) == ["WATCHDOG=1"], "a bus that was taken away is not waited for"


def test_a_busy_agent_does_not_flood_systemd(tmp_path: Path) -> None:
    time = Time()
    with listening(tmp_path) as heard:
        watchdog = watched(tmp_path, time)
        watchdog.expect("bus-1")
        for _ in range(1800):
            time.now_s += 0.1
            watchdog.beat("bus-1")
        assert 3 <= len(said(heard)) <= 2 * BEATS_A_PERIOD + 1


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_without_systemd_nobody_is_told_and_nobody_hurries(environment: dict[str, str]) -> None:
    watchdog = Watchdog(environment)
    watchdog.expect("bus-1")
    watchdog.beat("bus-1")
    watchdog.ready()
    assert watchdog.beat_every_s == WAIT_S_MAX


CONFIG = """
[gateway]
id = "g"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1"
[[bus]]
id = "bus-1"
port = "nowhere"
[[bus.meter]]
id = "M-1"
model = "eastron_sdm120"
address = 1
"""


@pytest.mark.integration
def test_a_running_agent_says_that_it_is_ready_and_has_no_listening_socket(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(CONFIG, encoding="utf-8")
    with listening(tmp_path) as heard:
        heard.setblocking(True)
        heard.settimeout(60)
        agent = Program(
            "agent",
            "run",
            "--config",
            str(tmp_path / "agent.toml"),
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "180000000"},
        )
        try:
            assert heard.recv(100) == b"READY=1"
            agent.wait_for("broker.not_connected")
            assert listening_sockets(agent.pid) == []
            status, _ = agent.end()
            assert status == 0
            heard.setblocking(False)
            assert "STOPPING=1" in said(heard)
        finally:
            agent.clear()


def listening_sockets(pid: int) -> list[str]:
    """Return the TCP sockets in state LISTEN (0A) and bound UDP ones that a process has open (proc(5), /proc/net)."""
    inodes = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        target = str(each.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and (table.startswith("udp") or words[3] == "0A"):
                found.append(f"{table} {words[1]}")
    return found
