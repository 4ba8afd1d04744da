"""Times as RFC 3339 writes them, out of the octets of a text, all at once by NumPy."""

import calendar
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.numbers import ZERO, Mask, Octets, Places, take, two_digits
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN

YEAR_FIRST, YEAR_LAST = 2000, 2100
UTC_LENGTH = len("2025-09-30T17:00:00Z")
OFFSET_LENGTH = len("2025-09-30T17:00:00+07:00")
MILLISECOND_LENGTH = len("2025-09-30T17:00:00.000Z")
_SIGNS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}
_DIGITS = [place for place in range(19) if place not in _SIGNS]


def parse_times(octets: Octets, begin: Places, end: Places) -> tuple[NDArray[np.int64], Mask]:
    """Return the milliseconds since 1970 UTC of the times from ``begin`` to ``end`` each, and which are plain.

    Plain are whole seconds of 2000 to 2100 with ``Z`` or an offset in hours and minutes, and milliseconds with ``Z``.
    """
    length = end - begin
    known = np.isin(length, (UTC_LENGTH, OFFSET_LENGTH, MILLISECOND_LENGTH))
    plain = known & (end < len(octets))
    at_ms = np.zeros(len(begin), np.int64)
    (chosen,) = np.nonzero(plain)
    if not len(chosen):
        return at_ms, plain
    found, fits = _seconds_ms(take(octets, begin[chosen], UTC_LENGTH - 1))
    plain[chosen], at_ms[chosen] = fits, found
    rest = begin + UTC_LENGTH - 1
    plain &= (length != UTC_LENGTH) | (octets[np.minimum(rest, len(octets) - 1)] == ord("Z"))
    (offset,) = np.nonzero(plain & (length == OFFSET_LENGTH))
    if len(offset):
        at_ms[offset], plain[offset] = _less_offset(at_ms[offset], take(octets, rest[offset], 6))
    (fraction,) = np.nonzero(plain & (length == MILLISECOND_LENGTH))
    if len(fraction):
        text = take(octets, rest[fraction], 5)
        digits = text - np.uint8(ZERO)
        plain[fraction] = (text[:, 0] == ord(".")) & (text[:, 4] == ord("Z")) & (digits[:, 1:4] <= 9).all(axis=1)
        at_ms[fraction] += digits[:, 1].astype(np.int64) * 100 + two_digits(digits, 2)
    return at_ms, plain & (at_ms >= AT_MS_MIN) & (at_ms <= AT_MS_MAX)


def _seconds_ms(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Mask]:
    """Return the milliseconds of rows of ``2025-09-30T17:00:00``, taken as UTC, and which rows are so."""
    digits = text - np.uint8(ZERO)
    plain = (digits[:, _DIGITS] <= 9).all(axis=1)
    for place, sign in _SIGNS.items():
        plain &= text[:, place] == ord(sign)
    year = two_digits(digits, 0) * 100 + two_digits(digits, 2)
    month, day, hour, minute, second = (two_digits(digits, place) for place in (5, 8, 11, 14, 17))
    plain &= (year >= YEAR_FIRST) & (year <= YEAR_LAST) & (month >= 1) & (month <= 12)
    starts, lengths = _months()
    number = np.where(plain, (year - YEAR_FIRST) * 12 + month - 1, 0)
    plain &= (day >= 1) & (day <= lengths[number]) & (hour <= 23) & (minute <= 59) & (second <= 59)
    return (((starts[number] + day - 1) * 24 + hour) * 60 + minute) * 60_000 + second * 1000, plain


def _months() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each month from January 2000 the day since 1970 on which it begins, and how many days it has."""
    lengths = [
        calendar.monthrange(year, month)[1] for year in range(YEAR_FIRST, YEAR_LAST + 1) for month in range(1, 13)
    ]
    first = (datetime(YEAR_FIRST, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    starts = first + np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return starts.astype(np.int64), np.array(lengths, np.int64)


def _less_offset(at_ms: NDArray[np.int64], text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Mask]:
    """Return the instants, given local times and their offsets ``+07:00``, and which offsets are so."""
    digits = text - np.uint8(ZERO)
    hour, minute = two_digits(digits, 1), two_digits(digits, 4)
    east, west = text[:, 0] == ord("+"), text[:, 0] == ord("-")
    plain = (east | west) & (text[:, 3] == ord(":")) & (digits[:, [1, 2, 4, 5]] <= 9).all(axis=1)
    plain &= (hour <= 23) & (minute <= 59)
    return at_ms - np.where(east, 1, -1) * (hour * 60 + minute) * 60_000, plain
