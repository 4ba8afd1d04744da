"""Ingest's unit is as closed as a program that speaks to a broker and a database can be, and what it calls exists."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.cli import build_parser
from ingest_server.pipeline.partition import PARTS_MAX
from ingest_server.pipeline.supervise import EXIT_USAGE, STOP_S_MAX

UNITS = Path(__file__).parents[2] / "deploy/systemd"
EXPOSURE_MAX = 1.5
ONLY_THE_AGENTS = {"DeviceAllow", "SupplementaryGroups", "ReadWritePaths"}
# What hardens the agent's unit must harden this one too, unless it says something of the program itself.
OF_THE_PROGRAM = {
    "Environment",
    "ExecStart",
    "ExecStartPre",
    "ExecReload",
    "EnvironmentFile",
    "WatchdogSec",
    "TimeoutStopSec",
    "Nice",
}
OF_DIRECTORIES = {
    "StateDirectory",
    "StateDirectoryMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "WorkingDirectory",
}


def settings(unit: str) -> dict[str, list[str]]:
    """Return the settings of a unit's service, each with all its values."""
    found: dict[str, list[str]] = {}
    service = (UNITS / unit).read_text(encoding="utf-8").partition("[Service]")[2].partition("[Install]")[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", service, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


AGENT, INGEST = settings("congto-agent.service"), settings("congto-ingest.service")


@pytest.mark.parametrize(
    "key", sorted(AGENT.keys() - OF_THE_PROGRAM - OF_DIRECTORIES - ONLY_THE_AGENTS - {"MemoryMax", "TasksMax"})
)
def test_what_closes_the_agent_closes_ingest(key: str) -> None:
    assert INGEST[key] == AGENT[key]


def test_it_opens_no_device_and_listens_for_its_metrics_alone() -> None:
    assert not INGEST.keys() & ONLY_THE_AGENTS
    words = INGEST["ExecStart"][0].split()
    first = int(words[words.index("--metrics-port") + 1])
    assert INGEST["SocketBindAllow"] == [f"ipv4:tcp:{first}-{first + PARTS_MAX - 1}"]


def test_its_command_exists_and_systemd_waits_as_long_as_its_processes_may_take() -> None:
    program, *words = INGEST["ExecStart"][0].split()
    assert program == "/usr/bin/congto"
    assert build_parser(("ingest",)).parse_args(words).processes == 2
    assert int(INGEST["TimeoutStopSec"][0]) > STOP_S_MAX
    assert INGEST["RestartPreventExitStatus"] == [str(EXIT_USAGE)]


def test_systemd_finds_little_exposed() -> None:
    """Where this host has no systemd the comparison with the agent's unit must do."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert INGEST["ProtectSystem"] == ["strict"]
        return
    threshold = f"--threshold={round(10 * EXPOSURE_MAX)}"
    command = [analyze, "security", "--offline=true", "--no-pager", threshold, str(UNITS / "congto-ingest.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout
