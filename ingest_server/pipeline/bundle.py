"""What one transaction stores: decoded messages, admitted by what the database has registered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_server.pipeline.admission import Admission, Channels, Rows, admit
from ingest_server.pipeline.message import Decoded, Message, Refusal, Rejected
from protocols.telemetry.batch import Batch, Header
from protocols.telemetry.event import EventMessage, MeterEvent, encode_events
from protocols.telemetry.loss import Loss
from protocols.telemetry.receipt import State, Status
from protocols.telemetry.sequences import Ranges, join_ranges, ranges
from protocols.telemetry.topics import Kind, Topic


class Arrival(NamedTuple):
    """A message and what it says."""

    message: Message
    decoded: Decoded | Rejected


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """A gateway's status; ``retained`` says that it may have been said long ago, ``arrived_us`` when it came here.

    ``clock_ahead_ms`` is the gateway's clock less the server's, ``None`` if that can't be told.
    """

    status: Status
    retained: bool
    arrived_us: int
    clock_ahead_ms: int | None = None


class MeterClock(NamedTuple):
    """A meter's clock less its gateway's, and when that was told, by the gateway's clock."""

    meter: str
    ahead_ms: int
    told_at_ms: int


class GatewayEvent(NamedTuple):
    """An event of a meter that is registered at the gateway."""

    gateway: str
    event: MeterEvent


class Imported(NamedTuple):
    """A file, and how many of its rows are stored with this."""

    sha256: bytes
    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Flags:
    """What a file says of some readings' quality: of each of ``rows`` the number of its text, counted from 1."""

    rows: Rows
    number: NDArray[np.int32]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one transaction stores. ``suspects`` numbers the admissions whose rows may be stored already.

    ``strangers`` counts the statuses of gateways that are not registered: there is no row to keep them in.
    ``told`` are the messages of events that this settles. ``readmitted`` is the number in the quarantine of the message
    that is taken up, and so leaves it. ``imported`` says that this is of a file and no gateway's; ``flags`` are what
    the file says of some readings' quality.
    """

    admissions: Sequence[Admission] = ()
    suspects: frozenset[int] = frozenset()
    rejected: Sequence[Rejected] = ()
    statuses: Sequence[GatewayStatus] = ()
    strangers: int = 0
    events: Sequence[GatewayEvent] = ()
    told: Sequence[Header] = ()
    losses: Sequence[Loss] = ()
    clocks: Sequence[MeterClock] = ()
    readmitted: int | None = None
    imported: Imported | None = None
    flags: Flags | None = None

    def batches(self) -> dict[tuple[str, str], Ranges]:
        """Return the batches that are now stored or quarantined: (gateway, generation) → sequences."""
        headers = [each.header for each in self.admissions] + [each.header for each in self.rejected if each.header]
        sequences: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for header in headers:
            sequences.setdefault(header.spool, []).extend(header.settles)
        return {spool: join_ranges(found) for spool, found in sequences.items()}

    def lost(self) -> dict[tuple[str, str], Ranges]:
        """Return the batches that are declared lost, of registered gateways and others."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for loss in self.losses:
            found.setdefault((loss.gateway, loss.generation), []).extend(loss.sequences)
        return {spool: join_ranges(each) for spool, each in found.items()}

    def event_messages(self) -> dict[tuple[str, str], Ranges]:
        """Return the messages of events that are taken."""
        found: dict[tuple[str, str], list[int]] = {}
        for header in self.told:
            found.setdefault(header.spool, []).append(header.sequence)
        return {spool: ranges(each) for spool, each in found.items()}

    def settled(self) -> dict[tuple[str, str], tuple[Ranges, Ranges]]:
        """Return what this settles: (gateway, generation) → sequences of batches, stored or lost, and of events."""
        batches, lost, told = self.batches(), self.lost(), self.event_messages()
        return {
            spool: (join_ranges((*batches.get(spool, ()), *lost.get(spool, ()))), told.get(spool, ()))
            for spool in dict.fromkeys((*batches, *lost, *told))
        }


