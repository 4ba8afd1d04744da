"""Readings keyed by hand with a slip of the pen: how many are held, and how many right readings are held with them.

::

    python -m tests.billing_core.validation.digit_errors --meters 4000 --seed 1

Each meter has the energy of one month and of the same month a year before, from the simulators' loads. A slip is
material if it moves the month's energy by more than 30 kWh and out of 70 % to 140 % of the truth.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import date

import numpy as np

from billing_core.validation.parameters import columns_on, load_parameters
from billing_core.validation.period_rules import v34_high_low, v37_digit_error
from billing_core.validation.series import Registers
from simulators.chance import key_of
from simulators.loads import Consumer, Kind, energies
from simulators.sky import PLACES
from tests.billing_core.validation.population import MONDAY_SLOT, PER_DAY, SIZES

DIGITS, DAYS, YEAR = 5, 30, 364
KINDS, SHARES = (Kind.HOUSEHOLD, Kind.SHOP, Kind.SOLAR), (0.8, 0.1, 0.1)
SLIPS = ("transposed", "replaced", "left out", "written twice", "neighbour's")


@dataclass
class DigitScore:
    made: Counter[str]
    held: Counter[str]
    material: Counter[str]
    material_held: Counter[str]
    proposed_right: int = 0
    proposed: int = 0
    right_held: int = 0
    right: int = 0

    @property
    def false_per_1000_days(self) -> float:
        return 1000 * self.right_held / (self.right * DAYS)


def monthly_kwh(meters: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class, energy of the month a year ago and of this month. [kWh]"""
    rng = np.random.default_rng([seed, 3])
    start = MONDAY_SLOT + 30 * PER_DAY * rng.integers(0, 12, meters)
    month = np.arange(DAYS * PER_DAY)
    before, now = np.zeros(meters, dtype=np.int64), np.zeros(meters, dtype=np.int64)
    kind = rng.choice(len(KINDS), meters, p=SHARES)
    for meter in range(meters):
        which = KINDS[kind[meter]]
        low, high = SIZES[which]
        size = int(np.exp(rng.uniform(np.log(low), np.log(high))))
        place = list(PLACES)[int(rng.integers(len(PLACES)))]
        panels = size * 15 if which is Kind.SOLAR else 0
        consumer = Consumer(which, size, place, key_of(seed, meter), key_of(seed, place), panels)
        life = np.exp(rng.normal(0, 0.12))  # a year changes a household
        before[meter] = energies(consumer, start[meter] - YEAR * PER_DAY + month).imported.sum() // 1000
        now[meter] = int(energies(consumer, start[meter] + month).imported.sum() * life) // 1000
    return np.where(kind == 1, 1, 0).astype(np.int8), before, now


def slip(index: int, how: str, rng: np.random.Generator, other: int) -> int:
    text = f"{index:0{DIGITS}d}"
    place = int(rng.integers(DIGITS - 1))
    if how == "transposed":
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    elif how == "replaced":
        place = int(rng.integers(DIGITS))
        text = text[:place] + str((int(text[place]) + int(rng.integers(1, 10))) % 10) + text[place + 1 :]
    elif how == "left out":
        text = text[:place] + text[place + 1 :]
    elif how == "written twice":
        text = (text[:place] + text[place] + text[place:])[:DIGITS]  # the form has no room for more
    else:
        text = str(other)
    return int(text)


def run_digits(meters: int, seed: int) -> DigitScore:
    codes, before, now = monthly_kwh(meters, seed)
    rng = np.random.default_rng([seed, 4])
    old = rng.integers(0, 10**DIGITS - 1 - now.max() if now.max() < 10**DIGITS - 1 else 1, meters)
    right = old + now
    keyed = right.copy()
    how = np.array(["right"] * meters, dtype=object)
    for meter in np.flatnonzero(rng.random(meters) < 0.3).tolist():
        kind = SLIPS[int(rng.integers(len(SLIPS)))]
        wrong = slip(int(right[meter]), kind, rng, int(right[meter - 1]))
        if wrong != right[meter]:
            keyed[meter], how[meter] = wrong, kind
    parameters = columns_on(load_parameters(), date(2025, 9, 1), codes)
    ones = np.ones(meters, dtype=np.int64)
    registers = Registers(
        index_wh=np.stack([old, keyed], axis=1) * 1000,
        actual=np.ones((meters, 2), dtype=bool),
        digits=DIGITS * ones,
        unit_wh=1000 * ones,
        resolution_wh=1000 * ones,
        multiplier=ones,
    )
    usual = before * 1000
    energy = (keyed - old) * 1000
    digit = v37_digit_error(registers, usual, parameters)
    band = v34_high_low(energy, DAYS * ones, usual // DAYS, parameters)
    held = digit.mask | band.mask | (energy < 0)
    moved = np.abs(keyed - right)
    outside = (keyed - old < 0.7 * now) | (keyed - old > 1.4 * now)
    material = (moved > 30) & outside
    total = DigitScore(Counter(), Counter(), Counter(), Counter())
    total.right, total.right_held = int((how == "right").sum()), int((held & (how == "right")).sum())
    for kind in SLIPS:
        mine = how == kind
        total.made[kind], total.held[kind] = int(mine.sum()), int((mine & held).sum())
        total.material[kind], total.material_held[kind] = (
            int((mine & material).sum()),
            int((mine & material & held).sum()),
        )
    offered = (how == "transposed") & digit.mask & (digit.evidence["proposed_wh"] >= 0)
    total.proposed = int(offered.sum())
    total.proposed_right = int((digit.evidence["proposed_wh"] == right * 1000)[offered].sum())
    return total


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.billing_core.validation.digit_errors", description=__doc__)
    parser.add_argument("--meters", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    total = run_digits(asked.meters, asked.seed)
    print(f"{'slip':14} {'made':>6} {'held':>6} {'recall':>7} {'material':>9} {'recall':>7}")
    for kind in SLIPS:
        made, some = total.made[kind], total.material[kind]
        print(
            f"{kind:14} {made:6} {total.held[kind]:6} {total.held[kind] / max(1, made):7.3f} {some:9} "
            f"{total.material_held[kind] / max(1, some):7.3f}"
        )
    some, hit = total.material.total(), total.material_held.total()
    print(f"all material: {hit} of {some} = {hit / some:.3f} (target 0.95)")
    print(f"transpositions for which a reading was proposed: {total.proposed}, the right one: {total.proposed_right}")
    print(
        f"right readings held: {total.right_held} of {total.right} = {100 * total.right_held / total.right:.2f} % of "
        f"periods = {total.false_per_1000_days:.3f} per 1,000 meter-days (target 0.1)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
