"""Readings committed per second, publisher and broker included, against a bare COPY of the same rows.

Both go into the same hypertable with its key, in one run on one machine: the ratio says what the way through MQTT, JSON
and receipts costs. Messages and COPY bytes are made beforehand; publisher, broker, ingest and database share the
machine, so on two cores the ratio can't reach 1.
"""

import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from deploy.runtime import lifecycle
from ingest_server.database import connect, migrate
from ingest_server.database.copy import HEADER, TRAILER, encode_readings
from ingest_server.registry import load_registry
from protocols.telemetry.batch import encode_batch
from protocols.telemetry.reading import Reading
from protocols.telemetry.receipt import decode_receipt
from tests.ingest_server.processes import READY, Ingest, address

GATEWAYS = 20
START_MS = 1_759_251_600_000
HALF_HOUR_MS = 1_800_000
UNDER_WAY_MAX = 200  # batches that a publisher sends ahead of their receipts, as an agent bounds its window
DEADLINE_S = 60.0
ROUNDS = 3
COMMAND = "make bench"
COPY_READINGS = "copy reading (channel_id, measured_at, value, quality) from stdin (format binary)"


def measure() -> list[dict[str, Any]]:
    """Return the figures of ingest."""
    with _servers() as servers:
        bare, large = 0.0, 0.0
        for _ in range(ROUNDS):  # in turn, so that what else the machine does meets both
            bare = max(bare, _bare_copy(servers.dsn, meters=500, steps=60))
            large = max(large, _through_the_broker(servers, readings=500, messages=1200))
        small = _through_the_broker(servers, readings=20, messages=6000)
    return [
        _row("ingest: bare COPY into the hypertable", bare, "readings/s", "reference", met=True),
        _row("ingest: 500 readings a message", large, "readings/s", "reference", met=True),
        _row("ingest: 500 readings a message ÷ bare COPY", large / bare, "ratio", "≥ 0.80", met=large >= 0.80 * bare),
        _row("ingest: 20 readings a message", small, "readings/s", "≥ 100,000", met=small >= 100_000),
    ]


def _row(name: str, value: float, unit: str, target: str, *, met: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "command": COMMAND}


@contextmanager
def _servers() -> Iterator[lifecycle.Running]:
    directory = Path(tempfile.mkdtemp(prefix="congto-bench-"))
    directory.chmod(0o711)  # the servers' user must get through
    try:
        running = lifecycle.up(directory / "runtime")
        migrate(running.dsn)
        meters = "".join(
            f'[[meter]]\nid = "g{gateway}-{meter}"\ngateway = "g{gateway}"\nmodel = "eastron_sdm120"\n'
            'channels = ["1.0.1.8.0"]\n'
            for gateway in range(GATEWAYS)
            for meter in range(500)
        )
        gateways = "".join(f'[[gateway]]\nid = "g{gateway}"\n' for gateway in range(GATEWAYS))
        with connect(running.dsn) as connection:
            load_registry(connection, gateways + meters, "bench.toml")
        yield running
    finally:
        lifecycle.down(directory / "runtime")
        shutil.rmtree(directory)


def _bare_copy(dsn: str, *, meters: int, steps: int) -> float:
    """Return the rate of one COPY of the rows that the messages hold, in their order; they are removed again."""
    with connect(dsn) as connection:
        channels = np.array(
            [row[0] for row in connection.execute("select channel_id from channel order by channel_id")], np.int32
        )
        parts = []
        for step in range(steps):
            for gateway in range(GATEWAYS):
                value = np.arange(meters, dtype=np.int64) + 1000 * step
                at_ms = np.full(meters, START_MS + step * HALF_HOUR_MS)
                part = channels[gateway * meters : (gateway + 1) * meters]
                parts.append(encode_readings(part, at_ms, value, np.zeros(meters, np.int16)))
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(COPY_READINGS) as copy:
            for part in (HEADER, *parts, TRAILER):
                copy.write(part)
        connection.commit()
        took_s = time.perf_counter() - started
        connection.execute("truncate reading")
    return meters * GATEWAYS * steps / took_s


def _through_the_broker(servers: lifecycle.Running, *, readings: int, messages: int) -> float:
    """Return the rate from the first message sent to the last receipt received."""
    generation = uuid.uuid4().hex[:16]
    payloads = []
    for number in range(messages):
        gateway, turn = f"g{number % GATEWAYS}", number // GATEWAYS
        meters = range(turn * readings % 500, turn * readings % 500 + readings)
        at_ms = START_MS + turn * readings // 500 * HALF_HOUR_MS
        rows = [Reading(f"{gateway}-{meter}", "1.0.1.8.0", at_ms, meter + turn) for meter in meters]
        payloads.append((f"congto/v1/{gateway}/readings", encode_batch(gateway, generation, turn + 1, rows)))
    program = Ingest(servers.dsn, servers.broker_url)
    program.start()
    program.wait_for(READY)
    try:
        took_s = _publish(servers.broker_url, payloads)
    finally:
        program.clear()
    with connect(servers.dsn) as connection:
        found = connection.execute("select count(*) from reading").fetchone()
        assert found == (readings * messages,), f"{found} readings are stored"
        connection.execute("truncate reading")
    return readings * messages / took_s


def _publish(broker_url: str, payloads: list[tuple[str, bytes]]) -> float:
    """Send all, at most so many ahead of their receipts; return how long it took until all were receipted."""
    heard = threading.Condition()
    settled: set[tuple[str, int]] = set()
    subscribed = threading.Event()

    def on_receipt(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        receipt = decode_receipt(message.payload)
        with heard:
            for first, last in receipt.sequences:
                settled.update((receipt.gateway, sequence) for sequence in range(first, last + 1))
            heard.notify_all()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(UNDER_WAY_MAX)
    client.on_message = on_receipt
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(*address(broker_url))
    client.subscribe("congto/v1/+/receipts", 1)
    client.loop_start()
    assert subscribed.wait(DEADLINE_S)
    started = time.perf_counter()
    for number, (topic, payload) in enumerate(payloads):
        with heard:
            assert heard.wait_for(lambda number=number: number - len(settled) < UNDER_WAY_MAX, DEADLINE_S)
        client.publish(topic, payload, qos=1)
    with heard:
        assert heard.wait_for(lambda: len(settled) == len(payloads), DEADLINE_S)
    took_s = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return took_s
