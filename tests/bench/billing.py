"""How fast bills are computed: arithmetic only, one core, no database."""

from fractions import Fraction
from time import process_time
from typing import Any

import numpy as np

from billing_core.batch import batch_of
from billing_core.codes import Category
from billing_core.engine import charge
from billing_core.rates.accumulate import accumulate, calendar_of
from billing_core.rates.bill import charge_years
from billing_core.rates.tariff import Level, RateTariff
from billing_core.tariff_files import load_tariffs
from billing_core.what_if import always, compare, made_up, summed, with_percent

BILLS = 500_000
ROUNDS = 5
TARGET = 1_000_000  # a second and core: the country's 30 million customers in half a minute
CUSTOMERS, LOT = 1_000_000, 100_000
WHAT_IF_S = 10
YEARS = 8_192  # 17,520 half hours each: 570 MB of load and sun
YEARS_TARGET = 50_000


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
        _net_billing(),
    ]


def _net_billing() -> dict[str, Any]:
    """Measure years of half hours of load and sun, accumulated and billed by three rates each month."""
    rng = np.random.default_rng(1)
    half_hours = np.arange("2025-01-01T00:00", "2026-01-01T00:00", 30, dtype="datetime64[m]")
    weekday = np.zeros((12, 24), dtype=np.int64)
    weekday[:, [9, 10, 11, 17, 18, 19]], weekday[:, [22, 23, 0, 1, 2, 3]] = 1, 2
    calendar = calendar_of(half_hours, weekday, np.where(weekday == 1, 0, weekday), 30)
    load, sun = (rng.integers(0, most, (half_hours.shape[0], YEARS), dtype=np.int16) for most in (900, 700))
    prices = ((1_987, 671), (3_640, 671), (1_300, 671))
    tariff = RateTariff(energy=tuple((Level(upto=None, price=p * 10**6, sell=s * 10**6),) for p, s in prices))
    fastest = 0.0
    for _ in range(ROUNDS):
        begun = process_time()
        bills = charge_years(accumulate(calendar, load, sun, peaks=False), tariff)
        fastest = max(fastest, YEARS / (process_time() - begun))
    assert bills.total.shape == (12, YEARS)
    return {
        "name": "half-hourly net-billing customer-years",
        "value": round(fastest),
        "unit": "years/s/core",
        "target": YEARS_TARGET,
        "met": fastest >= YEARS_TARGET,
        "command": "python -m tests.bench billing",
    }


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
