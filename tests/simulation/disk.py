"""A disk that forgets what was not synced.

Each file has what the system shows (``data``) and what is on the platter (``durable``); between them lie the writes
since the last sync, in order. A power cut keeps none, some or torn ones of them, sector by sector. A sync that fails
throws its writes away while the system goes on showing them, as Linux does: a second sync then "succeeds" and the
data is gone all the same (fsync(2); "fsyncgate", LWN 752063).
"""

from dataclasses import dataclass, field
from enum import Enum
from random import Random

SECTOR_OCTETS = 512


class Loss(Enum):
    """What a power cut does to the writes that were not synced."""

    ALL = "all"
    TAIL = "tail"
    SOME = "some"
    NONE = "none"


class Refusal(Enum):
    """Why the disk does not do what it is asked to."""

    FULL = "full"
    WRITE = "write"
    SYNC = "sync"
    READ = "read"


@dataclass(slots=True)
class File:
    """One file: what is shown, what is durable, and the writes between (``None`` for the data is a truncation)."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    number: int = 0

    def write(self, at: int, data: bytes) -> None:
        """Write, beyond the end too."""
        put(self.data, at, data)
        self.unsynced.append((at, data))

    def truncate(self, size: int) -> None:
        """Cut the file."""
        del self.data[size:]
        self.unsynced.append((size, None))

    def sync(self) -> None:
        """Make the writes durable."""
        for at, data in self.unsynced:
            put(self.durable, at, data)
        self.unsynced.clear()

    def lose_power(self, loss: Loss, rng: Random) -> None:
        """Keep of the writes that were not synced what chance keeps."""
        writes = [] if loss is Loss.ALL else self.unsynced
        if loss is Loss.TAIL:
            writes = writes[: rng.randrange(len(writes) + 1)]
        for at, data in writes:
            if data is None or loss is not Loss.SOME:
                put(self.durable, at, data)
                continue
            for start in range(0, len(data), SECTOR_OCTETS):
                if rng.random() < 0.5:
                    put(self.durable, at + start, data[start : start + SECTOR_OCTETS])
        self.unsynced.clear()
        self.data = bytearray(self.durable)


def put(content: bytearray, at: int, data: bytes | None) -> None:
    """Write ``data`` into ``content``, or cut it when there is none."""
    if data is None:
        del content[at:]
        return
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


class Disk:
    """Files by name. ``refuse`` says what it does not do just now."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.refuse: Refusal | None = None
        self.operations = 0
        self._made = 0

    def file(self, name: str) -> File:
        """Return the file of that name; make it if there is none."""
        if name not in self.files:
            self._made += 1
            self.files[name] = File(number=self._made)
        return self.files[name]

    def octets(self) -> int:
        """Return how much is on it."""
        return sum(len(file.data) for file in self.files.values())

    def lose_power(self, loss: Loss, rng: Random) -> None:
        """Cut the power."""
        for name in sorted(self.files):
            file = self.files[name]
            file.lose_power(loss, rng)
            if not file.data and not file.durable and rng.random() < 0.5:
                del self.files[name]  # the directory's entry was not synced either

    def flip(self, rng: Random) -> str | None:
        """Flip one bit in one file, at rest; say where."""
        names = sorted(name for name, file in self.files.items() if file.durable)
        if not names:
            return None
        name = rng.choice(names)
        file = self.files[name]
        at, bit = rng.randrange(len(file.durable)), 1 << rng.randrange(8)
        file.durable[at] ^= bit
        if at < len(file.data):
            file.data[at] ^= bit
        return f"{name}:{at}"
