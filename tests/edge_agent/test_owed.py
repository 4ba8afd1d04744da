"""What memory held while the disk was full: holes for the next life until it is sent, then counted in the file."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent import owed
from edge_agent.cycle import Cycle, Hole, SlotDone
from edge_agent.log import EventLog, Recurring
from edge_agent.rescue import open_spool
from edge_agent.spool_file import SUSPECT
from edge_agent.store import Store
from protocols.telemetry.reading import reading_digest
from protocols.telemetry.receipt import Receipt
from protocols.telemetry.resend import Resend
from protocols.telemetry.sequences import ranges
from tests.edge_agent.test_spool_damage import MEGABYTE, NOON, found_in, readings

METER = "M-0000"


def cycle(number: int) -> Cycle:
    return Cycle(readings(number), [SlotDone(METER, "billing", number), SlotDone("M-0001", "billing", number)])


async def commit(store: Store, *cycles: Cycle) -> None:
    for each in cycles:
        assert await store.commit(each, "bus-1", Recurring(EventLog()))


def run(tmp_path: Path, test: Callable[[Store], object]) -> None:
    """Begin with cycle 0 on the disk, 1 and 2 in memory for want of room, and room again."""

    async def outer() -> None:
        spool, _ = open_spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE)
        spool.heals = {METER: 1}
        store = Store(spool)
        await commit(store, cycle(0))
        spool._db.execute("pragma query_only = 1")
        hole = Cycle(holes=[Hole(METER, -5, -3)], filled=[Hole(METER, -9, -9)], readings=readings(2))
        await commit(store, cycle(1), hole)
        assert store.ring is not None
        spool._db.execute("pragma query_only = 0")
        await test(store)  # type: ignore[misc]

    asyncio.run(outer())


def receipt(store: Store, *sequences: int) -> Receipt:
    assert store.ring is not None
    return Receipt("gw-01", store.ring.generation, tuple((each, each) for each in sequences))


def reopened(tmp_path: Path) -> tuple[list[Hole], dict[int, tuple[int, int]]]:
    spool, _ = open_spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE)
    holes, days = spool.holes(), {each.day: (each.readings, each.digest) for each in spool.days(60)}
    spool.close()
    return holes, days


def test_slots_that_only_memory_holds_are_holes_after_a_restart_where_a_profile_fills_them(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        await commit(store, cycle(3))
        assert Hole(METER, 1, 1) not in store.holes()  # memory holds it still: nobody asks for it
        store.close()

    run(tmp_path, test)
    holes, days = reopened(tmp_path)
    assert holes == [Hole(METER, -5, -3), Hole(METER, 1, 1)]
    assert sum(count for count, _ in days.values()) == 24


@pytest.mark.parametrize("commits_again", [True, False])
def test_what_is_receipted_is_no_hole_and_is_counted_in_the_file_once(tmp_path: Path, *, commits_again: bool) -> None:
    async def test(store: Store) -> None:
        assert store.ring is not None
        sent = found_in(store.ring)
        before = await store.days(60)
        assert await store.settle(receipt(store, 1), NOON) == 1
        assert await store.settle(receipt(store, 2), NOON) == 1
        assert await store.settle(receipt(store, 1, 2), NOON) == 0  # a receipt may come twice
        if commits_again:
            await commit(store, Cycle(readings(0)[:0], logs=[], events=[], filled=[Hole("M-9", 0, 0)]))
        assert await store.days(60) == before
        assert sum(each.readings for each in before) == 12 + len(sent) == 36
        store.close()

    run(tmp_path, test)
    holes, days = reopened(tmp_path)
    assert holes == [Hole(METER, -5, -3)]
    assert sum(count for count, _ in days.values()) == 36
    marked = [each._replace(quality=8) for number in (1, 2) for each in readings(number)]
    digest = reading_digest([*readings(0), *marked])
    assert [found for _, found in days.values()] == [digest]


def test_what_is_asked_for_again_is_counted_once(tmp_path: Path) -> None:
    """A restored server asks for what it has receipted before; in the end it has it once."""

    async def test(store: Store) -> None:
        assert store.ring is not None
        await store.settle(receipt(store, 1, 2), NOON)
        for again in ((1, 2), (2,)):
            assert await store.wait_again(Resend("gw-01", store.ring.generation, ranges(set(again)))) == len(again)
            assert await store.settle(receipt(store, *again), NOON) == len(again)
        store.close()

    run(tmp_path, test)
    holes, days = reopened(tmp_path)
    assert holes == [Hole(METER, -5, -3)]
    assert sum(count for count, _ in days.values()) == 36


def test_what_memory_gave_up_stays_a_hole_also_when_the_server_knows_that_it_is_lost(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        assert store.ring is not None
        store.ring._db.execute("delete from batch where key & 1 = 1")
        assert await store.settle(receipt(store, 1, 2), NOON) == 1
        await commit(store, cycle(3))
        store.close()

    run(tmp_path, test)
    holes, days = reopened(tmp_path)
    assert holes == [Hole(METER, -5, -3), Hole(METER, 1, 1)]
    assert sum(count for count, _ in days.values()) == 24 + len(readings(2))


def test_slots_that_follow_each_other_are_one_hole_but_not_over_one_that_the_server_has(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        store.spool._db.execute("pragma query_only = 1")
        await commit(store, *(cycle(number) for number in range(2, 7)))
        store.spool._db.execute("pragma query_only = 0")
        assert await store.settle(receipt(store, 5), NOON) == 1  # slot 4: batches 1 and 2 are of slot 1 and of none
        store.close()

    run(tmp_path, test)
    assert reopened(tmp_path)[0] == [Hole(METER, -5, -3), Hole(METER, 1, 1), Hole(METER, 2, 3), Hole(METER, 5, 6)]


def test_of_a_disk_that_stays_full_no_more_is_noted_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owed, "OWED_MAX", 12)

    async def test(store: Store) -> None:
        store.spool._db.execute("pragma query_only = 1")
        await commit(store, *(cycle(number) for number in range(2, 100)))
        assert store._owed.size <= 12
        assert await store.settle(receipt(store, *range(1, 100)), NOON) == 99
        await commit(store, cycle(100))
        assert store._owed.size <= 12
        store.spool._db.execute("pragma query_only = 0")
        await commit(store, cycle(101))
        store.close()

    run(tmp_path, test)
    assert reopened(tmp_path)[0] == [Hole(METER, -5, -3), Hole(METER, 100, 100)]


def test_a_failed_disk_is_owed_nothing_however_long_memory_stands_in(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        store.disk_failed = True
        before = store._owed.size
        await commit(store, *(cycle(number) for number in range(3, 30)))
        assert store._owed.size == before
        store.close()

    run(tmp_path, test)


def test_a_file_that_is_found_damaged_at_the_end_does_not_hold_up_the_farewell(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        store.spool._db.execute("drop table hole")
        store.close()

    run(tmp_path, test)
    assert tmp_path.joinpath(f"spool.sqlite{SUSPECT}").exists()


def test_a_disk_that_stays_full_is_owed_until_it_takes_it(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        await store.settle(receipt(store, 1), NOON)
        store.spool._db.execute("pragma query_only = 1")
        await commit(store, cycle(4))
        store.spool._db.execute("pragma query_only = 0")
        await commit(store, cycle(5))
        store.close()

    run(tmp_path, test)
    holes, days = reopened(tmp_path)
    assert holes == [Hole(METER, -5, -3), Hole(METER, 4, 4)]
    assert sum(count for count, _ in days.values()) == 36


def test_a_damaged_file_is_owed_nothing(tmp_path: Path) -> None:
    async def test(store: Store) -> None:
        await store.settle(receipt(store, 1), NOON)
        store.disk_failed = True
        store.close()

    run(tmp_path, test)
    assert reopened(tmp_path)[0] == []
    with sqlite3.connect(tmp_path / "spool.sqlite") as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()
