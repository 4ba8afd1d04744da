"""The agent and a meter on a pseudo-terminal that is referred to by short names, as its model says."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from edge_agent.config import parse_config
from edge_agent.dlms_access import Access
from edge_agent.dlms_entry import Entry
from edge_agent.dlms_session import FAILURES, DlmsSession
from edge_agent.lines import OpenLine, open_line
from edge_agent.secret import Secret
from edge_agent.serial_line import LineSettings as AgentSettings
from edge_agent.serial_line import SerialLine as AgentLine
from protocols.dlms.data import Data, integer, items_of
from protocols.dlms.hdlc.primary import HdlcParameters
from protocols.dlms.quirks import STRICT
from protocols.dlms.services import Act, Get, GetResult
from protocols.dlms.short_names import ASSOCIATION, ASSOCIATION_BASE, OBJECT_LIST
from protocols.dlms.xdlms.references import Attribute
from protocols.meters.catalogue import load_model
from protocols.meters.model import Group
from protocols.obis import Obis
from simulators.chance import key_of
from simulators.dlms.hdlc_line import DlmsMeter, HdlcMeters
from simulators.dlms.objects import CosemObjects
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.serial_line import LineSettings, SerialLine
from tests.simulators.meters import INSTALLED, NOW

T = TypeVar("T")
MODEL = """
name = "A meter read by short names"
version = 1
protocol = "dlms"
source = "made for a test"
certainty = "constructed"
[serial]
baud = 9600
parity = "N"
stop_bits = 1
[dlms]
client_sap = 1
server_logical = 1
mechanism = "low"
with_list = true
short_names = true
relay = "0.0.96.3.10"
[profile]
obis = "1.0.99.1.0"
interval = "30m"
[measurements.import_active]
obis = "1.0.1.8.0"
class = 3
attribute = 2
unit = "Wh"
[measurements.reactive]
obis = "1.0.3.8.0"
class = 3
attribute = 2
unit = "varh"
[measurements.export_active]
obis = "1.0.2.8.0"
class = 3
attribute = 2
unit = "Wh"
[[frames]]
request = "c0 01 c1 00 03 01 00 01 08 00 ff 02 00"
reply = "c4 01 c1 00 06 00 bc 61 4e"
origin = "constructed"
values = { import_active = 12_345_678 }
"""
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1"
[models]
directory = "models"
[[bus]]
id = "bus-1"
port = "{port}"
paced = false
reply_timeout = "2s"
[[bus.meter]]
id = "M-0001"
model = "by_short_names"
address = 17
every = "1s"
secret_env = "SECRET"
"""
SECRET = "12345678"
BILLING = frozenset({Group.BILLING})


def device_of(directory: Path, *missing: str, relay: str = "0.0.96.3.10") -> SimulatedMeter:
    """Return the meter of the model, without some of its registers, and its relay where it is."""
    model = load_model("by_short_names", directory / "models")
    assert model.dlms is not None
    kept = tuple(each for each in model.measurements if each.key not in missing)
    consumer = Consumer(Kind.HOUSEHOLD, 250, "hanoi", key_of(1, "sn"), key_of(1), 0)
    own = replace(model, measurements=kept, dlms=replace(model.dlms, relay=Obis.parse(relay)))
    return SimulatedMeter("sn", own, 17, consumer, installed_at_ms=INSTALLED)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "by_short_names.toml").write_text(MODEL)
    return tmp_path


def with_agent(directory: Path, device: SimulatedMeter, work: Callable[[OpenLine, CosemObjects], Awaitable[T]]) -> T:
    """Do ``work`` with the agent's line to the meter."""

    async def go() -> T:
        line = SerialLine(directory / "line", LineSettings(9600, paced=False))
        dlms_meter = DlmsMeter(device, SECRET.encode())
        HdlcMeters(line, [dlms_meter], lambda: NOW)
        config = parse_config(
            CONFIG.format(port=directory / "line"), "agent.toml", directory, {**os.environ, "SECRET": SECRET}
        )
        opened = await open_line(config.buses[0], config.counters)
        try:
            return await work(opened, dlms_meter.objects)
        finally:
            opened.close()
            line.close()

    return asyncio.run(go())


