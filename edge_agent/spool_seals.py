"""What in the spool has a seal beside its batches, which have a checksum: how far each generation has come, and whether
a batch is receipted. A bit that flips in the one would give a number twice, in the other lose a batch in silence.

How far a generation has come stands twice, in the table ``life`` and in ``meta``, on pages of their own, each with a
checksum. The time of a receipt has its own in its last 16 bits: it is as exact as 65 s, and is needed to the day.
"""

import re
import sqlite3
from typing import Any, NamedTuple
from zlib import crc32

GENERATION = re.compile("[0-9a-f]{16}")
LIFE_SHIFT = 40  # 10¹² batches of a generation
SEQUENCE_MASK = (1 << LIFE_SHIFT) - 1
WAITING = -(1 << 40)  # in place of the time of the receipt; as long as one, see :mod:`edge_agent.spool_schema`
SEAL_BITS = 16
SEAL_MASK = (1 << SEAL_BITS) - 1
COPY = "life/"  # and the generation's number: the key of its second note in ``meta``
PUT = """
    insert into life values (?, ?, ?, ?, ?, ?) on conflict (life) do update set last_sequence = excluded.last_sequence,
    last_event = excluded.last_event, kept_from = excluded.kept_from, seal = excluded.seal
"""
PUT_COPY = "insert into meta values (?, ?) on conflict (key) do update set value = excluded.value"
SELECT = "select life, generation, last_sequence, last_event, kept_from, seal from life"
SELECT_COPIES = "select key, value from meta where key like 'life/%'"
FIRST_KEPT = """
    select min(first) from (
        select min(key) as first from batch where key between ?1 and ?2
        union all select min(first) from lost where told = 0 and first between ?1 and ?2
    )
"""


class Life(NamedTuple):
    """A generation: its number in the file, its name, the last numbers that it gave to a batch and to a message of
    events. Batches below ``kept_from`` were receipted and forgotten, or given up and told; 0 where nobody knows.
    """

    life: int
    generation: str
    last_sequence: int = 0
    last_event: int = 0
    kept_from: int = 1

    @property
    def seal(self) -> int:
        """The checksum of the rest."""
        return crc32(" ".join(map(str, self)).encode())


def sound(row: tuple[Any, ...]) -> Life | None:
    """Return the generation that ``row`` is the sealed note of, none if it was altered or is something else."""
    match row:
        case (int(life), str(generation), int(last), int(last_event), int(kept_from), int(seal)):
            found = Life(life, generation, last, last_event, kept_from)
            return found if found.seal == seal and GENERATION.fullmatch(generation) else None
    return None


def parse_copy(key: object, value: object) -> Life | None:
    """Return the generation that a row of ``meta`` is the second note of, none if it was altered."""
    if not isinstance(key, str) or not isinstance(value, str):
        return None
    try:
        name, *numbers = value.split(" ")
        return sound((int(key.removeprefix(COPY)), name, *map(int, numbers)))
    except ValueError:
        return None


def put(db: sqlite3.Connection, life: Life) -> None:
    """Write how far a generation has come, in both places."""
    db.execute(PUT, (*life, life.seal))
    db.execute(PUT_COPY, (f"{COPY}{life.life}", " ".join(map(str, (*life[1:], life.seal)))))


def remove(db: sqlite3.Connection, life: int) -> None:
    """Remove a generation from both places."""
    db.execute("delete from life where life = ?", (life,))
    db.execute("delete from meta where key = ?", (f"{COPY}{life}",))


def load(db: sqlite3.Connection) -> list[Life]:
    """Return the generations in order; raise :class:`sqlite3.DatabaseError` if a note or its copy was altered."""
    found = [sound(row) for row in db.execute(f"{SELECT} order by life").fetchall()]
    copies = {parse_copy(*row) for row in db.execute(SELECT_COPIES).fetchall()}
    lives = [each for each in found if each is not None]
    if not lives or len(lives) != len(found) or set(lives) != copies:
        raise sqlite3.DatabaseError("how far a generation has come was altered")
    return lives


def of(db: sqlite3.Connection, life: int) -> Life:
    """Return the generation of that number."""
    found = sound(db.execute(f"{SELECT} where life = ?", (life,)).fetchone())
    if found is None:
        raise sqlite3.DatabaseError("how far a generation has come was altered")
    return found


def note_kept(db: sqlite3.Connection) -> None:
    """Note of each generation from which number on its batches are kept, after some were forgotten."""
    for each in load(db):
        base = each.life << LIFE_SHIFT
        (first,) = db.execute(FIRST_KEPT, (base, base + SEQUENCE_MASK)).fetchone()
        kept_from = each.last_sequence + 1 if first is None else first & SEQUENCE_MASK
        if kept_from != each.kept_from:
            put(db, each._replace(kept_from=kept_from))


def seal_settled(key: int, at_ms: int) -> int:
    """Return the time of the receipt of the batch ``key`` as it is written."""
    units = at_ms >> SEAL_BITS
    return units << SEAL_BITS | crc32(b"%d %d" % (key, units)) & SEAL_MASK


def is_settled(key: int, settled_ms: object) -> bool:
    """Return whether that is the time of a receipt as it was written, and not a bit that flipped."""
    return isinstance(settled_ms, int) and settled_ms >= 0 and seal_settled(key, settled_ms) == settled_ms
