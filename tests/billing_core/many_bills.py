"""Random bills by the hundred thousand: ``python -m tests.billing_core.many_bills --bills 1000000 --seed 2026``.

The tests compare two thousand at each run; this is the same comparison, as long as one likes. It prints how many bills
differ between the engine and the exact recomputation, the first of them, and how many bills of each kind were computed;
the exit status is 1 if any differs.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from deploy.demo.exact import Use
from tests.billing_core.comparison import differences
from tests.billing_core.random_uses import random_use, with_reading_at_change

LOT = 10_000
SHOWN_MAX = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bills", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    begun, done, found = time.monotonic(), 0, []
    counted: Counter[str] = Counter()
    while done < arguments.bills:
        rng = Random(f"{arguments.seed}/{done}")
        lot = min(LOT, arguments.bills - done)
        uses = [with_reading_at_change(random_use(rng), rng) for _ in range(lot)]
        billed: list[Use] = []
        found += differences(uses, billed=billed)
        counted.update(feature for use in billed for feature in features(use))
        counted["bills, not refused"] += len(billed)
        done += lot
        print(f"{done:,} bills, {len(found)} differ, {time.monotonic() - begun:,.0f} s", flush=True)
    for name, count in sorted(counted.items()):
        print(f"{name:24} {count:>9,}")
    print("\n".join(found[:SHOWN_MAX]))
    return 1 if found else 0


def features(use: Use) -> list[str]:
    """Return what is special about ``use``."""
    names = ("solar", "meters", "uses", "households_changed", "reactive_kvarh", "cosphi", "demand_kw")
    flags = (*names, "undeclared_rental", "refused_three_rates", "before_change_kwh")
    return [use.category, *(name for name in flags if getattr(use, name))]


if __name__ == "__main__":
    sys.exit(main())
