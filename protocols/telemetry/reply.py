"""The reply (gateway to server): what became of a command, with the result read back.

::

    {"schema": "congto.reply.v1", "gateway": "gw-01", "key": "0b54a9d2c1e84f07", "kind": "read",
     "at": 1759251600412, "clock": "set", "outcome": "done",
     "result": {"meter": "M-0001", "values": [["1.0.1.8.0", 1204331]], "refusals": []}}

A reply is recorded before it is sent; a repeated command gets the same octets again.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, compress, decompress
from protocols.telemetry.command import Kind, take_key
from protocols.telemetry.fields import INTEGER_MAX, check_schema, take_identifier, take_integer
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.reply.v1"
REASON_CHARACTERS_MAX = 500
LIST_MAX = 100_000  # of a result: two months of 15 minutes are 6,000 rows; 16 channels of these
WORD_CHARACTERS_MAX = 200
AT_UNSET_MS = 0  # a gateway whose clock is not set says so in ``clock`` and may tell any time from 1970 on
_BRACKETS = str.maketrans("[]{}", "()()")  # in strings they would count as nesting, see strict_json
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Outcome(Enum):
    """What became of a command.

    ``DONE``: done, the result was read back. ``FAILED``: tried; the meter or the line said no, and nothing was changed,
    or it was put back. ``REFUSED``: not begun. ``EXPIRED``: not begun, for it came too late. ``UNKNOWN``: begun, and
    what it did could not be read back.
    """

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class ClockState(Enum):
    """How far the gateway's clock can be relied on for expiry: ``UNSET`` since power-on, or ``SET``."""

    SET = "set"
    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``at_ms`` is by the gateway's clock, of which ``clock`` tells what it is worth."""

    gateway: str
    key: str
    kind: Kind
    at_ms: int
    clock: ClockState
    outcome: Outcome
    reason: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the message; raise :class:`LocalProtocolError` if it breaks the contract."""
        message: dict[str, Any] = {"schema": SCHEMA, "gateway": self.gateway, "key": self.key, "kind": self.kind.value}
        message |= {"at": self.at_ms, "clock": self.clock.value, "outcome": self.outcome.value}
        if self.reason is not None:
            message["reason"] = plain(self.reason, REASON_CHARACTERS_MAX)
        if self.result:
            message["result"] = _plain_result(self.result)
        payload = compress(json.dumps(message, separators=(",", ":")).encode())
        try:
            decode_reply(payload)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"no reply: {error}") from error
        return payload


def decode_reply(payload: bytes) -> Reply:
    """Return the reply in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = parse_object(decompress(payload))
    check_schema(message, SCHEMA)
    kind = _member(message, "kind", Kind)
    result = message.get("result", {})
    if type(result) is not dict:
        raise RemoteProtocolError("result: expected an object")
    for key, take in RESULTS[kind].items():
        if key in result:
            take(result, key)
    return Reply(
        gateway=take_identifier(message, "gateway"),
        key=take_key(message, "key"),
        kind=kind,
        at_ms=take_integer(message, "at", AT_UNSET_MS, AT_MS_MAX),
        clock=_member(message, "clock", ClockState),
        outcome=_member(message, "outcome", Outcome),
        reason=_text(message, "reason", REASON_CHARACTERS_MAX) if "reason" in message else None,
        result={key: value for key, value in result.items() if key in RESULTS[kind]},
    )


def plain(text: str, characters_max: int) -> str:
    """Return ``text`` as a reply may carry it: printable, without brackets, not too long."""
    clean = "".join(each if each.isprintable() else " " for each in text.translate(_BRACKETS))
    return clean if len(clean) <= characters_max else clean[: characters_max - 1] + "…"


