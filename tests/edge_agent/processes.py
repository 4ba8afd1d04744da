"""The agent, its meters and its server as processes and threads of their own."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.telemetry.batch import Batch
from protocols.telemetry.event import EventMessage, decode_events
from protocols.telemetry.loss import Loss, decode_loss, is_loss
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.receipt import Receipt, State, Status, decode_status
from protocols.telemetry.topics import Kind, Topic

DEADLINE_S = 60.0  # for what usually takes a second, on a machine that others use too


class Program:
    """A `congto` command as a process; what it writes is collected line by line."""

    def __init__(self, *words: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> str:
        """Return the next line that matches; fail if the process ends first or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, f"ended without saying {pattern!r}:\n{''.join(self.said)}"
            self.said.append(line)
            if re.search(pattern, line):
                return line

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self._listener.join(DEADLINE_S)

    def end(self) -> tuple[int, str]:
        """Ask it to stop; return its exit status and all that it said."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Return its exit status and all that it said, when it has ended."""
        status = self._process.wait(DEADLINE_S)
        self._listener.join(DEADLINE_S)
        while (line := self._lines.get(timeout=DEADLINE_S)) is not None:
            self.said.append(line)
        return status, "".join(self.said)

    def clear(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            self.kill()


class Server:
    """Keeps what a gateway publishes and receipts it while ``receipting``; connects again by itself."""

    def __init__(self, broker_url: str, gateway: str) -> None:
        self._gateway = gateway
        self._changed = threading.Condition()
        self.receipting = True
        self.messages: list[Batch] = []
        self.seen: set[tuple[str, int]] = set()  # generation and sequence
        self.losses: list[Loss] = []
        self.resent = 0
        self.statuses: list[Status] = []
        self.events: dict[int, EventMessage] = {}
        parts = urlsplit(broker_url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"server-of-{gateway}", protocol=mqtt.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(str(parts.hostname), parts.port or 1883)
        self._client.loop_start()

    def _on_connect(self, client: mqtt.Client, *_others: object) -> None:
        client.subscribe([(str(Topic(self._gateway, kind)), 1) for kind in (Kind.READINGS, Kind.STATUS, Kind.EVENTS)])

    def _on_message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            payload = bytes(message.payload)
            if message.topic.endswith(Kind.STATUS.value):
                self.statuses.append(decode_status(payload))
            elif message.topic.endswith(Kind.EVENTS.value):
                found = decode_events(payload)
                self.events[found.header.sequence] = found
                told = ((found.header.sequence, found.header.sequence),)
                self._receipt(client, Receipt(self._gateway, found.header.generation, (), told))
            elif is_loss(payload):
                loss = decode_loss(payload)
                self.losses.append(loss)
                self._receipt(client, Receipt(self._gateway, loss.generation, loss.sequences))
            else:
                self._take(client, payload)
            self._changed.notify_all()

    def _take(self, client: mqtt.Client, payload: bytes) -> None:
        batch = decode_readings(payload)
        self.messages.append(batch)
        for first, last in batch.header.settles:
            for sequence in range(first, last + 1):
                self.resent += (batch.generation, sequence) in self.seen
                self.seen.add((batch.generation, sequence))
        self._receipt(client, Receipt(batch.gateway, batch.generation, batch.header.settles))

    def _receipt(self, client: mqtt.Client, receipt: Receipt) -> None:
        if self.receipting:
            client.publish(str(Topic(self._gateway, Kind.RECEIPTS)), receipt.encode(), qos=1)

    def ask(self, payload: bytes) -> None:
        """Send a request over the receipts' topic."""
        self._client.publish(str(Topic(self._gateway, Kind.RECEIPTS)), payload, qos=1)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was received fulfils ``condition``."""
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), (sorted(self.seen), self.statuses[-3:])

    def sequences(self) -> set[int]:
        """Return the sequences that were received, of whatever generation."""
        with self._changed:
            return {sequence for _, sequence in self.seen}

    def stored(self) -> dict[tuple[str, str, int], set[tuple[int, int]]]:
        """Return what was received: meter, OBIS code and time → values and qualities, one each if all is well."""
        with self._changed:
            found: dict[tuple[str, str, int], set[tuple[int, int]]] = {}
            for batch in self.messages:
                for reading in batch.readings():
                    found.setdefault(reading[:3], set()).add(reading[3:])
            return found

    def offline(self) -> bool:
        """Whether the last status is the last will or a good-bye."""
        return bool(self.statuses) and self.statuses[-1].state is State.OFFLINE

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
