"""Tariffs as tables for a terminal, or as JSON."""

import json
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from billing_core.codes import RATES, Category, Voltage
from billing_core.tariff import Act, Tariffs
from protocols.errors import UsageError


def print_acts(tariffs: Tariffs, *, as_json: bool) -> None:
    """Print the acts, the structures that wait, and the rates of tax."""
    if as_json:
        print(json.dumps({"acts": [_act(act) for act in tariffs.acts],
                          "waiting": [item.name for item in tariffs.waiting],
                          "vat": [_vat(tariffs, rate.start_on) for rate in tariffs.vat]},
                         ensure_ascii=False, indent=1))  # fmt: skip
        return
    console = Console(highlight=False)
    table = Table("act", "in force from", "average", "tiers", "residential, certainty", title="Price acts")
    for act in tariffs.acts:
        tiers = f"{len(act.tiers)}: {act.tiers[0]:,} – {act.tiers[-1]:,} đ"
        table.add_row(act.name, str(act.effective_on), str(act.average), tiers, act.certainty["residential"].value)
    console.print(table)
    for item in tariffs.waiting:
        widths = " / ".join(map(str, item.widths))
        console.print(f"waits: {item.name} ({item.source}): {widths} / rest kWh; for {item.waits_for}", soft_wrap=True)
    table = Table("from", "to", "VAT", "by", title="Rates of tax")
    for rate in tariffs.vat:
        table.add_row(str(rate.start_on), str(rate.end_on), f"{rate.permille / 10:g} %", rate.act)
    console.print(table)


def print_prices(tariffs: Tariffs, day: date, *, as_json: bool) -> None:
    """Print everything in force on ``day``.

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
        found |= {"schedule": None if schedule is None else schedule.name}
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    console.print(
        f"{act.name}, in force from {act.effective_on}; average {act.average} đ/kWh. {act.source}", soft_wrap=True
    )
    table = Table("category", "class", "price (đ/kWh, without VAT)", "certainty")
    for category, name, prices in _prices(act):
        table.add_row(category.value, name, prices, _certainty(act, category, name))
    console.print(table)
    console.print(f"tiers: {' / '.join(map(str, widths))} / rest kWh for a household and month")
    rate = tariffs.vat_on(day)
    console.print("VAT: not known" if rate is None else f"VAT: {rate.permille / 10:g} % ({rate.act})")
    if schedule is not None:
        peak, off_peak = (", ".join(map(_window, windows)) for windows in (schedule.peak, schedule.off_peak))
        sunday = "" if schedule.sunday_peak else " but Sunday"
        console.print(f"schedule {schedule.name}: peak {peak}{sunday}; off-peak {off_peak}; normal otherwise")


def _prices(act: Act) -> list[tuple[Category, str, str]]:
    """Return (category, class, prices in words) of an act."""
    rows = [(category, "tiers", " / ".join(f"{p:,}" for p in tiers)) for category, tiers in act.tiered.items()]
    rows.append((Category.PREPAID, "", f"{act.prepaid:,}"))
    for (category, voltage), prices in act.rates.items():
        named = ", ".join(f"{rate.value} {price:,}" for rate, price in zip(RATES, prices, strict=True))
        rows.append((category, voltage.value, named))
    rows += [(category, voltage.value, f"{price:,}") for (category, voltage), price in act.single.items()]
    return sorted(rows, key=lambda row: row[0].code)


def _certainty(act: Act, category: Category, name: str) -> str:
    voltage = next((member for member in Voltage if member.value == name), Voltage.LT6)
    return act.certainty_of(category, voltage).value


def _window(window: tuple[int, int]) -> str:
    return "–".join(f"{minute // 60:02}:{minute % 60:02}" for minute in window)


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
