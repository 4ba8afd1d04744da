"""The two ends of ingest, for tests with real servers: the program itself, and gateways that resend until receipted."""

import os
import queue
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocols.telemetry.batch import encode_batch
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import decode_receipt
from protocols.telemetry.resend import Resend, decode_resend

DEADLINE_S = 60.0  # for what usually takes a second, on a machine that others use too
RESEND_S = 1.0  # a gateway that has heard nothing for that long sends again what is not receipted
READY = r"ingest\.ready"


class Ingest:
    """`congto ingest run` as a process of its own, started again under the same name after it was ended."""

    def __init__(self, dsn: str, broker_url: str) -> None:
        self.client_id = f"ingest-{uuid.uuid4().hex[:8]}"
        self._broker_url = broker_url
        self._environment = {**os.environ, "CONGTO_DSN": dsn, "CONGTO_BROKER": broker_url}
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *more: str) -> None:
        words = [sys.executable, "-m", "deploy.cli", "ingest", "run", "--client-id", self.client_id, *more]
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=self._environment)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True).start()

    @staticmethod
    def _listen(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                lines.put(line)
        lines.put(None)

    def wait_for(self, pattern: str) -> str:
        """Return the next line that matches; fail if the process ends first, or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"ingest ended without saying {pattern!r}:\n{''.join(self.said)}"
            self.said.append(line)
            if re.search(pattern, line):
                return line

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def point_at(self, dsn: str) -> None:
        """Let it use another database when it is started next."""
        self._environment["CONGTO_DSN"] = dsn

    def connect_to(self, broker_url: str) -> None:
        """Let it use another broker when it is started next."""
        self._broker_url = self._environment["CONGTO_BROKER"] = broker_url

    def kill_part(self, started: str) -> None:
        """Kill the process that a line ``process.started`` names."""
        found = re.search(r"pid=(\d+)", started)
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """Ask it to stop; return its exit status and all that it said."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit status and all that it said."""
        assert self._process is not None
        status = self._process.wait(DEADLINE_S)
        while (line := self._lines.get(timeout=DEADLINE_S)) is not None:
            self.said.append(line)
        return status, "".join(self.said)

    def clear(self) -> None:
        """Kill it if it still runs, and let the broker forget its session."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, self.client_id, protocol=mqtt.MQTTv5)
        client.connect(*address(self._broker_url), clean_start=True)
        client.loop()
        client.disconnect()


class Gateway:
    """Sends batches in order and keeps each until its receipt comes, as an agent does."""

    def __init__(self, broker_url: str, name: str, context: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.generation = uuid.uuid4().hex[:16]
        self.sent: list[Reading] = []
        self.receipts = 0
        self._waiting: dict[int, bytes] = {}
        self._sequence = 0
        self._heard = threading.Condition()
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, f"{name}-agent", protocol=mqtt.MQTTv5)
        client.reconnect_delay_set(1, 1)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect = lambda client, *_: client.subscribe(f"congto/v1/{name}/receipts", 1)
        client.on_subscribe = lambda *_: self._on_subscribe()
        client.on_message = self._on_receipt
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        client.connect(*address(broker_url), clean_start=True, properties=properties)
        self._subscribed = threading.Event()
        client.loop_start()
        assert self._subscribed.wait(DEADLINE_S)

    def send(self, readings: Sequence[Reading]) -> int:
        """Spool a batch and send it; return its sequence."""
        with self._heard:
            self._sequence += 1
            payload = encode_batch(self.name, self.generation, self._sequence, readings)
            self._waiting[self._sequence] = payload
        self.sent += readings
        self.publish(payload)
        return self._sequence

    def publish(self, payload: bytes, kind: str = "readings") -> None:
        """Send any bytes."""
        self._client.publish(f"congto/v1/{self.name}/{kind}", payload, qos=1)

    def _on_subscribe(self) -> None:
        self._subscribed.set()
        self._resend()

    def _resend(self) -> None:
        with self._heard:
            waiting = list(self._waiting.values())
        for payload in waiting:
            self.publish(payload)

    def _on_receipt(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if b"congto.resend.v1" in message.payload:
            self.on_request(decode_resend(message.payload))
            return
        receipt = decode_receipt(message.payload)
        assert receipt.gateway == self.name
        with self._heard:
            self.receipts += 1
            if receipt.generation == self.generation:
                for first, last in receipt.sequences:
                    for sequence in range(first, last + 1):
                        self._waiting.pop(sequence, None)
            self._heard.notify_all()

    def on_request(self, request: Resend) -> None:
        """Have nothing any more that was receipted, and say nothing."""

    @property
    def settled(self) -> int:
        """How many batches have their receipt."""
        return self._sequence - len(self._waiting)

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait for receipts until ``done``; send again what has none if nothing comes for a while."""
        deadline = time.monotonic() + DEADLINE_S
        while not self._hear(done):
            assert time.monotonic() < deadline, f"{len(self._waiting)} batches of {self.name} have no receipt"

    def _hear(self, done: Callable[[], bool]) -> bool:
        """Wait for ``done`` or the next receipt; if neither comes for a while, send again."""
        with self._heard:
            before = self.receipts
            heard = self._heard.wait_for(lambda: done() or self.receipts != before, RESEND_S)
            if done():
                return True
        if not heard:
            self._resend()
        return False

    def wait_for_receipts(self) -> None:
        """Wait until every batch has its receipt."""
        self.wait_until(lambda: not self._waiting)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def address(broker_url: str) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(broker_url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
