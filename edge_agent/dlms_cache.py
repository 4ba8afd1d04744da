"""What meters say of themselves and change with their firmware only, kept on disk: object lists and scalers.

A meter's object list is kilobytes, seconds of a slow line, and the same each time. It is kept under what it depends
on: the meter's model, its firmware (active firmware identifier, 1.0.0.2.0), and the association
through which it was seen. Scalers may be set at the factory, so they are kept for one meter and its firmware.

A cache is a memory and never the truth: a file that is damaged, cut, another version's, another user's, or about
something else than its name says is refused with its reason, and what it would have told is read from the meter again.
Nothing secret is in it. Files are replaced whole; two programs at once do no harm, for both write the same.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from protocols.dlms.data import Data
from protocols.dlms.objects import SCALER_MAX, ClassId, ScalerUnit
from protocols.dlms.xdlms.references import Attribute
from protocols.errors import RemoteProtocolError
from protocols.obis import Obis

FORMAT = 1
FILE_OCTETS_MAX = 4 << 20  # a list of 10,000 objects with their rights, in hex
LOGICAL_DEVICE_NAME = Attribute(ClassId.DATA, Obis(0, 0, 42, 0, 0), 2)
FIRMWARE = Attribute(ClassId.DATA, Obis(1, 0, 0, 2, 0), 2)
SERIAL_NUMBER = Attribute(ClassId.DATA, Obis(0, 0, 96, 1, 0), 2)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a meter says it is: ``device`` is that one meter, ``firmware`` is empty when it does not tell it."""

    device: str
    firmware: str = ""

    def __str__(self) -> str:
        return f"{self.device}, firmware {self.firmware or 'unknown'}"


def identity_of(device_name: Data | None, firmware: Data | None, title: bytes | None, serial: Data | None) -> Identity:
    """Return the identity in what a meter told, None for what it does not; ``device`` is empty if nothing names it.

    The logical device name comes first, then the system title, then the serial number.
    """
    name, number = _word(device_name), _word(serial)
    device = f"name {name}" if name else f"title {title.hex()}" if title else f"serial {number}" if number else ""
    return Identity(device, _word(firmware))


def _word(value: Data | None) -> str:
    """Return octets as text where they are printable, else as hex; empty for what is no string of octets."""
    content = value.content if value is not None else None
    if isinstance(content, bytes):
        return content.decode("ascii") if content.isascii() and content.decode().isprintable() else content.hex()
    return str(content) if isinstance(content, int) else ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known: an object list in A-XDR, scalers by their registers, and of whom where the subject is a place."""

    objects: bytes = b""
    identity: str = ""
    scalers: Mapping[Attribute, ScalerUnit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheRefused:
    """A file is there and cannot be believed."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; it is not used, and written anew from what the meter says"


class DlmsCache:
    """A directory of what meters told; ``subject`` says about what."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, subject: Mapping[str, str]) -> Path:
        """Return the file about ``subject``."""
        return self.directory / f"{hashlib.sha256(_canonical(subject)).hexdigest()[:32]}.json"

    def load(self, subject: Mapping[str, str]) -> Kept | CacheRefused | None:
        """Return what is known about ``subject``, None if nothing is."""
        path = self.path(subject)
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                content = file.read(FILE_OCTETS_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            return CacheRefused(path, f"can't be read: {error.strerror}")
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            return CacheRefused(path, "belongs to somebody else, or others may write it")
        try:
            return _decode(content, subject)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, RemoteProtocolError):
            return CacheRefused(path, "damaged, of another version, or about another meter")

    def store(self, subject: Mapping[str, str], kept: Kept) -> str:
        """Keep what is known about ``subject``; return why that cannot be, empty if it could."""
        body = {
            "format": FORMAT,
            "subject": dict(subject),
            "objects": kept.objects.hex(),
            "identity": kept.identity,
            "scalers": {str(each): [known.scaler, known.unit] for each, known in sorted(kept.scalers.items(), key=str)},
        }
        new = self.directory / f".{self.path(subject).name}.{os.getpid()}"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_canonical({**body, "digest": _digest(body)}))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path(subject))
        except OSError as error:
            return f"{self.directory}: {error.strerror}"
        return ""


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()


def _decode(content: bytes, subject: Mapping[str, str]) -> Kept:
    """Return what a file holds; ValueError and its like when it can't be believed."""
    if len(content) > FILE_OCTETS_MAX:
        raise ValueError("too long")
    body = json.loads(content)
    digest = body.pop("digest")
    if digest != _digest(body) or body["format"] != FORMAT or body["subject"] != dict(subject):
        raise ValueError("another one")
    scalers = {_attribute(text): _scaler_unit(*numbers) for text, numbers in body["scalers"].items()}
    return Kept(bytes.fromhex(body["objects"]), str(body["identity"]), scalers)


def _attribute(text: str) -> Attribute:
    class_id, obis, index = text.split(":")
    return Attribute(int(class_id), Obis.parse(obis), int(index))


def _scaler_unit(scaler: int, unit: int) -> ScalerUnit:
    if type(scaler) is not int or type(unit) is not int or abs(scaler) > SCALER_MAX or not 0 <= unit <= 255:
        raise ValueError("no scaler")
    return ScalerUnit(scaler, unit)
