"""A folder of packages for a peer, made once from a lock file with hashes, beside the downloads of the runtime."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from deploy.runtime.places import cache_directory


def packages_of(lock: Path) -> Path:
    """Return the folder that holds the packages of ``lock``; install them first if it is not there."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_directory(os.environ) / "peers" / f"{lock.stem}-{digest}-{version}"
    done = folder / "complete"  # written last: an interrupted installation is done again
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--disable-pip-version-check", "--no-input", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "install", *options, "--upgrade", "--require-hashes"]
        subprocess.run([*command, "--target", str(folder), "-r", str(lock)], check=True, timeout=600)
        done.touch()
    return folder
