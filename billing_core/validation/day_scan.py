"""One pass over the intervals: what every interval rule needs to know about each day of each meter.

Interval rules see tens of millions of readings, so the readings are touched once. Meters are taken in blocks that
stay in the processor's cache; within a block the days become columns and the slots of a day rows, so that a reduction
over a day is a few dozen operations on long rows. Where all sums and products of a block fit into 32 bits it is
computed in 32 bits, else in 64: the block's extremes decide, so each result is exact either way.

Runs (stuck values, zeros, stale snapshots) are found from the few places where a value repeats or is zero.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals

BLOCK_READINGS = 1 << 16  # 64 Ki readings of 4 bytes and their neighbours stay in a cache of 512 KiB
INT32_MAX, UINT8_MAX = 2**31 - 1, 2**8 - 1


Energies: TypeAlias = NDArray[np.int64] | NDArray[np.int32]
"""Energy in 64 bits, or in 32 where four times any value fits into these (:func:`known_energy`)."""


class Runs(NamedTuple):
    """Runs of slots, sorted by meter and start; equally long columns."""

    meter: Int64Array
    start: Int64Array
    length: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class DayScan:
    """What is known about each day. [meters × days] unless it says otherwise; energies in Wh.

    ``equal_yesterday`` and ``equal_week`` count present non-zero intervals that equal the one a day or a week before;
    ``repeats`` those that equal the interval before them. ``jumps`` counts steps that the jump rule minds, ``jump`` is
    the largest step up. ``unusual`` counts intervals outside the weekly band, if one was given.
    """

    slots_per_day: int
    missing: NDArray[np.int32]
    zeros: NDArray[np.int32]
    lowest: Int64Array
    total: Int64Array
    highest: Int64Array
    third: Int64Array
    jump: Int64Array
    jumps: NDArray[np.int32]
    repeats: NDArray[np.int32]
    equal_yesterday: NDArray[np.int32]
    equal_week: NDArray[np.int32]
    unusual: NDArray[np.int32]
    stuck: Runs
    zero_runs: Runs

    @property
    def present(self) -> NDArray[np.int32]:
        """How many intervals of each day are there."""
        return np.int32(self.slots_per_day) - self.missing


@dataclass(frozen=True, slots=True)
class WeeklyBand:
    """What each meter usually does in each hour of the week, Monday 00:00 first. [Wh per interval, meters × 168]"""

    low: Int64Array
    high: Int64Array
    first_weekday: int  # of the first day of the series; Monday is 0


_DAY_COLUMNS: tuple[tuple[str, type], ...] = (
    ("missing", np.int32), ("zeros", np.int32), ("lowest", np.int64), ("total", np.int64), ("highest", np.int64),
    ("third", np.int64), ("jump", np.int64), ("jumps", np.int32), ("repeats", np.int32),
    ("equal_yesterday", np.int32), ("equal_week", np.int32), ("unusual", np.int32),
)  # fmt: skip


def scan_days(
    intervals: Intervals, parameters: Columns, band: WeeklyBand | None = None, energy_wh: Energies | None = None
) -> DayScan:
    """Return what each day of each meter looks like, and the runs in it.

    Parameters
    ----------
    parameters
        Of these, ``jump_percent`` and ``jump_floor_w`` are used.
    energy_wh
        The intervals' energy as :func:`known_energy` gives it, if that is at hand. [Wh, meters × slots]
    """
    if energy_wh is None:
        energy_wh = known_energy(intervals)
    meters, days, per_day = intervals.meters, intervals.days, intervals.slots_per_day
    columns: dict[str, NDArray[Any]] = {name: np.zeros((meters, days), dtype=kind) for name, kind in _DAY_COLUMNS}
    stuck: list[Runs] = []
    zero: list[Runs] = []
    rows = max(1, BLOCK_READINGS // max(1, days * per_day))
    jump_floor = parameters["jump_floor_w"] * 24 // per_day
    percent = parameters["jump_percent"]
    room = max(per_day, 100, int(percent.max(initial=0)))
    for begin in range(0, meters, rows):
        block = slice(begin, min(begin + rows, meters))
        missing = intervals.missing[block]
        values = _narrow(energy_wh[block], room)
        by_slot = np.ascontiguousarray(values.reshape(-1, per_day).T)
        gaps = np.ascontiguousarray(missing.reshape(-1, per_day).T) if missing.any() else None
        out = {name: column[block] for name, column in columns.items()}
        _extremes(by_slot, gaps, out)
        _neighbours(by_slot, gaps, out, (jump_floor[block], percent[block]))
        if band is not None:
            _compare_to_band(by_slot, gaps, WeeklyBand(band.low[block], band.high[block], band.first_weekday), out)
        stuck.append(_stuck(values, begin))
        zero.append(_zeros(values, missing if gaps is not None else None, begin))
    assert {field.name for field in fields(DayScan)} == {*columns, "slots_per_day", "stuck", "zero_runs"}
    return DayScan(slots_per_day=per_day, stuck=_joined(stuck), zero_runs=_joined(zero), **columns)


def known_energy(intervals: Intervals) -> Energies:
    """Return the energy with 0 where it is missing, in 32 bits where sums of four fit into these: nearly always.

    [Wh, meters × slots]
    """
    energy = intervals.energy_wh
    if intervals.missing.any():
        energy = np.where(intervals.missing, 0, energy)
    largest = max(int(energy.max(initial=0)), -int(energy.min(initial=0)))
    return energy.astype(np.int32) if 4 * largest <= INT32_MAX else energy


def _narrow(energy: Energies, room: int) -> NDArray[Any]:
    """Return the block in 32 bits where ``2 * room`` times any value fits into them, else in 64."""
    largest = max(int(energy.max()), -int(energy.min()))
    return energy.astype(np.int32 if 2 * largest * room <= INT32_MAX else np.int64, copy=False)


def _extremes(by_slot: NDArray[Any], gaps: BoolArray | None, out: dict[str, NDArray[Any]]) -> None:
    shape = out["missing"].shape
    out["lowest"][:] = by_slot.min(axis=0).reshape(shape)
    out["total"][:] = by_slot.sum(axis=0, dtype=by_slot.dtype).reshape(shape)
    first, third = _first_and_third(by_slot)
    out["highest"][:] = first.reshape(shape)
    out["third"][:] = third.clip(0).reshape(shape)
    out["zeros"][:] = _count(by_slot == 0).reshape(shape)
    if gaps is not None:
        count = _count(gaps).reshape(shape)
        out["missing"][:] = count
        out["zeros"] -= count


def _first_and_third(by_slot: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the highest and the third highest over axis 0, whose length four divides.

    Halves are laid side by side, and the three highest of each pair kept, until one is left.
    """
    half = by_slot.shape[0] // 2
    high, low = np.maximum(by_slot[:half], by_slot[half:]), np.minimum(by_slot[:half], by_slot[half:])
    half //= 2
    over, under = np.minimum(high[:half], high[half:]), np.maximum(low[:half], low[half:])
    top = [np.maximum(high[:half], high[half:]), np.maximum(over, under), np.minimum(over, under)]
    while (rows := top[0].shape[0]) > 1:
        half = rows // 2
        (a, b, c), (d, e, f) = ([each[part] for each in top] for part in (slice(half), slice(half, 2 * half)))
        second, third = np.maximum(b, e), np.maximum(c, f)
        np.maximum(second, np.minimum(a, d), out=second)
        np.maximum(third, np.minimum(a, e), out=third)
        np.maximum(third, np.minimum(b, d), out=third)
        left = [each[2 * half :] for each in top]
        top = [np.maximum(a, d), second, third]
        if rows % 2:
            top = [np.concatenate(pair) for pair in zip(top, left, strict=True)]
    return top[0][0], top[2][0]


