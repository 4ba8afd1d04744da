"""The general engine beside utilityrate5: ``python -m tests.peers.compare --cases 10000 --seed 1``.

Prints how many of the random tariffs, loads, suns and metering options were compared, the largest relative difference
of a bill, and the worst case; the exit status is 1 if it is over the limit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np

from billing_core.rates.accumulate import accumulate
from billing_core.rates.bill import charge_years
from billing_core.rates.tariff import RateTariff
from tests.peers.environment import environment
from tests.peers.random_rates import as_utilityrate5, calendar, random_schedules, random_tariff, random_year

HERE = Path(__file__).parent
LIMIT = 1e-9
CUSTOMERS = 20  # share a schedule; each has a tariff, a load and a sun of its own
LOT = 1_000  # cases handed over at a time: 70 MB


def differences(cases: int, seed: int) -> list[tuple[float, RateTariff]]:
    """Return the largest relative difference of each case's twelve bills."""
    found: list[tuple[float, RateTariff]] = []
    while len(found) < cases:
        found += _lot(min(LOT, cases - len(found)), Random(f"{seed}/{len(found)}"))
    return found


def _lot(cases: int, rng: Random) -> list[tuple[float, RateTariff]]:
    tariffs: list[RateTariff] = []
    ours, words, years = [], [], []
    while len(tariffs) < cases:
        periods = rng.randint(1, 3)
        schedules = random_schedules(rng, periods)
        own = [random_tariff(rng, periods) for _ in range(min(CUSTOMERS, cases - len(tariffs)))]
        loads, suns = (np.stack(columns) for columns in zip(*(random_year(rng) for _ in own), strict=True))
        sums = accumulate(calendar(*schedules), np.ascontiguousarray(loads.T), np.ascontiguousarray(suns.T))
        ours += [charge_years(sums, tariff).total[:, place] / 1e9 for place, tariff in enumerate(own)]
        words += [as_utilityrate5(tariff, *schedules) for tariff in own]
        years += [np.stack([loads, suns], axis=1).reshape(-1)]
        tariffs += own
    theirs = _utilityrate5(words, np.concatenate(years))
    pairs = zip(ours, theirs, strict=True)
    # Relative to the bill, or to one unit of money for a smaller one: a bill of nothing has no relative difference.
    worst = [float((np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1.0)).max()) for a, b in pairs]
    return list(zip(worst, tariffs, strict=True))


def _utilityrate5(cases: list[dict[str, object]], years: np.ndarray) -> list[np.ndarray]:
    python = environment("pysam") / "python"
    with tempfile.TemporaryDirectory() as folder:
        named, data = Path(folder, "cases.json"), Path(folder, "years.bin")
        named.write_text(json.dumps(cases), encoding="utf-8")
        years.astype(np.int32).tofile(data)
        done = subprocess.run(
            [str(python), str(HERE / "pysam_bills.py"), str(named), str(data)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
    return [np.array(bills) for bills in json.loads(done.stdout)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = differences(arguments.cases, arguments.seed)
    worst, tariff = max(found, key=lambda pair: pair[0])
    print(f"{len(found):,} cases, largest relative difference {worst:.2e}, limit {LIMIT:.0e}")
    for metering, count in sorted(Counter(tariff.metering.value for _, tariff in found).items()):
        print(f"{metering:24} {count:>7,}")
    if worst > LIMIT:
        print(tariff)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
