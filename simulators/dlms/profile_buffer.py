"""Profiles of a simulated meter: rows on a grid of times, computed when they are asked for.

A grid numbers the moments of capture: each half-hour, each midnight, the first of each month, each event. Registers are
exact for any time, so a row of sixty days ago costs nothing to keep. A meter captures whether or not it can be reached.

Source: DLMS UA 1000-1 (Blue Book), 4.3.6, class 7.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from protocols.dlms import axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, enum, octets
from protocols.dlms.responder import Found
from protocols.dlms.selective import CLOCK, CaptureObject, Entries, Range, decode_selection
from protocols.dlms.xdlms.references import Selection
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.obis import Obis
from simulators.dlms.cosem import CosemObject, Method, at_time, fixed

DAY_MS = 86_400_000
DEVIATION_MINUTES = -420  # from Vietnam's time to UTC
LOCAL_MS = -DEVIATION_MINUTES * 60_000
SORT_FIFO = 1
DATE_TIME_HEAD = bytes((Tag.OCTET_STRING, 12))


class Grid(Protocol):
    """The moments of capture, by number."""

    def number(self, at_ms: int) -> int:
        """Return the number of the newest moment not after a time; below all numbers when there is none."""

    def time(self, number: int) -> int:
        """Return a moment. [ms]"""


@dataclass(frozen=True, slots=True)
class Periods:
    """Every ``period_ms``, counted from midnight in Vietnam."""

    period_ms: int

    def number(self, at_ms: int) -> int:
        """Return the number of the newest moment not after a time."""
        return (at_ms + LOCAL_MS) // self.period_ms

    def time(self, number: int) -> int:
        """Return a moment. [ms]"""
        return number * self.period_ms - LOCAL_MS


class Months:
    """The first of each month, 00:00 in Vietnam."""

    def number(self, at_ms: int) -> int:
        """Return the number of the newest moment not after a time."""
        local = datetime.fromtimestamp((at_ms + LOCAL_MS) // 1000, UTC)
        return local.year * 12 + local.month - 1

    def time(self, number: int) -> int:
        """Return a moment. [ms]"""
        year, month = divmod(number, 12)
        return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000 - LOCAL_MS


@dataclass(frozen=True, slots=True)
class Moments:
    """Times as they happened; ``times`` gives them in order, up to a time."""

    times: Callable[[int], Sequence[int]]

    def number(self, at_ms: int) -> int:
        """Return the number of the newest moment not after a time."""
        return bisect_right(self.times(at_ms), at_ms) - 1

    def time(self, number: int) -> int:
        """Return a moment. [ms]"""
        return self.times(1 << 62)[number]


@dataclass(frozen=True, slots=True)
class ProfileBuffer:
    """A profile's rows. ``cell`` encodes a column at the moment with a number; the clock is encoded here."""

    obis: Obis
    capture_objects: tuple[CaptureObject, ...]
    grid: Grid
    cell: Callable[[CaptureObject, int, int], bytes]  # column, number, time [ms]
    rows_max: int
    since_ms: int = -1  # rows are after this time
    period_s: int = 0
    ignores_selection: bool = False
    methods: Mapping[int, Method] = field(default_factory=dict)

    def to_object(self) -> CosemObject:
        """Return the COSEM object."""
        captured = array(*(each.to_data() for each in self.capture_objects))
        return CosemObject(
            class_id=7,
            version=1,
            obis=self.obis,
            reads={
                2: self.buffer,
                3: fixed(captured),
                4: fixed(double_long_unsigned(self.period_s)),
                5: fixed(enum(SORT_FIFO)),
                6: fixed(CLOCK.to_data()),
                7: at_time(lambda at_ms: double_long_unsigned(len(self.kept(at_ms)))),
                8: fixed(double_long_unsigned(self.rows_max)),
            },
            methods=self.methods,
            selective=frozenset((2,)),
        )

    def kept(self, at_ms: int) -> range:
        """Return the numbers of the rows kept at a time."""
        newest, before = self.grid.number(at_ms), self.grid.number(self.since_ms)
        return range(max(before + 1, newest - self.rows_max + 1), newest + 1)

    def buffer(self, selection: Selection | None, at_ms: int) -> Found:
        """Return the rows selected, encoded."""
        numbers, columns = self.kept(at_ms), self.capture_objects
        if selection is not None and not self.ignores_selection:
            try:
                wanted = decode_selection(selection)
                if isinstance(wanted, Entries):
                    numbers, columns = self._by_entry(wanted, numbers)
                else:
                    numbers, columns = self._by_range(wanted, numbers)
            except ProtocolError:
                return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        rows = [self._row(number, columns) for number in numbers]
        return bytes((Tag.ARRAY,)) + axdr.encode_length(len(rows)) + b"".join(rows)

    def _by_range(self, wanted: Range, kept: range) -> tuple[range, tuple[CaptureObject, ...]]:
        if wanted.restricting != CLOCK or any(column not in self.capture_objects for column in wanted.columns):
            raise RemoteProtocolError("a range goes by the clock, and columns must be captured")
        start_ms, end_ms = (_milliseconds(bound) for bound in (wanted.first, wanted.last))
        first = max(kept.start, self.grid.number(start_ms - 1) + 1)
        return range(first, min(kept.stop, self.grid.number(end_ms) + 1)), wanted.columns or self.capture_objects

    def _by_entry(self, wanted: Entries, kept: range) -> tuple[range, tuple[CaptureObject, ...]]:
        """Rows and columns count from 1; the end 0 is the last one."""
        if wanted.first < 1 or wanted.first_column < 1:
            raise RemoteProtocolError("entries and columns count from 1")
        columns = self.capture_objects[wanted.first_column - 1 : wanted.last_column or None]
        return kept[wanted.first - 1 : wanted.last or None], columns

    def _row(self, number: int, columns: tuple[CaptureObject, ...]) -> bytes:
        at_ms = self.grid.time(number)
        parts = [bytes((Tag.STRUCTURE, len(columns)))]
        for column in columns:
            clock = column is CLOCK or column == CLOCK
            parts.append(DATE_TIME_HEAD + clock_octets(at_ms) if clock else self.cell(column, number, at_ms))
        return b"".join(parts)


def clock_octets(at_ms: int) -> bytes:
    """Return the date-time of a meter's clock in Vietnam."""
    return encode_date_time(datetime.fromtimestamp(at_ms // 1000, UTC), DEVIATION_MINUTES)


def clock_value(at_ms: int) -> Data:
    """Return the clock's time, attribute 2 of class 8."""
    return octets(clock_octets(at_ms))


def _milliseconds(bound: Data) -> int:
    return int(date_time_of(bound).at(DEVIATION_MINUTES).timestamp()) * 1000
