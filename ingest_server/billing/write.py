"""Do: write a chunk's bills, purchases, holds and what control said, all in one transaction, as columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection

from billing_core.control.thresholds import Signer
from billing_core.ledger import Entries, bill_entries, joined, purchase_entries
from ingest_server.billing.book import post
from ingest_server.billing.columns import NONE, Int64Array
from ingest_server.billing.documents import Hold, Purchase, canonical_text
from ingest_server.billing.pack import Packed
from ingest_server.database.binary_rows import Field, encode_rows
from ingest_server.database.copy import HEADER, TRAILER

POSTGRES_EPOCH_DAY = 10_957  # 2000-01-01, counted from 1970-01-01: where PostgreSQL's binary dates begin
JSONB_VERSION = b"\x01"  # begins a jsonb value in COPY's binary form

# One after another, or two would be given the same; a number drawn for each bill took a quarter of the writing.
LOCK_CLASS = 0x6E756D62  # "numb": the first key of the advisory lock on the numbers of bills
LOCK_IDS = "select pg_advisory_lock(%(class)s, 0)"
RESERVE_IDS = """
    select setval(seq, nextval(seq) + %(count)s - 1) - %(count)s + 1
    from (select pg_get_serial_sequence('bill', 'bill_id')::regclass) as numbers (seq)
"""
UNLOCK_IDS = "select pg_advisory_unlock(%(class)s, 0)"
INSERT_SLOTS = """
    insert into bill_slot (slot) select slot::jsonb from unnest(%(slots)s::text[]) as slot on conflict do nothing
"""
SELECT_SLOTS = """
    select slot_id from unnest(%(slots)s::text[]) with ordinality as wanted (slot, place)
    join bill_slot on bill_slot.slot = wanted.slot::jsonb order by place
"""

# COPY takes the ids we reserved although the column is "generated always": it never draws its own for a given column.
COPY_BILLS = """
    copy bill (bill_id, run_id, metering_point_id, period_from, period_to, version, energy_wh, subtotal, vat, total,
               terms_id, metered, line_slot, line_wh, line_amount, line_extra, before_daily_wh, inputs_hash,
               document_hash)
    from stdin (format binary)
"""
COPY_BILLS_WITH_MORE = COPY_BILLS.replace("document_hash)", "document_hash, more)")
COPY_PURCHASES = """
    copy solar_purchase (bill_id, regime, energy_wh, price, amount, carried_in_wh, carried_out_wh, operands,
                         carried_cd_wh, carried_td_wh) from stdin
"""
COPY_DIFFERENCES = """
    copy bill_difference (bill_id, run_id, energy_wh, subtotal, vat, total, purchased_wh, purchased, carried_out_wh,
                          carried_cd_wh, carried_td_wh, terms_id, metered, line_slot, line_wh, line_amount, line_extra,
                          inputs_hash, document_hash, actor, note)
    from stdin (format binary)
