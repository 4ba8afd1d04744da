"""Invocation counters on disk: reserved before they are used, so that no kill at any moment lets one be used twice.

One JSON file, replaced whole and synced. A counter belongs to a key and to our system title, whichever meter it is
used with; the file names the key by the first octets of its SHA-256, which says nothing about a random key. Two
programs at once are kept apart by a lock.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.dlms.ciphering import COUNTER_MAX
from protocols.errors import UnavailableError, UsageError

RESERVED_AT_ONCE = 256  # a sync costs milliseconds; 32 bits of counters last 16 million such sessions
FINGERPRINT_OCTETS = 8
FILE_OCTETS_MAX = 1 << 20


class CounterFile:
    """The counters of one key and title in a file."""

    def __init__(self, path: Path, key: bytes, title: bytes) -> None:
        self._path = path
        self._name = f"{title.hex()}-{hashlib.sha256(b'congto counters' + key).digest()[:FINGERPRINT_OCTETS].hex()}"
        self._stop = 0

    @property
    def is_known(self) -> bool:
        """Whether the file has this key's counter."""
        with self._locked():
            return self._name in self._load()

    def reserve(self, at_least: int = 0) -> range:
        """Return counters that nobody else has or will have, from ``at_least`` on; they are on disk when it returns."""
        with self._locked():
            entries = self._load()
            entry = entries.setdefault(self._name, {"next": 0, "received": {}})
            first = max(entry["next"], at_least)
            self._stop = min(first + RESERVED_AT_ONCE, COUNTER_MAX + 1)
            if first >= self._stop:
                raise UsageError(f"{self._path}: the counter of this key is used up: change the key")
            entry["next"] = self._stop
            self._store(entries)
            return range(first, self._stop)

    def received(self, meter_title: bytes) -> int:
        """Return the highest counter accepted from the meter, -1 if none was."""
        with self._locked():
            entry = self._load().get(self._name, {"received": {}})
            return int(entry["received"].get(meter_title.hex(), -1))

    def close(self, next_counter: int, meter_title: bytes | None, received_counter: int) -> None:
        """Give back what was reserved last and not used, and keep what was received."""
        with self._locked():
            entries = self._load()
            entry = entries.setdefault(self._name, {"next": self._stop, "received": {}})
            if entry["next"] == self._stop and next_counter <= self._stop:  # Else somebody reserved after us.
                entry["next"] = next_counter
            if meter_title is not None:
                known = entry["received"].get(meter_title.hex(), -1)
                entry["received"][meter_title.hex()] = max(known, received_counter)
            self._store(entries)

    def keep_received(self, meter_title: bytes, counter: int) -> None:
        """Keep the counter of what was just accepted; it is on disk when it returns."""
        with self._locked():
            entries = self._load()
            entry = entries.setdefault(self._name, {"next": 0, "received": {}})
            entry["received"][meter_title.hex()] = max(counter, entry["received"].get(meter_title.hex(), -1))
            self._store(entries)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._path.with_name(self._path.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"--counters {self._path}: can't be locked: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load(self) -> dict[str, Any]:
        try:
            content = self._path.read_bytes()[:FILE_OCTETS_MAX]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(f"--counters {self._path}: can't be read: {error.strerror}") from error
        try:
            entries = json.loads(content)["counters"]
            if all(_is_entry(entry) for entry in entries.values()):
                return dict(entries)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise UsageError(
            f"--counters {self._path}: holds no counters that can be trusted; set it aside and use --recover-counter"
        )

    def _store(self, entries: dict[str, Any]) -> None:
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"version": 1, "counters": entries}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise UnavailableError(f"--counters {self._path}: can't be written: {error.strerror}") from error


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("received"), dict):
        return False
    numbers = [entry.get("next"), *entry["received"].values()]
    return all(type(number) is int and -1 <= number <= COUNTER_MAX + 1 for number in numbers) and entry["next"] >= 0
