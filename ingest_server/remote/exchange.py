"""One command to a gateway and its reply, over the broker.

The same message is published again now and then while we wait: the gateway carries a key out once, and a message that
was lost between broker and gateway is made good. A session of our own that ends with the connection; QoS 1.
"""

import contextlib
import queue
import ssl
import time
from collections.abc import Iterator

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ingest_server.pipeline.settings import KEEPALIVE_S, BrokerAddress
from protocols.errors import RemoteProtocolError, UnavailableError
from protocols.telemetry.command import Command
from protocols.telemetry.reply import Reply, decode_reply
from protocols.telemetry.topics import Kind, Topic

CONNECT_S_MAX = 10.0
AGAIN_S = 10.0
REPLIES_WAITING_MAX = 100


class Line:
    """A connection that hears one gateway's replies."""

    def __init__(self, client: mqtt.Client, gateway: str, heard: "queue.Queue[bytes]") -> None:
        self._client = client
        self._topic = str(Topic(gateway, Kind.COMMANDS))
        self._heard = heard

    def ask(self, command: Command, request: bytes, wait_s: float) -> tuple[Reply, bytes] | None:
        """Publish ``request`` and return the reply to it; None if none comes within ``wait_s``."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._client.publish(self._topic, request, qos=1)
            found = self._wait(command, min(left_s, AGAIN_S))
            if found is not None:
                return found
        return None

    def _wait(self, command: Command, wait_s: float) -> tuple[Reply, bytes] | None:
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                payload = self._heard.get(timeout=left_s)
                reply = decode_reply(payload)
            except (queue.Empty, RemoteProtocolError):
                continue
            if (reply.gateway, reply.key) == (command.gateway, command.key):
                return reply, payload
        return None


@contextlib.contextmanager
def connected(address: BrokerAddress, gateway: str, name: str, context: ssl.SSLContext | None) -> Iterator[Line]:
    """Enter a connection as ``name`` that is subscribed to the replies of ``gateway``.

    Raises
    ------
    UnavailableError
        If the broker can't be reached or refuses us.
    """
    heard: queue.Queue[bytes] = queue.Queue(REPLIES_WAITING_MAX)
    ready: queue.Queue[ReasonCode | str] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    client.username, client.password = address.username, address.password
    if context is not None:
        client.tls_set_context(context)

    def on_connect(client: mqtt.Client, _userdata: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        if reason.is_failure:
            ready.put(reason)
        else:
            client.subscribe(str(Topic(gateway, Kind.REPLIES)), 1)

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        with contextlib.suppress(queue.Full):
            heard.put_nowait(bytes(message.payload))

    client.on_connect = on_connect
    client.on_subscribe = lambda _client, _userdata, _number, reasons, _more: ready.put(reasons[0])
    client.on_message = on_message
    try:
        client.connect(address.host, address.port, KEEPALIVE_S)
        client.loop_start()
        said = ready.get(timeout=CONNECT_S_MAX)
        if isinstance(said, ReasonCode) and said.is_failure:
            raise UnavailableError(f"broker {address}: refuses us: {said}")
        yield Line(client, gateway, heard)
    except queue.Empty:
        raise UnavailableError(f"broker {address}: does not answer within {CONNECT_S_MAX:.0f} s") from None
    except OSError as error:
        raise UnavailableError(f"broker {address}: {error}; check that it runs and that --broker names it") from error
    finally:
        client.disconnect()
        client.loop_stop()
