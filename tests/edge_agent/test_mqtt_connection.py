"""The connection to a broker that does not behave as one."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt
import pytest

from edge_agent.config import parse_config
from edge_agent.connection import BrokerLostError, Letter
from edge_agent.mqtt_connection import CALL_TIMEOUT_S, MqttConnector, PromptClient

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


CONNACK = bytes((0x20, 3, 0, 0, 0))  # MQTT 5, 3.2: no session, success, no properties
WILL = Letter("congto/v1/gw-01/status", b"{}")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang_up_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hang_up_when_greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.transport.abort()


async def hang_up_when_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(CONNACK)
    await writer.drain()
    writer.transport.abort()


async def subscribe(connect: MqttConnector) -> None:
    async with connect(WILL) as connection:
        await connection.subscribe("congto/v1/gw-01/receipts")


@pytest.mark.parametrize("answer", [hang_up_at_once, hang_up_when_greeted, hang_up_when_connected])
def test_a_broker_that_hangs_up_early_is_one_error_and_nothing_else_is_logged(tmp_path: Path, answer: Answer) -> None:
    """What asyncio would log by itself is a traceback."""
    told: list[str] = []

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            config = parse_config(CONFIG.format(port=port), "agent.toml", tmp_path, {})
            for _ in range(20):
                with pytest.raises(BrokerLostError):
                    await subscribe(MqttConnector(config.gateway, config.broker))
        gc.collect()

    asyncio.run(go())
    assert told == []


def test_a_socket_that_is_closed_before_the_loop_gets_it_is_told_to_whoever_connects() -> None:
    told: list[str] = []

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        client, gone = PromptClient("127.0.0.1"), socket.socket()
        gone.close()
        client._on_socket_register_write(client._client, None, gone)
        client._on_socket_open(client._client, None, gone)
        with pytest.raises(aiomqtt.MqttError, match="ended early"):
            await asyncio.wait_for(client._connected, CALL_TIMEOUT_S)
        assert client._misc_task is not None
        client._misc_task.cancel()
        client.forget_ends()

    asyncio.run(go())
    assert told == []


def test_a_message_does_not_wait_for_the_acknowledgement_of_the_one_before(tmp_path: Path) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        await reader.read()
        writer.close()

    async def go() -> int:
        server = await asyncio.start_server(take, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            config = parse_config(CONFIG.format(port=port), "agent.toml", tmp_path, {})
            async with MqttConnector(config.gateway, config.broker)(WILL) as connection:
                ours = connection._client._client.socket()
                assert isinstance(ours, socket.socket)
                return ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert asyncio.run(go())


ROUNDS_MAX = 12  # of the loop, from the acknowledgement's coming to the publisher's going on


def test_who_is_cancelled_just_when_the_acknowledgement_comes_ends(tmp_path: Path) -> None:
    """Until Python 3.12 ``asyncio.wait_for`` forgets that it was cancelled then, and a tidy stop waits for ever."""
    acknowledged = asyncio.Event()

    async def acknowledge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(CONNACK)
        while message := await reader.read(1000):  # one at a time: the next is sent when this one is answered
            if message[0] >> 4 == 3:
                writer.write(bytes((0x40, 2)) + message[5:7])  # PUBACK with the number behind a topic of one letter
                acknowledged.set()
        writer.close()

    async def go() -> list[bool]:
        server = await asyncio.start_server(acknowledge, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = parse_config(CONFIG.format(port=port), "agent.toml", tmp_path, {})
        ended: list[bool] = []
        async with server, MqttConnector(config.gateway, config.broker)(WILL) as connection:
            for rounds in [*range(ROUNDS_MAX)] * 10:
                acknowledged.clear()
                publishing = asyncio.create_task(connection.publish("t", b""))
                await acknowledged.wait()
                for _ in range(rounds):
                    await asyncio.sleep(0)
                if publishing.cancel():
                    await asyncio.wait([publishing])
                    ended.append(publishing.cancelled())
        return ended

    ended = asyncio.run(go())
    assert len(ended) > ROUNDS_MAX
    assert all(ended)