"""
COPY_HOLDS = "copy bill_hold (run_id, metering_point_id, reason, detail, sentences) from stdin"
COPY_CONTROL = "copy bill_control (bill_id, rules, signer, expected_wh, before_wh) from stdin"


AMOUNTS = {"energy_wh": "billed_wh", "subtotal": "subtotal", "vat": "vat", "total": "total"}
"""Amounts by their names in the tables, with those that the engine has for them."""
PURCHASED = ("purchased_wh", "purchased", "carried_out_wh", "carried_cd_wh", "carried_td_wh")
"""What a difference says of the purchase beside a bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What is to be written of a chunk.

    Parameters
    ----------
    terms_ids
        The database's numbers of the run's terms.
    bills, versions
        Which of the packed bills, and as which version. [w]
    purchases
        By place among ``bills``, those made with their bills.
    completed
        By the id of a bill that is there, purchases that had to wait; and whether that bill is in the ledger.
    corrections
        Which of the packed bills are what an issued one should have been.
    purchase_corrections
        What is missing of the purchases beside these: energy, amount, and surplus handed on. [Wh, đ, Wh; … × 3]
    note
        Why these are proposed; empty where none are.
    holds
        Points without a bill, and those whose purchase waits.
    actor
        Who issues what control lets pass; none to issue nothing yet.
    """

    run_id: int
    terms_ids: tuple[int, ...]
    packed: Packed
    bills: Int64Array
    versions: Int64Array
    purchases: dict[int, Purchase]
    completed: list[tuple[int, Purchase, bool]]
    corrections: Int64Array
    purchase_corrections: Int64Array
    note: str
    holds: list[Hold]
    actor: str | None


def write_chunk(connection: Connection[Any], writing: Writing) -> None:
    """Write one chunk: all of it or, if anything fails, nothing.

    Raises
    ------
    psycopg.errors.UniqueViolation
        If somebody else billed one of the points for the same days since the snapshot was taken.
    """
    slot_ids = _slot_ids(connection, writing.packed.slots)  # in a transaction of their own: others may need them too
    ids = _reserved(connection, len(writing.bills))
    with connection.transaction(), connection.cursor() as cursor:
        plain = np.array([not writing.packed.more[bill] for bill in writing.bills.tolist()], dtype=np.bool_)
        for statement, chosen in ((COPY_BILLS, plain), (COPY_BILLS_WITH_MORE, ~plain)):
            if chosen.any():
                with cursor.copy(statement) as copy:
                    copy.write(HEADER)
                    for octets in _bill_rows(writing, slot_ids, ids, np.flatnonzero(chosen)):
                        copy.write(octets)
                    copy.write(TRAILER)
        made = [(int(ids[place]), purchase) for place, purchase in writing.purchases.items()]
        late = [(bill_id, purchase) for bill_id, purchase, _ in writing.completed]
        for statement, rows in (
            (COPY_PURCHASES, _purchase_rows([*made, *late])),
            (
                COPY_HOLDS,
                (
                    (writing.run_id, hold.metering_point_id, hold.reason, hold.detail, canonical_text(hold.sentences))
                    for hold in writing.holds
                ),
            ),
            (COPY_CONTROL, _control_rows(writing, ids)),
        ):
            _copy_rows(cursor, statement, rows)
        if len(writing.corrections):
            with cursor.copy(COPY_DIFFERENCES) as copy:
                copy.write(HEADER)
                for octets in _difference_rows(writing, slot_ids):
                    copy.write(octets)
                copy.write(TRAILER)
        post(connection, _issued(writing, ids), actor=writing.actor or "billing run", run_id=writing.run_id)


def _reserved(connection: Connection[Any], count: int) -> Int64Array:
    """Return numbers for so many bills, which nobody else gets."""
    if not count:
        return np.empty(0, dtype=np.int64)
    connection.execute(LOCK_IDS, {"class": LOCK_CLASS})
    try:
        row = connection.execute(RESERVE_IDS, {"count": count}).fetchone()
    finally:
        connection.execute(UNLOCK_IDS, {"class": LOCK_CLASS})
    assert row is not None, "a function gives a row"
    return np.arange(row[0], row[0] + count, dtype=np.int64)


def _copy_rows(cursor: Any, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _slot_ids(connection: Connection[Any], slots: Sequence[str]) -> Int64Array:
    """Return the database's numbers of slots, which are put in where they are new."""
    with connection.transaction():
        connection.execute(INSERT_SLOTS, {"slots": sorted(slots)})
    rows = connection.execute(SELECT_SLOTS, {"slots": list(slots)}).fetchall()
    return np.array([row[0] for row in rows], dtype=np.int64)


def _bill_rows(writing: Writing, slot_ids: Int64Array, ids: Int64Array, chosen: Int64Array) -> Iterator[bytes]:
    """Yield the rows of ``chosen`` of the bills to be written, those that are laid out alike together."""
    packed, points = writing.packed, writing.packed.computed.points
    place_of = np.full(len(packed), NONE, dtype=np.int64)
    place_of[writing.bills] = np.arange(len(writing.bills))
    charges = packed.computed.charges
    for bills in packed.alike(writing.bills[chosen]):
        rows, places, at = packed.rows[bills], packed.computed.places[bills], place_of[bills]
        content = _content(writing, slot_ids, bills)
        hashes = {name: content.pop(name) for name in ("inputs_hash", "document_hash")}
        columns: dict[str, Any] = {
            "bill_id": ids[at],
            "run_id": np.full(len(bills), writing.run_id),
            "point": packed.ids_alike(bills),
            "period_from": points.first_day[rows] - POSTGRES_EPOCH_DAY,
            "period_to": points.last_day[rows] - POSTGRES_EPOCH_DAY,
            "version": writing.versions[at],
            **{name: getattr(charges, own)[places] for name, own in AMOUNTS.items()},
            **content,
            "before": points.previous.daily_wh[rows],
            **hashes,
        }
        if packed.more[bills[0]]:
            more = [JSONB_VERSION + packed.more[bill].encode() for bill in bills.tolist()]
            columns["more"] = np.array(more, dtype=f"V{len(more[0])}")
        yield encode_rows(_layout(columns), columns)


