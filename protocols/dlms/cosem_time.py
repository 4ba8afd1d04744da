"""COSEM date-times: twelve octets that may leave things open (Blue Book 4.1.6.1).

Year (2), month, day, weekday, hour, minute, second, hundredths, deviation (2, minutes from local time *to* UTC:
UTC+7 is -420), clock status. FF (FFFF, 8000) means not specified; months FD and FE, days FD and FE are rules.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from protocols.dlms.data import Data, Tag, octets
from protocols.errors import LocalProtocolError, RemoteProtocolError

DATE_TIME_OCTETS = 12
DEVIATION_UNSPECIFIED = -0x8000
DEVIATION_MINUTES_MAX = 840  # Blue Book 4.1.6.1: -720 to 840; meters with the sign inverted need the same either way
STATUS_UNSPECIFIED = 0xFF
STATUS_INVALID, STATUS_DOUBTFUL, STATUS_OTHER_BASE, STATUS_INVALID_STATUS, STATUS_DST = 0x01, 0x02, 0x04, 0x08, 0x80
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


@dataclass(frozen=True, slots=True)
class CosemDateTime:
    """A date-time as the meter said it; what is not specified is None. ``status`` is the clock status octet."""

    year: int | None
    month: int | None
    day: int | None
    weekday: int | None
    hour: int | None
    minute: int | None
    second: int | None
    hundredths: int | None
    deviation_minutes: int | None
    status: int

    def at(
        self, assumed_deviation_minutes: int | None = None, *, inverted: bool = False, winter: bool = False
    ) -> datetime:
        """Return the instant in UTC, to the second; a second not specified is 0.

        Parameters
        ----------
        assumed_deviation_minutes
            Taken when the meter did not say its deviation; minutes from local time to UTC, -420 in Vietnam.
        inverted
            The meter's deviation has the other sign (``Quirks.inverted_deviation``).
        winter
            The meter's deviation leaves summer time out, which its status tells (``Quirks.winter_deviation``).

        Raises
        ------
        RemoteProtocolError
            When it is not one instant: a wildcard, a rule, an impossible date, or no deviation.
        """
        deviation = self.true_deviation(assumed_deviation_minutes, inverted=inverted, winter=winter)
        year, month, day, hour, minute = self.year, self.month, self.day, self.hour, self.minute
        if year is None or month is None or day is None or hour is None or minute is None or deviation is None:
            raise RemoteProtocolError(f"{self} is not one instant; expected a date, a time and a deviation")
        try:
            local = datetime(year, month, day, hour, minute, self.second or 0, tzinfo=UTC)
            return local + timedelta(minutes=deviation)
        except (ValueError, OverflowError) as error:
            raise RemoteProtocolError(f"{self} is no date: {error}") from error

    def true_deviation(
        self, assumed_deviation_minutes: int | None = None, *, inverted: bool = False, winter: bool = False
    ) -> int | None:
        """Return the minutes that lead from this local time to UTC; the parameters are those of :meth:`at`."""
        deviation = self.deviation_minutes
        if deviation is None:
            deviation = assumed_deviation_minutes
        elif inverted:
            deviation = -deviation
        if winter and deviation is not None and self.status != STATUS_UNSPECIFIED and self.status & STATUS_DST:
            deviation -= 60
        return deviation

    def __str__(self) -> str:
        def two(value: int | None) -> str:
            return "**" if value is None else f"{value:02d}"

        year = "****" if self.year is None else f"{self.year:04d}"
        clock = f"{two(self.hour)}:{two(self.minute)}:{two(self.second)}"
        deviation = "" if self.deviation_minutes is None else f" deviation {self.deviation_minutes}"
        return f"{year}-{two(self.month)}-{two(self.day)} {clock}{deviation}"


def decode_date_time(octet_string: bytes) -> CosemDateTime:
    """Decode twelve octets; RemoteProtocolError for any other number, or a deviation that is none."""
    if len(octet_string) != DATE_TIME_OCTETS:
        raise RemoteProtocolError(f"a date-time of {len(octet_string)} octets, expected {DATE_TIME_OCTETS}")
    year = int.from_bytes(octet_string[:2], "big")
    month, day, weekday, hour, minute, second, hundredths = (
        None if octet == 0xFF else octet for octet in octet_string[2:9]
    )
    deviation = int.from_bytes(octet_string[9:11], "big", signed=True)
    if deviation != DEVIATION_UNSPECIFIED and abs(deviation) > DEVIATION_MINUTES_MAX:
        raise RemoteProtocolError(f"a deviation of {deviation} minutes, expected -840 to 840", offset=9)
    return CosemDateTime(
        year=None if year == 0xFFFF else year,
        month=month,
        day=day,
        weekday=weekday,
        hour=hour,
        minute=minute,
        second=second,
        hundredths=hundredths,
        deviation_minutes=None if deviation == DEVIATION_UNSPECIFIED else deviation,
        status=octet_string[11],
    )


def encode_date_time(
    at: datetime, deviation_minutes: int | None = -420, *, specify_deviation: bool = True, status: int = 0
) -> bytes:
    """Return the twelve octets of the instant ``at`` in local time.

    Parameters
    ----------
    at
        An aware datetime.
    deviation_minutes
        Minutes from local time to UTC; -420 is Vietnam. None: ``at`` is written as UTC without a deviation.
    specify_deviation
        Write the deviation; else 0x8000, for meters that refuse one.
    status
        The clock status octet.
    """
    if at.tzinfo is None:
        raise LocalProtocolError(f"{at} has no time zone; expected an aware datetime")
    local = at.astimezone(UTC) - timedelta(minutes=deviation_minutes or 0)
    said = deviation_minutes if specify_deviation and deviation_minutes is not None else DEVIATION_UNSPECIFIED
    parts = (local.month, local.day, local.isoweekday(), local.hour, local.minute, local.second, 0)
    return local.year.to_bytes(2, "big") + bytes(parts) + said.to_bytes(2, "big", signed=True) + bytes((status,))


def date_time_data(date_time: bytes) -> Data:
    """Return twelve octets as the octet-string most attributes hold."""
    if len(date_time) != DATE_TIME_OCTETS:
        raise LocalProtocolError(f"a date-time of {len(date_time)} octets, expected {DATE_TIME_OCTETS}")
    return octets(date_time)


def date_time_of(data: Data) -> CosemDateTime:
    """Return the date-time in an octet-string or a date-time; RemoteProtocolError for anything else."""
    if data.tag in (Tag.OCTET_STRING, Tag.DATE_TIME) and isinstance(data.content, bytes):
        return decode_date_time(data.content)
    raise RemoteProtocolError(f"found {data.tag.word} where a date-time was expected")


def epoch_seconds(
    date_times: Iterable[bytes],
    assumed_deviation_minutes: int | None = None,
    *,
    inverted: bool = False,
    winter: bool = False,
) -> list[int]:
    """Return the instants of a column as seconds since 1970 UTC, fast: each day is decoded once.

    Raises RemoteProtocolError where :meth:`CosemDateTime.at` would.
    """
    days: dict[bytes, int] = {}
    column: list[int] = []
    for date_time in date_times:
        key = date_time[:4] + date_time[9:]
        start = days.get(key)
        if start is None:
            midnight = date_time[:5] + b"\0\0\0\0" + date_time[9:]
            instant = decode_date_time(midnight).at(assumed_deviation_minutes, inverted=inverted, winter=winter)
            start = days[key] = int(instant.timestamp())
        if len(date_time) != DATE_TIME_OCTETS or date_time[5] > 23 or date_time[6] > 59:
            raise RemoteProtocolError(f"{date_time.hex()} has no time of day")
        second = date_time[7]
        column.append(start + date_time[5] * 3600 + date_time[6] * 60 + (second if second < 60 else 0))
    return column


def zone_of(deviation_minutes: int) -> timezone:
    """Return the fixed zone whose local time needs ``deviation_minutes`` to reach UTC."""
    return timezone(timedelta(minutes=-deviation_minutes))
