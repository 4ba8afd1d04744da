"""The connection to a broker that does not behave as one."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.config import parse_config
from edge_agent.connection import BrokerLostError, Letter
from edge_agent.mqtt_connection import CALL_TIMEOUT_S, MqttConnector

CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:{port}"
[[bus]]
id = "bus-1"
port = "/dev/ttyUSB0"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
"""


def test_a_connection_that_ends_before_the_broker_answers_is_given_up_at_once(tmp_path: Path) -> None:
    """As one through a gate that takes it and finds nobody behind; the next attempt need not wait for a time-out."""

    async def go() -> float:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.transport.abort()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            config = parse_config(CONFIG.format(port=port), "agent.toml", tmp_path, {})
            begun_s = asyncio.get_running_loop().time()
            with pytest.raises(BrokerLostError):
                async with MqttConnector(config.gateway, config.broker)(Letter("congto/v1/gw-01/status", b"{}")):
                    pass
            return asyncio.get_running_loop().time() - begun_s

    assert asyncio.run(go()) < CALL_TIMEOUT_S / 2
