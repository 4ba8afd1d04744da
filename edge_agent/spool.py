"""The spool: what has been read and not yet receipted, durable against a power cut.

SQLite in WAL mode with ``synchronous=FULL``: a commit returns when the log is on the disk. One commit takes a whole
poll cycle: its readings as one batch ready to be sent, the count and digest of everything taken on each UTC day, each
meter's last slot, and the holes that its load profile may fill. So these can't disagree, whenever the power fails.

Batches are numbered without gaps within a *generation*, 16 hexadecimal digits that are drawn when a spool begins. Only
a receipt of this generation removes a batch. A damaged file is set aside, not mended, and a new generation begins.

Removing needs no sync of its own: if a removal is lost, the batch is sent once more and receipted once more.

When the batches exceed ``octets_max``, :meth:`Spool.commit` refuses (:class:`SpoolFullError`) and nothing of the cycle
is kept: batches must not be dropped from the middle, registers are cumulative, and a meter with a load profile is
healed later, because its last slot does not move.
"""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from edge_agent import outbox
from edge_agent.failures import SpoolFullError
from edge_agent.outbox import LogRead
from protocols.errors import UnavailableError, UsageError
from protocols.telemetry.batch import ROWS_MAX, encode_batch
from protocols.telemetry.event import MeterEvent
from protocols.telemetry.reading import DIGEST_MODULUS, Reading, reading_digest

VERSION = 2
DAY_MS = 86_400_000
BUSY_TIMEOUT_S = 10.0
CHECK_OCTETS_MAX = 64 << 20  # a whole check of this takes about a second; a larger file is checked as it is read
SEND_OCTETS_MAX = 2 << 20

SCHEMA = f"""
    create table meta (key text primary key, value) without rowid;
    create table batch (sequence integer primary key, payload blob not null);
    create table day (day integer primary key, readings integer not null, digest text not null);
    create table slot (meter text, series text, slot_ms integer not null, primary key (meter, series)) without rowid;
    create table hole (meter text, from_ms integer, to_ms integer not null, primary key (meter, from_ms)) without rowid;
    {outbox.SCHEMA}
    pragma user_version = {VERSION};
"""
UPGRADE = {1: f"begin immediate; {outbox.SCHEMA} pragma user_version = 2; commit;"}
INSERT_BATCH = "insert into batch (sequence, payload) values (?, ?)"
SET_META = "insert into meta values (?, ?) on conflict (key) do update set value = excluded.value"
SET_DAY = """
    insert into day values (?, ?, ?)
    on conflict (day) do update set readings = excluded.readings, digest = excluded.digest
"""
SET_SLOT = "insert into slot values (?, ?, ?) on conflict (meter, series) do update set slot_ms = excluded.slot_ms"
SET_HOLE = """
    insert into hole values (?, ?, ?) on conflict (meter, from_ms) do update set to_ms = max(to_ms, excluded.to_ms)
"""


@dataclass(frozen=True, slots=True)
class SlotDone:
    """A meter's series (billing or instantaneous) was read in the slot that begins at ``slot_ms``."""

    meter: str
    series: str
    slot_ms: int


@dataclass(frozen=True, slots=True)
class Hole:
    """The slots from ``from_ms`` to ``to_ms``, both included, were missed and may be in the meter's load profile."""

    meter: str
    from_ms: int
    to_ms: int


@dataclass(slots=True)
class Cycle:
    """What one commit takes, gathered meter by meter. ``filled`` are parts of holes that need not be tried again."""

    readings: list[Reading] = field(default_factory=list)
    slots: list[SlotDone] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    filled: list[Hole] = field(default_factory=list)
    events: list[MeterEvent] = field(default_factory=list)
    logs: list[LogRead] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep. A slot without a reading is not kept: it is read again after a restart."""
        return not (self.readings or self.filled or self.events or self.logs)


@dataclass(frozen=True, slots=True)
class DayTaken:
    """How many readings of a UTC day (counted from 1970) were taken, and their digest."""

    day: int
    readings: int
    digest: int


def connect_file(path: Path) -> sqlite3.Connection:
    """Return a connection to the spool's file: no transactions of its own, usable from any thread."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def draw_generation() -> str:
    """Return the name of a new generation."""
    return secrets.token_hex(8)


