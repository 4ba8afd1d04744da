"""The processes under test: each is killed, stopped and started by us, and by nobody else."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.runtime import broker, database, lifecycle, places, ports, processes, software
from protocols.errors import UnavailableError
from tests.chaos.proxy import LoopThread

STOP_S = 30.0
READY_S = 60.0
RETRY_S = 0.05
BROKER_CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {directory}/
autosave_interval 1
max_inflight_messages 20
max_queued_messages {queued}
max_packet_size 4194304
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
"""
QUEUED_USUALLY, QUEUED_FEW = 10_000, 5


class Part:
    """A program as a process of its own, started again under the same words whenever it has ended."""

    def __init__(self, name: str, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.words = list(words)
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = False  # whether it is to run
        self.ended: list[int] = []  # the statuses with which it ended by itself

    def start(self) -> None:
        """Start it unless it runs; it gets ready by itself."""
        self.wanted = True
        if self._process is not None and self._process.poll() is None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def tend(self) -> None:
        """Start it again if it has ended by itself, as systemd does."""
        if self.wanted and self._process is not None and (status := self._process.poll()) is not None:
            self.ended.append(status)
            self.start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does; it is not wanted until it is started."""
        self.wanted = False
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """Ask it to stop, and kill it if it does not."""
        self.wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(STOP_S)
        self.kill()

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def congto(*words: str) -> list[str]:
    """Return the words of a `congto` command."""
    return [sys.executable, "-m", "deploy.cli", *words]


class Broker(Part):
    """Mosquitto with a configuration of ours: its queues may be short, and its store may be emptied."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        self.port = ports.free_port()
        program = software.choose_mosquitto(os.environ, places.cache_directory(os.environ), print).programs
        self._configuration = directory / "mosquitto.conf"
        super().__init__("broker", [str(program), "-c", str(self._configuration)], directory / "log", {})
        self.configure(QUEUED_USUALLY)

    def configure(self, queued: int) -> None:
        """Write the configuration for the next start: so many messages are queued for a client."""
        text = BROKER_CONFIGURATION.format(port=self.port, directory=self._directory, queued=queued)
        self._configuration.write_text(text + ("user root\n" if os.geteuid() == 0 else ""), encoding="utf-8")

    def empty(self) -> None:
        """Remove its store: sessions, queues and what was retained."""
        (self._directory / "mosquitto.db").unlink(missing_ok=True)

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        assert processes.wait_until(lambda: broker.answers(self.port), READY_S), self.said()[-2000:]


class Database:
    """PostgreSQL with TimescaleDB in a runtime of its own; it comes back in a thread, for that takes seconds."""

    def __init__(self, directory: Path, broker_url: str) -> None:
        self._directory = directory
        own = {name: value for name, value in os.environ.items() if name not in {"CONGTO_DSN", "CONGTO_BROKER"}}
        running = lifecycle.up(directory, broker_url=broker_url, environment=own)
        self.dsn = running.dsn
        self._home = directory.resolve() / "database"
        self._identity = places.server_identity(self._home)
        self._starting: threading.Thread | None = None
        self._stopped: list[int] = []
        self._given_up = threading.Event()
        self.refusals: list[str] = []

    @property
    def identity(self) -> places.Identity:
        """Whose its processes are."""
        return self._identity

    def kill(self) -> None:
        """Kill all of its processes."""
        self.wait()
        self.go_on()
        lifecycle.kill_database(self._directory)

    def quit(self) -> None:
        """Stop it immediately: no checkpoint, no good-bye."""
        self.wait()
        self.go_on()
        postmaster = database.postmaster(self._home, self._identity)
        if postmaster is not None:
            processes.send_signal([postmaster], signal.SIGQUIT)
        processes.wait_for_end(database.mark(self._home, self._identity), STOP_S)

    def start(self) -> None:
        """Start it in the background."""

        self.wait()
        self._given_up.clear()

        def start() -> None:
            while not self._given_up.wait(RETRY_S):
                try:
                    lifecycle.start_database(self._directory)
                except UnavailableError as error:  # such as while its disk is full
                    self.refusals.append(str(error))
                else:
                    return

        self._starting = threading.Thread(target=start)
        self._starting.start()

    def wait(self) -> None:
        """Return when a start that was begun has come to its end, or after some time without."""
        if self._starting is not None:
            self._starting.join(READY_S)
            self._given_up.set()
            self._starting.join()
            self._starting = None

    def stop(self) -> None:
        """Let none of its processes run."""
        self.wait()
        self._stopped = processes.find_processes(database.mark(self._home, self._identity))
        processes.send_signal(self._stopped, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let its processes run again."""
        processes.send_signal(self._stopped, signal.SIGCONT)
        self._stopped = []

    def close(self) -> None:
        """End it for good; what it holds is thrown away."""
        self.go_on()
        self.kill()


class SmallDisk:
    """A tmpfs of some megabytes at ``path``, where the machine lets us mount one; else an ordinary directory."""

    def __init__(self, path: Path, megabytes: int) -> None:
        path.mkdir()
        self.path = path
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
        done = subprocess.run(words, capture_output=True, check=False) if shutil.which("mount") else None
        self.is_small = done is not None and done.returncode == 0

    def fill(self) -> None:
        """Leave no room on it."""
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            for octets in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(octets)) == octets:
                        pass

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        if self.is_small:
            subprocess.run(["umount", "-l", str(self.path)], check=True)


def in_loop(loop: LoopThread, *closing: object) -> None:
    """Close what lives in the loop's thread, then the thread."""
    for each in closing:
        loop.call(each.close)  # type: ignore[attr-defined]
    loop.close()


def _dying_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
