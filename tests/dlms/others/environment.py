"""Another implementation in a virtual environment of its own, in congto's cache."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.runtime.places import cache_directory

REQUIREMENTS = ("pydlms-client==0.1.0", "cryptography>=45")
BUILD_S_MAX = 300


def pydlms() -> Path:
    """Return the program ``pydlms``, fetching it the first time."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    root = cache_directory(os.environ) / "others" / f"pydlms-0.1.0-python{version}"
    ready = root / "ready"
    if not ready.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(root)],
            [str(root / "bin" / "pip"), "install", "--quiet", *REQUIREMENTS],
        ):
            subprocess.run(command, check=True, timeout=BUILD_S_MAX)
        ready.touch()
    return root / "bin" / "pydlms"
