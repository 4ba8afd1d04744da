"""The command (server to gateway): what is asked of a gateway, under a key that makes asking twice harmless.

::

    {"schema": "congto.command.v1", "gateway": "gw-01", "key": "0b54a9d2c1e84f07", "at": 1759251600000,
     "expires": 1759251660000, "kind": "read", "meter": "M-0001", "objects": ["1.0.1.8.0"]}

A gateway carries a key out once and remembers the answer; the same key with other content is refused. After
``expires`` by the gateway's clock nothing is begun. See ``docs/contracts/commands.md``.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, compress, decompress
from protocols.telemetry.fields import check_schema, take_generation, take_identifier, take_integer
from protocols.telemetry.sequences import SEQUENCE_MAX
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.command.v1"
LIFE_MS_MAX = 86_400_000  # what was not done within a day is to be asked anew: who asked may think otherwise by now
OBJECTS_MAX = 100  # a meter model has some dozens
RANGE_MS_MAX = 62 * 86_400_000  # two months of a profile
LIMIT_S_MAX = 900  # Blue Book 4.5.1, shift_time
TOML_OCTETS_MAX = 512 << 10  # of a configuration: 2,000 meters take 300 kB
WATCH_S_MIN, WATCH_S_MAX = 1, 3600
_KEY = re.compile(r"[0-9a-f]{16,64}")  # 64 bits of chance at least


class Kind(Enum):
    """What is asked."""

    READ = "read"
    PROFILE = "profile"
    STATUS = "status"
    CLOCK = "clock"
    ARM = "arm"
    CONFIRM = "confirm"
    RESEND = "resend"
    CONFIGURE = "configure"


HARMLESS = frozenset({Kind.READ, Kind.PROFILE, Kind.STATUS, Kind.ARM})
"""Kinds without any effect on a meter or a gateway: these may be done again."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read a meter now: the objects (OBIS codes), or all that its model measures."""

    meter: str
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Read a meter's load profile, both ends included. [ms since 1970 UTC]"""

    meter: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the statistics of buses and meters."""


@dataclass(frozen=True, slots=True)
class SetClock:
    """Bring a meter's clock to the gateway's if it differs by no more than ``limit_s``."""

    meter: str
    limit_s: int


@dataclass(frozen=True, slots=True)
class Arm:
    """Prepare to switch a supply on (``connect``) or off. The answer holds a token; nothing is switched."""

    meter: str
    connect: bool


@dataclass(frozen=True, slots=True)
class Confirm:
    """Switch what was armed under ``token``."""

    meter: str
    connect: bool
    token: str


@dataclass(frozen=True, slots=True)
class Resend:
    """Send batches of a spool's generation again, both ends included, as far as they are kept."""

    generation: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Configure:
    """Run by the configuration ``text``; the old one comes back if the gateway's health fails within ``watch_s``."""

    text: str
    watch_s: int


Asked: TypeAlias = Read | Profile | Tell | SetClock | Arm | Confirm | Resend | Configure
KINDS: Mapping[type[Asked], Kind] = {
    Read: Kind.READ,
    Profile: Kind.PROFILE,
    Tell: Kind.STATUS,
    SetClock: Kind.CLOCK,
    Arm: Kind.ARM,
    Confirm: Kind.CONFIRM,
    Resend: Kind.RESEND,
    Configure: Kind.CONFIGURE,
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Times are in milliseconds since 1970 UTC; ``at_ms`` is by the server's clock."""

    gateway: str
    key: str
    at_ms: int
    expires_ms: int
    asked: Asked

    @property
    def kind(self) -> Kind:
        """What is asked."""
        return KINDS[type(self.asked)]

    def encode(self) -> bytes:
        """Return the message; raise :class:`LocalProtocolError` if a gateway would refuse it."""
        head = {"schema": SCHEMA, "gateway": self.gateway, "key": self.key, "at": self.at_ms}
        message = {**head, "expires": self.expires_ms, "kind": self.kind.value, **_written(self.asked)}
        payload = compress(json.dumps(message, separators=(",", ":")).encode())
        try:
            decode_command(payload)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"no command: {error}") from error
        return payload


