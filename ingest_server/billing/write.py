"""Do: write a chunk's bills, lines, purchases and holds, all in one transaction, with COPY."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from ingest_server.billing.decide import Decision
from ingest_server.billing.documents import Bill, canonical_text, hash_of

INSERT_RUN = """
    insert into billing_run (period_from, period_to, code_version) values (%(first_on)s, %(last_on)s, %(version)s)
    returning run_id
"""

FINISH_RUN = "update billing_run set finished_at = clock_timestamp() where run_id = %(run)s"

RESERVE_IDS = """
    select nextval(pg_get_serial_sequence('bill', 'bill_id')) from generate_series(1, %(count)s)
"""

# COPY takes the ids we reserved although the column is "generated always": it never draws its own for a given column.
COPY_BILLS = """
    copy bill (bill_id, run_id, metering_point_id, period_from, period_to, energy_wh, subtotal, vat, total,
               inputs, inputs_hash)
    from stdin
"""

COPY_LINES = """
    copy bill_line (bill_id, line, kind, tier, register, energy_wh, price, amount, operands) from stdin
"""

COPY_PURCHASES = """
    copy solar_purchase (bill_id, regime, energy_wh, price, amount, carried_in_wh, carried_out_wh, operands) from stdin
"""

COPY_HOLDS = "copy bill_hold (run_id, metering_point_id, reason, detail) from stdin"


def write_chunk(connection: Connection[Any], run_id: int, decision: Decision) -> None:
    """Write what was decided about one chunk: all of it or, if anything fails, nothing.

    Raises
    ------
    psycopg.errors.UniqueViolation
        If somebody else billed one of the points for the same days since the snapshot was taken.
    """
    bills = decision.new
    with connection.transaction(), connection.cursor() as cursor:
        ids = [row[0] for row in cursor.execute(RESERVE_IDS, {"count": len(bills)})] if bills else []
        purchases = [*zip(ids, bills, strict=True), *decision.completed]
        holds = [*decision.holds, *decision.purchase_holds]
        for statement, rows in (
            (COPY_BILLS, _bill_rows(run_id, ids, bills)),
            (COPY_LINES, _line_rows(ids, bills)),
            (COPY_PURCHASES, _purchase_rows(purchases)),
            (COPY_HOLDS, ((run_id, hold.metering_point_id, hold.reason, hold.detail) for hold in holds)),
        ):
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)


def _bill_rows(run_id: int, ids: Sequence[int], bills: Sequence[Bill]) -> Iterator[tuple[Any, ...]]:
    for bill_id, bill in zip(ids, bills, strict=True):
        inputs = bill.inputs_text
        yield (
            *(bill_id, run_id, bill.metering_point_id, bill.first_on, bill.last_on),
            *(bill.energy_wh, bill.subtotal, bill.vat, bill.total, inputs, hash_of(inputs)),
        )


def _line_rows(ids: Sequence[int], bills: Sequence[Bill]) -> Iterator[tuple[Any, ...]]:
    for bill_id, bill in zip(ids, bills, strict=True):
        for number, line in enumerate(bill.lines, 1):
            yield (
                *(bill_id, number, line.kind, line.tier, line.register, line.energy_wh, line.price, line.amount),
                canonical_text(line.operands),
            )


def _purchase_rows(bills: Sequence[tuple[int, Bill]]) -> Iterator[tuple[Any, ...]]:
    for bill_id, bill in bills:
        if bill.purchase is not None:
            bought = bill.purchase
            yield (
                *(bill_id, bought.regime, bought.energy_wh, bought.price, bought.amount),
                *(bought.carried_in_wh, bought.carried_out_wh, canonical_text(bought.operands)),
            )
