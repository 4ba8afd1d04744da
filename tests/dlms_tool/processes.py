"""``congto`` commands and simulated meters as processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 60
SECRET = "a-secret-of-meters"
LOW = ("--client", "1", "--auth", "low", "--secret-env", "METER_SECRET")


def congto(*words: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "METER_SECRET": SECRET, "COLUMNS": "100", **(environment or {})},
    )


def answer(*words: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a command with ``--json`` and return its answer."""
    done = congto(*words, "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@contextmanager
def sim(*words: object) -> Iterator[dict[str, Any]]:
    """Run ``congto sim`` while the caller needs it; yield what it says when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "sim", *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the simulator ended before it was ready"
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)
        process.stdout.close()


def owner_only(path: Path, content: str) -> Path:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return path
