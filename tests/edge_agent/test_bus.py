"""A bus over simulated hours: slots, silent meters, holes, a full spool, a lost line."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.bus import Bus
from edge_agent.config import BusConfig, parse_config
from edge_agent.log import EventLog
from edge_agent.remote.running import intervals_healed
from edge_agent.spool import Spool
from edge_agent.spooling import FREE_OCTETS_WANTED
from edge_agent.store import Store
from protocols.telemetry.event import EventKind, MeterEvent, decode_events
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.readings import decode_readings
from tests.edge_agent.fakes import ClockOnly, CountingMeter, FakeLine, StoppingClock

MIDNIGHT = 1_767_225_600_000
HALF_HOUR = 1_800_000
HOUR = 2 * HALF_HOUR
DAY = 24 * HOUR
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
model = "dlms_residential"
address = 17
secret_env = "SECRET"
[[bus.meter]]
id = "M-0002"
model = "dlms_residential"
address = 18
secret_env = "SECRET"
"""


@dataclass
class Outcome:
    """What a run left behind."""

    readings: list[Reading]
    meters: list[CountingMeter]
    spool: Spool
    tended: ClockOnly
    events: list[MeterEvent]


def never(_at_ms: int) -> bool:
    return False


def run_bus(
    directory: Path,
    begin_ms: int,
    until_ms: int,
    failing: Callable[[int], bool] = never,
    *,
    slow_ms: int = 0,
    losses: int = 0,
    octets_max: int = 1 << 24,
) -> Outcome:
    """Run the bus from ``begin_ms`` to ``until_ms`` on the spool in ``directory``; ``failing`` is the first meter's."""
    config: BusConfig = parse_config(CONFIG, "agent.toml", directory, {"SECRET": "1"}).buses[0]

    async def go() -> Outcome:
        stop = asyncio.Event()
        clock = StoppingClock(begin_ms, until_ms, stop)
        spool = Spool(directory / "spool.sqlite", "gw-01", octets_max)
        spool.heals = intervals_healed([config])
        store = Store(spool)
        meters = [
            CountingMeter(meter.model, clock, condition, slow_ms)
            for meter, condition in zip(config.meters, (failing, never), strict=True)
        ]
        tended = ClockOnly(clock)
        line = FakeLine(dict(zip(("M-0001", "M-0002"), meters, strict=True)), losses, {"M-0001": tended})
        await Bus(config, clock, store, EventLog(), line.open).run(stop)
        batches = [decode_readings(payload) for _, payload in store.spool.waiting(0, store.spool.last_key(), 10_000)]
        events = [event for _, payload in store.spool.events(0, 1000) for event in decode_events(payload).events]
        store.close()
        readings = [each for batch in batches for each in batch.readings()]
        return Outcome(readings, meters, store.spool, tended, events)

    return asyncio.run(go())


def slots_of(outcome: Outcome, meter: str, quality: int = Quality.ACTUAL) -> list[int]:
    """Return the times of a meter's imported energy, as half hours since midnight."""
    return [
        (each.measured_at_ms - MIDNIGHT) // HALF_HOUR
        for each in outcome.readings
        if (each.meter, each.obis, each.quality) == (meter, "1.0.1.8.0", quality)
    ]


def test_every_slot_is_read_once_on_its_boundary(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, MIDNIGHT - 60_000, MIDNIGHT + DAY)
    assert slots_of(outcome, "M-0001") == list(range(49))
    assert all(each.measured_at_ms % HALF_HOUR == 0 for each in outcome.readings)
    assert outcome.spool.last_sequence == 49


def test_once_a_day_in_the_middle_of_a_slot_a_meter_is_tended(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, MIDNIGHT - 60_000, MIDNIGHT + 3 * DAY)
    assert outcome.tended.asked_ms == [MIDNIGHT + HALF_HOUR // 2 + day * DAY for day in range(3)]
    assert [(each.kind, each.meter, each.value) for each in outcome.events] == [(EventKind.CLOCK, "M-0001", 0)] * 3
    assert slots_of(outcome, "M-0001") == list(range(145))


def test_a_silent_meter_is_not_tended_before_it_answers(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + DAY, lambda at_ms: at_ms < MIDNIGHT + 6 * HOUR)
    (asked_ms,) = outcome.tended.asked_ms
    assert MIDNIGHT + 6 * HOUR <= asked_ms < MIDNIGHT + 7 * HOUR


def test_a_silent_meter_is_probed_and_the_other_loses_nothing(tmp_path: Path) -> None:
    def absent(at_ms: int) -> bool:
        return MIDNIGHT + HOUR <= at_ms < MIDNIGHT + 5 * HOUR

    outcome = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + 8 * HOUR, absent)
    assert slots_of(outcome, "M-0002") == list(range(17))
    assert slots_of(outcome, "M-0001") == [0, 1, *range(10, 17)]
    # Eight slots missed: the first in full, two in short and twice, five once; then the one that answers.
    assert outcome.meters[0].probes == 2 * 2 + 5 + 1


