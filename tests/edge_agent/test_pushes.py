"""Pushes become events: between and during the questions on a line, and at ports that the configuration opens."""

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.runtime.lifecycle import Running
from edge_agent.config import AgentConfig, parse_config
from edge_agent.keys import KeyFile, Kind, parse_key_place
from edge_agent.lines import open_line
from edge_agent.log import EventLog
from edge_agent.push_ports import PushPorts
from edge_agent.pushes import PushDesk
from edge_agent.spool import Spool
from edge_agent.spool_seals import SEQUENCE_MASK
from edge_agent.store import Store
from protocols.dlms.acse import Context, Mechanism
from protocols.dlms.ciphering import Keys
from protocols.dlms.data import octets, structure, unsigned
from protocols.dlms.hdlc.secondary import HdlcServerParameters
from protocols.dlms.protection import Ciphering, Protection
from protocols.dlms.server import DlmsServer
from protocols.dlms.wrapper import Wrapped
from protocols.dlms.xdlms.notifications import DataNotification
from protocols.meters.model import Group
from protocols.strict_toml import parse_toml
from protocols.telemetry.event import EventKind, MeterEvent, decode_events
from tests.edge_agent.processes import DEADLINE_S, Program, Server
from tests.edge_agent.secure_meter import (
    AUTHENTICATION,
    ENCRYPTION,
    METER_TITLE,
    OUR_TITLE,
    SECRET,
    Meter,
    PtyMeter,
    hdlc_server,
    policy,
)

