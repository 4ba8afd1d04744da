"""A quote as a table for a terminal."""

from fractions import Fraction

from rich.console import Console
from rich.table import Table

from billing_core.codes import RATES, Category, LineKind
from billing_core.explain import Language, explain_line, format_day, format_number, line_name
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
CATEGORIES = {
    Language.VI: {
        Category.RESIDENTIAL: "Sinh hoạt",
        Category.PRODUCTION: "Sản xuất",
        Category.BUSINESS: "Kinh doanh",
        Category.HOSPITAL_SCHOOL: "Bệnh viện, trường học",
        Category.LIGHTING_ADMIN: "Chiếu sáng, hành chính sự nghiệp",
        Category.PREPAID: "Sinh hoạt trả trước",
        Category.WHOLESALE_RURAL: "Bán buôn nông thôn, sinh hoạt",
        Category.WHOLESALE_RURAL_OTHER: "Bán buôn nông thôn, mục đích khác",
        Category.WHOLESALE_CITY_SELLER: "Bán buôn khu tập thể thành phố, thị xã, sinh hoạt, trạm bên bán",
        Category.WHOLESALE_CITY_BUYER: "Bán buôn khu tập thể thành phố, thị xã, sinh hoạt, trạm bên mua",
        Category.WHOLESALE_TOWN_SELLER: "Bán buôn khu tập thể thị trấn, huyện lỵ, sinh hoạt, trạm bên bán",
        Category.WHOLESALE_TOWN_BUYER: "Bán buôn khu tập thể thị trấn, huyện lỵ, sinh hoạt, trạm bên mua",
        Category.WHOLESALE_CLUSTER_OTHER: "Bán buôn khu tập thể, mục đích khác",
        Category.WHOLESALE_COMPLEX: "Bán buôn tổ hợp thương mại – dịch vụ – sinh hoạt, sinh hoạt",
        Category.WHOLESALE_COMPLEX_OTHER: "Bán buôn tổ hợp thương mại – dịch vụ – sinh hoạt, mục đích khác",
        Category.TOURISM: "Cơ sở lưu trú du lịch",
        Category.CHARGING: "Trạm sạc xe điện",
    },
    Language.EN: {category: category.value.replace("_", ", ").capitalize() for category in Category},
}
UNITS = {LineKind.REACTIVE: " (kvarh)", LineKind.DEMAND: " (kW, đ/kW)"}


def print_quote(answer: Quote, language: Language, *, explain: bool) -> None:
    """Print ``answer`` to standard output."""
    console = Console(highlight=False)
    words = WORDS[language]
    console.print(_table(answer, language))
    if answer.purchase is not None:
        console.print(f"{words['purchase']}: {explain_line(answer.purchase, language)}", soft_wrap=True)
    if answer.carry_out_wh:
        kept = f"{format_number(Fraction(answer.carry_out_wh, 1000), language)} kWh"
        console.print(f"{words['carried']}: {kept}{_by_rate(answer, language)}")
    for note in answer.notes:
        console.print(f"* {note}", soft_wrap=True)
    if explain:
        for number, line in enumerate(answer.all_lines(), start=1):
            console.print(f"{number}. {explain_line(line, language)}", soft_wrap=True)


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
