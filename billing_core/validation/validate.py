"""Validate days: the catalogue over one channel of many meters, its registers, status and solar export, in one call.

What is not known is left out (None), and the rules that need it stay silent. Rules about batches, periods, peers and
transformers have callers of their own; their findings join a verdict by :func:`billing_core.validation.verdict.judge`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation import interval_rules, meter_rules, sum_check
from billing_core.validation.clock_shift import v14_clock_shift
from billing_core.validation.copies import v28_copied
from billing_core.validation.day_scan import DayScan, WeeklyBand, known_energy, scan_days
from billing_core.validation.filled import straight_runs, v16_between_steps
from billing_core.validation.finding import BoolArray, Finding
from billing_core.validation.parameters import Columns
from billing_core.validation.schedules import moved_schedules
from billing_core.validation.series import Intervals, Registers, Status
from billing_core.validation.solar_rules import v42_solar
from billing_core.validation.stale import v27_stale
from billing_core.validation.sum_check import SumCheck, check_sums
from billing_core.validation.verdict import Verdict, judge
from protocols.errors import UsageError

LIMIT_ROOT = 1732  # √3 in thousandths; the limit has ten per cent of room


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterData:
    """What is known of many meters over some days; the rows of all are the same meters.

    Parameters
    ----------
    intervals, registers
        The channel to be judged, and its total register.
    limit_wh
        The most an interval can be (:func:`physical_limit_wh`), 0 where that is not known. [Wh, meters]
    two_way
        Whether the channel may be negative. [meters]
    status
        Sums of ``Status`` flags. [meters × days, int32]
    clock_offset_s
        The largest distance between the meter's and the gateway's clock. [s, meters × days]
    repeated_clock
        How many snapshots of the day carried the clock of the one before. [meters × days, int32]
    in_service
        Whether the meter was connected and under contract. [meters × days]
    export, night, solar, inverter_w
        See :func:`billing_core.validation.solar_rules.v42_solar`.
    history_peak_wh
        Usual daily peak, 0 where that is not known. [Wh, meters]
    band
        Usual range by hour of the week.
    estimated
        Slots whose value is an estimate and says so: nobody asks whether a meter counted it. [meters × slots]
    """

    intervals: Intervals
    registers: Registers
    limit_wh: Int64Array
    two_way: BoolArray
    status: NDArray[np.int32] | None = None
    clock_offset_s: Int64Array | None = None
    repeated_clock: NDArray[np.int32] | None = None
    in_service: BoolArray | None = None
    export: Intervals | None = None
    night: BoolArray | None = None
    solar: BoolArray | None = None
    inverter_w: Int64Array | None = None
    history_peak_wh: Int64Array | None = None
    band: WeeklyBand | None = None
    estimated: BoolArray | None = None

    def __post_init__(self) -> None:
        meters, days = self.intervals.meters, self.intervals.days
        if self.registers.index_wh.shape != (meters, days + 1):
            raise UsageError(
                f"registers: found {self.registers.index_wh.shape}; expected {(meters, days + 1)}, one more than days"
            )
        for name in ("limit_wh", "two_way", "solar", "inverter_w", "history_peak_wh"):
            self._require(name, (meters,))
        for name in ("status", "clock_offset_s", "repeated_clock", "in_service"):
            self._require(name, (meters, days))
        if self.estimated is not None and self.estimated.shape != self.intervals.energy_wh.shape:
            raise UsageError(
                f"estimated: found {self.estimated.shape}; expected {self.intervals.energy_wh.shape}, as intervals"
            )
        given = [each is not None for each in (self.export, self.night, self.solar, self.inverter_w)]
        if any(given) != all(given):
            raise UsageError("solar: found some of export, night, solar, inverter_w; give all four or none")

    def _require(self, name: str, shape: tuple[int, ...]) -> None:
        column = getattr(self, name)
        if column is not None and column.shape != shape:
            raise UsageError(
                f"{name}: found shape {column.shape}; expected {shape}, the same meters and days as intervals"
            )


@dataclass(frozen=True, slots=True)
class Validation:
    """The verdict, every finding by rule, and what the findings were made of."""

    verdict: Verdict
    findings: dict[str, Finding]
    scan: DayScan
    sums: SumCheck


def validate(data: MeterData, parameters: Columns) -> Validation:
    """Apply every rule about days for which there is data."""
    energy = known_energy(data.intervals)
    scan = scan_days(data.intervals, parameters, data.band, energy)
    sums = check_sums(scan, data.registers, parameters, data.limit_wh)
    outage = np.zeros(scan.missing.shape, dtype=np.bool_)
    findings: list[Finding] = []
    if data.status is not None:
        outage = (data.status & int(Status.POWER_FAIL)) != 0
        findings += meter_rules.status_findings(data.status)
    counted = energy if data.estimated is None else np.where(data.estimated, 0, energy)
    between, steps = v16_between_steps(scan, counted, data.registers.multiplier)
    findings += [
        interval_rules.v06_missing(scan),
        between,
        v14_clock_shift(data.intervals, moved_schedules(scan)),
        interval_rules.v20_negative(scan, data.two_way),
        interval_rules.v21_limit(scan, data.limit_wh),
        interval_rules.v23_jump(scan, parameters),
        interval_rules.v25_zero_run(scan, parameters, outage),
        interval_rules.v26_stuck(
            scan, parameters, sums, energy, (steps, straight_runs(counted, steps, scan.slots_per_day))
        ),
        v27_stale(scan, sums, energy, outage, data.repeated_clock),
        v28_copied(scan, parameters, energy),
        interval_rules.v29_load_factor(scan, parameters),
        sum_check.v30_sum(sums),
        sum_check.v32_rollover(sums),
        sum_check.v33_fell(sums),
    ]
    if not data.intervals.reactive:
        findings.append(interval_rules.v22_spike(scan, parameters, sums))
    if data.clock_offset_s is not None:
        per_day = data.intervals.slots_per_day
        findings.append(meter_rules.v07_clock_drift(data.clock_offset_s, parameters, per_day))
    if data.in_service is not None:
        findings.append(meter_rules.v04_use_without_service(scan, data.in_service))
    if data.history_peak_wh is not None:
        findings.append(interval_rules.v24_peak_history(scan, parameters, data.history_peak_wh))
    if data.band is not None:
        findings.append(interval_rules.v50_unusual(scan, parameters))
    if data.export is not None and data.night is not None and data.solar is not None and data.inverter_w is not None:
        resolution = data.registers.resolution_wh * data.registers.multiplier
        findings.append(
            v42_solar(
                data.export,
                data.night,
                solar=data.solar,
                inverter_w=data.inverter_w,
                resolution_wh=resolution,
                parameters=parameters,
            )
        )
    verdict = judge(findings, data.intervals.meters, data.intervals.days)
    return Validation(verdict, {finding.rule.id: finding for finding in findings}, scan, sums)


def physical_limit_wh(
    *,
    voltage_v: Int64Array,
    current_a: Int64Array,
    phases: Int64Array,
    multiplier: Int64Array,
    contract_w: Int64Array,
    slots_per_day: int,
    parameters: Columns,
) -> Int64Array:
    r"""Return the most energy an interval can hold: 1.1 · √3 · U · I · CT · VT · Δ, or 1.5 times the contract's power.

    Parameters
    ----------
    voltage_v
        Between phases; of a single-phase meter, to neutral. [V, meters]
    current_a
        Largest current of the meter. [A, meters]
    phases
        1 or 3. [meters]
    contract_w
        Contracted power, 0 where there is none. [W, meters]
    """
    apparent = voltage_v * current_a * multiplier * np.where(phases == 3, LIMIT_ROOT, 1000) // 1000
    carried = apparent * parameters["limit_percent"] // 100 * 24 // slots_per_day
    agreed = contract_w * parameters["contract_percent"] // 100 * 24 // slots_per_day
    return np.where(contract_w > 0, np.minimum(carried, agreed), carried)
