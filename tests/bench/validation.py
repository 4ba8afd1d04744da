"""How fast intervals are validated: every rule about days together, on one core, on a simulated district."""

from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np

from billing_core.validation.day_scan import scan_days
from billing_core.validation.screening import weekly_band
from billing_core.validation.validate import validate
from tests.billing_core.validation.population import make_district

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
    return [
        _row("validation, the pass over the intervals", max(scanned)),
        _row("validation, all rules about days", max(validated)),
        {
            "name": "validation, all rules, in times that memory is read once (a sum)",
            "value": round(max(floors) / max(validated), 1),
            "unit": "×",
            "target": "–",
            "met": True,
            "command": "python -m tests.bench validation",
        },
    ]


def _row(name: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value),
        "unit": "readings/s/core",
        "target": TARGET,
        "met": value >= TARGET,
        "command": "python -m tests.bench validation",
    }
