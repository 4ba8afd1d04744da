"""Readings as NEM12, the Australian market's file of interval data.

Source: AEMO, Meter Data File Format Specification NEM12 & NEM13, version 1.06 (1 December 2017), section 4. A record
200 names a meter (NMI), a data stream and its unit; each 300 after it holds a day's intervals; 400 after that says the
quality of stretches of a day whose own quality is V; 500 is about transactions and left out here, as is NEM13.

A stream becomes the channel of its interval energies, stamped with the interval's end: E is what the network delivered
(1.0.1.29.0), B what it took (1.0.2.29.0), Q and K the same of reactive energy. The format has no time zone: the spec
says Eastern Standard Time, UTC+10; whoever uses it elsewhere says so. A quality's method ("E52") is kept as it stands.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.numbers import parse_decimals
from ingest_server.bulk.part import ChannelNumbers, Part
from ingest_server.bulk.row import Row, check_value, instant, instant_ms, known_meter
from protocols.errors import UsageError
from protocols.obis import UNIT_FACTORS
from protocols.telemetry.reading import Quality

STREAMS = {"E": "1.0.1.29.0", "B": "1.0.2.29.0", "Q": "1.0.3.29.0", "K": "1.0.4.29.0"}
LETTERS = {obis: letter for letter, obis in STREAMS.items()}
UNITS = {unit.upper(): UNIT_FACTORS[unit] for unit in ("Wh", "kWh", "MWh", "varh", "kvarh", "VAh", "kVAh")}
INTERVALS_MIN = (5, 15, 30)  # section 4.3
QUALITIES = {"A": Quality.ACTUAL, "E": Quality.ESTIMATED, "F": Quality.SUBSTITUTED, "S": Quality.SUBSTITUTED}
BEGINNING = "100,NEM12"
NO_VALUE, VARIES = "N", "V"
UTC_OFFSET_H = 10
LINE_CHARACTERS_MAX = 20_000  # 288 values of 15 digits and 4 decimals, with room
PART_VALUES = 65_536  # days are gathered up to so many values and then computed at once
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_METHOD = re.compile(r"[ANV]|[EFS][0-9]{2}")  # section 4.4: E, F and S have a method of two digits


@dataclass(frozen=True, slots=True)
class Stream:
    """What a record 200 says: whose values follow, in which unit, how long an interval is."""

    meter: str
    obis: str
    factor: int  # base units in one of the file's
    interval_min: int


@dataclass(slots=True)
class Day:
    """What a record 300 says, and the records 400 after it: values, and the quality of each."""

    line: int  # where the record 300 stands
    stream: Stream
    begin_ms: int
    values: str  # joined by commas
    count: int
    method: str
    stretches: list[tuple[int, int, str]]  # first and last interval, counted from 1, and their quality

    def methods(self) -> list[str]:
        """Return the quality of each interval."""
        found = [self.method] * self.count
        for first, last, method in self.stretches:
            found[first - 1 : last] = [method] * (last - first + 1)
        return found


def read_nem12(lines: Iterable[str], name: str, utc_offset_h: int = UTC_OFFSET_H) -> Iterator[Part]:
    """Yield the readings in ``lines``; raise :class:`UsageError` naming file, line, what is wrong and the cure."""
    days: list[Day] = []
    gathered = 0
    numbers = ChannelNumbers()
    for day in _days(lines, name, timezone(timedelta(hours=utc_offset_h))):
        days.append(day)
        gathered += day.count
        if gathered >= PART_VALUES:
            yield _part(days, name, numbers)
            days, gathered = [], 0
    if days:
        yield _part(days, name, numbers)


def _days(lines: Iterable[str], name: str, zone: timezone) -> Iterator[Day]:
    stream: Stream | None = None
    day: Day | None = None
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_CHARACTERS_MAX:
                raise UsageError(f"{len(line)} characters; a record has at most {LINE_CHARACTERS_MAX}")
            fields = line.rstrip("\r\n").split(",")
            kind = fields[0]
            if number == 1 and not line.startswith(BEGINNING):
                raise UsageError(f"found {line[:40]!r}; a NEM12 file begins with {BEGINNING}")
            if kind in {"200", "300", "900"} and day:
                yield day
                day = None
            match kind:
                case "200":
                    stream = _stream(fields)
                case "300":
                    day = _day(fields, stream, zone, number)
                case "400":
                    _qualify(fields, day)
                case "900":
                    return
                case "100" | "500":
                    pass
                case _:
                    raise UsageError(f"a record {kind[:20]!r}; expected 100, 200, 300, 400, 500 or 900")
    except UsageError as error:
        raise UsageError(f"{name}: line {number}: {error}") from error
    raise UsageError(f"{name}: line {number}: the file ends without a record 900; it was cut off: get it whole")


def _stream(fields: list[str]) -> Stream:
    if len(fields) < 9:
        raise UsageError(f"a record 200 of {len(fields)} fields; expected at least 9")
    suffix, unit = fields[4], fields[7].upper()
    if suffix[:1] not in STREAMS or unit not in UNITS:
        raise UsageError(f"stream {suffix[:10]!r} in {unit[:10]!r}: expected E, B, Q or K in {', '.join(UNITS)}")
    if fields[8] not in map(str, INTERVALS_MIN):
        raise UsageError(f"an interval of {fields[8][:10]!r} minutes; expected 5, 15 or 30")
    return Stream(known_meter(fields[1]), STREAMS[suffix[0]], UNITS[unit][1], int(fields[8]))


def _day(fields: list[str], stream: Stream | None, zone: timezone, line: int) -> Day:
    if stream is None:
        raise UsageError("a record 300 before any 200: whose values are these?")
    count = 1440 // stream.interval_min
    if len(fields) < count + 3:
        raise UsageError(
            f"{len(fields)} fields; a day of {stream.interval_min} minutes has {count} values, and a quality"
        )
    begin_ms = _begin_ms(fields[1], zone)
    return Day(line, stream, begin_ms, ",".join(fields[2 : count + 2]), count, _method(fields[count + 2]), [])


@lru_cache(maxsize=4096)
def _begin_ms(text: str, zone: timezone) -> int:
    """Return when a day begins that is written as 20251001; all of it must be within the bounds of readings."""
    try:
        begin = datetime.strptime(text, "%Y%m%d").replace(tzinfo=zone)
    except ValueError:
        raise UsageError(f"date {text[:20]!r}: expected one such as 20251001") from None
    instant_ms(begin + timedelta(days=1))
    return instant_ms(begin)


def _qualify(fields: list[str], day: Day | None) -> None:
    """Set the quality of a stretch of intervals."""
    if day is None or len(fields) < 4:
        raise UsageError("a record 400 without a day, or of less than 4 fields")
    if not (fields[1].isdecimal() and fields[2].isdecimal() and 1 <= int(fields[1]) <= int(fields[2]) <= day.count):
        raise UsageError(f"intervals {fields[1][:9]} to {fields[2][:9]}: the day has {day.count}, counted from 1")
    day.stretches.append((int(fields[1]), int(fields[2]), _method(fields[3])))


def _method(text: str) -> str:
    if not _METHOD.fullmatch(text):
        raise UsageError(f"quality {text[:10]!r}: expected A, N or V, or E, F or S with the two digits of its method")
    return text


def _part(days: Sequence[Day], name: str, numbers: ChannelNumbers) -> Part:
    """Return the readings of ``days``; intervals without a value are none."""
    counts = [day.count for day in days]
    first = np.concatenate(([0], np.cumsum(counts)))
    methods = _methods(days, first, name)
    kept = methods.astype("U1") != NO_VALUE
    numbers.begin_part()
    channel = np.repeat([numbers.number(day.stream.meter, day.stream.obis) for day in days], counts)
    interval_ms = np.repeat([day.stream.interval_min * 60_000 for day in days], counts)
    at_ms = np.repeat([day.begin_ms for day in days], counts)
    at_ms += (np.arange(len(channel)) - np.repeat(first[:-1], counts) + 1) * interval_ms
    value = _values(days, counts, first, kept, name)
    quality = np.zeros(len(channel), np.int16)
    for letter, meaning in QUALITIES.items():
        quality[methods.astype("U1") == letter] = int(meaning)
    texts, number = np.unique(methods[kept], return_inverse=True)
    flag = np.where(np.char.str_len(texts) > 1, np.arange(len(texts)) + 1, 0)[number].astype(np.int32)
    return Part(
        numbers.channels,
        channel[kept],
        at_ms[kept],
        value[kept],
        quality[kept],
        flag if flag.any() else None,
        texts.tolist(),
    )


def _methods(days: Sequence[Day], first: NDArray[np.int64], name: str) -> NDArray[np.str_]:
    """Return the quality of each interval; raise :class:`UsageError` where a day leaves one open."""
    methods = np.repeat(np.array([day.method for day in days], "U3"), [day.count for day in days])
    for day, begin in zip(days, first.tolist(), strict=False):
        if day.stretches:
            methods[begin : begin + day.count] = day.methods()
    (varies,) = np.nonzero(methods == VARIES)
    if len(varies):
        place = int(np.searchsorted(first, varies[0], "right")) - 1
        raise UsageError(
            f"{name}: line {days[place].line}: interval {varies[0] - first[place] + 1}: quality V, and no record 400 "
            "says which"
        )
    return methods


def _values(
    days: Sequence[Day], counts: Sequence[int], first: NDArray[np.int64], kept: NDArray[np.bool_], name: str
) -> NDArray[np.int64]:
    """Return the values in base units; what is not plain is read by itself, and refused if it is no whole number."""
    factor = np.repeat([day.stream.factor for day in days], counts)
    value, plain = parse_decimals(",".join(day.values for day in days), factor)
    (doubtful,) = np.nonzero(~plain & kept)
    for at in doubtful.tolist():
        place = int(np.searchsorted(first, at, "right")) - 1
        day = days[place]
        try:
            value[at] = _value(day.values.split(",")[at - first[place]], day.stream)
        except UsageError as error:
            raise UsageError(f"{name}: line {day.line}: {error}") from error
    return value


def _value(text: str, stream: Stream) -> int:
    value = Decimal(text) * stream.factor if _NUMBER.fullmatch(text) else None
    if value is None or value != value.to_integral_value():
        raise UsageError(f"value {text[:30]!r}: expected a number that is whole in Wh, varh or VAh")
    return check_value(int(value), stream.obis)


def write_nem12(rows: Iterable[Row], out: TextIO, made_at: datetime, utc_offset_h: int = UTC_OFFSET_H) -> int:
    """Write the interval energies among ``rows``, which ascend by meter, OBIS code and time; return how many.

    Raises
    ------
    UsageError
        For a reading that NEM12 can't carry: another kind of channel, a time off the intervals, an estimate whose
        method is not known.
    """
    zone = timezone(timedelta(hours=utc_offset_h))
    out.write(f"100,NEM12,{made_at.astimezone(zone):%Y%m%d%H%M},congto,congto\n")
    count = 0
    for (meter, obis), channel in groupby(rows, key=lambda row: row.reading[:2]):
        if obis not in LETTERS:
            raise UsageError(f"{meter} {obis}: NEM12 holds interval energies ({', '.join(LETTERS)}); export it as CSV")
        suffix = f"{LETTERS[obis]}1"
        unit = "KWH" if obis in {STREAMS["E"], STREAMS["B"]} else "KVARH"
        found = list(channel)
        interval_min = _interval_min(found)
        out.write(f"200,{meter},{suffix},{suffix},{suffix},N1,,{unit},{interval_min},\n")
        step = timedelta(minutes=interval_min)
        # An interval belongs to the day of its beginning.
        for on, of_day in groupby(found, key=lambda row: (_local(row, zone) - step).date()):
            count += _write_day(out, on, {_number(row, zone, step): row for row in of_day}, 1440 // interval_min)
    out.write("900\n")
    return count


def _interval_min(rows: list[Row]) -> int:
    """Return the longest interval that all times fit."""
    for interval_min in reversed(INTERVALS_MIN):
        if all(row.reading.measured_at_ms % (interval_min * 60_000) == 0 for row in rows):
            return interval_min
    meter, obis = rows[0].reading[:2]
    raise UsageError(f"{meter} {obis}: times are not on a grid of 5 minutes; export it as CSV")


def _local(row: Row, zone: timezone) -> datetime:
    return instant(row.reading.measured_at_ms).astimezone(zone)


def _number(row: Row, zone: timezone, step: timedelta) -> int:
    begin = _local(row, zone) - step
    return (begin - begin.replace(hour=0, minute=0)) // step + 1


def _write_day(out: TextIO, on: date, rows: dict[int, Row], count: int) -> int:
    values = [_kilo(rows[number].reading.value) if number in rows else "0" for number in range(1, count + 1)]
    methods = [_method_of(rows[number]) if number in rows else NO_VALUE for number in range(1, count + 1)]
    same = len(set(methods)) == 1
    out.write(f"300,{on:%Y%m%d},{','.join(values)},{methods[0] if same else VARIES},,,,\n")
    if not same:
        number = 1
        for method, stretch in groupby(methods):
            last = number + len(list(stretch)) - 1
            out.write(f"400,{number},{last},{method},,\n")
            number = last + 1
    return len(rows)


def _kilo(value: int) -> str:
    whole, rest = divmod(abs(value), 1000)
    return f"{'-' if value < 0 else ''}{whole}.{rest:03}"


def _method_of(row: Row) -> str:
    if row.flag is not None:
        return row.flag
    if row.reading.quality & (Quality.ESTIMATED | Quality.SUBSTITUTED):
        raise UsageError(f"{row.reading.meter}: an estimate without one of NEM12's methods; export it as CSV")
    if row.reading.quality:
        raise UsageError(f"{row.reading.meter}: NEM12 knows no quality {row.reading.quality}; export it as CSV")
    return "A"
