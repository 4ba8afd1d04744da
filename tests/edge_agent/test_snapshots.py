"""A meter that repeats a snapshot is found out, by its own clock or by what its power says of its energy."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bus import Bus
from edge_agent.config import parse_config
from edge_agent.dlms_meter import METER_CLOCK
from edge_agent.lines import OpenLine
from edge_agent.log import EventLog
from edge_agent.meter import Answer
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.suspicion import Watch
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.xdlms.references import Attribute
from protocols.meters.catalogue import load_model
from protocols.meters.glitch import Verdict
from protocols.modbus.messages import ReadRegisters, RegistersReply, Reply, Request
from protocols.modbus.plan import LineCost, serial_cost
from protocols.telemetry.event import EventKind
from protocols.telemetry.reading import Quality
from simulators.chance import key_of
from simulators.dlms.objects import CosemObjects
from simulators.loads import Consumer, Kind
from simulators.meter import SimulatedMeter
from simulators.modbus.slave import ModbusSlave
from tests.edge_agent.fakes import FakeLine, StoppingClock
from tests.edge_agent.keeping_store import KeepingStore
from tests.edge_agent.test_dlms_short_names import BILLING, device_of, with_agent
from tests.edge_agent.test_dlms_short_names import MODEL as DLMS_MODEL
from tests.simulators.meters import INSTALLED, NOW, days

MODEL = load_model("eastron_sdm120")
REFUSED = DataAccessResult.OBJECT_UNAVAILABLE
MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = INSTALLED + days(30) + 12 * HOUR
CONFIG = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "bus-1"
port = "/dev/ttyUSB0"
[[bus.meter]]
id = "M-0001"
model = "eastron_sdm120"
address = 1
every = "30m"
instantaneous_every = "1m"
"""


@dataclass
class SlaveLink:
    """A Modbus line without a wire: the simulated meter answers at once."""

    slave: ModbusSlave
    clock: StoppingClock
    cost: LineCost = field(default_factory=lambda: serial_cost(9600, 10, 0))
    turnaround_us: float | None = None
    quarantine_s: float = 0.0

    async def exchange(self, request: Request, *, probe: bool = False, patience_s: float | None = None) -> Reply:
        del probe, patience_s
        assert isinstance(request, ReadRegisters)
        pdu = bytes((request.function,)) + request.address.to_bytes(2, "big") + request.count.to_bytes(2, "big")
        reply = self.slave.answer(pdu, self.clock.now_ms())
        assert reply[0] == request.function
        return RegistersReply(request, reply[2:])

    def free_at(self, request: Request) -> float:
        del request
        return 0.0

    def close(self) -> None:
        return None


def run(directory: Path, repeats: tuple[tuple[int, int], ...], hours: int, kind: Kind = Kind.HOUSEHOLD) -> KeepingStore:
    config = parse_config(CONFIG, "agent.toml", directory, {}).buses[0]
    consumer = Consumer(kind, 250, "hanoi", key_of(1, "M-0001"), key_of(1), 0)
    device = SimulatedMeter("M-0001", MODEL, 1, consumer, installed_at_ms=INSTALLED, repeats=repeats)

    async def go() -> KeepingStore:
        stop = asyncio.Event()
        clock, store = StoppingClock(NOON, NOON + hours * HOUR, stop), KeepingStore()
        meter = ModbusMeter(SlaveLink(ModbusSlave(device), clock), 1, MODEL)
        await Bus(config, clock, store, EventLog(), FakeLine({"M-0001": meter}).open).run(stop)
        return store

    return asyncio.run(go())


def test_a_modbus_meter_that_repeats_a_snapshot_is_marked_told_once_with_its_octets_and_believed_again(
    tmp_path: Path,
) -> None:
    begin, end = NOON + HOUR + MINUTE, NOON + 4 * HOUR + MINUTE
    store = run(tmp_path, ((begin, end),), 6)
    suspect = {(each.obis, each.measured_at_ms) for each in store.readings if each.quality & Quality.SUSPECT}
    assert {obis for obis, _ in suspect} == {str(each.obis) for each in MODEL.measurements}
    times = [at_ms for _, at_ms in suspect]
    assert begin < min(times) <= begin + 2 * HOUR
    assert max(times) < end
    clear = {each.measured_at_ms for each in store.readings if not each.quality & Quality.SUSPECT}
    assert not {at_ms for at_ms in clear if min(times) < at_ms < end}
    told = [each for each in store.events if each.kind is EventKind.GLITCH]
    assert sorted(str(each.object) for each in told) == sorted(str(each.obis) for each in MODEL.measurements)
    assert all("repeated snapshot" in str(each.text) and each.body for each in told)
    assert not [each for each in store.events if each.kind is EventKind.COUNTER]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_meter_that_measures_is_never_called_one_that_repeats(tmp_path: Path, kind: Kind) -> None:
    store = run(tmp_path, (), 24, kind)
    assert store.readings
    assert not [each for each in store.readings if each.quality & Quality.SUSPECT]


