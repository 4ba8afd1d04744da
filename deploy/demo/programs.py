"""The demo's processes: each a real `congto` command with its own log, ended by us and by nobody else."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from protocols.errors import UnavailableError

STOP_TIMEOUT_S = 20.0  # an agent finishes its cycle, ingest its batch; both take far less
LOG_TAIL_LINES = 15


class Program:
    """One running `congto` command.

    It leads a session of its own, so that Ctrl-C reaches only the demo, which then ends its programs. Where the system
    has ``setpriv`` (util-linux), the kernel ends it too should the demo itself be killed.
    """

    def __init__(self, name: str, words: Sequence[str], logs: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), sys.executable, "-m", "deploy.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise :class:`UnavailableError` with the end of its log if the program has ended by itself."""
        status = self._process.poll()
        if status is not None:
            raise UnavailableError(f"{self.name} ended with status {status}; its log says:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])

    def tell_to_end(self) -> None:
        """Ask the program to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait until the program has ended, and end it at once when the monotonic ``deadline`` has passed."""
        try:
            self._process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _dying_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "TERM", "--"]


class Programs:
    """All programs of the demo."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._logs = directory / "logs"
        self._logs.mkdir(exist_ok=True)
        self._environment = environment
        self._running: list[Program] = []

    def start(self, name: str, *words: str) -> Program:
        """Start `congto` with ``words``; its log is ``logs/NAME.log``."""
        program = Program(name, words, self._logs, self._environment)
        self._running.append(program)
        return program

    def check(self) -> None:
        """Raise :class:`UnavailableError` if a program has ended by itself."""
        for program in self._running:
            program.check()

    def stop(self, *programs: Program) -> None:
        """End ``programs``, all at a time: politely, and after :data:`STOP_TIMEOUT_S` at once."""
        for program in programs:
            program.tell_to_end()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for program in programs:
            program.end(deadline)
            self._running.remove(program)

    def stop_all(self) -> None:
        """End all programs."""
        self.stop(*self._running)

    def call(self, *words: str, accept: Sequence[int] = (0,)) -> str:
        """Run `congto` with ``words`` to its end and return what it printed.

        Raises
        ------
        UnavailableError
            If its exit status is none of ``accept``; the message holds what it said.
        """
        finished = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self._environment},
            start_new_session=True,
            check=False,
        )
        if finished.returncode not in accept:
            said = (finished.stderr or finished.stdout).strip()
            raise UnavailableError(f"congto {' '.join(words[:2])} ended with status {finished.returncode}: {said}")
        return finished.stdout
