"""What must be in the columns of the spool's small tables: a value of another kind was altered by the disk.

Looked at when the spool is opened, before anything uses it, and when a damaged one is rescued.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

from edge_agent.spool_seals import GENERATION, LIFE_SHIFT, SEQUENCE_MASK
from protocols.telemetry.loss import Reason

DAYS_MAX = 100_000  # since 1970
META: Mapping[str, type] = {
    "gateway": str,
    "taken": int,
    "damaged": int,
    "days_from": int,
    "place": str,
    "sent_up_to": int,
}


class Table(NamedTuple):
    """How a small table is read, written into another file, and which types its columns have."""

    select: str
    insert: str
    types: tuple[type, ...]


TABLES: Mapping[str, Table] = {
    "day": Table("select * from day", "insert or ignore into day values (?, ?, ?)", (int, int, str)),
    "slot": Table("select * from slot", "insert or ignore into slot values (?, ?, ?)", (str, str, int)),
    "hole": Table("select * from hole", "insert or ignore into hole values (?, ?, ?)", (str, int, int)),
    "log_read": Table("select * from log_read", "insert or ignore into log_read values (?, ?, ?)", (str, str, int)),
    "register": Table("select * from register", "insert or ignore into register values (?, ?, ?)", (str, int, bytes)),
    "lost": Table(
        "select * from lost",
        "insert or ignore into lost values (?, ?, ?, ?, ?, ?, ?)",
        (int, int, str, int, int, int, int),
    ),
    "loss_total": Table(
        "select * from loss_total", "insert or ignore into loss_total values (?, ?, ?)", (str, int, int)
    ),
}


def is_sound(name: str, row: tuple[Any, ...]) -> bool:
    """Return whether ``row`` may be one of the table ``name``: types, digests, reasons, ranges."""
    if tuple(map(type, row)) != TABLES[name].types:
        return False
    if name == "day":
        return GENERATION.fullmatch(row[2]) is not None and abs(row[0]) < DAYS_MAX and row[1] >= 0
    if name == "lost":
        in_order = row[0] <= row[1] and row[0] >> LIFE_SHIFT == row[1] >> LIFE_SHIFT and row[1] & SEQUENCE_MASK > 0
        return in_order and _is_reason(row[2])
    if name == "register":
        return crc32(row[2]) == int(row[1])
    return name != "loss_total" or _is_reason(row[0])


def _is_reason(text: str) -> bool:
    return text in {reason.value for reason in Reason}


def check(db: sqlite3.Connection) -> None:
    """Raise :class:`sqlite3.DatabaseError` if a small table holds what was never written.

    A register that was altered is left out when it is used, as a batch is: it is no more than a value to compare with.
    """
    meta = dict(db.execute("select key, value from meta").fetchall())
    kept = {key: value for key, value in meta.items() if key in META}
    if "taken" not in kept or any(type(value) is not META[key] for key, value in kept.items()):
        raise sqlite3.DatabaseError("a value in the table meta was altered")
    for name, table in TABLES.items():
        if name != "register" and not all(is_sound(name, row) for row in db.execute(table.select)):
            raise sqlite3.DatabaseError(f"a row of the table {name} was altered")