def test_a_meter_is_read_by_short_names(directory: Path) -> None:
    device = device_of(directory)

    async def work(line: OpenLine, _objects: CosemObjects) -> None:
        answer = await line.meters["M-0001"].read(BILLING, probe=False)
        assert (answer.failure, answer.refusals) == (None, ())
        assert {str(each.obis): value for each, value in answer.values} == {
            code: device.true_wh(code, NOW) for code in ("1.0.1.8.0", "1.0.2.8.0")
        } | {"1.0.3.8.0": device.value(Obis.parse("1.0.3.8.0"), NOW)}
        rows = await line.meters["M-0001"].read_profile(NOW - 7_200_000, NOW)
        assert not isinstance(rows, str)
        assert {each.obis for each in rows} >= {"1.0.1.8.0"}

    with_agent(directory, device, work)


@pytest.mark.parametrize("missing", [("reactive",), ("import_active",), ("import_active", "reactive")])
def test_a_register_that_is_not_listed_costs_no_other(missing: tuple[str, ...], directory: Path) -> None:
    async def work(line: OpenLine, _objects: CosemObjects) -> None:
        for _ in range(3):  # the first session is released, later ones are kept
            answer = await line.meters["M-0001"].read(BILLING, probe=False)
            assert answer.failure is None
            assert {each.key for each, _ in answer.values} == {"import_active", "reactive", "export_active"} - {
                *missing
            }
            for key in missing:
                assert f"{key}: object-undefined" in answer.refusals

    with_agent(directory, device_of(directory, *missing), work)


def test_the_clock_is_shifted_by_short_names(directory: Path) -> None:
    async def work(line: OpenLine, _objects: CosemObjects) -> None:
        duties = line.duties["M-0001"]
        before = await duties.read_clock()
        assert isinstance(before, int)
        assert await duties.shift_clock(120) is True
        assert await duties.read_clock() == before + 120_000

    with_agent(directory, device_of(directory), work)


def test_a_relay_that_is_not_listed_is_told_as_such(directory: Path) -> None:
    async def work(line: OpenLine, _objects: CosemObjects) -> None:
        assert await line.duties["M-0001"].switch(connect=False) == "switching the relay: object-undefined"
        answer = await line.meters["M-0001"].read(BILLING, probe=False)
        assert (len(answer.values), answer.failure) == (3, None)

    with_agent(directory, device_of(directory, relay="0.0.96.3.11"), work)


def test_a_method_whose_place_is_not_known_here_is_a_failure_and_closes_the_session(directory: Path) -> None:
    device = device_of(directory)
    assert device.model.dlms is not None
    entry = Entry(
        Access(device.model.dlms, STRICT, Secret(SECRET.encode())), lambda sap, _retries: HdlcParameters(sap, 1, 17, 2)
    )

    async def work(line: OpenLine, _objects: CosemObjects) -> None:
        line.close()
        own = AgentLine(AgentSettings(str(directory / "line"), 9600, "N", 1, paced=False))
        session = DlmsSession(own, entry, reply_timeout_s=2.0)
        await session.open(retries=2)
        with pytest.raises(FAILURES, match=r"^method not known here: class 40, method 1 of"):
            await session.ask(Act(Attribute(40, Obis(0, 0, 25, 9, 0), 1), integer(0)))
        assert not session.is_open
        await session.open(retries=2)
        assert isinstance(await session.ask(Get(OBJECT_LIST)), GetResult)
        own.close()

    with_agent(directory, device, work)


def test_the_object_list_names_the_association_at_its_reserved_place_and_tells_rights(directory: Path) -> None:
    objects = CosemObjects(device_of(directory))
    assert objects.short_names[ASSOCIATION] == ASSOCIATION_BASE
    listed = objects.get(1, OBJECT_LIST, None)
    assert isinstance(listed, Data)
    entries = {
        (class_id.content, name.content): base.content for base, class_id, _, name in map(items_of, items_of(listed))
    }
    assert entries[12, b"\0\0\x28\0\0\xff"] == ASSOCIATION_BASE - 0x1_0000
    assert 15 not in {class_id for class_id, _ in entries}
    rights = objects.get(1, replace(OBJECT_LIST, index=3), None)
    assert isinstance(rights, Data)
    told = {base.content: (attributes, methods) for base, attributes, methods in map(items_of, items_of(rights))}
    assert told.keys() == set(entries.values())
    clock = told[entries[8, b"\0\0\1\0\0\xff"]]
    attributes = {index.content: mode.content for index, mode, _ in map(items_of, items_of(clock[0]))}
    assert (attributes[1], attributes[2]) == (1, 3)  # the name is read, the time is set too
    assert [items_of(each)[0].content for each in items_of(clock[1])] == [6]
