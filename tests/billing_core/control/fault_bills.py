"""How many bills that faulty readings make wrong are held, and how many right ones, in the campaign's own populations.

::

    python -m tests.billing_core.control.fault_bills --meters 16000 --seed 101 --recipes fresh

A month of a district is read with faults on purpose (:mod:`tests.billing_core.validation.campaign`) and billed twice:
by its registers, the last less the first, and by its intervals, a missing one counting nothing. A bill is wrong if it
is off by more than 30 kWh and by more than 2 %, the class of a household's meter. It is held if validation failed one
of the month's days, if what registers or intervals give is negative, or if control holds it against the six months
before. Those are true, but every tenth home's had an absence and every sixteenth a lasting change, as the month has
that is judged. Steps of the amount are left out: they ask who signs, not whether it is wrong.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from billing_core.control.expectation import UNKNOWN
from billing_core.control.judge import Controlled, judge
from billing_core.control.thresholds import load_thresholds
from billing_core.rounding import Int64Array
from billing_core.validation.catalogue import Severity
from billing_core.validation.validate import Validation
from simulators.loads import energies
from tests.billing_core.validation.campaign import BATCH, FAULT_SHARE, RECIPES, look
from tests.billing_core.validation.faults import inject
from tests.billing_core.validation.population import MIXES, PER_DAY, District, copy_of, make_district

MONTHS = 6
DAYS = 31
WRONG_WH, WRONG_SHARE = 30_000, 0.02
AWAY, CHANGED = 0.1, 0.06  # of the months, as in the district's own month
BoolArray = NDArray[np.bool_]


@dataclass
class BillScore:
    """How many bills there were and how many of them were held, by way of billing and by kind of fault."""

    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_control: Counter[tuple[str, str]] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    right_held: Counter[str] = field(default_factory=Counter)
    right_by_control: Counter[str] = field(default_factory=Counter)

    def share(self, way: str) -> float:
        """Return the share of wrong bills that was held."""
        wrong = sum(count for (name, _), count in self.wrong.items() if name == way)
        return sum(count for (name, _), count in self.held.items() if name == way) / max(1, wrong)

    def right_share(self, way: str) -> float:
        """Return the share of right bills that was held."""
        return self.right_held[way] / max(1, self.right[way])


def months_before(district: District, seed: int) -> Int64Array:
    """Return what each consumer truly took in the months before, the newest first. [Wh; meters × months]"""
    rng = np.random.default_rng([seed, 5])
    slots = district.first_slot - MONTHS * DAYS * PER_DAY + np.arange(MONTHS * DAYS * PER_DAY, dtype=np.int64)
    taken = np.array([energies(each, slots).imported.reshape(MONTHS, -1).sum(axis=1) for each in district.consumers])
    away = (rng.random(taken.shape) < AWAY) & (district.kind == 0)[:, None]
    taken = np.where(away, taken * (DAYS - rng.integers(2, 15, taken.shape)) // DAYS, taken)
    changed = rng.random(taken.shape) < CHANGED
    factor = np.where(changed, rng.integers(80, 126, taken.shape) / 100, 1.0)
    later = np.cumprod(factor[:, ::-1], axis=1)[:, ::-1] / factor  # what became of it after each month
    return (taken[:, ::-1] / later[:, ::-1]).astype(np.int64)


def billed(district: District, result: Validation) -> dict[str, tuple[Int64Array, BoolArray]]:
    """Return what each way of billing gives for the month, and whether it gives anything. [Wh, meters]"""
    registers, intervals = district.data.registers, district.data.intervals
    rows = np.arange(intervals.meters)
    first = registers.actual.argmax(axis=1)
    last = registers.actual.shape[1] - 1 - registers.actual[:, ::-1].argmax(axis=1)
    old, new = registers.index_wh[rows, first], registers.index_wh[rows, last]
    rolled = result.sums.rolled_over.any(axis=1)
    used = np.where(rolled, new - old + registers.range_wh(), new - old) * registers.multiplier
    per_day = result.scan.total
    outside = np.array(
        [per_day[row, : first[row]].sum() + per_day[row, last[row] :].sum() for row in rows], dtype=np.int64
    )
    by_interval = np.where(intervals.missing, 0, intervals.energy_wh).sum(axis=1)
    return {"registers": (used + outside, used >= 0), "intervals": (by_interval, by_interval >= 0)}


def score(district: District, clean: District, seed: int, kinds: dict[int, str], into: BillScore) -> None:
    """Judge a district's bills."""
    result = look(district)
    failed = result.verdict.at_least(Severity.FAIL).any(axis=1)
    history = months_before(clean, seed)
    truth = look_true(clean)
    none = np.zeros(failed.shape, dtype=np.bool_)
    faulty = np.zeros(failed.shape, dtype=np.bool_)
    faulty[list(kinds)] = True
    for way, (energy, computed) in billed(district, result).items():
        bills = Controlled(
            energy_wh=np.maximum(energy, 0),
            days=np.full(failed.shape, DAYS),
            total=np.maximum(energy, 0) // 1_000 * 2_000,
            history_wh=history,
            history_days=np.full(history.shape, DAYS),
            last_year_wh=np.full(failed.shape, UNKNOWN),
            last_year_days=np.full(failed.shape, UNKNOWN),
            peers=district.kind,
            estimated=none,
            first=none,
            solar_new=none,
            terms_changed=none,
        )
        spoke = judge(bills, replace(load_thresholds(), amount=())).signer > 0
        held = failed | ~computed | spoke
        off = np.abs(energy - truth)
        wrong = faulty & (off > WRONG_WH) & (off > WRONG_SHARE * truth)
        for meter in np.flatnonzero(wrong).tolist():
            into.wrong[way, kinds[meter]] += 1
            into.held[way, kinds[meter]] += bool(held[meter])
            into.by_control[way, kinds[meter]] += bool(spoke[meter])
        into.right[way] += int((~faulty).sum())
        into.right_held[way] += int((held & ~faulty).sum())
        into.right_by_control[way] += int((spoke & ~faulty).sum())


