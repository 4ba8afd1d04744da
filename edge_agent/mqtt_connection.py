"""The connection to a real broker: MQTT 5 through aiomqtt, whose exceptions are translated here only."""

import ssl
from collections.abc import AsyncIterator
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


class PromptClient(aiomqtt.Client):
    """Hears of a connection that ends before the broker has answered; aiomqtt 2.4 would wait for its time-out."""

    def _on_disconnect(self, *heard: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the connection ended before the broker answered"))
        else:
            super()._on_disconnect(*heard)


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
            async with self._client(will) as client:
                entered = True
                yield MqttConnection(client)
        except (
            aiomqtt.MqttError,
            OSError,
            ssl.SSLError,
            UsageError,
        ) as error:  # of the last: a certificate that can't be read
            if entered and not isinstance(error, aiomqtt.MqttError):
                raise
            raise _translated(error) from error

    def _client(self, will: Letter) -> aiomqtt.Client:
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

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with quality of service 1; return at the acknowledgement."""
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise _translated(error) from error

    async def messages(self) -> AsyncIterator[Letter]:
        """Yield what comes."""
        try:
            async for message in self._client.messages:
                payload = message.payload
                yield Letter(str(message.topic), payload if isinstance(payload, bytes) else b"")
        except aiomqtt.MqttError as error:
            raise _translated(error) from error


def _translated(error: Exception) -> BrokerLostError:
    """Return our exception; whether another took the session over is told by the broker's reason."""
    found: BaseException | None = error
    while found is not None:
        reason = getattr(found, "rc", None)
        if isinstance(reason, ReasonCode) and reason.value == TAKEN_OVER:
            return BrokerLostError(error, taken_over=True)
        found = found.__cause__
    return BrokerLostError(error)
