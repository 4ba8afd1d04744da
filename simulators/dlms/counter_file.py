"""The invocation counters of simulated meters in a file, and keys that were transferred: a meter that was off has them.

A real meter keeps them in memory that outlives the supply: the counter it sends, which never repeats under one key, the
highest one it accepted from each client, so that no recording is taken (IEC 62056-5-3), and its keys. The file
has JSON by meter address: ``{"17": {"sent": 4096, "received": {"1": 12}}}``, ``sent`` the first counter that was never
used, and ``keys`` where some were transferred. They hold as long as the meter is started with the keys that they took
the place of. The file is replaced whole, readable by its owner only; a lock beside it lets one program have it.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from protocols.dlms.ciphering import COUNTER_MAX, Keys
from protocols.errors import UsageError

RESERVED = 256  # counters noted as sent before the first of them is, so that not each answer writes the file
FILE_OCTETS_MAX = 1 << 20
_KEY_NAMES = ("instead_of", "encryption", "authentication")


@dataclass(slots=True)
class _Kept:
    """What one meter keeps: the first counter never sent, and by client the highest one received."""

    sent: int = 0
    received: dict[int, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict, repr=False)


class CounterFile:
    """The counters of all meters of one program, until it is closed.

    UsageError when the file is none, is open to others or another program has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            self._kept = _read(path)
            self._store()
        except UsageError:
            self.close()
            raise

    def close(self) -> None:
        """Let another program have the file."""
        os.close(self._lock)

    def sequence(self, address: int, first: int) -> Iterator[int]:
        """Return the counters that a meter sends, from ``first`` or from where it was; each is noted before it goes."""
        kept = self._kept.setdefault(address, _Kept())
        for counter in range(max(first, kept.sent), COUNTER_MAX + 1):
            if counter >= kept.sent:
                kept.sent = min(counter + RESERVED, COUNTER_MAX + 1)
                self._store()
            yield counter

    def received(self, address: int, sap: int) -> int:
        """Return the highest counter that a meter accepted from a client, -1 when it accepted none."""
        kept = self._kept.get(address)
        return -1 if kept is None else kept.received.get(sap, -1)

    def note(self, address: int, received: Mapping[int, int]) -> None:
        """Keep what a meter accepted, by client."""
        kept = self._kept.setdefault(address, _Kept())
        news = {sap: counter for sap, counter in received.items() if counter > kept.received.get(sap, -1)}
        if news:
            kept.received |= news
            self._store()

    def keys(self, address: int, given: Keys) -> Keys:
        """Return the keys of a meter that is started with ``given``: those, or what was transferred in their place."""
        kept = self._kept.get(address)
        if kept is None or kept.keys.get("instead_of") != _fingerprint(given):
            return given
        return Keys(bytes.fromhex(kept.keys["encryption"]), bytes.fromhex(kept.keys["authentication"]))

    def note_keys(self, address: int, given: Keys, now: Keys, received: Mapping[int, int]) -> None:
        """Keep keys that were transferred, and from where on clients count under them."""
        kept = self._kept.setdefault(address, _Kept())
        kept.received = {sap: counter for sap, counter in received.items() if counter >= 0}
        kept.keys = {
            "instead_of": _fingerprint(given),
            "encryption": now.encryption.hex(),
            "authentication": now.authentication.hex(),
        }
        self._store()

    def _store(self) -> None:
        entries = {
            address: {"sent": each.sent, "received": each.received, **({"keys": each.keys} if each.keys else {})}
            for address, each in self._kept.items()
        }
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entries, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise UsageError(f"{self._path}: can't be written: {error.strerror}; choose another place") from error


def _locked(path: Path) -> int:
    """Return a lock that is held while it is open; it ends with the program, however that ends."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: can't be made: {error.strerror}; choose another place for --state") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UsageError(
            f"{path}: another simulator has these meters' state; end it first, or give this one another --state"
        ) from error
    return handle


def _fingerprint(keys: Keys) -> str:
    """Return what tells keys from others without telling them."""
    return blake2b(keys.encryption + keys.authentication, digest_size=16, person=b"congto keys").hexdigest()


def _read(path: Path) -> dict[int, _Kept]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(FILE_OCTETS_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{path}: others may read or write it ({stat.S_IMODE(mode):04o}); run chmod 600 {path}")
    try:
        if len(text) > FILE_OCTETS_MAX:
            raise ValueError("too long")
        return {int(address): _parse(entry) for address, entry in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(
            f"{path}: no counters of simulated meters (JSON by address); with another path the meters begin anew"
        ) from None


def _parse(entry: Mapping[str, Any]) -> _Kept:
    keys = {name: str(entry["keys"][name]) for name in _KEY_NAMES} if "keys" in entry else {}
    bytes.fromhex(keys.get("encryption", "")), bytes.fromhex(keys.get("authentication", ""))
    kept = _Kept(entry["sent"], {int(sap): counter for sap, counter in entry["received"].items()}, keys)
    numbers = [kept.sent - 1, *kept.received.values()]
    if not all(type(each) is int and -1 <= each <= COUNTER_MAX for each in numbers):
        raise ValueError("no counters")
    return kept
