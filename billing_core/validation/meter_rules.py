"""Rules about the meter rather than its values: V01 to V05, V07 to V13, V36 and V38."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from billing_core.rounding import Int64Array
from billing_core.validation.catalogue import Severity
from billing_core.validation.day_scan import DayScan
from billing_core.validation.finding import BoolArray, Column, Finding, found
from billing_core.validation.parameters import Columns
from billing_core.validation.series import Status
from protocols.errors import UsageError

STATUS_RULES: Mapping[str, Status] = {
    "V08": Status.CLOCK_SET | Status.LONG_INTERVAL | Status.SHORT_INTERVAL,
    "V09": Status.POWER_FAIL,
    "V10": Status.OVERFLOW,
    "V11": Status.TEST_MODE,
    "V12": Status.MEMORY_ERROR | Status.WATCHDOG,
    "V13": Status.TAMPER | Status.COVER_OPEN | Status.MAGNET | Status.REVERSE_FLOW,
}
"""Which flags of a meter's status raise which rule."""


def v01_v02_repeated(keys: Sequence[Column], value: Int64Array) -> tuple[Finding, Finding]:
    """Find rows whose key came before in the batch: with the same value (V01), with another (V02).

    Parameters
    ----------
    keys
        The columns that make the key, such as channel and time. [rows each]
    value
        [rows]

    Returns
    -------
    tuple
        Masks over rows. The first row of a key is never marked; of the others each is compared to that first one.
    """
    rows = value.shape[0]
    order = np.lexsort(tuple(reversed(keys)))  # stable: the first of equals stays first
    again = np.zeros(rows, dtype=np.bool_)
    if rows:
        again[1:] = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    first_of = order[np.maximum.accumulate(np.where(again, 0, np.arange(rows)))] if rows else order
    repeated = np.zeros(rows, dtype=np.bool_)
    repeated[order] = again
    first = np.zeros(rows, dtype=np.int64)
    first[order] = first_of
    same = value == value[first]
    return found("V01", repeated & same, first_row=first), found("V02", repeated & ~same, first_row=first)


def v03_master_data(reported: Mapping[str, Column], expected: Mapping[str, Column]) -> Finding:
    """Compare what the meter or head-end says of itself to master data, column by column. [meters each]

    The evidence ``differing`` has bit k set where the k-th column (in the order of ``expected``) differs.
    """
    if reported.keys() != expected.keys() or not expected:
        raise UsageError(f"V03: found columns {sorted(reported)}; expected {sorted(expected)}: give both the same")
    bits = [
        (reported[name] != column).astype(np.int64) << place for place, (name, column) in enumerate(expected.items())
    ]
    differing = np.add.reduce(bits)
    return found("V03", differing > 0, differing=differing)


def v04_use_without_service(scan: DayScan, in_service: BoolArray) -> Finding:
    """Energy on a day on which the meter was removed, disconnected or without a contract. ``in_service``: per day"""
    return found("V04", (scan.total > 0) & ~in_service, energy_wh=scan.total)


def v05_siblings(present: NDArray[np.int32], expected: NDArray[np.int32]) -> Finding:
    """Fewer channels came than the meter has. ``present``: [meters × days]; ``expected``: [meters]"""
    wanted = np.broadcast_to(expected[:, None], present.shape)
    return found("V05", present < wanted, present=present, expected=wanted)


def v07_clock_drift(offset_s: Int64Array, parameters: Columns, slots_per_day: int) -> Finding:
    """The meter's clock against the gateway's: beyond a minute warns, beyond a part of the interval fails.

    Parameters
    ----------
    offset_s
        The largest offset seen in each day. [s, meters × days]
    """
    size = np.abs(offset_s)
    fail = 86_400 // slots_per_day // parameters["clock_fail_part"].clip(1)[:, None]
    severity = np.where(size > fail, np.int8(Severity.FAIL), np.int8(Severity.WARN))
    mask = size > np.minimum(parameters["clock_warn_s"][:, None], fail)
    return found("V07", mask, severity, offset_s=offset_s, fails_beyond_s=np.broadcast_to(fail, size.shape))


def status_findings(status: NDArray[np.int32]) -> list[Finding]:
    """Turn the meter's own flags into findings: V08 to V13. ``status``: sums of ``Status``, [meters × days]"""
    return [found(rule, (status & int(flags)) != 0, status=status) for rule, flags in STATUS_RULES.items()]


def v36_idle(energy_wh: Int64Array, active: BoolArray, parameters: Columns) -> Finding:
    """No use in the last periods on an active contract. ``energy_wh``: [Wh, meters × periods], the latest last"""
    idle = _trailing(energy_wh == 0)
    return found("V36", (idle >= parameters["idle_periods"]) & active, periods=idle)


def v38_estimates(estimated: BoolArray, parameters: Columns) -> Finding:
    """More estimated periods in a row than the class may have: somebody must visit. [meters × periods], latest last"""
    row = _trailing(estimated)
    return found("V38", row > parameters["estimates_in_a_row"], periods=row)


def _trailing(mask: BoolArray) -> NDArray[np.int64]:
    """Return how many elements at the end of each row are set without a break."""
    broken = np.logical_or.accumulate(~mask[:, ::-1], axis=1)
    length: NDArray[np.int64] = (~broken).sum(axis=1)
    return length
