"""The receipt (server to gateway) and the status message (gateway to server).

A receipt says which batches are committed in the database, or kept in the quarantine with a reason: either way the
gateway may forget them. Sequences are given as closed ranges::

    {"schema": "congto.receipt.v1", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463",
     "sequences": [[17, 21], [23, 23]], "events": [[5, 5]]}

The status is retained on its topic; the same message with ``"state": "offline"`` is the gateway's last will::

    {"schema": "congto.status.v1", "gateway": "gw-01", "state": "online", "at": 1759251600000,
     "generation": "5f0c2e9a1b7d4463", "spooled": 0, "taken": 1488, "version": "0.1.0"}

It may also carry ``"days": [["2025-10-01", 48, "9f0c2e9a1b7d4463"]]``: of each of its last UTC days how many readings
were taken, and their digest, so that the server can see whether it has just these.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, decompress
from protocols.telemetry.fields import (
    INTEGER_MAX,
    check_schema,
    take_generation,
    take_identifier,
    take_integer,
    take_text,
)
from protocols.telemetry.sequences import Ranges, take_ranges
from protocols.telemetry.strict_json import parse_object

RECEIPT_SCHEMA = "congto.receipt.v1"
STATUS_SCHEMA = "congto.status.v1"
REASONS_MAX = 20  # the contract has four
DAYS_MAX = 62  # two months, in 3 kB
DIGEST_DIGITS = 16
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DIGEST = re.compile(r"[0-9a-f]{16}")


class State(Enum):
    """Whether a gateway is connected to the broker."""

    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The batches of one spool generation that the gateway may forget, as closed ranges of their sequences.

    ``events`` are the messages of events that it may forget; they are numbered apart.
    """

    gateway: str
    generation: str
    sequences: Ranges
    events: Ranges = ()

    def encode(self) -> bytes:
        """Return the message."""
        message = {"schema": RECEIPT_SCHEMA, **asdict(self)}
        if not self.events:
            del message["events"]
        return _dump(message)


class DayTaken(NamedTuple):
    """How many readings a gateway has taken of a UTC day, and their digest (``reading_digest``)."""

    on: date
    readings: int
    digest: int


@dataclass(frozen=True, slots=True)
class Status:
    """What a gateway says of itself; ``spooled`` batches wait for a receipt, ``taken`` readings were ever spooled.

    ``days`` are the last days of which it keeps count and digest, ascending; empty if it does not say. ``losses`` are
    the batches and readings that it ever gave up, by reason (:class:`~protocols.telemetry.loss.Reason`); ``damaged``
    counts spools that were set aside, ``not_durable`` readings that are in its memory only. ``agent`` is what it says
    of itself beyond the contract: statistics for people, which nothing depends on.
    """

    gateway: str
    state: State
    at_ms: int
    generation: str
    spooled: int
    taken: int
    version: str
    days: tuple[DayTaken, ...] = ()
    losses: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    damaged: int = 0
    not_durable: int = 0
    agent: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the message."""
        fields = {("at" if key == "at_ms" else key): value for key, value in asdict(self).items()}
        days = [[each.on.isoformat(), each.readings, f"{each.digest:0{DIGEST_DIGITS}x}"] for each in self.days]
        message = {"schema": STATUS_SCHEMA, **fields, "state": self.state.value, "days": days}
        for key in ("days", "losses", "damaged", "not_durable", "agent"):
            if not message[key]:
                del message[key]
        return _dump(message)


def decode_receipt(payload: bytes) -> Receipt:
    """Return the receipt in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = _load(payload, RECEIPT_SCHEMA)
    return Receipt(
        take_identifier(message, "gateway"),
        take_generation(message),
        take_ranges(message, "sequences"),
        take_ranges(message, "events") if "events" in message else (),
    )


def decode_status(payload: bytes) -> Status:
    """Return the status in ``payload``; raise :class:`RemoteProtocolError` if it breaks the contract."""
    message = _load(payload, STATUS_SCHEMA)
    agent = message.get("agent", {})
    if type(agent) is not dict:
        raise RemoteProtocolError(f"agent: expected an object, found {type(agent).__name__}")
    try:
        state = State(message.get("state"))
    except ValueError:
        raise RemoteProtocolError(f"state {str(message.get('state'))[:40]!r}: expected online or offline") from None
    return Status(
        gateway=take_identifier(message, "gateway"),
        state=state,
        at_ms=take_integer(message, "at", AT_MS_MIN, AT_MS_MAX),
        generation=take_generation(message),
        spooled=take_integer(message, "spooled"),
        taken=take_integer(message, "taken"),
        version=take_text(message, "version"),
        days=take_days(message.get("days", [])),
        losses=_take_losses(message.get("losses", {})),
        damaged=take_integer(message, "damaged") if "damaged" in message else 0,
        not_durable=take_integer(message, "not_durable") if "not_durable" in message else 0,
        agent=agent,
    )


def _take_losses(found: Any) -> dict[str, tuple[int, int]]:
    if type(found) is not dict or len(found) > REASONS_MAX:
        raise RemoteProtocolError(f"losses: expected an object of at most {REASONS_MAX} reasons")
    for reason, counts in found.items():
        if type(counts) is not list or [type(each) for each in counts] != [int, int]:
            raise RemoteProtocolError(f"losses: {reason[:40]!r}: expected batches and readings")
        if not all(0 <= each <= INTEGER_MAX for each in counts):
            raise RemoteProtocolError(f"losses: {reason[:40]!r}: {str(counts)[:80]} are no counts")
    return {reason: (batches, readings) for reason, (batches, readings) in found.items()}


def take_days(found: Any) -> tuple[DayTaken, ...]:
    """Return the days in a status; raise :class:`RemoteProtocolError` if they break the contract."""
    if type(found) is not list or len(found) > DAYS_MAX:
        raise RemoteProtocolError(f"days: expected a list of at most {DAYS_MAX} days")
    days = tuple(map(_take_day, found))
    if any(before.on >= after.on for before, after in pairwise(days)):
        raise RemoteProtocolError("days: expected ascending by date, each once")
    return days


def _take_day(found: Any) -> DayTaken:
    if type(found) is not list or [type(each) for each in found] != [str, int, str]:
        raise RemoteProtocolError(f"days: expected a date, a count and a digest, found {str(found)[:80]!r}")
    text, readings, digest = found
    if not _DATE.fullmatch(text) or not _DIGEST.fullmatch(digest) or not 0 <= readings <= INTEGER_MAX:
        raise RemoteProtocolError(f"days: {str(found)[:80]!r}: expected such as ['2025-10-01', 48, '9f0c2e9a1b7d4463']")
    try:
        return DayTaken(date.fromisoformat(text), readings, int(digest, 16))
    except ValueError as error:
        raise RemoteProtocolError(f"days: {text!r} is no date") from error


def _dump(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _load(payload: bytes, schema: str) -> dict[str, Any]:
    message = parse_object(decompress(payload))
    check_schema(message, schema)
    return message
