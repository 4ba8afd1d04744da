"""The spool: numbered without gaps, counted and digested in the same commit, emptied by receipts only."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import outbox
from edge_agent.failures import SpoolFullError
from edge_agent.outbox import LogRead
from edge_agent.spool import DAY_MS, Cycle, Hole, SlotDone, Spool, open_spool, read_summary
from protocols.errors import UsageError
from protocols.telemetry.batch import decode_batch
from protocols.telemetry.event import EVENTS_MAX, EventKind, MeterEvent, decode_events
from protocols.telemetry.reading import Reading, reading_digest

NOON = 1_767_268_800_000
MEGABYTE = 1 << 20


def readings(number: int, count: int = 3) -> list[Reading]:
    at_ms = NOON + number * 1_800_000
    return [Reading(f"M-{meter:04}", "1.0.1.8.0", at_ms, 1000 * number + meter) for meter in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def open_plain(path: Path, octets_max: int = MEGABYTE) -> Spool:
    return Spool(path, "gw-01", octets_max)


def test_batches_are_numbered_without_gaps_over_restarts(path: Path) -> None:
    sequences = []
    for restart in range(3):
        spool = open_plain(path)
        sequences += [spool.commit(Cycle(readings(restart * 10 + number))) for number in range(4)]
        spool.forget([(1, spool.last_sequence)])  # also when everything was receipted, no number comes again
        spool.close()
    assert sequences == list(range(1, 13))


def test_what_is_taken_is_counted_and_digested_by_day(path: Path) -> None:
    spool = open_plain(path)
    taken = [reading for number in range(60) for reading in readings(number)]
    for number in range(60):
        spool.commit(Cycle(readings(number)))
    spool.forget([(1, 60)])
    summary = read_summary(path)
    spool.close()
    assert (summary.taken, summary.unreceipted, summary.last_sequence) == (180, 0, 60)
    for day in summary.days:
        of_day = [each for each in taken if each.measured_at_ms // DAY_MS == day.day]
        assert (day.readings, day.digest) == (len(of_day), reading_digest(of_day))
    assert len(summary.days) == 2


def test_a_batch_holds_what_was_committed(path: Path) -> None:
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    ((sequence, payload),) = spool.batches_after(0, 10)
    batch = decode_batch(payload)
    assert (batch.gateway, batch.generation, batch.sequence) == ("gw-01", spool.generation, sequence)
    assert sorted(batch.readings()) == sorted(readings(1))
    spool.close()


def test_only_receipted_batches_go(path: Path) -> None:
    spool = open_plain(path)
    for number in range(10):
        spool.commit(Cycle(readings(number)))
    assert spool.forget([(2, 3), (7, 100), (500, 1 << 53)]) == 6
    assert [sequence for sequence, _ in spool.batches_after(0, 100)] == [1, 4, 5, 6]
    assert spool.batches == 4
    spool.close()


def test_a_full_spool_refuses_a_cycle_whole_and_takes_again_when_there_is_room(path: Path) -> None:
    spool = open_plain(path, octets_max=2000)
    taken = 0
    while taken < 5:  # a batch of three readings has 350 octets or so
        spool.commit(Cycle(readings(taken), [SlotDone("M-0000", "billing", taken)]))
        taken += 1
    with pytest.raises(SpoolFullError):
        spool.commit(Cycle(readings(taken, 1000), [SlotDone("M-0000", "billing", taken)]))
    assert spool.last_sequence == taken
    assert spool.slots() == {("M-0000", "billing"): taken - 1}
    spool.forget([(1, taken)])
    assert spool.commit(Cycle(readings(1000))) == taken + 1
    assert read_summary(path).taken == 3 * (taken + 1)
    spool.close()


@pytest.mark.parametrize("damage", [b"this was a spool" * 300, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_spool_is_set_aside_and_a_new_generation_begins(path: Path, damage: bytes) -> None:
    first, _ = open_spool(path, "gw-01", MEGABYTE)
    first.commit(Cycle(readings(1)))
    first.close()
    path.write_bytes(damage)
    second, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is not None
    assert aside.read_bytes() == damage
    assert second.generation != first.generation
    assert second.commit(Cycle(readings(2))) == 1
    second.close()


def test_a_flipped_page_is_found_at_the_start(path: Path) -> None:
    spool = open_plain(path)
    for number in range(50):
        spool.commit(Cycle(readings(number, 40)))
    spool.close()
    octets = bytearray(path.read_bytes())
    octets[4096 * 3 : 4096 * 4] = b"\xa5" * 4096
    path.write_bytes(octets)
    with pytest.raises(sqlite3.DatabaseError):
        open_plain(path)


def test_another_gateways_or_a_newer_spool_is_refused(path: Path) -> None:
    open_plain(path).close()
    with pytest.raises(UsageError, match="belongs to gateway 'gw-01'"):
        open_spool(path, "gw-02", MEGABYTE)
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(UsageError, match="newer congto"):
        open_spool(path, "gw-01", MEGABYTE)


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    """Write-ahead log with FULL: NORMAL would lose committed cycles at a power cut."""
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    spool.forget([(1, 1)])
    assert spool._db.execute("pragma synchronous").fetchone() == (2,)
    assert spool._db.execute("pragma journal_mode").fetchone() == ("wal",)
    spool.close()


holes = st.tuples(st.integers(0, 100), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=15, deadline=None)
@given(holes, st.lists(holes, max_size=6))
def test_what_was_filled_is_struck_off_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, hole: tuple[int, int], filled: list[tuple[int, int]]
) -> None:
    spool = open_plain(tmp_path_factory.mktemp("spool") / "spool.sqlite")
    spool.commit(Cycle(holes=[Hole("M-1", *hole), Hole("M-2", *hole)]))
    for part in filled:
        spool.commit(Cycle(filled=[Hole("M-1", *part)]))
    left = {at for each in spool.holes() if each.meter == "M-1" for at in range(each.from_ms, each.to_ms + 1)}
    struck = {at for part in filled for at in range(part[0], part[1] + 1)}
    assert left == set(range(hole[0], hole[1] + 1)) - struck
    assert Hole("M-2", *hole) in spool.holes()
    spool.close()


def as_version_1(path: Path) -> None:
    """Take away what version 2 has more."""
    db = sqlite3.connect(path)
    db.executescript("drop table event; drop table log_read; pragma user_version = 1")
    db.close()


def test_a_spool_of_an_older_version_is_taken_over_with_all_it_holds(path: Path) -> None:
    spool = open_plain(path)
    for number in range(3):
        spool.commit(Cycle(readings(number)))
    generation = spool.generation
    spool.close()
    as_version_1(path)
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is None
    assert (spool.generation, spool.last_sequence, spool.batches) == (generation, 3, 3)
    spool.commit(Cycle(events=[MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=0)]))
    assert len(spool.events(10)) == 1
    spool.close()
    assert read_summary(path).taken == 9


def test_events_are_numbered_on_their_own_and_kept_with_how_far_logs_were_read(path: Path) -> None:
    entries = [MeterEvent(EventKind.LOG, "M-0001", NOON + at, "0.0.99.98.0", 2) for at in range(EVENTS_MAX + 1)]
    spool = open_plain(path)
    spool.commit(Cycle(readings(1), events=entries, logs=[LogRead("M-0001", "0.0.99.98.0", NOON)]))
    spool.close()
    spool = open_plain(path)
    spool.commit(Cycle(events=entries[:1], logs=[LogRead("M-0001", "0.0.99.98.0", NOON - 1)]))
    waiting = [(sequence, decode_events(payload)) for sequence, payload in spool.events(10)]
    assert [(sequence, message.header.sequence, len(message.events)) for sequence, message in waiting] == [
        (1, 1, EVENTS_MAX),
        (2, 2, 1),
        (3, 3, 1),
    ]
    assert spool.logs_read() == {("M-0001", "0.0.99.98.0"): NOON}  # it never goes back
    for sequence in (1, 2, 3):
        spool.forget_event(sequence)
    spool.commit(Cycle(events=entries[:1]))
    assert [sequence for sequence, _ in spool.events(10)] == [4]
    assert (spool.last_sequence, spool.batches) == (1, 1)
    spool.close()


def test_more_events_than_may_wait_push_the_oldest_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MESSAGES_MAX", 3)
    spool = open_plain(path)
    for number in range(5):
        spool.commit(Cycle(events=[MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=number)]))
    assert [sequence for sequence, _ in spool.events(10)] == [3, 4, 5]
    spool.close()
