"""Registers read at every interval: the intervals between them, and the readings that belong into their gaps.

A meter that is read every half hour says its total each time. The difference of two readings is an interval; a reading
that is missing takes two intervals with it, but not their energy: that is the difference of the readings around the
gap, exactly. So what a method proposes for a gap is only its shape. The readings in between are the running sum, and
with them the one at midnight or at the end of a month.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.conserve import share_out
from billing_core.estimation.provenance import Method
from billing_core.rounding import Int64Array
from billing_core.validation.finding import BoolArray
from billing_core.validation.sum_check import ROLLOVER_TENTHS


@dataclass(frozen=True, slots=True)
class RegisterProfile:
    """Registers of many channels on a grid of instants.

    Parameters
    ----------
    index_wh, read
        What each register showed, and whether it was read and is believed. [Wh, channels × (slots + 1)]
    range_wh
        Where each register starts again at zero, 0 if that is not known. [Wh, channels]
    """

    index_wh: Int64Array
    read: BoolArray
    range_wh: Int64Array


@dataclass(frozen=True, slots=True)
class Filled:
    """Readings for instants without one that is believed, of each gap in order. Equally long columns.

    ``bounded`` says that readings on both sides of the gap fix its energy; otherwise the value is the method's alone.
    """

    row: NDArray[np.int64]
    instant: NDArray[np.int64]
    index_wh: Int64Array
    method: NDArray[np.int8]
    bounded: BoolArray


def lone_misreadings(index_wh: Int64Array, read: BoolArray) -> BoolArray:
    """Return the readings that lie outside those before and after them, which agree. [channels × instants]

    A register rises: where the reading before is not above the one after, whatever lies between the two in time must
    lie between them in value. One that is off by less than its neighbours' energy may take the next one with it: which
    of the two is wrong cannot be told. Several wrong readings in a row are left to the interval rules.
    """
    wrong = np.zeros(read.shape, dtype=np.bool_)
    # Where all were read and none is below the one before, as with nearly all meters, there is nothing to look for.
    look = np.flatnonzero(~read.all(axis=1) | (index_wh[:, 1:] < index_wh[:, :-1]).any(axis=1))
    wrong[look] = _outside_neighbours(index_wh[look], read[look])
    return wrong


def _outside_neighbours(index_wh: Int64Array, read: BoolArray) -> BoolArray:
    before = _latest(read)
    after = index_wh.shape[1] - 1 - _latest(read[:, ::-1])[:, ::-1]
    rows = np.arange(index_wh.shape[0])[:, None]
    inner = read.copy()
    inner[:, [0, -1]] = False
    place = np.arange(index_wh.shape[1])
    low = index_wh[rows, before[:, (place - 1).clip(0)].clip(0)]
    high = index_wh[rows, after[:, (place + 1).clip(max=place[-1])].clip(max=place[-1])]
    known = (before[:, (place - 1).clip(0)] >= 0) & (after[:, (place + 1).clip(max=place[-1])] <= place[-1])
    wrong: BoolArray = inner & known & (low <= high) & ((index_wh < low) | (index_wh > high))
    return wrong


def _latest(read: BoolArray) -> NDArray[np.int64]:
    """Return the place of the last reading up to each instant, −1 before the first."""
    return np.maximum.accumulate(np.where(read, np.arange(read.shape[1]), -1), axis=1)


def between(profile: RegisterProfile) -> tuple[Int64Array, BoolArray]:
    """Return the energy between neighbouring readings, and where it is missing. [Wh; channels × slots]"""
    missing = ~(profile.read[:, 1:] & profile.read[:, :-1])
    energy = _forward(profile.index_wh[:, :-1], profile.index_wh[:, 1:], profile.range_wh[:, None])
    energy[missing] = 0
    return energy, missing


def _forward(old: Int64Array, new: Int64Array, whole: Int64Array) -> Int64Array:
    """Return new − old, through zero where the register was in the last tenth of its range."""
    delta = new - old
    rolled = (delta < 0) & (whole > 0) & (old * 10 > whole * ROLLOVER_TENTHS)
    through: Int64Array = delta + np.where(rolled, whole, 0)
    return through


def readings_in_gaps(
    profile: RegisterProfile,
    wanted: BoolArray,
    shape_wh: Int64Array,
    method: NDArray[np.int8],
) -> Filled:
    """Return the readings inside gaps, so that each gap's energy is that between the readings around it, to the Wh.

    After a gap that no reading follows the shape itself is the energy, if some method proposed one for all of it. A gap
    that no reading precedes, and one over which the register fell, get nothing.

    Parameters
    ----------
    wanted
        The slots of the gaps: those between readings that are missing or not believed. [channels × slots]
    shape_wh, method
        What a method proposed for them, and which; method 0 is none. [Wh, channels × slots]
    """
    index_wh, read, range_wh = profile.index_wh, profile.read, profile.range_wh
    meter, slot = np.nonzero(wanted)
    begin = np.ones(meter.size, dtype=np.bool_)
    begin[1:] = (meter[1:] != meter[:-1]) | (slot[1:] != slot[:-1] + 1)
    begin |= read[meter, slot]  # a reading that is believed ends one gap and begins another
    gap = np.cumsum(begin) - 1
    begins = np.flatnonzero(begin)
    row, first = meter[begins], slot[begins]
    end = first + np.diff(begins, append=meter.size)
    delta = _forward(index_wh[row, first], index_wh[row, end], range_wh[row])
    begun, ended = read[row, first], read[row, end]
    bounded = begun & ended & (delta >= 0)
    proposed = method[meter, slot]
    whole = np.ones(begins.size, dtype=np.bool_)
    np.logical_and.at(whole, gap, proposed != 0)
    last = begun & ~ended & whole
    energy = shape_wh[meter, slot].clip(0)
    shared = np.flatnonzero(bounded[gap])
    energy[shared] = share_out(np.where(bounded, delta, 0), energy[shared], gap[shared])
    running = np.cumsum(energy)
    value = index_wh[row, first][gap] + running - (running[begins] - energy[begins])[gap]
    limit = range_wh[meter]
    value = np.where(limit > 0, value % np.maximum(limit, 1), value)
    inside = (slot + 1 < end[gap]) | last[gap]
    kept = np.flatnonzero(inside & (bounded | last)[gap])
    by_line = np.where(proposed == 0, np.int8(Method.E1_LINEAR), proposed)
    return Filled(meter[kept], slot[kept] + 1, value[kept], by_line[kept], bounded[gap[kept]])
