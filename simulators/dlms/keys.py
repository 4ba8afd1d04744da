"""The keys of simulated meters: derived from the seed, or read from a file; told to a file that only its owner reads.

Keys that follow from a seed protect nothing; they make a run repeatable.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols.dlms.ciphering import KEY_OCTETS, Keys
from protocols.dlms.hls import Signer
from protocols.errors import UsageError

CURVES: Mapping[int, ec.EllipticCurve] = {0: ec.SECP256R1(), 1: ec.SECP256R1(), 2: ec.SECP384R1()}
KEY_FILE_OCTETS_MAX = 1 << 20
SECRET_OCTETS = 16


@dataclass(frozen=True, slots=True)
class MeterKeys:
    """What a meter and its client share, and both sides' private keys of suite 1 or 2."""

    title: bytes
    suite: int
    keys: Keys = field(repr=False)
    secret: bytes = field(repr=False)  # of the HIGH mechanisms
    client_private: int = field(repr=False)
    server_private: int = field(repr=False)
    master: bytes = field(default=b"", repr=False)
    """Wraps the keys that are transferred; without it none are taken."""

    def signer(self) -> Signer:
        """Return the meter's keys for HIGH_ECDSA."""
        return Signer(self._private(self.server_private), self._private(self.client_private).public_key())

    def _private(self, number: int) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(number, CURVES[self.suite])

    def to_json(self) -> dict[str, Any]:
        """Return what a client needs."""
        public = self._private(self.server_private).public_key()
        return {
            "system_title": self.title.hex(),
            "suite": self.suite,
            "encryption_key": self.keys.encryption.hex(),
            "authentication_key": self.keys.authentication.hex(),
            "secret": self.secret.hex(),
            "master_key": self.master.hex(),
            "client_private_key": f"{self.client_private:x}",
            "server_private_key": f"{self.server_private:x}",
            "server_public_key": public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex(),
        }


def derive_keys(seed: int, name: str, serial: str, suite: int) -> MeterKeys:
    """Return the keys of the meter ``name`` that follow from ``seed``."""

    def octets(purpose: str, size: int) -> bytes:
        return blake2b(f"{seed}\x1f{name}\x1f{purpose}".encode(), digest_size=size).digest()

    size = KEY_OCTETS[suite]
    return MeterKeys(
        title=b"CTO" + (int(serial) % (1 << 40)).to_bytes(5, "big"),
        suite=suite,
        keys=Keys(octets("encryption", size), octets("authentication", size)),
        secret=octets("secret", SECRET_OCTETS),
        client_private=int.from_bytes(octets("client", 30), "big") + 1,  # 240 bits are below either curve's order
        server_private=int.from_bytes(octets("server", 30), "big") + 1,
        master=octets("master", size),
    )


def write_keys(path: Path, keys: Mapping[int, MeterKeys]) -> None:
    """Write keys by meter address to a new file that only its owner can read; UsageError when it is there already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: can't be made: {error.strerror}; choose a path where nothing is yet") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({str(address): each.to_json() for address, each in keys.items()}, file, indent=1)
        file.write("\n")


def read_keys(path: Path, addresses: Sequence[int]) -> dict[int, MeterKeys]:
    """Return the keys in a file of the form :func:`write_keys` makes.

    UsageError when others may read it, it is no such file, or a meter is missing in it. No key is in a message.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(KEY_FILE_OCTETS_MAX)
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{path}: others may read or write it ({stat.S_IMODE(mode):04o}); run chmod 600 {path}")
    try:
        entries = json.loads(text)
        return {address: _parse(entries[str(address)]) for address in addresses}
    except KeyError as error:
        raise UsageError(f"{path}: {error.args[0]} is missing; expected an entry for each of the meters") from None
    except (ValueError, TypeError):
        raise UsageError(f"{path}: no key file of simulated meters (JSON by address, keys in hex)") from None


def _parse(entry: Mapping[str, Any]) -> MeterKeys:
    suite = int(entry["suite"])
    keys = Keys(bytes.fromhex(entry["encryption_key"]), bytes.fromhex(entry["authentication_key"]))
    title = bytes.fromhex(entry["system_title"])
    size = KEY_OCTETS.get(suite)
    master = bytes.fromhex(entry.get("master_key", ""))
    lengths = {len(keys.encryption), len(keys.authentication)}
    if len(title) != 8 or size is None or lengths != {size} or len(master) not in (0, size):
        raise ValueError("wrong lengths")
    return MeterKeys(
        title,
        suite,
        keys,
        bytes.fromhex(entry["secret"]),
        int(entry["client_private_key"], 16),
        int(entry["server_private_key"], 16),
        master,
    )
