"""The rules about days, applied to a profile: what a month is judged by, and what a class's day is made of (E7).

No database, no clock.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.estimation.profile import RegisterProfile, between, lone_misreadings
from billing_core.rounding import ENERGY_WH_MAX
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Intervals, Registers, Status
from billing_core.validation.validate import MeterData, Validation
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period
from ingest_server.vee.before import history_peak, usual_week
from ingest_server.vee.circumstances import SHIFT_PART
from ingest_server.vee.gather import Profile
from ingest_server.vee.month_rules import countable
from ingest_server.vee.plates import INVERTER, limit_wh
from ingest_server.vee.terms_by_day import Stretch, TermsByDay, parameters_of, stretches_of
from protocols.telemetry.reading import Quality

UNIT_WH = 1_000  # digits of a register count kWh
DAY_MS = 86_400_000
NIGHT_FROM, NIGHT_UNTIL = 19, 5  # hours: dark on every day of the year anywhere in Vietnam


class Validated(NamedTuple):
    """A profile with each channel by the terms of the month's last stretch, and what the rules about days say of it.

    ``wrong`` are lone misreadings, ``shown`` what the registers showed, ``believed`` what can be computed with.
    [channels × instants]
    """

    profile: Profile
    stretches: list[list[Stretch]]
    parameters: Columns
    wrong: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    believed: NDArray[np.bool_]
    data: MeterData
    terms: TermsByDay
    result: Validation


def validated(profile: Profile, period: Period) -> Validated:
    """Apply the rules about days to a profile."""
    stretches = [stretches_of(each, profile.settings, period) for each in profile.channels]
    last_ones = [each[-1] for each in stretches]
    channels = tuple(each.channel for each in last_ones)
    profile = replace(profile, channels=channels)
    parameters = parameters_of(last_ones, period)
    wrong: NDArray[np.bool_] = lone_misreadings(profile.index_wh, profile.read)
    shown = profile.read & ~wrong & profile.at_point()
    multiplier = np.array([each.multiplier for each in channels], dtype=np.int64)
    believed = shown & countable(profile.index_wh, multiplier)
    registers = _registers(profile, believed)
    energy, missing = between(RegisterProfile(profile.index_wh, believed, registers.range_wh()))
    primary = energy * registers.multiplier[:, None]
    beyond: NDArray[np.bool_] = np.abs(primary) > ENERGY_WH_MAX
    primary[beyond], missing = 0, missing | beyond
    intervals = Intervals(energy_wh=primary, missing=missing, slots_per_day=profile.slots_per_day)
    limit = limit_wh(channels, profile.around.plate, parameters, profile.slots_per_day)
    data = _meter_data(profile, intervals, registers, limit, parameters)
    terms = TermsByDay(stretches, profile.around.plate, profile.first_on, period)
    return Validated(profile, stretches, parameters, wrong, shown, believed, data, terms, terms.validate(data))


def _registers(profile: Profile, believed: NDArray[np.bool_]) -> Registers:
    """Return the registers at midnights; each one's resolution is the largest step that all its readings share."""
    index = np.where(believed, profile.index_wh, 0)
    base = index.max(axis=1, keepdims=True)
    step = np.gcd.reduce(np.where(believed, base - index, 0), axis=1)
    midnight = slice(None, None, profile.slots_per_day)
    return Registers(
        index_wh=np.ascontiguousarray(index[:, midnight]),
        actual=np.ascontiguousarray(believed[:, midnight]),
        digits=np.array([each.digits for each in profile.channels], dtype=np.int64),
        unit_wh=np.full(len(profile.channels), UNIT_WH, dtype=np.int64),
        resolution_wh=np.clip(step, 1, UNIT_WH),
        multiplier=np.array([each.multiplier for each in profile.channels], dtype=np.int64),
    )


def _meter_data(
    profile: Profile,
    intervals: Intervals,
    registers: Registers,
    limit_wh: NDArray[np.int64],
    parameters: Columns,
) -> MeterData:
    n = len(profile.channels)
    export = np.array([each.obis == MeterRegister.EXPORT.value for each in profile.channels])
    around = profile.around
    set_far = around.shift_ms * SHIFT_PART * profile.slots_per_day > DAY_MS
    data = MeterData(
        intervals=intervals,
        registers=registers,
        limit_wh=limit_wh,
        two_way=np.zeros(n, dtype=np.bool_),
        status=around.status | np.where(set_far, np.int32(Status.CLOCK_SET), np.int32(0)),
        clock_offset_s=around.offset_ms // 1_000,
        history_peak_wh=history_peak(intervals),
        band=usual_week(profile, intervals, parameters),
        estimated=_estimated(profile),
    )
    if not export.any():
        return data
    hours = np.arange(profile.days * profile.slots_per_day) % profile.slots_per_day * 24 // profile.slots_per_day
    night = (hours >= NIGHT_FROM) | (hours < NIGHT_UNTIL)
    sold = np.where(export[:, None], intervals.energy_wh, 0)
    return replace(
        data,
        export=replace(intervals, energy_wh=sold),
        night=night[None, :],
        solar=np.array([each.solar for each in profile.channels]),
        inverter_w=around.plate[:, INVERTER].clip(0),
    )


def _estimated(profile: Profile) -> NDArray[np.bool_] | None:
    """Say which slots begin or end with an approved estimate; none if no row has one. [rows × slots]"""
    made = profile.overridden & ((profile.quality & int(Quality.ESTIMATED)) != 0)
    return np.asarray(made[:, 1:] | made[:, :-1]) if made.any() else None
