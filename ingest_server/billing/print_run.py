"""A billing run on a terminal: its progress, and what came of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from billing_core.explain import Language, format_number
from ingest_server.billing.documents import PURCHASE_PREFIX, Bill, Difference, Hold, Line, Purchase
from ingest_server.billing.run import BILLS_KEPT_MAX, Summary
from ingest_server.billing.run_words import RUN_WORDS
from ingest_server.billing.sentences import text_of

HOLDS_PRINTED_MAX = 50  # a screen or two; `congto bill list` shows all


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error if that is a terminal; yield what advances it: points done, points in all."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        yield advance


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return what ``congto bill run --json`` prints; lists are cut at BILLS_KEPT_MAX, the counts are of all."""
    return {
        "period": {"from": summary.period.first_on.isoformat(), "to": summary.period.last_on.isoformat()},
        "dry_run": summary.dry_run,
        "run_id": summary.run_id,
        "billed": summary.billed,
        "replaced": summary.replaced,
        "unchanged": summary.unchanged,
        "held": summary.held,
        "purchases_held": summary.purchases_held,
        "differing": summary.differing,
        "to_sign": summary.to_sign,
        "issued": summary.issued,
        "energy_wh": summary.energy_wh,
        "subtotal": summary.subtotal,
        "vat": summary.vat,
        "total": summary.total,
        "purchased_wh": summary.purchased_wh,
        "purchased": summary.purchased,
        "difference": summary.difference,
        "digest": summary.digest,
        "listed_at_most": BILLS_KEPT_MAX,
        "bills": [bill_json(bill) for bill in summary.bills],
        "holds": [asdict(hold) for hold in summary.holds],
        "differences": [asdict(difference) for difference in summary.differences],
    }


def bill_json(bill: Bill) -> dict[str, Any]:
    """Return a computed bill as it will lie in the database."""
    return {
        "metering_point_id": bill.metering_point_id,
        "period_from": bill.first_on.isoformat(),
        "period_to": bill.last_on.isoformat(),
        "energy_wh": bill.energy_wh,
        "subtotal": bill.subtotal,
        "vat": bill.vat,
        "total": bill.total,
        "lines": [{name: getattr(line, name) for name in Line.__slots__} for line in bill.lines],
        "purchase": None if bill.purchase is None else {n: getattr(bill.purchase, n) for n in Purchase.__slots__},
        "inputs": bill.inputs,
    }


FIGURES = (
    *("replaced", "unchanged", "held", "purchases_held", "differing", "to_sign", "issued", "energy_wh", "subtotal"),
    *("vat", "total", "purchased_wh", "purchased"),
)
"""What a summary tells after how many bills there are, in this order."""


def print_summary(summary: Summary, language: Language) -> None:
    """Print what the run did, and what must be cured."""
    console = Console(file=sys.stdout, highlight=False)
    words = {name: texts[language] for name, texts in RUN_WORDS.items()}
    table = Table(title=words["title"].format(period=summary.period), show_header=False, title_justify="left")
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row(words["dry_run" if summary.dry_run else "billed"], format_number(summary.billed, language))
    for name in (*FIGURES, *(["difference"] * (summary.differing > 0))):
        table.add_row(escape(words[name]), format_number(getattr(summary, name), language))  # [Wh] is no style
    console.print(table)
    for hold in summary.holds[:HOLDS_PRINTED_MAX]:
        console.print(Text(hold_text(hold, language)), soft_wrap=True)
    if (more := summary.held + summary.purchases_held - HOLDS_PRINTED_MAX) > 0:
        console.print(words["more"].format(count=more, period=summary.period))
    for difference in summary.differences[:HOLDS_PRINTED_MAX]:
        console.print(Text(difference_text(difference, language)), soft_wrap=True)


def hold_text(hold: Hold, language: Language) -> str:
    """Return why a point, or its purchase alone, is held, in a sentence."""
    say = "one_purchase_held" if hold.reason.startswith(PURCHASE_PREFIX) else "one_held"
    detail = text_of(hold.sentences, language) if hold.sentences else hold.detail
    return RUN_WORDS[say][language].format(point=hold.metering_point_id, reason=hold.reason, detail=detail)


def difference_text(difference: Difference, language: Language) -> str:
    """Return what an issued bill should have been, in a sentence."""
    return RUN_WORDS["one_differs"][language].format(
        point=difference.metering_point_id,
        bill=difference.bill_id,
        issued=format_number(difference.issued_total, language),
        computed=format_number(difference.computed_total, language),
    )
