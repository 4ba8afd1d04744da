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
ELECTRICITY, TIME_INTEGRAL = 1, 8
NET = (16, 36, 56, 76)


class Row(NamedTuple):
    """A reading, and what the file's own format says of its quality beyond our flags."""

    reading: Reading
    flag: str | None = None


def instant_ms(at: datetime) -> int:
    """Return the milliseconds since 1970; raise :class:`UsageError` if they are none that a reading may have."""
    at_ms, rest = divmod(at - EPOCH, MILLISECOND)
    if rest or not AT_MS_MIN <= at_ms <= AT_MS_MAX:
        raise UsageError(f"time {at.isoformat()}: expected whole milliseconds from 2000 to 2100")
    return at_ms


def check_value(value: int, obis: str) -> int:
    """Return ``value``; raise :class:`UsageError` if no reading of this OBIS code may have it."""
    if not -VALUE_MAX <= value <= VALUE_MAX:
        raise UsageError(f"value {value}: expected one within ±(2⁶² − 1)")
    if value < 0 and counts_up(obis):
        raise UsageError(
            f"value {value}: {obis} is a register that counts up from 0 and is never below; read the meter again, or "
            "correct the OBIS code"
        )
    return value


@lru_cache(maxsize=1024)
def counts_up(obis: str) -> bool:
    """Return whether an OBIS code is of a register that nothing turns back; power, net sums and others may be negative.

    Group D = 8 is a time integral from the first day on; C = 16, 36, 56 and 76 are import less export (IEC 62056-6-1).
    """
    code = Obis.parse(obis)
    return code.a == ELECTRICITY and code.d == TIME_INTEGRAL and code.c not in NET


def instant(at_ms: int) -> datetime:
    """Return the instant of so many milliseconds since 1970, in UTC."""
    return EPOCH + at_ms * MILLISECOND


@lru_cache(maxsize=65_536)
def known_meter(text: str) -> str:
    """Return the meter's name; raise :class:`UsageError` if it can't be one."""
    return check_identifier(text, "meter")


@lru_cache(maxsize=1024)
def known_obis(text: str) -> str:
    """Return the OBIS code as we write it; raise :class:`UsageError` if it is none."""
    return str(Obis.parse(text))
