"""Between two questions: urgent work, doubtful answers, and what a bus tells of itself."""

import asyncio
from pathlib import Path

import pytest

from edge_agent.bus import Bus, OpenMeter
from edge_agent.config import BusConfig, parse_config
from edge_agent.log import EventLog
from edge_agent.meter import Answer, Question
from edge_agent.statistics import BusStatistics
from protocols.errors import UnavailableError, UsageError
from protocols.meters.model import Group
from protocols.telemetry.event import EventKind
from protocols.telemetry.reading import Quality
from tests.edge_agent.fakes import CountingMeter, FakeLine, StoppingClock
from tests.edge_agent.keeping_store import KeepingStore
from tests.edge_agent.test_bus import CONFIG, DAY, HALF_HOUR, HOUR, MIDNIGHT, never


def bus_config(directory: Path) -> BusConfig:
    return parse_config(CONFIG, "agent.toml", directory, {"SECRET": "1"}).buses[0]


def run_with_glitches(directory: Path, glitches: dict[int, int]) -> tuple[KeepingStore, BusStatistics]:
    """Run two hours; ``glitches`` are added to what the first meter says, by the number of the question."""
    config = bus_config(directory)

    async def go() -> tuple[KeepingStore, BusStatistics]:
        stop = asyncio.Event()
        clock, store = StoppingClock(MIDNIGHT, MIDNIGHT + 2 * HOUR, stop), KeepingStore()
        first, second = (CountingMeter(each.model, clock, never) for each in config.meters)
        first.glitches = glitches
        bus = Bus(config, clock, store, EventLog(), FakeLine({"M-0001": first, "M-0002": second}).open)
        await bus.run(stop)
        return store, bus.statistics()

    return asyncio.run(go())


def slots_of(store: KeepingStore, quality: int) -> list[int]:
    """Return the half hours of the first meter's imported energy."""
    wanted = ("M-0001", "1.0.1.8.0", quality)
    found = [each for each in store.readings if (each.meter, each.obis, each.quality) == wanted]
    return [(each.measured_at_ms - MIDNIGHT) // HALF_HOUR for each in found]


def test_a_glitch_is_told_with_its_value_and_read_again_at_once(tmp_path: Path) -> None:
    store, statistics = run_with_glitches(tmp_path, {3: -1_000_000})
    assert slots_of(store, Quality.ACTUAL) == [0, 1, 2, 3, 4]
    told = [each for each in store.events if each.kind is EventKind.GLITCH and each.object == "1.0.1.8.0"]
    assert [each.value for each in told] == [(MIDNIGHT + 2 * HALF_HOUR) // 1000 - 1_000_000]
    assert all(each.value == each.measured_at_ms // 1000 for each in store.readings)
    assert statistics.meters[0].transactions == 6
    assert statistics.meters[0].glitches == 2  # both energy registers went back


def test_a_glitch_that_stays_is_sent_as_it_is_and_marked(tmp_path: Path) -> None:
    store, _ = run_with_glitches(tmp_path, {3: -1_000_000, 4: -1_000_000})
    assert slots_of(store, Quality.ACTUAL) == [0, 1, 3, 4]
    assert slots_of(store, Quality.SUSPECT) == [2]
    (marked,) = [each for each in store.readings if each.quality == Quality.SUSPECT and each.obis == "1.0.1.8.0"]
    assert marked.value == marked.measured_at_ms // 1000 - 1_000_000


def test_an_urgent_question_is_asked_between_two_others_and_its_failure_is_the_callers(tmp_path: Path) -> None:
    config = bus_config(tmp_path)

    async def on_demand(each: OpenMeter) -> Answer:
        return await each.meter.read(frozenset({Group.BILLING}), probe=False)

    async def fail(_each: OpenMeter) -> Answer:
        raise UsageError("the command has expired")

    async def go() -> None:
        stop = asyncio.Event()
        clock = StoppingClock(MIDNIGHT, MIDNIGHT + DAY, stop)
        order: list[str] = []
        calls: list[asyncio.Task[Answer]] = []

        class Calling(CountingMeter):
            """Lets two urgent questions arrive while the first meter is asked."""

            async def ask(self, question: Question, *, probe: bool) -> Answer:
                order.append("first")
                if self.reads == 1:
                    calls.append(asyncio.create_task(bus.urgent("M-0002", on_demand)))
                    calls.append(asyncio.create_task(bus.urgent("M-0001", fail)))
                    await asyncio.sleep(0)
                return await super().ask(question, probe=probe)

        class Second(CountingMeter):
            """Notes when it was asked."""

            async def ask(self, question: Question, *, probe: bool) -> Answer:
                order.append("second")
                return await super().ask(question, probe=probe)

        first, second = Calling(config.meters[0].model, clock, never), Second(config.meters[1].model, clock, never)
        bus = Bus(config, clock, KeepingStore(), EventLog(), FakeLine({"M-0001": first, "M-0002": second}).open)
        await bus.run(stop)
        assert (await calls[0]).failure is None
        with pytest.raises(UsageError, match="expired"):
            await calls[1]
        # The second slot: the first meter, the urgent question to the second, then its own turn.
        assert order[2:5] == ["first", "second", "second"]
        statistics = bus.statistics()
        assert (statistics.urgent, statistics.transactions) == (2, 2 * 49)
        with pytest.raises(UnavailableError, match="is not running"):
            await bus.urgent("M-0001", on_demand)

    asyncio.run(go())


def test_an_urgent_question_is_answered_while_the_bus_waits_for_its_next_slot(tmp_path: Path) -> None:
    config = bus_config(tmp_path)

    class PatientClock(StoppingClock):
        """Waits until it is told to go on."""

        def __init__(self, stop: asyncio.Event) -> None:
            super().__init__(MIDNIGHT + 120_000, MIDNIGHT + HOUR, stop)
            self.waits = asyncio.Event()

        async def wait_until(self, at_ms: int) -> None:
            self.waits.set()
            await asyncio.Event().wait()

    async def go() -> Answer:
        stop = asyncio.Event()
        clock = PatientClock(stop)
        meters = {each.id: CountingMeter(each.model, clock, never) for each in config.meters}
        bus = Bus(config, clock, KeepingStore(), EventLog(), FakeLine(dict(meters)).open)
        running = asyncio.create_task(bus.run(stop))
        await clock.waits.wait()
        answer = await bus.urgent("M-0002", lambda each: each.meter.read(frozenset({Group.BILLING}), probe=False))
        stop.set()
        await running
        return answer

    assert asyncio.run(go()).failure is None