def _plain_result(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_result(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_result(each) for each in value]
    return plain(value, WORD_CHARACTERS_MAX) if isinstance(value, str) else value


def _member(message: dict[str, Any], key: str, kind: type[Any]) -> Any:
    try:
        return kind(message.get(key))
    except ValueError:
        known = ", ".join(each.value for each in kind)
        raise RemoteProtocolError(f"{key} {str(message.get(key))[:40]!r}: expected one of {known}") from None


def _text(message: dict[str, Any], key: str, characters_max: int = WORD_CHARACTERS_MAX) -> str:
    found = message.get(key)
    if type(found) is not str or len(found) > characters_max or not found.isprintable():
        raise RemoteProtocolError(f"{key}: expected a printable text of at most {characters_max} characters")
    return found


def _truth(message: dict[str, Any], key: str) -> None:
    if type(message.get(key)) is not bool:
        raise RemoteProtocolError(f"{key}: expected true or false")


def _list_of(*kinds: type) -> Callable[[dict[str, Any], str], object]:
    """Return what takes a list of rows of these kinds; of plain values where it is one kind."""

    def take(message: dict[str, Any], key: str) -> None:
        found = message.get(key)
        if type(found) is not list or len(found) > LIST_MAX:
            raise RemoteProtocolError(f"{key}: expected a list of at most {LIST_MAX}")
        for each in found:
            row = each if len(kinds) > 1 and type(each) is list else [each]
            if [type(one) for one in row] != list(kinds):
                raise RemoteProtocolError(f"{key}: expected {', '.join(k.__name__ for k in kinds)}, found {each!r:.80}")
            for one in row:
                _check_plain(key, one)

    return take


def _check_plain(key: str, value: Any) -> None:
    if type(value) is int and abs(value) > INTEGER_MAX:
        raise RemoteProtocolError(f"{key}: an integer beyond 64 bits")
    if type(value) is str and (len(value) > WORD_CHARACTERS_MAX or not value.isprintable()):
        raise RemoteProtocolError(f"{key}: expected printable texts of at most {WORD_CHARACTERS_MAX} characters")


def _counts(message: dict[str, Any], key: str) -> None:
    """Take a list of flat objects of integers and texts, as statistics are."""
    found = message.get(key)
    if type(found) is not list or len(found) > LIST_MAX:
        raise RemoteProtocolError(f"{key}: expected a list of at most {LIST_MAX} objects")
    for each in found:
        if type(each) is not dict or any(type(one) not in (int, str, bool, type(None)) for one in each.values()):
            raise RemoteProtocolError(f"{key}: expected flat objects of integers and texts")
        for one in each.values():
            _check_plain(key, one)


def _digest(message: dict[str, Any], key: str) -> None:
    found = message.get(key)
    if type(found) is not str or not _DIGEST.fullmatch(found):
        raise RemoteProtocolError(f"{key}: expected 64 hexadecimal digits")


def _integer(message: dict[str, Any], key: str) -> None:
    take_integer(message, key, -INTEGER_MAX, INTEGER_MAX)


def _instant(message: dict[str, Any], key: str) -> None:
    take_integer(message, key, AT_MS_MIN, AT_MS_MAX)


_RELAY: Mapping[str, Callable[[dict[str, Any], str], object]] = {
    "meter": take_identifier,
    "conducts": _truth,
    "control": lambda message, key: take_integer(message, key, 0, 2),
}
RESULTS: Mapping[Kind, Mapping[str, Callable[[dict[str, Any], str], object]]] = {
    Kind.READ: {"meter": take_identifier, "at": _instant, "values": _list_of(str, int), "refusals": _list_of(str)},
    Kind.PROFILE: {
        "meter": take_identifier,
        "channels": _list_of(str),
        "channel": _list_of(int),
        "at": _list_of(int),
        "value": _list_of(int),
    },
    Kind.STATUS: {"buses": _counts, "meters": _counts, "left_out": _integer},
    Kind.CLOCK: {"meter": take_identifier, "before_ms": _integer, "ahead_ms": _integer, "shifted_s": _integer},
    Kind.ARM: {**_RELAY, "token": take_key, "until": _instant},
    Kind.CONFIRM: {**_RELAY, "acted": _truth, "obeyed": _truth},
    Kind.RESEND: {"batches": _integer, "first": _integer, "last": _integer},
    Kind.CONFIGURE: {
        "sha256": _digest,
        "changed": _list_of(str),
        "problems": _list_of(str),
        "rolled_back": _truth,
    },
}
"""The fields of each kind's result; one that is not named here is left out."""
