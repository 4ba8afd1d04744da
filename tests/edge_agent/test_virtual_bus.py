"""A bus over virtual hours and days, with the real link on simulated wires: order, dead meters, drift, clocks."""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.bus import Bus
from edge_agent.clock import SystemClock
from edge_agent.config import BusConfig, parse_config
from edge_agent.log import EventLog
from edge_agent.meter import Meter
from edge_agent.modbus_meter import ModbusMeter
from edge_agent.modbus_rtu import RtuLink
from edge_agent.serial_line import LineSettings
from edge_agent.statistics import BusStatistics
from protocols.obis import Obis
from protocols.telemetry.reading import Reading
from tests.edge_agent.keeping_store import KeepingStore
from tests.simulation.line import SimulatedLine, Wires
from tests.simulation.loop import VirtualLoop
from tests.simulation.meters import TrueMeter

MIDNIGHT = 1_767_225_600_000
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
HEAD = """
[gateway]
id = "gw-01"
spool = "spool.sqlite"
[broker]
url = "mqtt://127.0.0.1:1883"
[[bus]]
id = "bus-1"
port = "/dev/ttyUSB0"
baud = 9600
parity = "E"
"""


class VirtualLine:
    """An open line on the wires, as :mod:`edge_agent.lines` makes it."""

    def __init__(self, wires: Wires, bus: BusConfig) -> None:
        link = RtuLink(SimulatedLine(wires), bus.reply_timeout_s)
        self.meters: dict[str, Meter] = {each.id: ModbusMeter(link, each.address, each.model) for each in bus.meters}
        self.duties: dict[str, object] = {}
        self.close = link.close


