"""What a billing run gathers: columns about one chunk of metering points, all of one snapshot.

Rows of :class:`Points` are metering points and their days; rows of :class:`Parts` are (row, meter) spans, because a
meter may be exchanged within a period; columns of the register arrays are :data:`REGISTERS`. Days are counted from
1970-01-01, instants are microseconds since then, UTC. Nothing here touches a database.
"""

import json
from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from billing_core.registers import FallKind
from ingest_server.billing.profile_columns import NO_SUMS, Profile, ProfileSums

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
    VC = "1.0.3.8.0"
    EXPORT_BT = "1.0.2.8.1"
    EXPORT_CD = "1.0.2.8.2"
    EXPORT_TD = "1.0.2.8.3"
    PMAX = "1.0.1.6.0"

    @property
    def label(self) -> str:
        """What the register is called on a bill."""
        if self.name.startswith("EXPORT"):
            return self.name.replace("EXPORT", "export").replace("_", " ")
        return "Pmax" if self is MeterRegister.PMAX else self.name

    @property
    def unit(self) -> str:
        """The unit its readings are kept in."""
        return {MeterRegister.VC: "varh", MeterRegister.PMAX: "W"}.get(self, "Wh")


REGISTERS = tuple(MeterRegister)
INTERVAL_ENERGY = "1.0.1.29.0"  # imported energy of each interval of the load profile, stamped with the interval's end
TOTAL, RATES, EXPORT, REACTIVE, EXPORT_RATES, DEMAND = 0, slice(1, 4), 4, 5, slice(6, 9), 9  # of the register arrays
ENERGIES = slice(0, 9)  # those that count up; demand is the highest since the meter's last reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a contract says that a bill depends on; the texts are those of :mod:`billing_core.codes`.

    Parameters
    ----------
    households, households_parts
        Households as an exact fraction: of tenants their number and 4, else 1 below the line.
    reactive
        Whether reactive energy is charged: enough power is contracted, and it is no household's alone.
    uses
        Other uses of a mixed one as JSON, each with category, voltage and share in percent; none for one use.
    rate_plan
        The rate plan in force as JSON (:class:`billing_core.rate_plan.RatePlan`), or its name where there is none.
    """

    category: str
    voltage: str | None
    households: int
    three_rates: bool
    solar_regime: str | None
    households_parts: int = 1
    reactive: bool = False
    undeclared_rental: bool = False
    refused_three_rates: bool = False
    two_component: bool = False
    uses: str | None = None
    rate_plan: str | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """Return the terms as the database has them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def plan_name(self) -> str | None:
        """What the contract calls its rate plan; none without one."""
        found = None if self.rate_plan is None else json.loads(self.rate_plan)
        return found["name"] if isinstance(found, dict) else found

    def to_json(self) -> dict[str, Any]:
        """Return the terms as the inputs of a bill hold them; what few contracts have, only where they have it."""
        found = {name: value for name, value in self.columns.items() if name in ALWAYS or value != UNUSUAL[name]}
        return found | {name: json.loads(found[name]) for name in ("uses", "rate_plan") if name in found}


ALWAYS = frozenset(("category", "voltage", "households", "three_rates", "solar_regime"))
UNUSUAL = {each.name: each.default for each in fields(Terms)}


FOREVER = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """The newest bill that is already there for days of the period. [n]

    ``bill_id`` is 0 where there is none; ``in_ledger`` says whether it was issued, so that it may not change;
    ``schema`` 1 is a bill of an older form, whose hash can't be compared. ``in_the_way`` is an issued bill for other
    days that overlap these, which has to be cancelled before these can be billed; 0 for none. ``other_period`` is one,
    issued or not, that a run of another period made for some of these days; 0 for none. Amounts: [Wh, đ].
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
    carried_out_wh: Int64Array
    carried_cd_wh: Int64Array
    carried_td_wh: Int64Array
    inputs_hash: NDArray[np.void]
    in_the_way: Int64Array
    other_period: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The last bill before the period. [n]

    Parameters
    ----------
    bill_id
        0 where there is none.
    last_day, carried_out_wh
        Until when it went, and the surplus it handed on.
    carried_cd_wh, carried_td_wh
        What of it is of the peak and of the off-peak rate. [Wh]
    highest_w
        Highest demand of the months before, as far back as the ratchet of each one's rate plan goes; ``NONE`` for none.
        [W]
    terms
        Place of its terms in the run's list, ``NONE`` for terms that nobody has any more.
    unbilled_first, unbilled_last
        Days before the period that are under contract and in no bill that stands, where a surplus or a ratchet asks for
        them; ``NONE`` for none.
    daily_wh
        Energy a day of the periods before this one, newest first, ``NONE`` where there was none. [Wh, n × 12]
    """

    bill_id: Int64Array
    last_day: Int64Array
    carried_out_wh: Int64Array
    carried_cd_wh: Int64Array
    carried_td_wh: Int64Array
    highest_w: Int64Array
    unbilled_first: Int64Array
    unbilled_last: Int64Array
    terms: Int64Array
    daily_wh: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Who measured which point when.

    Parameters
    ----------
    point
        Row of :class:`Points`, ascending; within one in order of time. [n]
    meter_id
        [n]
    start_us, end_us
        The part of the bill's period this meter measured. [n; microseconds since 1970 UTC]
    generation
        True for a meter of what panels generate, beside the one that bills. [n]
    multiplier, digits
        CT × VT; digits before the decimal point of a register in kWh. [n]
    channel
        Channel of each register, or MISSING. [n, registers]
    profile
        Channel of the load profile's energy, or MISSING. [n]
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
    generation: BoolArray
    multiplier: Int64Array
    digits: Int64Array
    channel: Int64Array
    profile: Int64Array
    value: Int64Array
    quality: Int64Array
    conflict: BoolArray


