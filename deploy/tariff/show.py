"""Tariffs as tables for a terminal, or as JSON."""

import json
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from billing_core.codes import RATES, Category, Certainty, Voltage
from billing_core.explain import Language, act_in, format_number
from billing_core.explain_names import CATEGORIES, CERTAINTIES
from billing_core.tariff import Act, Tariffs
from deploy.tariff.dated import dated_json, print_dated
from deploy.tariff.show_words import WORDS
from protocols.errors import UsageError

TIERS = "tiers"


def print_acts(tariffs: Tariffs, language: Language, *, as_json: bool) -> None:
    """Print the acts, the structures that wait, the rates of tax, and all that is dated beside them."""
    if as_json:
        found = {"acts": [_act(act) for act in tariffs.acts],
                 "waiting": [item.name for item in tariffs.waiting],
                 "vat": [_vat(tariffs, rate.start_on) for rate in tariffs.vat]} | dated_json(tariffs, None)  # fmt: skip
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    console, words = Console(highlight=False), WORDS[language]
    headings = ("act", "from", "average", "tiers", "residential certainty")
    table = Table(*(words[name] for name in headings), title=words["acts"])
    for act in tariffs.acts:
        lowest, highest = (format_number(act.tiers[place], language) for place in (0, -1))
        certainty = CERTAINTIES[language][act.certainty["residential"]]
        tiers = f"{len(act.tiers)}: {lowest} – {highest} đ"
        table.add_row(act_in(act.name, language), str(act.effective_on), str(act.average), tiers, certainty)
    console.print(table)
    for item in tariffs.waiting:
        widths = " / ".join(map(str, item.widths))
        source = act_in(item.source, language)
        waits = {"name": item.name, "source": source, "widths": widths, "waits_for": item.waits_for}
        console.print(words["waits"].format_map(waits), soft_wrap=True)
    table = Table(*(words[name] for name in ("from", "to", "tax", "by")), title=words["taxes"])
    for rate in tariffs.vat:
        percent = f"{rate.permille / 10:g} %"
        table.add_row(str(rate.start_on), str(rate.end_on), percent, act_in(rate.act, language))
    console.print(table)
    print_dated(console, tariffs, language, None)


def print_prices(tariffs: Tariffs, day: date, language: Language, *, as_json: bool) -> None:
    """Print everything in force on ``day``, and the schedules that wait.

    Raises
    ------
    UsageError
        If no act is in force.
    """
    act = tariffs.act_on(day)
    if act is None:
        first = tariffs.acts[0]
        raise UsageError(f"day: found {day}; the first act, {first.name}, is in force from {first.effective_on}")
    structure, schedule = tariffs.structure_on(day), tariffs.schedule_on(day)
    widths = [] if structure is None else list(structure.widths)
    if as_json:
        found = _act(act) | {"day": str(day), "widths_kwh": widths, "vat": _vat(tariffs, day)}
        found |= {"schedule": None if schedule is None else schedule.name} | dated_json(tariffs, day)
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    console, words = Console(highlight=False), WORDS[language]
    named = {"act": act_in(act.name, language), "day": act.effective_on, "average": act.average, "source": act.source}
    console.print(words["in force"].format_map(named), soft_wrap=True)
    table = Table(*(words[name] for name in ("category", "class", "prices", "certainty")))
    for category, name, prices in _prices(act, language):
        certainty = CERTAINTIES[language][_certainty(act, category, name)]
        shown = words["in tiers"] if name == TIERS else name
        table.add_row(CATEGORIES[language][category], shown, prices, certainty)
    console.print(table)
    console.print(words["widths"].format(widths=" / ".join(map(str, widths))))
    rate = tariffs.vat_on(day)
    if rate is None:
        console.print(words["no tax"])
    else:
        console.print(words["tax is"].format(percent=f"{rate.permille / 10:g}", act=act_in(rate.act, language)))
    print_dated(console, tariffs, language, day)


def _prices(act: Act, language: Language) -> list[tuple[Category, str, str]]:
    """Return (category, class, prices in words) of an act."""
    rows = []
    for category, tiers in act.tiered.items():
        rows.append((category, TIERS, " / ".join(format_number(price, language) for price in tiers)))
    rows.append((Category.PREPAID, "", format_number(act.prepaid, language)))
    for (category, voltage), prices in act.rates.items():
        named = (f"{rate.value} {format_number(price, language)}" for rate, price in zip(RATES, prices, strict=True))
        rows.append((category, voltage.value, ", ".join(named)))
    for (category, voltage), price in act.single.items():
        rows.append((category, voltage.value, format_number(price, language)))
    return sorted(rows, key=lambda row: row[0].code)


def _certainty(act: Act, category: Category, name: str) -> Certainty:
    voltage = next((member for member in Voltage if member.value == name), Voltage.LT6)
    return act.certainty_of(category, voltage)


def _act(act: Act) -> dict[str, Any]:
    prices: dict[str, Any] = {}
    for category, tiers in act.tiered.items():
        prices[category.value] = list(tiers)
    prices[Category.PREPAID.value] = act.prepaid
    for (category, voltage), rates in act.rates.items():
        by_rate = {rate.value: price for rate, price in zip(RATES, rates, strict=True)}
        prices.setdefault(category.value, {})[voltage.value] = by_rate
    for (category, voltage), price in act.single.items():
        prices.setdefault(category.value, {})[voltage.value] = price
    return {
        "act": act.name,
        "effective_on": str(act.effective_on),
        "average": str(act.average),
        "source": act.source,
        "certainty": {key: value.value for key, value in act.certainty.items()},
        "prices": prices,
    }


def _vat(tariffs: Tariffs, day: date) -> dict[str, Any] | None:
    rate = tariffs.vat_on(day)
    return None if rate is None else {
        "from": str(rate.start_on), "to": str(rate.end_on), "percent": rate.permille / 10, "act": rate.act
    }  # fmt: skip