def _count(mask: BoolArray) -> NDArray[np.int32]:
    """Count over axis 0, in 8 bits where these do."""
    few = mask.shape[0] <= UINT8_MAX
    count: NDArray[Any] = mask.view(np.uint8).sum(axis=0, dtype=np.uint8 if few else np.uint16)
    return count.astype(np.int32)


def _neighbours(
    by_slot: NDArray[Any], gaps: BoolArray | None, out: dict[str, NDArray[Any]], jump: tuple[Int64Array, Int64Array]
) -> None:
    """Compare each interval to the one before, a day before and a week before."""
    shape = out["missing"].shape
    days = shape[1]
    before = _shifted(by_slot, days)
    some = by_slot != 0  # a missing one is 0 and takes no part
    equal = by_slot == before
    equal &= some
    equal[0, ::days] = False
    out["repeats"][:] = _count(equal).reshape(shape)
    step = by_slot - before
    if gaps is not None:
        step[gaps | _shifted(gaps, days)] = 0
    out["jump"][:] = step.max(axis=0).reshape(shape)
    limit = np.iinfo(by_slot.dtype).max
    floor, percent = (np.repeat(column.clip(0, limit).astype(by_slot.dtype), days) for column in jump)
    jumps = step > floor
    step *= 100
    before *= percent
    jumps &= step > before
    out["jumps"][:] = _count(jumps).reshape(shape)
    for name, lag in (("equal_yesterday", 1), ("equal_week", 7)):
        if days > lag:
            same = np.empty_like(some)
            np.equal(by_slot[:, lag:], by_slot[:, :-lag], out=same[:, lag:])  # a meter's first days: to another meter
            same &= some
            out[name][:, lag:] = _count(same).reshape(shape)[:, lag:]


