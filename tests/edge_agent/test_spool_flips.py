"""Damage done to the spool on purpose, octet by octet or value by value: each was done by chance before."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent import spool_seals
from edge_agent.cycle import Cycle, SlotDone
from edge_agent.rescue import open_spool
from edge_agent.spool_file import BEGUN, FORMAT_AT, SUSPECT
from edge_agent.spool_schema import SELECT_SCHEMA, VERSION
from edge_agent.spool_seals import LIFE_SHIFT, SEQUENCE_MASK, Life
from edge_agent.spooling import Spool
from protocols.telemetry.loss import Reason
from protocols.telemetry.readings import decode_readings
from tests.edge_agent.test_spool_damage import BATCHES, MEGABYTE, NOON, event, fill, readings

LONG_AFTER = NOON + 86_400_000
FIRST_KEY = 1 << LIFE_SHIFT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool of 40 batches, of which ten are receipted."""
    fill(tmp_path / "spool.sqlite")
    return tmp_path / "spool.sqlite"


def alter(path: Path, *statements: str) -> None:
    """Write into the file what the spool never writes."""
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def suspect(path: Path) -> None:
    path.with_name(f"{path.name}{SUSPECT}").touch()


def opened(path: Path) -> tuple[Spool, bool]:
    """Open it, and say whether it was set aside."""
    spool, aside = open_spool(path, "gw-01", MEGABYTE)
    return spool, aside is not None


def sent_by(spool: Spool) -> dict[int, str]:
    """Return what waits: sequences and their generations."""
    found = [decode_readings(payload) for _, payload in spool.waiting(0, spool.last_key(), 10_000)]
    return {batch.sequence: batch.generation for batch in found}


def lost_by(spool: Spool) -> set[int]:
    ranges = [each for loss in spool.losses() if loss.reason is Reason.DAMAGE for each in loss.sequences]
    return {number for first, last in ranges for number in range(first, last + 1)}


def test_a_text_that_is_no_text_any_more_is_a_damage_and_no_refusal_of_the_disk(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        (place,) = db.execute("select value from meta where key = 'place'").fetchone()
    octets = path.read_bytes()
    assert octets.count(place.encode()) == 1
    path.write_bytes(octets.replace(place.encode(), b"\xe1" + place.encode()[1:]))
    spool, aside = opened(path)
    assert aside
    assert sent_by(spool).keys() == set(range(11, BATCHES + 1))
    spool.close()


def test_a_batch_whose_octets_became_a_text_is_given_up_alone(path: Path) -> None:
    alter(
        path,
        f"update batch set payload = cast(payload as text) where key = {FIRST_KEY + 16}",  # the octets are the same
        f"update batch set payload = cast(x'ff00' as text), readings = 'x' where key = {FIRST_KEY + 17}",
        f"update event set payload = cast(x'ff00' as text) where key = {FIRST_KEY + 18}",
    )
    spool, aside = opened(path)
    assert not aside
    assert sent_by(spool).keys() == {*range(11, BATCHES + 1)} - {17}
    assert lost_by(spool) == {17}
    assert len(spool.events(0, 100)) == BATCHES - 10 - 1
    spool.close()


@pytest.mark.parametrize("at", [FORMAT_AT, FORMAT_AT + 1])
def test_a_format_that_the_head_names_by_mistake_is_a_damage_and_no_read_only_disk(path: Path, at: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1 << 5
    path.write_bytes(octets)
    spool, aside = opened(path)
    assert aside
    assert sent_by(spool).keys() == set(range(11, BATCHES + 1))
    assert spool.commit(Cycle(readings(1000))) == 1
    spool.close()


def test_a_bit_that_makes_a_waiting_batch_look_receipted_costs_nothing(path: Path) -> None:
    alter(
        path,
        f"update batch set settled_ms = settled_ms + {1 << 41} where key = {FIRST_KEY + BATCHES}",
        f"update event set settled_ms = settled_ms + {1 << 41} where key = {FIRST_KEY + BATCHES}",
    )
    suspect(path)
    spool, _ = opened(path)
    assert sent_by(spool).keys() == set(range(11, BATCHES + 1))
    assert len(spool.events(0, 100)) == BATCHES - 10
    spool.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update life set last_sequence = 8",
        "update life set last_sequence = last_sequence + 65536",
        "update life set last_event = 8",
        "update life set kept_from = 60",
        "update meta set value = replace(value, ' 40 ', ' 41 ') where key = 'life/1'",
        "delete from life",
        "delete from meta where key = 'life/1'",
    ],
)
def test_how_far_a_generation_has_come_stands_twice_and_neither_is_believed_when_altered(
    path: Path, statement: str
) -> None:
    alter(path, statement, f"delete from batch where key = {FIRST_KEY + BATCHES}")
    spool, aside = opened(path)
    assert aside
    before, now = spool_seals.load(spool._db)
    assert before[2:] == (BATCHES, BATCHES, 1)
    assert now == Life(2, spool.generation)
    assert lost_by(spool) == {BATCHES}
    spool.close()


