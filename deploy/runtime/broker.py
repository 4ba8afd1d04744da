"""The embedded Mosquitto of one directory: start, stop, kill."""

import re
import signal
import socket
from importlib.resources import files
from pathlib import Path

from deploy.runtime import processes, settings
from deploy.runtime.places import Identity, write_for
from deploy.runtime.software import Software
from protocols.errors import UnavailableError

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
KILL_TIMEOUT_S = 20
ANSWER_TIMEOUT_S = 10
HELLO = bytes.fromhex("100d00044d5154540502000a000000")  # CONNECT, clean start, no name: MQTT 5, section 3.1
CONNACK = b"\x20"  # section 3.2.1
SAYS_RUNNING = re.compile(rb"mosquitto version \S+ running")  # once its listeners are open (mosquitto.c)


def mark(directory: Path, identity: Identity) -> processes.Mark:
    """Return how this directory's Mosquitto is recognised: by the configuration file it was given."""
    return processes.Mark("mosquitto", str(configuration_file(directory)), identity.uid)


def configuration_file(directory: Path) -> Path:
    """Return where the broker's configuration is written."""
    return directory / "mosquitto.conf"


def find(directory: Path, identity: Identity) -> int | None:
    """Return the process id of the running broker, ``None`` if there is none."""
    found = processes.find_processes(mark(directory, identity))
    return found[0] if found else None


def answers(port: int, host: str = settings.LISTEN_ON, timeout_s: float = 1) -> bool:
    """Tell whether a broker on ``port`` answers a client, be it that it wants to know who that is."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(HELLO)
            return connection.recv(1) == CONNACK
    except OSError:
        return False


def accepts(host: str, port: int, timeout_s: float) -> bool:
    """Tell whether somebody takes connections on ``port``."""
    try:
        with socket.create_connection((host, port), timeout_s):
            return True
    except OSError:
        return False


def _serves(pid: int, port: int) -> bool:
    """Tell whether a running broker answers; one that was just killed looks alive until the kernel is done with it."""
    settled = processes.wait_until(lambda: processes.has_ended(pid) or answers(port), ANSWER_TIMEOUT_S)
    return settled and not processes.has_ended(pid)


def start(directory: Path, software: Software, identity: Identity, *, port: int) -> int:
    """Start the broker unless it runs; return its process id once it says that it listens."""
    already = find(directory, identity)
    if already is not None and _serves(already, port):
        return already
    kill(directory, identity)  # What is left, if anything, is dying or hangs.
    template = files("deploy").joinpath("mosquitto", "embedded.conf").read_text(encoding="utf-8")
    configuration = configuration_file(directory)
    write_for(configuration, settings.render_mosquitto(template, port=port, directory=directory), identity)
    log = directory / "log"
    begun = processes.begin_log(log)
    pid = processes.launch(
        [str(software.programs), "-c", str(configuration)], directory=directory, log=log, identity=identity
    )

    def running() -> bool:
        with log.open("rb") as file:
            file.seek(begun)
            return SAYS_RUNNING.search(file.read()) is not None

    processes.wait_until(lambda: processes.has_ended(pid) or running(), START_TIMEOUT_S)
    if processes.has_ended(pid) or not running():
        kill(directory, identity)  # One that is late must not be found by the next try, on another port.
        raise UnavailableError(f"Mosquitto did not start on port {port}: {processes.last_words(log)} (log: {log})")
    return pid


def stop(directory: Path, identity: Identity) -> None:
    """Stop the broker so that it writes its queues to disk."""
    ours = mark(directory, identity)
    pids = processes.find_processes(ours)
    processes.send_signal(pids, signal.SIGTERM)
    processes.wait_until(lambda: all(processes.has_ended(pid) for pid in pids), STOP_TIMEOUT_S)
    processes.end_processes(ours, KILL_TIMEOUT_S)


def kill(directory: Path, identity: Identity) -> None:
    """Kill the broker at once; what it had not written is lost."""
    processes.end_processes(mark(directory, identity), KILL_TIMEOUT_S)