def test_what_was_missed_is_taken_from_the_load_profile_each_slot_once(tmp_path: Path) -> None:
    def absent(at_ms: int) -> bool:
        return MIDNIGHT + HOUR <= at_ms < MIDNIGHT + 30 * HOUR

    outcome = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + 32 * HOUR, absent)
    assert slots_of(outcome, "M-0001", Quality.PROFILE) == list(range(2, 60))
    assert sorted(slots_of(outcome, "M-0001") + slots_of(outcome, "M-0001", Quality.PROFILE)) == list(range(65))
    assert all(each.value == each.measured_at_ms // 1000 for each in outcome.readings)
    assert len({each[:3] for each in outcome.readings}) == len(outcome.readings)
    assert outcome.spool.taken == len(outcome.readings)


def test_a_hole_of_the_agents_own_making_is_filled_after_its_restart(tmp_path: Path) -> None:
    run_bus(tmp_path, MIDNIGHT, MIDNIGHT + HOUR)
    outcome = run_bus(tmp_path, MIDNIGHT + 10 * HOUR, MIDNIGHT + 12 * HOUR)
    assert slots_of(outcome, "M-0001", Quality.PROFILE) == list(range(3, 20))
    assert slots_of(outcome, "M-0001") == [0, 1, 2, *range(20, 25)]


def test_a_restart_within_a_slot_does_not_read_it_again(tmp_path: Path) -> None:
    run_bus(tmp_path, MIDNIGHT, MIDNIGHT + 1000)
    outcome = run_bus(tmp_path, MIDNIGHT + 20_000, MIDNIGHT + 25_000)
    assert slots_of(outcome, "M-0001") == [0]


def test_a_reading_that_comes_late_says_so_by_its_time(tmp_path: Path) -> None:
    """The first meter takes two minutes: the second is read after them, and its boundary comes from its profile."""
    outcome = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + HOUR, slow_ms=120_000)
    late = [each for each in outcome.readings if each.meter == "M-0002" and each.quality == Quality.ACTUAL]
    assert {each.measured_at_ms % HALF_HOUR for each in late} == {120_000}
    assert slots_of(outcome, "M-0002", Quality.PROFILE) == [0, 1, 2]


def test_a_full_spool_keeps_what_it_has_and_the_profile_brings_the_rest_later(tmp_path: Path) -> None:
    empty = Spool(tmp_path / "empty.sqlite", "gw-01", 1 << 20)
    octets_max = empty.octets + FREE_OCTETS_WANTED + 1000  # some cycles, up to the first new page
    empty.close()
    full = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + 20 * HOUR, octets_max=octets_max)
    kept = slots_of(full, "M-0001")
    assert 0 < len(kept) < 41
    assert kept == list(range(len(kept)))
    later = run_bus(tmp_path, MIDNIGHT + 21 * HOUR, MIDNIGHT + 22 * HOUR)
    assert sorted(slots_of(later, "M-0001") + slots_of(later, "M-0001", Quality.PROFILE)) == list(range(45))
    assert later.spool.last_sequence == full.spool.last_sequence + 3 + 2  # three cycles, a hole of each meter


def test_a_lost_line_is_opened_again_in_the_next_cycle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        outcome = run_bus(tmp_path, MIDNIGHT, MIDNIGHT + 2 * HOUR, losses=2)
    assert slots_of(outcome, "M-0001") == [2, 3, 4]
    told = [record.message.split(" ")[0] for record in caplog.records if record.message.startswith("bus.line")]
    assert told == ["bus.line_lost", "bus.line_opened"]


def test_an_unset_clock_takes_no_readings(tmp_path: Path) -> None:
    outcome = run_bus(tmp_path, 86_400_000, 90_000_000)
    assert outcome.readings == []
    assert outcome.meters[0].reads == 0
