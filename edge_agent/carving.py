"""Rows out of a damaged SQLite file: page by page, whatever its tree says, from the file and from its log.

Each leaf of a table holds whole rows, or their beginnings and the numbers of the pages on which they go on. A leaf that
is unhurt gives its rows although the tree above it is gone. Whether a row is what was written is for the caller to say,
who has a checksum in each. Format: https://sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from edge_agent.spool_file import PAGE_OCTETS

TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A  # an index, or a table without rowid
LEAF_HEAD_OCTETS = 8
FIRST_PAGE_HEAD_OCTETS = 100
WAL_HEAD_OCTETS, FRAME_HEAD_OCTETS = 32, 24
INLINE_MAX = PAGE_OCTETS - 35
INLINE_MIN = (PAGE_OCTETS - 12) * 32 // 255 - 23
INDEX_INLINE_MAX = (PAGE_OCTETS - 12) * 64 // 255 - 23
ROW_OCTETS_MAX = 2 << 20
BLOB_FROM = 12  # serial type of an empty blob; even ones are blobs, odd ones texts
INTEGER_OCTETS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Row = tuple[int, list[int | bytes | None]]


class Carver:
    """Reads the pages of ``path`` and of the log beside it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        log = path.with_name(f"{path.name}-wal")
        self._log: IO[bytes] | None = log.open("rb") if log.exists() else None
        self._in_log: dict[int, int] = {}  # page → where its last version stands in the log
        for number, at in self._frames():
            self._in_log[number] = at

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._log is not None:
            self._log.close()

    def rows(self) -> Iterator[Row]:
        """Yield rowid and columns of what looks like a row: integers, blobs, None; the newest versions first."""
        for _, at in reversed(list(self._frames())):
            yield from self._rows_of(self._page_of_log(at), first=False)
        self._file.seek(0)
        number = 0
        while len(page := self._file.read(PAGE_OCTETS)) == PAGE_OCTETS:
            number += 1
            at = self._file.tell()
            yield from self._rows_of(page, first=number == 1)
            self._file.seek(at)

    def _frames(self) -> Iterator[tuple[int, int]]:
        if self._log is None:
            return
        size = self._log.seek(0, 2)
        for at in range(WAL_HEAD_OCTETS, size - FRAME_HEAD_OCTETS - PAGE_OCTETS + 1, FRAME_HEAD_OCTETS + PAGE_OCTETS):
            self._log.seek(at)
            yield struct.unpack(">I", self._log.read(4))[0], at + FRAME_HEAD_OCTETS

    def _page_of_log(self, at: int) -> bytes:
        assert self._log is not None
        self._log.seek(at)
        return self._log.read(PAGE_OCTETS)

    def _page(self, number: int, *, from_log: bool) -> bytes:
        if from_log and number in self._in_log:
            return self._page_of_log(self._in_log[number])
        self._file.seek((number - 1) * PAGE_OCTETS)
        return self._file.read(PAGE_OCTETS)

    def _rows_of(self, page: bytes, *, first: bool) -> Iterator[Row]:
        head = FIRST_PAGE_HEAD_OCTETS if first else 0
        if page[head] not in (TABLE_LEAF, INDEX_LEAF):
            return
        cell = self._cell if page[head] == TABLE_LEAF else _index_cell
        (count,) = struct.unpack_from(">H", page, head + 3)
        pointers = page[head + LEAF_HEAD_OCTETS : head + LEAF_HEAD_OCTETS + 2 * count]
        for (at,) in struct.iter_unpack(">H", pointers[: len(pointers) // 2 * 2]):
            for from_log in (True, False) if self._in_log else (False,):
                try:
                    rowid, record = cell(page, at, from_log=from_log)
                    yield rowid, _columns(record)
                except (IndexError, ValueError, struct.error):
                    continue

    def _cell(self, page: bytes, at: int, *, from_log: bool) -> tuple[int, bytes]:
        size, at = _varint(page, at)
        rowid, at = _varint(page, at)
        if not 0 < size <= ROW_OCTETS_MAX:
            raise ValueError(size)
        if size <= INLINE_MAX:
            return rowid, page[at : at + size]
        inline = INLINE_MIN + (size - INLINE_MIN) % (PAGE_OCTETS - 4)
        inline = inline if inline <= INLINE_MAX else INLINE_MIN
        record = bytearray(page[at : at + inline])
        (following,) = struct.unpack_from(">I", page, at + inline)
        while len(record) < size:
            if not following:
                raise ValueError("cut short")
            part = self._page(following, from_log=from_log)
            (following,) = struct.unpack_from(">I", part)
            record += part[4 : 4 + size - len(record)]
        return rowid, bytes(record)


def _index_cell(page: bytes, at: int, *, from_log: bool) -> tuple[int, bytes]:
    """Return a row that stands whole in a page of a table without rowid; its rowid is 0."""
    del from_log
    size, at = _varint(page, at)
    if not 0 < size <= INDEX_INLINE_MAX:
        raise ValueError(size)
    return 0, page[at : at + size]


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(9):
        octet = octets[at + place]
        if place == 8:
            return value << 8 | octet, at + 9
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            return value, at + place + 1
    raise AssertionError("the ninth octet ends it")


def _columns(record: bytes) -> list[int | bytes | None]:
    size, at = _varint(record, 0)
    kinds = []
    while at < size:
        kind, at = _varint(record, at)
        kinds.append(kind)
    if at != size:
        raise ValueError("the head does not end where it says")
    return list(_values(record, at, kinds))


def _values(record: bytes, at: int, kinds: Sequence[int]) -> Iterator[int | bytes | None]:
    for kind in kinds:
        if kind in INTEGER_OCTETS:
            octets = INTEGER_OCTETS[kind]
            yield int.from_bytes(record[at : at + octets], "big", signed=True)
        elif kind in (8, 9):
            octets = 0
            yield kind - 8
        elif kind == 0:
            octets = 0
            yield None
        elif kind >= BLOB_FROM:
            octets = (kind - BLOB_FROM) // 2
            yield record[at : at + octets]
        else:
            raise ValueError(f"serial type {kind}")
        at += octets
        if at > len(record):
            raise ValueError("cut short")