class FallenRegister(NamedTuple):
    """Part and column of a register that fell, why, in how many steps; and its readings around the first step."""

    part: int
    register: int
    kind: FallKind
    steps: int
    before_us: int
    before: int
    after_us: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The days that are billed by one contract, or by several that differ in households alone. [n]

    Parameters
    ----------
    point
        The metering point, ascending; those of a point in order of days.
    first_day, last_day
        The days: the period, cut to the contract.
    place
        Place of the terms in the run's list; ``NONE`` where there is no contract, or none that can be billed.
    several
        Whether there are several that can't be told apart because they overlap.
    ends
        Whether the contract ends with the span, or the year as far as it is read.
    customer
        Place of the contract's customer in the chunk's list; ``NONE`` for whose the point was first.
    changed_day, changed_place
        The days on which other terms begin, with another number of households, in order; ``NONE`` for none, and behind
        the last. [n × k]
    """

    point: Int64Array
    first_day: Int64Array
    last_day: Int64Array
    place: Int64Array
    several: BoolArray
    ends: BoolArray
    customer: Int64Array
    changed_day: Int64Array
    changed_place: Int64Array

    def __len__(self) -> int:
        return len(self.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What is to be billed of the chunk's metering points, in order of their ids: a row is a point and a span of days.

    A point has one row, or several where its contract changes within the period.

    Parameters
    ----------
    book
        Which reading book each is in, numbered from 0 within the chunk; those of none share a number. [n]
    terms
        The run's list of terms; its order is the run's own.
    customers
        Customers of contracts that are not those of whom the points were first.
    start_us, end_us
        The instants at which the days of the span begin and end. [n]
    nominal_days
        Days of the nominal reading cycle; ``NONE`` for those of the calendar month. [n]
    exempt_surcharged
        Whether it is a bill of when households in a mixed use bore the surcharge for reactive energy too: in a replay
        alone. [n]
    profiles
        Load profiles of parts that are billed by them.
    sums
        What other load profiles sum to.
    falls
        Registers that stand lower at a part's end than at its begin, and why.
    said_set
        Parts within which the meter logged that its registers were set, and when; nobody entered what they showed.
    """

    metering_point_id: tuple[str, ...]
    book: Int64Array
    terms: tuple[Terms, ...]
    customers: tuple[str, ...]
    spans: Spans
    start_us: Int64Array
    end_us: Int64Array
    nominal_days: Int64Array
    issued: Issued
    previous: Previous
    parts: Parts
    exempt_surcharged: BoolArray
    profiles: tuple[Profile, ...] = ()
    sums: ProfileSums = NO_SUMS
    falls: tuple[FallenRegister, ...] = ()
    said_set: tuple[tuple[int, int], ...] = ()

    @property
    def first_day(self) -> Int64Array:
        """The first day of each row. [n]"""
        return self.spans.first_day

    @property
    def last_day(self) -> Int64Array:
        """The last day of each row. [n]"""
        return self.spans.last_day

    def __len__(self) -> int:
        return len(self.metering_point_id)


def chosen_parts(parts: Parts, rows: Int64Array) -> Parts:
    """Return the parts in ``rows``, each as often as it stands there."""
    columns = {name: getattr(parts, name) for name in Parts.__slots__ if name != "meter_id"}
    meters = tuple(parts.meter_id[row] for row in rows.tolist())
    return Parts(meter_id=meters, **{name: column[rows] for name, column in columns.items()})


def empty_registers(parts: int, *shape: int, fill: int = 0, dtype: Any = np.int64) -> NDArray[Any]:
    """Return a register array of ``parts`` rows, filled with ``fill``."""
    return np.full((parts, len(REGISTERS), *shape), fill, dtype=dtype)


def day_of(number: int) -> date:
    """Return the day that is ``number`` days after 1970-01-01."""
    return EPOCH_DAY + timedelta(days=number)


def day_number(day: date) -> int:
    """Return how many days after 1970-01-01 a day is."""
    return (day - EPOCH_DAY).days
