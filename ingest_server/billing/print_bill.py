"""Stored bills on a terminal. What customers and companies named themselves is printed as text, never as markup."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing_core.codes import LineKind
from billing_core.explain import Language, format_day, format_number, line_name
from billing_core.explain_names import WARNINGS, category_of, use_name
from billing_core.line import BillLine
from ingest_server.billing.chain import state_text
from ingest_server.billing.documents import PURCHASE_PREFIX
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.reasons import reason_title

WORDS = {
    Language.VI: {
        "point": "Điểm đo",
        "customer": "Khách hàng",
        "bill": "Hóa đơn",
        "period": "Kỳ",
        "line": "Khoản",
        "energy": "kWh",
        "price": "đ/kWh",
        "amount": "Thành tiền (đ)",
        "subtotal": "Cộng tiền điện",
        "total": "Tổng cộng",
        "purchase": "Mua điện mặt trời (chứng từ riêng)",
        "held": "Chưa lập hóa đơn",
        "purchase_held": "Đã lập hóa đơn, chưa mua điện mặt trời",
        "state": "Trạng thái",
    },
    Language.EN: {
        "point": "Metering point",
        "customer": "Customer",
        "bill": "Bill",
        "period": "Period",
        "line": "Item",
        "energy": "kWh",
        "price": "đ/kWh",
        "amount": "Amount (đ)",
        "subtotal": "Electricity",
        "total": "Total",
        "purchase": "Solar energy bought (a document of its own)",
        "held": "Not billed",
        "purchase_held": "Billed, purchase of solar energy waits",
        "state": "State",
    },
}


def print_list(bills: Iterable[Mapping[str, Any]], holds: Iterable[Mapping[str, Any]], language: Language) -> None:
    """Print a month's bills, a row each, and after them what is held."""
    console = Console(file=sys.stdout, highlight=False)
    words = WORDS[language]
    table = Table()
    for name in ("bill", "point", "customer"):
        table.add_column(words[name], no_wrap=name != "customer")
    for name in ("energy", "total"):
        table.add_column(words[name], justify="right", no_wrap=True)
    table.add_column(words["state"])
    for bill in bills:
        table.add_row(
            str(bill["bill_id"]),
            Text(bill["metering_point_id"]),
            Text(bill["customer_name"]),
            _kwh(bill["energy_wh"], language),
            format_number(bill["total"], language),
            Text(state_text(bill, language)),
        )
    console.print(table)
    for hold in holds:
        reason = hold["reason"]
        state = words["purchase_held" if reason.startswith(PURCHASE_PREFIX) else "held"]
        whose = f"{hold['metering_point_id']} ({hold['customer_name']})"
        text = f"{state} {whose}: {reason_title(reason, language)} [{reason}]: {hold['detail']}"
        console.print(Text(text), soft_wrap=True)


def print_bill(bill: Mapping[str, Any], language: Language, *, explain: bool, differences: Iterable[str] = ()) -> None:
    """Print one bill; with ``explain`` also how each figure comes about, and what its differences say."""
    console = Console(file=sys.stdout, highlight=False)
    words = WORDS[language]
    for name, text in (
        ("bill", f"{bill['bill_id']} (v{bill['version']})"),
        ("point", bill["metering_point_id"]),
        ("customer", f"{bill['customer_name']}, {bill['customer_address']}".rstrip(", ")),
        ("period", " – ".join(_day(bill[name], language) for name in ("period_from", "period_to"))),
        ("state", state_text(bill, language)),
    ):
        console.print(Text(f"{words[name]}: {text}"), soft_wrap=True)
    table = Table()
    table.add_column(words["line"])
    for name in ("energy", "price", "amount"):
        table.add_column(words[name], justify="right")
    lines = [BillLine.from_json(line["operands"]) for line in bill["lines"]]
    uses = {category_of(line.clause) for line in lines if line.kind is LineKind.ENERGY}
    for line, stored in zip(lines, bill["lines"], strict=True):
        if stored["kind"] == "vat":
            table.add_row(
                words["subtotal"], _kwh(bill["energy_wh"], language), "", format_number(bill["subtotal"], language)
            )
        table.add_row(
            line_name(line, language) if len(uses) < 2 else _with_use(line, language),
            "" if stored["energy_wh"] is None else _quantity(stored, language),
            "" if stored["price"] is None else format_number(stored["price"], language),
            format_number(stored["amount"], language),
        )
    table.add_section()
    table.add_row(words["total"], "", "", format_number(bill["total"], language), style="bold")
    console.print(table)
    purchase = bill["purchase"]
    if purchase is not None and purchase["energy_wh"]:
        bought, price = _kwh(purchase["energy_wh"], language), format_number(purchase["price"], language)
        amount = format_number(purchase["amount"], language)
        console.print(Text(f"{words['purchase']}: {bought} kWh × {price} đ/kWh = {amount} đ"), soft_wrap=True)
    for certainty in dict.fromkeys(line.certainty for line in _with_purchase(lines, purchase)):
        if certainty in WARNINGS[language]:
            of = [line for line in _with_purchase(lines, purchase) if line.certainty is certainty]
            names = ", ".join(dict.fromkeys(line_name(line, language) for line in of))
            console.print(Text(f"* {names}: {WARNINGS[language][certainty]}"), soft_wrap=True)
    if explain:
        print_explanation(bill, language, differences)


def print_explanation(bill: Mapping[str, Any], language: Language, differences: Iterable[str] = ()) -> None:
    """Print how each figure of a bill comes about, and its differences, as a clerk reads them to the customer."""
    print_sentences((*explain_bill(bill, language), *differences))


def print_sentences(sentences: Iterable[str]) -> None:
    """Print sentences, each on a line of its own."""
    console = Console(file=sys.stdout, highlight=False)
    for sentence in sentences:
        console.print(Text(f"• {sentence}"), soft_wrap=True)


def _with_purchase(lines: Sequence[BillLine], purchase: Mapping[str, Any] | None) -> list[BillLine]:
    """Return the lines, and that of the purchase beside the bill."""
    if purchase is None or purchase["operands"]["line"] is None:
        return [*lines]
    return [*lines, BillLine.from_json(purchase["operands"]["line"])]


def _with_use(line: BillLine, language: Language) -> str:
    """Return what a line of a mixed bill is called, with its use."""
    use = category_of(line.clause) if line.kind is LineKind.ENERGY else None
    name = line_name(line, language)
    return name if use is None else f"{name}, {use_name(use, language)}"


def _day(day: str, language: Language) -> str:
    return format_day(date.fromisoformat(day), language)


def _quantity(line: Mapping[str, Any], language: Language) -> str:
    """Return how much a line charges: kWh as the column says, demand in kW."""
    return _kwh(line["energy_wh"], language) + (" kW" if line["kind"] == LineKind.DEMAND.value else "")


def _kwh(energy_wh: int, language: Language) -> str:
    return format_number(Fraction(energy_wh, 1000), language)