def test_numbers_are_declared_from_the_first_that_was_kept_and_not_from_the_first_that_is_left(path: Path) -> None:
    spool, _ = opened(path)
    spool.forget_settled(LONG_AFTER)
    spool.close()
    alter(path, f"delete from batch where key <= {FIRST_KEY + 15}")
    suspect(path)
    spool, _ = opened(path)
    assert lost_by(spool) == {11, 12, 13, 14, 15}
    spool.close()


def test_what_was_given_up_and_told_is_not_declared_again_after_a_damage(tmp_path: Path) -> None:
    path = tmp_path / "small.sqlite"
    spool = Spool(path, "gw-01", 200_000)
    while not spool.given_up:
        spool.commit(Cycle(readings(spool.last_sequence, 1500)))
    (loss,) = spool.losses()
    spool.settle(spool.generation, ((1, spool.last_sequence),), (), NOON)
    spool.forget_settled(LONG_AFTER)
    last = spool.last_sequence
    assert spool_seals.load(spool._db)[0].kept_from == last + 1
    spool.commit(Cycle(readings(1000)))
    spool.close()
    alter(path, f"delete from batch where key > {FIRST_KEY + last}", "delete from lost")
    suspect(path)
    spool, _ = open_spool(path, "gw-01", MEGABYTE)
    assert loss.reason is Reason.SPACE
    assert lost_by(spool) == {last + 1}
    spool.close()


@pytest.mark.parametrize("other", [5, 2, (1 << 22) + 1])
def test_a_row_whose_number_names_another_generation_is_still_its_own(path: Path, other: int) -> None:
    """A flipped bit in a rowid: a batch's payload says whose it is, its number in the file need not."""
    moved = (other << LIFE_SHIFT) - FIRST_KEY
    alter(
        path,
        f"update batch set key = key + {moved} where key in ({FIRST_KEY + 3}, {FIRST_KEY + 25})",
        f"update event set key = key + {moved} where key = {FIRST_KEY + 26}",
    )
    suspect(path)
    with closing(sqlite3.connect(path)) as db:
        (generation,) = db.execute("select generation from life").fetchone()
    spool, _ = opened(path)
    # The time of the receipt of the third was sealed for the number that it had: it is sent once more.
    assert sent_by(spool) == dict.fromkeys({3, *range(11, BATCHES + 1)}, generation)
    assert lost_by(spool) == set()
    assert len(spool.events(0, 100)) == BATCHES - 10
    spool.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update day set digest = 'no digest'",
        "update day set readings = 'x'",
        "update slot set slot_ms = 'x'",
        "insert into hole values ('M', 1, x'00')",
        "insert into log_read values ('M', x'ff', 1)",
        f"insert into lost values ({FIRST_KEY + 9}, {FIRST_KEY + 3}, 'space', 1, 1, 1, 0)",
        f"insert into lost values ({FIRST_KEY + 3}, {FIRST_KEY + 9}, 'spice', 1, 1, 1, 0)",
        "insert into loss_total values ('spice', 1, 1)",
        "update meta set value = 'many' where key = 'taken'",
    ],
)
def test_a_value_of_another_kind_is_found_at_the_start_and_not_when_it_is_used(path: Path, statement: str) -> None:
    alter(path, statement)
    spool, aside = opened(path)
    assert aside
    assert sent_by(spool).keys() == set(range(11, BATCHES + 1))
    assert lost_by(spool) == set()
    assert {each.readings for each in spool.days(60)} <= {BATCHES * 12 - 24 + 4000}
    assert not spool.holes()
    spool.close()


