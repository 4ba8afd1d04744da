"""Paths on the simulated disk, for what the agent does to files beside SQLite; and the chance that names them."""

from collections.abc import Iterator
from fnmatch import fnmatch
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from edge_agent import spool_file, spool_log, spool_swap
from edge_agent.unheard import SUFFIX
from tests.simulation.disk import Disk, File, Refusal
from tests.simulation.loop import LIFE

FRAMES_REMEMBERED = 2000

# Each life looks at the same log again, and a checksum in Python is the dearest thing that a schedule does.
spool_log._add = lru_cache(FRAMES_REMEMBERED)(spool_log._add)


def _sync(path: Path) -> None:
    """Sync a path on the simulated disk; a directory's names are there with their files."""
    if str(path) in DiskPath.disk.files:
        DiskPath.disk.files[str(path)].sync()


spool_file.sync = _sync


class DiskPath(type(Path())):  # type: ignore[misc]  # pathlib's class for this system
    """A path on ``disk``: as much of :class:`pathlib.Path` as the agent uses of its spool's."""

    disk = Disk()

    def _file(self) -> File:
        if str(self) not in self.disk.files:
            raise FileNotFoundError(2, "No such file", str(self))
        return self.disk.files[str(self)]

    def _check_alive(self) -> None:
        life = LIFE.get()
        if life is not None and not life.alive:
            raise OSError("the process is dead: nothing of it reaches the disk")

    def exists(self, **_options: Any) -> bool:
        return str(self) in self.disk.files

    is_file = exists

    def stat(self, **_options: Any) -> Any:
        file = self._file()
        return SimpleNamespace(st_size=len(file.data), st_ino=file.number, st_mtime=file.number)

    def open(self, mode: str = "r", *_words: Any, **_options: Any) -> Any:
        assert mode == "rb", "the agent writes its spool through SQLite"
        return BytesIO(bytes(self._file().data))

    def write_text(self, data: str, *_words: Any, **_options: Any) -> int:
        self._check_alive()
        if self.suffix == SUFFIX and self.disk.refuse in (Refusal.FULL, Refusal.WRITE):  # others' are SQLite's
            raise OSError(28, "simulated: refused", str(self))
        file = self.disk.file(str(self))
        file.truncate(0)
        file.write(0, data.encode())
        return len(data)

    def replace(self, target: Any) -> Any:
        self._check_alive()
        self.disk.files[str(target)] = self._file()
        del self.disk.files[str(self)]
        return target

    def hardlink_to(self, target: Any) -> None:
        self._check_alive()
        self.disk.files[str(self)] = target._file()

    def unlink(self, missing_ok: bool = False) -> None:
        self._check_alive()
        if not missing_ok:
            self._file()
        self.disk.files.pop(str(self), None)

    def glob(self, pattern: str, **_options: Any) -> Iterator["DiskPath"]:
        names = [name for name in sorted(self.disk.files) if fnmatch(name, f"{self}/{pattern}")]
        return iter([type(self)(name) for name in names])


def seed_names(rng: Random) -> None:
    """Let generations and the names of damaged files be drawn from the schedule's chance."""
    drawn: Any = SimpleNamespace(token_hex=lambda octets: rng.randbytes(octets).hex())
    spool_file.secrets = spool_swap.secrets = drawn
