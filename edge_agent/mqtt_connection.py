"""The connection to a real broker: MQTT 5 through aiomqtt, whose exceptions are translated here only."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.config import BrokerConfig
from edge_agent.connection import BrokerLostError, Letter
from protocols.errors import UsageError

SESSION_EXPIRY_S = 86_400  # receipts sent while we are away wait at the broker this long; a lost one costs a resend
KEEPALIVE_S = 30
CALL_TIMEOUT_S = 10.0
QUEUED_MAX = 1000  # messages from the server that wait to be taken
INFLIGHT_MAX = 100  # published and not acknowledged; the publisher's own window lies below
TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1: session taken over
# A batch is one small segment: with Nagle's algorithm it waits for the acknowledgement of the one before (RFC 896).
SOCKET_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class _WatchfulLoop:
    """An event loop that tells ``lost`` when it is given a socket that is closed by now, instead of its log."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[Exception], None]) -> None:
        self._loop, self._lost = loop, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon_threadsafe(self, act: Callable[..., object], *words: Any) -> asyncio.Handle:
        """Have ``act`` done in the loop's next round, by when a broker may have hung up."""
        return self._loop.call_soon_threadsafe(self._do, act, words)

    def _do(self, act: Callable[..., object], words: tuple[Any, ...]) -> None:
        try:
            act(*words)
        except (OSError, ValueError) as error:  # a descriptor that is none any more, or was never one
            self._lost(error)


class PromptClient(aiomqtt.Client):
    """Hears of a connection that ends early; aiomqtt 2.4 would wait for its time-out, or log a traceback."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.ended = False
        watchful: Any = _WatchfulLoop(self._loop, self._on_lost)
        self._loop = watchful

    def _on_lost(self, error: Exception) -> None:
        for ended in (self._connected, self._disconnected):
            if not ended.done():
                ended.set_exception(aiomqtt.MqttError(f"the connection ended early: {error}"))
                return

    def forget_ends(self) -> None:
        """Take note of how the connection ended: asyncio's log would tell it again."""
        for ended in (self._connected, self._disconnected):
            if ended.done() and not ended.cancelled():
                ended.exception()

    def _on_disconnect(self, *heard: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the connection ended before the broker answered"))
        else:
            super()._on_disconnect(*heard)
            self.forget_ends()
            self.ended = True


class MqttConnector:
    """Makes the connections of one gateway."""

    def __init__(self, gateway: str, broker: BrokerConfig) -> None:
        self._gateway = gateway
        self._broker = broker

    @asynccontextmanager
    async def __call__(self, will: Letter) -> AsyncIterator["MqttConnection"]:
        """Enter a connection with the last will ``will``."""
        entered = False
        try:
            client = self._client(will)
        except (OSError, ssl.SSLError, UsageError) as error:  # of the last: a certificate that can't be read
            raise _translated(error) from error
        try:
            async with client:
                entered = True
                if client.ended:  # aiomqtt forgets an end that comes with the broker's answer
                    raise aiomqtt.MqttError("the connection ended as soon as it stood")
                yield MqttConnection(client)
        except (aiomqtt.MqttError, OSError) as error:
            if entered and not isinstance(error, aiomqtt.MqttError):
                raise
            raise _translated(error) from error
        finally:
            client.forget_ends()

    def _client(self, will: Letter) -> PromptClient:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho gives no types here
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        broker = self._broker
        client = PromptClient(
            broker.host,
            broker.port,
            identifier=self._gateway,
            username=broker.username,
            password=broker.password.octets.decode() if broker.password else None,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            keepalive=KEEPALIVE_S,
            timeout=CALL_TIMEOUT_S,
            max_queued_incoming_messages=QUEUED_MAX,
            max_inflight_messages=INFLIGHT_MAX,
            socket_options=SOCKET_OPTIONS,
            tls_context=None if broker.tls is None else broker.tls.context(),
        )
        client.pending_calls_threshold = 2 * INFLIGHT_MAX
        return client


class MqttConnection:
    """A connection that stands."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def subscribe(self, topic: str) -> None:
        """Subscribe with quality of service 1."""
        try:
            await self._client.subscribe(topic, qos=1)
        except aiomqtt.MqttError as error:
            raise _translated(error) from error
        _heed_cancellation()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with quality of service 1; return at the acknowledgement."""
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise _translated(error) from error
        _heed_cancellation()

    async def messages(self) -> AsyncIterator[Letter]:
        """Yield what comes."""
        try:
            async for message in self._client.messages:
                payload = message.payload
                yield Letter(str(message.topic), payload if isinstance(payload, bytes) else b"")
        except aiomqtt.MqttError as error:
            raise _translated(error) from error


def _heed_cancellation() -> None:
    """Raise what aiomqtt forgets, or a publisher that is told to stop goes on for ever.

    It waits by ``asyncio.wait_for``, which until Python 3.12 drops a cancellation that comes with what is waited for.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _translated(error: Exception) -> BrokerLostError:
    """Return our exception; whether another took the session over is told by the broker's reason."""
    found: BaseException | None = error
    while found is not None:
        reason = getattr(found, "rc", None)
        if isinstance(reason, ReasonCode) and reason.value == TAKEN_OVER:
            return BrokerLostError(error, taken_over=True)
        found = found.__cause__
    return BrokerLostError(error)
