"""Start, find and end server processes.

No pid file is trusted: after a crash or a reboot its number may be somebody else's. A server is recognised by its
command line, which names the runtime's own directory or mark, by its user, and by not being a zombie.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.runtime.places import Identity
from protocols.errors import UnavailableError

LOG_BYTES_MAX = 16 * 2**20  # a longer log is put aside at the next start, in the place of the one before it
POLL_S = 0.02  # how often a waiting caller looks again
ENDED = frozenset({"Z", "X", "x"})  # proc(5): zombie, dead

# The shell leaves at once, so the server belongs to init: nobody inherits a zombie when it ends.
DETACH = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True, slots=True)
class Mark:
    """How a server's processes are told from others': program name, a piece of the command line, user."""

    program: str
    text: str
    uid: int


def environment_for_servers(directory: Path) -> dict[str, str]:
    """Return a small environment that is the same everywhere."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(directory)}


def credentials(identity: Identity) -> Mapping[str, int | list[int]]:
    """Return the arguments of :class:`subprocess.Popen` that make a child of root somebody else."""
    if os.geteuid() != 0:
        return {}
    return {"user": identity.uid, "group": identity.gid, "extra_groups": []}


def run_to_end(command: Sequence[str], *, directory: Path, identity: Identity, timeout_s: float) -> None:
    """Run ``command`` as ``identity``; raise UnavailableError with its last words if it fails."""
    done = subprocess.run(  # type: ignore[call-overload]  # user, group: given or not, by the caller's rights
        list(command),
        cwd=directory,
        env=environment_for_servers(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        umask=0o077,
        check=False,
        **credentials(identity),
    )
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip().splitlines()[-5:]
        raise UnavailableError(f"{command[0]} ended with status {done.returncode}: {' | '.join(words)}")


def begin_log(log: Path) -> int:
    """Put a log aside that has grown long; return where the next line will be."""
    length = log.stat().st_size if log.exists() else 0
    if length <= LOG_BYTES_MAX:
        return length
    log.replace(log.with_name(f"{log.name}.1"))
    return 0


def launch(command: Sequence[str], *, directory: Path, log: Path, identity: Identity) -> int:
    """Start ``command`` in a session of its own and return its process id; the caller's end does not end it."""
    done = subprocess.run(  # type: ignore[call-overload]  # see run_to_end
        ["/bin/sh", "-c", DETACH, "sh", str(log), *command],
        cwd=directory,
        env=environment_for_servers(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        umask=0o077,
        check=True,
        **credentials(identity),
    )
    return int(done.stdout)


def has_ended(pid: int) -> bool:
    """Tell whether a process that was just launched is gone. (While it turns into another program it has no name.)"""
    return _state(Path("/proc") / str(pid)) in ENDED


def _state(process: Path) -> str:
    """Return the process's state letter (proc(5)), "X" if there is no such process."""
    try:
        return (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def _is_marked(process: Path, mark: Mark) -> bool:
    try:
        if process.stat().st_uid != mark.uid:
            return False
        words = (process / "cmdline").read_bytes().decode(errors="replace")
        if mark.text not in words:
            return False
    except OSError:
        return False  # It ended while we looked.
    named = any(Path(word).name == mark.program or word.startswith(f"{mark.program}:") for word in words.split("\0"))
    return named and _state(process) not in ENDED


def find_processes(mark: Mark) -> list[int]:
    """Return the ids of the living processes that carry ``mark``, in ascending order."""
    found = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_marked(entry, mark)]
    return sorted(int(entry.name) for entry in found)


def is_alive(pid: int, mark: Mark) -> bool:
    """Tell whether ``pid`` is a living process that carries ``mark``."""
    return _is_marked(Path("/proc") / str(pid), mark)


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Look again and again until ``condition`` holds; tell whether it did within ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def send_signal(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_for_end(mark: Mark, deadline_s: float, *, kill: bool = False) -> bool:
    """Wait until nothing that carries ``mark`` is left, killing it or not; tell whether that came within the deadline.

    A dying process loses its command line before it lets go of ports and memory, so whatever was seen must be gone.
    """
    seen: set[int] = set()

    def gone() -> bool:
        left = find_processes(mark)
        seen.update(left)
        if kill:
            send_signal(left, signal.SIGKILL)
        return not left and all(has_ended(pid) for pid in seen)

    return wait_until(gone, deadline_s)


def end_processes(mark: Mark, deadline_s: float) -> None:
    """Kill whatever carries ``mark`` and wait until it is gone."""
    if not wait_for_end(mark, deadline_s, kill=True):
        raise UnavailableError(
            f"the processes {find_processes(mark)} did not end after SIGKILL within {deadline_s:g} s"
        )


def last_words(log: Path, lines: int = 5) -> str:
    """Return the end of a log file on one line."""
    try:
        return " | ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return "(no log)"
