"""The package is built, unpacked into a directory and run there, with its own packages and no others."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.package.build import CONFFILES, GATEWAY, LIBRARY, build, locked, native
from protocols.errors import UnavailableError

PYTHON = f"3.{sys.version_info.minor}"
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtts://broker.example.vn:8883"
username = "gw-01"
password_env = "CONGTO_PASSWORD"
[[bus]]
id = "rs485-1"
port = "/dev/ttyUSB0"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm630"
address = 1
[[bus]]
id = "lan"
tcp = "192.0.2.7:502"
[[bus.meter]]
id = "M-0002"
model = "schneider_iem3155"
address = 1
"""


def test_the_lock_has_all_that_a_gateway_needs_with_hashes() -> None:
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
    part = locked(GATEWAY, lock)
    assert part.count("==") == len(GATEWAY)
    assert part.count("--hash=sha256:") >= len(GATEWAY)
    with pytest.raises(UnavailableError, match="no-such-package"):
        locked(["no-such-package"], lock)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which the package was unpacked, its control files in ``DEBIAN``."""
    place = tmp_path_factory.mktemp("package")
    package = build(native(), PYTHON, place)
    unpacked = place / "root"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(unpacked)], check=True, timeout=120)
    return unpacked


def run_from(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the package's command with an interpreter that sees no packages but the package's."""
    command = [sys.executable, "-I", "-S", str(root / "usr/bin/congto"), *words]
    environment = {"CONGTO_PASSWORD": "secret", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.integration
def test_the_agent_checks_a_configuration_from_the_package_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(CONFIG, encoding="utf-8")
    checked = run_from(root, "agent", "check", "--config", str(tmp_path / "agent.toml"))
    assert checked.returncode == 0, checked.stderr
    assert "2 meters" in checked.stdout
    assert run_from(root, "--version").stdout.startswith("congto ")


@pytest.mark.integration
def test_everything_that_the_agent_imports_is_in_the_package(root: Path) -> None:
    """Modbus TCP, MQTT, ciphering and compression are imported when they are needed; here they are asked for."""
    modules = "edge_agent.app, edge_agent.modbus_tcp, edge_agent.mqtt_connection, edge_agent.meter_tool.show"
    code = f"import sys; sys.path.insert(0, {str(root / LIBRARY)!r}); import {modules}, cryptography, zstandard"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
def test_the_package_says_what_it_is_and_keeps_its_configuration(root: Path) -> None:
    control = (root / "DEBIAN/control").read_text(encoding="utf-8")
    assert f"Architecture: {native()}" in control
    assert f"python3 (>= {PYTHON})" in control
    assert (root / "DEBIAN/conffiles").read_text(encoding="utf-8").split() == list(CONFFILES)
    assert all((root / each.lstrip("/")).is_file() for each in CONFFILES)
    assert (root / "usr/lib/systemd/system/congto-agent.service").is_file()
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", str(root / "DEBIAN" / script)], check=True, timeout=10)


@pytest.mark.integration
def test_the_configuration_that_comes_with_it_holds(root: Path, tmp_path: Path) -> None:
    text = (root / "etc/congto/agent.toml").read_text(encoding="utf-8")
    (tmp_path / "agent.toml").write_text(text.replace("/var/lib/congto", str(tmp_path)), encoding="utf-8")
    checked = run_from(root, "agent", "check", "--config", str(tmp_path / "agent.toml"))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.integration
def test_whatever_its_documents_lead_to_is_in_the_package(root: Path) -> None:
    documents = root / "usr/share/doc/congto-agent"
    links = {
        (document.name, link)
        for document in documents.glob("*.md")
        for link in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
        if "://" not in link
    }
    assert ("gateway.md", "meter-model.md") in links
    missing = [each for each in links if not (documents / each[1]).exists() and not (root / each[1][1:]).exists()]
    assert missing == []
