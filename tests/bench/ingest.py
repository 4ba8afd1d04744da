"""Readings committed per second, publisher and broker included, against a bare COPY of the same rows.

Both go into the same hypertable with its key, in one run on one machine: the ratio says what the way through MQTT, JSON
and receipts costs. Messages and COPY bytes are made beforehand; publisher, broker, ingest and database share the
machine, so on two cores the ratio can't reach 1. Small messages cost by the message: there what the broker alone
delivers to a subscriber that does nothing is the limit that is named.
"""

import multiprocessing
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from typing import Any

import numpy as np

from ingest_server.database import connect
from tests.bench import _ingest_world as world
from tests.bench._mqtt_load import Publisher, make_publish, open_session, subscribe, swallow
from tests.bench._processor import processor_s
from tests.ingest_server.processes import READY, Ingest, address
from tests.ingest_server.secure_broker import secure_broker

ROUNDS = 3
AHEAD = 1000  # messages without a receipt: twenty gateways, each with the agent's window of fifty
PROCESSES = 2
LATENCY_S = 10.0
WARM_MESSAGES = 100
BENCH_ACCESS = "\nuser bench\ntopic readwrite congto/v1/#\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to publish and how ingest is started there."""

    dsn: str
    broker_url: str
    arguments: tuple[str, ...] = ()
    context: ssl.SSLContext | None = None
    client_id: str | None = None
    servers: Mapping[str, int] = field(default_factory=dict)  # the first process of each


