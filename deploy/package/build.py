"""Builds ``congto-agent_VERSION_ARCHITECTURE.deb``: ``make deb``, or ``python -m deploy.package.build --help``.

The package holds congto and the locked packages that a gateway needs, each checked by its hash, in ``/usr/lib/congto``,
beside and not among the system's Python packages. So it depends on Debian's ``python3`` of one version and on nothing
from the network when it is installed. One package for each version: 3.11 is Debian 12, 3.13 is Debian 13.

For armhf (the older Raspberry Pi) there are no wheels of cffi and zstandard; there the package depends on Debian's.

The same input gives the same octets: times are those of the last commit, or of ``SOURCE_DATE_EPOCH``.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deploy.bootstrap import LOCK, NO_INDEX, ROOT, fetch_wheels, run, say
from deploy.runtime.places import cache_directory
from protocols.errors import CongtoError, UnavailableError

NAME = "congto-agent"
LIBRARY = "usr/lib/congto"
PARTS = Path(__file__).parent
# What congto[edge] needs, all of it; a test starts the agent with these and no others.
GATEWAY = ("aiomqtt", "cffi", "cryptography", "markdown-it-py", "mdurl", "paho-mqtt", "pycparser", "pygments",
           "pymodbus", "pyserial", "rich", "tzdata", "zstandard")  # fmt: skip
DEPENDS = ("adduser", "ca-certificates")
CONFFILES = ("/etc/congto/agent.env", "/etc/congto/agent.toml")
SCRIPTS = ("postinst", "prerm", "postrm")
# What the guide and the configuration's contract lead to, so that an installer without a network has it all.
DOCUMENTS = ("guides/gateway", "guides/meter-model", "guides/dlms", "contracts/agent-configuration", "contracts/world",
             "meter-models", "dlms-support")  # fmt: skip
LINK = re.compile(r"\]\((?:\.\./|[a-z]+/)*([\w-]+\.md)")  # in the package they lie in one directory
SCHEMA = re.compile(r"\]\((?:\.\./)+(protocols/[\w./-]+)")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A Debian architecture: its wheels' platforms, and what Debian itself has to give for want of wheels."""

    machine: str
    platforms: tuple[str, ...]
    from_debian: tuple[tuple[str, str], ...] = ()


