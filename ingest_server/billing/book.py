"""The ledger in the database: entries are put in as blocks, each sealed on the one before; nothing is changed after.

What an entry is and how blocks are sealed is in :mod:`billing_core.ledger`. A block is put in at the end of a
transaction: from reading the last digest to the commit nobody else may add one, so the lock is short.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.ledger import ACCOUNTS, GENESIS, Entries, seal
from ingest_server.database.binary_rows import Field, encode_rows, fetch_columns
from ingest_server.database.copy import HEADER, TRAILER

LOCK_CLASS = 0x6C656467  # "ledg": the first key of the advisory lock on the end of the chain

RESERVE_BLOCK = "select nextval('ledger_block_id')"
LOCK_CHAIN = "select pg_advisory_xact_lock(%(class)s, 0)"
SELECT_LAST = "select position, digest from ledger_block order by position desc limit 1"
INSERT_BLOCK = """
    insert into ledger_block (position, block_id, entries, run_id, actor, digest)
    values (%(position)s, %(block)s, %(entries)s, %(run)s, %(actor)s, %(digest)s)
"""
COPY_ENTRIES = """
    copy ledger_entry (block_id, place, posting, bill_id, receivable, energy, tax, solar_purchase, adjustment, rounding)
    from stdin (format binary)
"""
SELECT_BLOCKS = "select block_id, digest from ledger_block order by position"
SELECT_ENTRIES = """
    select posting, bill_id, receivable, energy, tax, solar_purchase, adjustment, rounding
    from ledger_entry where block_id = %(block)s order by place
"""
SELECT_SUMS = """
    select coalesce(sum(receivable), 0)::text, coalesce(sum(energy), 0)::text, coalesce(sum(tax), 0)::text,
           coalesce(sum(solar_purchase), 0)::text, coalesce(sum(adjustment), 0)::text, coalesce(sum(rounding), 0)::text
    from ledger_entry
"""

_ACCOUNT_FIELDS = {account.value: Field("i8") for account in ACCOUNTS}
_ENTRY_FIELDS = {"block": Field("i8"), "place": Field("i4"), "posting": Field("i2"), "bill": Field("i8")}


def post(connection: Connection[Any], made: Entries, *, actor: str, run_id: int | None = None) -> None:
    """Put entries in as a block; the caller's transaction ends soon after, for until then nobody else can."""
    if not len(made):
        return
    row = connection.execute(RESERVE_BLOCK).fetchone()
    assert row is not None, "nextval gives a row"
    block = row[0]
    columns: dict[str, NDArray[Any]] = {
        "block": np.full(len(made), block, dtype=np.int64),
        "place": np.arange(len(made), dtype=np.int64),
        "posting": made.posting,
        "bill": made.document,
        **{account.value: made.amount[:, account.code] for account in ACCOUNTS},
    }
    with connection.cursor().copy(COPY_ENTRIES) as copy:
        copy.write(HEADER + encode_rows({**_ENTRY_FIELDS, **_ACCOUNT_FIELDS}, columns) + TRAILER)
    connection.execute(LOCK_CHAIN, {"class": LOCK_CLASS})
    last = connection.execute(SELECT_LAST).fetchone()
    position, before = (0, GENESIS) if last is None else last
    parameters = {"position": position + 1, "block": block, "entries": len(made), "run": run_id, "actor": actor}
    connection.execute(INSERT_BLOCK, parameters | {"digest": seal(before, made)})


def entries_of_bills(connection: Connection[Any], query: str, parameters: dict[str, Any]) -> Entries:
    """Return the entries that ``query`` selects, which gives their posting, bill and accounts in order."""
    layout = {"posting": Field("i2"), "bill": Field("i8"), **_ACCOUNT_FIELDS}
    found = fetch_columns(connection, query, parameters, layout)
    return Entries(
        posting=found["posting"].astype(np.int8),
        document=found["bill"],
        amount=np.stack([found[account.value] for account in ACCOUNTS], axis=1),
    )


def blocks(connection: Connection[Any]) -> Iterator[tuple[Entries, bytes]]:
    """Yield all blocks in order of the chain, for :func:`billing_core.ledger.first_broken`."""
    for block, digest in connection.execute(SELECT_BLOCKS).fetchall():
        yield entries_of_bills(connection, SELECT_ENTRIES, {"block": block}), digest


def sums(connection: Connection[Any]) -> dict[str, int]:
    """Return what stands on each account in all; exact however much it is. [đ]"""
    row = connection.execute(SELECT_SUMS).fetchone()
    assert row is not None, "a sum without groups gives a row"
    return {account.value: int(text) for account, text in zip(ACCOUNTS, row, strict=True)}
