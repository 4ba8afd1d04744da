"""A back-billing on a terminal: each bill as it was and as it should have been, and what is left alone."""

import sys
from collections.abc import Sequence
from fractions import Fraction

from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing_core.explain import Language, format_day, format_number
from ingest_server.billing.back_bill_prices import BackBilled, Wrong
from ingest_server.billing.back_bill_words import basis_text, left_alone, word
from ingest_server.billing.period import Period

COLUMNS = ("bill", "days", "energy", "before", "after", "difference")


def print_back_billing(
    point: str,
    found: Sequence[tuple[BackBilled, int | None]],
    wrong: Wrong,
    proposed_by: str | None,
    language: Language,
) -> None:
    """Print a table of the bills, by which rule they are priced again, and what is to be done next."""
    console = Console(file=sys.stdout, highlight=False)
    priced = [each for each, _ in found if not each.refused]
    if priced:
        console.print(_table(point, priced, language))
    if not found:
        first, last = (format_day(day, language) for day in (wrong.first_on, wrong.found_on))
        _say(console, word("nothing", language, point=point, first=first, found=last))
    _say(console, basis_text(wrong.first_on, wrong.found_on, wrong.since_on, language))
    for each, _ in found:
        if each.refused:
            why = left_alone(each.refused, each.about, language)
            period = Period(each.period_from, each.period_to)
            _say(console, word("left", language, bill=each.bill_id, period=period, why=why))
    numbers = ", ".join(str(number) for _, number in found if number is not None)
    if proposed_by is None:
        _say(console, word("dry_run", language))
    elif numbers:
        _say(console, word("proposed", language, who=proposed_by, numbers=numbers))


def _table(point: str, priced: Sequence[BackBilled], language: Language) -> Table:
    table = Table(title=Text(word("title", language, point=point)), title_justify="left")
    for name in COLUMNS:
        table.add_column(word(name, language), justify="left" if name in ("bill", "days") else "right", no_wrap=True)
    for each in priced:
        days = " – ".join(format_day(day, language) for day in (each.first_on, each.last_on))
        kwh = format_number(Fraction(each.energy_wh, 1000), language)
        amounts = (each.before, each.before + each.total)
        numbers = (format_number(amount, language) for amount in amounts)
        table.add_row(str(each.bill_id), days, kwh, *numbers, signed(each.total, language))
    table.add_section()
    before, more = (sum(column) for column in zip(*((each.before, each.total) for each in priced), strict=True))
    sums = (format_number(before, language), format_number(before + more, language), signed(more, language))
    table.add_row(word("sum", language), "", "", *sums, style="bold")
    return table


def signed(amount: int, language: Language) -> str:
    """Return an amount with its sign."""
    return ("+" if amount >= 0 else "") + format_number(amount, language)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
