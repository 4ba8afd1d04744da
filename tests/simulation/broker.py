"""A stub of the broker and of the network on both sides of it.

It acknowledges what it has taken into its queues, and these live in memory: a restart empties them. The network to the
agent may be cut, in both directions or one; a connection whose peer is gone stands until somebody notices.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from random import Random
from typing import Any

from edge_agent.connection import BrokerLostError, Letter
from protocols.telemetry.topics import Kind, parse_topic
from tests.simulation.server import Server

CALL_TIMEOUT_S = 10.0  # as edge_agent.mqtt_connection has it
NOTICED_S = 45.0  # one and a half keep-alive periods (MQTT 5, 3.1.2.10)
QUEUE_MAX = 200
SERVER_PAUSE_S = 0.02
ASK_EVERY_S = 15.0


class Broker:
    """Sessions, queues, faults. One agent and one server are its clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context, gateway: str) -> None:
        self._loop, self._context = loop, context
        self.rng = Random(0)
        self.server = Server(gateway, self._from_server)
        self.up = True
        self.refusing = False
        self.silently_refusing = False  # it acknowledges and drops: a full queue, a refusal nobody looks at
        self.cut_to_broker = False
        self.cut_to_agent = False
        self.server_up = True
        self.duplicating = False
        self.dropping = 0.0
        self.queue_max = QUEUE_MAX
        self.connection: StubConnection | None = None
        self.process: Any = None  # whose store a planted bug may need
        self.note: Callable[[str], None] = lambda _what: None
        self._for_agent: deque[bytes] = deque()
        self._for_server: deque[tuple[Kind, bytes]] = deque()
        self._server_busy = False
        self._to_agent_s = self._to_broker_s = 0.0

    @asynccontextmanager
    async def connect(self, _will: Letter) -> AsyncIterator["StubConnection"]:
        """Enter a connection, as the agent's publisher does."""
        await asyncio.sleep(0.03)
        if self.cut_to_agent or self.cut_to_broker:
            await asyncio.sleep(CALL_TIMEOUT_S)
            raise BrokerLostError("timed out")
        if not self.up or self.refusing:
            raise BrokerLostError("refused")
        connection = StubConnection(self, self._loop)
        if self.connection is not None:
            self.connection.lose("taken over")
        self.connection = connection
        try:
            yield connection
        finally:
            if self.connection is connection:
                self.connection = None

    def look_for_gaps(self) -> None:
        """Let the server look for what is missing, now and then."""
        if self.server_up and self.up and self.connection is not None and not (self.cut_to_agent or self.cut_to_broker):
            self.server.ask_again(self._loop.time())  # else it would be in vain, and it asks a few times only
        self._loop.call_later(ASK_EVERY_S, self.look_for_gaps, context=self._context)

    @property
    def stands(self) -> bool:
        """Whether the agent is connected and has subscribed, and no end of the connection is waited for."""
        connection = self.connection
        return connection is not None and connection.subscribed != "" and not connection.doomed

    def restart(self, *, empty: bool) -> None:
        """Stop and start: connections are lost, and with ``empty`` the queues."""
        self.lose_connection()
        if empty:
            self._for_agent.clear()
            self._for_server.clear()

    def lose_connection(self) -> None:
        """Cut the agent off; it may come again."""
        if self.connection is not None:
            self.connection.lose("connection reset")
            self.connection = None

    def cut(self, *, to_broker: bool, to_agent: bool) -> None:
        """Let nothing pass in one direction or both; the connection stands until it is noticed."""
        self.cut_to_broker, self.cut_to_agent = to_broker, to_agent
        connection = self.connection
        if connection is not None and (to_broker or to_agent):
            connection.doomed = True
            self._loop.call_later(NOTICED_S, self._notice, connection, context=self._context)

    def _notice(self, connection: "StubConnection") -> None:
        connection.lose("keep alive timeout")

    def stop_server(self) -> None:
        """Kill the server: what it has not acknowledged comes again when it is back."""
        self.server_up = False

    def start_server(self) -> None:
        """Start the server again."""
        self.server_up = True
        self._serve_later()

    def arrive(
        self, connection: "StubConnection", topic: str, payload: bytes, acknowledged: Callable[[], None]
    ) -> None:
        """Take a message from the agent, after its way through the network."""
        self._to_broker_s = max(self._to_broker_s, self._loop.time() + self.rng.uniform(0.002, 0.04))
        self._loop.call_at(
            self._to_broker_s, self._arrived, connection, topic, payload, acknowledged, context=self._context
        )

    def _arrived(
        self, connection: "StubConnection", topic: str, payload: bytes, acknowledged: Callable[[], None]
    ) -> None:
        if not self.up or self.cut_to_broker or connection.lost is not None:
            return
        if not self.silently_refusing:
            letter = (parse_topic(topic).kind, payload)
            for _ in range(1 + (self.duplicating and self.rng.random() < 0.5)):
                if len(self._for_server) < self.queue_max:
                    self._for_server.append(letter)
            if self.duplicating and self.rng.random() < 0.3:
                self._loop.call_later(self.rng.uniform(1, 40), self._again, letter, context=self._context)
            self._serve_later()
        if not self.cut_to_agent:
            self._loop.call_later(0.01, acknowledged, context=self._context)

    def _again(self, letter: tuple[Kind, bytes]) -> None:
        self._for_server.append(letter)
        self._serve_later()

    def _serve_later(self) -> None:
        if not self._server_busy and self._for_server and self.server_up:
            self._server_busy = True
            self._loop.call_later(SERVER_PAUSE_S, self._serve, context=self._context)

    def _serve(self) -> None:
        self._server_busy = False
        if not self.server_up or not self.up:
            return
        letters = list(self._for_server)
        self._for_server.clear()
        for kind, payload in letters:
            if kind is Kind.STATUS:
                self.server.take_status(payload)
            elif kind is Kind.EVENTS:
                self.server.take_events(payload)
        self.server.take([payload for kind, payload in letters if kind is Kind.READINGS])

    def _from_server(self, payload: bytes) -> None:
        """Take a receipt for the agent; it waits in the session while the agent is away."""
        if not self.up or self.rng.random() < self.dropping:
            return
        self._for_agent.append(payload)
        while len(self._for_agent) > self.queue_max:
            self._for_agent.pop()
        if self.duplicating:
            self._for_agent.append(payload)
        self.deliver()

    def deliver(self) -> None:
        """Send what waits for the agent."""
        connection = self.connection
        if connection is None or not connection.subscribed:
            return
        while self._for_agent:
            self._to_agent_s = max(self._to_agent_s, self._loop.time() + self.rng.uniform(0.002, 0.04))
            letter = Letter(connection.subscribed, self._for_agent.popleft())
            self._loop.call_at(self._to_agent_s, self._deliver_one, connection, letter, context=self._context)

    def _deliver_one(self, connection: "StubConnection", letter: Letter) -> None:
        if connection.lost is None and not self.cut_to_agent:
            connection.letters.append(letter)
            connection.wake()


