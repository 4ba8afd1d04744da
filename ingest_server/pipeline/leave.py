"""Ending a session at the broker that no process will continue, with the messages that wait in it."""

import ssl

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from ingest_server.pipeline.settings import KEEPALIVE_S, BrokerAddress
from ingest_server.pipeline.tls import Credentials, tls_context
from protocols.errors import UnavailableError

ANSWER_S_MAX = 30.0


def leave(address: BrokerAddress, client_id: str, credentials: Credentials) -> None:
    """Begin a clean session under ``client_id`` and end it; raise :class:`UnavailableError` if that can't be done.

    What was not receipted the gateways send again, so nothing is lost.
    """
    answers: list[ReasonCode] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
    client.on_connect = lambda _client, _userdata, _flags, reason, _properties: answers.append(reason)
    client.username, client.password = address.username, address.password
    if address.tls:
        client.tls_set_context(tls_context(credentials))
    try:
        client.connect(address.host, address.port, KEEPALIVE_S, clean_start=True)
        while not answers:
            if client.loop(ANSWER_S_MAX) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
    except (OSError, ssl.SSLError) as error:
        raise UnavailableError(f"broker {address}: {error}; is it up, and may we connect?") from error
    if not answers or answers[0].is_failure:
        said = answers[0] if answers else "no answer"
        raise UnavailableError(f"broker {address}: {said}; may {client_id} connect?")
    client.disconnect()
