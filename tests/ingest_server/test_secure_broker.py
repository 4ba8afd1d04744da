"""TLS 1.3 with certificates on both sides through a real Mosquitto; who somebody is, is what the certificate says."""

import ssl
import uuid

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest_server.database import connect, migrate
from ingest_server.registry import load_registry
from tests.ingest_server.processes import DEADLINE_S, READY, Gateway, Ingest
from tests.ingest_server.secure_broker import Authority, secure_broker
from tests.ingest_server.stored_directly import registry
from tests.ingest_server.test_ingest import half_hours, quarantined, stored

pytestmark = pytest.mark.integration

NOT_AUTHORIZED = 0x87  # MQTT 5, section 2.4


@pytest.fixture(scope="module")
def broker():
    with secure_broker() as broker:
        yield broker


@pytest.fixture
def connection(database):
    migrate(database)
    with connect(database) as connection:
        connection.autocommit = True
        yield connection


@pytest.fixture
def ingest(broker, database, connection):
    program = Ingest(database, broker.url)
    program.client_id = "congto-ingest"  # what the access list knows
    yield program
    program.kill()


@pytest.fixture
def certificates(broker):
    certificate, key = broker.authority.issue("congto-ingest")
    return ["--tls-ca", str(broker.authority.path), "--tls-certificate", str(certificate), "--tls-key", str(key)]


class Asker:
    """A client with a certificate, which notes what the broker answers."""

    def __init__(self, broker, name, context=None):
        self.client = client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
        client.tls_set_context(context or broker.authority.context(name))
        self.answers = []
        client.on_connect = lambda *_: self.answers.append("connected")
        client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.append(reasons[0].value)
        client.on_publish = lambda _c, _u, _m, reason, _p: self.answers.append(reason.value)
        client.connect(*broker.address)
        self.answer()

    def answer(self):
        while not self.answers:
            assert self.client.loop(DEADLINE_S) is mqtt.MQTT_ERR_SUCCESS
        return self.answers.pop()

    def subscribe(self, topic):
        self.client.subscribe(topic, 1)
        return self.answer()

    def publish(self, topic):
        self.client.publish(topic, b"x", 1)
        return self.answer()


def test_readings_come_through_tls_with_certificates_on_both_sides(broker, connection, ingest, certificates):
    name = f"gw-{uuid.uuid4().hex[:8]}"
    load_registry(connection, registry(name, 2), "test.toml")
    ingest.start(*certificates)
    ingest.wait_for(READY)
    gateway = Gateway(broker.url, name, broker.authority.context(name))
    try:
        for step in range(20):
            gateway.send(half_hours(name, step, 1))
        gateway.wait_for_receipts()
        assert stored(connection, gateway) == sorted(gateway.sent)
        assert quarantined(connection, gateway) == []
    finally:
        gateway.close()
    assert ingest.end()[0] == 0


def test_a_gateway_speaks_as_itself_alone(broker):
    assert Asker(broker, "gw-a").publish("congto/v1/gw-a/readings") in (0, 0x10)  # 0x10: nobody listens
    for topic in ("congto/v1/gw-b/readings", "congto/v1/gw-a/receipts", "congto/v1/gw-a/commands", "anything"):
        # Each in a connection of its own: after a refusal Mosquitto 2.0 ends one with "quota exceeded" by and by.
        assert Asker(broker, "gw-a").publish(topic) == NOT_AUTHORIZED, topic


def test_another_gateways_receipts_do_not_reach_one_who_asks_for_all(broker):
    listener, server = Asker(broker, "gw-c"), Asker(broker, "congto-ingest")
    heard = []
    listener.client.on_message = lambda _c, _u, message: heard.append(message.topic)
    assert listener.subscribe("congto/v1/+/receipts") == 1  # Mosquitto grants it and looks at each message instead
    listener.subscribe("congto/v1/gw-c/receipts")
    assert server.publish("congto/v1/gw-d/receipts") in (0, 0x10)
    assert server.publish("congto/v1/gw-c/receipts") == 0
    while not heard:
        assert listener.client.loop(DEADLINE_S) is mqtt.MQTT_ERR_SUCCESS
    assert set(heard) == {"congto/v1/gw-c/receipts"}


def test_nobody_comes_in_without_a_certificate_of_the_authority_or_with_an_older_tls(broker, tmp_path):
    nameless = ssl.create_default_context(cafile=broker.authority.path)
    forged = ssl.create_default_context(cafile=broker.authority.path)
    forged.load_cert_chain(*Authority(tmp_path).issue("congto-ingest"))
    for context in (nameless, forged):
        with pytest.raises((OSError, AssertionError)):
            Asker(broker, "congto-ingest", context)
    old = broker.authority.context("gw-old")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Asker(broker, "gw-old", old)


def test_ingest_trusts_no_broker_but_its_authoritys(connection, ingest, certificates, tmp_path):
    ingest.start("--tls-ca", str(Authority(tmp_path).path), *certificates[2:])
    assert "CERTIFICATE_VERIFY_FAILED" in ingest.wait_for(r"broker\.lost")


def test_a_key_that_others_can_read_is_refused(connection, ingest, certificates, broker):
    _, key = broker.authority.issue("congto-ingest")
    key.chmod(0o644)
    ingest.start(*certificates)
    status, said = ingest.wait()
    assert (status, "chmod 600" in said) == (2, True)
