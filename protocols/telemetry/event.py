"""The events message: what happened at a gateway's meters, as they say it or as the gateway saw it.

::

    {"schema": "congto.event.v1", "gateway": "gw-01", "generation": "5f0c2e9a1b7d4463", "sequence": 5,
     "events": [{"kind": "log", "meter": "M-0001", "at": 1759251600000, "object": "0.0.99.98.0.255", "code": 2},
                {"kind": "clock", "meter": "M-0001", "at": 1759251600000, "value": -3200}]}

Messages are numbered within the spool's generation on their own, apart from the readings'. A message can be decoded
alone; it may come more than once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from protocols.errors import LocalProtocolError, RemoteProtocolError, UsageError
from protocols.obis import Obis
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, Header, compress, decompress
from protocols.telemetry.fields import check_schema, take_generation, take_identifier, take_integer, take_text
from protocols.telemetry.sequences import SEQUENCE_MAX
from protocols.telemetry.strict_json import parse_object

SCHEMA = "congto.event.v1"
EVENTS_MAX = 1000  # a message; of log entries that is 100 kB of text, 10 kB compressed
NUMBER_MAX = (1 << 62) - 1
BODY_OCTETS_MAX = 16_384  # a push of a load profile's day has 4 kB


class EventKind(Enum):
    """What an event is.

    ``LOG``: an entry of the event log ``object`` with the number ``code``. ``PUSH``: the meter sent ``body`` unasked;
    A-XDR of the notification's value. ``CLOCK``: its clock was read, ``value`` is clock less gateway. [ms]
    ``CLOCK_SHIFTED``: its clock was shifted by ``value``. [ms] ``RELAY``: it was switched; ``code`` is 1 if it conducts
    as read back, ``value`` the control state (Blue Book 4.5.8). ``GLITCH``: the register ``object`` said ``value``,
    which can't be right; ``text`` says why, ``body`` are its octets. ``COUNTER``: that register stands at ``value`` for
    good.
    """

    LOG = "log"
    PUSH = "push"
    CLOCK = "clock"
    CLOCK_SHIFTED = "clock_shifted"
    RELAY = "relay"
    GLITCH = "glitch"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """One event. ``at_ms`` is when it happened, by the clock that saw it, in milliseconds since 1970 UTC."""

    kind: EventKind
    meter: str
    at_ms: int
    object: str | None = None
    code: int | None = None
    value: int | None = None
    text: str | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class EventMessage:
    """What one events message says."""

    header: Header
    events: tuple[MeterEvent, ...]


def encode_events(gateway: str, generation: str, sequence: int, events: Sequence[MeterEvent]) -> bytes:
    """Return the message that carries ``events``; raise :class:`LocalProtocolError` if it can't."""
    if not 0 < len(events) <= EVENTS_MAX:
        raise LocalProtocolError(f"{len(events)} events: a message carries 1 to {EVENTS_MAX}")
    message = {
        "schema": SCHEMA,
        "gateway": gateway,
        "generation": generation,
        "sequence": sequence,
        "events": [_written(event) for event in events],
    }
    return compress(json.dumps(message, separators=(",", ":")).encode())


def decode_events(payload: bytes) -> EventMessage:
    """Return what an events message says; raise :class:`RemoteProtocolError` if anything in it breaks the contract."""
    message = parse_object(decompress(payload))
    header = _header(message)
    found = message.get("events")
    if type(found) is not list or not 0 < len(found) <= EVENTS_MAX or any(type(each) is not dict for each in found):
        raise RemoteProtocolError(f"events: expected a list of 1 to {EVENTS_MAX} objects")
    return EventMessage(header, tuple(_read(each) for each in found))


def decode_event_header(payload: bytes) -> Header:
    """Return whose message it is and its number, even if its events break the contract.

    The server keeps such a message in the quarantine and can then still say so in a receipt. Raises
    :class:`RemoteProtocolError` if not even that can be told.
    """
    return _header(parse_object(decompress(payload)))


def _header(message: dict[str, Any]) -> Header:
    check_schema(message, SCHEMA)
    sequence = take_integer(message, "sequence", 1, SEQUENCE_MAX)
    return Header(take_identifier(message, "gateway"), take_generation(message), sequence)


def _written(event: MeterEvent) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": event.kind.value, "meter": event.meter, "at": event.at_ms}
    for key in ("object", "code", "value", "text"):
        if (value := getattr(event, key)) is not None:
            fields[key] = value
    if event.body is not None:
        if len(event.body) > BODY_OCTETS_MAX:
            raise LocalProtocolError(f"a body of {len(event.body)} octets: an event has at most {BODY_OCTETS_MAX}")
        fields["body"] = event.body.hex()
    return fields


def _read(fields: dict[str, Any]) -> MeterEvent:
    try:
        kind = EventKind(fields.get("kind"))
    except ValueError:
        kinds = ", ".join(each.value for each in EventKind)
        raise RemoteProtocolError(f"kind {str(fields.get('kind'))[:40]!r}: expected one of {kinds}") from None
    return MeterEvent(
        kind=kind,
        meter=take_identifier(fields, "meter"),
        at_ms=take_integer(fields, "at", AT_MS_MIN, AT_MS_MAX),
        object=_object(fields),
        code=take_integer(fields, "code", -NUMBER_MAX, NUMBER_MAX) if "code" in fields else None,
        value=take_integer(fields, "value", -NUMBER_MAX, NUMBER_MAX) if "value" in fields else None,
        text=take_text(fields, "text") if "text" in fields else None,
        body=_body(fields.get("body")) if "body" in fields else None,
    )


def _object(fields: dict[str, Any]) -> str | None:
    if "object" not in fields:
        return None
    try:
        return str(Obis.parse(take_text(fields, "object")))
    except UsageError as error:
        raise RemoteProtocolError(f"object: {str(error)[:200]}") from error


def _body(found: Any) -> bytes:
    if type(found) is not str or len(found) > 2 * BODY_OCTETS_MAX:
        raise RemoteProtocolError(f"body: expected at most {BODY_OCTETS_MAX} octets as hex digits")
    try:
        return bytes.fromhex(found)
    except ValueError as error:
        raise RemoteProtocolError("body: expected hex digits") from error
