"""What can be said about tariff files beyond that they can be read: prices against percentages, and what runs out."""

import json
from fractions import Fraction

from rich.console import Console

from billing_core.codes import Category
from billing_core.tariff import Act, Percentages, Tariffs


def print_check(tariffs: Tariffs, *, as_json: bool) -> int:
    """Print what was found; return 1 if a price is not what the percentages say, else 0."""
    wrong = deviations(tariffs)
    notes = notes_on(tariffs)
    if as_json:
        print(
            json.dumps({"acts": len(tariffs.acts), "deviations": wrong, "notes": notes}, ensure_ascii=False, indent=1)
        )
        return 1 if wrong else 0
    console = Console(highlight=False)
    console.print(f"{len(tariffs.acts)} acts, the newest {tariffs.acts[-1].name} from {tariffs.acts[-1].effective_on}")
    for line in wrong:
        console.print(f"not as its percentage: {line}", soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print("wrong" if wrong else "right")
    return 1 if wrong else 0


def deviations(tariffs: Tariffs) -> list[str]:
    """Return prices that are not the average price times their percentage, half up, each with both figures."""
    found = []
    for act in tariffs.acts:
        known = [item for item in tariffs.percentages if item.effective_on <= act.effective_on]
        if known:
            found += [
                f"{act.name}, {what}: found {price}, {percent} % of {act.average} is {wanted}"
                for what, price, percent in _priced(act, known[-1])
                if price != (wanted := _share(act, percent))
            ]
    return found


def _priced(act: Act, percentages: Percentages) -> list[tuple[str, int, int]]:
    """Return (what, price, percent) of all prices that have a percentage."""
    rows = [(f"tier {n}", *pair) for n, pair in enumerate(zip(act.tiers, percentages.tiers, strict=False), start=1)]
    rows.append(("prepaid", act.prepaid, percentages.prepaid))
    for voltage, percents in percentages.business.items():
        prices = act.rates.get((Category.BUSINESS, voltage), ())
        rows += [(f"business {voltage.value}", *pair) for pair in zip(prices, percents, strict=False)]
    return rows


def _share(act: Act, percent: int) -> int:
    return (Fraction(act.average) * percent / 100 + Fraction(1, 2)).__floor__()


def notes_on(tariffs: Tariffs) -> list[str]:
    """Return what ends, and what waits."""
    notes = [f"rates of tax are known up to {tariffs.vat[-1].end_on}; no bill that ends later can be computed"]
    notes += [f"{item.name} ({item.source}) waits for {item.waits_for}" for item in tariffs.waiting]
    notes += [f"schedule {item.name}: {item.source}" for item in tariffs.schedules if item.effective_on is None]
    return notes