@dataclass
class Outcome:
    """What a run left behind; questions are when they began, by meter."""

    readings: list[Reading]
    meters: dict[str, TrueMeter]
    statistics: BusStatistics
    wires: Wires

    def slots(self, meter: str, every_ms: int, obis: str = "1.0.32.7.0") -> list[int]:
        """Return the slots of a meter in which a channel was read, from 0."""
        found = [
            each
            for each in self.readings
            if (each.meter, each.obis) == (meter, obis) and each.measured_at_ms >= MIDNIGHT
        ]
        return sorted((each.measured_at_ms - MIDNIGHT) // every_ms for each in found)


class House(TrueMeter):
    """Takes 3.6 kW: what the model says that its meter can measure."""

    def truth(self, obis: Obis, at_s: float) -> int:
        return super().truth(obis, at_s / 10)


def run_bus(
    directory: Path,
    meters: str,
    duration_s: float,
    *,
    before: Callable[[dict[str, TrueMeter], Wires], None] = lambda _meters, _wires: None,
    events: Callable[[float], float] = lambda _at_s: 0.0,
    begin_s: float = -5.0,
) -> Outcome:
    """Run a bus in virtual time; ``events`` is by how much the gateway's clock is wrong at a time [s]."""
    (bus,) = parse_config(HEAD + meters, "agent.toml", directory, {}).buses
    loop = VirtualLoop()

    def gateway_ns() -> int:
        at_s = loop.time()
        return MIDNIGHT * 1_000_000 + round((begin_s + at_s + events(at_s)) * 1e9)

    async def go() -> Outcome:
        assert isinstance(bus.place, LineSettings)
        trues = {
            each.id: House(
                each,
                number,
                now_s=loop.time,
                epoch_ms=MIDNIGHT + round(begin_s * 1000),
                gateway_ms=lambda: gateway_ns() // 1_000_000,
            )
            for number, each in enumerate(bus.meters)
        }
        wires = Wires(loop, contextvars.copy_context(), bus.place, list(trues.values()))
        before(trues, wires)
        store, stop = KeepingStore(), asyncio.Event()

        async def open_line(_bus: BusConfig) -> VirtualLine:
            return VirtualLine(wires, bus)

        running = Bus(bus, SystemClock(gateway_ns), store, EventLog(), open_line)
        loop.call_at(duration_s, stop.set)
        await running.run(stop)
        return Outcome(store.readings, trues, running.statistics(), wires)

    try:
        return loop.run_until_complete(go())
    finally:
        loop.close()


def meter(number: int, more: str) -> str:
    return f'[[bus.meter]]\nid = "M-{number:02}"\nmodel = "eastron_sdm120"\naddress = {number}\n{more}\n'


def keys_are_unique(readings: list[Reading]) -> bool:
    counts = Counter((each.meter, each.obis, each.measured_at_ms) for each in readings)
    return max(counts.values()) == 1


def test_with_eight_of_thirty_two_meters_dead_the_others_keep_their_schedule(tmp_path: Path) -> None:
    """Read each ten seconds; the eight die after five minutes, all at once.

    Half of the meters refuse holes; in the first minute, which is not counted, that is learned of each.
    """
    meters = "".join(meter(number, 'instantaneous_every = "10s"') for number in range(1, 33))
    dead = {f"M-{number:02}" for number in range(4, 33, 4)}
    die_s, end_s = 5 * MINUTE_S, 30 * MINUTE_S + 5

    def before(trues: dict[str, TrueMeter], wires: Wires) -> None:
        del wires

        def die() -> None:
            for name in dead:
                trues[name].silent = True

        asyncio.get_running_loop().call_at(die_s, die)

    outcome = run_bus(tmp_path, meters, end_s, before=before)
    assert keys_are_unique(outcome.readings)
    for name in set(outcome.meters) - dead:
        kept = len([each for each in outcome.slots(name, 10_000) if each >= 6])
        assert kept >= 0.99 * 174, (name, kept)
    statistics = outcome.statistics
    assert statistics.silent == len(dead)
    assert outcome.wires.silence_violations == 0
    silent_ms = (end_s - die_s) * 1000
    assert statistics.probe_ms <= 0.01 * silent_ms + 60_000  # what it took to find out that they are silent


def test_a_meter_that_fails_for_longer_than_its_slots_last_is_found_to_be_silent(tmp_path: Path) -> None:
    def before(trues: dict[str, TrueMeter], wires: Wires) -> None:
        del wires
        trues["M-02"].silent = True

    meters = "".join(meter(number, 'every = "1s"') for number in (1, 2))
    outcome = run_bus(tmp_path, meters, 10 * MINUTE_S, before=before)
    dead = next(each for each in outcome.statistics.meters if each.meter == "M-02")
    assert dead.silent
    assert dead.timeouts <= 30  # a handful until that was known, then probes
    assert len(outcome.slots("M-01", 1000, "1.0.1.8.0")) >= 0.95 * 595


def test_boundary_samples_of_thirty_two_meters_begin_on_the_boundary_and_follow_one_another(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, "".join(meter(number, 'every = "1m"') for number in range(1, 33)), 10 * MINUTE_S)
    started = sorted(saying.gateway_ms for true in outcome.meters.values() for saying in true.sayings["1.0.1.8.0"])
    assert {each.quality for each in outcome.readings} == {0}
    by_minute = [[at for at in started if (at - MIDNIGHT) // 60_000 == minute] for minute in range(10)]
    assert all(len(each) == 32 for each in by_minute)
    for minute, each in enumerate(by_minute):
        first_ms = each[0] - MIDNIGHT - 60_000 * minute
        assert first_ms <= 50 + 60  # the first answer: the question's octets and the meter's turnaround are in it
        assert each[-1] - each[0] < 32 * 100  # no pause but for the line itself
    assert {each.measured_at_ms % 60_000 for each in outcome.readings} == {0}


def test_an_adapter_that_echoes_costs_no_reading(tmp_path: Path) -> None:
    """Nothing is configured: the master hears its own question and knows it."""

    def before(_meters: dict[str, TrueMeter], wires: Wires) -> None:
        wires.echo = True

    outcome = run_bus(tmp_path, meter(1, 'every = "1m"') + meter(2, 'every = "1m"'), HOUR_S, before=before)
    for name in ("M-01", "M-02"):
        assert outcome.slots(name, 60_000, "1.0.1.8.0") == list(range(60))
    assert outcome.statistics.timeouts == outcome.statistics.garbled == outcome.statistics.checksum_errors == 0


def test_over_thirty_days_nothing_drifts(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, meter(1, 'every = "15m"'), 30 * DAY_S)
    assert outcome.slots("M-01", 900_000, "1.0.1.8.0") == list(range(30 * 96))
    late_ms = [(each.gateway_ms - MIDNIGHT) % 900_000 for each in outcome.meters["M-01"].sayings["1.0.1.8.0"]]
    assert max(late_ms) < 110


@pytest.mark.parametrize("jump_s", [-7200.0, -61.0, -1.5, 1.5, 45.0, 600.0, 7200.0])
def test_a_clock_that_is_set_gives_no_second_key_for_one_sample(tmp_path: Path, jump_s: float) -> None:
    """The gateway's clock is set after an hour, as by NTP or by hand, forth or back, and back again an hour later."""

    def wrong_by(at_s: float) -> float:
        return jump_s if HOUR_S <= at_s < 2 * HOUR_S else 0.0

    outcome = run_bus(tmp_path, meter(1, 'every = "1m"'), 6 * HOUR_S, events=wrong_by)
    assert keys_are_unique(outcome.readings)
    sampled = [saying.at_s for saying in outcome.meters["M-01"].sayings["1.0.1.8.0"]]
    taken = [each for each in outcome.readings if each.obis == "1.0.1.8.0"]
    assert len(taken) == len(sampled) - 1  # one key for each time that the meter was asked; at first it is asked twice
    assert len(taken) >= 6 * 60 - abs(jump_s) / 30 - 5


def test_an_unset_clock_takes_nothing_and_the_first_sane_second_begins(tmp_path: Path) -> None:
    outcome = run_bus(
        tmp_path, meter(1, 'every = "1m"'), HOUR_S, events=lambda at_s: -MIDNIGHT / 1000 if at_s < 1000 else 0.0
    )
    assert min(each.measured_at_ms for each in outcome.readings) > MIDNIGHT + 900_000
    assert keys_are_unique(outcome.readings)


def test_meters_of_seconds_and_of_half_hours_both_keep_their_slots(tmp_path: Path) -> None:
    """A slow question of many registers never makes a quick series miss a slot, once the meters' holes are learned."""
    meters = meter(1, 'every = "30m"\nintervals = { voltage_l1 = "1s" }')
    meters += "".join(meter(number, 'every = "1m"\ninstantaneous_every = "5s"') for number in range(2, 12))
    outcome = run_bus(tmp_path, meters, 10 * MINUTE_S)
    assert [each for each in outcome.slots("M-01", 1000) if each >= 60] == list(range(60, 595))
    for number in range(2, 12):
        slots = [each for each in outcome.slots(f"M-{number:02}", 5000) if each >= 12]
        assert slots == list(range(12, 119)), number


def test_a_clock_that_falls_back_to_1970_stamps_nothing_until_it_is_set(tmp_path: Path) -> None:
    """A reading of 1970 would break the contract; the batch in which it lay could never be taken."""
    outcome = run_bus(
        tmp_path,
        meter(1, 'every = "1m"\ninstantaneous_every = "10s"'),
        300,
        events=lambda at_s: -1.7e9 if 100 < at_s < 200 else 0.0,
    )
    assert min(each.measured_at_ms for each in outcome.readings) >= MIDNIGHT - 60_000
    slots = outcome.slots("M-01", 10_000)
    assert set(range(10)) <= set(slots)
    assert set(range(21, 29)) <= set(slots)
    assert keys_are_unique(outcome.readings)
