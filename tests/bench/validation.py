"""How fast intervals are validated: every rule about days together, on one core, on a simulated district.

Balances (V15) need transformers with meters of their own and are weighed longer where meters are wrong, so they are
measured on the district of the fault campaign: one meter in twenty is at fault.
"""

from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np

from billing_core.validation.balance import v15_balance
from billing_core.validation.believed import believed_daily
from billing_core.validation.catalogue import Severity
from billing_core.validation.day_scan import scan_days
from billing_core.validation.screening import weekly_band
from billing_core.validation.validate import validate
from tests.billing_core.validation.campaign import FAULT_SHARE, RECIPES, given_daily_wh, read_as_given_wh
from tests.billing_core.validation.faults import inject
from tests.billing_core.validation.population import copy_of, make_district

METERS, DAYS = 2_000, 31
ROUNDS = 5
PASSES = 3  # of the floor: one alone is short for the clock
FLOOR_COPIES = 8  # of the readings: 190 MB, which no cache holds
TARGET = 10_000_000  # a second and core: the country's 30 million customers' day in two and a half minutes


def measure() -> list[dict[str, Any]]:
    """Return readings a second: the one pass over the intervals, and all rules with their evidence and the verdict."""
    district = make_district(METERS, DAYS, seed=1)
    band = weekly_band(district.data.intervals, 0, DAYS % 7, district.parameters)
    data = replace(district.data, band=band, history_peak_wh=district.data.limit_wh // 2)
    readings = data.intervals.energy_wh.size
    large = np.tile(data.intervals.energy_wh, (FLOOR_COPIES, 1))
    scanned, validated, floors = [], [], []
    validate(data, district.parameters)  # memory is there before the clock runs
    for _ in range(ROUNDS):
        begun = process_time()
        for _ in range(PASSES):
            large.sum()
        floors.append(large.size * PASSES / (process_time() - begun))
        begun = process_time()
        scan_days(data.intervals, district.parameters, band)
        passed = process_time()
        validate(data, district.parameters)
        scanned.append(readings / (passed - begun))
        validated.append(readings / (process_time() - passed))
    whole, balance_ns = _with_balances()
    return [
        _row("validation, the pass over the intervals", max(scanned)),
        _row("validation, all rules about days but balances", max(validated)),
        _row("validation, all rules, balances behind transformers, every twentieth meter at fault", whole),
        {
            "name": "validation, balances (V15) alone, every twentieth meter at fault",
            "value": round(balance_ns, 1),
            "unit": "ns/reading",
            "target": "–",
            "met": True,
            "command": "python -m tests.bench validation",
        },
        {
            "name": "validation, all rules, in times that memory is read once (a sum)",
            "value": round(max(floors) / max(validated), 1),
            "unit": "×",
            "target": "–",
            "met": True,
            "command": "python -m tests.bench validation",
        },
    ]


def _with_balances() -> tuple[float, float]:
    """Return readings a second with all rules and the balances, and what balances alone take. [1/s], [ns/reading]"""
    district = copy_of(make_district(METERS, DAYS, seed=2))
    inject(district, RECIPES["fresh"], FAULT_SHARE, 2)
    band = weekly_band(district.data.intervals, 0, DAYS % 7, district.parameters)
    data = replace(district.data, band=band, history_peak_wh=district.data.limit_wh // 2)
    failed = validate(data, district.parameters).verdict.at_least(Severity.FAIL)
    given, given_read = given_daily_wh(district, failed), read_as_given_wh(district)
    known, supplied = np.ones(failed.shape, dtype=np.bool_), np.ones(district.supplied_wh.shape, dtype=np.bool_)
    whole, balances = [], []
    for _ in range(ROUNDS):
        begun = process_time()
        result = validate(data, district.parameters)
        ruled = process_time()
        taken = believed_daily(result.scan, result.sums, result.verdict.at_least(Severity.FAIL))
        v15_balance(
            taken,
            given,
            known,
            transformer=district.transformer,
            supplied_wh=district.supplied_wh,
            supplied=supplied,
            read_wh=(result.scan.total, given_read),
        )
        ended = process_time()
        del result  # as the rules alone are measured: nothing of the round before is held
        whole.append(ended - begun)
        balances.append(ended - ruled)
    readings = data.intervals.energy_wh.size
    return readings / min(whole), min(balances) / readings * 1e9


def _row(name: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value),
        "unit": "readings/s/core",
        "target": TARGET,
        "met": value >= TARGET,
        "command": "python -m tests.bench validation",
    }
