"""A message as it came from the broker, and what it says."""

import time
from dataclasses import dataclass, field
from enum import Enum

from protocols.errors import RemoteProtocolError
from protocols.telemetry.batch import MESSAGE_OCTETS_MAX, Batch, Header
from protocols.telemetry.canonical import decode_readings
from protocols.telemetry.event import EventMessage, decode_event_header, decode_events
from protocols.telemetry.loss import Loss, decode_loss, is_loss
from protocols.telemetry.readings import decode_header
from protocols.telemetry.receipt import Status, decode_status
from protocols.telemetry.topics import Kind, parse_topic


@dataclass(frozen=True, slots=True)
class Message:
    """A message and what is needed to acknowledge it.

    ``packet`` is its MQTT packet identifier, which holds for the connection with the number ``connection`` only.
    ``retained`` says that the broker kept it for us: it tells nothing about when it was sent. ``cut_from`` is how large
    the payload was if that was more than is kept. ``arrived_us`` is when it came, by our clock.
    """

    topic: str
    payload: bytes
    qos: int = 1
    packet: int = 0
    connection: int = 0
    retained: bool = False
    cut_from: int | None = None
    arrived_us: int = field(default_factory=lambda: time.time_ns() // 1000)


class Refusal(Enum):
    """Kinds of refusals: of each gateway and kind the quarantine keeps a maximum."""

    BROKEN = "broken"  # against the contract
    TOO_LARGE = "too_large"
    OTHER_TOPIC = "other_topic"  # ingest takes none of these
    OTHER_GATEWAY = "other_gateway"  # the topic and the payload name two
    UNREGISTERED = "unregistered"
    FUTURE = "future"
    BY_DATABASE = "by_database"


@dataclass(frozen=True, slots=True)
class Rejected:
    """What goes to the quarantine: bytes, where they came from, and why.

    ``header`` is for the receipt of a batch, if known; ``told`` is for that of a message of events.
    """

    topic: str
    payload: bytes
    reason: str
    header: Header | None = None
    told: Header | None = None
    kind: Refusal = Refusal.BROKEN


Decoded = Batch | Loss | Status | EventMessage


def decode(message: Message) -> Decoded | Rejected:
    """Return what ``message`` says, or why it can't be taken."""
    if message.cut_from is not None:
        reason = f"{message.cut_from} octets, of which the first are kept: a message has at most {MESSAGE_OCTETS_MAX}"
        return Rejected(message.topic, message.payload, reason, kind=Refusal.TOO_LARGE)
    try:
        topic = parse_topic(message.topic)
        decoded: Decoded
        match topic.kind:
            case Kind.READINGS:
                decoded = decode_loss(message.payload) if is_loss(message.payload) else decode_readings(message.payload)
            case Kind.STATUS:
                decoded = decode_status(message.payload)
            case Kind.EVENTS:
                decoded = decode_events(message.payload)
            case _:
                reason = f"{topic.kind.value}: ingest takes none of these"
                return Rejected(message.topic, message.payload, reason, kind=Refusal.OTHER_TOPIC)
    except RemoteProtocolError as error:
        header, told = headers_of(message)
        return Rejected(message.topic, message.payload, str(error), header, told)
    if gateway_of(decoded) != topic.gateway:
        # Whose batch it is can't be told, so nobody gets a receipt for it.
        reason = f"the topic is of gateway {topic.gateway}, the payload of {gateway_of(decoded)}"
        return Rejected(message.topic, message.payload, reason, kind=Refusal.OTHER_GATEWAY)
    return decoded


def gateway_of(decoded: Decoded) -> str:
    """Return the gateway that a message names."""
    return decoded.header.gateway if isinstance(decoded, EventMessage) else decoded.gateway


def headers_of(message: Message) -> tuple[Header | None, Header | None]:
    """Return whose batch, and whose message of events, it is, as far as that can be told: it is to be receipted too."""
    try:
        topic = parse_topic(message.topic)
        if topic.kind is Kind.READINGS:
            header = decode_header(message.payload)
            return (header if header.gateway == topic.gateway else None), None
        if topic.kind is Kind.EVENTS:
            header = decode_event_header(message.payload)
            return None, (header if header.gateway == topic.gateway else None)
    except RemoteProtocolError:
        pass
    return None, None
