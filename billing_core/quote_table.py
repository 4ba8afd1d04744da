"""A quote as a table for a terminal."""

from fractions import Fraction

from rich.console import Console
from rich.table import Table

from billing_core.explain import Language, explain_line, format_day, format_number, line_name
from billing_core.quote import Quote

WORDS = {
    Language.VI: (
        "Khoản mục",
        "kWh",
        "Đơn giá (đ/kWh)",
        "Thành tiền (đ)",
        "Cộng",
        "Thuế GTGT",
        "Tổng cộng",
        "Mua điện",
    ),
    Language.EN: ("Item", "kWh", "Price (đ/kWh)", "Amount (đ)", "Subtotal", "VAT", "Total", "Purchase"),
}


def print_quote(answer: Quote, language: Language, *, explain: bool) -> None:
    """Print ``answer`` to standard output."""
    console = Console(highlight=False)
    item, kwh, price, amount, subtotal, vat, total, purchase = WORDS[language]
    start_on, end_on = (format_day(day, language) for day in (answer.request.start_on, answer.request.end_on))
    table = Table(title=f"{answer.request.category.value}, {start_on} – {end_on}", title_justify="left")
    table.add_column(item)
    for heading in (kwh, price, amount):
        table.add_column(heading, justify="right")
    for line in answer.lines:
        shown = "" if line.price is None else format_number(line.price, language)
        energy = format_number(Fraction(line.energy_wh, 1000), language)
        table.add_row(line_name(line, language), energy, shown, format_number(line.amount, language))
    table.add_section()
    energy = format_number(Fraction(answer.billed_wh, 1000), language)
    table.add_row(subtotal, energy, "", format_number(answer.subtotal, language))
    percent = format_number(Fraction(answer.vat_permille, 10), language)
    table.add_row(f"{vat} {percent} %", "", "", format_number(answer.vat, language))
    table.add_row(f"[bold]{total}[/]", "", "", f"[bold]{format_number(answer.total, language)}[/]")
    console.print(table)
    if answer.purchase is not None:
        console.print(f"{purchase}: {explain_line(answer.purchase, language)}")
    for note in answer.notes:
        console.print(f"* {note}")
    if explain:
        for number, line in enumerate(answer.all_lines(), start=1):
            console.print(f"{number}. {explain_line(line, language)}")