def _shifted(by_slot: NDArray[Any], days: int) -> NDArray[Any]:
    """Return the slot before each slot; the first of a meter is before itself."""
    before = np.empty_like(by_slot)
    before[1:] = by_slot[:-1]
    before[0, 1:] = by_slot[-1, :-1]
    before[0, ::days] = by_slot[0, ::days]
    return before


def _compare_to_band(
    by_slot: NDArray[Any], gaps: BoolArray | None, band: WeeklyBand, out: dict[str, NDArray[Any]]
) -> None:
    shape = out["unusual"].shape
    per_hour = by_slot.shape[0] // 24
    weekday = (band.first_weekday + np.arange(shape[1])) % 7
    limit = np.iinfo(by_slot.dtype).max
    by_hour = (
        np.ascontiguousarray(edge.clip(-limit, limit).astype(by_slot.dtype).reshape(-1, 7, 24).transpose(2, 0, 1))
        for edge in (band.low, band.high)
    )
    low, high = (edge.take(weekday, axis=2, mode="clip").reshape(24, -1) for edge in by_hour)
    cube = by_slot.reshape(24, per_hour, -1)
    outside = (cube < low[:, None]) | (cube > high[:, None])
    if gaps is not None:
        outside &= ~gaps.reshape(cube.shape)
    out["unusual"][:] = _count(outside.reshape(by_slot.shape)).reshape(shape)


def _stuck(values: NDArray[Any], first_meter: int) -> Runs:
    """Find runs of three or more equal non-zero values; shorter ones say nothing at any resolution."""
    same = np.zeros(values.shape, dtype=np.bool_)
    np.equal(values[:, 1:], values[:, :-1], out=same[:, 1:])
    same &= values != 0
    again = same[:, 1:] & same[:, :-1]  # most values that repeat do so once
    same[:, :-1] = again
    same[:, -1] = False
    same[:, 1:] |= again
    runs = _runs(same, first_meter)
    return Runs(runs.meter, runs.start - 1, runs.length + 1)  # the value repeated is part of the run


def _zeros(values: NDArray[Any], missing: BoolArray | None, first_meter: int) -> Runs:
    zero = values == 0
    if missing is not None:
        zero &= ~missing
    return _runs(zero, first_meter)


def _runs(mask: BoolArray, first_meter: int) -> Runs:
    slots = mask.shape[1]
    places = np.flatnonzero(mask)
    if not places.size:
        return Runs(places, places, places)
    begins = np.ones(places.shape, dtype=np.bool_)
    np.not_equal(places[1:], places[:-1] + 1, out=begins[1:])
    begins |= places % slots == 0
    first = np.flatnonzero(begins)
    length = np.diff(first, append=places.size)
    meter, start = np.divmod(places[first], slots)
    return Runs(meter + first_meter, start, length)


def _joined(parts: list[Runs]) -> Runs:
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Runs(empty, empty, empty)
    return Runs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
