"""The meters' keys in a file: each wrapped under a key-encryption key that is elsewhere.

The file is JSON and belongs to its owner alone. Keys are wrapped by RFC 3394, secrets, which have any length, by
RFC 5649. The key-encryption key comes from the environment or from a file of its own, so that a copy of the key file,
or of the card it is on, is of no use by itself. Nothing here is ever shown, and a wrong key-encryption key is noticed.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography.hazmat.primitives import keywrap

from edge_agent.secret import Secret, octets_of_hex, read_private, write_private
from protocols.errors import UsageError
from protocols.strict_toml import Table

VERSION = 1
FILE_OCTETS_MAX = 8 << 20  # 2,000 meters with five entries of 200 octets take 2 MB
KEK_OCTETS = (16, 24, 32)  # RFC 3394, 2.2: AES keys
SECRET_OCTETS_MAX = 64


class Kind(Enum):
    """What a meter may have in the file; the value is its word, and how many octets it may have."""

    ENCRYPTION = ("encryption", (16, 32))  # global unicast encryption key: suites 0 and 1, suite 2
    AUTHENTICATION = ("authentication", (16, 32))
    SECRET = ("secret", tuple(range(1, SECRET_OCTETS_MAX + 1)))
    SIGNING = ("signing", (32, 48))  # our private key on P-256 or P-384
    METER_PUBLIC = ("meter-public", (64, 96))  # the meter's public key there, x and y

    def __init__(self, word: str, lengths: tuple[int, ...]) -> None:
        self.word = word
        self.lengths = lengths


KINDS: Mapping[str, Kind] = {kind.word: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key file is, and the key-encryption key."""

    file: Path
    kek: Secret


def parse_key_place(table: Table, directory: Path, environment: Mapping[str, str]) -> KeyPlace:
    """Return what ``[keys]`` says; raise :class:`UsageError` for a key-encryption key that is missing or none."""
    file = directory / table.take("file", str)
    variable = table.take("kek_env", str, default=None)
    path = table.take("kek_file", str, default=None)
    table.finish()
    if (variable is None) == (path is None):
        raise table.error("kek_env", "expected either kek_env or kek_file: where the key-encryption key is")
    if variable is not None:
        if variable not in environment:
            raise table.error("kek_env", f"the environment variable {variable} is not set (hex digits)")
        return KeyPlace(file, parse_kek(environment[variable], table.place("kek_env")))
    assert path is not None
    try:
        text = read_private(directory / path).decode("ascii", "replace")
    except UsageError as error:
        raise table.error("kek_file", str(error)) from error
    return KeyPlace(file, parse_kek(text, table.place("kek_file")))


def parse_kek(text: str, where: str) -> Secret:
    """Return the key-encryption key in hex digits."""
    octets = octets_of_hex(text.strip(), where)
    if len(octets) not in KEK_OCTETS:
        raise UsageError(f"{where}: a key-encryption key of {len(octets)} octets, expected 16, 24 or 32 as hex digits")
    return Secret(octets)


class KeyFile:
    """The key file, unwrapped when asked."""

    def __init__(self, place: KeyPlace) -> None:
        """Read the file; an absent one has no keys. Raise :class:`UsageError` for one that can't be used."""
        self._place = place
        self._entries = self._load()

    def __repr__(self) -> str:
        return f"KeyFile({self._place.file})"

    def kinds(self) -> dict[str, list[str]]:
        """Return what is there, by meter."""
        return {meter: sorted(entry) for meter, entry in sorted(self._entries.items())}

    def get(self, meter: str, kind: Kind) -> Secret | None:
        """Return a meter's key, None if the file has none."""
        wrapped = self._entries.get(meter, {}).get(kind.word)
        if wrapped is None:
            return None
        where = f"{self._place.file}: {meter}, {kind.word}"
        unwrap = keywrap.aes_key_unwrap_with_padding if kind is Kind.SECRET else keywrap.aes_key_unwrap
        try:
            octets = unwrap(self._place.kek.octets, octets_of_hex(wrapped, where))
        except (keywrap.InvalidUnwrap, ValueError):
            raise UsageError(f"{where}: does not open; it was wrapped under another key-encryption key") from None
        return Secret(_checked(octets, kind, where))

    def change(self, meter: str, kind: Kind, octets: bytes | None, *, replace: bool) -> None:
        """Keep a key, wrapped, or remove it when ``octets`` is None.

        ``replace`` says whether there must be one already; otherwise there must be none.
        """
        where = f"{self._place.file}: {meter}, {kind.word}"
        with self._locked():
            self._entries = self._load()
            entry = self._entries.setdefault(meter, {})
            if replace != (kind.word in entry):
                raise UsageError(f"{where}: {'is not there; add it' if replace else 'is there already; rotate it'}")
            if octets is None:
                del entry[kind.word]
            else:
                entry[kind.word] = _wrap(self._place.kek, kind, _checked(octets, kind, where))
            if not entry:
                del self._entries[meter]
            self._store()

    def rewrap(self, kek: Secret) -> None:
        """Wrap everything anew under another key-encryption key."""
        with self._locked():
            self._entries = self._load()
            found: dict[str, dict[str, str]] = {}
            for meter, entry in self._entries.items():
                for word in entry:
                    secret = self.get(meter, KINDS[word])
                    assert secret is not None
                    found.setdefault(meter, {})[word] = _wrap(kek, KINDS[word], secret.octets)
            self._entries = found
            self._store()

    def _load(self) -> dict[str, dict[str, str]]:
        path = self._place.file
        if not path.exists():
            return {}
        try:
            content = json.loads(read_private(path, FILE_OCTETS_MAX))
            entries: dict[str, dict[str, str]] = content["meters"]
            good = content["version"] == VERSION and all(
                word in KINDS and type(wrapped) is str for entry in entries.values() for word, wrapped in entry.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise UsageError(f"{path}: is no key file that can be read; write one with `congto agent keys add`")
        return entries

    def _store(self) -> None:
        content = {"version": VERSION, "meters": self._entries}
        write_private(self._place.file, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other commands away from the file while it is changed."""
        try:
            folder = os.open(self._place.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{self._place.file}: its directory can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _wrap(kek: Secret, kind: Kind, octets: bytes) -> str:
    wrap: Callable[[bytes, bytes], bytes]
    wrap = keywrap.aes_key_wrap_with_padding if kind is Kind.SECRET else keywrap.aes_key_wrap
    return wrap(kek.octets, octets).hex()


def _checked(octets: bytes, kind: Kind, where: str) -> bytes:
    if len(octets) not in kind.lengths:
        lengths = "1 to 64" if kind is Kind.SECRET else " or ".join(map(str, kind.lengths))
        raise UsageError(f"{where}: {len(octets)} octets, expected {lengths}")
    return octets
