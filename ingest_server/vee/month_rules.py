"""Rules about a month that rest on the registers at its ends: V34, V36 to V41, V53 and V55. No database, no clock."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import ENERGY_WH_MAX
from billing_core.validation import meter_rules, period_rules, screening
from billing_core.validation.catalogue import RULES
from billing_core.validation.finding import Finding
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Registers
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import Period
from ingest_server.vee.circumstances import CYCLES, Circumstances
from ingest_server.vee.gather import Channel
from ingest_server.vee.plates import UNKNOWN, check_meters
from protocols.telemetry.reading import Quality

UNIT_WH = 1_000  # digits of a register count kWh
LITTLE_RESOLUTION_WH = 1
HOURS = 24
POWER_W_MAX = 10**10  # ten gigawatts
PRODUCT_MAX = 2**62  # of index and multiplier; see billing_core.validation.series.Registers


def hash_of_month(channel: Channel, around: Circumstances, row: int, period: str) -> str:
    """Return what names everything that a register without a profile is judged by; ``period`` with what was set."""
    return hashlib.sha256(repr((*channel, period)).encode() + around.hash_of(row)).hexdigest()


def countable(index_wh: NDArray[np.int64], multiplier: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which readings can be computed with: not negative, and index × multiplier fits into 64 bits.

    Rows are computed together, so the largest multiplier counts for all; what is beyond is told by V03. [rows × …]
    """
    return np.asarray((index_wh >= 0) & (index_wh <= PRODUCT_MAX // int(multiplier.max(initial=1))))


def own_total(channels: Sequence[Channel]) -> NDArray[np.bool_]:
    """Say which rows are the total of what is supplied: the one that usual energy is known of."""
    return np.array([each.obis == MeterRegister.SG.value and not each.generation for each in channels], dtype=np.bool_)


def usual_daily_wh(channels: Sequence[Channel]) -> NDArray[np.int64]:
    """Return what a day usually takes: in the same month last year, else in the last bill; 0 if neither. [Wh]"""

    def daily(pairs: list[tuple[int, int]]) -> NDArray[np.int64]:
        return np.array([energy // days if days else 0 for energy, days in pairs], dtype=np.int64)

    year = daily([(each.year_wh, each.year_days) for each in channels])
    last = daily([(each.last_wh, each.last_days) for each in channels])
    return period_rules.first_known([year, last])


def month_energy(channels: Sequence[Channel], around: Circumstances) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the energy between the registers at the month's ends, and where both are known and in order. [Wh]"""
    multiplier = np.array([each.multiplier for each in channels], dtype=np.int64)
    read = _read(around, multiplier)
    known = read.all(axis=1)
    shown = np.where(read, around.value[:, -2:], 0)
    energy = (shown[:, 1] - shown[:, 0]) * multiplier
    known &= np.abs(energy) <= ENERGY_WH_MAX
    return np.where(known, energy, 0), known & (energy >= 0)


def _read(around: Circumstances, multiplier: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which of the registers at both ends of the month were read and are not doubted. [rows × 2]"""
    quality = around.quality[:, -2:]
    read = (quality != UNKNOWN) & (quality & int(Quality.SUSPECT) == 0)
    return np.asarray(read & countable(around.value[:, -2:], multiplier))


def month_findings(
    channels: Sequence[Channel],
    around: Circumstances,
    parameters: Columns,
    period: Period,
    *,
    by_register: bool,
) -> list[Finding]:
    """Apply the rules to the registers at the month's ends.

    Parameters
    ----------
    by_register
        Whether the registers are all that is known: then V34 and V36 are judged by them, and any reading may have been
        written down by a person (V37). Of those with a profile the profile speaks for V34 and V36.
    """
    rows = len(channels)
    days = np.full(rows, period.days, dtype=np.int64)
    own = own_total(channels)
    energy, known = month_energy(channels, around)
    daily = np.where(own, usual_daily_wh(channels), 0)
    multiplier = np.array([each.multiplier for each in channels], dtype=np.int64)
    estimated = (around.quality != UNKNOWN) & ((around.quality & int(Quality.ESTIMATED)) != 0)
    reactive = np.where(around.reactive_varh == UNKNOWN, 0, around.reactive_varh).clip(0, ENERGY_WH_MAX) * multiplier
    findings = [
        _digit_error(channels, around, daily * days, parameters, by_register=by_register),
        meter_rules.v38_estimates(estimated, parameters),
        period_rules.v39_hours_of_use(energy, around.peak_w.clip(0, POWER_W_MAX) * multiplier, days * HOURS),
        _only(period_rules.v40_reactive(energy, reactive, parameters), known & (around.reactive_varh != UNKNOWN)),
        check_meters(energy, known & own, around.plate, around.check),
        _last_digits(around),
        _same_reading(around),
    ]
    if by_register:
        last_bill = np.array([each.last_wh if each.last_days else 1 for each in channels], dtype=np.int64)
        idle = np.stack([last_bill, energy], axis=1)
        findings.append(period_rules.v34_high_low(energy, days, np.where(known, daily, 0), parameters))
        findings.append(meter_rules.v36_idle(idle, own & known, parameters))
    return findings


def _digit_error(
    channels: Sequence[Channel],
    around: Circumstances,
    usual_wh: NDArray[np.int64],
    parameters: Columns,
    *,
    by_register: bool,
) -> Finding:
    rows = len(channels)
    multiplier = np.array([each.multiplier for each in channels], dtype=np.int64)
    read = _read(around, multiplier)
    registers = Registers(
        index_wh=np.ascontiguousarray(np.where(read, around.value[:, -2:], 0)),
        actual=read,
        digits=np.array([each.digits for each in channels], dtype=np.int64),
        unit_wh=np.full(rows, UNIT_WH, dtype=np.int64),
        resolution_wh=np.full(rows, LITTLE_RESOLUTION_WH, dtype=np.int64),
        multiplier=multiplier,
    )
    keyed = (around.quality[:, -1] != UNKNOWN) & ((around.quality[:, -1] & int(Quality.MANUAL)) != 0)
    return _only(period_rules.v37_digit_error(registers, usual_wh, parameters), keyed | by_register)


def _last_digits(around: Circumstances) -> Finding:
    """V53 of a reader, told of each register that the reader keyed at the month's end."""
    readers = around.digits.shape[0]
    digit, reader = np.tile(np.arange(10), readers), np.repeat(np.arange(readers), 10)
    count = around.digits.ravel()
    finding = screening.v53_last_digits(np.repeat(digit, count), np.repeat(reader, count), readers)
    who = around.reader[:, -1]
    if not readers:
        empty = np.zeros(who.shape)
        return Finding(RULES["V53"], empty > 0, {"chi_square": empty, "readings": empty})
    at = who.clip(0)
    evidence = {name: column[at] for name, column in finding.evidence.items()}
    return Finding(finding.rule, finding.mask[at] & (who != UNKNOWN), evidence)


def _same_reading(around: Circumstances) -> Finding:
    finding = screening.v55_same_reading(around.value, around.reader)
    return _only(finding, (around.reader[:, 1 - CYCLES :] != UNKNOWN).all(axis=1))


def _only(finding: Finding, where: NDArray[np.bool_]) -> Finding:
    return replace(finding, mask=finding.mask & where)
