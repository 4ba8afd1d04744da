"""A billing run on a terminal: its progress, and what came of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from billing_core.explain import Language, format_number
from ingest_server.billing.documents import PURCHASE_PREFIX, Bill, Difference, Line, Purchase
from ingest_server.billing.run import BILLS_KEPT_MAX, Summary

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


def print_summary(summary: Summary) -> None:
    """Print what the run did, and what must be cured."""
    console = Console(file=sys.stdout, highlight=False)
    say = "would be billed (dry run: nothing is written)" if summary.dry_run else "billed"
    differs = summary.differing > 0
    table = Table(title=f"Billing {summary.period}", show_header=False, title_justify="left")
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, value in (
        (say, summary.billed),
        ("computed anew in place of bills that were not issued", summary.replaced),
        ("billed before, unchanged", summary.unchanged),
        ("held", summary.held),
        ("billed, but the purchase of solar energy is held", summary.purchases_held),
        ("differ from the issued bill, left as they are", summary.differing),
        ("must be signed before they are issued (congto bill status)", summary.to_sign),
        ("issued", summary.issued),
        ("energy billed [Wh]", summary.energy_wh),
        ("electricity [đ]", summary.subtotal),
        ("VAT [đ]", summary.vat),
        ("total [đ]", summary.total),
        ("solar energy bought [Wh]", summary.purchased_wh),
        ("paid for it [đ]", summary.purchased),
        *([("today's readings and contracts would change the total by [đ]", summary.difference)] * differs),
    ):
        table.add_row(name, format_number(value, Language.EN))
    console.print(table)
    for hold in summary.holds[:HOLDS_PRINTED_MAX]:
        what = "purchase held" if hold.reason.startswith(PURCHASE_PREFIX) else "held"
        console.print(Text(f"{what} {hold.metering_point_id}: {hold.reason}: {hold.detail}"), soft_wrap=True)
    if (more := summary.held + summary.purchases_held - HOLDS_PRINTED_MAX) > 0:
        console.print(f"… and {more} more; see congto bill list --period {summary.period}")
    for difference in summary.differences[:HOLDS_PRINTED_MAX]:
        console.print(Text(difference_text(difference)), soft_wrap=True)


def difference_text(difference: Difference) -> str:
    """Return what an issued bill should have been, in a sentence."""
    return (
        f"{difference.metering_point_id} differs from the issued bill {difference.bill_id} of "
        f"{format_number(difference.issued_total, Language.EN)} đ: "
        f"today's readings and contract make {format_number(difference.computed_total, Language.EN)} đ"
    )
