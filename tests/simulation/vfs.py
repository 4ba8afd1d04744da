"""SQLite on the simulated disk: a VFS made of Python callbacks, registered with the very library that ``sqlite3`` uses.

So the agent's spool runs unchanged, with SQLite's own journal, checksums and recovery, and the disk below it can lose
power, be full, refuse, and flip bits. What a dead process has open is refused and changes nothing.

Source: https://sqlite.org/vfs.html and the structures of sqlite3.h 3.40.
"""

import _sqlite3
import ctypes
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_void_p
from random import Random
from typing import Any

from tests.simulation.connections import telling
from tests.simulation.disk import Disk, File, Refusal
from tests.simulation.loop import LIFE, Life

OK, BUSY, CANTOPEN, NOTFOUND, FULL = 0, 5, 14, 12, 13
IOERR_READ, IOERR_SHORT_READ, IOERR_WRITE, IOERR_FSYNC = 266, 522, 778, 1034
OPEN_CREATE, OPEN_MAIN_DB = 0x4, 0x100
SHM_UNLOCK, SHM_LOCK, SHM_SHARED, SHM_EXCLUSIVE = 1, 2, 4, 8
SHM_LOCKS = 8
NOTHING_TO_DO = ("unlock", "shm_barrier")
POWERSAFE_OVERWRITE = 0x1000  # SQLite's own assumption about a sector that is being written
NAME_OCTETS_MAX = 512

_library = ctypes.CDLL(_sqlite3.__file__)  # its symbols are those of the SQLite that it is linked with
_library.sqlite3_vfs_find.restype = c_void_p
_library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
_library.sqlite3_randomness.argtypes = [c_int, c_void_p]

_V, _I, _L = c_void_p, c_int, c_int64
_METHODS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("close", (_V,)),
    ("read", (_V, _V, _I, _L)),
    ("write", (_V, _V, _I, _L)),
    ("truncate", (_V, _L)),
    ("sync", (_V, _I)),
    ("size", (_V, POINTER(c_int64))),
    ("lock", (_V, _I)),
    ("unlock", (_V, _I)),
    ("reserved", (_V, POINTER(c_int))),
    ("control", (_V, _I, _V)),
    ("sector", (_V,)),
    ("traits", (_V,)),
    ("shm_map", (_V, _I, _I, _I, POINTER(c_void_p))),
    ("shm_lock", (_V, _I, _I, _I)),
    ("shm_barrier", (_V,)),
    ("shm_unmap", (_V, _I)),
)
_CALLS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("open", (_V, c_char_p, _V, _I, POINTER(c_int))),
    ("delete", (_V, c_char_p, _I)),
    ("access", (_V, c_char_p, _I, POINTER(c_int))),
    ("full_path", (_V, c_char_p, _I, _V)),
    ("dl_open", (_V, c_char_p)),
    ("dl_error", (_V, _I, c_char_p)),
    ("dl_sym", (_V, _V, c_char_p)),
    ("dl_close", (_V, _V)),
    ("randomness", (_V, _I, _V)),
    ("sleep", (_V, _I)),
    ("now", (_V, POINTER(c_double))),
    ("last_error", (_V, _I, c_char_p)),
)


class _IoMethods(ctypes.Structure):
    _fields_ = (("version", c_int), *((name, c_void_p) for name, _ in _METHODS))


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", c_int),
        ("file_octets", c_int),
        ("name_octets", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        *((name, c_void_p) for name, _ in _CALLS),
    )


class Shared:
    """A database's shared memory: its regions, and who holds which lock."""

    def __init__(self) -> None:
        self.regions: list[ctypes.Array[ctypes.c_char]] = []
        self.shared: list[set[int]] = [set() for _ in range(SHM_LOCKS)]
        self.exclusive: list[int | None] = [None] * SHM_LOCKS
        self.users: set[int] = set()


class Handle:
    """One file that a connection has open."""

    __slots__ = ("file", "life", "name")

    def __init__(self, name: str, file: File, life: Life | None) -> None:
        self.name, self.file, self.life = name, file, life

    @property
    def dead(self) -> bool:
        """Whether whoever opened it is dead."""
        return self.life is not None and not self.life.alive


