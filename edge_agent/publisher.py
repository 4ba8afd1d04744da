"""Publishes the spool's batches, again and again until the server's receipt comes.

A PUBACK proves nothing about the database, so it is not waited for. What is taken while a connection stands, or just
before, is *live* and goes out at once; what waited longer is *backlog*, and goes out joined and in order, never so much
of it that live readings wait (:mod:`edge_agent.window`). A message without a receipt is sent again, and everything at
each connection; the server stores a batch once however often it comes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from edge_agent import policy
from edge_agent.bus import unless_stopped
from edge_agent.config import AgentConfig
from edge_agent.connection import BrokerLostError, Connect, Connection, Correspondent, Letter
from edge_agent.failures import DiskFailedError
from edge_agent.joining import Outgoing
from edge_agent.log import EventLog, Recurring
from edge_agent.spooling import Spool
from edge_agent.status import make_status
from edge_agent.store import Store
from edge_agent.window import Window
from protocols.errors import RemoteProtocolError, UnavailableError
from protocols.telemetry.receipt import RECEIPT_SCHEMA, State, decode_receipt
from protocols.telemetry.resend import SCHEMA as RESEND_SCHEMA
from protocols.telemetry.resend import decode_resend
from protocols.telemetry.topics import Kind, Topic, parse_topic

STATUS_EVERY_S = 60.0
LOSSES_EVERY_S = 60.0  # while the spool is full there is a new one in each cycle
LIVE_BATCHES = 32
EVENTS_AT_ONCE = 50
EVENTS_AGAIN_MIN_S, EVENTS_AGAIN_MAX_S = 30.0, 3600.0
FAREWELL_S = 2.0
FENCED_S = 600.0  # how long a copy leaves the line to the gateway that it was copied from
KEY_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Lane:
    """How far a spool's batches have been sent on this connection: the backlog up to ``live_from``, live beyond."""

    spool: Spool
    live_from: int
    live_after: int
    backlog_after: int = 0


