"""What ``make check``, ``test``, ``demo``, ``bench``, ``fuzz``, ``chaos`` and ``deb`` run, so that they need no make.

Each is a row of commands run in order; the first that fails ends it with its exit status.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

BIN = Path(sys.executable).parent

FOLDERS = ("edge_agent", "ingest_server", "billing_core", "protocols", "simulators", "deploy", "tests")
LINTERS = (
    ("ruff", "format", "--check", *FOLDERS),
    ("ruff", "check", *FOLDERS),
    ("mypy",),
    ("lint-imports",),
    ("vulture",),
)
FAST_TESTS = ("pytest", "-q", "-n", "auto", "--dist", "worksteal", "-m", "not integration")
INTEGRATION_TESTS = ("pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "integration", "--durations=10")
TASKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "check": (*LINTERS, FAST_TESTS),
    "test": (*LINTERS, FAST_TESTS, INTEGRATION_TESTS),
    "demo": (("congto", "demo"),),
    "bench": (("python", "-m", "tests.bench"),),
    "fuzz": (("python", "-m", "tests.dlms.fuzz"),),
    "chaos": (("python", "-m", "tests.chaos"),),
    "deb": (("python", "-m", "deploy.package.build"),),
}
QUIET = frozenset({"ruff", "mypy", "lint-imports", "vulture"})  # they say something only when they find something


def carry_out(command: Sequence[str]) -> int:
    """Run one command of a task; return its exit status."""
    words = [str(BIN / command[0]), *command[1:]]
    if command[0] not in QUIET:
        return run_patiently(words)
    begun = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    verdict = "ok" if done.returncode == 0 else "failed"
    shown = " ".join(word for word in command if word not in FOLDERS)
    print(f"{shown:24} {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    if done.returncode != 0:
        print(done.stdout, end="", flush=True)
    return done.returncode


def run_patiently(words: Sequence[str]) -> int:
    """Run a program that starts servers, and wait for it however often we are told to end: it needs time to stop them.

    Ctrl-C reaches it from the terminal; what reaches us alone is passed on. (``subprocess.run`` would kill it.)
    """
    started: list[subprocess.Popen[bytes]] = []
    told: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(words)
        for number in told:
            process.send_signal(number)
        started.append(process)
        status = process.wait()
        return status if status >= 0 else 128 - status  # as a shell reports a death by signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(words: Sequence[str]) -> int:
    """Carry out the task named by the first word; further words go to its last command."""
    if not words or words[0] not in TASKS:
        print(f"name a task: {', '.join(TASKS)}", file=sys.stderr)
        return 2
    *before, last = TASKS[words[0]]
    for command in [*before, (*last, *words[1:])]:
        status = carry_out(command)
        if status != 0:
            print(f"{words[0]} failed: {' '.join(command)} ended with status {status}", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
