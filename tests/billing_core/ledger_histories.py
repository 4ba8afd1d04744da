"""Random histories of bills in the ledger: ``python -m tests.billing_core.ledger_histories --histories 1000000``.

A history is what happens to the bills of one point and period: issued, perhaps with solar energy bought beside; found
to be wrong and corrected by differences; cancelled; billed again under a new number; and so on for several steps. Plain
sums beside the ledger keep what should stand on each account. It prints how many histories do not sum to zero, or stand
otherwise than the plain sums; whether the sealed blocks hold; and in how many trials an altered entry broke the chain
where it was altered. The exit status is 1 if anything is not as it must be.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from billing_core.ledger import (
    ACCOUNTS,
    GENESIS,
    Account,
    Entries,
    balances,
    bill_entries,
    cancellation_entries,
    difference_entries,
    first_broken,
    joined,
    purchase_entries,
    seal,
)
from billing_core.rounding import Int64Array

LOT = 50_000
STEPS = 8
TRIALS = 3  # of altered entries in each lot
NOTHING = -1


@dataclass(slots=True)
class World:
    """Histories of one lot: each one's standing bill, the owners of all bills so far, and what must stand."""

    rng: np.random.Generator
    histories: int
    standing: Int64Array = field(init=False)
    wanted: Int64Array = field(init=False)
    owners: list[Int64Array] = field(default_factory=list)
    made: list[Entries] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.standing = np.full(self.histories, NOTHING, dtype=np.int64)
        self.wanted = np.zeros((self.histories, len(ACCOUNTS)), dtype=np.int64)

    def enter(self, entered: Entries) -> None:
        """Enter what was made, in any order: bills go out by the thousand."""
        order = self.rng.permutation(len(entered))
        self.made.append(
            Entries(posting=entered.posting[order], document=entered.document[order], amount=entered.amount[order])
        )


def step(world: World) -> None:
    """Let one thing happen to each history that something happens to."""
    chance = world.rng.random(world.histories)
    billed = world.standing != NOTHING
    _correct(world, np.flatnonzero(billed & (chance < 0.3)))
    _cancel(world, np.flatnonzero(billed & (chance >= 0.3) & (chance < 0.5)))
    _issue(world, np.flatnonzero(~billed & (chance < 0.7)))


def _issue(world: World, rows: Int64Array) -> None:
    first = sum(len(each) for each in world.owners)
    numbers = np.arange(first, first + len(rows), dtype=np.int64)
    world.owners.append(rows)
    subtotal, vat = world.rng.integers(0, 10**10, (2, len(rows)))
    rounding = world.rng.integers(-499, 500, len(rows))
    bought = np.where(world.rng.random(len(rows)) < 0.2, world.rng.integers(1, 10**8, len(rows)), 0)
    roofs = np.flatnonzero(bought)
    total = subtotal + vat + rounding
    world.enter(joined([bill_entries(numbers, subtotal, vat, total), purchase_entries(numbers[roofs], bought[roofs])]))
    world.standing[rows] = numbers
    _want(world, rows, receivable=total - bought, energy=-subtotal, tax=-vat, rounding=-rounding, solar_purchase=bought)
    world.counted["bills issued"] += len(rows)
    world.counted["purchases of solar energy"] += len(roofs)


def _correct(world: World, rows: Int64Array) -> None:
    subtotal, vat = world.rng.integers(-(10**9), 10**9, (2, len(rows)))
    bought = np.where(world.rng.random(len(rows)) < 0.2, world.rng.integers(-(10**7), 10**7, len(rows)), 0)
    world.enter(difference_entries(world.standing[rows], subtotal, vat, bought))
    owed = subtotal + vat - bought
    _want(world, rows, receivable=owed, adjustment=-subtotal, tax=-vat, solar_purchase=bought)
    world.counted["differences"] += len(rows)


def _cancel(world: World, rows: Int64Array) -> None:
    """Enter the opposite of all that was entered for the standing bills."""
    gone = np.zeros(sum(len(each) for each in world.owners), dtype=np.bool_)
    gone[world.standing[rows]] = True
    for made in list(world.made):
        own = np.flatnonzero(gone[made.document])
        part = Entries(posting=made.posting[own], document=made.document[own], amount=made.amount[own])
        if len(part):
            world.enter(cancellation_entries(part))
    world.standing[rows] = NOTHING
    world.wanted[rows] = 0
    world.counted["cancellations"] += len(rows)


def _want(world: World, rows: Int64Array, **amounts: Int64Array) -> None:
    for name, values in amounts.items():
        world.wanted[rows, Account(name).code] += values


def play(rng: np.random.Generator, histories: int, counted: Counter[str]) -> list[str]:
    """Play so many histories; return what is wrong with them, in words."""
    world = World(rng=rng, histories=histories)
    for _ in range(STEPS):
        step(world)
    made, owners = joined(world.made), np.concatenate(world.owners)
    stand = balances(made, owners[made.document], histories)
    found = [f"history {row} sums to {stand[row].sum()} đ" for row in np.flatnonzero(stand.sum(axis=1)).tolist()]
    wrong = np.flatnonzero((stand != world.wanted).any(axis=1))
    found += [f"history {row}: {stand[row].tolist()}, expected {world.wanted[row].tolist()}" for row in wrong.tolist()]
    found += [f"all entries sum to {made.amount.sum()} đ"] if made.amount.sum() else []
    counted.update(world.counted)
    counted["entries"] += len(made)
    counted["billed again after a cancellation"] += int((np.bincount(owners, minlength=histories) > 1).sum())
    counted["cancelled and left so"] += int(((world.standing == NOTHING) & (np.bincount(owners) > 0)).sum())
    return found + _chain(world, rng, counted)


def _chain(world: World, rng: np.random.Generator, counted: Counter[str]) -> list[str]:
    """Seal the blocks, and alter an entry here and there."""
    blocks, before = [], GENESIS
    for made in world.made:
        before = seal(before, made)
        blocks.append((made, before))
    found = [] if first_broken(blocks) is None else ["the chain of blocks as it was sealed does not hold"]
    for _ in range(TRIALS):
        place = int(rng.integers(len(blocks)))
        made, digest = blocks[place]
        if not len(made):
            continue
        amount: NDArray[np.int64] = made.amount.copy()
        row, by = int(rng.integers(len(made))), int(rng.integers(1, 10**6))
        amount[row, Account.RECEIVABLE.code] += by  # and as much from another account, so that it balances
        amount[row, Account.ENERGY.code] -= by
        altered = Entries(posting=made.posting, document=made.document, amount=amount)
        broken = first_broken([*blocks[:place], (altered, digest), *blocks[place + 1 :]])
        counted["entries altered"] += 1
        counted["entries altered and found"] += broken == place
        found += [] if broken == place else [f"an entry altered in block {place} broke the chain at {broken}"]
    counted["blocks sealed"] += len(blocks)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    begun, done = time.monotonic(), 0
    counted: Counter[str] = Counter()
    found: list[str] = []
    while done < arguments.histories:
        lot = min(LOT, arguments.histories - done)
        found += play(np.random.default_rng([arguments.seed, done]), lot, counted)
        done += lot
    print(f"{done:,} histories, {len(found)} wrong, {time.monotonic() - begun:,.0f} s")
    for name, count in sorted(counted.items()):
        print(f"{name:36} {count:>11,}")
    print("\n".join(found[:5]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
