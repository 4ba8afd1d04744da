"""Every kind of bad message, fuzzed, to the real program: kept with a reason, its neighbours stored, memory bounded."""

import json
import random
import re
import uuid
from pathlib import Path

import pytest
import zstandard

from deploy.runtime.processes import wait_until
from ingest_server.database import connect, migrate
from ingest_server.pipeline.settings import KEPT_OCTETS_MAX
from ingest_server.registry import load_registry
from protocols.telemetry.batch import encode_batch
from protocols.telemetry.columns import encode_columns
from protocols.telemetry.reading import Reading
from tests.ingest_server.flooding_broker import FloodingBroker
from tests.ingest_server.processes import DEADLINE_S, READY, Ingest
from tests.ingest_server.stored_directly import GENERATION, HALF_HOUR_MS, START_MS, registry

pytestmark = pytest.mark.integration

VARIANTS = 40  # of each kind
SEED = 5
GROWTH_KIB_MAX = 50 * 1024
CLONE = "0123456789abcdef"  # the generation under which readings come twice with other values
TEN_MB = 10 << 20


def template(**changes):
    message = {
        "schema": "congto.readings.v1", "gateway": "g1", "generation": GENERATION, "sequence": 900_000,
        "channels": [["g1-M0", "1.0.1.8.0"]], "channel": [0], "at": [START_MS], "value": [1], "quality": [0],
    }  # fmt: skip
    return {**message, **changes}


def text(**changes):
    return json.dumps(template(**changes), separators=(",", ":")).encode()


def at(at_ms, **changes):
    return text(at=[at_ms], **changes)


def put(chance, payload, what):
    """Return ``payload`` with ``what`` in place of some value of its columns."""
    key = chance.choice([b'"at":[%d' % START_MS, b'"value":[1', b'"quality":[0', b'"sequence":900000'])
    return payload.replace(key, re.sub(rb"\d+$", lambda _: what, key))


def garble(chance, payload):
    data = bytearray(payload)
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


# What each kind looks like, and the reason that it is kept with.
KINDS = {
    "not JSON": (lambda c: b"{" + c.randbytes(c.randint(1, 300)).replace(b"}", b""), r"not JSON|not UTF-8|brackets"),
    "nested": (lambda c: c.choice([b"[", b'{"a":']) * c.randint(90_000, 110_000), "nested deeper"),
    "duplicate keys": (lambda c: text()[:-1] + b',"%s":[0]}' % c.choice([b"at", b"value"]), "same key twice"),
    "NaN": (lambda c: put(c, text(), c.choice([b"NaN", b"Infinity", b"-Infinity"])), "not an integer|expected"),
    "1e400": (lambda c: put(c, text(), b"1e%d" % c.randint(300, 500)), "not an integer"),
    "beyond 2⁶³": (lambda c: put(c, text(), b"%d" % c.randint(1 << 63, 1 << 80)), "outside|expected an integer"),
    "floats": (lambda c: put(c, text(), b"%f" % c.random()), "not an integer"),
    "lone surrogates": (lambda c: text().replace(b"g1-M0", b"g1\\ud8%02x" % c.randrange(256)), "meter"),
    "NUL": (lambda c: text(channels=[[f"g1\0M{c.randrange(9)}", "1.0.1.8.0"]]), "meter"),
    "invalid UTF-8": (lambda c: text().replace(b"g1-M0", b"g1" + bytes([c.randint(128, 255)])), "not UTF-8"),
    "unknown schema": (lambda c: text(schema=f"congto.readings.v{c.randint(3, 99)}"), "schema"),
    "empty batch": (lambda c: text(channel=[], at=[], value=[], quality=[]), "0 rows"),
    "enormous batch": (
        lambda c: text(**{key: [0] * c.randint(10_001, 40_000) for key in ("channel", "at", "value", "quality")}),
        "rows: expected 1 to|columns|elements",
    ),
    "other gateway's meter": (lambda c: text(channels=[[f"g2-M{c.randrange(2)}", "1.0.1.8.0"]]), "not registered"),
    "unknown meter": (lambda c: text(channels=[[f"g1-X{c.randrange(99)}", "1.0.1.8.0"]]), "not registered"),
    "unknown channel": (lambda c: text(channels=[["g1-M0", f"1.0.{c.randint(3, 9)}.8.0"]]), "not registered"),
    "1970": (lambda c: at(c.randrange(86_400_000)), "at: a value lies outside"),
    "2262": (lambda c: at(9_223_372_036_854 + c.randrange(1000)), "at: a value lies outside"),
    "tomorrow": (lambda c: at(4_000_000_000_000 + c.randrange(1000)), "a day ahead"),
    "topic of another": (lambda c: text(gateway=f"g{c.randint(2, 9)}"), "the topic is of gateway g1"),
    "decompression bomb": (lambda c: zstandard.compress(bytes(c.randint(5 << 20, 64 << 20))), "zstd|unpacks"),
    "bomb of unknown size": (
        lambda c: zstandard.ZstdCompressor(write_content_size=False).compress(bytes(c.randint(5 << 20, 64 << 20))),
        "zstd",
    ),
    "cut": (lambda c: text()[: c.randint(1, 150)], "not JSON|brackets"),
    "columns garbled": (lambda c: columns()[: -c.randint(1, 8)], "columns|zstd|not JSON|brackets"),
    "strange events": (lambda c: b'{"schema":"congto.event.v1","gateway":"g1","events":[%d]}' % c.randrange(9), "."),
}  # fmt: skip
KIND_OF_TOPIC = {"strange events": "events"}


