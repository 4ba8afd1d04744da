"""A meter's load profile, 1.0.99.1.0.255: clock, status and the billing registers at each interval boundary.

The buffer is not kept: registers are exact for any time, so a row of sixty days ago is computed when it is asked for.
A meter captures whether or not anybody can reach it.

Source: DLMS UA 1000-1 (Blue Book), 4.3.6, class 7.
"""

import struct
from datetime import UTC, datetime

from protocols.dlms import axdr
from protocols.dlms.codes import DataAccessResult
from protocols.dlms.cosem_time import date_time_of, encode_date_time
from protocols.dlms.data import Data, Tag, array, double_long_unsigned, enum, octets, unsigned
from protocols.dlms.selective import CLOCK, CaptureObject, Entries, Range, decode_selection
from protocols.dlms.xdlms.references import Selection
from protocols.errors import ProtocolError, RemoteProtocolError
from protocols.meters.model import CosemAttribute, Group, LoadProfile
from protocols.obis import Obis
from simulators.meter import SimulatedMeter

DAYS_KEPT = 60
DAY_MS = 86_400_000
DEVIATION_MINUTES = -420  # from Vietnam's time to UTC
STATUS = CaptureObject(1, Obis(0, 0, 96, 10, 1), 2)  # the status register of profile 1 (Blue Book 6.2.46)
SORT_FIFO = 1

_DATE_TIME_HEAD = bytes((Tag.OCTET_STRING, 12))
_STATUS_GOOD = bytes((Tag.UNSIGNED, 0))
_NUMBER = struct.Struct(">BI")  # double-long-unsigned with its tag


class LoadProfileBuffer:
    """The attributes of one meter's load profile."""

    def __init__(self, meter: SimulatedMeter, profile: LoadProfile) -> None:
        self._meter = meter
        self._period_ms = profile.interval_ms
        self._rows_max = DAYS_KEPT * DAY_MS // self._period_ms
        registers = [
            CaptureObject(each.at.class_id, each.obis, each.at.attribute)
            for each in meter.model.measurements
            if each.group is Group.BILLING and isinstance(each.at, CosemAttribute)
        ]
        self.capture_objects: tuple[CaptureObject, ...] = (CLOCK, STATUS, *registers)

    def attribute(self, index: int, selection: Selection | None, at_ms: int) -> Data | bytes | DataAccessResult:
        """Return an attribute at a time; attribute 2, the buffer, as encoded octets."""
        if index == 2:
            return self._buffer(selection, at_ms)
        if selection is not None:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        first, last = self._kept(at_ms)
        match index:
            case 3:
                return array(*(each.to_data() for each in self.capture_objects))
            case 4:
                return double_long_unsigned(self._period_ms // 1000)
            case 5:
                return enum(SORT_FIFO)
            case 6:
                return CLOCK.to_data()
            case 7:
                return double_long_unsigned(last - first + 1)
            case 8:
                return double_long_unsigned(self._rows_max)
        return DataAccessResult.READ_WRITE_DENIED

    def _kept(self, at_ms: int) -> tuple[int, int]:
        """Return the numbers of the oldest and newest row, in periods since 1970; the newest is before if empty."""
        newest = at_ms // self._period_ms
        installed = self._meter.installed_at_ms // self._period_ms
        return max(installed + 1, newest - self._rows_max + 1), max(newest, installed)

    def _buffer(self, selection: Selection | None, at_ms: int) -> bytes | DataAccessResult:
        first, last = self._kept(at_ms)
        columns = self.capture_objects
        if selection is not None:
            try:
                wanted = decode_selection(selection)
                if isinstance(wanted, Entries):
                    first, last, columns = self._by_entry(wanted, first, last)
                else:
                    first, last, columns = self._by_range(wanted, first, last)
            except ProtocolError:
                return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        rows = [self._row(number * self._period_ms, columns) for number in range(first, last + 1)]
        return bytes((Tag.ARRAY,)) + axdr.encode_length(len(rows)) + b"".join(rows)

    def _by_range(self, wanted: Range, first: int, last: int) -> tuple[int, int, tuple[CaptureObject, ...]]:
        if wanted.restricting != CLOCK or any(column not in self.capture_objects for column in wanted.columns):
            raise RemoteProtocolError("a range goes by the clock, and columns must be captured")
        start_ms, end_ms = (_milliseconds(bound) for bound in (wanted.first, wanted.last))
        return (
            max(first, -(-start_ms // self._period_ms)),
            min(last, end_ms // self._period_ms),
            wanted.columns or self.capture_objects,
        )

    def _by_entry(self, wanted: Entries, first: int, last: int) -> tuple[int, int, tuple[CaptureObject, ...]]:
        """Rows and columns count from 1; the end 0 is the last one."""
        if wanted.first < 1 or wanted.first_column < 1:
            raise RemoteProtocolError("entries and columns count from 1")
        end = last if wanted.last == 0 else min(last, first + wanted.last - 1)
        columns = self.capture_objects[wanted.first_column - 1 : wanted.last_column or None]
        return first + wanted.first - 1, end, columns

    def _row(self, at_ms: int, columns: tuple[CaptureObject, ...]) -> bytes:
        parts = [bytes((Tag.STRUCTURE, len(columns)))]
        for column in columns:
            if column is CLOCK or column == CLOCK:
                parts.append(_DATE_TIME_HEAD + clock_octets(at_ms))
            elif column == STATUS:
                parts.append(_STATUS_GOOD)
            else:
                value = self._meter.value(column.obis, at_ms) & 0xFFFF_FFFF  # a register of 32 bits rolls over
                parts.append(_NUMBER.pack(Tag.DOUBLE_LONG_UNSIGNED, value))
        return b"".join(parts)


def clock_octets(at_ms: int) -> bytes:
    """Return the date-time of a meter's clock in Vietnam."""
    return encode_date_time(datetime.fromtimestamp(at_ms // 1000, UTC), DEVIATION_MINUTES)


def status_value() -> Data:
    """Return the value of the status register: nothing is wrong."""
    return unsigned(0)


def clock_value(at_ms: int) -> Data:
    """Return the clock's time, attribute 2 of class 8."""
    return octets(clock_octets(at_ms))


def _milliseconds(bound: Data) -> int:
    return int(date_time_of(bound).at(DEVIATION_MINUTES).timestamp()) * 1000
