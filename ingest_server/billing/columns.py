"""What a billing run gathers: columns about one chunk of metering points, all of one snapshot.

Rows of :class:`Points` are metering points; rows of :class:`Parts` are (point, meter) spans, because a meter may be
exchanged within a period; columns of the register arrays are :data:`REGISTERS`. Days are counted from 1970-01-01,
instants are microseconds since then, UTC. Nothing here touches a database.
"""

from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64Array: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

MISSING = -1  # as a channel: the meter has no such register; as a quality: no reading is stored for that instant
NONE = -1  # as a place in a list: there is no such thing
PAST_PERIODS = 12  # whose energy is handed on from bill to bill, for control
EPOCH_DAY = date(1970, 1, 1)


class MeterRegister(Enum):
    """The registers a bill may need, with their OBIS codes (IEC 62056-6-1, tables 13 and 14: group E is the rate).

    Rates 1, 2, 3 are BT (normal), CD (peak) and TD (off-peak): the order in which three-rate meters are
    configured in Vietnam. [to be checked for each company's meters]
    """

    SG = "1.0.1.8.0"
    BT = "1.0.1.8.1"
    CD = "1.0.1.8.2"
    TD = "1.0.1.8.3"
    EXPORT = "1.0.2.8.0"

    @property
    def label(self) -> str:
        """What the register is called on a bill."""
        return "export" if self is MeterRegister.EXPORT else self.name


REGISTERS = tuple(MeterRegister)
TOTAL, RATES, EXPORT = 0, slice(1, 4), 4  # columns of the register arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a contract says that a bill depends on; the texts are those of :mod:`billing_core.codes`."""

    category: str
    voltage: str | None
    households: int
    three_rates: bool
    solar_regime: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the terms as the inputs of a bill hold them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """Contracts in force on a day of the period, the oldest of each point first. [k]

    Parameters
    ----------
    point
        Row of the point, ascending.
    first_day, last_day
        Both inclusive; ``FOREVER`` for one that is in force.
    terms
        Place in the run's list of terms.
    """

    point: Int64Array
    first_day: Int64Array
    last_day: Int64Array
    terms: Int64Array


FOREVER = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """The newest bill that is already there for days of the period. [n]

    ``bill_id`` is 0 where there is none; ``in_ledger`` says whether it was issued, so that it may not change;
    ``schema`` 1 is a bill of an older form, whose hash can't be compared. Amounts: [Wh, đ].
    """

    bill_id: Int64Array
    version: Int64Array
    schema: Int64Array
    in_ledger: BoolArray
    purchase_made: BoolArray
    energy_wh: Int64Array
    subtotal: Int64Array
    vat: Int64Array
    total: Int64Array
    purchased_wh: Int64Array
    purchased: Int64Array
    inputs_hash: NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The last bill before the period. [n]

    Parameters
    ----------
    bill_id
        0 where there is none.
    last_day, carried_out_wh
        Until when it went, and the surplus it handed on.
    terms
        Place of its terms in the run's list, ``NONE`` for terms that nobody has any more.
    daily_wh
        Energy a day of the periods before this one, newest first, ``NONE`` where there was none. [Wh, n × 12]
    """

    bill_id: Int64Array
    last_day: Int64Array
    carried_out_wh: Int64Array
    terms: Int64Array
    daily_wh: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Who measured which point when.

    Parameters
    ----------
    point
        Row of the point, ascending; within a point in order of time. [n]
    meter_id
        [n]
    start_us, end_us
        The part of the bill's period this meter measured. [n; microseconds since 1970 UTC]
    multiplier, digits
        CT × VT; digits before the decimal point of a register in kWh. [n]
    channel
        Channel of each register, or MISSING. [n, registers]
    value
        What the register said at the start and at the end. [n, registers, 2; Wh]
    quality
        Flags of protocols.telemetry.reading.Quality, or MISSING. [n, registers, 2]
    conflict
        True where another value was received for the same instant. [n, registers, 2]
    """

    point: Int64Array
    meter_id: tuple[str, ...]
    start_us: Int64Array
    end_us: Int64Array
    multiplier: Int64Array
    digits: Int64Array
    channel: Int64Array
    value: Int64Array
    quality: Int64Array
    conflict: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The chunk's metering points, in order of their ids.

    Parameters
    ----------
    book
        Which reading book each is in, numbered from 0 within the chunk; those of none share a number. [n]
    terms
        The run's list of terms; its order is the run's own.
    first_day, last_day
        The days to be billed: the period, cut to the contract if there is exactly one. [n]
    start_us, end_us
        The instants at which those days begin and end. [n]
    """

    metering_point_id: tuple[str, ...]
    book: Int64Array
    terms: tuple[Terms, ...]
    contracts: Contracts
    first_day: Int64Array
    last_day: Int64Array
    start_us: Int64Array
    end_us: Int64Array
    issued: Issued
    previous: Previous
    parts: Parts

    def __len__(self) -> int:
        return len(self.metering_point_id)


def empty_registers(parts: int, *shape: int, fill: int = 0, dtype: Any = np.int64) -> NDArray[Any]:
    """Return a register array of ``parts`` rows, filled with ``fill``."""
    return np.full((parts, len(REGISTERS), *shape), fill, dtype=dtype)


def day_of(number: int) -> date:
    """Return the day that is ``number`` days after 1970-01-01."""
    return EPOCH_DAY + timedelta(days=number)


def day_number(day: date) -> int:
    """Return how many days after 1970-01-01 a day is."""
    return (day - EPOCH_DAY).days
