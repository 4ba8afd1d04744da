"""Other implementations in virtual environments of their own, in congto's cache: built once, then used without network.

What is installed is in the lock files beside this one, by hash; where from is the business of whoever runs the tests.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.runtime.places import cache_directory

HERE = Path(__file__).parent
BUILD_S_MAX = 300


def environment(name: str) -> Path:
    """Return the directory of programs of the peer ``name``, building its environment the first time."""
    lock = HERE / f"{name}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    root = cache_directory(os.environ) / "peers" / f"{name}-{sys.implementation.cache_tag}-{digest}"
    with _locked(root.parent):
        if not (root / "ready").exists():
            locked = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)]
            for command in (
                [sys.executable, "-m", "venv", "--clear", "--without-pip", str(root)],
                [sys.executable, "-m", "pip", "--python", str(root), "install", "--quiet", "--no-input", *locked],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S_MAX, check=False)
                assert done.returncode == 0, f"the peer {name} cannot be installed from {lock.name}: {done.stderr}"
            (root / "ready").touch()
    return root / "bin"


def driver(name: str) -> str:
    """Return a driver text, to be given to a peer's interpreter with ``-c``."""
    return (HERE / f"{name}.txt").read_text(encoding="utf-8")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process build at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