class SimulatedVfs:
    """The callbacks. One instance for the program's life; ``disk`` changes with each schedule."""

    NAME = b"congto-simulation"

    def __init__(self) -> None:
        self.disk = Disk()
        self.rng = Random(0)
        self.on_operation: Callable[[str], None] | None = None
        self._handles: dict[int, Handle] = {}
        self._shared: dict[int, Shared] = {}  # by the file's own number, as the system has it, not by its name
        self._graveyard: list[Shared] = []
        self._kept: list[Any] = []
        self._io = _IoMethods(2)
        self._bind(self._io, _METHODS)
        self._vfs = _Vfs(1, 16, NAME_OCTETS_MAX, None, self.NAME, None)
        self._bind(self._vfs, _CALLS)

    def _bind(self, structure: ctypes.Structure, rows: tuple[tuple[str, tuple[Any, ...]], ...]) -> None:
        for name, arguments in rows:
            callback: Any = (
                _library.sqlite3_initialize
            )  # does nothing once it has, says OK, and needs no frame of Python
            if name not in NOTHING_TO_DO:
                callback = ctypes.CFUNCTYPE(c_int, *arguments)(getattr(self, f"_{name}"))
            self._kept.append(callback)
            setattr(structure, name, ctypes.cast(callback, c_void_p))

    @contextmanager
    def mounted(self, disk: Disk, rng: Random) -> Iterator[None]:
        """Let every connection that is opened within go to ``disk``."""
        before = _library.sqlite3_vfs_find(None)
        self.disk, self.rng = disk, rng
        self._shared.clear()
        self._graveyard.clear()
        _library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)
        _library.sqlite3_randomness(0, None)  # SQLite's own chance begins anew, from ours
        connect = sqlite3.connect
        sqlite3.connect = telling(connect)
        try:
            yield
        finally:
            sqlite3.connect = connect
            self.on_operation = None
            _library.sqlite3_vfs_register(before, 1)

    def forget_shared_memory(self) -> None:
        """Let the next process begin without what this one had in memory; its own connections still point into it."""
        self._graveyard.extend(self._shared.values())
        self._shared.clear()

    def _step(self, handle: Handle, what: str) -> bool:
        """Count an operation, which may kill; say whether the handle may still do anything."""
        if handle.dead:
            return False
        self.disk.operations += 1
        if self.on_operation is not None:
            self.on_operation(what)
            return not handle.dead
        return True

    def _open(self, _vfs: int, name: bytes | None, pointer: int, flags: int, out: Any) -> int:
        ctypes.memset(pointer, 0, 16)
        life = LIFE.get()
        if life is not None and not life.alive:
            return CANTOPEN
        if name is None:
            file, text = File(), ""
        else:
            text = name.decode()
            refuses = not flags & OPEN_CREATE or self.disk.refuse in (Refusal.FULL, Refusal.WRITE)
            if refuses and text not in self.disk.files:
                return CANTOPEN
            file = self.disk.file(text)
        self._handles[pointer] = Handle(text, file, life)
        c_void_p.from_address(pointer).value = ctypes.addressof(self._io)
        if out:
            out[0] = flags
        return OK

    def _close(self, pointer: int) -> int:
        self._handles.pop(pointer, None)
        return OK

    def _read(self, pointer: int, buffer: int, count: int, at: int) -> int:
        handle = self._handles[pointer]
        if handle.dead or self.disk.refuse is Refusal.READ:
            return IOERR_READ
        found = bytes(handle.file.data[at : at + count])
        ctypes.memmove(buffer, found, len(found))
        if len(found) < count:
            ctypes.memset(buffer + len(found), 0, count - len(found))
            return IOERR_SHORT_READ
        return OK

    def _write(self, pointer: int, buffer: int, count: int, at: int) -> int:
        handle = self._handles[pointer]
        if not self._step(handle, "write"):
            return IOERR_WRITE
        refuse = self.disk.refuse
        if refuse is Refusal.WRITE:
            return IOERR_WRITE
        if refuse is Refusal.FULL and at + count > len(handle.file.data):
            return FULL
        handle.file.write(at, ctypes.string_at(buffer, count))
        return OK

    def _truncate(self, pointer: int, size: int) -> int:
        handle = self._handles[pointer]
        if not self._step(handle, "truncate") or self.disk.refuse is Refusal.WRITE:
            return IOERR_WRITE
        handle.file.truncate(size)
        return OK

    def _sync(self, pointer: int, _flags: int) -> int:
        handle = self._handles[pointer]
        if not self._step(handle, "sync"):
            return IOERR_FSYNC
        if self.disk.refuse is Refusal.SYNC:
            handle.file.unsynced.clear()  # shown from now on, and never written
            return IOERR_FSYNC
        handle.file.sync()
        return OK

    def _size(self, pointer: int, out: Any) -> int:
        out[0] = len(self._handles[pointer].file.data)
        return OK

    def _lock(self, pointer: int, level: int) -> int:
        return BUSY if self._handles[pointer].dead and level > 1 else OK

    def _reserved(self, _pointer: int, out: Any) -> int:
        out[0] = 0
        return OK

    def _control(self, _pointer: int, _operation: int, _argument: int) -> int:
        return NOTFOUND

    def _sector(self, _pointer: int) -> int:
        return 4096

    def _traits(self, _pointer: int) -> int:
        return POWERSAFE_OVERWRITE

    def _shared_by(self, file: File) -> Shared:
        found = self._shared.get(file.number)
        if found is None:
            found = self._shared[file.number] = Shared()
        return found

    def _shm_map(self, pointer: int, region: int, octets: int, extend: int, out: Any) -> int:
        handle = self._handles[pointer]
        if handle.dead:
            return IOERR_READ
        shared = self._shared_by(handle.file)
        shared.users.add(pointer)
        while len(shared.regions) <= region:
            if not extend:
                out[0] = None
                return OK
            shared.regions.append(ctypes.create_string_buffer(octets))
        out[0] = ctypes.addressof(shared.regions[region])
        return OK

    def _shm_lock(self, pointer: int, first: int, count: int, flags: int) -> int:
        handle = self._handles[pointer]
        life = handle.life
        if life is not None and not life.alive:
            return OK if flags & SHM_UNLOCK else BUSY
        shared = self._shared_by(handle.file)
        slots = range(first, first + count)
        if flags & SHM_UNLOCK:
            for slot in slots:
                shared.shared[slot].discard(pointer)
                if shared.exclusive[slot] == pointer:
                    shared.exclusive[slot] = None
            return OK
        for slot in slots:
            holder, readers = shared.exclusive[slot], shared.shared[slot]
            if holder not in (None, pointer) or (flags & SHM_EXCLUSIVE and readers and readers != {pointer}):
                return BUSY
        for slot in slots:
            if flags & SHM_SHARED:
                shared.shared[slot].add(pointer)
            else:
                shared.exclusive[slot] = pointer
        return OK

    def _shm_unmap(self, pointer: int, delete: int) -> int:
        handle = self._handles[pointer]
        shared = self._shared.get(handle.file.number)
        if shared is not None and pointer in shared.users:
            shared.users.discard(pointer)
            if not shared.users or delete:
                self._graveyard.append(self._shared.pop(handle.file.number))
        return OK

    def _delete(self, _vfs: int, name: bytes, _sync: int) -> int:
        life = LIFE.get()
        if life is None or life.alive:
            self.disk.files.pop(name.decode(), None)
        return OK

    def _access(self, _vfs: int, name: bytes, _flags: int, out: Any) -> int:
        out[0] = int(name.decode() in self.disk.files)
        return OK

    def _full_path(self, _vfs: int, name: bytes, octets: int, out: int) -> int:
        if len(name) >= octets:
            return CANTOPEN
        ctypes.memmove(out, name + b"\0", len(name) + 1)
        return OK

    def _dl_open(self, *_arguments: Any) -> int:
        return 0

    _dl_error = _dl_sym = _dl_close = _last_error = _dl_open

    def _randomness(self, _vfs: int, count: int, out: int) -> int:
        ctypes.memmove(out, self.rng.randbytes(count), count)
        return count

    def _sleep(self, _vfs: int, microseconds: int) -> int:
        return microseconds

    def _now(self, _vfs: int, out: Any) -> int:
        out[0] = 2_461_042.5  # 2026-01-01, as a Julian day
        return OK


VFS = SimulatedVfs()