NOW_MS = 1_772_366_400_000
PUSH = DataNotification(0x0000_0001, None, structure(octets(bytes((1, 0, 1, 8, 0, 255))), unsigned(42)))
BODY = bytes.fromhex("02020906010001 0800ff 112a".replace(" ", ""))
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
system_title = "{title}"
[keys]
file = "keys.json"
kek_env = "KEK"
[broker]
url = "mqtt://127.0.0.1:1"
[push]
udp = "127.0.0.1:4059"
tcp = "127.0.0.1:4059"
[[bus]]
id = "serial"
port = "{port}"
paced = false
push = true
reply_timeout = "2s"
[[bus.meter]]
id = "M-0001"
model = "dlms_secured"
mechanism = "low"
security = "none"
secret_env = "SECRET"
address = 17
[[bus]]
id = "lan"
tcp = "127.0.0.1:4059"
[[bus.meter]]
id = "M-0002"
model = "dlms_secured"
mechanism = "low"
security = "none"
secret_env = "SECRET"
address = 2
[[bus.meter]]
id = "M-0003"
model = "dlms_secured"
address = 3
meter_title = "{meter}"
"""


class Desk:
    """A gateway's desk for pushes, with its spool."""

    def __init__(self, directory: Path, port: str = "absent") -> None:
        environment = {"SECRET": SECRET.decode(), "KEK": "00" * 32}
        place = 'file = "keys.json"\nkek_env = "KEK"'
        keys = KeyFile(parse_key_place(parse_toml(place, "test"), directory, environment))
        if not keys.kinds():
            keys.change("M-0003", Kind.ENCRYPTION, ENCRYPTION, replace=False)
            keys.change("M-0003", Kind.AUTHENTICATION, AUTHENTICATION, replace=False)
        text = CONFIG.format(port=port, title=OUR_TITLE.hex(), meter=METER_TITLE.hex()).replace(":4059", ":1")
        self.config: AgentConfig = parse_config(text, "agent.toml", directory, environment)
        self.spool = Spool(self.config.spool, "gw-01", 1 << 20)
        self.store = Store(self.spool)
        self.desk = PushDesk(self.config, self.store, EventLog(), lambda: NOW_MS)

    async def events(self, count: int, during: Callable[[], Awaitable[None]]) -> list[MeterEvent]:
        """Return the next ``count`` events that are spooled while ``during`` goes on."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.desk.run(stop))
        found: list[MeterEvent] = []
        async with asyncio.timeout(DEADLINE_S):
            await during()
            while len(found) < count:
                await self.store.events_grown.wait()
                self.store.events_grown.clear()
                for key, payload in self.spool.events(0, 100):
                    found += decode_events(payload).events
                    sequence = key & SEQUENCE_MASK
                    self.spool.settle(self.spool.generation, (), ((sequence, sequence),), 0)
        stop.set()
        await running
        self.store.close()
        return found


def sealed(counter: int) -> bytes:
    """Return the push as M-0003 ciphers it."""
    ciphering = Ciphering(
        Keys(ENCRYPTION, AUTHENTICATION), METER_TITLE, range(counter, 1 << 32), general=True, peer_title=OUR_TITLE
    )
    return Protection(ciphering).seal(PUSH.encode())


def test_a_push_on_a_line_is_taken_between_and_during_the_questions(tmp_path: Path) -> None:
    async def go() -> tuple[list[MeterEvent], object]:
        meter = Meter()
        server = hdlc_server(meter, policy(Mechanism.LOW, Context.LN))
        pty = PtyMeter(server, meter)
        pusher = DlmsServer(HdlcServerParameters(1, 17), {}, meter)
        desk = Desk(tmp_path, pty.port)
        bus = desk.config.buses[0]
        line = await open_line(bus, desk.config.counters, desk.desk.tap(bus))
        answers = []

        async def during() -> None:
            pty.write(pusher.push(1, PUSH))
            answers.append(await line.meters["M-0001"].read(frozenset({Group.BILLING}), probe=False))
            pty.write(pusher.push(1, PUSH))

        events = await desk.events(2, during)
        line.close()
        pty.close()
        return events, answers[0].failure

    events, failure = asyncio.run(go())
    assert failure is None
    assert [(each.kind, each.meter, each.at_ms, each.body) for each in events] == [
        (EventKind.PUSH, "M-0001", NOW_MS, BODY)
    ] * 2


def test_pushes_come_by_udp_and_tcp_and_are_known_by_place_or_title(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = Wrapped(2, 1, PUSH.encode()).encode()
    stranger = Wrapped(9, 1, PUSH.encode()).encode()
    spoofed = Wrapped(3, 1, PUSH.encode()).encode()

    async def go() -> list[MeterEvent]:
        desk = Desk(tmp_path)
        async with AsyncExitStack() as stack:
            anywhere = desk.config.push
            assert anywhere.udp is not None
            free = type(anywhere)(*(type(anywhere.udp)("127.0.0.1", 0),) * 2)
            udp, tcp = await PushPorts(desk.desk).open(free, stack)
            assert udp
            assert tcp

            async def during() -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", tcp)
                for octet in Wrapped(77, 1, sealed(5)).encode() + stranger + spoofed:
                    writer.write(bytes((octet,)))
                writer.write(Wrapped(77, 1, sealed(5)).encode() + b"\xff\xff\xff")
                assert await reader.read() == b""  # nothing is answered, and rubbish ends it
                writer.close()
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=("127.0.0.1", udp)
                )
                transport.sendto(plain[:-1])
                transport.sendto(plain)
                transport.close()

            return await desk.events(2, during)

    events = asyncio.run(go())
    assert [(each.meter, each.body) for each in events] == [("M-0003", BODY), ("M-0002", BODY)]
    assert "push.not_known place=127.0.0.1/9" in caplog.text
    assert "in the clear, from a meter whose associations are ciphered" in caplog.text
    assert "invocation counter 5 after 5: a repetition" in caplog.text
    assert "found wrapper version ffff" in caplog.text


def test_after_a_restart_no_push_is_taken_a_second_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def go(*counters: int) -> list[MeterEvent]:
        desk = Desk(tmp_path)

        async def during() -> None:
            for counter in counters:
                desk.desk.take_wrapped(Wrapped(77, 1, sealed(counter)), "127.0.0.1")

        return await desk.events(1, during)

    assert len(asyncio.run(go(5))) == 1
    assert len(asyncio.run(go(5, 4, 6))) == 1
    assert "a repetition" in caplog.text


@pytest.mark.integration
def test_a_push_reaches_the_server_as_an_event(tmp_path: Path, runtime: Running) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gateway = f"gw-{uuid.uuid4().hex[:8]}"
    config = tmp_path / "agent.toml"
    text = CONFIG.format(port="absent", title=OUR_TITLE.hex(), meter=METER_TITLE.hex())
    text = text.replace('udp = "127.0.0.1:4059"\ntcp = "127.0.0.1:4059"', f'udp = "127.0.0.1:{port}"')
    text = text.replace("gw-01", gateway).replace("mqtt://127.0.0.1:1", runtime.broker_url)
    text = text[: text.index('[[bus.meter]]\nid = "M-0003"')]
    config.write_text(text)
    agent = Program("agent", "run", "--config", str(config), environment={"SECRET": SECRET.decode(), "KEK": "00" * 32})
    agent.wait_for("push.listening")
    server = Server(runtime.broker_url, gateway)
    try:
        agent.wait_for("broker.connected")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(Wrapped(2, 1, PUSH.encode()).encode(), ("127.0.0.1", port))
        server.wait_until(lambda: bool(server.events))
    finally:
        server.close()
        status, said = agent.end()
    assert status == 0, said
    (event,) = server.events[1].events
    assert (event.kind, event.meter, event.body) == (EventKind.PUSH, "M-0002", BODY)
    assert SECRET.decode() not in said
