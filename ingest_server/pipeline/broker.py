"""The connection to the broker: paho-mqtt, driven by asyncio's loop instead of a thread of its own.

paho's callbacks run where its socket is read, so here they run in the loop: they only enqueue, and what goes wrong in
them ends the program instead of silencing a thread. A fixed client id, a session that outlives the connection and
acknowledgements after the commit: what we had not acknowledged comes again after a reconnect or a restart.

Back-pressure: the broker has at most ``RECEIVE_MAXIMUM`` messages under way to us (Mosquitto holds to it from 2.0.13
on). Where a broker does not, or where messages are huge, the socket is not read while the inbox is full, so that TCP
holds the broker up; the keep-alive then ends the connection in time, and the session continues in the next one.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest_server.journal import LOG, fact
from ingest_server.pipeline.acknowledging import Unacknowledged
from ingest_server.pipeline.back_off import LAST_S, back_off_s
from ingest_server.pipeline.inbox import Inbox
from ingest_server.pipeline.message import Message
from ingest_server.pipeline.service import tell
from ingest_server.pipeline.settings import (
    KEEPALIVE_S,
    KEPT_OCTETS_MAX,
    RECEIPTS_UNDER_WAY_MAX,
    RECEIVE_MAXIMUM,
    SESSION_EXPIRY_S,
    BrokerAddress,
)
from ingest_server.pipeline.tls import Credentials, tls_context

QOS = 1  # at least once; the broker sends nothing with more to who has asked for this, MQTT 5, section 3.8.4
FILTERS_A_PACKET = 1000  # 100 kB at most, a tenth of what a packet may have
TICK_S = 1.0  # paho's keep-alive wants to be asked about once a second
REFUSED_SHOWN_MAX = 3
PACKETS_A_TURN_MAX = 32  # then others have their turn
FLUSH_S = 2.0  # at the end, for the last receipts and acknowledgements


class Broker:
    """Takes messages into ``inbox``, sends receipts, and acknowledges."""

    def __init__(
        self, address: BrokerAddress, client_id: str, inbox: Inbox, filters: Sequence[str], credentials: Credentials
    ) -> None:
        self._address = address
        self._filters = list(filters)
        self._asked: dict[int, list[str]] = {}  # subscriptions that the broker has not answered yet
        self._inbox = inbox
        inbox.drained = self._watch
        self._connection = 0
        self._unacknowledged = Unacknowledged()
        self._ready_s: float | None = None  # since when we have been subscribed
        self._failure_noted = False
        self._lost = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._under_way: set[int] = set()
        self._leaving = False
        self._fatal: BaseException | None = None
        self._watched: socket.socket | None = None
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = _send_at_once
        client.on_socket_close = self._on_socket_close
        client.username = address.username
        client.password = address.password
        if address.tls:
            client.tls_set_context(tls_context(credentials))

    @property
    def ready(self) -> bool:
        """Whether it is connected and subscribed."""
        return self._ready_s is not None and not self._lost.is_set()

    async def run(self) -> None:
        """Stay connected for ever; raise only what our own code did wrong."""
        attempt = 0
        while True:
            self._lost.clear()
            self._ready_s = None
            try:
                await asyncio.to_thread(self._connect)
            except (OSError, ssl.SSLError) as error:
                self._note_failure(str(error))
            else:
                self._watch()
                while not self._lost.is_set():
                    await self._tick()
                if self._fatal is not None:
                    raise self._fatal
            attempt = 1 if self._lasted() else attempt + 1
            await asyncio.sleep(back_off_s(attempt))

    def _lasted(self) -> bool:
        """Return whether the last connection was a good one; two processes with one client id never have one."""
        return self._ready_s is not None and time.monotonic() - self._ready_s > LAST_S

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it so
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect(
            self._address.host, self._address.port, KEEPALIVE_S, clean_start=False, properties=properties
        )

    async def _tick(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._lost.wait()
        except TimeoutError:
            self._client.loop_misc()
            self._flush()

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Let the broker forget ``messages``, each once those before it are settled too.

        Those of an earlier connection come again by themselves.
        """
        settled = [each.packet for each in messages if each.connection == self._connection and each.qos]
        for packet in self._unacknowledged.settle(settled):
            self._client.ack(packet, QOS)
        self._flush()

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Send a receipt; wait while too many are under way. Return whether it was sent.

        One that is not sent does no harm: its gateway sends the batch again and is told again.
        """
        while len(self._under_way) >= RECEIPTS_UNDER_WAY_MAX and not self._lost.is_set():
            self._confirmed.clear()
            await self._confirmed.wait()
        if self._lost.is_set() or not self._client.is_connected():
            return False
        sent = self._client.publish(topic, payload, qos=QOS)
        self._flush()
        if sent.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        if not sent.is_published():
            self._under_way.add(sent.mid)
        return True

    async def close(self) -> None:
        """Send what is left to send and go; the session stays."""
        if not self._client.is_connected():
            return
        try:
            async with asyncio.timeout(FLUSH_S):
                while self._client.want_write() or self._under_way:
                    self._client.loop_read()  # whatever comes: it is not acknowledged, so it comes again
                    self._flush()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            LOG.warning(fact("broker.left_in_haste", receipts=len(self._under_way)))
        self._leaving = True
        self._client.disconnect()
        self._client.loop_write()

    # What the loop calls.

    def _watch(self) -> None:
        """Read from the socket, unless the inbox is full."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket) and not self._inbox.full and not self._lost.is_set():
            self._watched = sock
            loop = asyncio.get_running_loop()
            loop.add_reader(sock, self._read)
            loop.call_soon(self._read)  # for what TLS has unpacked already

    def _read(self) -> None:
        """Read some packets, and stop reading when the inbox is full."""
        try:
            for _ in range(PACKETS_A_TURN_MAX):
                if self._inbox.full or self._watched is None:
                    break
                before = len(self._inbox)
                self._client.loop_read()
                if len(self._inbox) == before and not self._unpacked():
                    break
            self._flush()
        except Exception as error:  # the loop would log it and go on without us; run() raises it
            self._fatal = error
            self._lost.set()
            return
        if self._inbox.full and self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
        elif self._unpacked():
            asyncio.get_running_loop().call_soon(self._read)

    def _unpacked(self) -> bool:
        """Return whether TLS holds data that the socket no longer announces."""
        return isinstance(self._watched, ssl.SSLSocket) and self._watched.pending() > 0

    def _flush(self) -> None:
        """Write what waits, now or when the socket takes it."""
        if self._client.want_write():
            self._client.loop_write()
        if self._watched is None:
            return
        if self._client.want_write():
            asyncio.get_running_loop().add_writer(self._watched, self._flush)
        else:
            asyncio.get_running_loop().remove_writer(self._watched)

    # What paho calls.

    def _on_connect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._note_failure(str(reason))
            return
        self._connection += 1
        self._unacknowledged.clear()
        LOG.info(fact("broker.connected", broker=self._address, session_present=flags.session_present))
        self._asked.clear()
        self._ask(self._filters)
        if not self._filters:
            self._is_ready()

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to those of ``filters`` that are new, now and in each later connection."""
        known = set(self._filters)
        new = [each for each in filters if each not in known]
        self._filters += new
        if new and self._client.is_connected():
            self._ask(new)
            self._flush()

    def _ask(self, filters: Sequence[str]) -> None:
        # What is retained is sent when the subscription is new; otherwise we have had it.
        options = SubscribeOptions(qos=QOS, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        for at in range(0, len(filters), FILTERS_A_PACKET):
            part = list(filters[at : at + FILTERS_A_PACKET])
            _, number = self._client.subscribe([(each, options) for each in part])
            if number is not None:
                self._asked[number] = part

    def _on_subscribe(
        self, client: mqtt.Client, _userdata: object, number: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        asked = self._asked.pop(number, [])
        refused = [topic for topic, reason in zip(asked, reasons, strict=False) if reason.is_failure]
        if refused:
            shown = ", ".join(refused[:REFUSED_SHOWN_MAX])
            self._note_failure(f"subscription refused: {shown}; the broker's access list must allow it")
            client.disconnect()
            return
        if not self._asked:
            self._is_ready()

    def _is_ready(self) -> None:
        if self.ready:
            return
        tell("READY=1")
        self._ready_s = time.monotonic()
        self._failure_noted = False
        LOG.info(fact("ingest.ready", broker=self._address, connection=self._connection))

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        cut_from = len(payload) if len(payload) > KEPT_OCTETS_MAX else None
        if cut_from is not None:
            payload = payload[:KEPT_OCTETS_MAX]
        if message.qos:
            self._unacknowledged.came(message.mid)
        self._inbox.put(
            Message(message.topic, payload, message.qos, message.mid, self._connection, message.retain, cut_from)
        )

    def _on_publish(self, _client: mqtt.Client, _userdata: object, mid: int, *_: Any) -> None:
        self._under_way.discard(mid)
        self._confirmed.set()

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _: Properties | None,
    ) -> None:
        if not self._leaving:
            self._note_failure(str(reason))
        self._lost.set()
        self._confirmed.set()

    def _on_socket_close(self, _client: mqtt.Client, _userdata: object, _sock: object) -> None:
        if self._watched is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._watched)
            loop.remove_writer(self._watched)
            self._watched = None

    def _note_failure(self, reason: str) -> None:
        """Log the first failure of a row; the next line is that we are back."""
        if not self._failure_noted:
            LOG.warning(fact("broker.lost", broker=self._address, reason=reason))
        self._failure_noted = True


def _send_at_once(_client: mqtt.Client, _userdata: object, sock: object) -> None:
    """Let no receipt wait for the broker's TCP to confirm what was sent before, which takes it up to 40 ms."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
