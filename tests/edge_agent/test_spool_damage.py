"""A spool on a disk that lies, fills or fails: what is left goes on, what is not is said, and nothing is made up."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cycle import Cycle, SlotDone
from edge_agent.failures import DiskFailedError
from edge_agent.log import EventLog, Recurring
from edge_agent.rescue import open_spool
from edge_agent.spool_file import SUSPECT, connect_file
from edge_agent.spool_swap import ASIDE_MAX
from edge_agent.spooling import Spool
from edge_agent.store import RING_OCTETS_MAX, Store
from protocols.errors import UnavailableError
from protocols.telemetry.event import EventKind, MeterEvent, decode_events
from protocols.telemetry.reading import Quality, Reading
from protocols.telemetry.readings import decode_readings

NOON = 1_767_268_800_000
MEGABYTE = 1 << 20
BATCHES = 40
LARGE = {7, 23}  # cycles whose batch goes on over pages of its own
DEADLINE_S = 60.0


def readings(number: int, count: int = 12) -> list[Reading]:
    chance = Random(number)
    at_ms = NOON + number * 900_000
    return [Reading(f"M-{meter:04}", "1.0.1.8.0", at_ms, chance.randrange(1 << 40)) for meter in range(count)]


def event(number: int) -> MeterEvent:
    return MeterEvent(EventKind.CLOCK, "M-0001", NOON + number, value=number)


def fill(path: Path) -> dict[tuple[str, str, int], Reading]:
    """Write a spool with settled batches, waiting ones, large ones and events; return all readings by key."""
    spool = Spool(path, "gw-01", MEGABYTE)
    taken = {}
    for number in range(BATCHES):
        cycle = Cycle(readings(number, 2000 if number in LARGE else 12), [SlotDone("M-0000", "billing", number)])
        cycle.events = [event(number)]
        spool.commit(cycle)
        taken |= {reading[:3]: reading for reading in cycle.readings}
    spool.settle(spool.generation, ((1, 10),), ((1, 10),), NOON)
    spool.close()
    return taken


class Whole:
    """A spool that is not damaged, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.taken = fill(path)
        self.octets = path.read_bytes()
        with sqlite3.connect(path) as db:
            (self.generation,) = db.execute("select generation from life").fetchone()
        db.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole") / "spool.sqlite")


def found_in(spool: Spool) -> list[Reading]:
    rows = spool.waiting(0, spool.last_key(), 10_000)
    return [reading for _, payload in rows for reading in decode_readings(payload).readings()]


def check_sound(spool: Spool, whole: Whole) -> int:
    """Nothing is made up, and each number of the old generation is a batch or declared; return how many are lost."""
    taken, generation = whole.taken, whole.generation
    rows = spool.waiting(0, spool.last_key(), 10_000)
    sent = [decode_readings(payload) for _, payload in rows]
    for batch in sent:
        assert all(taken[reading[:3]] == reading for reading in batch.readings())
    for _, payload in spool.events(0, 1000):
        assert all(each == event(each.value or 0) for each in decode_events(payload).events)
    here = {batch.sequence for batch in sent if batch.generation == generation}
    lost = {
        sequence
        for loss in spool.losses()
        if loss.generation == generation
        for first, last in loss.sequences
        for sequence in range(first, last + 1)
    }
    if spool.generation == generation or here:
        assert here | lost >= set(range(11, BATCHES + 1))
    return len(lost)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=12))
