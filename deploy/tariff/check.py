"""What can be said about tariff files beyond that they can be read.

Each price is held against its percentage of the average, where one is known, and else against the act before: of what
was the average's, a price keeps its share from act to act (since 2015 to within 4.1 %), so one that does not is a slip
of whoever typed it, or needs its percentage. What can be held against neither is said, and so is what runs out.
"""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from rich.console import Console

from billing_core.codes import RATES, Category, Voltage
from billing_core.tariff import Act, Percentages, RatePrices, Tariffs

SHARE_CHANGE_MAX = Fraction(10, 100)  # of a price in the average from act to act; 4.1 % was the most since 2015
AVERAGE_CHANGE_MAX = Fraction(25, 100)  # of the average itself; 8.4 % was the most since 2015


def print_check(tariffs: Tariffs, *, as_json: bool) -> int:
    """Print what was found; return 1 if a price is not what percentages or the act before let expect, else 0."""
    wrong, strange = deviations(tariffs), implausible(tariffs)
    notes = [*notes_on(tariffs), *unchecked(tariffs)]
    if as_json:
        found = {"acts": len(tariffs.acts), "deviations": wrong, "implausible": strange, "notes": notes}
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return 1 if wrong or strange else 0
    console = Console(highlight=False)
    console.print(f"{len(tariffs.acts)} acts, the newest {tariffs.acts[-1].name} from {tariffs.acts[-1].effective_on}")
    for line in wrong:
        console.print(f"not as its percentage: {line}", soft_wrap=True)
    for line in strange:
        console.print(f"not plausible: {line}", soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print("wrong" if wrong or strange else "right")
    return 1 if wrong or strange else 0


def deviations(tariffs: Tariffs) -> list[str]:
    """Return prices that are not the average price times their percentage, half up, each with both figures."""
    found = []
    for act in tariffs.acts:
        percents, prices = _percents(tariffs, act), _prices(act)
        found += [
            f"{act.name}, {what}: found {prices[what]}, {percent} % of {act.average} is {wanted}"
            for what, percent in percents.items()
            if what in prices and prices[what] != (wanted := _share(act, percent))
        ]
    return found


def implausible(tariffs: Tariffs) -> list[str]:
    """Return averages, and prices without a percentage, that are far from those of the act before."""
    found = []
    for before, act in pairwise(tariffs.acts):
        rise = Fraction(act.average) / Fraction(before.average)
        if abs(rise - 1) > AVERAGE_CHANGE_MAX:
            found.append(
                f"{act.name}, average: found {act.average}, expected one within {float(AVERAGE_CHANGE_MAX):.0%} of "
                f"{before.average} in {before.name}; read it again in the act"
            )
        percents, then = _percents(tariffs, act), _prices(before)
        for what, price in _prices(act).items():
            if what in then and what not in percents:
                wanted = then[what] * rise
                if abs(price / wanted - 1) > SHARE_CHANGE_MAX:
                    found.append(
                        f"{act.name}, {what}: found {price}, expected some {round(wanted)}, the price of {before.name} "
                        "raised as the average; read it again in the act, and if it is right add its [[percent]] to "
                        "structure.toml"
                    )
    return found


def unchecked(tariffs: Tariffs) -> list[str]:
    """Return of each act but the first which prices have neither a percentage nor one in the act before."""
    found = []
    for before, act in pairwise(tariffs.acts):
        known = _percents(tariffs, act).keys() | _prices(before).keys()
        if what := [what for what in _prices(act) if what not in known]:
            found.append(
                f"{act.name}: checked against nothing: {', '.join(what)}; have a second person read them in the act, "
                "or add their [[percent]] to structure.toml"
            )
    return found


def _percents(tariffs: Tariffs, act: Act) -> dict[str, int]:
    """Return the percentages in force with ``act``, by what they are of."""
    known: list[Percentages] = [item for item in tariffs.percentages if item.effective_on <= act.effective_on]
    return {} if not known else _named(known[-1].tiers, known[-1].prepaid, known[-1].rates, known[-1].single)


def _prices(act: Act) -> dict[str, int]:
    """Return all prices of ``act``, by what they are of. [đ/kWh]"""
    found = _named(act.tiers, act.prepaid, act.rates, act.single)
    for category, tiers in act.tiered.items():
        if category is not Category.RESIDENTIAL:
            found |= {f"{category.value} tier {n}": price for n, price in enumerate(tiers, start=1)}
    return found


def _named(
    tiers: Sequence[int],
    prepaid: int,
    rates: Mapping[tuple[Category, Voltage], RatePrices],
    single: Mapping[tuple[Category, Voltage], int],
) -> dict[str, int]:
    # Five tiers and six have other prices: the third of each is not the same thing.
    named = {f"tier {n} of {len(tiers)}": each for n, each in enumerate(tiers, start=1)}
    named["prepaid"] = prepaid
    for (category, voltage), by_rate in rates.items():
        for rate, each in zip(RATES, by_rate, strict=True):
            named[f"{category.value} {voltage.value} {rate.value}"] = each
    return named | {f"{category.value} {voltage.value}": each for (category, voltage), each in single.items()}


def _share(act: Act, percent: int) -> int:
    return (Fraction(act.average) * percent / 100 + Fraction(1, 2)).__floor__()


def notes_on(tariffs: Tariffs) -> list[str]:
    """Return what ends, and what waits."""
    notes = [f"rates of tax are known up to {tariffs.vat[-1].end_on}; no bill that ends later can be computed"]
    notes += [f"{item.name} ({item.source}) waits for {item.waits_for}" for item in tariffs.waiting]
    notes += [f"schedule {item.name}: {item.source}" for item in tariffs.schedules if item.effective_on is None]
    return notes
