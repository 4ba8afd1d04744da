"""Selective access to a profile's buffer: by range and by entry (Blue Book 4.3.6)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from protocols.dlms.cosem_time import date_time_data, encode_date_time
from protocols.dlms.data import (
    Data,
    array,
    double_long_unsigned,
    integer,
    integer_of,
    items_of,
    long_unsigned,
    octets,
    octets_of,
    structure,
)
from protocols.dlms.quirks import STRICT, Quirks, RangeDeviation
from protocols.dlms.xdlms.references import Selection
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.obis import Obis

BY_RANGE, BY_ENTRY = 1, 2
CLOCK_OBIS = Obis(0, 0, 1, 0, 0)
CLOCK_CLASS = 8


@dataclass(frozen=True, slots=True)
class CaptureObject:
    """A column of a profile: attribute ``index`` of an object; ``data_index`` 0 is the whole attribute."""

    class_id: int
    obis: Obis
    index: int
    data_index: int = 0

    def to_data(self) -> Data:
        """Return the capture object definition."""
        return structure(
            long_unsigned(self.class_id),
            octets(self.obis.to_octets()),
            integer(self.index),
            long_unsigned(self.data_index),
        )


CLOCK = CaptureObject(CLOCK_CLASS, CLOCK_OBIS, 2)


def capture_object_of(data: Data) -> CaptureObject:
    """Decode a capture object definition; RemoteProtocolError when it is none."""
    class_id, obis, index, data_index = items_of(data, 4)
    logical_name = octets_of(obis)
    if len(logical_name) != 6:
        raise RemoteProtocolError(f"a logical name of {len(logical_name)} octets, expected 6")
    return CaptureObject(
        integer_of(class_id), Obis.from_octets(logical_name), integer_of(index), integer_of(data_index)
    )


@dataclass(frozen=True, slots=True)
class Range:
    """Rows from ``first`` to ``last``, both included, by the column ``restricting``; no ``columns`` means all."""

    first: Data
    last: Data
    restricting: CaptureObject = CLOCK
    columns: tuple[CaptureObject, ...] = ()

    def selection(self) -> Selection:
        """Return the range descriptor."""
        columns = array(*(column.to_data() for column in self.columns))
        return Selection(BY_RANGE, structure(self.restricting.to_data(), self.first, self.last, columns))


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows ``first`` to ``last``, counted from 1; ``last`` 0 is the end. Columns likewise."""

    first: int
    last: int = 0
    first_column: int = 1
    last_column: int = 0

    def selection(self) -> Selection:
        """Return the entry descriptor."""
        rows = (double_long_unsigned(self.first), double_long_unsigned(self.last))
        return Selection(BY_ENTRY, structure(*rows, long_unsigned(self.first_column), long_unsigned(self.last_column)))


def decode_selection(selection: Selection) -> Range | Entries:
    """Decode what a client selected; RemoteProtocolError when it is neither range nor entries."""
    if selection.selector == BY_RANGE:
        restricting, first, last, columns = items_of(selection.parameters, 4)
        chosen = tuple(capture_object_of(column) for column in items_of(columns))
        return Range(first, last, capture_object_of(restricting), chosen)
    if selection.selector == BY_ENTRY:
        return Entries(*(integer_of(number) for number in items_of(selection.parameters, 4)))
    raise RemoteProtocolError(f"selector {selection.selector}, expected 1 (range) or 2 (entries)")


def range_of_times(
    from_at: datetime,
    to_at: datetime,
    *,
    deviation_minutes: int = -420,
    columns: tuple[CaptureObject, ...] = (),
    restricting: CaptureObject = CLOCK,
    quirks: Quirks = STRICT,
) -> Range:
    """Return the range of rows captured from ``from_at`` to ``to_at``, both included.

    ``deviation_minutes`` leads from the meter's local time to UTC (-420 in Vietnam); whether it is written is the
    quirk ``range_deviation``. LocalProtocolError when the range is empty.
    """
    if from_at > to_at:
        raise LocalProtocolError(f"a range from {from_at} to {to_at} is empty")
    said = quirks.range_deviation is RangeDeviation.GIVEN
    sign = -1 if quirks.inverted_deviation else 1

    def bound(at: datetime) -> Data:
        local = encode_date_time(at, deviation_minutes, specify_deviation=said)
        if said and sign < 0:
            local = local[:9] + (-deviation_minutes).to_bytes(2, "big", signed=True) + local[11:]
        return date_time_data(local)

    return Range(bound(from_at), bound(to_at), restricting, columns)


def split_by_days(from_at: datetime, to_at: datetime, days_max: int | None) -> list[tuple[datetime, datetime]]:
    """Return the ranges to ask one after the other: at most ``days_max`` days each, both ends included, no overlap."""
    if days_max is None:
        return [(from_at, to_at)]
    if days_max < 1:
        raise LocalProtocolError(f"{days_max} days per request, expected at least 1")
    ranges = []
    step, tick = timedelta(days=days_max), timedelta(seconds=1)
    start = from_at
    while start <= to_at:
        end = min(start + step - tick, to_at)
        ranges.append((start, end))
        start = end + tick
    return ranges
