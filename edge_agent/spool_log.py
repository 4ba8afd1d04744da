"""Whether the log beside a spool's file is whole, before SQLite opens it.

SQLite believes its log up to the first frame whose checksum is wrong, and takes the rest for a write that the power cut
short. After a bit has flipped in the log that is a mistake: what was committed behind it is forgotten in silence, and
numbers of batches would be given a second time. Two things tell the one from the other: behind a flipped bit there are
frames that are whole by the checksum which the frame before them carries, and a commit lies between.

SQLite writes a frame's head, then its page. A process that dies between the two leaves a head that may say commit, and
behind it there may be the rest of a transaction that was cut short before: whole frames, none of which commits. So a
frame that says commit counts only if it is whole itself, if the frame behind it goes on from it, or if another commit
follows.

Format: https://sqlite.org/walformat.html, sections 1.1 to 1.3; https://sqlite.org/fileformat2.html, section 4.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import IO, NamedTuple

from edge_agent.spool_file import CHECK_OCTETS_MAX, PAGE_OCTETS

HEAD_OCTETS, FRAME_HEAD_OCTETS = 32, 24
MAGIC_LITTLE, MAGIC_BIG = 0x377F0682, 0x377F0683
WORD = 0xFFFFFFFF


class LogState(Enum):
    """What is behind the last commit that SQLite will find in the log."""

    WHOLE = "whole"  # nothing
    TORN = "torn"  # a commit that the power may have cut short, or whose last octets are damaged
    CUT = "cut"  # later commits: something between is damaged


class _Frame(NamedTuple):
    commits: bool
    salts: int
    checksum: tuple[int, int]
    summed: bytes  # what its checksum covers


def look_at_log(path: Path) -> LogState:
    """Return how the log of the spool at ``path`` is. One that is too large to be looked at passes for whole."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not HEAD_OCTETS < log.stat().st_size <= CHECK_OCTETS_MAX:
        return LogState.WHOLE
    with log.open("rb") as file:
        head = file.read(HEAD_OCTETS)
        if not any(head):
            return LogState.TORN  # its first write did not come to the disk
        magic, salts = int.from_bytes(head[:4], "big"), int.from_bytes(head[16:24], "big")
        order = "<" if magic == MAGIC_LITTLE else ">"
        checksum = struct.unpack(">II", head[24:])
        if magic not in (MAGIC_LITTLE, MAGIC_BIG) or _add(head[:24], (0, 0), order) != checksum:
            return LogState.CUT
        return _follow(_frames(file), salts, (checksum[0], checksum[1]), order)


def _follow(frames: Iterator[_Frame], salts: int, checksum: tuple[int, int], order: str) -> LogState:
    believed, open_end = True, False
    claimed = proven = before_claims = False  # a commit behind what is believed; whether the last frame says commit
    for frame in frames:
        if (frame.salts ^ salts).bit_count() > 1:  # of an earlier log; one bit is a flipped one
            believed = before_claims = False
            checksum = frame.checksum
            continue
        follows = _add(frame.summed, checksum, order) == frame.checksum
        believed = believed and follows and frame.salts == salts
        if believed:
            open_end = not frame.commits
        else:
            if follows and (proven or before_claims or (claimed and frame.commits)):
                return LogState.CUT
            open_end = True
            before_claims = frame.commits
            claimed = claimed or frame.commits
            proven = proven or (frame.commits and follows)
        checksum = frame.checksum
    return LogState.TORN if open_end else LogState.WHOLE


def _frames(file: IO[bytes]) -> Iterator[_Frame]:
    while len(data := file.read(FRAME_HEAD_OCTETS + PAGE_OCTETS)) == FRAME_HEAD_OCTETS + PAGE_OCTETS:
        _, size, salts, first, second = struct.unpack_from(">IIQII", data)
        yield _Frame(size > 0, salts, (first, second), data[:8] + data[FRAME_HEAD_OCTETS:])


def _add(data: bytes, checksum: tuple[int, int], order: str) -> tuple[int, int]:
    """Return the checksum over pairs of 32-bit words, continued from ``checksum``."""
    first, second = checksum
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & WORD
        second = (second + two + first) & WORD
    return first, second
