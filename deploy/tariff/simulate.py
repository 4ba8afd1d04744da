"""``congto tariff simulate``: a population under today's tariff and another, and what that is to whom."""

import argparse
import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from billing_core.codes import Category
from billing_core.tariff import Act, Tariffs, TierStructure
from billing_core.tariff_files import load_tariffs
from billing_core.what_if import Outcome, Population, always, compare, made_up, summed, with_percent, with_waiting
from deploy.tariff.billed import billed_populations
from deploy.tariff.files import tariffs_of
from ingest_server.database.connection import dsn_from
from protocols.errors import UsageError

LOT = 100_000  # customers billed at a time: what bounds the memory, however many there are
CUSTOMERS_MAX = 30_000_000
BAR_COLUMNS_MAX = 40


def run_simulation(arguments: argparse.Namespace) -> int:
    """Print what the other tariff changes."""
    tariffs = load_tariffs()
    months = _twelve_months(arguments.first)
    act, structure = tariffs.act_on(months[0]), tariffs.structure_on(months[0])
    if act is None or structure is None:
        raise UsageError(f"--from: found {arguments.first}; the first act is from {tariffs.acts[0].effective_on}")
    other = other_tariff(arguments.against, tariffs, act, structure)
    if arguments.database:
        lots = billed_populations(dsn_from(arguments), months)
    else:
        lots = _made_up_lots(arguments.customers, arguments.seed, months)
    begun = time.monotonic()
    outcome = summed(compare(lot, always(tariffs, act, structure), other) for lot in lots)
    took_s = time.monotonic() - begun
    if outcome.customers == 0:
        raise UsageError(f"found no bills from {months[0]} on, expected some; run congto bill run, or another --from")
    if arguments.json:
        print(json.dumps(_as_json(outcome, arguments.against), ensure_ascii=False, indent=1))
    else:
        _print(outcome, f"{act.name} against {arguments.against}, {months[0]:%Y-%m} to {months[-1]:%Y-%m}", took_s)
    return 0


def other_tariff(text: str, tariffs: Tariffs, act: Act, structure: TierStructure) -> Tariffs:
    """Return the tariff that ``--against`` names.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    kind, equals, value = text.partition("=")
    if text == "waiting":
        if not tariffs.waiting:
            raise UsageError("--against: found waiting, and no structure waits; name a file, act=… or percent=…")
        return with_waiting(tariffs, act, tariffs.waiting[0])
    if kind == "percent" and equals:
        try:
            percent = Fraction(value)
        except (ValueError, ZeroDivisionError):
            percent = Fraction(1_000)
        if not -90 <= percent <= 200:
            raise UsageError(f"--against: found {text!r}, expected percent=-90 to percent=200; correct it")
        return with_percent(tariffs, act, structure, percent)
    if kind == "act" and equals:
        named = [item for item in tariffs.acts if f" {value}/" in item.name]
        if not named:
            known = ", ".join(item.name for item in tariffs.acts)
            raise UsageError(f"--against: found {text!r}, expected the number of one of {known}; correct it")
        return _in_force(tariffs, named[-1])
    given = tariffs_of(Path(text))
    return _in_force(given, given.acts[-1])


def _in_force(tariffs: Tariffs, act: Act) -> Tariffs:
    structure = tariffs.structure_on(act.effective_on)
    assert structure is not None  # the loader refuses an act without one
    return always(tariffs, act, structure)


def _twelve_months(text: str) -> tuple[date, ...]:
    try:
        month = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise UsageError(f"--from: found {text!r}, expected a month like 2025-06; correct it") from None
    months = [month]
    while len(months) < 12:
        months.append((months[-1] + timedelta(days=31)).replace(day=1))
    return tuple(months)


def _made_up_lots(customers: int, seed: int, months: tuple[date, ...]) -> Iterator[Population]:
    if not 1 <= customers <= CUSTOMERS_MAX:
        raise UsageError(f"--customers: found {customers}, expected 1 to {CUSTOMERS_MAX}; correct it")
    for place, chance in enumerate(np.random.SeedSequence(seed).spawn(-(-customers // LOT))):
        yield made_up(min(LOT, customers - place * LOT), months, np.random.default_rng(chance))


def _print(outcome: Outcome, title: str, took_s: float) -> None:
    console = Console(highlight=False)
    change = outcome.after - outcome.before
    table = Table("", "customers", "before (million đ)", "after (million đ)", "change", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for category in Category:
        if category in outcome.by_category:
            customers, before, after = outcome.by_category[category]
            table.add_row(
                category.value, f"{customers:,}", _millions(before), _millions(after), _percent(before, after)
            )
    table.add_section()
    counted = outcome.customers - outcome.held
    revenue = (_millions(outcome.before), _millions(outcome.after), _percent(outcome.before, outcome.after))
    table.add_row("revenue, with tax", f"{counted:,}", *revenue)
    console.print(table)
    console.print(f"{outcome.winners:,} pay less, {outcome.losers:,} pay more, "
                  f"{counted - outcome.winners - outcome.losers:,} the same; revenue {change:+,} đ")  # fmt: skip
    if outcome.held:
        console.print(f"{outcome.held:,} could not be billed under one of the tariffs and are left out")
    most = max(count for _, count in outcome.classes) or 1
    for name, count in outcome.classes:
        bar = "█" * -(-count * BAR_COLUMNS_MAX // most)
        console.print(f"{name:>14} {bar:<{BAR_COLUMNS_MAX}} {count:>12,}  {100 * count / max(counted, 1):5.1f} %")
    console.print(f"{outcome.customers:,} customers × 12 months in {took_s:.1f} s", style="dim")


def _millions(amount: int) -> str:
    return f"{amount / 1_000_000:,.0f}"


def _percent(before: int, after: int) -> str:
    return f"{100 * (after - before) / before:+.2f} %" if before else "–"


def _as_json(outcome: Outcome, against: str) -> dict[str, object]:
    return {
        "against": against,
        "customers": outcome.customers,
        "held": outcome.held,
        "winners": outcome.winners,
        "losers": outcome.losers,
        "revenue_before": outcome.before,
        "revenue_after": outcome.after,
        "classes": dict(outcome.classes),
        "by_category": {
            category.value: {"customers": customers, "before": before, "after": after}
            for category, (customers, before, after) in outcome.by_category.items()
        },
    }