ARCHITECTURES = {
    "amd64": Architecture("x86_64", ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")),
    "arm64": Architecture("aarch64", ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")),
    "armhf": Architecture(
        "armv7l",
        ("manylinux2014_armv7l", "manylinux_2_31_armv7l"),
        (("cffi", "python3-cffi-backend"), ("pycparser", "python3-pycparser"), ("zstandard", "python3-zstandard")),
    ),
}


def build(architecture: str, python: str, target: Path) -> Path:
    """Build the package for ``architecture`` and the Python ``3.x``; return its path in ``target``."""
    chosen = ARCHITECTURES[architecture]
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "root"
        library = root / LIBRARY
        library.mkdir(parents=True)
        say(f"package for {architecture}, Python {python}")
        _install_dependencies(chosen, python, library, Path(work))
        _install_congto(library, Path(work))
        _lay_out(root)
        _write_control(root, architecture, chosen, python)
        _set_times(root)
        target.mkdir(parents=True, exist_ok=True)
        package = target / f"{NAME}_{_version(python)}_{architecture}.deb"
        run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", str(root), str(package)], "build the package")
    return package


def native() -> str:
    """Return this machine's architecture."""
    for name, each in ARCHITECTURES.items():
        if each.machine == platform.machine():
            return name
    raise UnavailableError(f"{platform.machine()}: name an --architecture: {', '.join(ARCHITECTURES)}")


def locked(names: Sequence[str], lock: str) -> str:
    """Return the part of a requirements file that locks ``names``, with their hashes."""
    entries = re.findall(r"(?m)^(([a-z0-9-]+)==[^\n]*\\\n(?:    --hash=[^\n]*\n)+)", lock)
    found = {name: text for text, name in entries}
    missing = set(names) - set(found)
    if missing:
        raise UnavailableError(f"requirements.lock does not have {', '.join(sorted(missing))}; write it anew")
    return "".join(found[name] for name in names)


def _install_dependencies(chosen: Architecture, python: str, library: Path, work: Path) -> None:
    others = {name for name, _ in chosen.from_debian}
    requirements = work / "requirements.txt"
    wanted = [name for name in GATEWAY if name not in others]
    requirements.write_text(locked(wanted, LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    pip = [sys.executable, "-m", "pip"]
    own = (platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")
    source: list[str] = []
    if (chosen.machine, python) == own:  # then the wheels are those of this environment, and no network is needed
        source = [*NO_INDEX, "--find-links", str(fetch_wheels(cache_directory(os.environ), pip))]
    platforms = [word for each in chosen.platforms for word in ("--platform", each)]
    command = [*pip, "install", *source, "--quiet", "--no-compile", "--target", str(library), "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", *platforms, "--implementation", "cp"]
    command += ["--python-version", python, "-r", str(requirements)]
    run(command, "fetch the locked packages; is there a way to the package index?")
    shutil.rmtree(library / "bin", ignore_errors=True)


def _install_congto(library: Path, work: Path) -> None:
    wheels = work / "wheels"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], "build the wheel of congto")
    wheel = next(wheels.glob("congto-*.whl"))
    command = [sys.executable, "-m", "pip", "install", *NO_INDEX, "--no-compile", "--no-deps"]
    run([*command, "--target", str(library), "--upgrade", str(wheel)], "unpack congto")
    shutil.rmtree(library / "bin", ignore_errors=True)


def _lay_out(root: Path) -> None:
    """Put the command, the unit, the configuration and the documents into their places."""
    for source, place, mode in (
        (PARTS / "congto", "usr/bin/congto", 0o755),
        (PARTS / "agent.toml", "etc/congto/agent.toml", 0o640),
        (PARTS / "agent.env", "etc/congto/agent.env", 0o640),
        (ROOT / "deploy/systemd/congto-agent.service", "usr/lib/systemd/system/congto-agent.service", 0o644),
        (ROOT / "LICENSE", f"usr/share/doc/{NAME}/copyright", 0o644),
    ):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(mode)
    for name in DOCUMENTS:
        source = ROOT / f"docs/{name}.md"
        text = LINK.sub(r"](\1", SCHEMA.sub(rf"](/{LIBRARY}/\1", source.read_text(encoding="utf-8")))
        path = root / f"usr/share/doc/{NAME}" / source.name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def _write_control(root: Path, architecture: str, chosen: Architecture, python: str) -> None:
    control = root / "DEBIAN"
    control.mkdir()
    files = sorted(path for path in root.rglob("*") if path.is_file())
    next_minor = f"3.{int(python.split('.')[1]) + 1}"
    depends = [f"python3 (>= {python})", f"python3 (<< {next_minor})", *DEPENDS]
    depends += [package for _, package in chosen.from_debian]
    text = f"""\
Package: {NAME}
Version: {_version(python)}
Architecture: {architecture}
Maintainer: the congto project
Installed-Size: {sum(path.stat().st_size for path in files) // 1024}
Depends: {", ".join(depends)}
Section: net
Priority: optional
Description: reads electricity meters on a gateway and publishes their readings
 Modbus, DLMS/COSEM and IEC 62056-21 meters, a spool that loses nothing, MQTT 5.
 The unit congto-agent.service starts once /etc/congto/agent.toml is written.
"""
    (control / "control").write_text(text, encoding="utf-8")
    (control / "conffiles").write_text("".join(f"{each}\n" for each in CONFFILES), encoding="utf-8")
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files]  # noqa: S324
    (control / "md5sums").write_text("".join(sums), encoding="utf-8")
    for name in SCRIPTS:
        shutil.copyfile(PARTS / name, control / name)
        (control / name).chmod(0o755)


def _version(python: str) -> str:
    return f"{version('congto')}+py{python.replace('.', '')}"


def _set_times(root: Path) -> None:
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said is None:
        command = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        said = done.stdout.strip() or "0"
    os.environ["SOURCE_DATE_EPOCH"] = said  # for dpkg-deb
    for path in (root, *root.rglob("*")):
        os.utime(path, (int(said), int(said)), follow_symlinks=False)


def main(words: Sequence[str] | None = None) -> int:
    """Build and print the package's path."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package.build", description=__doc__.split("\n")[0])
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), help="default: this machine's")
    parser.add_argument(
        "--python", default=f"3.{sys.version_info.minor}", choices=("3.11", "3.12", "3.13"), help="default: this one"
    )
    parser.add_argument("--target", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist")
    arguments = parser.parse_args(words)
    os.chdir(ROOT)
    try:
        print(build(arguments.architecture or native(), arguments.python, arguments.target.resolve()))
    except CongtoError as failed:
        say(str(failed))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