def columns():
    rows = [Reading("g1-M0", "1.0.1.8.0", START_MS + step * HALF_HOUR_MS, step) for step in range(3)]
    return encode_columns("g1", GENERATION, ((900_000, 900_000),), rows)


def neighbour(number):
    return Reading("g1-M1", "1.0.1.8.0", START_MS + number * 1000, number)


def make_messages(chance):
    """Return all of it in random order, each with a good message beside it."""
    bad = [
        (f"congto/v1/g1/{KIND_OF_TOPIC.get(name, 'readings')}", make(chance))
        for name, (make, _) in KINDS.items()
        for _ in range(VARIANTS)
    ]
    bad += [("congto/v1/g1/readings", garble(chance, text())) for _ in range(VARIANTS)]  # may be right by chance
    # The same sequence with other values, as a clone gives.
    bad += [("congto/v1/g1/readings", encode_batch("g1", CLONE, 1, [clone(value)])) for value in range(VARIANTS)]
    chance.shuffle(bad)
    good = [encode_batch("g1", GENERATION, 2 * number + 1, [neighbour(number)]) for number in range(len(bad))]  # gaps
    return [
        each
        for pair in zip(bad, [("congto/v1/g1/readings", payload) for payload in good], strict=True)
        for each in pair
    ]


def clone(value):
    return Reading("g1-M0", "1.0.2.8.0", START_MS, value)


def peak_kib(pid):
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.fixture
def connection(database):
    migrate(database)
    with connect(database) as connection:
        connection.autocommit = True
        load_registry(connection, registry("g1", 2) + registry("g2", 2), "test.toml")
        yield connection


def neighbours(connection):
    select = "select count(*) from reading join channel using (channel_id) where meter_id = 'g1-M1'"
    return connection.execute(select).fetchone()[0]


def run(database, connection, messages, wanted):
    """Let a fresh program take a few good messages, then ``messages``; return by how much its memory grew. [KiB]"""
    warm = [
        ("congto/v1/g1/readings", encode_batch("g1", "f" * 16, n, [clone(0)._replace(measured_at_ms=START_MS + n)]))
        for n in range(1, 500)
    ]
    first = FloodingBroker(warm, once=True)
    program = Ingest(database, first.url)
    program.client_id = f"fuzz-{uuid.uuid4().hex[:8]}"
    second = FloodingBroker([*warm, *messages], once=True)
    peaks = []
    try:
        for broker, done in (
            (first, lambda: last_sequence(connection) == 499),
            (second, lambda: neighbours(connection) == wanted),
        ):
            program.connect_to(broker.url)
            program.start()
            program.wait_for(READY)
            assert wait_until(done, DEADLINE_S), f"{neighbours(connection)} of {wanted} neighbours are stored"
            peaks.append(peak_kib(program.pid))
            status, said = program.end()
            assert (status, "CRITICAL" in said) == (0, False)
    finally:
        first.close()
        second.close()
    return peaks[1] - peaks[0]


def last_sequence(connection):
    row = connection.execute(
        "select upper(received) - 1 from gateway_sequence where generation = %s", ["f" * 16]
    ).fetchone()
    return row and row[0]


def test_bad_messages_are_kept_with_a_reason_and_their_neighbours_stored(database, connection):
    messages = make_messages(random.Random(SEED))
    grown = run(database, connection, messages, len(messages) // 2)
    assert grown < GROWTH_KIB_MAX
    found = dict(connection.execute("select payload, reason from quarantine").fetchall())
    chance = random.Random(SEED)
    for name, (make, reason) in KINDS.items():
        for _ in range(VARIANTS):
            payload = make(chance)
            kept = (
                [found[payload]] if payload in found else [each for each in found.values() if re.search(reason, each)]
            )
            assert kept, name
            assert any(re.search(reason, each) for each in kept), (name, kept[:3])
    (conflicts,) = connection.execute("select count(*) from reading_conflict").fetchone()
    assert conflicts == VARIANTS - 1
    (gaps,) = connection.execute(
        "select count(*) from gateway_sequence_gap where generation = %s", [GENERATION]
    ).fetchone()
    assert gaps >= len(messages) // 2 - 1


def test_messages_of_ten_megabytes_take_no_more_than_fifty(database, connection):
    """A broker with our configuration passes nothing above 4 MiB on; this one does."""
    huge = [("congto/v1/g1/readings", b"[" + bytes([48 + n]) * TEN_MB) for n in range(4)]
    good = [("congto/v1/g1/readings", encode_batch("g1", GENERATION, n + 1, [neighbour(n)])) for n in range(4)]
    messages = [each for pair in zip(huge, good, strict=True) for each in pair]
    assert run(database, connection, messages, 4) < GROWTH_KIB_MAX
    sizes = connection.execute("select length(payload), reason from quarantine").fetchall()
    assert [size for size, _ in sizes] == [KEPT_OCTETS_MAX] * 4
    assert all(f"{TEN_MB + 1} octets, of which the first are kept" in reason for _, reason in sizes)
