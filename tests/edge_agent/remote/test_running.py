"""What runs follows the configuration, and so does what is told of it to the spool."""

import asyncio
from pathlib import Path
from random import Random

from edge_agent.bus import Bus, Line
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import AgentConfig, BusConfig, parse_config
from edge_agent.connection import Connect
from edge_agent.log import EventLog
from edge_agent.mqtt_connection import MqttConnector
from edge_agent.publisher import Publisher
from edge_agent.pushes import PushDesk
from edge_agent.remote.fleet import Fleet
from edge_agent.remote.running import GatewayRunning
from edge_agent.spool import open_spool
from edge_agent.store import Store

CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "rs485-1"
port = "line"
baud = 9600
parity = "N"
"""
METER = """
[[bus.meter]]
id = "{name}"
model = "dlms_residential"
address = {address}
secret_env = "SECRET"
heal = {heal}
"""


def test_the_spool_learns_from_a_new_configuration_whose_slots_can_be_read_later(tmp_path: Path) -> None:
    def config(*heals: str) -> AgentConfig:
        meters = "".join(METER.format(name=f"D-{at}", address=at, heal=heal) for at, heal in enumerate(heals, 1))
        return parse_config(CONFIG + meters, "agent.toml", tmp_path, {"SECRET": "00000000"})

    async def until(_name: str, _run: object, stop: asyncio.Event) -> None:
        await stop.wait()

    async def open_clock(_bus: object) -> SystemClock:
        return SystemClock()

    async def run() -> list[frozenset[str]]:
        found = []
        first = config("true", "false")
        spool, _ = open_spool(first.spool, first.gateway, first.spool_octets_max)
        store, log = Store(spool), EventLog()
        connect: Connect = MqttConnector(first.gateway, first.broker)

        def make_bus(bus: BusConfig, clock: Clock) -> Bus:
            async def open_one(_wanted: BusConfig) -> Line:
                raise AssertionError("no line is opened here")

            return Bus(bus, clock, store, log, open_one)

        def make_publisher(wanted: AgentConfig) -> Publisher:
            return Publisher(wanted, store, log, connect=connect, now_ms=lambda: 0, version="0", chance=Random(1))

        async with asyncio.TaskGroup() as tasks:
            fleet = Fleet(tasks, make_bus, open_clock, until)
            running = GatewayRunning(
                tasks,
                fleet,
                PushDesk(first, store, log, fleet.now_ms),
                store,
                make_publisher=make_publisher,
                supervise=until,
                connected=lambda: False,
            )
            for each in (first, config("false", "true", "true"), first):
                await running.follow(each)
                found.append(set(spool.heals))
            await running.close()
        store.close()
        return found

    assert asyncio.run(run()) == [{"D-1"}, {"D-2", "D-3"}, {"D-1"}]
