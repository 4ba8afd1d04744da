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

from billing_core.codes import Category, Hold
from billing_core.explain import Language, act_in, format_number
from billing_core.explain_names import CATEGORIES
from billing_core.tariff import Act, Tariffs, TierStructure
from billing_core.what_if import Outcome, Population, always, compare, made_up, summed, with_percent, with_waiting
from deploy.tariff.billed import billed_populations
from deploy.tariff.files import tariffs_of
from deploy.tariff.simulate_words import WORDS, class_name, reason
from ingest_server.database.connection import dsn_from
from protocols.errors import UsageError

LOT = 100_000  # customers billed at a time: what bounds the memory, however many there are
CUSTOMERS_MAX = 30_000_000
BAR_COLUMNS_MAX = 40


def run_simulation(arguments: argparse.Namespace) -> int:
    """Print what the other tariff changes; the status is 1 if customers are left out whom one of them cannot bill."""
    tariffs = tariffs_of(arguments.files)
    months = _twelve_months(arguments.first)
    act, structure = tariffs.act_on(months[0]), tariffs.structure_on(months[0])
    if act is None or structure is None:
        raise UsageError(f"--from: found {arguments.first}; the first act is from {tariffs.acts[0].effective_on}")
    against = arguments.against or _default(tariffs, act, arguments.first)
    other = other_tariff(against, tariffs, act, structure)
    if arguments.database:
        lots = billed_populations(dsn_from(arguments), months)
    else:
        lots = _made_up_lots(arguments.customers, arguments.seed, months)
    begun = time.monotonic()
    outcome = summed(compare(lot, always(tariffs, act, structure), other) for lot in lots)
    took_s = time.monotonic() - begun
    if outcome.customers == 0:
        raise UsageError(f"found no bills from {months[0]} on, expected some; run congto bill run, or another --from")
    language = Language(arguments.language)
    if arguments.json:
        print(json.dumps(_as_json(outcome, against, language), ensure_ascii=False, indent=1))
    else:
        months_shown = {"first": f"{months[0]:%Y-%m}", "last": f"{months[-1]:%Y-%m}"}
        names = {"act": act_in(act.name, language), "other": against, **months_shown}
        _print(outcome, names, language, took_s)
    return 1 if outcome.held else 0


def _default(tariffs: Tariffs, act: Act, first: str) -> str:
    """Return what to compare with if nothing is named: what waits, or else the newest act, unless it is ``act``."""
    newest = tariffs.acts[-1]
    if tariffs.waiting:
        return "waiting"
    if newest is act:
        raise UsageError(
            f"--against: found nothing, and nothing waits; in {first} the newest act, {act.name}, is in force already; "
            "name what to compare with: an earlier act (act=2699), a percentage (percent=5) or a file"
        )
    return f"act={_number(newest)}"


def _number(act: Act) -> str:
    """Return ``2699`` of ``Decision 2699/QĐ-BCT``."""
    return act.name.split()[-1].partition("/")[0]


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
            newest = tariffs.acts[-1].name
            raise UsageError(
                f"--against: found waiting, but no structure waits any more (the newest act is {newest}); "
                "name what to compare with: an act (act=2699), a percentage (percent=5) or a file"
            )
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
        named = [item for item in tariffs.acts if _number(item) == value]
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


def _print(outcome: Outcome, names: dict[str, str], language: Language, took_s: float) -> None:
    console, words = Console(highlight=False), WORDS[language]
    counted = outcome.customers - outcome.held
    table = Table(words["category"], *(words[name] for name in ("customers", "before", "after", "change")))
    table.title = words["title"].format_map(names)
    _right(table)
    for category in Category:
        if category in outcome.by_category:
            customers, before, after = outcome.by_category[category]
            figures = (_millions(before, language), _millions(after, language), _percent(before, after, language))
            table.add_row(CATEGORIES[language][category], format_number(customers, language), *figures)
    table.add_section()
    compared = f"{_share(counted, outcome.customers, language)[:-2]}"
    name = words["of_compared"].format(percent=compared) if outcome.held else words["revenue"]
    before, after = outcome.before, outcome.after
    revenue = (_millions(before, language), _millions(after, language), _percent(before, after, language))
    table.add_row(name, format_number(counted, language), *revenue)
    console.print(table)
    same = counted - outcome.winners - outcome.losers
    sides = {"winners": outcome.winners, "losers": outcome.losers, "same": same}
    shown = {side: format_number(count, language) for side, count in sides.items()}
    change = after - before
    console.print(words["sides"].format(**shown, change=("+" if change > 0 else "") + format_number(change, language)))
    if outcome.held:
        _print_left_out(console, outcome, language)
    _print_classes(console, outcome, language, counted)
    took = {"customers": format_number(outcome.customers, language), "took": f"{took_s:.1f}"}
    console.print(words["took"].format_map(took), style="dim")


