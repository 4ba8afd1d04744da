"""Judge: what the rules find in a month of many channels, and readings for the gaps. No database, no clock."""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.validation import meter_rules, period_rules, screening
from billing_core.validation.catalogue import Severity
from billing_core.validation.finding import Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Registers
from billing_core.validation.sum_check import v31_rates
from billing_core.validation.validate import Validation
from ingest_server.billing.columns import RATES, REGISTERS, MeterRegister
from ingest_server.billing.period import Period
from ingest_server.vee.circumstances import Circumstances
from ingest_server.vee.class_days import Classes
from ingest_server.vee.fill import Proposed, fill, propose
from ingest_server.vee.gather import Channel, Profile
from ingest_server.vee.month_rules import (
    hash_of_month,
    month_energy,
    month_findings,
    own_total,
    usual_daily_wh,
)
from ingest_server.vee.plates import UNKNOWN, master_data
from ingest_server.vee.terms_by_day import (
    Setting,
    Stretch,
    class_of,
    days_served,
    parameters_of,
    stretches_of,
)
from ingest_server.vee.validated import validated

MONTH_DAYS = 30
UNUSUAL = "V50"
SCREEN_DAYS = 14  # before the month, with which V51, V52 and V54 compare it


class Found(NamedTuple):
    """A finding about a channel's day, or its month."""

    row: int
    rule: str
    version: int
    severity: int
    found_on: date
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a profile: the hash of what each row was judged by, findings, proposals, and usual energy."""

    channels: tuple[Channel, ...]
    hashes: tuple[str, ...]
    severity: NDArray[np.int64]
    monthly_wh: NDArray[np.int64]
    found: list[Found]
    proposed: list[Proposed]
    gaps_left: NDArray[np.int64]  # slots of the month without a reading that nothing could be proposed for, per row
    applied: frozenset[str]  # ids of the rules that had the data they need, whatever they found


def hash_of(profile: Profile, row: int, period: Period) -> str:
    """Return what names everything that a row is judged by."""
    channel = profile.channels[row]
    told = _set_for(stretches_of(channel, profile.settings, period))
    digest = hashlib.sha256(repr((*channel, profile.first_on, profile.slots_per_day, *told)).encode())
    digest.update(profile.index_wh[row].astype("<i8").tobytes())
    digest.update(profile.quality[row].astype("<i2").tobytes())
    digest.update(np.packbits(profile.read[row]).tobytes())
    digest.update(profile.around.hash_of(row))
    for energy, known in (
        (profile.check_wh, profile.check_valid),
        (profile.last_year_wh, profile.last_year_known),
    ):
        if energy is not None and known is not None and known[row].any():
            digest.update(np.where(known[row], energy[row], -1).astype("<i8").tobytes())
    return digest.hexdigest()


def _set_for(stretches: list[Stretch]) -> list[tuple[date, tuple[tuple[str, int], ...]]]:
    """Return what was set, and from which day; nothing where nothing was, so that such a month keeps its hash."""
    return [(each.first_on, each.values) for each in stretches if each.values]


def judge(profile: Profile, period: Period, classes: Classes = dict) -> Judged:
    """Apply the rules to a profile and propose readings where they are missing or failed.

    Parameters
    ----------
    classes
        Gives the days of classes (E7); asked only if a row has no day of its own. Without it none are known.
    """
    hashes = tuple(hash_of(profile, row, period) for row in range(len(profile.channels)))
    profile, stretches, parameters, wrong, shown, believed, data, terms, result = validated(profile, period)
    channels, at_point = profile.channels, profile.at_point()
    first, last = (period.first_on - profile.first_on).days, (period.last_on - profile.first_on).days + 1
    hung = (at_point[:, 1:] & at_point[:, :-1]).reshape(len(channels), profile.days, -1)
    whole_day = np.asarray(hung.all(axis=2))
    asked = np.zeros(whole_day.shape, dtype=np.bool_)
    asked[:, first:last] = whole_day[:, first:last]
    findings = [
        *result.findings.values(),
        _misread(profile, wrong),
        *_of_period(profile, result, parameters, (first, last)),
        *_rates_against_total(profile, data.registers),
        _siblings(profile),
        master_data(channels, profile.around.plate, np.where(shown, profile.index_wh, 0).max(axis=1)),
        meter_rules.v04_use_without_service(result.scan, days_served(stretches, profile.first_on, profile.days)),
        *month_findings(channels, profile.around, parameters, period, by_register=False),
    ]
    listed = _with_support(_listed(findings, profile, asked, period))
    gaps = fill(profile, data, believed, result, period, classes=classes)
    proposed, left = (
        propose(profile, data, gaps, believed, terms) if gaps is not None else ([], np.zeros(0, dtype=np.int64))
    )
    gaps_left = np.zeros(len(channels), dtype=np.int64)
    if gaps is not None:
        gaps_left[gaps.rows] = left
    severity = np.zeros(len(channels), dtype=np.int64)
    for each in listed:
        severity[each.row] = max(severity[each.row], each.severity)
    usual = np.median(result.scan.total, axis=1).astype(np.int64) * MONTH_DAYS
    return Judged(
        channels,
        hashes,
        severity,
        usual,
        listed,
        proposed,
        gaps_left,
        frozenset(each.rule.id for each in findings),
    )


def _siblings(profile: Profile) -> Finding:
    """Of registers of one meter that come on one grid, one did not come on a day when others did (V05)."""
    per_day = profile.slots_per_day
    came = profile.read[:, 1:].reshape(len(profile.channels), profile.days, per_day).any(axis=2)
    keys = [(each.point, each.installed_at) for each in profile.channels]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    meter = np.array([numbers[key] for key in keys])
    present = np.zeros((len(numbers), profile.days), dtype=np.int32)
    np.add.at(present, meter, came.astype(np.int32))
    finding = meter_rules.v05_siblings(present, np.bincount(meter).astype(np.int32))
    evidence = {name: column[meter] for name, column in finding.evidence.items()}
    return replace(finding, mask=finding.mask[meter] & (present[meter] > 0) & ~came, evidence=evidence)


def judge_months(
    channels: tuple[Channel, ...], around: Circumstances, period: Period, settings: tuple[Setting, ...] = ()
) -> Judged:
    """Apply the rules to registers that have no profile, by what they showed at the months' ends."""
    stretches = [stretches_of(each, settings, period) for each in channels]
    hashes = tuple(
        hash_of_month(each, around, row, f"{period} {_set_for(stretches[row])}") for row, each in enumerate(channels)
    )
    channels = tuple(each[-1].channel for each in stretches)
    parameters = parameters_of([each[-1] for each in stretches], period)
    energy, known = month_energy(channels, around)
    highest = np.where(around.quality == UNKNOWN, 0, around.value).max(axis=1)
    findings = [
        *month_findings(channels, around, parameters, period, by_register=True),
        master_data(channels, around.plate, highest),
    ]
    listed = [
        Found(row, each.rule.id, each.rule.version, int(each.severities()[row]), period.first_on, each.at(row))
        for each in findings
        for row in np.flatnonzero(each.mask).tolist()
    ]
    severity = np.zeros(len(channels), dtype=np.int64)
    for each in listed:
        severity[each.row] = max(severity[each.row], each.severity)
    usual = np.where(known, energy * MONTH_DAYS // period.days, usual_daily_wh(channels) * MONTH_DAYS)
    return Judged(
        channels,
        hashes,
        severity,
        usual,
        listed,
        [],
        np.zeros(len(channels), dtype=np.int64),
        frozenset(each.rule.id for each in findings),
    )


def _misread(profile: Profile, wrong: NDArray[np.bool_]) -> Finding:
    """A single reading between two that agree: a register that fell, or jumped and came back (V33)."""
    per_day = profile.slots_per_day
    inside = wrong[:, :-1].reshape(len(profile.channels), profile.days, per_day)
    count = inside.sum(axis=2)
    first = inside.argmax(axis=2)
    rows, days = np.indices(count.shape)
    return found("V33", count > 0, misread=count, index_wh=profile.index_wh[rows, days * per_day + first])


def _rates_against_total(profile: Profile, registers: Registers) -> list[Finding]:
    """Compare the registers of meters with three rates to their totals; findings stand at the total's row (V31)."""
    meters: dict[tuple[str, datetime], dict[str, int]] = {}
    for row, each in enumerate(profile.channels):
        meters.setdefault((each.point, each.installed_at), {})[each.obis] = row
    names = [each.value for each in REGISTERS[RATES]]
    whole = [rows for rows in meters.values() if {*names, MeterRegister.SG.value} <= rows.keys()]
    if not whole:
        return []
    total = np.array([rows[MeterRegister.SG.value] for rows in whole])
    rates = np.array([[rows[name] for name in names] for rows in whole])
    actual = registers.actual[total] & registers.actual[rates].all(axis=1)
    of_total = Registers(
        index_wh=registers.index_wh[total],
        actual=registers.actual[total],
        digits=registers.digits[total],
        unit_wh=registers.unit_wh[total],
        resolution_wh=np.maximum(registers.resolution_wh[total], registers.resolution_wh[rates].max(axis=1)),
        multiplier=registers.multiplier[total],
    )
    rates_wh = np.ascontiguousarray(registers.index_wh[rates].transpose(0, 2, 1))
    finding = v31_rates(rates_wh, registers.index_wh[total], actual, of_total)
    return [_spread_rows(finding, total, (len(profile.channels), profile.days))]


def _of_period(profile: Profile, result: Validation, parameters: Columns, span: tuple[int, int]) -> list[Finding]:
    """Apply the rules about the month as a whole, and the screens of the inspection queue."""
    first, last = span
    channels = profile.channels
    days = np.full(len(channels), last - first, dtype=np.int64)
    complete = (result.scan.missing[:, first:last] == 0).all(axis=1)
    energy = result.scan.total[:, first:last].sum(axis=1)
    own = own_total(channels)
    before = usual_daily_wh(channels)
    # Of an incomplete month or a register of one rate nothing can be said against a whole bill.
    usual = np.where(complete & own, before, 0)
    last_bill = np.array([each.last_wh if each.last_days else 1 for each in channels], dtype=np.int64)
    idle = np.stack([last_bill, energy], axis=1)
    found_here = [
        period_rules.v34_high_low(energy, days, usual, parameters),
        meter_rules.v36_idle(idle, own & complete, parameters),
    ]
    known = (result.scan.missing == 0) & (result.verdict.severity < int(Severity.FAIL))
    daily = result.scan.total
    begin = max(0, first - SCREEN_DAYS)
    seen = slice(begin, last)
    rows = np.flatnonzero(own & known[:, seen].all(axis=1))
    if rows.size > 1 and last >= MONTH_DAYS:
        peers = np.array([class_of(channels[row].category) for row in rows], dtype=np.int64)
        step = screening.v51_change_point(daily[rows, seen], known[rows, seen], peers)
        lowest = screening.v52_lowest(energy[rows], peers, np.ones(rows.size, dtype=np.bool_))
        found_here.append(_spread_rows(step, rows, daily.shape, begin))
        screens = (lowest, screening.v54_volatility(daily[rows, seen]))
        found_here.extend(_spread_rows(screen, rows, daily.shape[:1]) for screen in screens)
    return found_here


def _spread_rows(finding: Finding, rows: NDArray[np.int64], shape: tuple[int, ...], begin: int = 0) -> Finding:
    """Return a finding about some rows, from a day on, as one about all rows and days."""

    def whole(column: NDArray[Any]) -> NDArray[Any]:
        spread = np.zeros(shape, dtype=column.dtype)
        if column.ndim > 1:
            spread[rows, begin : begin + column.shape[1]] = column
        else:
            spread[rows] = column
        return spread

    return replace(finding, mask=whole(finding.mask), evidence={n: whole(c) for n, c in finding.evidence.items()})


def _with_support(listed: list[Found]) -> list[Found]:
    """Leave out V50 of registers that nothing else speaks against: by itself it minds a fifth of all days.

    Four values an hour of the week are few, and people's weeks differ; see docs/domain/validation-applied.md. Beside
    another finding it says which days to look at.
    """
    others = {each.row for each in listed if each.rule != UNUSUAL and each.severity >= int(Severity.CASE)}
    return [each for each in listed if each.rule != UNUSUAL or each.row in others]


def _listed(findings: list[Finding], profile: Profile, asked: NDArray[np.bool_], period: Period) -> list[Found]:
    """Return the findings about the month's days, one row each; the rules of one day and id are one finding."""
    listed: dict[tuple[int, str, date], Found] = {}
    for finding in findings:
        rule = finding.rule
        severity = finding.severities()
        places: list[tuple[tuple[int, ...], date]]
        if finding.mask.ndim == 1:
            places = [((int(row),), period.first_on) for row in np.flatnonzero(finding.mask & asked.any(axis=1))]
        else:
            places = [
                ((row, day), profile.first_on + timedelta(days=day))
                for row, day in np.argwhere(finding.mask & asked).tolist()
            ]
        for index, day in places:
            one = Found(index[0], rule.id, rule.version, int(severity[index]), day, finding.at(*index))
            listed.setdefault((index[0], rule.id, day), one)
    return list(listed.values())
