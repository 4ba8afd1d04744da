"""What another tariff would change: the same customers billed twice, and the difference for each.

Both tariffs are billed by the engine that makes real bills, every customer and month of a population, with tax. What
one of them cannot bill is left out on both sides, so that the two revenues are of the same customers; who that is, why,
and what share of energy and revenue it is, is said beside them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from billing_core.batch import batch_of
from billing_core.codes import Category, Certainty, Hold, Voltage, member_of
from billing_core.engine import charge
from billing_core.rounding import PRICE_MAX, Int64Array
from billing_core.tariff import Act, Tariffs, TierStructure, WaitingStructure

ALWAYS = date(1900, 1, 1)
EDGES_PERCENT = (-20, -15, -10, -5, -2, 0, 2, 5, 10, 15, 20)
"""Bounds of the classes in which changes are counted; a change of exactly 0 has a class of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Customers and what they used, month by month.

    Parameters
    ----------
    months
        First day of each month. [T]
    category, voltage, three_rates, households
        [n]
    energy_wh
        At the normal, peak and off-peak rate. [Wh, T × n × 3]
    """

    months: tuple[date, ...]
    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    three_rates: NDArray[np.bool_]
    households: Int64Array
    energy_wh: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changes for one lot of customers.

    Parameters
    ----------
    category, voltage
        [n]
    energy_wh, before, after
        Energy, and bills with tax under the one and the other tariff, over all months; bills that are left out are 0.
        [Wh, đ, đ; n]
    hold_before, hold_after
        Why a bill could not be computed under the one and the other, as codes of :class:`billing_core.codes.Hold`; with
        either the customer is left out. [n]
    left_before
        What the one tariff bills those who are left out, 0 where it cannot either. [đ, n]
    """

    category: NDArray[np.int8]
    voltage: NDArray[np.int8]
    energy_wh: Int64Array
    before: Int64Array
    after: Int64Array
    hold_before: NDArray[np.int8]
    hold_after: NDArray[np.int8]
    left_before: Int64Array

    @property
    def held(self) -> NDArray[np.bool_]:
        """Who is left out. [n]"""
        return np.asarray((self.hold_before != 0) | (self.hold_after != 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Customers that are left out for the same reason.

    Parameters
    ----------
    before, after
        Why the one and the other tariff cannot bill them; ``Hold.NONE`` for one that can.
    energy_wh, revenue
        What they used, and what the one tariff bills them with tax, ``None`` where it cannot. [Wh, đ]
    """

    category: Category
    voltage: Voltage
    before: Hold
    after: Hold
    customers: int
    energy_wh: int
    revenue: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Sums over many lots.

    Parameters
    ----------
    customers, held, winners, losers
        Winners pay less, losers more.
    before, after
        Revenue with tax, of those who are not left out. [đ]
    energy_wh, left_out
        Energy of all customers [Wh], and who is left out, most energy first.
    classes
        Customers by change in percent: below the first of ``EDGES_PERCENT``, …, exactly 0, …, from the last on.
    by_category
        Customers, before and after of each category. [–, đ, đ]
    """

    customers: int
    held: int
    winners: int
    losers: int
    before: int
    after: int
    energy_wh: int
    left_out: tuple[LeftOut, ...]
    classes: tuple[tuple[str, int], ...]
    by_category: Mapping[Category, tuple[int, int, int]]


def always(tariffs: Tariffs, act: Act, structure: TierStructure) -> Tariffs:
    """Return ``tariffs`` as if ``act`` and ``structure`` had always been in force."""
    return replace(
        tariffs, acts=(replace(act, effective_on=ALWAYS),), structures=(replace(structure, effective_on=ALWAYS),)
    )


def with_waiting(tariffs: Tariffs, act: Act, waiting: WaitingStructure) -> Tariffs:
    """Return the waiting structure with prices at ``act``'s average; what has no tiers keeps the prices of ``act``."""
    tiers = tuple(_half_up(Fraction(act.average) * percent / 100) for percent in waiting.percent)
    structure = TierStructure(
        name=waiting.name,
        effective_on=ALWAYS,
        widths=waiting.widths,
        undeclared_tier=tariffs.structures[-1].undeclared_tier,
        source=waiting.source,
        certainty=waiting.certainty,
    )
    certainty = dict(act.certainty) | {Category.RESIDENTIAL.value: Certainty.DERIVED}
    changed = replace(act, tiered={Category.RESIDENTIAL: tiers}, certainty=certainty)
    return always(tariffs, changed, structure)


def with_percent(tariffs: Tariffs, act: Act, structure: TierStructure, percent: Fraction) -> Tariffs:
    """Return all prices of ``act`` raised by ``percent``, half up, and within what the engine takes."""

    def raised(price: int) -> int:
        return max(1, min(PRICE_MAX, _half_up(price * (1 + percent / 100))))

    changed = replace(
        act,
        tiered={category: tuple(map(raised, tiers)) for category, tiers in act.tiered.items()},
        prepaid=raised(act.prepaid),
        rates={key: (raised(bt), raised(cd), raised(td)) for key, (bt, cd, td) in act.rates.items()},
        single={key: raised(price) for key, price in act.single.items()},
    )
    return always(tariffs, changed, structure)


def _half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def compare(population: Population, before: Tariffs, after: Tariffs) -> Difference:
    """Bill ``population`` under both tariffs."""
    first, second = (_rerate(population, tariffs) for tariffs in (before, after))
    held = (first[1] != 0) | (second[1] != 0)
    return Difference(
        category=population.category,
        voltage=population.voltage,
        energy_wh=population.energy_wh.sum(axis=(0, 2)),
        before=np.where(held, 0, first[0]),
        after=np.where(held, 0, second[0]),
        hold_before=first[1],
        hold_after=second[1],
        left_before=np.where(held & (first[1] == 0), first[0], 0),
    )


def _rerate(population: Population, tariffs: Tariffs) -> tuple[Int64Array, NDArray[np.int8]]:
    """Return the bills of all months together, and why one of them could not be computed. [đ, Hold code; n]"""
    n = population.category.shape[0]
    total, hold = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int8)
    for month, energy in zip(population.months, population.energy_wh, strict=True):
        following = (month + timedelta(days=31)).replace(day=1)
        charges = charge(
            batch_of(
                energy_wh=energy,
                start_on=month,
                end_on=following - timedelta(days=1),
                category=population.category,
                voltage=population.voltage,
                three_rates=population.three_rates,
                households=population.households,
            ),
            tariffs,
        )
        total += charges.total
        hold = np.where(hold == 0, charges.hold, hold)
    return total, hold


def summed(differences: Iterable[Difference]) -> Outcome:
    """Return what all lots come to."""
    counts = dict.fromkeys(("customers", "held", "winners", "losers", "before", "after", "energy_wh"), 0)
    left: dict[tuple[int, ...], list[int]] = {}
    classes = np.zeros(len(EDGES_PERCENT) + 2, dtype=np.int64)
    by_category: dict[Category, tuple[int, int, int]] = {}
    for lot in differences:
        change = lot.after - lot.before
        counts["customers"] += change.shape[0]
        counts["held"] += int(lot.held.sum())
        counts["winners"] += int((change < 0).sum())
        counts["losers"] += int((change > 0).sum())
        counts["before"] += int(lot.before.sum())
        counts["after"] += int(lot.after.sum())
        counts["energy_wh"] += int(lot.energy_wh.sum())
        _add_left_out(lot, left)
        classes += _classes(lot, change)
        for category in Category:
            rows = np.flatnonzero((lot.category == category.code) & ~lot.held)
            if rows.size:
                added = (int(rows.size), int(lot.before[rows].sum()), int(lot.after[rows].sum()))
                old = by_category.get(category, (0, 0, 0))
                by_category[category] = (old[0] + added[0], old[1] + added[1], old[2] + added[2])
    names = zip(class_names(), classes.tolist(), strict=True)
    return Outcome(**counts, left_out=_left_out(left), classes=tuple(names), by_category=by_category)


def _add_left_out(lot: Difference, left: dict[tuple[int, ...], list[int]]) -> None:
    """Add customers, energy and revenue of those who are left out, by category, voltage and both reasons."""
    rows = np.flatnonzero(lot.held)
    if not rows.size:
        return
    keys = np.stack([column[rows] for column in (lot.category, lot.voltage, lot.hold_before, lot.hold_after)], axis=1)
    found, which = np.unique(keys, axis=0, return_inverse=True)
    for place, key in enumerate(found.tolist()):
        own = rows[which.reshape(-1) == place]
        sums = left.setdefault(tuple(key), [0, 0, 0])
        for at, added in enumerate((own.size, lot.energy_wh[own].sum(), lot.left_before[own].sum())):
            sums[at] += int(added)


def _left_out(left: Mapping[tuple[int, ...], list[int]]) -> tuple[LeftOut, ...]:
    found = []
    for (category, voltage, before, after), (customers, energy_wh, revenue) in left.items():
        found.append(
            LeftOut(
                category=member_of(Category, category),
                voltage=member_of(Voltage, voltage),
                before=member_of(Hold, before),
                after=member_of(Hold, after),
                customers=customers,
                energy_wh=energy_wh,
                revenue=None if before else revenue,
            )
        )
    return tuple(sorted(found, key=lambda each: (-each.energy_wh, each.category.code, each.voltage.code)))


def _classes(lot: Difference, change: Int64Array) -> Int64Array:
    """Count customers by their change in percent, in exact integers: 100 × change against edge × before."""
    counted = ~lot.held
    zero = EDGES_PERCENT.index(0)
    below = np.zeros((len(EDGES_PERCENT), change.shape[0]), dtype=np.bool_)
    for place, edge in enumerate(EDGES_PERCENT):
        below[place] = 100 * change < edge * lot.before
    place = len(EDGES_PERCENT) - below.sum(axis=0)  # how many edges are at or under the change
    place += place > zero  # room for the class of no change at all
    place[change == 0] = zero + 1
    return np.bincount(place[counted], minlength=len(EDGES_PERCENT) + 2).astype(np.int64)


def class_names() -> tuple[str, ...]:
    """Return the classes of change in words."""
    ranges = [f"{low:+d} to {high:+d} %" for low, high in pairwise(EDGES_PERCENT)]
    zero = EDGES_PERCENT.index(0)
    return (
        f"under {EDGES_PERCENT[0]:+d} %",
        *ranges[:zero],
        "unchanged",
        *ranges[zero:],
        f"from {EDGES_PERCENT[-1]:+d} %",
    )


def made_up(customers: int, months: tuple[date, ...], rng: np.random.Generator) -> Population:
    """Return a population that looks like a Vietnamese one: nine households in ten customers, and warm summers.

    The shape is invented: a household's use is log-normal around 190 kWh a month with its own mean, 30 % higher in June
    to August; businesses are ten times larger and half of them have three-rate meters.
    """
    chances = ((Category.RESIDENTIAL, 0.90), (Category.BUSINESS, 0.05), (Category.PRODUCTION, 0.03),
               (Category.HOSPITAL_SCHOOL, 0.01), (Category.LIGHTING_ADMIN, 0.01))  # fmt: skip
    codes = np.array([category.code for category, _ in chances], dtype=np.int8)
    category = codes[rng.choice(len(chances), customers, p=[chance for _, chance in chances])]
    household = category == Category.RESIDENTIAL.code
    rated = np.isin(category, [Category.BUSINESS.code, Category.PRODUCTION.code])
    three_rates = rated & (rng.random(customers) < 0.5)
    own = rng.lognormal(np.log(160), 0.6, customers) * np.where(household, 1, 10)
    energy = np.zeros((len(months), customers, 3), dtype=np.int64)
    for place, month in enumerate(months):
        warmth = 1.3 if 6 <= month.month <= 8 else 1.0
        used = np.rint(own * warmth * rng.lognormal(0, 0.2, customers)).astype(np.int64) * 1000
        peak, off_peak = np.where(three_rates, used // 5, 0), np.where(three_rates, used // 4, 0)
        energy[place] = np.stack([used - peak - off_peak, peak, off_peak], axis=1)
    return Population(
        months=months,
        category=category,
        voltage=np.full(customers, Voltage.LT6.code, dtype=np.int8),
        three_rates=three_rates,
        households=np.where(household & (rng.random(customers) < 0.05), 2, 1).astype(np.int64),
        energy_wh=energy,
    )