def _print_left_out(console: Console, outcome: Outcome, language: Language) -> None:
    """Print who is not compared: how many of which category, why, and what share of energy and revenue that is."""
    words, today = WORDS[language], _revenue_today(outcome)
    headings = ("category", "voltage", "customers", "energy_share", "revenue_share", "why")
    table = Table(*(words[name] for name in headings), title=words["left_title"])
    _right(table, 2, 5)
    for each in outcome.left_out:
        table.add_row(
            CATEGORIES[language][each.category],
            each.voltage.value,
            format_number(each.customers, language),
            _share(each.energy_wh, outcome.energy_wh, language),
            "–" if each.revenue is None else _share(each.revenue, today, language),
            reason(each.before, each.after, language),
        )
    console.print(table)
    left = {
        "customers": format_number(outcome.held, language),
        "customers_share": _share(outcome.held, outcome.customers, language),
        "energy_share": _share(sum(each.energy_wh for each in outcome.left_out), outcome.energy_wh, language),
        "revenue_share": _share(today - outcome.before, today, language),
    }
    console.print(words["notice"].format_map(left), soft_wrap=True)


def _print_classes(console: Console, outcome: Outcome, language: Language, counted: int) -> None:
    words = WORDS[language]
    caption = words["caption"].format(counted=format_number(counted, language))
    if outcome.held:
        caption += words["caption_left"].format(left=format_number(outcome.held, language))
    console.print(caption, soft_wrap=True)
    most = max(count for _, count in outcome.classes) or 1
    for name, count in outcome.classes:
        bar = "█" * -(-count * BAR_COLUMNS_MAX // most)
        shown, share = format_number(count, language), _share(count, counted, language)
        console.print(f"{class_name(name, language):>15} {bar:<{BAR_COLUMNS_MAX}} {shown:>12}  {share:>8}")


def _right(table: Table, first: int = 1, end: int | None = None) -> None:
    for column in table.columns[first:end]:
        column.justify = "right"


def _revenue_today(outcome: Outcome) -> int:
    """Return today's revenue of all whom today's tariff can bill. [đ]"""
    return outcome.before + sum(each.revenue or 0 for each in outcome.left_out)


def _share(part: int, whole: int, language: Language) -> str:
    return f"{_decimals(Fraction(100 * part, whole), 1, language)} %" if whole else "–"


def _decimals(value: Fraction, places: int, language: Language) -> str:
    text = f"{float(value):,.{places}f}"
    return text.translate(str.maketrans(",.", ".,")) if language is Language.VI else text


def _millions(amount: int, language: Language) -> str:
    return _decimals(Fraction(amount, 1_000_000), 0, language)


def _percent(before: int, after: int, language: Language) -> str:
    if not before:
        return "–"
    return f"{'+' if after >= before else ''}{_decimals(Fraction(100 * (after - before), before), 2, language)} %"


def _as_json(outcome: Outcome, against: str, language: Language) -> dict[str, object]:
    today = _revenue_today(outcome)
    return {
        "against": against,
        "customers": outcome.customers,
        "held": outcome.held,
        "winners": outcome.winners,
        "losers": outcome.losers,
        "left_out": [
            {
                "category": each.category.value,
                "voltage": each.voltage.value,
                "before": None if each.before is Hold.NONE else each.before.value,
                "after": None if each.after is Hold.NONE else each.after.value,
                "reason": reason(each.before, each.after, language),
                "customers": each.customers,
                "energy_wh": each.energy_wh,
                "energy_share": round(each.energy_wh / outcome.energy_wh, 6) if outcome.energy_wh else None,
                "revenue_before": each.revenue,
                "revenue_share": None if each.revenue is None or not today else round(each.revenue / today, 6),
            }
            for each in outcome.left_out
        ],
        "energy_wh": outcome.energy_wh,
        "revenue_before": outcome.before,
        "revenue_after": outcome.after,
        "classes": dict(outcome.classes),
        "by_category": {
            category.value: {"customers": customers, "before": before, "after": after}
            for category, (customers, before, after) in outcome.by_category.items()
        },
    }