class StubConnection:
    """What the publisher holds."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self.broker, self._loop = broker, loop
        self.lost: BrokerLostError | None = None
        self.subscribed = ""
        self.doomed = False  # something was lost on the way, and that will be noticed
        self.letters: deque[Letter] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._reader: asyncio.Future[None] | None = None

    def lose(self, reason: str) -> None:
        """End it."""
        if self.lost is None:
            self.lost = BrokerLostError(reason)
        for future in self._waiting:
            if not future.done():
                future.set_exception(BrokerLostError(reason))
        self.wake()

    def wake(self) -> None:
        """Tell the reader that something has come."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def subscribe(self, topic: str) -> None:
        """Subscribe; the session's queue comes then."""
        if self.lost is not None:
            raise self.lost
        await asyncio.sleep(0.02)
        if parse_topic(topic).kind is Kind.RECEIPTS:
            self.subscribed = topic
            self.broker.deliver()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over at once; return at the acknowledgement."""
        if self.lost is not None:
            raise self.lost
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(future)
        timer = self._loop.call_later(CALL_TIMEOUT_S, self._time_out, future)
        self.broker.arrive(self, topic, payload, lambda: future.done() or future.set_result(None))
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.discard(future)

    def _time_out(self, future: "asyncio.Future[None]") -> None:
        if not future.done():
            future.set_exception(BrokerLostError("no acknowledgement in time"))

    async def messages(self) -> AsyncIterator[Letter]:
        """Yield what comes."""
        while True:
            while self.letters:
                yield self.letters.popleft()
            if self.lost is not None:
                raise self.lost
            self._reader = self._loop.create_future()
            await self._reader