def test_a_value_that_turns_while_the_agent_runs_is_told_as_damage_and_rescued_at_the_next_start(path: Path) -> None:
    spool, _ = opened(path)
    spool._db.execute("update day set digest = 'no digest'")
    with pytest.raises(sqlite3.DatabaseError, match="never written"):
        spool.days(60)
    spool.close()
    again, aside = opened(path)
    assert aside
    again.close()


def older(path: Path, version: int, *, drop: str = "drop table register") -> None:
    """Make of a spool of today one of an older version, of which the later ones have the table of registers."""
    alter(
        path,
        "update batch set settled_ms = 1767268800000 where settled_ms >= 0",
        "update event set settled_ms = 1767268800000 where settled_ms >= 0",
        "create table old (life integer primary key, generation text not null unique,"
        " last_sequence integer not null default 0, last_event integer not null default 0)",
        "insert into old select life, generation, last_sequence, last_event from life",
        "drop table life",
        "alter table old rename to life",
        drop,
        "delete from meta where key like 'life/%' or key in ('schema_crc', 'sent_up_to')",
        f"update meta set value = {version} where key = 'version'",
        f"pragma user_version = {version}",
    )
    if version >= 4:
        with closing(sqlite3.connect(path)) as db:
            schema = db.execute(SELECT_SCHEMA).fetchall()
        alter(path, f"insert into meta values ('schema_crc', {spool_seals.crc32(repr(schema).encode())})")


UPGRADED: tuple[tuple[str, Callable[[Spool], object]], ...] = (
    ("slots", lambda spool: spool.slots()),
    ("days", lambda spool: spool.days(60)),
    ("batches", sent_by),
    ("events", lambda spool: spool.events(0, 100)),
    ("taken", lambda spool: spool.taken),
)


@pytest.mark.parametrize("version", [3, 4])
def test_a_spool_without_seals_is_taken_over_with_all_it_holds_and_sealed(path: Path, version: int) -> None:
    spool, _ = opened(path)
    spool.commit(Cycle(readings(50), [SlotDone("M-0000", "billing", 50)], events=[event(50)]))
    spool.forget_settled(LONG_AFTER)
    generation, before = spool.generation, {name: look(spool) for name, look in UPGRADED}
    spool.settle(generation, ((20, 20),), (), NOON)
    spool.close()
    older(path, version)
    spool, aside = opened(path)
    assert not aside
    assert spool.generation == generation
    assert spool._db.execute("pragma user_version").fetchone() == (VERSION,)
    assert spool_seals.load(spool._db) == [Life(1, generation, BATCHES + 1, BATCHES + 1, 11)]
    assert spool.wait_again(generation, ((1, SEQUENCE_MASK),), ()) == 1
    assert {name: look(spool) for name, look in UPGRADED} == before
    spool.settle(generation, ((30, 30),), (), NOON)
    spool.close()
    suspect(path)
    spool, _ = opened(path)  # what was receipted before and after is told from what was not
    assert 30 not in sent_by(spool)
    assert lost_by(spool) == set()
    spool.close()