def test_flipped_bits_anywhere_cost_what_they_hit_and_nothing_else(
    whole: Whole,
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[float, int]],
) -> None:
    path = tmp_path_factory.mktemp("flips") / "spool.sqlite"
    octets = bytearray(whole.octets)
    for place, mask in flips:
        octets[int(place * len(octets))] ^= mask
    path.write_bytes(octets)
    spool, _ = open_spool(path, "gw-01", MEGABYTE)
    check_sound(spool, whole)
    last = spool.last_sequence
    assert spool.commit(Cycle(readings(1000))) == last + 1  # and it goes on
    spool.close()
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("head", [b"", b"SQLite format 3\x00", b"\xff" * 4096])
def test_a_spool_without_its_first_page_is_rescued_from_the_others(whole: Whole, tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "spool.sqlite"
    octets = bytearray(whole.octets)
    octets[: len(head) or 4096] = head or bytes(4096)
    octets[24:100] = b"\xa5" * 76
    path.write_bytes(octets)
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is not None
    assert spool.damaged == 1
    assert spool.generation != whole.generation
    assert check_sound(spool, whole) == 0
    waiting = {key: reading for key, reading in whole.taken.items() if key[2] >= NOON + 10 * 900_000}
    assert {reading[:3] for reading in found_in(spool)} == waiting.keys()
    assert len(spool.events(0, 1000)) == BATCHES - 10
    assert spool.days(62) == []  # what of these days was taken is not known any more
    spool.close()


def test_the_log_is_rescued_too(tmp_path: Path) -> None:
    """The last cycles before a crash are in the log only."""
    path = tmp_path / "spool.sqlite"
    spool = Spool(path, "gw-01", MEGABYTE)
    for number in range(5):
        spool.commit(Cycle(readings(number, 1000)))
    copy = tmp_path / "crashed.sqlite"
    shutil.copy(path, copy)
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    spool.close()
    copy.write_bytes(b"\xff" * copy.stat().st_size)
    log = copy.with_name(f"{copy.name}-wal")
    log.write_bytes(b"\xff" * 32 + log.read_bytes()[32:])  # or else SQLite finds all pages there and is content
    rescued, aside = open_spool(copy, "gw-01", MEGABYTE)
    assert aside is not None
    assert sorted(found_in(rescued)) == sorted(reading for number in range(5) for reading in readings(number, 1000))
    rescued.close()


def test_only_the_latest_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    for _ in range(ASIDE_MAX + 2):
        path.write_bytes(b"rubbish" * 2000)
        open_spool(path, "gw-01", MEGABYTE)[0].close()
    assert len(list(tmp_path.glob("*.damaged-????????"))) == ASIDE_MAX


def test_a_file_that_was_found_damaged_while_running_is_not_trusted_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    fill(path)
    path.with_name(f"{path.name}{SUSPECT}").touch()
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is not None
    assert spool.batches == BATCHES - 10
    assert spool.slots() == {("M-0000", "billing"): BATCHES - 1}
    assert sum(day.readings for day in spool.days(62)) == (BATCHES - 2) * 12 + 2 * 2000
    spool.close()
    again, none = open_spool(path, "gw-01", MEGABYTE)
    assert none is None
    again.close()


def full_after(pages: int):  # type: ignore[no-untyped-def]  # a factory of connections
    """Return a way to connect to a disk that has room for so many pages."""

    def connect(path: Path | None) -> sqlite3.Connection:
        db = connect_file(path)
        db.execute(f"pragma max_page_count = {pages}")
        return db

    return connect


def test_a_full_disk_costs_nothing_that_was_taken_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE, connect=full_after(60))
        store, recurring = Store(spool), Recurring(EventLog())
        taken = 0
        while store.ring is None:
            taken += 1
            assert await store.commit(Cycle(readings(taken, 500)), "bus-1", recurring)
        assert 1 < taken < 200
        kept = found_in(spool)
        assert len(kept) == (taken - 1) * 500
        assert all(reading.quality == Quality.NOT_DURABLE for reading in found_in(store.ring))
        assert store.not_durable == 500
        assert not store.disk_failed
        spool._db.execute("pragma max_page_count = 1000")  # somebody has made room
        assert await store.commit(Cycle(readings(taken + 1, 500)), "bus-1", recurring)
        assert len(found_in(spool)) == taken * 500
        assert store.not_durable == 500
        store.close()

    asyncio.run(run())


FILL = """
import resource, sys
from pathlib import Path
from edge_agent.cycle import Cycle
from edge_agent.spooling import Spool
from protocols.errors import UnavailableError
from tests.edge_agent.test_spool_damage import readings
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path(sys.argv[1]), "gw-01", 1 << 20)
number = 0
while True:
    try:
        spool.commit(Cycle(readings(number, 300)))
    except UnavailableError as error:
        print(number, type(error).__name__, flush=True)
        break
    number += 1
"""


