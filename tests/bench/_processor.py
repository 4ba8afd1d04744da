"""Processor time and memory of this process, its children and the database server, read from /proc.

On a machine that others use too the clock on the wall says little: processor seconds are what a run costs.
"""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY_S = 0.2
PPID, TIMES = 1, slice(11, 15)  # after the name: parent; user, system, and both of children that ended; proc(5)


@dataclass(slots=True)
class Used:
    """What a piece of work took: processor seconds here and in the server, and the most memory at any time. [octets]

    Memory is what each process has for itself; the pages that the server's processes share count once.
    """

    own_s: float = 0.0
    server_s: float = 0.0
    memory_max: int = 0

    @property
    def all_s(self) -> float:
        """Processor seconds of everybody."""
        return self.own_s + self.server_s


@contextmanager
def used(server: int) -> Iterator[Used]:
    """Measure what the block uses; ``server`` is the database's first process, children count once they ended."""
    found, done = Used(), threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_S):
            found.memory_max = max(found.memory_max, _memory({os.getpid(), server}))

    watcher = threading.Thread(target=watch)
    own_s, server_s = _own_s(), processor_s(server)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found.own_s, found.server_s = _own_s() - own_s, processor_s(server) - server_s


def _own_s() -> float:
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in own)


def processor_s(server: int) -> float:
    """Return what ``server`` and its processes have used; of one that has ended its parent knows."""
    stats = _stats()
    return sum(sum(times) for pid, (parent, times) in stats.items() if server in (pid, parent)) / TICKS


def _memory(roots: set[int]) -> int:
    """Return what the processes under ``roots`` have for themselves, and the most that one of them shares. [octets]"""
    stats = _stats()
    own = shared = 0
    for pid in stats:
        if not _is_under(pid, roots, stats):
            continue
        try:
            _, resident, common = (Path("/proc") / str(pid) / "statm").read_text().split()[:3]
        except OSError:  # it ended meanwhile
            continue
        own += int(resident) - int(common)
        shared = max(shared, int(common))
    return (own + shared) * PAGE


def _is_under(pid: int, roots: set[int], stats: dict[int, tuple[int, list[int]]]) -> bool:
    while pid in stats:
        if pid in roots:
            return True
        pid = stats[pid][0]
    return False


def _stats() -> dict[int, tuple[int, list[int]]]:
    """Return parent and times of every process. [ticks]"""
    found = {}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        found[int(directory.name)] = (int(fields[PPID]), [int(ticks) for ticks in fields[TIMES]])
    return found