def test_a_spool_of_version_4_that_has_what_counters_said_keeps_it(path: Path) -> None:
    spool, _ = opened(path)
    spool.commit(Cycle(readings(1), registers={"M-0001": b"1"}))
    spool.close()
    older(path, 4, drop="select 1")
    spool, aside = opened(path)
    assert not aside
    assert spool.registers() == {"M-0001": b"1"}
    spool.close()


def test_another_program_that_looks_at_the_spool_does_not_take_its_log_away(tmp_path: Path) -> None:
    """Who closes the file last removes the log. Whether others have it open is told by locks, which a process loses
    when it closes a file of its own on it: then a program that looks at the spool would think that it is the last.
    """
    path = tmp_path / "spool.sqlite"
    spool, _ = opened(path)
    spool.commit(Cycle(readings(1)))
    look = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('select count(*) from batch').fetchone())"
    seen = []
    for number in (2, 3):
        seen.append(
            subprocess.run([sys.executable, "-c", look, path], check=True, capture_output=True, text=True).stdout
        )
        assert path.with_name(f"{path.name}-wal").exists()
        spool.commit(Cycle(readings(number)))
    assert seen == ["1\n", "2\n"]
    spool.close()


@pytest.mark.parametrize("octets", [None, b""])
def test_a_spool_that_is_gone_or_empty_begins_anew_and_says_so_once(tmp_path: Path, octets: bytes | None) -> None:
    path = tmp_path / "spool.sqlite"
    first, aside = opened(path)
    first.commit(Cycle(readings(1)))
    first.close()
    assert (first.gone, aside) == (False, False)
    assert path.with_name(f"{path.name}{BEGUN}").exists()
    path.unlink()
    if octets is not None:
        path.write_bytes(octets)
    second, aside = opened(path)
    assert (second.gone, aside, second.damaged) == (True, False, 1)
    assert second.generation != first.generation
    second.close()
    third, _ = opened(path)
    assert (third.gone, third.damaged) == (False, 1)
    third.close()


def test_a_spool_that_is_gone_is_told_though_the_next_was_cut_short_as_it_began(tmp_path: Path) -> None:
    """By a full disk, or the power: SQLite writes the file's first page before it makes the tables."""
    path = tmp_path / "spool.sqlite"
    opened(path)[0].close()
    path.unlink()
    with closing(sqlite3.connect(path)) as begun:
        begun.execute("pragma journal_mode=wal")
    assert path.stat().st_size > 0
    spool, aside = opened(path)
    assert (spool.gone, aside, spool.damaged) == (True, False, 1)
    spool.close()


def test_a_spool_that_was_rescued_or_is_of_an_older_version_has_begun_too(path: Path) -> None:
    """A spool from before the mark gets it when it is opened."""
    mark = path.with_name(f"{path.name}{BEGUN}")
    assert not mark.exists()
    suspect(path)
    opened(path)[0].close()
    assert mark.exists()
    mark.unlink()
    opened(path)[0].close()
    assert mark.exists()


def test_a_spool_that_is_removed_with_its_mark_begins_anew_in_silence(path: Path) -> None:
    opened(path)[0].close()
    for each in path.parent.iterdir():
        each.unlink()
    spool, _ = opened(path)
    assert (spool.gone, spool.damaged) == (False, 0)
    spool.close()


def test_a_directory_that_takes_no_mark_holds_up_nothing(tmp_path: Path) -> None:
    """A read-only or broken disk answers with an error even to the question whether a file is there."""
    path = tmp_path / "spool.sqlite"
    opened(path)[0].close()
    path.with_name(f"{path.name}{BEGUN}").unlink()
    path.with_name(f"{path.name}{BEGUN}").symlink_to("x" * 300)  # no name that a directory may hold: ENAMETOOLONG
    spool, aside = opened(path)
    assert (spool.gone, aside) == (False, False)
    spool.close()
