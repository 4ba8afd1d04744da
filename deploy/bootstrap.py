"""Set up ``.venv`` from ``requirements.lock``, then carry out a task in it: ``python3 deploy/bootstrap.py [TASK]``.

Asks for Python 3.11 or later and nothing else: standard library only, no pip, no root. Wheels are fetched once, with
their hashes checked, into the cache; with the cache there no network is needed. A Debian Python without ensurepip
borrows pip from Debian's package ``python3-pip-whl``, unpacked in the cache and not installed.

A stamp in ``.venv`` says what it was made from, and is written last: an interrupted setup is done again.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # an older Python is whom this is for; it could not read what follows
    sys.exit(
        "congto needs Python 3.11 or later, and this is "
        + ".".join(map(str, sys.version_info[:3]))
        + "; name another with: make PYTHON=python3.11 ..."
    )

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # It was deploy/, where this script lies.

from deploy.runtime import packages, places  # noqa: E402  # both of the standard library alone
from protocols.errors import CongtoError, UnavailableError  # noqa: E402

VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
STAMP = VENV / "congto.stamp"
RECIPE = "1"  # part of the stamp: raise it when an environment made before must be made again
# What the caller set for pip (an index, a target directory) counts when fetching; installing takes the cache alone.
NO_INDEX = ("--isolated", "--no-index", "--disable-pip-version-check", "--no-input", "--quiet")


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"congto setup: {line}", file=sys.stderr, flush=True)


def stamp() -> list[str]:
    """Return what an environment made now would be made from: the packages, and congto's own description."""
    packages_digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    project_digest = hashlib.sha256(PROJECT.read_bytes()).hexdigest()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [f"packages {RECIPE} {python} {packages_digest}", f"project {project_digest}"]


def stamped() -> list[str]:
    """Return what ``.venv`` was made from, nothing if it is missing or incomplete."""
    if not (VENV / "bin" / "python").exists():  # or links to a Python that is gone
        return []
    try:
        return STAMP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def set_up() -> None:
    """Bring ``.venv`` up to date. One caller at a time: the list of packages is also the lock that is held."""
    if stamped() == stamp():
        return
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_from = stamped()
        if made_from == stamp():
            return
        pip = [str(VENV / "bin" / "python"), "-m", "pip"]
        if made_from[:1] != stamp()[:1]:
            install_packages(pip)
        say("installing congto itself")
        editable = ("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        run([*pip, "install", *NO_INDEX, *editable], "install congto itself")
        STAMP.write_text("\n".join(stamp()) + "\n", encoding="utf-8")
        say(f"ready: {VENV}")


def install_packages(pip: Sequence[str]) -> None:
    """Make ``.venv`` anew with the locked packages and nothing else."""
    cache = places.cache_directory(os.environ)
    if VENV.exists():
        shutil.rmtree(VENV)
    create_environment(cache, pip)
    wheels = fetch_wheels(cache, pip)
    say("installing packages into .venv")
    hashed = ("--find-links", str(wheels), "--require-hashes", "--no-deps", "--only-binary", ":all:")
    run([*pip, "install", *NO_INDEX, *hashed, "-r", str(LOCK)], "install the locked packages")


def create_environment(cache: Path, pip: Sequence[str]) -> None:
    """Create an empty ``.venv`` in which ``pip`` can be run."""
    say(f"creating .venv with Python {platform.python_version()}")
    if importlib.util.find_spec("ensurepip") is not None:
        run([sys.executable, "-m", "venv", str(VENV)], "create the virtual environment")
        return
    try:
        tree = packages.pip_tree(cache, say)
    except UnavailableError as missing:
        raise UnavailableError(f"this Python has no ensurepip; install Debian's python3-venv ({missing})") from None
    wheel = next((tree / "usr/share/python-wheels").glob("pip-*.whl"))
    run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], "create the virtual environment")
    run([pip[0], f"{wheel}/pip", "install", *NO_INDEX, str(wheel)], "install pip")


def fetch_wheels(cache: Path, pip: Sequence[str]) -> Path:
    """Return the cache's directory with every locked wheel for this Python, filled if it is not there."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    tag = f"{sys.implementation.cache_tag}-{platform.machine()}-{digest}"
    wheels = cache / "wheels" / tag
    with packages.locked(cache, say):
        if wheels.exists():
            return wheels
        wheels.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in wheels.parent.glob(f"{tag}.*"):
            shutil.rmtree(abandoned)
        say("downloading packages")
        with tempfile.TemporaryDirectory(prefix=f"{tag}.", dir=wheels.parent) as work:
            target = Path(work) / "wheels"
            options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--dest", str(target)]
            options += ["--disable-pip-version-check", "--no-input", "--quiet", "-r", str(LOCK)]
            run([*pip, "download", *options], "download the locked packages; is there a way to the package index?")
            target.rename(wheels)
    return wheels


def run(command: Sequence[str], purpose: str) -> None:
    """Run ``command``; raise UnavailableError with its output if it fails."""
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UnavailableError(f"could not {purpose}\n{done.stdout.strip()}")


def main(words: Sequence[str]) -> int:
    """Set up, then become the task; return the exit status when there is none."""
    try:
        set_up()
    except (CongtoError, OSError) as failed:
        say(str(failed))
        return 3
    if words:
        os.chdir(ROOT)
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, "-m", "deploy.tasks", *words])  # noqa: S606  # the task takes this process's place
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
