"""A reading and its quality."""

from collections.abc import Iterable
from enum import IntFlag
from hashlib import blake2b
from typing import NamedTuple

DIGEST_MODULUS = 1 << 64


class Quality(IntFlag):
    """What is known against a reading; zero is an actual reading without reservation.

    The flags travel as their sum and are stored as such, so a flag's value never changes.
    """

    ACTUAL = 0
    PROFILE = 1  # taken later, from the meter's load profile
    CLOCK_UNCERTAIN = 2  # the gateway's or the meter's clock was not trusted at that time
    SUSPECT = 4  # failed a check at the edge (slope, direction, torn read); the raw bytes are kept
    NOT_DURABLE = 8  # was held in memory only, because the gateway's disk refused
    ESTIMATED = 16
    SUBSTITUTED = 32
    MANUAL = 64  # read or keyed by a person


class Reading(NamedTuple):
    """What one channel said at one time.

    ``measured_at_ms`` is milliseconds since 1970-01-01 UTC; ``value`` is in the base unit of the OBIS code.
    """

    meter: str
    obis: str
    measured_at_ms: int
    value: int
    quality: int = 0


def reading_digest(readings: Iterable[Reading]) -> int:
    """Return a digest of a set of readings that does not depend on their order, as an integer below 2⁶⁴.

    It is the sum of the readings' own hashes modulo 2⁶⁴ (an additive multiset hash), so that both ends can keep it
    up to date reading by reading and compare it: one reading missing, extra or altered changes it.
    """
    total = 0
    for reading in readings:
        text = "\x1f".join(map(str, reading))
        total += int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return total % DIGEST_MODULUS