def test_a_write_that_the_system_refuses_is_told_and_what_was_claimed_is_there(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True)
    count, refused = done.stdout.split()
    assert refused in {"UnavailableError", "DiskFailedError"}
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert (aside is None) is (refused == "UnavailableError")  # after an error of the disk the file is not trusted
    assert int(count) > 3
    assert sorted(found_in(spool)) == sorted(each for number in range(int(count)) for each in readings(number, 300))
    spool.close()


class FailingSpool(Spool):
    """A spool whose disk reports an error at the next commit; counts how often it was asked."""

    asked = 0

    def commit(self, cycle: Cycle) -> int:
        self.asked += 1
        raise DiskFailedError("disk I/O error")


def test_after_an_error_of_the_disk_it_is_not_asked_again_and_readings_go_on_from_memory(tmp_path: Path) -> None:
    async def run() -> None:
        spool = FailingSpool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE)
        store, recurring = Store(spool), Recurring(EventLog())
        for number in range(3):
            assert await store.commit(Cycle(readings(number)), "bus-1", recurring)
        assert spool.asked == 1
        assert store.disk_failed
        assert store.ring is not None
        assert store.spools == [store.ring]
        assert len(found_in(store.ring)) == 36
        assert store.ring.octets_max == RING_OCTETS_MAX
        assert sum(day.readings for day in await store.days(62)) == 36
        store.close()

    asyncio.run(run())


class IoErrorDatabase(sqlite3.Connection):
    """Reports an error of the disk at each commit once ``broken``."""

    broken = False

    def execute(self, sql, *arguments):  # type: ignore[no-untyped-def]
        if self.broken and sql == "commit":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, *arguments)


def test_an_error_of_the_disk_is_told_from_a_full_one(tmp_path: Path) -> None:
    def connect(path: Path | None) -> sqlite3.Connection:
        assert path is not None
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=IoErrorDatabase)

    spool = Spool(tmp_path / "spool.sqlite", "gw-01", MEGABYTE, connect=connect)
    spool.commit(Cycle(readings(1)))
    spool._db.broken = True  # type: ignore[attr-defined]
    with pytest.raises(DiskFailedError, match="replace the disk"):
        spool.commit(Cycle(readings(2)))
    assert spool.last_sequence == 1
    spool._db.broken = False  # type: ignore[attr-defined]
    spool._db.execute("pragma query_only = 1")
    with pytest.raises(UnavailableError, match="see to the disk"):
        spool.commit(Cycle(readings(2)))
    spool.close()


COMMIT_FOR_EVER = """
import itertools, sys
from pathlib import Path
from edge_agent.cycle import Cycle
from edge_agent.spooling import Spool
from tests.edge_agent.test_spool_damage import readings
spool = Spool(Path(sys.argv[1]), "gw-01", 1 << 20)
first = spool.last_sequence
for number in itertools.count(first):
    print(spool.commit(Cycle(readings(number, 50))), flush=True)
    if number % 3 == 0:
        spool.settle(spool.generation, ((max(1, number - 20), number - 10),), (), 1) if number > 10 else None
    spool.write_back(octets=100_000)
"""


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_nothing_that_was_claimed_is_missing_and_no_number_comes_twice(
    tmp_path: Path, seed: int
) -> None:
    path, chance = tmp_path / "spool.sqlite", Random(seed)
    claimed = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMIT_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            for _ in range(chance.randrange(1, 60)):
                number = int(process.stdout.readline())
                assert number > claimed
                claimed = number
            deadline = time.perf_counter() + chance.random() * 0.004
            while time.perf_counter() < deadline:
                pass
            process.kill()
            process.wait(DEADLINE_S)
            claimed = max([claimed, *(int(line) for line in process.stdout if line.endswith("\n"))])
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is None
    assert spool.last_sequence in (claimed, claimed + 1)  # a commit may be done and not yet told
    spool.wait_again(spool.generation, ((1, claimed),), ())
    assert spool.losses() == []
    found = found_in(spool)
    assert sorted(found) == sorted(each for number in range(spool.last_sequence) for each in readings(number, 50))
    assert spool.taken == len(found) == sum(day.readings for day in spool.days(62))
    spool.close()