def _content(writing: Writing, slot_ids: Int64Array, bills: Int64Array) -> dict[str, Any]:
    """Return the columns that say what bills that are laid out alike rest on and consist of."""
    packed = writing.packed
    terms = np.array([*writing.terms_ids, 0], dtype=np.int64)[packed.computed.terms.place]
    lines = {
        name: packed.own(getattr(packed, name), packed.line_first, bills)
        for name in ("line_slot", "line_wh", "line_amount", "line_extra")
    }
    return {
        "terms_id": terms[packed.rows[bills]],
        "metered": packed.own(packed.metered, packed.metered_first, bills).reshape(len(bills), -1),
        **lines,
        "line_slot": slot_ids[lines["line_slot"]],
        "inputs_hash": packed.inputs_hash[bills],
        "document_hash": packed.document_hash[bills],
    }


def _difference_rows(writing: Writing, slot_ids: Int64Array) -> Iterator[bytes]:
    """Yield the rows of what issued bills should have been, with the amounts that are missing or too much."""
    packed, issued = writing.packed, writing.packed.computed.points.issued
    charges = packed.computed.charges
    actor, note = (writing.actor or "").encode(), writing.note.encode()
    place_of = np.full(len(packed), NONE, dtype=np.int64)
    place_of[writing.corrections] = np.arange(len(writing.corrections))
    for bills in packed.alike(writing.corrections):
        rows, places = packed.rows[bills], packed.computed.places[bills]
        columns: dict[str, Any] = {
            "bill_id": issued.bill_id[rows],
            "run_id": np.full(len(bills), writing.run_id),
            **{name: getattr(charges, own)[places] - getattr(issued, name)[rows] for name, own in AMOUNTS.items()},
            **dict(zip(PURCHASED, writing.purchase_corrections[place_of[bills]].T, strict=True)),
            **_content(writing, slot_ids, bills),
            "actor": np.array([actor] * len(bills), dtype=f"V{len(actor)}"),
            "note": np.array([note] * len(bills), dtype=f"V{len(note)}"),
        }
        yield encode_rows(_layout(columns), columns)


def _layout(columns: dict[str, Any]) -> dict[str, Field]:
    """Return how each of the columns lies in a row of the table ``bill``."""
    short = ("period_from", "period_to", "version", "terms_id", "line_slot", "before")
    layout = {}
    for name, column in columns.items():
        if column.dtype.kind == "V":
            layout[name] = Field("S", column.dtype.itemsize)
        else:
            layout[name] = Field("i4" if name in short else "i8", column.shape[1] if column.ndim == 2 else None)
    return layout


def _purchase_rows(purchases: Iterable[tuple[int, Purchase]]) -> Iterator[tuple[Any, ...]]:
    for bill_id, bought in purchases:
        yield (
            *(bill_id, bought.regime, bought.energy_wh, bought.price, bought.amount),
            *(bought.carried_in_wh, bought.carried_out_wh, canonical_text(bought.operands)),
            *(bought.carried_cd_wh, bought.carried_td_wh),
        )


def _control_rows(writing: Writing, ids: Int64Array) -> Iterator[tuple[Any, ...]]:
    """Yield what control said of the bills it said something of."""
    judgement = writing.packed.computed.judgement
    signers = list(Signer)
    for place in np.flatnonzero(judgement.rules[writing.bills]).tolist():
        bill = int(writing.bills[place])
        known = [int(column[bill]) for column in (judgement.expected_wh, judgement.before_wh)]
        yield (
            int(ids[place]),
            [rule.value for rule in judgement.reasons(bill)],
            signers[int(judgement.signer[bill])].value,
            *(None if figure == NONE else figure for figure in known),
        )


def _issued(writing: Writing, ids: Int64Array) -> Entries:
    """Return the ledger's entries of what is issued at once: bills nobody need sign, purchases of issued bills."""
    packed = writing.packed
    late = [(bill_id, purchase.amount) for bill_id, purchase, in_ledger in writing.completed if in_ledger]
    parts = [_purchases(late)]
    if writing.actor is not None:
        passed = packed.computed.judgement.signer[writing.bills] == 0
        places, charges = packed.computed.places[writing.bills[passed]], packed.computed.charges
        own = [(int(ids[place]), purchase.amount) for place, purchase in writing.purchases.items() if passed[place]]
        amounts = (charges.subtotal[places], charges.vat[places], charges.total[places])
        parts += [bill_entries(ids[passed], *amounts), _purchases(own)]
    return joined(parts)


def _purchases(found: Sequence[tuple[int, int]]) -> Entries:
    columns = np.array(found, dtype=np.int64).reshape(-1, 2)
    return purchase_entries(columns[:, 0], columns[:, 1])
