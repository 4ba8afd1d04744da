"""How fast bills are computed: arithmetic only, one core, no database."""

from fractions import Fraction
from time import process_time
from typing import Any

import numpy as np

from billing_core.batch import batch_of
from billing_core.codes import Category
from billing_core.engine import charge
from billing_core.tariff_files import load_tariffs
from billing_core.what_if import always, compare, made_up, summed, with_percent

BILLS = 500_000
ROUNDS = 5
TARGET = 1_000_000  # a second and core: the country's 30 million customers in half a minute
CUSTOMERS, LOT = 1_000_000, 100_000
WHAT_IF_S = 10


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
        _what_if(),
    ]


def _what_if() -> dict[str, Any]:
    """Measure a made-up population of a million under two tariffs, made up and all, in processor seconds."""
    tariffs = load_tariffs()
    months = tuple(np.arange("2025-06", "2026-06", dtype="datetime64[M]").astype("datetime64[D]").tolist())
    act, structure = tariffs.acts[-1], tariffs.structures[-1]
    other = with_percent(tariffs, act, structure, Fraction(5))
    begun = process_time()
    lots = (made_up(LOT, months, np.random.default_rng(seed)) for seed in range(CUSTOMERS // LOT))
    outcome = summed(compare(lot, always(tariffs, act, structure), other) for lot in lots)
    took_s = process_time() - begun
    assert outcome.losers == outcome.customers == CUSTOMERS
    return {
        "name": "what-if, a million customers × 12 months under two tariffs",
        "value": round(took_s, 2),
        "unit": "s",
        "target": WHAT_IF_S,
        "met": took_s <= WHAT_IF_S,
        "command": "python -m tests.bench billing",
    }


def _row(name: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value),
        "unit": "bills/s/core",
        "target": TARGET,
        "met": value >= TARGET,
        "command": "python -m tests.bench billing",
    }
