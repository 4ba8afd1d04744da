"""The agent's unit is as closed as a program with serial ports and a broker can be."""

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from deploy.cli import build_parser

UNIT = Path(__file__).parents[2] / "deploy/systemd/congto-agent.service"
EXPOSURE_MAX = 1.5
# systemd.exec(5): what a service that reads serial ports and speaks to one broker can do without.
HARDENED = {
    "CapabilityBoundingSet": "",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "PrivateTmp": "yes",
    "DevicePolicy": "closed",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SocketBindDeny": "any",
    "RemoveIPC": "yes",
    "KeyringMode": "private",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "User": "congto",
}


def service() -> dict[str, list[str]]:
    """Return the settings of the unit's service, each with all its values."""
    parser = RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {key: [] for key in parser["Service"]}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and key in found:
            found[key].append(value)
    return found


@pytest.mark.parametrize("key", HARDENED)
def test_the_unit_is_closed_where_it_can_be(key: str) -> None:
    assert service()[key] == [HARDENED[key]]


def test_its_system_calls_are_a_services_without_privileges() -> None:
    assert service()["SystemCallFilter"] == ["@system-service", "~@privileged @resources @obsolete"]


def test_its_watchdog_is_fed_and_its_commands_exist() -> None:
    settings = service()
    assert settings["Type"] == ["notify"]
    assert int(settings["WatchdogSec"][0]) >= 60
    for key in ("ExecStartPre", "ExecStart"):
        program, *words = settings[key][0].split()
        assert program.lstrip("-") == "/usr/bin/congto", (
            "a check that fails does not keep the last good one from running"
        )
        build_parser(("agent",)).parse_args(words)


def test_systemd_finds_little_exposed() -> None:
    """Where this host has no systemd the settings above, for which it was measured once, must do."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert len(service()) > len(HARDENED)
        return
    command = [
        analyze,
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={round(10 * EXPOSURE_MAX)}",
        str(UNIT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overall exposure level" in done.stdout
