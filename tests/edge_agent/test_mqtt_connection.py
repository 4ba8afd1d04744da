"""The connection to a real broker, as far as the publisher's stub can't stand for it."""

import asyncio
import uuid
from pathlib import Path

import pytest

from deploy.runtime.lifecycle import Running
from edge_agent.config import BrokerConfig, parse_config
from edge_agent.connection import BrokerLostError, Letter
from edge_agent.mqtt_connection import MqttConnector
from protocols.telemetry.topics import Kind, Topic

pytestmark = pytest.mark.integration

DEADLINE_S = 60.0
CONFIG = """
[gateway]
id = "{gateway}"
spool = "spool.sqlite"
[broker]
url = "{url}"
[[bus]]
id = "rs485-1"
port = "line"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
"""


def broker(url: str, gateway: str, directory: Path) -> BrokerConfig:
    return parse_config(CONFIG.format(gateway=gateway, url=url), "agent.toml", directory, {}).broker


def test_who_is_taken_over_by_a_second_gateway_of_the_same_name_is_told_so(runtime: Running, tmp_path: Path) -> None:
    gateway = f"gw-{uuid.uuid4().hex[:8]}"
    connector = MqttConnector(gateway, broker(runtime.broker_url, gateway, tmp_path))
    will = Letter(str(Topic(gateway, Kind.STATUS)), b"{}")

    async def listen() -> None:
        async with connector(will) as first:
            await first.subscribe(str(Topic(gateway, Kind.RECEIPTS)))
            listening.set()
            async for _ in first.messages():
                pass

    listening = asyncio.Event()

    async def run() -> BrokerLostError:
        first = asyncio.create_task(listen())
        async with asyncio.timeout(DEADLINE_S):
            await listening.wait()
            async with connector(will) as second:
                with pytest.raises(BrokerLostError) as caught:
                    await first
                await second.publish(str(Topic(gateway, Kind.REPLIES)), b"still here")
        return caught.value

    assert asyncio.run(run()).taken_over


def test_a_broker_that_is_not_there_is_told_and_nobody_has_taken_over(tmp_path: Path) -> None:
    connector = MqttConnector("gw-01", broker("mqtt://127.0.0.1:1", "gw-01", tmp_path))

    async def run() -> None:
        async with connector(Letter("congto/v1/gw-01/status", b"{}")):
            raise AssertionError("connected to nobody")

    with pytest.raises(BrokerLostError) as caught:
        asyncio.run(run())
    assert not caught.value.taken_over
