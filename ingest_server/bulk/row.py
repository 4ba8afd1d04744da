"""A reading as a file has it."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from protocols.errors import UsageError
from protocols.obis import Obis
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, VALUE_MAX
from protocols.telemetry.reading import Reading
from protocols.telemetry.topics import check_identifier

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Row(NamedTuple):
    """A reading, and what the file's own format says of its quality beyond our flags."""

    reading: Reading
    flag: str | None = None


def make_reading(meter: str, obis: str, at: datetime, value: int, quality: int) -> Reading:
    """Return the reading; raise :class:`UsageError` if anything in it lies outside the contract's bounds."""
    at_ms, rest = divmod(at - EPOCH, MILLISECOND)
    if rest or not AT_MS_MIN <= at_ms <= AT_MS_MAX:
        raise UsageError(f"time {at.isoformat()}: expected whole milliseconds from 2000 to 2100")
    if abs(value) > VALUE_MAX:
        raise UsageError(f"value {value}: expected one within ±(2⁶² − 1)")
    return Reading(_meter(meter), _canonical(obis), at_ms, value, quality)


def instant(at_ms: int) -> datetime:
    """Return the instant of so many milliseconds since 1970, in UTC."""
    return EPOCH + at_ms * MILLISECOND


@lru_cache(maxsize=65_536)
def _meter(text: str) -> str:
    return check_identifier(text, "meter")


@lru_cache(maxsize=1024)
def _canonical(text: str) -> str:
    return str(Obis.parse(text))
