"""Whether a spool's log is whole: a flipped bit is told from a commit that the power cut short."""

import shutil
from pathlib import Path
from random import Random

import pytest

from edge_agent.spool import Cycle, Spool, open_spool
from edge_agent.spool_log import FRAME_HEAD_OCTETS, HEAD_OCTETS, MAGIC_LITTLE, PAGE_OCTETS, LogState, look_at_log
from protocols.telemetry.reading import Reading

MIDNIGHT = 1_767_225_600_000
BATCHES = 12
SEED = 20261124


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A copy of the spool of an agent that was killed: what was committed lies in the log."""
    running, left = tmp_path / "running", tmp_path / "left"
    running.mkdir()
    left.mkdir()
    spool = Spool(running / "spool", "gw-01", 1 << 24)
    for number in range(BATCHES):
        spool.commit(Cycle(readings=[Reading("A", "1.0.1.8.0", MIDNIGHT + number * 60_000, number)]))
    for name in ("spool", "spool-wal"):
        shutil.copy(running / name, left / name)
    spool.close()
    return left / "spool"


def flip(path: Path, at: int, bit: int = 1) -> None:
    octets = bytearray(path.read_bytes())
    octets[at] ^= bit
    path.write_bytes(octets)


def test_a_log_is_whole_after_a_kill_and_without_one(killed: Path, tmp_path: Path) -> None:
    assert look_at_log(killed) is LogState.WHOLE
    assert look_at_log(tmp_path / "nothing") is LogState.WHOLE
    spool, aside = open_spool(killed, "gw-01", 1 << 24)
    assert aside is None
    assert spool.batches == BATCHES
    assert spool.renewed is not None
    assert "copied" in spool.renewed
    spool.close()


def test_a_bit_that_flipped_anywhere_before_the_last_commit_is_seen(killed: Path) -> None:
    log = killed.with_name("spool-wal")
    whole, rng = log.read_bytes(), Random(SEED)
    for _ in range(60):
        at = rng.randrange(len(whole) - 8 * (FRAME_HEAD_OCTETS + PAGE_OCTETS))
        flip(log, at, 1 << rng.randrange(8))
        assert look_at_log(killed) is LogState.CUT, f"octet {at}, seed {SEED}"
        log.write_bytes(whole)


def test_a_log_that_ends_within_a_commit_is_torn_wherever_it_ends(killed: Path) -> None:
    log = killed.with_name("spool-wal")
    whole, rng = log.read_bytes(), Random(SEED)
    states = set()
    for _ in range(60):
        log.write_bytes(whole[: rng.randrange(HEAD_OCTETS + 1, len(whole))])
        states.add(look_at_log(killed))
    assert LogState.TORN in states
    assert LogState.CUT not in states


def test_what_lies_behind_a_flipped_bit_is_rescued_under_its_numbers(killed: Path) -> None:
    """SQLite alone would find an older spool, and the next batch would get a number that was given already."""
    flip(killed.with_name("spool-wal"), HEAD_OCTETS + 2 * (FRAME_HEAD_OCTETS + PAGE_OCTETS) + 100)
    spool, aside = open_spool(killed, "gw-01", 1 << 24)
    assert aside is not None
    assert len(spool.generations) == 2
    assert spool.batches == BATCHES
    assert spool.last_sequence == 0
    spool.close()


def test_after_a_torn_commit_a_new_generation_begins_so_that_no_number_is_given_twice(killed: Path) -> None:
    log = killed.with_name("spool-wal")
    log.write_bytes(log.read_bytes()[:-100])  # its last frame is half there
    flip(log, log.stat().st_size - PAGE_OCTETS - 200)
    spool, aside = open_spool(killed, "gw-01", 1 << 24)
    assert aside is None
    assert spool.renewed is not None
    assert "not whole" in spool.renewed
    assert spool.last_sequence == 0
    assert spool.batches == BATCHES - 1
    spool.close()


def frame_of(log: Path, number: int, *, before: bytes, commits: bool) -> bytes:
    """Return a frame of ``log`` with another page, whole behind the frame ``before``."""
    head, frame = log.read_bytes()[:HEAD_OCTETS], FRAME_HEAD_OCTETS + PAGE_OCTETS
    order = "little" if int.from_bytes(head[:4], "big") == MAGIC_LITTLE else "big"
    first, second = (int.from_bytes(before[at : at + 4], "big") for at in (16, 20))
    start = (1).to_bytes(4, "big") + (frame if commits else 0).to_bytes(4, "big")
    page = Random(number).randbytes(PAGE_OCTETS)
    summed = start + page
    words = [int.from_bytes(summed[at : at + 4], order) for at in range(0, len(summed), 4)]
    for one, two in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) % (1 << 32)
        second = (second + two + first) % (1 << 32)
    return start + head[16:24] + first.to_bytes(4, "big") + second.to_bytes(4, "big") + page


def test_a_frame_half_written_over_a_transaction_that_was_cut_short_is_torn_and_no_damage(killed: Path) -> None:
    """A process died in a commit, and the next one between the head and the page of the frame in its place."""
    log = killed.with_name("spool-wal")
    whole = log.read_bytes()
    last = whole[-FRAME_HEAD_OCTETS - PAGE_OCTETS :]
    cut_short = [last]
    for number in range(4):
        cut_short.append(frame_of(log, number, before=cut_short[-1], commits=False))
    log.write_bytes(whole + b"".join(cut_short[1:]))
    assert look_at_log(killed) is LogState.TORN
    head = frame_of(log, 9, before=last, commits=True)[:FRAME_HEAD_OCTETS]
    log.write_bytes(whole + head + cut_short[1][FRAME_HEAD_OCTETS:] + b"".join(cut_short[2:]))
    assert look_at_log(killed) is LogState.TORN
    spool, aside = open_spool(killed, "gw-01", 1 << 24)
    assert aside is None
    assert spool.renewed is not None
    assert spool.batches == BATCHES
    spool.close()


def test_a_bit_that_flipped_in_the_checksum_of_a_commit_with_another_behind_it_is_seen(killed: Path) -> None:
    log, frame = killed.with_name("spool-wal"), FRAME_HEAD_OCTETS + PAGE_OCTETS
    whole = log.read_bytes()
    starts = range(HEAD_OCTETS, len(whole), frame)
    commits = [at for at in starts if any(whole[at + 4 : at + 8])]
    assert len(commits) > BATCHES
    for at in commits[:-2]:
        flip(log, at + 16)
        assert look_at_log(killed) is LogState.CUT, f"octet {at}"
        log.write_bytes(whole)


@pytest.mark.parametrize("gone", [False, True], ids=["emptied", "vanished"])
def test_a_file_that_is_empty_or_gone_beside_its_log_is_a_damaged_spool_and_its_log_is_rescued(
    killed: Path, *, gone: bool
) -> None:
    """SQLite would take it for a new one and remove the log."""
    if gone:
        killed.unlink()
    else:
        killed.write_bytes(b"")
    spool, aside = open_spool(killed, "gw-01", 1 << 24)
    assert aside is not None
    assert aside.exists()
    assert (spool.batches, spool.damaged) == (BATCHES, 1)
    spool.close()
