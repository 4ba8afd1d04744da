"""What a full spool gives up and never sent is a hole that a load profile fills; what may have been sent is none."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from edge_agent.cycle import Cycle, Hole
from edge_agent.healing import Healer
from edge_agent.log import EventLog, Recurring
from edge_agent.meter import ProfileValue
from edge_agent.rescue import open_spool
from edge_agent.spool_file import SUSPECT
from edge_agent.spool_seals import SEQUENCE_MASK
from edge_agent.spooling import Spool
from edge_agent.store import Store
from protocols.telemetry.event import EventKind, MeterEvent
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.readings import decode_readings
from tests.edge_agent.test_spool_damage import NOON, readings
from tests.simulation.world import EVERY_MS, configuration

QUARTER = 900_000
METERS = ("M-0003", "M-0007")
OCTETS_MAX = 400_000
MANY = 1500


def slot(number: int) -> int:
    return NOON + number * QUARTER


def begin(path: Path) -> Spool:
    spool, _ = open_spool(path, "gw-01", OCTETS_MAX)
    spool.heals = dict.fromkeys(METERS, QUARTER)
    return spool


def fill_until_given_up(spool: Spool, batches: int) -> int:
    """Commit cycles of one batch until so many were given up; return how many were committed in all."""
    given = 0
    while given < batches:
        spool.commit(Cycle(readings(spool.last_sequence, MANY)))
        given += spool.given_up
    return spool.last_sequence


def slots_waiting(spool: Spool) -> set[int]:
    found = [decode_readings(payload) for _, payload in spool.waiting(0, spool.last_key(), 10_000)]
    return {at_ms for batch in found for at_ms in batch.at_ms}


def slots_of(holes: list[Hole], meter: str) -> set[int]:
    return {at for hole in holes if hole.meter == meter for at in range(hole.from_ms, hole.to_ms + 1, QUARTER)}


def test_what_was_never_sent_leaves_one_hole_of_its_slots_for_each_meter_with_a_profile(tmp_path: Path) -> None:
    spool = begin(tmp_path / "spool.sqlite")
    count = fill_until_given_up(spool, 5)
    given = {slot(number) for number in range(count)} - slots_waiting(spool)
    assert len(given) >= 5
    holes = spool.holes()
    assert {hole.meter for hole in holes} == set(METERS)
    assert len(holes) == 2  # they follow each other
    assert slots_of(holes, METERS[0]) == slots_of(holes, METERS[1]) == given
    assert spool.holes_noted > 0
    spool.close()


@pytest.mark.parametrize("restarts", [False, True])
def test_what_may_have_been_sent_is_no_hole_and_what_is_taken_without_a_connection_is(
    tmp_path: Path, *, restarts: bool
) -> None:
    path = tmp_path / "spool.sqlite"
    spool = begin(path)
    for number in range(3):
        spool.commit(Cycle(readings(number, MANY)))
    spool.note_sent()
    for number in range(3, 6):  # while it is connected
        spool.commit(Cycle(readings(number, MANY)))
    spool.sending = False
    if restarts:
        spool.close()
        spool = begin(path)
    count = fill_until_given_up(spool, 9)
    given = {slot(number) for number in range(count)} - slots_waiting(spool)
    assert {slot(number) for number in range(9)} <= given
    assert slots_of(spool.holes(), METERS[0]) == given - {slot(number) for number in range(6)}
    spool.close()


def test_after_a_damage_nobody_knows_what_was_sent_and_nothing_of_before_is_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = begin(path)
    for number in range(4):
        spool.commit(Cycle(readings(number, MANY)))
    spool.close()
    path.with_name(f"{path.name}{SUSPECT}").touch()
    spool = begin(path)
    while slot(3) in slots_waiting(spool):
        spool.commit(Cycle(readings(10 + spool.last_sequence, MANY)))
    assert slots_of(spool.holes(), METERS[0]).isdisjoint(slot(number) for number in range(4))
    spool.close()


def test_where_nobody_noted_what_was_sent_all_may_have_been(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = begin(path)
    spool.commit(Cycle(readings(1)))
    spool._db.execute("delete from meta where key = 'sent_up_to'")
    spool.close()
    spool = begin(path)
    assert spool.sent_up_to == spool.last_key()
    spool.close()


def test_that_something_is_sent_is_on_the_disk_before_it_is_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"

    async def run() -> None:
        store = Store(begin(path))
        recurring = Recurring(EventLog())
        await store.commit(Cycle(readings(1)), "bus-1", recurring)
        assert store.spool.sent_up_to < store.spool.last_key()
        (message,) = await store.messages(store.spool, 0, store.spool.last_key(), 1 << 20)
        other, _ = open_spool(path, "gw-01", OCTETS_MAX)
        assert other.sent_up_to == message.last_key
        other.close()
        await store.commit(Cycle(readings(2)), "bus-1", recurring)
        assert store.spool.sent_up_to == store.spool.last_key()  # by the cycle's own transaction
        await store.go_offline()
        await store.commit(Cycle(readings(3)), "bus-1", recurring)
        assert store.spool.sent_up_to == store.spool.last_key() - 1
        store.close()

    asyncio.run(run())


def test_what_a_lost_connection_had_asked_a_slow_disk_for_does_not_pass_for_sent_afterwards(tmp_path: Path) -> None:
    """It is given up while the disk is at it, and is done there all the same."""
    begun = Event()

    class Telling(ThreadPoolExecutor):
        def submit(self, work, /, *arguments, **named):  # type: ignore[no-untyped-def]  # as the class above has it
            def told():  # type: ignore[no-untyped-def]
                if work.__name__ == "_messages":
                    begun.set()
                return work(*arguments, **named)

            return super().submit(told)

    async def run() -> None:
        store = Store(begin(tmp_path / "spool.sqlite"), Telling(1))
        recurring = Recurring(EventLog())
        await store.commit(Cycle(readings(1)), "bus-1", recurring)
        with store.spool._lock:  # as long as the disk takes
            asking = asyncio.create_task(store.messages(store.spool, 0, store.spool.last_key(), 1 << 20))
            await asyncio.sleep(0)
            assert begun.wait(60)
            asking.cancel()
            going = asyncio.create_task(store.go_offline())
            await asyncio.sleep(0)
        await going
        await store.commit(Cycle(readings(2)), "bus-1", recurring)
        assert not store.spool.sending
        assert store.spool.sent_up_to == store.spool.last_key() - 1
        store.close()

    asyncio.run(run())


class Remembering:
    """A meter that has a value for each slot."""

    async def read_profile(self, from_ms: int, to_ms: int) -> tuple[ProfileValue, ...]:
        return tuple(
            ProfileValue("1.0.1.8.0", at_ms, at_ms // EVERY_MS)
            for at_ms in range(-(-from_ms // EVERY_MS) * EVERY_MS, to_ms + 1, EVERY_MS)
        )


def test_a_bus_that_runs_hears_of_them_and_fills_them_each_once(tmp_path: Path) -> None:
    bus = next(each for each in configuration().buses if each.id == "profiles")
    first, slots = NOON // EVERY_MS * EVERY_MS, 6

    def cycle(number: int) -> Cycle:
        others = [each._replace(measured_at_ms=first + number * EVERY_MS) for each in readings(number, MANY)]
        return Cycle([Reading("C", "1.0.1.8.0", first + number * EVERY_MS, 5), *others])

    async def run() -> None:
        spool, _ = open_spool(tmp_path / "spool.sqlite", "gw-01", OCTETS_MAX)
        spool.heals = {"C": EVERY_MS}
        store, log = Store(spool), EventLog()
        recurring = Recurring(log)
        healer = Healer(bus, store, recurring, log, asyncio.get_running_loop().time)
        given = number = 0
        while given < slots:
            await store.commit(cycle(number), "bus-1", recurring)
            given, number = given + spool.given_up, number + 1
        spool.settle(spool.generation, ((1, spool.last_sequence),), (), NOON)  # the server is back
        healer.may_ask(["C"])
        while await healer.fill_piece({"C": Remembering()}, 600_000):  # type: ignore[dict-item]
            healer.may_ask(["C"])
        found = [
            each
            for _, payload in spool.waiting(0, spool.last_key(), 1000)
            for each in decode_readings(payload).readings()
            if each.meter == "C"
        ]
        assert all(each.quality == Quality.PROFILE and each.value == each.measured_at_ms // EVERY_MS for each in found)
        assert [each.measured_at_ms for each in sorted(found)] == [first + at * EVERY_MS for at in range(given)]
        assert spool.holes() == []
        store.close()

    asyncio.run(run())


def test_events_that_were_receipted_go_before_a_reading_that_waits_and_never_fill_the_spool(tmp_path: Path) -> None:
    """Ten thousand messages are kept for a server that is restored: more than a small spool has room for."""
    spool = begin(tmp_path / "spool.sqlite")
    while spool.octets < OCTETS_MAX:
        # Each value another one, or a hundred of them are packed into a few octets.
        seen = [
            MeterEvent(EventKind.CLOCK, f"M-{key:04}", NOON, value=7919 * spool.octets % (key + 89))
            for key in range(800)
        ]
        spool.commit(Cycle(events=seen))
    before = len(spool.events(0, 10_000))
    spool.settle(spool.generation, (), ((1, before - 1),), NOON)
    taken = spool.commit(Cycle(readings(0, MANY)))
    assert (taken, spool.batches, spool.given_up) == (1, 1, 0)
    assert spool.octets < OCTETS_MAX
    assert [key & SEQUENCE_MASK for key, _ in spool.events(0, 10_000)] == [before]  # one that waits is kept
    spool.close()