@dataclass(frozen=True, slots=True)
class Through:
    """Readings a second, and what a million of them took of the processors, by program. [s]"""

    rate: float = 0.0
    processor_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How much of all that the processors can do it took."""
        return sum(self.processor_s.values()) * self.rate / 1e6 / (os.cpu_count() or 1)


def measure() -> list[dict[str, Any]]:
    """Return the figures of ingest."""
    large, small = world.make_messages(500, 1200), world.make_messages(20, 30_000)
    with world.servers() as servers, secure_broker(more_access=BENCH_ACCESS) as broker:
        assert servers.broker_pid is not None
        assert servers.database_pid is not None
        pids = {"broker": servers.broker_pid, "database": servers.database_pid}
        plain = Place(servers.dsn, servers.broker_url, servers=pids)
        authority = broker.authority
        certificate, key = authority.issue("congto-ingest")
        words = ("--tls-ca", authority.path, "--tls-certificate", certificate, "--tls-key", key)
        secure = Place(servers.dsn, broker.url, tuple(map(str, words)), authority.context("bench"), "congto-ingest")
        steps = world.make_rows(world.channel_ids(servers.dsn), 60)
        bare = secured = 0.0
        best = Through()
        for _ in range(ROUNDS):  # in turn, so that what else the machine does meets all of them
            bare = max(bare, world.bare_copy(servers.dsn, steps))
            best = max(best, _through(plain, large), key=lambda each: each.rate)
            secured = max(secured, _through(secure, large).rate)
        through = best.rate
        limit = max(_broker_alone(servers.broker_url, small) for _ in range(ROUNDS))
        each = max(_through(plain, small, "--processes", str(PROCESSES)).rate for _ in range(ROUNDS))
        latency_ms = _latency_ms(plain, through / 2)
    rate, ratio = "readings/s", "ratio"
    return [
        world.row("ingest: bare COPY into the hypertable", bare, rate, "reference", met=True),
        world.row("ingest: 500 readings a message", through, rate, "reference", met=True),
        world.row(
            "ingest: 500 readings a message ÷ bare COPY", through / bare, ratio, "≥ 0.80", met=through >= 0.8 * bare
        ),
        *(
            world.row(f"ingest: the same, processor of a million readings: {name}", took_s, "s", "stated", met=True)
            for name, took_s in best.processor_s.items()
        ),
        world.row("ingest: the same, share of all processors", best.share, "ratio", "stated", met=True),
        world.row("ingest: the same, TLS 1.3 ÷ bare COPY", secured / bare, ratio, "≥ 0.70", met=secured >= 0.7 * bare),
        world.row("ingest: the broker alone, 20 readings a message", limit, rate, "reference", met=True),
        world.row(
            f"ingest: 20 readings a message, {PROCESSES} processes", each, rate, "≥ 100,000", met=each >= 100_000
        ),
        world.row("ingest: receipt latency at half load, p99", latency_ms, "ms", "≤ 500", met=latency_ms <= 500),
    ]


def _packets(messages: Sequence[world.Message]) -> list[bytes]:
    return [make_publish(each.topic, each.payload, number % 60_000 + 1) for number, each in enumerate(messages)]


def _publisher(place: Place, messages: Sequence[world.Message], name: str) -> Publisher:
    connection = open_session(address(place.broker_url), name, context=place.context)
    subscribe(connection, "congto/v1/+/receipts")
    return Publisher(connection, _packets(messages), [(each.gateway, each.sequence) for each in messages])


def _start(place: Place, *more: str) -> Ingest:
    program = Ingest(place.dsn, place.broker_url)
    program.client_id = place.client_id or program.client_id
    program.start(*place.arguments, *more)
    for _ in range(PROCESSES if "--processes" in more else 1):
        program.wait_for(READY)
    return program


def _through(place: Place, messages: Sequence[world.Message], *more: str) -> Through:
    """Return the rate from the first message sent to the last receipt received."""
    program = _start(place, *more)
    publisher = _publisher(place, messages, "bench")
    watched = {"ingest": program.pid, **place.servers}
    before = {name: processor_s(pid) for name, pid in watched.items()}
    publishing_s = time.process_time()
    try:
        took_s = publisher.run(ahead=AHEAD)
        computed = {"publisher": time.process_time() - publishing_s}
        computed |= {name: processor_s(pid) - before[name] for name, pid in watched.items()}
    finally:
        publisher.connection.close()
        program.end()
    with connect(place.dsn) as connection:
        (found,) = connection.execute("select count(*) from reading").fetchone() or (0,)
    world.clear(place.dsn)
    assert found % len(messages) == 0, f"{found} readings are stored"
    assert found > 0
    return Through(found / took_s, {name: took / found * 1e6 for name, took in computed.items()})


def _broker_alone(broker_url: str, messages: Sequence[world.Message]) -> float:
    """Return the rate at which a subscriber that does nothing gets them."""
    told: Queue[object] = multiprocessing.get_context("fork").Queue()
    where = address(broker_url)
    subscriber = multiprocessing.get_context("fork").Process(
        target=swallow, args=(where, "congto/v1/+/readings", len(messages), told.put)
    )
    subscriber.start()
    assert told.get() == "subscribed"
    connection = open_session(where, "bench")
    publisher = Publisher(connection, _packets(messages), [("", number) for number in range(len(messages))], False)
    took_s = publisher.run(ahead=AHEAD)
    subscriber.join()
    connection.close()
    return 20 * len(messages) / took_s


def _latency_ms(place: Place, readings_per_s: float) -> float:
    """Return the 99th percentile of the time from sending a message to its receipt.

    The first messages are left out: with them it learns the registry and makes the chunk, as it does once a week.
    """
    per_s = readings_per_s / 500
    messages = world.make_messages(500, int(per_s * LATENCY_S))
    program = _start(place)
    first = _publisher(place, messages[:WARM_MESSAGES], "bench-first")
    publisher = _publisher(place, messages[WARM_MESSAGES:], "bench")
    try:
        first.run(ahead=AHEAD)
        first.connection.close()
        publisher.run(ahead=AHEAD, per_s=per_s)
    finally:
        publisher.connection.close()
        program.end()
    world.clear(place.dsn)
    return float(np.percentile(publisher.latencies_s, 99)) * 1000
