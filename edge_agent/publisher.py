"""Publishes the spool's batches in order, again and again until the server's receipt comes.

A PUBACK proves nothing about the database, so it is not waited for: batches go out, up to :data:`WINDOW` without a
receipt. When none comes for ``resend_after`` although some are out, and at each connection, everything unreceipted is
sent again from the oldest on; the server stores a batch once however often it comes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

from edge_agent import policy
from edge_agent.bus import unless_stopped
from edge_agent.config import AgentConfig
from edge_agent.connection import BrokerLostError, Connect, Connection, Correspondent, Letter
from edge_agent.log import EventLog, Recurring
from edge_agent.store import Store
from protocols.errors import RemoteProtocolError, UnavailableError
from protocols.telemetry.receipt import Receipt, State, Status, decode_receipt
from protocols.telemetry.topics import Kind, Topic, parse_topic

WINDOW = 50
STATUS_EVERY_S = 60.0
FAREWELL_S = 2.0


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
        self._broker = config.broker
        self._store = store
        self._log = log
        self._recurring = Recurring(log)
        self._connect = connect
        self._correspondents = correspondents
        self._now_ms = now_ms
        self._version = version
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._in_flight: set[int] = set()
        self._sent_up_to = 0
        self._progress_at = 0.0
        self._receipted = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, publish, and connect again, until ``stop`` is set; then say good-bye."""
        failures = 0
        while not stop.is_set():
            try:
                will = Letter(self._topic(Kind.STATUS), self._status(State.OFFLINE))
                async with self._connect(will) as connection:
                    failures = 0
                    await self._session(connection, stop)
            except* BrokerLostError as group:
                reason = str(_first(group))
                self._recurring.failed("broker", "broker.not_connected", url=self._url(), reason=reason)
            if not stop.is_set():
                failures += 1
                delay_s = policy.reconnect_delay_s(failures, self._broker.reconnect_max_s, self._chance)
                await unless_stopped(asyncio.sleep(delay_s), stop)

    async def _session(self, connection: Connection, stop: asyncio.Event) -> None:
        kinds = {Kind.RECEIPTS}.union(*(each.kinds for each in self._correspondents))
        for kind in sorted(kinds, key=lambda each: each.value):
            await connection.subscribe(self._topic(kind))
        self._recurring.recovered("broker", "broker.not_connected", "broker.reconnected", url=self._url())
        self._log.info("broker.connected", url=self._url(), spooled=self._store.spool.batches)
        self._start_over()
        work = asyncio.ensure_future(self._work(connection))
        try:
            await unless_stopped(asyncio.shield(work), stop)
            await self._empty_spool(work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            raise error
        await self._publish_status(connection, State.OFFLINE)

    async def _empty_spool(self, work: "asyncio.Future[None]") -> None:
        """Give what was read last a moment to be receipted; what is not waits in the spool."""
        deadline = self._loop.time() + FAREWELL_S
        while self._store.spool.batches and not work.done() and self._loop.time() < deadline:
            self._receipted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._receipted.wait(), deadline - self._loop.time())

    async def _work(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(connection))
            group.create_task(self._send(connection, group.create_task))
            group.create_task(self._tell_status(connection))
            group.create_task(self._send_events(connection))
            for each in self._correspondents:
                group.create_task(each.converse(lambda kind, payload: connection.publish(self._topic(kind), payload)))

    async def _send(self, connection: Connection, start: Callable[..., object]) -> None:
        topic = self._topic(Kind.READINGS)
        while True:
            self._store.grown.clear()
            room = WINDOW - len(self._in_flight)
            batches = await self._store.batches_after(self._sent_up_to, room) if room > 0 else []
            for sequence, payload in batches:
                # The message is handed over in the task's first step, so the order is kept; the PUBACK ends the task.
                start(connection.publish(topic, payload))
                self._in_flight.add(sequence)
                self._sent_up_to = sequence
            if batches:
                self._progress_at = self._loop.time() if len(self._in_flight) == len(batches) else self._progress_at
                await asyncio.sleep(0)
            else:
                await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait until the spool has grown or shrunk; start over if no receipt has come for too long."""
        if not self._in_flight:
            await self._store.grown.wait()
            return
        left_s = self._progress_at + self._broker.resend_after_s - self._loop.time()
        try:
            await asyncio.wait_for(self._store.grown.wait(), max(left_s, 0))
        except TimeoutError:
            self._log.warning("batches.resent", unreceipted=len(self._in_flight), oldest=min(self._in_flight))
            self._start_over()

    def _start_over(self) -> None:
        self._in_flight.clear()
        self._sent_up_to = 0
        self._progress_at = self._loop.time()

    async def _receive(self, connection: Connection) -> None:
        async for letter in connection.messages():
            try:
                kind = parse_topic(letter.topic).kind
                if kind is Kind.RECEIPTS:
                    await self._take_receipt(decode_receipt(letter.payload))
            except RemoteProtocolError as error:
                self._recurring.failed("receipt", "receipt.not_understood", topic=letter.topic, reason=error)
                continue
            for each in self._correspondents:
                if kind in each.kinds:
                    each.take(kind, letter.payload)

    async def _take_receipt(self, receipt: Receipt) -> None:
        spool = self._store.spool
        if (receipt.gateway, receipt.generation) != (self._config.gateway, spool.generation):
            return  # for a spool that was set aside, or an older life of this gateway
        try:
            await self._store.forget(receipt.sequences)
        except UnavailableError as error:
            self._recurring.failed("spool", "spool.refused", reason=error)
            return
        for first, last in receipt.sequences:
            self._in_flight.difference_update([each for each in self._in_flight if first <= each <= last])
        self._progress_at = self._loop.time()
        self._store.grown.set()
        self._receipted.set()

    async def _send_events(self, connection: Connection) -> None:
        """Publish what waits, one after the other; the broker's acknowledgement ends a message's life here."""
        topic = self._topic(Kind.EVENTS)
        while True:
            self._store.events_grown.clear()
            waiting = await self._store.events(WINDOW)
            for sequence, payload in waiting:
                await connection.publish(topic, payload)
                try:
                    await self._store.forget_event(sequence)
                except UnavailableError as error:
                    self._recurring.failed("spool", "spool.refused", reason=error)
                    return
            if not waiting:
                await self._store.events_grown.wait()

    async def _tell_status(self, connection: Connection) -> None:
        while True:
            await self._publish_status(connection, State.ONLINE)
            await asyncio.sleep(STATUS_EVERY_S)

    async def _publish_status(self, connection: Connection, state: State) -> None:
        await connection.publish(self._topic(Kind.STATUS), self._status(state), retain=True)

    def _topic(self, kind: Kind) -> str:
        return str(Topic(self._config.gateway, kind))

    def _status(self, state: State) -> bytes:
        spool = self._store.spool
        more: Mapping[str, object] = {
            key: value for each in self._correspondents for key, value in each.status().items()
        }
        return Status(
            self._config.gateway,
            state,
            self._now_ms(),
            spool.generation,
            spool.batches,
            spool.taken,
            self._version,
            agent=more,
        ).encode()

    def _url(self) -> str:
        return f"{'mqtts' if self._broker.tls else 'mqtt'}://{self._broker.host}:{self._broker.port}"


def _first(group: BaseExceptionGroup[BrokerLostError]) -> BaseException:
    """Return the first exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
