"""Pushes: what meters send unasked, on a serial line between and during the questions, or to a port.

Whose push it is: on a serial line the HDLC frame's source address says; at a port the system title of a ciphered push,
else the sender's address and wPort, if a meter is polled there. A meter whose associations are ciphered is not believed
when it pushes in the clear, for anybody could. What is taken becomes an event, spooled with the counter it carried, so
after a crash none can be played again.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_agent.bus import unless_stopped
from edge_agent.config import AgentConfig, BusConfig, MeterConfig, TcpPlace
from edge_agent.log import EventLog, Recurring
from edge_agent.outbox import LogRead
from edge_agent.spool import Cycle
from edge_agent.store import Store
from protocols.dlms import axdr
from protocols.dlms.ciphering import decode_ciphered, is_ciphered
from protocols.dlms.hdlc.frames import Frame, FrameReader, FrameType
from protocols.dlms.link import NEED_DATA
from protocols.dlms.push import Locked, Pushed, PushLink, PushReceiver, PushSecurity
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.notifications import EventNotification
from protocols.errors import RemoteProtocolError
from protocols.telemetry.event import BODY_OCTETS_MAX, EventKind, MeterEvent

PENDING_MAX = 1000  # events that wait for the spool; a meter that floods the line is not to fill the memory
PLACES_MAX = 1000  # that are told by name
COUNTER_OF_PUSHES = "push"  # in the place of a log's name: how far the counter of a meter's pushes has come


@dataclass(slots=True)
class _Pusher:
    """A meter that may push, and what has come of its push so far."""

    meter: MeterConfig
    receiver: PushReceiver
    title: bytes | None = None


@dataclass(slots=True)
class _Pending:
    """What waits for the spool."""

    events: list[MeterEvent] = field(default_factory=list)
    logs: list[LogRead] = field(default_factory=list)


class PushDesk:
    """Takes the pushes of all lines and ports of a gateway to the spool."""

    def __init__(self, config: AgentConfig, store: Store, log: EventLog, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._recurring = Recurring(log)
        self._now_ms = now_ms
        self._pending = _Pending()
        self._places: set[str] = set()
        self._arrived = asyncio.Event()
        self._read = store.logs_read()
        self._by_title: dict[bytes, _Pusher] = {}
        self._by_place: dict[tuple[str, int], _Pusher] = {}
        self.know(config)

    def know(self, config: AgentConfig) -> None:
        """Take pushes at the ports from the meters of ``config``, and from no others."""
        self._by_title.clear()
        self._by_place.clear()
        for bus in config.buses:
            for meter in bus.meters:
                if meter.access is not None:
                    self._know(bus, self._pusher(meter, PushLink.WRAPPER))

    def _know(self, bus: BusConfig, pusher: _Pusher) -> None:
        if pusher.title is not None:
            self._by_title[pusher.title] = pusher
        if isinstance(bus.place, TcpPlace):
            self._by_place[bus.place.host, pusher.meter.address] = pusher

    def _pusher(self, meter: MeterConfig, link: PushLink) -> _Pusher:
        access = meter.access
        assert access is not None
        known = {}
        if access.meter_title is not None and access.keys is not None:
            last = self._read.get((meter.id, COUNTER_OF_PUSHES), -1)
            known[access.meter_title] = PushSecurity(access.keys, access.control(), last)
        return _Pusher(meter, PushReceiver(link, known, access.quirks), access.meter_title)

    def tap(self, bus: BusConfig) -> Callable[[bytes], None] | None:
        """Return what to give the octets of a serial line to; None where no pushes are expected."""
        if not bus.push:
            return None
        reader = FrameReader()
        pushers = {meter.address: self._pusher(meter, PushLink.HDLC) for meter in bus.meters}

        def take(data: bytes) -> None:
            reader.receive_data(data)
            for frame in _frames(reader):
                if frame.type is FrameType.UI:
                    address = frame.source.upper if frame.source.lower is None else frame.source.lower
                    self._take(pushers.get(address), frame.encode(), f"{bus.id}/{address}")

        return take

    def take_wrapped(self, wrapped: Wrapped, host: str) -> None:
        """Take what a port was sent."""
        pusher = self._by_place.get((host, wrapped.source))
        if is_ciphered(wrapped.apdu):
            try:
                pusher = self._by_title.get(decode_ciphered(wrapped.apdu).title or b"", pusher)
            except RemoteProtocolError:
                pusher = None
        self._take(pusher, wrapped.encode(), f"{host}/{wrapped.source}")

    def refuse(self, place: str, reason: object) -> None:
        """Tell of octets that are no push."""
        self._tell("push.refused", place, reason=reason)

    def _tell(self, event: str, place: str, **fields: object) -> None:
        """Tell it once for each place; of places beyond a number, which anybody can invent, together once."""
        if len(self._places) >= PLACES_MAX and place not in self._places:
            place = "elsewhere"
        self._places.add(place)
        self._recurring.failed(place, event, place=place, **fields)

    def _take(self, pusher: _Pusher | None, octets: bytes, place: str) -> None:
        if pusher is None:
            self._tell("push.not_known", place)
            return
        pusher.receiver.receive_data(octets)
        while True:
            try:
                event = pusher.receiver.next_event()
            except RemoteProtocolError as error:
                self.refuse(place, error)
                continue
            if event is NEED_DATA:
                return
            if isinstance(event, Pushed):
                self._accept(pusher, event, place)
            elif isinstance(event, Locked):
                self.refuse(place, "ciphered, and its key is not known; give the meter meter_title and keys")

    def _accept(self, pusher: _Pusher, pushed: Pushed, place: str) -> None:
        access, notification = pusher.meter.access, pushed.notification
        body = axdr.encode(notification.data)
        if access is not None and access.is_ciphered and pushed.title is None:
            self.refuse(place, "in the clear, from a meter whose associations are ciphered")
        elif len(body) > BODY_OCTETS_MAX:
            self.refuse(place, f"{len(body)} octets, at most {BODY_OCTETS_MAX}")
        elif len(self._pending.events) >= PENDING_MAX:
            self.refuse(place, f"{PENDING_MAX} pushes wait already")
        else:
            obis = str(notification.attribute.obis) if isinstance(notification, EventNotification) else None
            event = MeterEvent(EventKind.PUSH, pusher.meter.id, self._now_ms(), obis, body=body)
            self._pending.events.append(event)
            if pushed.counter is not None:
                self._read[pusher.meter.id, COUNTER_OF_PUSHES] = pushed.counter  # for receivers that are made anew
                self._pending.logs.append(LogRead(pusher.meter.id, COUNTER_OF_PUSHES, pushed.counter))
            self._arrived.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Spool what comes until ``stop`` is set."""
        while not stop.is_set():
            await unless_stopped(_wait(self._arrived), stop)
            await self._spool()
        await self._spool()

    async def _spool(self) -> None:
        self._arrived.clear()
        taken, self._pending = self._pending, _Pending()
        if taken.events:
            await self._store.commit(Cycle(events=taken.events, logs=taken.logs), "push", self._recurring)


def _frames(reader: FrameReader) -> Iterable[Frame]:
    """Yield the whole frames; damaged ones are the polling's trouble."""
    while True:
        try:
            frame = reader.next_frame()
        except RemoteProtocolError:
            continue
        if not isinstance(frame, Frame):
            return
        yield frame


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
