"""Octets that nobody sees: held behind a repr that says nothing, read from files that only their owner can read."""

import hmac
import os
import stat
from pathlib import Path

from protocols.errors import UsageError

FILE_OCTETS_MAX = 4096  # a secret or a key is one line
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secret:
    """Octets that no log and no repr shows."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.octets, other.octets)

    def __hash__(self) -> int:
        return hash(self.octets)


def read_private(path: Path, octets_max: int = FILE_OCTETS_MAX) -> bytes:
    """Return what a file holds that belongs to its owner alone; raise :class:`UsageError` otherwise."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise UsageError(f"others may read {path}; run: chmod 600 {path}")
            content = file.read(octets_max + 1)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > octets_max:
        raise UsageError(f"{path} holds more than {octets_max} octets")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` whole, durably, readable by its owner alone; raise :class:`UsageError`."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}; see to the directory and its rights") from error


def octets_of_hex(text: str, what: str) -> bytes:
    """Return the octets of hex digits; the error does not say what was found."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{what}: expected pairs of hex digits") from None
