"""The spool: what has been read and not yet receipted, durable against a power cut; and for some days what was.

SQLite in WAL mode with ``synchronous=FULL``: a commit returns when the log is on the disk. One commit takes a whole
poll cycle: its readings as batches ready to be sent, the count and digest of everything taken on each UTC day, each
meter's last slot, and the holes that its load profile may fill. So these can't disagree, whenever the power fails. A
commit costs one sync; the log is written back when it has grown, between cycles (:meth:`Spool.write_back`).

Batches are numbered without gaps within a *generation*, 16 hexadecimal digits that are drawn when a spool begins, when
it was damaged, or when it finds itself copied. A file may hold batches of several; only a receipt of a batch's own
generation settles it. Billing registers and instantaneous values go into batches of their own, so that the latter can
be given up alone (:mod:`edge_agent.giving_up`) when the file has grown to ``octets_max``. Each batch has a checksum:
what the disk gives back is sent only if it is what the disk was given.

Settling needs no sync of its own: if it is lost, the batch is sent once more and receipted once more.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from edge_agent import giving_up, outbox, spool_notes, spool_seals, spool_sound
from edge_agent.batching import Row, encode_cycle
from edge_agent.cycle import Cycle, Hole
from edge_agent.failures import DiskFailedError, SpoolFullError
from edge_agent.giving_up import Healing
from edge_agent.spool_access import SpoolAccess
from edge_agent.spool_file import (
    CHECK_OCTETS_MAX,
    PAGE_OCTETS,
    connect_file,
    draw_generation,
    is_of_unknown_format,
    place_of,
    was_begun,
)
from edge_agent.spool_notes import DayTaken
from edge_agent.spool_schema import VERSION, create, is_whole, upgrade
from edge_agent.spool_seals import LIFE_SHIFT, SEQUENCE_MASK, WAITING, Life
from protocols.errors import UnavailableError, UsageError
from protocols.telemetry.loss import Loss, Reason
from protocols.telemetry.sequences import Ranges

WRITE_BACK_OCTETS = 4 << 20  # SQLite's own default, 1,000 pages
FREE_OCTETS_WANTED = 16 * PAGE_OCTETS  # beyond what a batch needs: tables and indexes grow by whole pages
INSERT_BATCH = "insert into batch values (?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_WAITING = """
    select key, crc, cast(payload as blob), readings, from_ms, to_ms from batch
    where settled_ms < 0 and key > ? and key <= ? order by key limit ?
"""
# Not receipted before it was taken: what is receipted while the clock says 1970 would be forgotten once it is set.
SETTLE = """
    update batch set settled_ms = seal_settled(key, max(?, to_ms)) where key between ? and ? and settled_ms < 0
