"""Flash wears by syncs: what each act of the spool costs, counted by the disk itself."""

from collections import Counter
from collections.abc import Iterator
from contextvars import copy_context
from random import Random

import pytest

from edge_agent.cycle import Cycle
from edge_agent.rescue import open_spool
from edge_agent.spooling import Spool
from protocols.errors import UnavailableError
from protocols.telemetry.event import EventKind, MeterEvent
from protocols.telemetry.reading import Reading
from tests.simulation.disk import Disk, Loss
from tests.simulation.loop import LIFE, Life
from tests.simulation.paths import DiskPath
from tests.simulation.vfs import VFS

NOON = 1_767_268_800_000
WRITE_BACK_SYNCS = 3  # the log, the file, and the log's new head with the next commit


def cycle(number: int, meters: int = 60) -> Cycle:
    at_ms = NOON + number * 900_000
    both = [
        Reading(f"M-{meter:04}", obis, at_ms, number * meter)
        for meter in range(meters)
        for obis in ("1.0.1.8.0", "1.0.32.7.0")
    ]
    return Cycle(both, events=[MeterEvent(EventKind.CLOCK, "M-0001", at_ms, value=0)])


@pytest.fixture
def done() -> Iterator[Counter[str]]:
    """Count what is asked of a disk while a test runs."""
    found: Counter[str] = Counter()
    disk = DiskPath.disk = Disk()
    with VFS.mounted(disk, Random(1)):
        VFS.on_operation = lambda what: found.update([what])
        yield found


def test_a_cycle_costs_one_sync_and_a_receipt_none(done: Counter[str]) -> None:
    spool = Spool(DiskPath("/disk/spool.sqlite"), "gw-01", 1 << 24)
    spool.commit(cycle(0))  # the log's head is synced once
    for number in range(1, 300):
        before = done["sync"]
        spool.commit(cycle(number))
        assert done["sync"] == before + 1
        spool.settle(spool.generation, ((2 * number - 1, 2 * number),), ((number, number),), NOON)
        spool.waiting(0, spool.last_key(), 100)
        assert done["sync"] == before + 1
    spool.close()


def test_the_log_is_written_back_between_cycles_and_seldom(done: Counter[str]) -> None:
    spool = Spool(DiskPath("/disk/spool.sqlite"), "gw-01", 1 << 24)
    before, written = done["sync"], 0
    for number in range(400):
        spool.commit(cycle(number))
        written += spool.write_back()
    assert 1 <= written <= 10
    assert done["sync"] - before <= 400 + 1 + WRITE_BACK_SYNCS * written
    spool.close()


def test_what_a_killed_process_has_not_synced_is_synced_before_it_is_sent() -> None:
    """The next process sees it in the log, sends it, and its numbers must not be given again after a power cut."""
    disk, life, path = Disk(), Life(1), DiskPath("/disk/spool.sqlite")
    DiskPath.disk = disk

    def commit_and_die() -> None:
        LIFE.set(life)
        spool = Spool(path, "gw-01", 1 << 24)
        spool.commit(cycle(0))
        VFS.on_operation = lambda what: setattr(life, "alive", what != "sync")
        with pytest.raises(UnavailableError):
            spool.commit(cycle(1))

    with VFS.mounted(disk, Random(1)):
        copy_context().run(commit_and_die)
        VFS.on_operation = None
        VFS.forget_shared_memory()
        shown = open_spool(path, "gw-01", 1 << 24)[0].last_sequence
        disk.lose_power(Loss.ALL, Random(1))
        VFS.forget_shared_memory()
        assert open_spool(path, "gw-01", 1 << 24)[0].last_sequence == shown == 4