class Publisher:
    """Keeps a connection to the broker, and the spool empty."""

    def __init__(
        self,
        config: AgentConfig,
        store: Store,
        log: EventLog,
        *,
        connect: Connect,
        now_ms: Callable[[], int],
        version: str,
        chance: Random,
        correspondents: Sequence[Correspondent] = (),
    ) -> None:
        self._config = config
        self._store = store
        self._log = log
        self._recurring = Recurring(log)
        self._connect = connect
        self._correspondents = correspondents
        self._now_ms = now_ms
        self._version = version
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._window = Window(config.broker.resend_after_s)
        self._lanes: list[Lane] = []
        self._receipted = asyncio.Event()
        self._events_receipted = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, publish, and connect again, until ``stop`` is set; then say good-bye."""
        failures = 0
        while not stop.is_set():
            delay_s = 0.0
            try:
                will = Letter(self._topic(Kind.STATUS), await self._status(State.OFFLINE))
                async with self._connect(will) as connection:
                    failures = 0
                    await self._session(connection, stop)
            except* BrokerLostError as group:
                error = _first(group)
                self._recurring.failed("broker", "broker.not_connected", url=self._url(), reason=error)
                if isinstance(error, BrokerLostError) and error.taken_over:
                    delay_s = self.yield_identity()
            if not stop.is_set():
                failures += 1
                delay_s = delay_s or policy.reconnect_delay_s(
                    failures, self._config.broker.reconnect_max_s, self._chance
                )
                await unless_stopped(asyncio.sleep(delay_s), stop)

    def yield_identity(self) -> float:
        """Tell that another has come with our identity; return how long to stay away: a copy leaves the line."""
        renewed = self._store.spool.renewed
        self._recurring.failed("identity", "gateway.identity_taken", gateway=self._config.gateway, copied=bool(renewed))
        return FENCED_S if renewed else self._config.broker.reconnect_max_s * (0.5 + self._chance.random() / 2)

    async def _session(self, connection: Connection, stop: asyncio.Event) -> None:
        kinds = {Kind.RECEIPTS}.union(*(each.kinds for each in self._correspondents))
        for kind in sorted(kinds, key=lambda each: each.value):
            await connection.subscribe(self._topic(kind))
        self._recurring.recovered("broker", "broker.not_connected", "broker.reconnected", url=self._url())
        self._log.info("broker.connected", url=self._url(), spooled=self._store.waiting)
        self._window.begin()
        self._lanes = []
        work = asyncio.ensure_future(self._work(connection))
        try:
            await unless_stopped(asyncio.shield(work), stop)
            await self._empty_spool(work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._store.go_offline()
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            raise error
        await self._publish_status(connection, State.OFFLINE)

    async def _empty_spool(self, work: "asyncio.Future[None]") -> None:
        """Give what was read last a moment to be receipted; what is not waits in the spool."""
        deadline = self._loop.time() + FAREWELL_S
        while self._store.waiting and not work.done() and self._loop.time() < deadline:
            self._receipted.clear()
            await _come(self._receipted, deadline - self._loop.time())

    async def _work(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(connection))
            group.create_task(self._send(connection, group.create_task))
            group.create_task(self._tell_status(connection))
            group.create_task(self._send_events(connection))
            group.create_task(self._tell_losses(connection))
            for each in self._correspondents:
                group.create_task(each.converse(lambda kind, payload: connection.publish(self._topic(kind), payload)))

    async def _send(self, connection: Connection, start: Callable[..., object]) -> None:
        topic = self._topic(Kind.READINGS)

        def publish(outgoing: Outgoing) -> None:
            # The message is handed over in the task's first step, so the order is kept; the PUBACK ends the task.
            start(connection.publish(topic, outgoing.payload))

        while True:
            self._store.grown.clear()
            self._open_lanes()
            sent = 0
            for lane in self._lanes:
                sent += await self._send_next(lane, publish, live=True)
            for lane in self._lanes:
                sent += await self._send_next(lane, publish, live=False)
            if sent:
                await asyncio.sleep(0)
            else:
                await self._wait_for_change(publish)

    def _open_lanes(self) -> None:
        """Have a lane for each spool; a generation that begins or ends later makes no difference to its keys."""
        if self._store.rewound:  # from the oldest that waits; what is on its way is known by the window
            self._store.rewound, self._lanes = False, []
        known = [lane.spool for lane in self._lanes]
        for spool in self._store.spools:
            if spool not in known:
                # The newest ones are live too: they were taken just before the connection came.
                from_key = max(spool.last_key() - LIVE_BATCHES, 0)
                self._lanes.append(Lane(spool, live_from=from_key, live_after=from_key))
        self._lanes = [lane for lane in self._lanes if lane.spool in self._store.spools]

    async def _send_next(self, lane: Lane, publish: Callable[[Outgoing], None], *, live: bool) -> int:
        """Send the next messages of one kind, as far as the window has room; return how many."""
        room = self._window.room(live=live)
        if not room or not lane.spool.batches or (not live and lane.backlog_after >= lane.live_from):
            return 0
        after, up_to = (lane.live_after, KEY_MAX) if live else (lane.backlog_after, lane.live_from)
        found = await self._store.messages(lane.spool, after, up_to, room)
        for outgoing in found:
            publish(outgoing)
            self._window.note_sent(outgoing, live=live, now_s=self._loop.time())
            if live:
                lane.live_after = outgoing.last_key
            else:
                lane.backlog_after = outgoing.last_key
        if not found and not live:
            lane.backlog_after = lane.live_from
        return len(found)

    async def _wait_for_change(self, publish: Callable[[Outgoing], None]) -> None:
        """Wait until the spool has grown or shrunk; send again what was not receipted for too long."""
        due_s = self._window.due_s()
        if await _come(self._store.grown, None if due_s is None else max(due_s - self._loop.time(), 0)):
            return
        overdue = self._window.overdue(self._loop.time())
        if overdue:
            oldest = min(first for each in overdue for first, _ in each.sequences)
            self._log.warning("batches.resent", unreceipted=len(overdue), oldest=oldest)
        for outgoing in overdue:
            publish(outgoing)

    async def _receive(self, connection: Connection) -> None:
        async for letter in connection.messages():
            try:
                kind = parse_topic(letter.topic).kind
                if kind is Kind.RECEIPTS:
                    await self._take_receipt(letter.payload)
            except RemoteProtocolError as error:
                self._recurring.failed("receipt", "receipt.not_understood", topic=letter.topic, reason=error)
                continue
            except UnavailableError as error:
                if isinstance(error, DiskFailedError):
                    self._store.disk_failed = True
                self._recurring.failed("spool", "spool.refused", reason=error)
                continue
            for each in self._correspondents:
                if kind in each.kinds:
                    each.take(kind, letter.payload)

    async def _take_receipt(self, payload: bytes) -> None:
        """Take a receipt, or a request to send again; both come over one topic."""
        if RESEND_SCHEMA.encode() in payload and RECEIPT_SCHEMA.encode() not in payload:
            asked = decode_resend(payload)
            if asked.gateway == self._config.gateway:
                count = await self._store.wait_again(asked)
                self._log.info("batches.asked_for", generation=asked.generation, batches=count)
            return
        receipt = decode_receipt(payload)
        if receipt.gateway != self._config.gateway:
            return
        renewed = self._store.spool.renewed
        await self._store.settle(receipt, self._now_ms())
        if self._store.spool.renewed != renewed:
            self._log.error("spool.renewed", reason=self._store.spool.renewed, generation=self._store.spool.generation)
        self._window.note_receipt(receipt.generation, receipt.sequences, self._loop.time())
        self._store.grown.set()
        self._receipted.set()
        if receipt.events:
            self._events_receipted.set()

    async def _send_events(self, connection: Connection) -> None:
        """Publish what waits, one after the other, and again after a pause what was not receipted."""
        topic = self._topic(Kind.EVENTS)
        pause_s = EVENTS_AGAIN_MIN_S
        while True:
            self._store.events_grown.clear()
            self._events_receipted.clear()
            sent = 0
            for spool in self._store.spools:
                after = 0
                while waiting := await self._store.events(spool, after, EVENTS_AT_ONCE):
                    for _, payload in waiting:
                        await connection.publish(topic, payload)
                    sent += len(waiting)
                    after = waiting[-1][0]
            grown = await _come(self._store.events_grown, pause_s if sent else None)
            pause_s = pause_after(pause_s, grown=grown, heard=not sent or self._events_receipted.is_set())

    async def _tell_losses(self, connection: Connection) -> None:
        """Publish what was given up until it is receipted; now and then, for while the spool is full it goes on."""
        while True:
            self._store.lost.clear()
            losses = await self._store.losses()
            for loss in losses:
                await connection.publish(self._topic(Kind.READINGS), loss.encode())
            if losses:
                await asyncio.sleep(LOSSES_EVERY_S)
            else:
                await self._store.lost.wait()

    async def _tell_status(self, connection: Connection) -> None:
        while True:
            await self._publish_status(connection, State.ONLINE)
            await asyncio.sleep(STATUS_EVERY_S)
            with contextlib.suppress(UnavailableError):
                await self._store.forget_settled(self._now_ms() - self._config.keep_receipted_ms)

    async def _publish_status(self, connection: Connection, state: State) -> None:
        await connection.publish(self._topic(Kind.STATUS), await self._status(state), retain=True)

    async def _status(self, state: State) -> bytes:
        more: Mapping[str, object] = {
            key: value for each in self._correspondents for key, value in each.status().items()
        }
        return (await make_status(self._store, state, self._now_ms(), self._version, more)).encode()

    def _topic(self, kind: Kind) -> str:
        return str(Topic(self._config.gateway, kind))

    def _url(self) -> str:
        broker = self._config.broker
        return f"{'mqtts' if broker.tls else 'mqtt'}://{broker.host}:{broker.port}"


def pause_after(pause_s: float, *, grown: bool, heard: bool) -> float:
    """Return how long to wait for receipts of events after a pause of ``pause_s`` has ended.

    It doubles when it has run out and nothing was ``heard``; what ended it early (``grown``: there are more events)
    says nothing of the server.
    """
    if heard:
        return EVENTS_AGAIN_MIN_S
    return pause_s if grown else min(2 * pause_s, EVENTS_AGAIN_MAX_S)


async def _come(event: asyncio.Event, within_s: float | None) -> bool:
    """Wait for ``event``, for so long at most; say whether it came.

    Not by ``asyncio.wait_for``: until Python 3.12 it forgets that it was cancelled when the event comes just then.
    """
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _first(group: BaseExceptionGroup[BrokerLostError]) -> BaseException:
    """Return the first exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