"""
SET_META = "insert into meta values (?, ?) on conflict (key) do update set value = excluded.value"


class Spool(SpoolAccess):
    """An open spool. Its methods may be called from any thread, one at a time runs."""

    def __init__(
        self,
        path: Path | None,
        gateway: str,
        octets_max: int,
        *,
        connect: Callable[[Path | None], sqlite3.Connection] = connect_file,
        draw_generation: Callable[[], str] = draw_generation,
    ) -> None:
        """Open or begin the spool at ``path``, in memory if there is none, through ``connect``.

        ``draw_generation`` names a new generation.

        Raises
        ------
        sqlite3.DatabaseError
            If the file is damaged; see :func:`edge_agent.rescue.open_spool`.
        UsageError
            If it was written by a newer version, or belongs to another gateway.
        """
        # Before SQLite has it open: whoever closes a file of his own takes SQLite's locks on it away with his.
        self._is_of_unknown_format = path is not None and is_of_unknown_format(path)
        super().__init__(path, connect(path))
        self.gateway = gateway
        self.octets_max = octets_max
        self.taken = self.batches = self.damaged = 0  # readings ever, batches that wait, files set aside before this
        self.heals: Mapping[str, int] = {}  # how often meters are read whose load profile fills holes later [ms]
        self.holes_noted = 0  # how often there were new ones that a bus does not know of
        self.sending = False  # batches are sent as they are taken
        self.given_up = 0  # batches in the last commit, for want of room
        self.damaged_batches = 0  # found since this was opened
        self.gone = False  # whether there was a spool before, whose file was gone or empty when this was opened
        self.renewed: str | None = None  # why a new generation began, if one did since this was opened
        self._draw_generation = draw_generation
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.execute("pragma wal_autocheckpoint=0")
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            self.gone = self.path is not None and was_begun(self.path)
            with self._transaction():  # with the count: a spool that is begun without it would pass for the first one
                create(self._db, self.gateway, self._draw_generation())
                if self.gone:
                    self._db.execute(SET_META, ("damaged", 1))
        elif not is_whole(self._db, version):
            raise sqlite3.DatabaseError("the name of its gateway, its version or its tables were altered")
        elif version > VERSION:
            raise UsageError(
                f"{self.path}: written by a newer congto (version {version}); install that, or move it away"
            )
        else:
            self._check()
        if 0 < version < VERSION:
            with self._transaction():
                upgrade(self._db, version)
        spool_sound.check(self._db)
        self.reload()
        self._heed_place()

    def _check(self) -> None:
        (gateway,) = self._db.execute("select value from meta where key = 'gateway'").fetchone()
        if gateway != self.gateway:
            raise UsageError(
                f"{self.path}: belongs to gateway {gateway!r}, not {self.gateway!r}; "
                "give each gateway a spool of its own (gateway.spool)"
            )
        if self._is_of_unknown_format:  # else it is found out by the first commit
            raise sqlite3.DatabaseError("its head names a format that there is not")
        if self.path is not None and self.path.stat().st_size <= CHECK_OCTETS_MAX:
            (found,) = self._db.execute("pragma integrity_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))

    def _load_lives(self) -> None:
        lives = spool_seals.load(self._db)
        self.generations: dict[int, str] = {each.life: each.generation for each in lives}
        self.life: int = lives[-1].life
        self.generation: str = lives[-1].generation
        self.last_sequence: int = lives[-1].last_sequence

    def _heed_place(self) -> None:
        """Begin a new generation if the file is not where it was written: two would give one number to two batches."""
        place = None if self.path is None else place_of(self.path)
        row = self._db.execute("select value from meta where key = 'place'").fetchone()
        if row is not None and place is not None and row[0] != place:
            self.renew("the spool was copied or restored from a backup")
        if place is not None and (row is None or row[0] != place):
            with self._transaction():
                self._db.execute(SET_META, ("place", place))

    def renew(self, reason: str) -> None:
        """Begin a new generation; what waits under the old ones is sent under them."""
        with self._lock, self._writing():
            spool_seals.put(self._db, Life(self.life + 1, self._draw_generation()))
        self._load_lives()
        self.renewed = reason

    def commit(self, cycle: Cycle) -> int:
        """Take ``cycle`` durably; return the last batch's sequence.

        Raises
        ------
        SpoolFullError
            If nothing may be given up for the cycle: nothing of it is kept.
        DiskFailedError
            If the disk reports an error: what was taken before stays where it is, and this spool takes no more.
        UnavailableError
            If the disk refuses, as when it is full.
        """
        with self._lock:
            batches = encode_cycle(self.gateway, self.generation, self.last_key() + 1, cycle)
            with self._writing():
                meters = {reading.meter for reading in cycle.readings}
                given = self._keep(batches, can_wait=meters <= self.heals.keys())
                if batches:
                    self._db.execute(SET_META, ("taken", self.taken + len(cycle.readings)))
                    spool_notes.count(self._db, cycle.readings)
                spool_notes.count_days(self._db, cycle.counted)
                spool_notes.note(self._db, cycle)
                before = spool_seals.of(self._db, self.life)
                come = before._replace(last_sequence=self.last_sequence + len(batches))
                come = outbox.put(self._db, self.gateway, come, cycle.events, cycle.logs)
                if come != before:
                    spool_seals.put(self._db, come)
                if self.sending:
                    self._db.execute(SET_META, ("sent_up_to", self.last_key() + len(batches)))
            self.last_sequence += len(batches)
            self.taken += len(cycle.readings)
            self.batches += len(batches) - given
            self.given_up = given
            if self.sending:
                self.sent_up_to = self.last_key()
            return self.last_sequence

    def _keep(self, batches: Sequence[Row], *, can_wait: bool) -> int:
        """Insert ``batches``, making room for them; return how many that waited, or of these, were given up instead.

        ``can_wait`` says that their meters have load profiles: then no billing register is given up for them, for their
        hole is filled when there is room.
        """
        given = 0
        for batch in batches:
            wanted = self.octets + len(batch[7]) + giving_up.ROW_OCTETS + FREE_OCTETS_WANTED - self.octets_max
            if wanted > 0:
                healing = Healing(self.heals, self.sent_up_to)
                room = giving_up.make_room(self._db, wanted, spare_billing=can_wait or not batch[2], healing=healing)
                given += room.batches
                self.holes_noted += room.holes > 0
                if room.settled:
                    spool_seals.note_kept(self._db)
                if room.octets < wanted and batch[2]:
                    raise SpoolFullError(
                        f"{self.path}: {self.octets_max} octets are reached, and nothing may be given up for this"
                    )
                if room.octets < wanted:
                    giving_up.note(self._db, giving_up.Lost(batch[0], batch[0], *batch[3:6]), Reason.SPACE)
                    given += 1
                    continue
            self._db.execute(INSERT_BATCH, batch)
            self._log_octets += len(batch[7])
        return given

    def take_over(self, write: Callable[[sqlite3.Connection], object]) -> None:
        """Let ``write`` write in a transaction; :meth:`reload` then says what the file has become."""
        with self._lock, self._writing():
            write(self._db)

    def reload(self) -> None:
        """Look again what the file holds."""
        with self._reading():
            (self.taken,) = self._db.execute("select value from meta where key = 'taken'").fetchone()
            (self.batches,) = self._db.execute("select count(*) from batch where settled_ms < 0").fetchone()
            row = self._db.execute("select value from meta where key = 'damaged'").fetchone()
            self.damaged = row[0] if row else 0
            self._load_lives()
            row = self._db.execute("select value from meta where key = 'sent_up_to'").fetchone()
            self.sent_up_to = row[0] if row else self.last_key()

    def note_sent(self) -> None:
        """Note durably, before any is sent, that what was taken may have been sent; what is taken from now on, too.

        Until the connection is lost (:attr:`sending`) the cycles' own transactions say so.
        """
        self.sending, self.sent_up_to = True, self.last_key()
        with self._lock, self._writing():
            self._db.execute(SET_META, ("sent_up_to", self.sent_up_to))

    def last_key(self) -> int:
        """Return the key of the batch that was taken last."""
        return (self.life << LIFE_SHIFT) + self.last_sequence

    def waiting(self, after: int, up_to: int, count: int) -> list[tuple[int, bytes]]:
        """Return up to ``count`` batches that wait for a receipt, by key, from beyond ``after`` up to ``up_to``.

        One that the disk has altered is given up, and declared as lost.
        """
        with self._reading():
            rows = self._db.execute(SELECT_WAITING, (after, up_to, count)).fetchall()
            damaged = [row for row in rows if row[2] is None or crc32(row[2]) != row[1]]
            if damaged:
                with self._writing():
                    for key, _, _, *counts in damaged:
                        self._db.execute("delete from batch where key = ?", (key,))
                        giving_up.note(self._db, giving_up.Lost(key, key, *_known(counts)), Reason.DAMAGE)
                self.batches -= len(damaged)
                self.damaged_batches += len(damaged)
            return [(row[0], row[2]) for row in rows if row not in damaged]

    def losses(self) -> list[Loss]:
        """Return what was given up and not yet told."""
        with self._reading():
            return giving_up.untold(self._db, self.gateway, self.generations)

    def loss_totals(self) -> dict[Reason, tuple[int, int]]:
        """Return how many batches and readings were ever given up, by reason."""
        with self._reading():
            return giving_up.totals(self._db)

    def settle(self, generation: str, sequences: Ranges, events: Ranges, now_ms: int) -> int:
        """Note that the server has receipted these; return how many batches waited for it.

        A receipt for what was never given says that this spool is older than it should be: a new generation begins.
        """
        life = self._life_of(generation)
        if life is None:
            return 0
        base, count = life << LIFE_SHIFT, 0
        with self._lock, self._writing(durable=False):
            for first, last in sequences:
                first_key, last_key = base + first, base + min(last, SEQUENCE_MASK)
                count += self._db.execute(SETTLE, (now_ms, first_key, last_key)).rowcount
                giving_up.note_told(self._db, first_key, last_key)
            for first, last in events:
                outbox.settle(self._db, base + first, base + min(last, SEQUENCE_MASK), now_ms)
        self.batches -= count
        if life == self.life and any(last > self.last_sequence for _, last in sequences):
            self.renew("the server has receipted numbers that were not given yet; is this an older copy of the spool?")
        return count

    def wait_again(self, generation: str, sequences: Ranges, events: Ranges) -> int:
        """Let what the server lacks wait for a receipt again, and declare what is not kept; return how many wait."""
        life = self._life_of(generation)
        if life is None:
            return 0
        base, count = life << LIFE_SHIFT, 0
        with self._lock, self._writing(durable=False):
            (given,) = self._db.execute("select last_sequence from life where life = ?", (life,)).fetchone()
            for first, last in sequences:
                first_key, last_key = base + first, base + min(last, given)
                statement = "update batch set settled_ms = ? where key between ? and ? and settled_ms >= 0"
                count += self._db.execute(statement, (WAITING, first_key, last_key)).rowcount
                giving_up.tell_again(self._db, first_key, last_key)
                for gap_first, gap_last in giving_up.missing(self._db, first_key, last_key):
                    giving_up.note(self._db, giving_up.Lost(gap_first, gap_last, 0, 0, 0), Reason.EXPIRED)
            for first, last in events:
                outbox.wait_again(self._db, base + first, base + min(last, SEQUENCE_MASK))
        self.batches += count
        return count

    def kept(self, first: int, last: int) -> tuple[int, int, int]:
        """Return how many batches of this generation's range are there, the first and the last (0 where none is)."""
        base = self.life << LIFE_SHIFT
        with self._reading():
            count, lowest, highest = self._db.execute(
                "select count(*), coalesce(min(key), 0), coalesce(max(key), 0) from batch where key between ? and ?",
                (base + first, base + min(last, SEQUENCE_MASK)),
            ).fetchone()
        return count, lowest & SEQUENCE_MASK, highest & SEQUENCE_MASK

    def _life_of(self, generation: str) -> int | None:
        return next((life for life, name in self.generations.items() if name == generation), None)

    def forget_settled(self, before_ms: int) -> int:
        """Remove batches that were receipted before ``before_ms``; return how many."""
        with self._lock, self._writing(durable=False):
            statement = "delete from batch where settled_ms >= 0 and settled_ms < ?"
            if count := self._db.execute(statement, (before_ms,)).rowcount:
                spool_seals.note_kept(self._db)
            return count

    def write_back(self, *, octets: int = WRITE_BACK_OCTETS) -> bool:
        """Write the log back into the file if about ``octets`` are in it; say whether. Not while a cycle waits."""
        if self.path is None or self._log_octets < octets:
            return False
        with self._reading():
            self._db.execute("pragma wal_checkpoint(passive)").fetchone()
            self._log_octets = 0
        return True

    def sync_what_shows(self) -> None:
        """Let the log be on the disk before anything of it is sent: a process killed in a commit leaves it unsynced.

        SQLite syncs it before it writes it back. That there is no room to write it back changes nothing.
        """
        try:
            self.write_back(octets=0)
        except DiskFailedError:
            raise
        except UnavailableError:
            return

    def slots(self) -> dict[tuple[str, str], int]:
        """Return the last stored slot by meter and series."""
        with self._reading():
            return spool_notes.slots(self._db)

    def uncount(self, counted: Mapping[int, tuple[int, int]]) -> None:
        """Take readings out of the counts and digests of their days: another spool counts them now."""
        with self._lock, self._writing(durable=False):
            spool_notes.count_days(self._db, counted, sign=-1)

    def registers(self) -> dict[str, bytes]:
        """Return what each meter's counters said last, as :mod:`edge_agent.accepted` writes it."""
        with self._reading():
            return spool_notes.registers(self._db)

    def holes(self) -> list[Hole]:
        """Return the holes that are not filled, the oldest first."""
        with self._reading():
            return spool_notes.holes(self._db)

    def days(self, count: int) -> list[DayTaken]:
        """Return the last ``count`` days of which readings were taken, ascending."""
        with self._reading():
            row = self._db.execute("select value from meta where key = 'days_from'").fetchone()
            return [each for each in spool_notes.days(self._db, count) if row is None or each.day >= row[0]]

    def events(self, after: int, count: int) -> list[tuple[int, bytes]]:
        """Return up to ``count`` messages of events that wait, by key, the oldest first beyond ``after``."""
        with self._reading():
            return outbox.messages(self._db, after, count)

    def logs_read(self) -> dict[tuple[str, str], int]:
        """Return how far each meter's event logs were read."""
        with self._reading():
            return outbox.logs_read(self._db)


def _known(counts: list[Any]) -> tuple[int, int, int]:
    """Return readings and times of a damaged batch, zeros if these are damaged too."""
    readings, from_ms, to_ms = (each if isinstance(each, int) and each >= 0 else 0 for each in counts)
    return (readings, from_ms, to_ms) if readings > 0 and from_ms <= to_ms else (0, 0, 0)
