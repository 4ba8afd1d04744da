"""Random bills by the hundred thousand: ``python -m tests.billing_core.many_bills --bills 1000000 --seed 2026``.

The tests compare two thousand at each run; this is the same comparison, as long as one likes. It prints how many bills
differ between the engine and the exact recomputation, the first of them, and how many bills of each kind were computed;
the exit status is 1 if any differs. Among them are bills of load
profiles; some are asked for again as quotes in words; and differences of wrong prices are compared beside them.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from deploy.demo.exact_values import Use
from tests.billing_core.around_comparison import correction_differences, profile_differences
from tests.billing_core.comparison import differences, quote_differences
from tests.billing_core.crowded_calendar import CROWDED, crowded_tables, crowded_tariffs, crowded_use
from tests.billing_core.random_uses import CHANGES, random_use, with_own_plan, with_reading_at_change

LOT = 10_000
SHOWN_MAX = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bills", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first of them, so that several can share a stream")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    begun, done, found = time.monotonic(), arguments.first, []
    counted: Counter[str] = Counter()
    last = arguments.first + arguments.bills
    while done < last:
        rng = Random(f"{arguments.seed}/{done}")
        lot = min(LOT, last - done)
        found += compare(rng, lot, counted)
        done += lot
        print(f"{done:,} bills, {len(found)} differ, {time.monotonic() - begun:,.0f} s", flush=True)
    for name, count in sorted(counted.items()):
        print(f"{name:36} {count:>9,}")
    print("\n".join(found[:SHOWN_MAX]))
    return 1 if found else 0


def compare(rng: Random, bills: int, counted: Counter[str]) -> list[str]:
    """Return what differs in so many bills, and in the quotes, profiles and corrections that go with them."""
    some = max(1, bills // 50)
    found, uses = profile_differences(rng, max(1, bills // 1000))
    counted["load profiles"] += len(uses)
    uses += [with_reading_at_change(random_use(rng), rng) for _ in range(bills - len(uses) - some)]
    uses += [with_own_plan(with_reading_at_change(random_use(rng), rng), rng) for _ in range(some)]
    billed: list[Use] = []
    found += differences(uses, billed)
    counted.update(feature for use in billed for feature in features(use))
    counted["bills, not refused"] += len(billed)
    asked: list[Use] = []
    found += quote_differences(uses[-2 * some :], asked)
    counted["quotes in words"] += len(asked)
    differing, computed = correction_differences(rng, some)
    counted["corrections of a wrong price"] += computed
    return found + differing + _crowded(rng, 2 * some, counted)


def _crowded(rng: Random, bills: int, counted: Counter[str]) -> list[str]:
    """Return what differs where acts follow one another within a month."""
    uses, billed, asked = [crowded_use(rng) for _ in range(bills)], [], []
    found = differences(uses, billed, crowded_tariffs(), crowded_tables())
    found += quote_differences(uses[::2], asked, crowded_tariffs(), crowded_tables())
    counted["bills, not refused"] += len(billed)
    counted["quotes in words"] += len(asked)
    counted["several price changes within a month"] += sum(_within(use) > 1 for use in billed)
    counted["read at several changes within a month"] += sum(len(use.before_changes_kwh) > 1 for use in billed)
    return found


def _within(use: Use) -> int:
    return sum(use.start_on < day <= use.end_on for day in CROWDED)


def features(use: Use) -> list[str]:
    """Return what is special about ``use``."""
    names = ("meters", "uses", "household_changes", "tenants", "person_days", "reactive_kvarh", "cosphi", "demand_kw")
    flags = (*names, "undeclared_rental", "refused_three_rates", "before_changes_kwh")
    found = [use.category, *(name for name in flags if getattr(use, name))]
    found += [] if use.solar is None else [f"solar {use.solar}"]
    found += ["net metering read at a price change"] if use.export_before_changes_kwh else []
    found += ["mixed use read at a price change"] if use.uses and use.before_changes_kwh else []
    found += ["utility's own plan"] if use.plan is not None else []
    found += ["own plan, demand with ratchet"] if use.plan is not None and use.plan.ratchet_percent is not None else []
    found += ["own plan, minimum"] if use.plan is not None and use.plan.minimum else []
    found += ["solar settled"] if use.solar and use.settle_carry else []
    found += ["three rates"] if "BT" in use.kwh or any(part.register == "BT" for part in use.meters) else []
    found += ["price change, by days"] if _changes(use) and not use.before_changes_kwh else []
    found += ["price changes several times"] if _changes(use) > 1 else []
    found += ["read at several price changes"] if len(use.before_changes_kwh) > 1 else []
    found += ["net metering of three rates"] if use.export_by_rate_kwh is not None else []
    found += ["register exchanged or multiplied anew"] if len({part.multiplier for part in use.meters}) > 1 else []
    found += ["register rolled over"] if any(part.new_kwh < part.old_kwh for part in use.meters) else []
    return found + (["fractions of a kWh in tiers"] if use.quota_unit_kwh != 1 else [])


def _changes(use: Use) -> int:
    return sum(use.start_on < day <= use.end_on for day in CHANGES)


if __name__ == "__main__":
    sys.exit(main())
