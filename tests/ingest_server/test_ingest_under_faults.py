"""Whatever is killed, and when: each reading that was spooled is stored once, as it was taken."""

import random
import threading
import uuid
from pathlib import Path

import pytest

from deploy.runtime import lifecycle
from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from protocols.telemetry.reading import Reading
from tests.ingest_server.processes import READY, Gateway, Ingest
from tests.ingest_server.test_ingest import conflicts, half_hours, quarantined, registry, stored

pytestmark = pytest.mark.integration

RSS_KIB_MAX = 300 * 1024
SEED = 20251001


@pytest.fixture(scope="module")
def place(runtime_directories):
    """Give servers of our own: they are killed."""
    directory = runtime_directories / f"ingest-{uuid.uuid4().hex[:8]}"
    lifecycle.up(directory)
    yield directory
    lifecycle.down(directory)


@pytest.fixture(scope="module")
def servers(place):
    running = lifecycle.up(place)
    migrate(running.dsn)
    return running


@pytest.fixture
def ingest(servers):
    program = Ingest(servers.dsn, servers.broker_url)
    program.start()
    program.wait_for(READY)
    yield program
    program.clear()


@pytest.fixture
def gateways(servers):
    names = [f"gw-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with connect(servers.dsn) as connection:
        for name in names:
            load_registry(connection, registry(name, 2), "test.toml")
    gateways = [Gateway(servers.broker_url, name) for name in names]
    yield gateways
    for gateway in gateways:
        gateway.close()


def check(servers, gateways):
    """Everything sent is stored once and unchanged, and nothing else is."""
    with connect(servers.dsn) as connection:
        for gateway in gateways:
            assert stored(connection, gateway) == sorted(gateway.sent)
            assert conflicts(connection, gateway) == quarantined(connection, gateway) == []
            select = "select received from gateway_sequence where gateway_id = %s"
            (received,) = connection.execute(select, [gateway.name]).fetchone()
            assert [(part.lower, part.upper) for part in received] == [(1, gateway.settled + 1)]


def send(gateways, first, count):
    for step in range(first, first + count):
        for gateway in gateways:
            gateway.send(half_hours(gateway.name, step, 1))


def test_ingest_killed_again_and_again_while_messages_flow(servers, gateways, ingest):
    """Between receiving, storing, committing, receipt and acknowledgement: wherever it is."""
    chance = random.Random(SEED)
    sent = 0
    for _ in range(6):
        send(gateways, sent, 60)
        sent += 60
        wanted = gateways[0].settled + chance.randint(1, 40)
        gateways[0].wait_until(lambda wanted=wanted: gateways[0].settled >= wanted)
        ingest.kill()
        send(gateways, sent, 5)
        sent += 5
        ingest.start()
    for gateway in gateways:
        gateway.wait_for_receipts()
    check(servers, gateways)


def test_the_database_killed_while_messages_flow(servers, gateways, ingest, place):
    for _ in range(2):
        sent = len(gateways[0].sent) // 2
        killed = threading.Thread(target=lifecycle.kill_database, args=(place,))
        killed.start()
        send(gateways, sent, 100)
        killed.join()
        ingest.wait_for(r"database\.lost")
        send(gateways, sent + 100, 100)
        lifecycle.start_database(place)
        ingest.wait_for(r"database\.back")
        for gateway in gateways:
            gateway.wait_for_receipts()
    check(servers, gateways)
    peak = next(line for line in Path(f"/proc/{ingest.pid}/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) < RSS_KIB_MAX


def test_the_broker_killed_while_messages_flow(servers, gateways, ingest, place):
    """It forgets what it acknowledged; the gateways send again what has no receipt."""
    for _ in range(2):
        sent = len(gateways[0].sent) // 2
        send(gateways, sent, 100)
        lifecycle.kill_broker(place)
        ingest.wait_for(r"broker\.lost")
        send(gateways, sent + 100, 20)
        lifecycle.start_broker(place)
        ingest.wait_for(READY)
        for gateway in gateways:
            gateway.wait_for_receipts()
    check(servers, gateways)


def test_two_ingests_on_the_same_messages_do_no_harm(servers, gateways, ingest):
    other = Ingest(servers.dsn, servers.broker_url)
    try:
        other.start()
        other.wait_for(READY)
        send(gateways, 0, 150)
        for gateway in gateways:
            gateway.wait_for_receipts()
        for program in (ingest, other):
            status, said = program.end()
            assert (status, "CRITICAL" in said) == (0, False)
        check(servers, gateways)
    finally:
        other.clear()


def test_the_check_sees_a_reading_lost_doubled_or_altered(servers, gateways, ingest):
    """The other tests would be worth nothing if it did not."""
    gateway = gateways[0]
    send(gateways, 0, 3)
    for each in gateways:
        each.wait_for_receipts()
    sent = list(gateway.sent)
    check(servers, gateways)
    lost = sent[1:]
    altered = [sent[0]._replace(value=sent[0].value + 1), *sent[1:]]
    added = [*sent, Reading(sent[0].meter, sent[0].obis, sent[0].measured_at_ms + 1, 0)]
    for wrong in (lost, altered, added):
        gateway.sent = wrong
        with pytest.raises(AssertionError):
            check(servers, gateways)
