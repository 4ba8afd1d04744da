"""All registers of all meters behind a bill, over the parts its period falls into.

A period falls into *parts* wherever something happened to the metering: a meter was exchanged, its multiplier changed,
its registers were reset, it was found to run backwards. Each part has an index before and after on each register, and
its own digits and multiplier; a bill's energy on a register is the sum over its parts, however many there are. What
cannot be right holds the bill, never the run.

Several registers say the same thing twice, and are held against each other: the three rates against the total. Each
register shows whole units and drops the rest, so over a part a register is wrong by less than one unit, up or down,
times the multiplier; three rates and a total may differ by less than four of those. A larger difference is a fault.

An index that fell says not why. Where the register was read in between too, its steps do: one step from near its end
to near zero is rolling over, one from anywhere else somebody's hand, and several are a meter that runs backwards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billing_core.codes import RATES, Coded, Hold, Register
from billing_core.consumption import Consumption, consume
from billing_core.rounding import DEMAND_W_MAX, Int64Array

COLUMNS = (*RATES, Register.SG, Register.VC, Register.EXPORT)
"""The registers of a meter that count energy, in the order of the columns of this module."""
NORMAL, PEAK, OFF_PEAK, TOTAL, REACTIVE, EXPORT = range(len(COLUMNS))
NOT_READ = -1
"""Stands for an index that the meter has not, or that was not read and is not needed."""
REGISTERS_HELD_TOGETHER = 4  # three rates and a total, each of them off by less than one unit


ROLLOVER_TENTHS = 9  # a register rolls over from the last tenth of its range, as rule V32 has it,
ROLLOVER_STEPS = 2  # or in a step of no more than twice the largest other one


class PartKind(Coded):
    """Why a part of a period begins where it does; ``REVERSED`` is one through which the meter ran backwards."""

    PERIODIC = "periodic"
    EXCHANGE = "exchange"
    MULTIPLIER = "multiplier"
    RESET = "reset"
    REVERSED = "reversed"


class FallKind(Coded):
    """Why an index stands lower at the end than at the begin; ``UNKNOWN`` where it was not read in between."""

    UNKNOWN = "unknown"
    ROLLED_OVER = "rolled_over"
    SET_BACK = "set_back"
    BACKWARDS = "backwards"


@dataclass(frozen=True, slots=True)
class Fall:
    """How an index fell: why, in how many steps, and before which of its readings the first one is."""

    kind: FallKind
    steps: int
    place: int


def judge_fall(index_wh: Int64Array, digits: int) -> Fall:
    """Return why a register fell, from all its readings in order of time. [Wh]

    Raises
    ------
    ValueError
        If it did not fall.
    """
    steps = np.diff(index_wh)
    fell = np.flatnonzero(steps < 0)
    if not fell.size:
        raise ValueError("the register never fell, there is nothing to judge")
    place = int(fell[0]) + 1
    if steps.size == 1:
        return Fall(FallKind.UNKNOWN, 1, place)
    if fell.size > 1:
        return Fall(FallKind.BACKWARDS, int(fell.size), place)
    limit = 10**digits * 1000 if digits else 0
    before, after = int(index_wh[place - 1]), int(index_wh[place])
    near_end = before * 10 > limit * ROLLOVER_TENTHS
    usual = after - before + limit <= ROLLOVER_STEPS * int(steps.max(initial=0))
    rolled = limit > 0 and (near_end or usual)
    return Fall(FallKind.ROLLED_OVER if rolled else FallKind.SET_BACK, 1, place)


def rates_apart(rates_wh: Int64Array, total_wh: Int64Array, unit_wh: Int64Array) -> NDArray[np.bool_]:
    """Say where three rates and their total differ by more than displays drop.

    Parameters
    ----------
    rates_wh
        The sum of the rates. [Wh, n]
    unit_wh
        What the display counts in, times the multiplier. [Wh, n]
    """
    return np.asarray(np.abs(total_wh - rates_wh) >= REGISTERS_HELD_TOGETHER * unit_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts of periods, as columns of p rows.

    Parameters
    ----------
    bill
        The bill each part belongs to. [p]
    kind
        Code of :class:`PartKind`. [p]
    old_wh, new_wh
        The index of each register as the meter shows it, ``NOT_READ`` where there is none. [Wh or varh, p × 6]
    digits, multiplier, unit_wh
        As in :func:`billing_core.consumption.consume`. [p]
    demand_w
        What the register of maximum demand shows, before the multiplier; ``NOT_READ`` where there is none. [W, p]
    """

    bill: Int64Array
    kind: NDArray[np.int8]
    old_wh: Int64Array
    new_wh: Int64Array
    digits: Int64Array
    multiplier: Int64Array
    unit_wh: Int64Array
    demand_w: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What the registers of each bill say.

    Parameters
    ----------
    energy_wh
        By register, in the order of ``COLUMNS``; ``NOT_READ`` where no part has the register. [Wh or varh, n × 6]
    rates_wh
        The three rates, as :func:`billing_core.batch.batch_of` takes them. Where the meter has none, or is held, the
        total stands first. [Wh, n × 3]
    difference_wh
        Total less the sum of the rates, 0 where they cannot be compared. [Wh, n]
    demand_w
        The highest demand of all parts; ``NOT_READ`` where none was read. [W, n]
    hold
        Code of :class:`billing_core.codes.Hold`. [n]
    """

    energy_wh: Int64Array
    rates_wh: Int64Array
    difference_wh: Int64Array
    demand_w: Int64Array
    hold: NDArray[np.int8]


def parts_of(*, bill: Any, old_wh: Any, new_wh: Any, **columns: Any) -> Parts:
    """Return parts; what is left out is as for a plain meter: periodic, digits not known, multiplier 1, units of kWh.

    Raises
    ------
    ValueError
        If ``old_wh`` and ``new_wh`` are not both p × 6.
    """
    old, new = (np.asarray(column, dtype=np.int64) for column in (old_wh, new_wh))
    if old.ndim != 2 or old.shape != new.shape or old.shape[1] != len(COLUMNS):
        raise ValueError(f"old_wh and new_wh: found shapes {old.shape} and {new.shape}, expected p × {len(COLUMNS)}")
    defaults = {"digits": 0, "multiplier": 1, "unit_wh": 1000, "demand_w": NOT_READ}
    given = {
        name: np.broadcast_to(np.asarray(columns.pop(name, default), dtype=np.int64), old.shape[:1])
        for name, default in defaults.items()
    }
    kind = np.broadcast_to(np.asarray(columns.pop("kind", PartKind.PERIODIC.code), dtype=np.int8), old.shape[:1])
    if columns:
        raise TypeError(f"found unknown columns {sorted(columns)}")
    return Parts(bill=np.asarray(bill, dtype=np.int64), kind=kind, old_wh=old, new_wh=new, **given)


def read_registers(parts: Parts, bills: int) -> Metered:
    """Return what ``bills`` bills used, from the parts of their periods, in whatever order the parts come."""
    wanted = (parts.old_wh != NOT_READ) | (parts.new_wh != NOT_READ)
    part, register = np.nonzero(wanted)
    used = _consume_parts(parts, part, register)
    energy = np.zeros((bills, len(COLUMNS)), dtype=np.int64)
    np.add.at(energy, (parts.bill[part], register), used.energy_wh)
    hold = np.zeros(bills, dtype=np.int8)
    held = np.flatnonzero(used.hold)[::-1]  # backwards, so that the first reason of a bill is written last
    hold[parts.bill[part[held]]] = used.hold[held]
    read, parted = np.zeros(energy.shape, dtype=np.int64), np.bincount(parts.bill, minlength=bills)
    np.add.at(read, (parts.bill[part], register), 1)
    _hold(hold, Hold.READING_MISSING, (read[:, NORMAL : EXPORT + 1].max(axis=1, initial=0) == 0))
    # A register is read in every part or in none: else its energy would be that of a part of the period.
    _hold(hold, Hold.READING_MISSING, ((read != 0) & (read != parted[:, np.newaxis])).any(axis=1))
    energy[read == 0] = NOT_READ
    difference = _hold_rates_against_total(parts, energy, hold)
    demand = _demand(parts, bills, hold)
    held_rows = hold != 0
    energy[held_rows] = 0
    has_rates = energy[:, NORMAL] != NOT_READ
    rates = np.where(has_rates[:, np.newaxis], energy[:, :TOTAL], 0)
    rates[:, 0] += np.where(has_rates, 0, np.maximum(energy[:, TOTAL], 0))
    return Metered(energy_wh=energy, rates_wh=rates, difference_wh=difference, demand_w=demand, hold=hold)


def _consume_parts(parts: Parts, part: Int64Array, register: Int64Array) -> Consumption:
    """Return what each register of each part counted; through a reversed part the registers ran down."""
    before, after = parts.old_wh[part, register], parts.new_wh[part, register]
    down = parts.kind[part] == PartKind.REVERSED.code
    return consume(
        np.where(down, after, before),
        np.where(down, before, after),
        digits=parts.digits[part],
        multiplier=parts.multiplier[part],
        unit_wh=parts.unit_wh[part],
    )


def _hold_rates_against_total(parts: Parts, energy: Int64Array, hold: NDArray[np.int8]) -> Int64Array:
    """Hold bills whose rates do not sum to their total, and return by how much they differ. [Wh, n]"""
    rates, total = energy[:, :TOTAL], energy[:, TOTAL]
    some, both = (rates != NOT_READ).any(axis=1), (rates != NOT_READ).all(axis=1) & (total != NOT_READ) & (hold == 0)
    _hold(hold, Hold.READING_MISSING, some & ~(rates != NOT_READ).all(axis=1))
    difference = np.where(both, total - rates.sum(axis=1), 0)
    unit = np.zeros(energy.shape[0], dtype=np.int64)
    trusted = (parts.multiplier > 0) & (parts.unit_wh > 0) & (hold[parts.bill] == 0)
    np.add.at(unit, parts.bill[trusted], (parts.multiplier * parts.unit_wh)[trusted])
    _hold(hold, Hold.RATES_AGAINST_TOTAL, both & rates_apart(rates.sum(axis=1), total, unit))
    return difference


def _demand(parts: Parts, bills: int, hold: NDArray[np.int8]) -> Int64Array:
    """Return the highest demand of each bill, each part's with its own multiplier. [W, n]"""
    highest = np.full(bills, NOT_READ, dtype=np.int64)
    read = np.flatnonzero(parts.demand_w != NOT_READ)
    shown, factor = parts.demand_w[read], np.maximum(parts.multiplier[read], 1)
    wrong = (shown < 0) | (shown > DEMAND_W_MAX // factor)
    _hold_rows(hold, Hold.DEMAND_INVALID, parts.bill[read[wrong]])
    np.maximum.at(highest, parts.bill[read[~wrong]], (shown * factor)[~wrong])
    return np.where(hold == 0, highest, NOT_READ)


def _hold(hold: NDArray[np.int8], reason: Hold, found: NDArray[np.bool_]) -> None:
    hold[found & (hold == 0)] = reason.code


def _hold_rows(hold: NDArray[np.int8], reason: Hold, rows: Int64Array) -> None:
    hold[rows[hold[rows] == 0]] = reason.code
