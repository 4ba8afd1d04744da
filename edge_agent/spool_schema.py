"""The spool's tables, and how those of older versions become these.

A batch's key is its generation's number in this file, shifted, plus its sequence: so keys ascend in the order in which
batches were taken, also over generations, and one number names any batch. Columns that change have one size in all
their states, so that SQLite writes them in place and a batch is never copied.
"""

import sqlite3
from typing import Any
from zlib import crc32

from edge_agent import spool_seals
from edge_agent.spool_seals import LIFE_SHIFT, WAITING, Life

VERSION = VERSION_NOTED = 5  # the first version that seals how far it has come and what was receipted
VERSION_SEALED = 4  # the first version whose file says what its tables are
VERSION_CHECKED = 3  # the first version whose file says it twice
TABLES = {
    "meta": "create table meta (key text primary key, value) without rowid",
    "life": """
        create table life (
            life integer primary key, generation text not null unique, last_sequence integer not null,
            last_event integer not null, kept_from integer not null, seal integer not null
        )""",
    "batch": """
        create table batch (
            key integer primary key, crc integer not null, billing integer not null, readings integer not null,
            from_ms integer not null, to_ms integer not null, settled_ms integer not null, payload blob not null
        )""",
    "event": """
        create table event (
            key integer primary key, crc integer not null, settled_ms integer not null, payload blob not null
        )""",
    # A range of batches that were given up. ``told`` is 1 when the server has receipted that.
    "lost": """
        create table lost (
            first integer primary key, last integer not null, reason text not null, readings integer not null,
            from_ms integer not null, to_ms integer not null, told integer not null default 0
        )""",
    "loss_total": """
        create table loss_total (reason text primary key, batches integer not null, readings integer not null)
        without rowid""",
    "day": "create table day (day integer primary key, readings integer not null, digest text not null)",
    "slot": """
        create table slot (meter text, series text, slot_ms integer not null, primary key (meter, series)) without rowid
    """,
    "hole": """
        create table hole (meter text, from_ms integer, to_ms integer not null, primary key (meter, from_ms))
        without rowid""",
    # What each meter's counters said last, :mod:`edge_agent.accepted`. Version 4 had it sometimes.
    "register": """
        create table register (meter text primary key, crc integer not null, payload blob not null) without rowid""",
    "log_read": """
        create table log_read (meter text, log text, up_to_ms integer not null, primary key (meter, log))
        without rowid""",
}
INDEXES = (
    "create index batch_waiting on batch (key) where settled_ms < 0",
    "create index batch_lesser on batch (key) where settled_ms < 0 and billing = 0",
    "create index batch_settled on batch (settled_ms) where settled_ms >= 0",
    "create index event_waiting on event (key) where settled_ms < 0",
)
SEAL_SETTLED = (
    "update batch set settled_ms = seal_settled(key, settled_ms) where settled_ms >= 0",
    "update event set settled_ms = seal_settled(key, settled_ms) where settled_ms >= 0",
)

# As octets, for what was altered may be no text any more.
SELECT_SCHEMA = """
    select cast(type as blob), cast(name as blob), cast(tbl_name as blob), cast(sql as blob)
    from sqlite_schema order by type, name
"""


def create(db: sqlite3.Connection, gateway: str, generation: str) -> None:
    """Make the tables in the open transaction, for ``gateway``, with a first generation."""
    for statement in (*TABLES.values(), *INDEXES):
        db.execute(statement)
    meta = [("gateway", gateway), ("taken", 0), ("sent_up_to", 1 << LIFE_SHIFT)]
    db.executemany("insert into meta values (?, ?)", meta)
    spool_seals.put(db, Life(1, generation))
    _seal(db, gateway)


def _seal(db: sqlite3.Connection, gateway: str) -> None:
    """Note what tells a file that is damaged from one that is another gateway's or a newer version's.

    The tables and indexes too: an altered name or condition in them would be found out too late.
    """
    seal = [("gateway_crc", crc32(gateway.encode())), ("version", VERSION), ("schema_crc", _schema_crc(db))]
    db.executemany("insert or replace into meta values (?, ?)", seal)
    db.execute(f"pragma user_version = {VERSION}")


def _schema_crc(db: sqlite3.Connection) -> int:
    return crc32(repr(db.execute(SELECT_SCHEMA).fetchall()).encode())


def is_whole(db: sqlite3.Connection, version: int) -> bool:
    """Return whether gateway, tables and ``version``, as the file's head has it, are those that were written."""
    meta = dict(db.execute("select key, value from meta").fetchall())
    if "version" not in meta:
        return version < VERSION_CHECKED
    gateway = meta.get("gateway")
    if not isinstance(gateway, str):
        return False
    known = {"version": version, "gateway_crc": crc32(gateway.encode())}
    if version >= VERSION_SEALED:
        known["schema_crc"] = _schema_crc(db)
    return all(meta.get(key) == value for key, value in known.items())


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring the tables of ``version`` up to date in the open transaction; nothing that waits is lost."""
    meta = dict(db.execute("select key, value from meta").fetchall())
    if version < VERSION_CHECKED:
        _rebuild(db, version, meta)
    elif version < VERSION_NOTED:
        _add_seals(db)
    last = spool_seals.load(db)[-1]  # nobody has noted what was sent
    db.execute(
        "insert or replace into meta values ('sent_up_to', ?)", ((last.life << LIFE_SHIFT) + last.last_sequence,)
    )
    _seal(db, meta["gateway"])


def _add_seals(db: sqlite3.Connection) -> None:
    """Give versions 3 and 4 what they had not: seals, and from which number on batches are kept."""
    lives = [
        Life(*row) for row in db.execute("select life, generation, last_sequence, last_event from life").fetchall()
    ]
    db.execute("drop table life")
    db.execute(TABLES["life"])
    for each in lives:
        spool_seals.put(db, each)
    for statement in SEAL_SETTLED:
        db.execute(statement)
    spool_seals.note_kept(db)
    if db.execute("select 1 from sqlite_schema where name = 'register'").fetchone() is None:
        db.execute(TABLES["register"])


def _rebuild(db: sqlite3.Connection, version: int, meta: dict[str, Any]) -> None:
    """Make the tables that versions 1 and 2 had not, or had otherwise."""
    db.execute("alter table batch rename to old_batch")
    kept = ["day", "slot", "hole"]
    if version == 2:
        db.execute("alter table event rename to old_event")
        kept.append("log_read")
    for name in TABLES.keys() - {"meta", *kept}:
        db.execute(TABLES[name])
    spool_seals.put(db, Life(1, meta["generation"], meta["last_sequence"], meta.get("last_event", 0)))
    db.execute("delete from meta where key in ('generation', 'last_sequence', 'last_event')")
    db.create_function("crc32", 1, crc32, deterministic=True)
    base = 1 << LIFE_SHIFT
    # Not decoded: how many readings are in them is not known, and that they are billing ones keeps them longest.
    db.execute(
        "insert into batch select ? + sequence, crc32(payload), 1, 0, 0, 0, ?, payload from old_batch", (base, WAITING)
    )
    db.execute("drop table old_batch")
    if version == 2:
        db.execute("insert into event select ? + sequence, crc32(payload), ?, payload from old_event", (base, WAITING))
        db.execute("drop table old_event")
    for statement in INDEXES:
        db.execute(statement)
    spool_seals.note_kept(db)
