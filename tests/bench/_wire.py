"""What a value costs on the wire: the agent's publisher, a proxy that counts, Mosquitto, and a stub that receipts."""

import asyncio
import contextlib
import math
import random
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.config import parse_config
from edge_agent.log import EventLog, Recurring
from edge_agent.mqtt_connection import MqttConnector
from edge_agent.publisher import Publisher
from edge_agent.spool import Cycle, Spool
from edge_agent.store import Store
from protocols.telemetry.reading import Reading
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.receipt import Receipt

METERS = 200
# Import, export, voltage, current, active and reactive power, power factor, frequency.
CODES = ("1.0.1.8.0", "1.0.2.8.0", "1.0.32.7.0", "1.0.31.7.0", "1.0.1.7.0", "1.0.3.7.0", "1.0.13.7.0", "1.0.14.7.0")
START_MS = 1_759_251_600_000
EVERY_MS = 1_800_000
CONFIG = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:{port}"
[[bus]]
id = "rs485-1"
port = "line"
[[bus.meter]]
id = "M-000001"
model = "eastron_sdm120"
address = 1
"""


class Village:
    """Meters whose values move as a village's do: noise in every one, so that nothing packs that would not outside."""

    def __init__(self) -> None:
        self._chance = random.Random(8)
        draw = self._chance
        self._names = [f"24{draw.randrange(10**6):06}" for _ in range(METERS)]  # a lot of serial numbers
        self._energy = [
            [draw.randrange(10**6, 6 * 10**7), draw.randrange(3 * 10**6) if n % 5 == 0 else 0] for n in range(METERS)
        ]
        self._base = [draw.uniform(100, 3000) for _ in range(METERS)]
        self._volts = [draw.gauss(228_000, 3000) for _ in range(METERS)]
        self._slot = 0

    def cycle(self) -> Cycle:
        """Return what is read in the next slot."""
        draw, at_ms = self._chance, START_MS + self._slot * EVERY_MS
        frequency = 50_000 + draw.gauss(0, 15)
        readings = []
        for number, name in enumerate(self._names):
            load = max(5.0, self._base[number] * draw.lognormvariate(0, 0.5) * (0.6 + 0.4 * math.sin(self._slot / 7.6)))
            self._volts[number] = 228_000 + 0.95 * (self._volts[number] - 228_000) + draw.gauss(0, 800)
            factor = min(0.999, max(0.5, draw.gauss(0.93, 0.03)))
            volts = self._volts[number] / 1000
            values = (
                *self._energy[number],
                self._volts[number],
                load / volts / factor * 1000,
                load,
                load * math.tan(math.acos(factor)),
                factor * 1000,
                frequency + draw.uniform(-3, 3),
            )
            readings += [Reading(name, code, at_ms, int(value)) for code, value in zip(CODES, values, strict=True)]
            self._energy[number][0] += int(load / 2)
            self._energy[number][1] += int(max(0.0, draw.gauss(200, 300))) if number % 5 == 0 else 0
        self._slot += 1
        return Cycle(readings)


class Proxy:
    """Hands octets on and counts them, both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.octets = 0
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen on a free port of the loopback interface."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(*self._target)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):  # the end of the measurement
            await asyncio.gather(self._pump(reader, onward), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.octets += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()


class ServerStub:
    """Receipts every message, as ingest does, over a connection of its own that is not counted."""

    def __init__(self, url: str, gateway: str) -> None:
        parts = urlsplit(url)
        self.values = 0
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(str(parts.hostname), parts.port or 1883)
        self._client.subscribe(f"congto/v1/{gateway}/readings", 1)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def _on_message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        batch = decode_readings(message.payload)
        self.values += len(batch)
        receipt = Receipt(batch.gateway, batch.generation, batch.header.settles)
        client.publish(f"congto/v1/{batch.gateway}/receipts", receipt.encode(), qos=1)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


async def measure_wire(url: str, directory: Path, live: int, backlog: int) -> tuple[float, float, float, float]:
    """Return octets a value, live and in backlog, and the entropies of the values' differences."""
    parts = urlsplit(url)
    found, floors = [], []
    for gateway, cycles, early in (("gw-live", live, False), ("gw-backlog", backlog, True)):
        proxy = Proxy(str(parts.hostname), parts.port or 1883)
        server = await proxy.start()
        config = parse_config(CONFIG.format(gateway=gateway, port=proxy.port), "bench.toml", directory, {})
        stub = ServerStub(url, gateway)
        village = Village()
        taken = [village.cycle() for _ in range(cycles)]
        floors.append(entropy([each.readings for each in taken], joined=early))
        found.append(await _publish(config, taken, proxy, stub, early=early))
        stub.close()
        server.close()
    return found[0], found[1], floors[0], floors[1]


async def _publish(config, taken, proxy, stub, *, early):  # type: ignore[no-untyped-def]  # types are measure_wire's
    log = EventLog()
    store = Store(Spool(config.spool.with_name(f"{config.gateway}.sqlite"), config.gateway, 1 << 30))
    publisher = Publisher(
        config,
        store,
        log,
        connect=MqttConnector(config.gateway, config.broker),
        now_ms=lambda: START_MS,
        version="bench",
        chance=random.Random(1),
    )
    stop = asyncio.Event()
    if early:
        for cycle in taken:
            await store.commit(cycle, "rs485-1", Recurring(log))
    publishing = asyncio.create_task(publisher.run(stop))
    if not early:
        await _until(lambda: proxy.octets > 0)
        await asyncio.sleep(1)  # the connection and its first status
        proxy.octets = 0
        for cycle in taken:
            await store.commit(cycle, "rs485-1", Recurring(log))
            await _until(lambda: store.waiting == 0)
    await _until(lambda: store.waiting == 0)
    await asyncio.sleep(0.5)  # the last acknowledgement
    octets = proxy.octets
    stop.set()
    await publishing
    store.close()
    values = sum(len(cycle.readings) for cycle in taken)
    assert stub.values == values
    return octets / values


async def _until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - looks at counters of other threads and of SQLite
            await asyncio.sleep(0.005)


def entropy(cycles: list[list[Reading]], *, joined: bool) -> float:
    """Return the octets a value of a perfect coder that knows how often each difference of each code comes.

    Alone, a cycle's values are differences to the meter before; joined, to the same meter's value before.
    """
    columns: dict[str, list[int]] = {}
    before: dict[tuple[str, str], int] = {}
    for readings in cycles:
        last: dict[str, int] = {}
        for meter, obis, _, value, _ in sorted(readings):
            known = before.get((meter, obis)) if joined else None
            columns.setdefault(obis, []).append(value - (last.get(obis, 0) if known is None else known))
            last[obis] = before[meter, obis] = value
    bits = 0.0
    for column in columns.values():
        for differences, count in Counter(column).items():
            bits -= count * math.log2(count / len(column)) if differences or count else 0.0
    return bits / 8 / sum(map(len, columns.values()))
