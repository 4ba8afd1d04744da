"""Which programs to run: the host's own if they suit, else Debian's packages unpacked in the cache."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.runtime.packages import Say, servers_tree
from protocols.errors import UnavailableError

POSTGRES_MAJOR = 17
MOSQUITTO_MIN = (2, 0, 13)  # 2.0.11 kept dead sessions' in-flight messages; what came before 2.0.13 is not enough
VERSION_TIMEOUT_S = 20
THREE_WAYS = (
    "Three ways: give your own with CONGTO_DSN and CONGTO_BROKER (or --dsn and --broker); "
    "install PostgreSQL 17 with TimescaleDB and Mosquitto 2.0.13 or later; "
    "or run `docker compose -f deploy/compose.yaml up`."
)


@dataclass(frozen=True, slots=True)
class Software:
    """Programs to run, and where they are from."""

    programs: Path  # PostgreSQL's directory with initdb, postgres and psql, or Mosquitto's executable
    origin: str
    root: Path | None = None  # of the unpacked tree, if that is where they are from


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first version number in what a program says of itself, () if there is none."""
    match = re.search(r"\b(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def extension_directories(programs: Path) -> list[Path]:
    """Return where the PostgreSQL with its programs in ``programs`` may keep its extensions' control files."""
    if programs == Path(f"/usr/lib/postgresql/{POSTGRES_MAJOR}/bin"):  # Debian
        return [Path(f"/usr/share/postgresql/{POSTGRES_MAJOR}/extension")]
    share = programs.parent / "share"
    return [share / "extension", share / "postgresql" / "extension", share / "pgsql" / "extension"]


def find_host_postgres(environment: Mapping[str, str]) -> Software | None:
    """Return the host's PostgreSQL 17 if TimescaleDB is installed beside it."""
    # Debian's and Red Hat's directories are on nobody's PATH.
    candidates = [Path(f"/usr/lib/postgresql/{POSTGRES_MAJOR}/bin"), Path(f"/usr/pgsql-{POSTGRES_MAJOR}/bin")]
    if on_path := shutil.which("postgres", path=environment.get("PATH", "")):
        candidates.insert(0, Path(on_path).resolve().parent)
    for programs in candidates:
        complete = all((programs / name).exists() for name in ("postgres", "initdb", "psql"))
        if not complete or parse_version(_say_version([str(programs / "postgres"), "--version"]))[:1] != (
            POSTGRES_MAJOR,
        ):
            continue
        if any((directory / "timescaledb.control").exists() for directory in extension_directories(programs)):
            return Software(programs, f"the host's {programs}")
    return None


def find_host_mosquitto(environment: Mapping[str, str]) -> Software | None:
    """Return the host's Mosquitto if it is recent enough."""
    search = os.pathsep.join([environment.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    program = shutil.which("mosquitto", path=search)
    if program is None or parse_version(_say_version([program, "-h"])) < MOSQUITTO_MIN:
        return None
    return Software(Path(program), f"the host's {program}")


def choose_postgres(environment: Mapping[str, str], cache: Path, say: Say) -> Software:
    """Return the PostgreSQL to run."""
    if found := find_host_postgres(environment):
        return found
    tree = _unpacked(cache, say)
    return Software(tree / f"usr/lib/postgresql/{POSTGRES_MAJOR}/bin", f"Debian's packages in {tree}", tree)


def choose_mosquitto(environment: Mapping[str, str], cache: Path, say: Say) -> Software:
    """Return the Mosquitto to run."""
    if found := find_host_mosquitto(environment):
        return found
    tree = _unpacked(cache, say)
    return Software(tree / "usr/sbin/mosquitto", f"Debian's packages in {tree}", tree)


def _unpacked(cache: Path, say: Say) -> Path:
    try:
        return servers_tree(cache, say)
    except UnavailableError as missing:
        raise UnavailableError(
            f"no PostgreSQL and Mosquitto could be had from Debian: {missing}. {THREE_WAYS}"
        ) from None


def _say_version(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr  # `mosquitto -h` exits with 3 and still answers
