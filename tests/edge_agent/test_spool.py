"""The spool: numbered without gaps, counted and digested in the same commit, emptied by receipts only."""

import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import outbox
from edge_agent.failures import SpoolFullError
from edge_agent.outbox import LogRead
from edge_agent.spool import DAY_MS, Cycle, DayTaken, Hole, SlotDone, Spool, open_spool, read_summary
from edge_agent.spool_seals import SEQUENCE_MASK
from protocols.errors import UsageError
from protocols.telemetry.batch import Clocks, Header, encode_batch
from protocols.telemetry.event import EVENTS_MAX, EventKind, MeterEvent, decode_events, encode_events
from protocols.telemetry.loss import Reason
from protocols.telemetry.reading import Reading, reading_digest
from protocols.telemetry.readings import decode_readings
from protocols.telemetry.sequences import Ranges

NOON = 1_767_268_800_000
RECEIPTED_MS = NOON + 86_400_000
MEGABYTE = 1 << 20


def readings(number: int, count: int = 3) -> list[Reading]:
    at_ms = NOON + number * 1_800_000
    chance = Random(number)  # so that a batch does not shrink to nothing
    return [
        Reading(f"M-{meter:04}", "1.0.1.8.0", at_ms, 1000 * number + chance.randrange(1 << 24))
        for meter in range(count)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def settle(spool: Spool, *sequences: tuple[int, int]) -> int:
    return spool.settle(spool.generation, sequences, (), RECEIPTED_MS)


def waiting(spool: Spool) -> list[tuple[int, bytes]]:
    return spool.waiting(0, spool.last_key(), 10_000)


def sequences(spool: Spool) -> list[int]:
    return [key & SEQUENCE_MASK for key, _ in waiting(spool)]


def of(ranges: Ranges) -> list[int]:
    return [sequence for first, last in ranges for sequence in range(first, last + 1)]


def open_plain(path: Path, octets_max: int = MEGABYTE) -> Spool:
    return Spool(path, "gw-01", octets_max)


def test_batches_are_numbered_without_gaps_over_restarts(path: Path) -> None:
    sequences = []
    for restart in range(3):
        spool = open_plain(path)
        sequences += [spool.commit(Cycle(readings(restart * 10 + number))) for number in range(4)]
        settle(spool, (1, spool.last_sequence))
        spool.forget_settled(RECEIPTED_MS + 131_072)  # also when everything was receipted, no number comes again
        spool.close()
    assert sequences == list(range(1, 13))


def test_what_is_taken_is_counted_and_digested_by_day(path: Path) -> None:
    spool = open_plain(path)
    taken = [reading for number in range(60) for reading in readings(number)]
    for number in range(60):
        spool.commit(Cycle(readings(number)))
    settle(spool, (1, 60))
    summary = read_summary(path)
    spool.close()
    assert (summary.taken, summary.unreceipted, summary.last_sequence) == (180, 0, 60)
    for day in summary.days:
        of_day = [each for each in taken if each.measured_at_ms // DAY_MS == day.day]
        assert (day.readings, day.digest) == (len(of_day), reading_digest(of_day))
    assert len(summary.days) == 2


def test_a_batch_holds_what_was_committed(path: Path) -> None:
    spool = open_plain(path)
    spool.commit(Cycle(readings(1), taken_at_ms=NOON + 5, clock_offsets_ms={"M-0001": -3000}))
    ((key, payload),) = waiting(spool)
    batch = decode_readings(payload)
    assert key == spool.last_key()
    assert batch.header == Header("gw-01", spool.generation, 1, ((1, 1),))
    assert sorted(batch.readings()) == sorted(readings(1))
    assert batch.clocks == Clocks(NOON + 5, {"M-0001": -3000})
    spool.close()


def test_only_receipted_batches_go_and_they_are_kept_for_a_while(path: Path) -> None:
    spool = open_plain(path)
    for number in range(10):
        spool.commit(Cycle(readings(number)))
    assert settle(spool, (2, 3), (7, 10)) == 6
    assert spool.settle("0000000000000000", ((1, 10),), (), NOON) == 0  # another generation's
    assert sequences(spool) == [1, 4, 5, 6]
    assert spool.batches == 4
    assert spool.wait_again(spool.generation, ((3, 8),), ()) == 3
    assert sequences(spool) == [1, 3, 4, 5, 6, 7, 8]
    assert spool.losses() == []
    settle(spool, (1, 8))
    assert spool.forget_settled(RECEIPTED_MS - 131_072) == 0  # the time of a receipt is exact to 65 s
    assert spool.forget_settled(RECEIPTED_MS + 131_072) == 10
    assert spool.wait_again(spool.generation, ((4, (1 << 53) - 1),), ()) == 0
    (loss,) = spool.losses()
    assert (loss.sequences, loss.reason, loss.readings) == (((4, 10),), Reason.EXPIRED, None)
    settle(spool, (4, 10))
    assert spool.losses() == []
    spool.close()


def test_what_is_receipted_while_the_clock_is_unset_is_kept_as_long_as_any_other(path: Path) -> None:
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    assert spool.settle(spool.generation, ((1, 1),), (), 3_600_000) == 1  # an hour into 1970
    taken_ms = max(each.measured_at_ms for each in readings(1))
    assert spool.forget_settled(taken_ms - 131_072) == 0
    assert spool.forget_settled(taken_ms + 131_072) == 1
    spool.close()


def commit_all(spool: Spool, cycles: list[Cycle]) -> None:
    for cycle in cycles:
        spool.commit(cycle)


def instantaneous(number: int, count: int = 3) -> list[Reading]:
    return [reading._replace(obis="1.0.32.7.0") for reading in readings(number, count)]


def test_a_full_spool_gives_up_receipted_then_instantaneous_then_billing_readings_the_oldest_first(path: Path) -> None:
    spool = open_plain(path, octets_max=MEGABYTE // 2)
    for number in range(20):
        spool.commit(Cycle(readings(number, 1500)))
    settle(spool, (1, 20))
    taken = 20
    while not spool.given_up:
        spool.commit(Cycle([*readings(taken, 1500), *instantaneous(taken, 1500)]))
        taken += 1
        assert spool.octets <= MEGABYTE // 2
    # What was receipted is gone before anything that waits was given up.
    assert spool.wait_again(spool.generation, ((1, 20),), ()) == 0
    lost = {sequence for loss in spool.losses() if loss.reason is Reason.SPACE for sequence in of(loss.sequences)}
    assert min(lost) == 22  # of each cycle the second batch is the instantaneous one
    while 21 not in lost:
        spool.commit(Cycle([*readings(taken, 1500), *instantaneous(taken, 1500)]))
        taken += 1
        lost = {sequence for loss in spool.losses() if loss.reason is Reason.SPACE for sequence in of(loss.sequences)}
        assert spool.octets <= MEGABYTE // 2
    assert set(range(22, spool.last_sequence, 2)) <= lost
    assert {*sequences(spool), *lost} == set(range(21, spool.last_sequence + 1))
    assert not {*sequences(spool)} & lost
    batches, given = spool.loss_totals()[Reason.SPACE]
    assert (batches, given) == (len(lost), 1500 * len(lost))
    assert read_summary(path).lost[Reason.SPACE] == (batches, given)
    spool.close()


def test_instantaneous_readings_push_no_billing_register_out(path: Path) -> None:
    spool = open_plain(path, octets_max=MEGABYTE // 2)
    taken = 0
    while spool.octets < MEGABYTE // 2 - (96 << 10):
        spool.commit(Cycle(readings(taken, 2000)))
        taken += 1
    kept = sequences(spool)
    for number in range(30):
        spool.commit(Cycle(instantaneous(number, 2000)))
    assert set(kept) <= set(sequences(spool))
    assert spool.octets <= MEGABYTE // 2
    spool.heals = {reading.meter: 900_000 for reading in readings(1, 2000)}
    with pytest.raises(SpoolFullError):  # their load profile brings them when there is room
        commit_all(spool, [Cycle(readings(taken + number, 1500)) for number in range(30)])
    assert set(kept) <= set(sequences(spool))
    spool.close()


def test_what_no_room_can_be_made_for_is_refused_and_nothing_of_it_kept(path: Path) -> None:
    spool = open_plain(path, octets_max=100_000)
    with pytest.raises(SpoolFullError):
        spool.commit(Cycle(readings(1, 10_000), [SlotDone("M-0000", "billing", 1)]))
    assert (spool.last_sequence, spool.slots(), spool.taken) == (0, {}, 0)
    spool.close()


def test_losses_that_touch_are_told_in_one_message_until_they_are_receipted(path: Path) -> None:
    spool = open_plain(path)
    for number in range(6):
        spool.commit(Cycle(readings(number)))
    spool._db.execute("update batch set payload = zeroblob(100) where key & 7 in (2, 3, 5)")
    assert sequences(spool) == [1, 4, 6]
    (loss,) = spool.losses()
    assert (loss.sequences, loss.reason, loss.readings) == (((2, 3), (5, 5)), Reason.DAMAGE, 9)
    assert (loss.from_ms, loss.to_ms) == (readings(1)[0].measured_at_ms, readings(4)[0].measured_at_ms)
    settle(spool, (1, 4))
    assert [each.sequences for each in spool.losses()] == [((5, 5),)]
    settle(spool, (5, 5))
    assert spool.losses() == []
    spool.close()


def test_a_receipt_for_what_was_never_given_begins_a_new_generation(path: Path) -> None:
    """The spool was restored from a backup: numbers that it has forgotten must not be used for other readings."""
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    old = spool.generation
    settle(spool, (2, 7))
    assert spool.renewed is not None
    assert spool.generation != old
    assert spool.commit(Cycle(readings(2))) == 1
    assert [decode_readings(payload).generation for _, payload in waiting(spool)] == [old, spool.generation]
    assert spool.settle(old, ((1, 1),), (), NOON) == 1
    spool.close()


def test_a_copied_spool_begins_a_new_generation_and_sends_what_waits_under_the_old_one(path: Path) -> None:
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    spool.close()
    copy = path.with_name("copy.sqlite")
    shutil.copy(path, copy)
    original, copied = open_plain(path), open_plain(copy)
    assert original.renewed is None
    assert copied.renewed == "the spool was copied or restored from a backup"
    assert copied.generation != original.generation
    assert waiting(copied) == waiting(original)
    copied.close()
    original.close()
    assert open_plain(copy).renewed is None


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
        db.execute("update meta set value = 99 where key = 'version'")
    db.close()
    with pytest.raises(UsageError, match="newer congto"):
        open_spool(path, "gw-01", MEGABYTE)


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    """Write-ahead log with FULL: NORMAL would lose committed cycles at a power cut."""
    spool = open_plain(path)
    spool.commit(Cycle(readings(1)))
    settle(spool, (1, 1))
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


SCHEMA_1 = """
    create table meta (key text primary key, value) without rowid;
    create table batch (sequence integer primary key, payload blob not null);
    create table day (day integer primary key, readings integer not null, digest text not null);
    create table slot (meter text, series text, slot_ms integer not null, primary key (meter, series)) without rowid;
    create table hole (meter text, from_ms integer, to_ms integer not null, primary key (meter, from_ms)) without rowid;
"""
SCHEMA_2 = """
    create table event (sequence integer primary key, payload blob not null);
    create table log_read (meter text, log text, up_to_ms integer not null, primary key (meter, log)) without rowid;
"""
OLD = "5f0c2e9a1b7d4463"


def write_old(path: Path, version: int) -> None:
    """Write a spool as an older version did, with three batches of its own schema."""
    db = sqlite3.connect(path)
    db.executescript(SCHEMA_1 + (SCHEMA_2 if version == 2 else "") + f"pragma user_version = {version}")
    meta = [("gateway", "gw-01"), ("generation", OLD), ("last_sequence", 5), ("taken", 15)]
    if version == 2:
        meta.append(("last_event", 8))
        event = MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=0)
        db.execute("insert into event values (8, ?)", (encode_events("gw-01", OLD, 8, [event]),))
    db.executemany("insert into meta values (?, ?)", meta)
    for sequence in (3, 4, 5):
        payload = encode_batch("gw-01", OLD, sequence, readings(sequence))
        db.execute("insert into batch values (?, ?)", (sequence, payload))
    db.execute("insert into slot values ('M-0000', 'billing', 7)")
    db.execute("insert into day values (20000, 15, '00000000000000ff')")
    db.commit()
    db.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_spool_of_an_older_version_is_taken_over_with_all_it_holds(path: Path, version: int) -> None:
    write_old(path, version)
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is None
    assert (spool.generation, spool.last_sequence, spool.batches, spool.taken) == (OLD, 5, 3, 15)
    assert [sorted(decode_readings(payload).readings()) for _, payload in waiting(spool)] == [
        readings(sequence) for sequence in (3, 4, 5)
    ]
    assert spool.slots() == {("M-0000", "billing"): 7}
    assert spool.days(5) == [DayTaken(20000, 15, 255)]
    assert len(spool.events(0, 10)) == version - 1
    spool.commit(Cycle(readings(6), events=[MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=0)]))
    assert spool.last_sequence == 6
    assert [key & SEQUENCE_MASK for key, _ in spool.events(0, 10)] == ([8, 9] if version == 2 else [1])
    spool.close()
    assert read_summary(path).taken == 18


def test_a_spool_whose_tables_were_not_sealed_yet_is_taken_over_and_sealed(path: Path) -> None:
    """Version 3 has the tables of today, and nothing that says what they are."""
    spool = open_plain(path)
    for number in range(3):
        spool.commit(Cycle(readings(number)))
    generation, days = spool.generation, spool.days(5)
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("drop table register")
        db.execute("delete from meta where key = 'schema_crc'")
        db.execute("update meta set value = 3 where key = 'version'")
        db.execute("pragma user_version = 3")
    db.close()
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is None
    assert (spool.generation, spool.last_sequence, spool.batches) == (generation, 3, 3)
    assert spool.days(5) == days
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("pragma writable_schema = on")
        db.execute(
            "update sqlite_schema set sql = replace(sql, 'settled_ms < 0', 'settled_ms < 9') where type = 'index'"
        )
    db.close()
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    assert aside is not None  # sealed it is found out at once
    spool.close()


def test_events_are_numbered_on_their_own_and_kept_with_how_far_logs_were_read(path: Path) -> None:
    entries = [MeterEvent(EventKind.LOG, "M-0001", NOON + at, "0.0.99.98.0", 2) for at in range(EVENTS_MAX + 1)]
    spool = open_plain(path)
    spool.commit(Cycle(readings(1), events=entries, logs=[LogRead("M-0001", "0.0.99.98.0", NOON)]))
    spool.close()
    spool = open_plain(path)
    spool.commit(Cycle(events=entries[:1], logs=[LogRead("M-0001", "0.0.99.98.0", NOON - 1)]))
    found = [(sequence & SEQUENCE_MASK, decode_events(payload)) for sequence, payload in spool.events(0, 10)]
    assert [(sequence, message.header.sequence, len(message.events)) for sequence, message in found] == [
        (1, 1, EVENTS_MAX),
        (2, 2, 1),
        (3, 3, 1),
    ]
    assert spool.logs_read() == {("M-0001", "0.0.99.98.0"): NOON}  # it never goes back
    spool.settle(spool.generation, (), ((1, 3),), NOON)
    spool.commit(Cycle(events=entries[:1]))
    assert [key & SEQUENCE_MASK for key, _ in spool.events(0, 10)] == [4]
    spool.wait_again(spool.generation, (), ((3, (1 << 53) - 1),))
    assert [key & SEQUENCE_MASK for key, _ in spool.events(0, 10)] == [3, 4]
    assert (spool.last_sequence, spool.batches) == (1, 1)
    spool.close()


def test_more_events_than_may_wait_push_the_oldest_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MESSAGES_MAX", 3)
    spool = open_plain(path)
    for number in range(5):
        spool.commit(Cycle(events=[MeterEvent(EventKind.CLOCK, "M-0001", NOON, value=number)]))
    assert [key & SEQUENCE_MASK for key, _ in spool.events(0, 10)] == [3, 4, 5]
    spool.close()