def look_true(clean: District) -> Int64Array:
    """Return what each meter truly took in the month. [Wh]"""
    return np.asarray(clean.true_wh.sum(axis=1), dtype=np.int64)


def run(meters: int, seed: int, recipes: str, mix: str = "town") -> BillScore:
    """Bill districts of ``meters`` in all."""
    total = BillScore()
    for number, begin in enumerate(range(0, meters, BATCH)):
        own = seed * 1_000 + number
        clean = make_district(min(BATCH, meters - begin), DAYS, own, mix)
        district = copy_of(clean)
        faults = inject(district, RECIPES[recipes], FAULT_SHARE, own)
        score(district, clean, own, {fault.meter: fault.kind for fault in faults}, total)
    return total


def report(total: BillScore) -> str:
    """Return the figures as a table."""
    lines = [
        "{:10} {:22} {:>6} {:>6} {:>7} {:>11}".format("billed by", "fault", "wrong", "held", "share", "by control")
    ]
    for way, kind in sorted(total.wrong):
        wrong, held = total.wrong[way, kind], total.held[way, kind]
        lines.append(
            f"{way:10} {kind:22} {wrong:6} {held:6} {held / wrong:7.3f} {total.by_control[way, kind] / wrong:11.3f}"
        )
    lines.extend(
        f"{way}: wrong bills held {total.share(way):.3f} (target 0.95); right bills held "
        f"{total.right_share(way):.4f} of {total.right[way]} (target 0.01), by control alone "
        f"{total.right_by_control[way] / total.right[way]:.4f}"
        for way in sorted(total.right)
    )
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.billing_core.control.fault_bills", description=__doc__)
    parser.add_argument("--meters", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipes", choices=tuple(RECIPES), default="final")
    parser.add_argument("--mix", choices=tuple(MIXES), default="town")
    asked = parser.parse_args(words)
    print(report(run(asked.meters, asked.seed, asked.recipes, asked.mix)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