def answer(values: dict[str, int], meter_at_ms: int | None = None) -> Answer:
    found = tuple((each, values[str(each.obis)]) for each in MODEL.measurements if str(each.obis) in values)
    return Answer(found, meter_at_ms=meter_at_ms)


def verdicts(watch: Watch, said: Answer, at_ms: int) -> set[Verdict]:
    doubts = watch.doubts(said, at_ms)
    watch.take(said, at_ms, doubts)
    return {each.verdict for each in doubts.values()}


@given(st.integers(-5000, 0), st.integers(2, 50))
def test_equal_registers_prove_nothing_where_no_power_is_drawn(power: int, polls: int) -> None:
    watch = Watch(MODEL)
    said = answer({"1.0.1.8.0": 5_000_000, "1.0.16.7.0": power, "1.0.32.7.0": 230_000})
    assert all(not verdicts(watch, said, poll * HOUR) for poll in range(polls))


def test_a_voltage_that_flickers_shows_that_the_meter_measures() -> None:
    watch = Watch(MODEL)
    for poll in range(20):
        said = answer({"1.0.1.8.0": 5_000_000, "1.0.16.7.0": 1000, "1.0.32.7.0": 230_000 + poll % 2})
        assert not verdicts(watch, said, poll * HOUR)


def test_a_meters_clock_that_stands_still_with_its_registers_tells_at_the_second_poll() -> None:
    watch = Watch(MODEL)
    said = {"1.0.1.8.0": 5_000_000, "1.0.32.7.0": 230_000}
    assert not verdicts(watch, answer(said, 1_000), 0)
    assert not verdicts(watch, answer(said, 1_000 + HOUR), HOUR)
    assert verdicts(watch, answer(said, 1_000 + HOUR), 2 * HOUR) == {Verdict.REPEATED_SNAPSHOT}
    assert not verdicts(watch, answer(said, 1_000 + 3 * HOUR), 3 * HOUR)


@pytest.mark.parametrize("naming", ["short_names = false", "short_names = true"])
def test_a_dlms_meter_tells_its_clock_with_its_registers_and_is_found_out_when_both_stand_still(
    tmp_path: Path, naming: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "by_short_names.toml").write_text(DLMS_MODEL.replace("short_names = true", naming))
    device = device_of(tmp_path)

    async def twice(line: OpenLine, _objects: CosemObjects) -> list[Answer]:
        return [await line.meters["M-0001"].read(BILLING, probe=False) for _ in range(2)]

    first, second = with_agent(tmp_path, device, twice)  # the simulated meter's time stands
    assert first.meter_at_ms == second.meter_at_ms == NOW // 1000 * 1000
    assert (first.failure, first.refusals, len(first.values)) == (None, (), 3)
    watch = Watch(device.model)
    assert not verdicts(watch, first, 0)
    assert verdicts(watch, second, HOUR) == {Verdict.REPEATED_SNAPSHOT}


def test_a_dlms_meter_that_refuses_its_clock_is_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "by_short_names.toml").write_text(DLMS_MODEL.replace("short_names = true", ""))
    asked: list[Attribute] = []

    async def twice(line: OpenLine, objects: CosemObjects) -> list[Answer]:
        get = objects.get

        def without_clock(client_sap, attribute, selection):  # type: ignore[no-untyped-def]
            asked.append(attribute)
            return REFUSED if attribute == METER_CLOCK else get(client_sap, attribute, selection)

        objects.get = without_clock  # type: ignore[method-assign]
        return [await line.meters["M-0001"].read(BILLING, probe=False) for _ in range(3)]

    for each in with_agent(tmp_path, device_of(tmp_path), twice):
        assert (each.failure, each.refusals, each.meter_at_ms, len(each.values)) == (None, (), None, 3)
    assert asked.count(METER_CLOCK) == 1
