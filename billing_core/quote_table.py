"""A quote as a table for a terminal."""

from collections.abc import Mapping
from fractions import Fraction

from rich.console import Console
from rich.table import Table

from billing_core.codes import RATES, LineKind
from billing_core.explain import Language, explain_line, format_day, format_number, line_name
from billing_core.explain_names import CATEGORIES, category_of, use_name
from billing_core.explain_quote import quote_texts
from billing_core.quote import Quote

WORDS = {
    Language.VI: {
        "headings": ("Khoản mục", "kWh", "Đơn giá (đ/kWh)", "Thành tiền (đ)"),
        "subtotal": "Cộng",
        "total": "Tổng cộng",
        "purchase": "Bên mua trả",
        "carried": "Chuyển kỳ sau",
    },
    Language.EN: {
        "headings": ("Item", "kWh", "Price (đ/kWh)", "Amount (đ)"),
        "subtotal": "Subtotal",
        "total": "Total",
        "purchase": "Beside the bill",
        "carried": "Carried to the next cycle",
    },
}
UNITS = {LineKind.REACTIVE: " (kvarh)", LineKind.DEMAND: " (kW, đ/kW)"}


def print_quote(
    answer: Quote, language: Language, *, explain: bool, words_given: Mapping[str, str | None] | None = None
) -> None:
    """Print ``answer`` to standard output; with ``explain`` how it comes from the words that were given."""
    console = Console(highlight=False)
    words = WORDS[language]
    console.print(_table(answer, language))
    if answer.purchase is not None:
        console.print(f"{words['purchase']}: {explain_line(answer.purchase, language)}", soft_wrap=True)
    if answer.carry_out_wh:
        kept = f"{format_number(Fraction(answer.carry_out_wh, 1000), language)} kWh"
        console.print(f"{words['carried']}: {kept}{_by_rate(answer, language)}")
    for note in answer.notes_in(language):
        console.print(f"* {note}", soft_wrap=True)
    if explain:
        for number, sentence in enumerate(quote_texts(answer, language, words_given), start=1):
            console.print(f"{number}. {sentence}", soft_wrap=True)


def _by_rate(answer: Quote, language: Language) -> str:
    """Return what of a surplus is kept at each rate, in brackets; nothing without three rates."""
    if answer.carry_out_rates_wh is None:
        return ""
    kept = zip(RATES, answer.carry_out_rates_wh, strict=True)
    return f" ({', '.join(f'{rate.value} {format_number(Fraction(wh, 1000), language)}' for rate, wh in kept)})"


def _table(answer: Quote, language: Language) -> Table:
    words = WORDS[language]
    start_on, end_on = (format_day(day, language) for day in (answer.request.start_on, answer.request.end_on))
    title = f"{CATEGORIES[language][answer.request.category]}, {start_on} – {end_on}"
    item, *figures = words["headings"]
    table = Table(title=title, title_justify="left")
    table.add_column(item)
    for heading in figures:
        table.add_column(heading, justify="right")
    for line in answer.lines:
        counted = line.has_quantity
        name = line_name(line, language) + (UNITS.get(line.kind, "") if counted else "")
        use = category_of(line.clause) if answer.request.uses and line.kind is LineKind.ENERGY else None
        name += "" if use is None else f", {use_name(use, language)}"
        price = format_number(line.price, language) if counted and line.price is not None else ""
        energy = format_number(Fraction(line.energy_wh, 1000), language) if counted else ""
        table.add_row(name, energy, price, format_number(line.amount, language))
    table.add_section()
    energy = format_number(Fraction(answer.billed_wh, 1000), language)
    table.add_row(str(words["subtotal"]), energy, "", format_number(answer.subtotal, language))
    percent = format_number(Fraction(answer.vat_permille, 10), language)
    tax = f"{line_name(answer.vat_line, language)} {percent} %"
    table.add_row(tax, "", "", format_number(answer.vat, language))
    table.add_row(f"[bold]{words['total']}[/]", "", "", f"[bold]{format_number(answer.total, language)}[/]")
    return table
