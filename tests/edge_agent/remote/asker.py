"""The server's side of commands, and a wire between agent and meter that a test can hold."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.telemetry.command import Asked, Command
from protocols.telemetry.receipt import Status, decode_status
from protocols.telemetry.reply import Reply, decode_reply
from protocols.telemetry.topics import Kind, Topic

DEADLINE_S = 60.0


class Asker:
    """Sends commands to one gateway and keeps what it answers, octet by octet."""

    def __init__(self, broker_url: str, gateway: str) -> None:
        self.gateway = gateway
        self.replies: list[tuple[Reply, bytes]] = []
        self.statuses: list[Status] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        parts = urlsplit(broker_url)
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, f"asker-{gateway}", protocol=mqtt.MQTTv5)
        client.on_connect = lambda client, *_: client.subscribe(
            [(str(Topic(gateway, kind)), 1) for kind in (Kind.REPLIES, Kind.STATUS)]
        )
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._take
        client.connect(str(parts.hostname), parts.port or 1883)
        client.loop_start()
        assert self._ready.wait(DEADLINE_S)

    def _take(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        with self._changed:
            if message.topic.endswith(Kind.STATUS.value):
                self.statuses.append(decode_status(payload))
            else:
                self.replies.append((decode_reply(payload), payload))
            self._changed.notify_all()

    def command(self, asked: Asked, *, life_s: float = 60.0, gateway: str | None = None) -> Command:
        """Return a new command."""
        now_ms = time.time_ns() // 1_000_000
        return Command(gateway or self.gateway, secrets.token_hex(8), now_ms, now_ms + int(1000 * life_s), asked)

    def send(self, payload: bytes) -> None:
        """Publish any octets to the gateway."""
        self._client.publish(str(Topic(self.gateway, Kind.COMMANDS)), payload, qos=1).wait_for_publish(DEADLINE_S)

    def replies_to(self, command: Command, count: int = 1) -> list[bytes]:
        """Return the first ``count`` replies to a command, as they came."""

        def found() -> list[bytes]:
            return [payload for reply, payload in self.replies if reply.key == command.key]

        self.wait_until(lambda: len(found()) >= count)
        return found()

    def ask(self, asked: Asked) -> Reply:
        """Ask something new and return the reply."""
        command = self.command(asked)
        self.send(command.encode())
        return decode_reply(self.replies_to(command)[0])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until what came fulfils ``condition``."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), ([each for each, _ in self.replies], self.statuses)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class HeldWire:
    """A TCP connection between agent and meter; told to, it holds the answer to a request with ``mark`` in it."""

    def __init__(self, meter: tuple[str, int], mark: bytes) -> None:
        self._meter = meter
        self._mark = mark
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.holding = self._marked = False
        self.held = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listener.accept()
            except OSError:
                return
            meter = socket.create_connection(self._meter)
            for source, sink, asks in ((agent, meter, True), (meter, agent, False)):
                threading.Thread(target=self._pass, args=(source, sink, asks), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError), sink:
            while data := source.recv(65_536):
                self._marked = self._marked or (asks and self.holding and self._mark in data)
                if self._marked and not asks:
                    self.held.set()
                else:
                    sink.sendall(data)

    def release(self) -> None:
        """Hold nothing any more."""
        self.holding = self._marked = False

    def close(self) -> None:
        self._listener.close()