def make_bundle(
    arrivals: Sequence[Arrival],
    channels: Callable[[str], Channels | None],
    highest: Callable[[tuple[str, str]], int],
    now_ms: int,
) -> Bundle:
    """Return what to store of ``arrivals``.

    ``channels`` gives the channels of a gateway, ``None`` if it is not registered; ``highest`` the highest sequence
    received of a (gateway, generation).
    """
    admissions: list[Admission] = []
    rejected: list[Rejected] = []
    statuses: dict[str, GatewayStatus] = {}
    events: list[GatewayEvent] = []
    told: list[Header] = []
    losses: list[Loss] = []
    clocks: dict[str, MeterClock] = {}
    for message, decoded in arrivals:
        match decoded:
            case Batch():
                admission = admit(decoded, channels(decoded.gateway), now_ms)
                admissions.append(admission)
                rejected += admission.rejected
                _note_clocks(clocks, decoded, channels(decoded.gateway))
            case Loss():
                losses.append(decoded)
            case EventMessage():
                taken, refused = _admit_events(decoded, channels(decoded.header.gateway))
                events += taken
                told.append(decoded.header)
                rejected += refused
            case Status():
                told_now = decoded.state is State.ONLINE and not message.retained
                ahead_ms = decoded.at_ms - message.arrived_us // 1000 if told_now else None
                statuses[decoded.gateway] = GatewayStatus(decoded, message.retained, message.arrived_us, ahead_ms)
            case Rejected():
                rejected.append(decoded)
                told += [decoded.told] if decoded.told else []
    known = [each for gateway, each in statuses.items() if channels(gateway) is not None]
    suspects = find_suspects(admissions, highest)
    return Bundle(
        admissions,
        suspects,
        rejected,
        known,
        strangers=len(statuses) - len(known),
        events=events,
        told=told,
        losses=losses,
        clocks=list(clocks.values()),
    )


def _note_clocks(clocks: dict[str, MeterClock], batch: Batch, channels: Channels | None) -> None:
    """Add what ``batch`` says of its meters' clocks to ``clocks``, by meter; the latest stays."""
    told_at_ms = batch.clocks.taken_at_ms
    if told_at_ms is None or not batch.clocks.offsets_ms:
        return
    meters = {meter for meter, _ in channels or ()}
    for meter, ahead_ms in batch.clocks.offsets_ms.items():
        if meter in meters and (meter not in clocks or clocks[meter].told_at_ms < told_at_ms):
            clocks[meter] = MeterClock(meter, ahead_ms, told_at_ms)


def _admit_events(
    message: EventMessage, channels: Channels | None
) -> tuple[Sequence[GatewayEvent], Sequence[Rejected]]:
    """Return the events of meters registered at the message's gateway, and a message of the others for the quarantine.

    The latter's rejection names no batch: the whole message is told among the events.
    """
    header = message.header
    meters = {meter for meter, _ in channels or ()}
    taken = [GatewayEvent(header.gateway, event) for event in message.events if event.meter in meters]
    others = [event for event in message.events if event.meter not in meters]
    if not others:
        return taken, ()
    reason = (
        f"gateway {header.gateway} is not registered"
        if channels is None
        else f"events of meter {others[0].meter} and perhaps others not registered at gateway {header.gateway}"
    )
    payload = encode_events(header.gateway, header.generation, header.sequence, others)
    topic = str(Topic(header.gateway, Kind.EVENTS))
    return taken, [Rejected(topic, payload, reason, told=header, kind=Refusal.UNREGISTERED)]


def find_suspects(admissions: Sequence[Admission], highest: Callable[[tuple[str, str]], int]) -> frozenset[int]:
    """Return the numbers of the admissions whose rows may be stored already, and so must be compared.

    A batch is above suspicion if its sequence is higher than any that its spool has sent before, in this transaction
    or according to ``highest``, and its rows are first-hand. A sequence that was seen proves nothing: a gateway that
    was restored from a backup gives the same number to other readings.
    """
    seen: dict[tuple[str, str], int] = {}
    suspects = set()
    for number, admission in enumerate(admissions):
        spool, sequence = admission.header.spool, admission.header.sequence
        before = seen[spool] if spool in seen else highest(spool)
        if admission.may_collide or sequence <= before:
            suspects.add(number)
        seen[spool] = max(before, admission.header.settles[-1][1])
    return frozenset(suspects)


def refuse(arrival: Arrival, reason: str) -> Arrival:
    """Return ``arrival`` as one for the quarantine."""
    message, decoded = arrival
    header = decoded.header if isinstance(decoded, Batch) else None
    told = decoded.header if isinstance(decoded, EventMessage) else None
    return Arrival(message, Rejected(message.topic, message.payload, reason, header, told, Refusal.BY_DATABASE))
