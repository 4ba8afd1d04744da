"""What a billing run gathers: columns about one chunk of metering points, all of one snapshot.

Rows of :class:`Points` are metering points; rows of :class:`Parts` are (point, meter) spans, because a meter may be
exchanged within a period; columns of the register arrays are :data:`REGISTERS`. Nothing here touches a database.
"""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ingest_server.billing.documents import Amounts

Int64Array: TypeAlias = NDArray[np.int64]

MISSING = -1  # as a channel: the meter has no such register; as a quality: no reading is stored for that instant


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


REGISTERS = tuple(MeterRegister)
TOTAL, RATES, EXPORT = 0, slice(1, 4), 4  # columns of the register arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a contract says that a bill depends on; the texts are those of :mod:`billing_core.codes`."""

    valid_from: date
    valid_to: date | None
    category: str
    voltage: str | None
    households: int
    three_rates: bool
    solar_regime: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedBill:
    """A bill that is already there for a point and period, and whether the purchase beside it is."""

    bill_id: int
    inputs_hash: str
    purchase_made: bool
    amounts: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousBill:
    """The last bill before the period: until when it went, and the surplus it handed on. [Wh]"""

    period_to: date
    carried_out_wh: int


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
    conflict: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The chunk's metering points, in order of their ids.

    Parameters
    ----------
    contracts
        Those in force on a day of the period, oldest first. [n]
    first_on, last_on
        The days to be billed: the period, cut to the contract if there is exactly one. [n]
    start_us, end_us
        The instants at which those days begin and end. [n; microseconds since 1970 UTC]
    issued
        The bill in force for days of the period, if there is one. [n]
    previous
        The last bill before the period. [n]
    """

    metering_point_id: tuple[str, ...]
    contracts: tuple[tuple[Contract, ...], ...]
    first_on: tuple[date, ...]
    last_on: tuple[date, ...]
    start_us: Int64Array
    end_us: Int64Array
    issued: tuple[IssuedBill | None, ...]
    previous: tuple[PreviousBill | None, ...]
    parts: Parts


def empty_registers(parts: int, *shape: int, fill: int = 0, dtype: Any = np.int64) -> NDArray[Any]:
    """Return a register array of ``parts`` rows, filled with ``fill``."""
    return np.full((parts, len(REGISTERS), *shape), fill, dtype=dtype)