class Spool:
    """An open spool. Its methods may be called from any thread, one at a time runs."""

    def __init__(
        self,
        path: Path,
        gateway: str,
        octets_max: int,
        *,
        connect: Callable[[Path], sqlite3.Connection] = connect_file,
        draw_generation: Callable[[], str] = draw_generation,
    ) -> None:
        """Open or begin the spool at ``path``, through ``connect``; ``draw_generation`` names a new one.

        Raises
        ------
        sqlite3.DatabaseError
            If the file is damaged; see :func:`open_spool`.
        UsageError
            If it was written by a newer version, or belongs to another gateway.
        """
        self.path = path
        self._gateway = gateway
        self._octets_max = octets_max
        self._lock = threading.Lock()
        self._draw_generation = draw_generation
        self._db = connect(path)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == 0:
            self._begin_generation()
        elif version > VERSION:
            raise UsageError(
                f"{self.path}: written by a newer congto (version {version}); install that, or move it away"
            )
        elif version in UPGRADE:
            self._db.executescript(UPGRADE[version])
        elif self.path.stat().st_size <= CHECK_OCTETS_MAX:
            (found,) = self._db.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        meta = dict(self._db.execute("select key, value from meta"))
        if meta["gateway"] != self._gateway:
            raise UsageError(
                f"{self.path}: belongs to gateway {meta['gateway']!r}, not {self._gateway!r}; "
                "give each gateway a spool of its own (gateway.spool)"
            )
        self.generation: str = meta["generation"]
        self.last_sequence: int = meta["last_sequence"]
        self.taken: int = meta["taken"]
        self.batches: int
        self._octets: int
        self.batches, self._octets = self._db.execute(
            "select count(*), coalesce(sum(length(payload)), 0) from batch"
        ).fetchone()

    def _begin_generation(self) -> None:
        self._db.executescript("begin immediate;" + SCHEMA + "commit;")
        with self._transaction():
            self._db.executemany(
                SET_META,
                [
                    ("gateway", self._gateway),
                    ("generation", self._draw_generation()),
                    ("last_sequence", 0),
                    ("taken", 0),
                ],
            )

    def close(self) -> None:
        """Close the file; what was removed is settled first."""
        with self._lock:
            self._db.close()

    def commit(self, cycle: Cycle) -> int:
        """Take ``cycle`` durably; return the last batch's sequence.

        Raises
        ------
        SpoolFullError
            If the spool is full: nothing of the cycle is kept.
        UnavailableError
            If the disk refuses: likewise.
        """
        with self._lock:
            sequence, taken = self.last_sequence, self.taken
            payloads: list[tuple[int, bytes]] = []
            rows = iter(cycle.readings)
            while part := list(islice(rows, ROWS_MAX)):
                sequence += 1
                payloads.append((sequence, encode_batch(self._gateway, self.generation, sequence, part)))
                taken += len(part)
            octets = self._octets + sum(len(payload) for _, payload in payloads)
            if payloads and octets > self._octets_max:
                raise SpoolFullError(f"{self.path}: {self._octets} octets wait for receipts, the limit is reached")
            try:
                with self._transaction():
                    if payloads:
                        self._db.executemany(INSERT_BATCH, payloads)
                        self._db.executemany(SET_META, [("last_sequence", sequence), ("taken", taken)])
                        self._count(cycle.readings)
                    self._note(cycle)
                    outbox.put(self._db, self._gateway, self.generation, cycle.events, cycle.logs)
            except sqlite3.OperationalError as error:
                raise UnavailableError(f"{self.path}: can't be written: {error}; see to the disk") from error
            self.last_sequence, self.taken, self._octets = sequence, taken, octets
            self.batches += len(payloads)
            return sequence

    def _count(self, readings: Sequence[Reading]) -> None:
        days: dict[int, list[Reading]] = {}
        for reading in readings:
            days.setdefault(reading.measured_at_ms // DAY_MS, []).append(reading)
        for day, taken in days.items():
            before = self._day(day)
            digest = (before.digest + reading_digest(taken)) % DIGEST_MODULUS
            self._db.execute(SET_DAY, (day, before.readings + len(taken), f"{digest:016x}"))

    def _day(self, day: int) -> DayTaken:
        row = self._db.execute("select readings, digest from day where day = ?", (day,)).fetchone()
        return DayTaken(day, row[0], int(row[1], 16)) if row else DayTaken(day, 0, 0)

    def _note(self, cycle: Cycle) -> None:
        self._db.executemany(SET_SLOT, [(each.meter, each.series, each.slot_ms) for each in cycle.slots])
        self._db.executemany(SET_HOLE, [(each.meter, each.from_ms, each.to_ms) for each in cycle.holes])
        for part in cycle.filled:
            found = self._db.execute(
                "select from_ms, to_ms from hole where meter = ? and from_ms <= ? and to_ms >= ?",
                (part.meter, part.to_ms, part.from_ms),
            ).fetchall()
            for from_ms, to_ms in found:
                self._db.execute("delete from hole where meter = ? and from_ms = ?", (part.meter, from_ms))
                if from_ms < part.from_ms:
                    self._db.execute(SET_HOLE, (part.meter, from_ms, part.from_ms - 1))
                if to_ms > part.to_ms:
                    self._db.execute(SET_HOLE, (part.meter, part.to_ms + 1, to_ms))

    def batches_after(self, sequence: int, count: int) -> list[tuple[int, bytes]]:
        """Return up to ``count`` batches beyond ``sequence`` in order, fewer if they are large."""
        with self._lock:
            rows = self._db.execute(
                "select sequence, payload from batch where sequence > ? order by sequence limit ?", (sequence, count)
            ).fetchall()
        octets, kept = 0, 0
        for _, payload in rows:
            octets += len(payload)
            kept += 1
            if octets > SEND_OCTETS_MAX:
                break
        return rows[:kept]

    def forget(self, sequences: Sequence[tuple[int, int]]) -> int:
        """Remove the batches in these closed ranges, which the server has receipted; return how many there were."""
        with self._lock:
            # Not synced: at worst a batch is sent again. The next FULL commit settles it.
            self._db.execute("pragma synchronous=normal")
            try:
                with self._transaction():
                    count = octets = 0
                    for first, last in sequences:
                        found, size = self._db.execute(
                            "select count(*), coalesce(sum(length(payload)), 0) from batch "
                            "where sequence between ? and ?",
                            (first, last),
                        ).fetchone()
                        if found:
                            self._db.execute("delete from batch where sequence between ? and ?", (first, last))
                        count, octets = count + found, octets + size
            except sqlite3.OperationalError as error:
                raise UnavailableError(f"{self.path}: can't be written: {error}; see to the disk") from error
            finally:
                self._db.execute("pragma synchronous=full")
            self.batches -= count
            self._octets -= octets
            return count

    def slots(self) -> dict[tuple[str, str], int]:
        """Return the last stored slot by meter and series."""
        with self._lock:
            return {(meter, series): at for meter, series, at in self._db.execute("select * from slot")}

    def holes(self) -> list[Hole]:
        """Return the holes that are not filled, the oldest first."""
        with self._lock:
            return [Hole(*row) for row in self._db.execute("select * from hole order by from_ms, meter")]

    def events(self, count: int) -> list[tuple[int, bytes]]:
        """Return up to ``count`` messages of events, the oldest first."""
        with self._lock:
            return outbox.messages(self._db, count)

    def forget_event(self, sequence: int) -> None:
        """Remove a message of events that the broker has."""
        with self._lock:
            self._db.execute("pragma synchronous=normal")  # at worst it is sent again
            try:
                outbox.forget(self._db, sequence)
            except sqlite3.OperationalError as error:
                raise UnavailableError(f"{self.path}: can't be written: {error}; see to the disk") from error
            finally:
                self._db.execute("pragma synchronous=full")

    def logs_read(self) -> dict[tuple[str, str], int]:
        """Return how far each meter's event logs were read."""
        with self._lock:
            return outbox.logs_read(self._db)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise


@dataclass(frozen=True, slots=True)
class Summary:
    """What a spool says of itself: readings ever taken, batches numbered and not yet receipted, by UTC day."""

    generation: str
    taken: int
    last_sequence: int
    unreceipted: int
    days: tuple[DayTaken, ...]


def read_summary(path: Path) -> Summary:
    """Return the summary of the spool at ``path``, which an agent may be using; raise :class:`UsageError`."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            db.execute("begin")  # one snapshot for all of it
            meta = dict(db.execute("select key, value from meta"))
            (unreceipted,) = db.execute("select count(*) from batch").fetchone()
            rows = db.execute("select day, readings, digest from day order by day").fetchall()
        days = tuple(DayTaken(day, readings, int(digest, 16)) for day, readings, digest in rows)
        return Summary(meta["generation"], meta["taken"], meta["last_sequence"], unreceipted, days)
    except (sqlite3.DatabaseError, KeyError) as error:
        raise UsageError(f"{path}: is no spool that can be read: {error}") from error


def open_spool(path: Path, gateway: str, octets_max: int) -> tuple[Spool, Path | None]:
    """Return the spool at ``path``, and where its predecessor was moved if that was damaged.

    Raises
    ------
    UsageError
        If the spool is not this gateway's or this version's.
    UnavailableError
        If it can't be opened at all.
    """
    try:
        return Spool(path, gateway, octets_max), None
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"{path}: can't be opened: {error}; see to the directory and its rights") from error
    except (sqlite3.DatabaseError, KeyError):
        aside = set_aside(path)
        return Spool(path, gateway, octets_max), aside


def set_aside(path: Path) -> Path:
    """Move a damaged spool out of the way, for whoever wants to rescue readings from it; return where it is now."""
    aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
    for suffix in ("-wal", "-shm", ""):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + suffix))
    return aside
