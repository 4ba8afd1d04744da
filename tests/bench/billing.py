"""How fast bills are computed: arithmetic only, one core, no database."""

from time import process_time
from typing import Any

import numpy as np

from billing_core.batch import batch_of
from billing_core.codes import Category
from billing_core.engine import charge
from billing_core.tariff_files import load_tariffs

BILLS = 500_000
ROUNDS = 5
TARGET = 1_000_000  # a second and core: the country's 30 million customers in half a minute


def measure() -> list[dict[str, Any]]:
    """Return bills a second: six tiers, fractions of households, a stretched period, tax; and the same with lines."""
    rng = np.random.default_rng(1)
    batch = batch_of(
        energy_wh=rng.integers(900_000, 2_000_000, BILLS),
        start_on=np.datetime64("2025-12-01"),
        end_on=np.datetime64("2025-12-29"),
        category=Category.RESIDENTIAL.code,
        households=rng.integers(4, 9, BILLS),
        households_parts=4,
    )
    tariffs = load_tariffs()
    charge(batch, tariffs)  # memory and tables are there before the clock runs
    bare, with_lines = [], []
    for _ in range(ROUNDS):
        begun = process_time()
        charges = charge(batch, tariffs)
        computed = process_time()
        lines = charges.lines()
        bare.append(BILLS / (computed - begun))
        with_lines.append(BILLS / (process_time() - begun))
    assert lines.bill.shape[0] == 6 * BILLS
    return [
        _row("register bills, six tiers, arithmetic", max(bare)),
        _row("register bills, six tiers, with lines as flat columns", max(with_lines)),
    ]


def _row(name: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value),
        "unit": "bills/s/core",
        "target": TARGET,
        "met": value >= TARGET,
        "command": "python -m tests.bench billing",
    }