def decode_command(payload: bytes) -> Command:
    """Return the command in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = parse_object(decompress(payload))
    check_schema(message, SCHEMA)
    try:
        kind = Kind(message.get("kind"))
    except ValueError:
        kinds = ", ".join(each.value for each in Kind)
        raise RemoteProtocolError(f"kind {str(message.get('kind'))[:40]!r}: expected one of {kinds}") from None
    at_ms = take_integer(message, "at", AT_MS_MIN, AT_MS_MAX)
    return Command(
        gateway=take_identifier(message, "gateway"),
        key=take_key(message, "key"),
        at_ms=at_ms,
        expires_ms=take_integer(message, "expires", at_ms + 1, at_ms + LIFE_MS_MAX),
        asked=_TAKERS[kind](message),
    )


def take_key(message: dict[str, Any], key: str) -> str:
    """Return a command's key or token: 16 to 64 hexadecimal digits."""
    found = message.get(key)
    if type(found) is not str or not _KEY.fullmatch(found):
        raise RemoteProtocolError(f"{key} {str(found)[:70]!r}: expected 16 to 64 hexadecimal digits")
    return found


def _written(asked: Asked) -> dict[str, Any]:
    match asked:
        case Read(meter, objects):
            return {"meter": meter, "objects": list(objects)} if objects else {"meter": meter}
        case Profile(meter, from_ms, to_ms):
            return {"meter": meter, "from": from_ms, "to": to_ms}
        case Tell():
            return {}
        case SetClock(meter, limit_s):
            return {"meter": meter, "limit_s": limit_s}
        case Arm(meter, connect):
            return {"meter": meter, "connect": connect}
        case Confirm(meter, connect, token):
            return {"meter": meter, "connect": connect, "token": token}
        case Resend(generation, first, last):
            return {"generation": generation, "first": first, "last": last}
        case Configure(text, watch_s):
            return {"toml": base64.b64encode(text.encode()).decode(), "watch_s": watch_s}


def _take_read(message: dict[str, Any]) -> Read:
    found = message.get("objects", [])
    if type(found) is not list or len(found) > OBJECTS_MAX:
        raise RemoteProtocolError(f"objects: expected a list of at most {OBJECTS_MAX} OBIS codes")
    return Read(take_identifier(message, "meter"), tuple(map(_object, found)))


def _object(found: Any) -> str:
    if type(found) is not str or len(found) > 30:
        raise RemoteProtocolError(f"objects: expected OBIS codes, found {str(found)[:40]!r}")
    try:
        return str(Obis.parse(found))
    except UsageError as error:
        raise RemoteProtocolError(f"objects: {str(error)[:200]}") from error


def _take_profile(message: dict[str, Any]) -> Profile:
    from_ms = take_integer(message, "from", AT_MS_MIN, AT_MS_MAX)
    to_ms = take_integer(message, "to", from_ms, min(from_ms + RANGE_MS_MAX, AT_MS_MAX))
    return Profile(take_identifier(message, "meter"), from_ms, to_ms)


def _take_resend(message: dict[str, Any]) -> Resend:
    first = take_integer(message, "first", 1, SEQUENCE_MAX)
    return Resend(take_generation(message), first, take_integer(message, "last", first, SEQUENCE_MAX))


def _take_configure(message: dict[str, Any]) -> Configure:
    """Take the configuration; in base64, for the brackets of TOML would count as nesting (see strict_json)."""
    found = message.get("toml")
    if type(found) is not str or len(found) > TOML_OCTETS_MAX * 4 // 3 + 4:
        raise RemoteProtocolError(f"toml: expected a configuration of at most {TOML_OCTETS_MAX} octets, in base64")
    try:
        text = base64.b64decode(found, validate=True).decode("utf-8")
    except ValueError as error:
        raise RemoteProtocolError("toml: expected UTF-8 in base64") from error
    return Configure(text, take_integer(message, "watch_s", WATCH_S_MIN, WATCH_S_MAX))


def _take_connect(message: dict[str, Any]) -> bool:
    found = message.get("connect")
    if type(found) is not bool:
        raise RemoteProtocolError(f"connect: expected true or false, found {type(found).__name__}")
    return found


_TAKERS: Mapping[Kind, Callable[[dict[str, Any]], Asked]] = {
    Kind.READ: _take_read,
    Kind.PROFILE: _take_profile,
    Kind.STATUS: lambda _message: Tell(),
    Kind.CLOCK: lambda message: SetClock(
        take_identifier(message, "meter"), take_integer(message, "limit_s", 1, LIMIT_S_MAX)
    ),
    Kind.ARM: lambda message: Arm(take_identifier(message, "meter"), _take_connect(message)),
    Kind.CONFIRM: lambda message: Confirm(
        take_identifier(message, "meter"), _take_connect(message), take_key(message, "token")
    ),
    Kind.RESEND: _take_resend,
    Kind.CONFIGURE: _take_configure,
}
