"""The bootstrap, run for real on a project of one package, with no package index."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy import bootstrap
from deploy.runtime import places

pytestmark = pytest.mark.integration

# A build backend (PEP 660) in one file: the editable wheel is a .pth to the project.
BACKEND = """
import zipfile
from pathlib import Path
INFO = "project-0.dist-info"
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "project-0-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        wheel.writestr("project.pth", str(Path.cwd()))
        wheel.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\\nName: project\\nVersion: 0\\n")
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{INFO}/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "tiny"
[project]
name = "project"
version = "0"
"""


@dataclass(frozen=True)
class Project:
    """A checkout with the bootstrap, and the wheels that a package index would have."""

    root: Path
    index: Path
    environment: dict[str, str]

    def offer(self, version: str) -> str:
        """Put a version of the package ``tiny`` into the index; return the line of a lock that asks for it."""
        path = self.index / f"tiny-{version}-py3-none-any.whl"
        files = {
            "tiny.py": BACKEND + f"VERSION = {version!r}\n",
            f"tiny-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
            f"tiny-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
        record.append(f"tiny-{version}.dist-info/RECORD,,")
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)
            wheel.writestr(f"tiny-{version}.dist-info/RECORD", "\n".join(record) + "\n")
        return f"tiny=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def lock(self, line: str) -> None:
        (self.root / "requirements.lock").write_text(line)

    def set_up(self, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap; ``offline`` also takes the index away."""
        index = {} if offline else {"PIP_FIND_LINKS": str(self.index)}
        return subprocess.run(
            [_python(), str(self.root / "deploy" / "bootstrap.py")],
            env={**self.environment, **index},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def installed(self) -> str:
        """Return the version of ``tiny`` in the environment."""
        python = self.root / ".venv" / "bin" / "python"
        return subprocess.run(
            [python, "-c", "import tiny; print(tiny.VERSION)"], capture_output=True, text=True, check=True
        ).stdout.strip()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _python() -> str:
    """Return the interpreter beneath this virtual environment: the one that a new machine has."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "checkout"
    for name in ("deploy/__init__.py", "deploy/bootstrap.py", "protocols/__init__.py", "protocols/errors.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bootstrap.ROOT / name, root / name)
    shutil.copytree(bootstrap.ROOT / "deploy" / "runtime", root / "deploy" / "runtime")
    (root / "pyproject.toml").write_text(PROJECT)
    cache = tmp_path / "cache"
    cache.mkdir()
    ours = places.cache_directory(os.environ) / "debian"
    if ours.exists():  # Debian's pip, if this Python has none of its own; fetched once and not for this test.
        (cache / "debian").symlink_to(ours)
    (tmp_path / "index").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return Project(root, tmp_path / "index", {**kept, "CONGTO_CACHE": str(cache), "PIP_NO_INDEX": "1"})


def test_an_environment_is_made_once_and_again_only_when_the_lock_changes(project: Project) -> None:
    first = project.offer("1.0")
    project.lock(first)
    made = project.set_up()
    assert made.returncode == 0, made.stderr
    assert project.installed() == "1.0"
    again = project.set_up(offline=True)
    assert (again.returncode, again.stderr) == (0, "")

    marker = project.root / ".venv" / "marker"
    marker.touch()
    (project.root / "pyproject.toml").write_text(PROJECT + "description = 'changed'\n")
    assert project.set_up(offline=True).returncode == 0
    assert marker.exists(), "a change of the project alone does not make the environment anew"

    project.lock(project.offer("2.0"))
    assert project.set_up().returncode == 0
    assert project.installed() == "2.0"
    assert not marker.exists()

    project.lock(first)  # a lock that was here before, on a machine that has lost its network
    back = project.set_up(offline=True)
    assert back.returncode == 0, back.stderr
    assert project.installed() == "1.0"


def test_a_package_that_is_not_the_locked_one_is_refused_and_nothing_is_kept(project: Project) -> None:
    line = project.offer("1.0")
    project.lock(line.replace(line[-9:-1], "00000000"))
    refused = project.set_up()
    assert refused.returncode == 3
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not any((Path(project.environment["CONGTO_CACHE"]) / "wheels").iterdir())
    assert not (project.root / ".venv" / "congto.stamp").exists()
