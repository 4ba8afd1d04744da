"""The verdict: spool, meters and database compared reading by reading.

Truth comes from three sides. The agent's spool, where receipted batches are kept, has every reading that was ever
taken. Its count of readings taken, and the digests by day, hold even for batches that somebody has removed. And the
simulated meters know what their registers stood at, at any time.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from itertools import pairwise

from ingest_server.database.readings import reading_totals
from protocols.telemetry.reading import Quality
from protocols.telemetry.readings import decode_readings
from tests.chaos.system import System, gateway_ms
from tests.chaos.village import EVERY_MS, GATEWAY, village

SELECT_READINGS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
    from reading join channel using (channel_id)
    where measured_at >= to_timestamp(%s / 1000.0)
"""
SELECT_CONFLICTS = """
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint, value, quality
    from reading_conflict join channel using (channel_id)
"""
SELECT_GAPS = """
    select generation, first, last from gateway_sequence_gap
    union all select generation, first, last from gateway_event_gap
"""
# A gateway that does not know the time says so in its status, which the server can only set aside.
SELECT_QUARANTINED = """
    select topic, reason, times from quarantine
    where not (topic like '%/status' and reason ~ '^at: [1-9][0-9]{3,10} does not lie within')
"""
NOT_DURABLE = int(Quality.NOT_DURABLE)
SELECT_VOLATILE = f"""
    select meter_id, obis, (extract(epoch from measured_at) * 1000)::bigint
    from reading join channel using (channel_id) where quality & {NOT_DURABLE} > 0
"""
REGISTER = "1.0.1.8.0"
UNSET_MS = 365 * 86_400_000  # a clock that is so wrong was never set
SLACK_MS = 2 * EVERY_MS  # around a moment at which readings may be missing
SHOWN_MAX = 3

Key = tuple[str, str, int]  # meter, OBIS code, time [ms]
Value = tuple[int, int]  # with its quality
Conflicts = dict[Key, list[Value]]


@dataclass(slots=True)
class Verdict:
    """What is wrong. ``notes`` give examples."""

    lost: int = 0
    doubled: int = 0
    altered: int = 0
    invented: int = 0  # stored and never taken
    gaps: int = 0  # not explained by a fault
    uncounted: int = 0  # given up, and not told so
    undrained: int = 0  # batches that still wait
    crashes: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(getattr(self, name) for name in COUNTED)

    def note(self, what: str, found: object) -> None:
        """Add an example."""
        self.notes.append(f"{what}: {found}")

    def __str__(self) -> str:
        counts = {name: getattr(self, name) for name in COUNTED}
        return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "clean"


COUNTED = tuple(each.name for each in fields(Verdict) if each.name != "notes")


class Judge:
    """Keeps what was taken so far; judges a schedule after it has drained."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._meters = {meter.name: meter for meter in village().meters}
        self._taken: dict[Key, list[tuple[int, int]]] = {}  # in the order of being taken
        self._volatile: set[tuple[Key, int]] = set()
        self._last_key = 0
        self._from_ms = 0
        self._judged_ms = 0  # when the last schedule was judged, by the gateway's clock
        self._generations: set[str] = set()
        self.readings = 0
        self.batches = 0
        self.given_up = 0

    def waiting(self) -> int:
        """Return how many batches, losses and messages of events have no receipt."""
        with closing(_open(self._system)) as db:
            queries = ("batch where settled_ms < 0", "lost where told = 0", "event where settled_ms < 0")
            return sum(db.execute(f"select count(*) from {each}").fetchone()[0] for each in queries)

    def behind(self) -> int:
        """Return how many slots must pass until the gateway reads again: it had them before its clock went back."""
        with closing(_open(self._system)) as db:
            (last_ms,) = db.execute("select coalesce(max(slot_ms), 0) from slot").fetchone()
        return max(0, (last_ms - gateway_ms(self._system)) // EVERY_MS)

    def judge(self, offsets_ms: set[int], spans: list[tuple[int, int]]) -> Verdict:
        """Return the verdict on what was taken since the last one.

        ``offsets_ms`` are the errors that the gateway's clock has had; in ``spans``, by its clock, readings may be
        missing.
        """
        verdict = Verdict()
        fresh = self._harvest()
        # What was taken first may be what the spool no longer has; so it does not say from when on to look.
        self._from_ms = min((at_ms for _, _, at_ms in fresh), default=self._judged_ms)
        self._from_ms = min(self._from_ms, self._judged_ms)
        stored = self._compare(verdict)
        self._compare_counts(verdict)
        self._compare_with_meters(verdict, fresh, offsets_ms)
        self._find_gaps(verdict, fresh, stored, spans)
        self._judged_ms = gateway_ms(self._system)
        return verdict

    def _harvest(self) -> list[Key]:
        """Take what is new in the spool; return its keys."""
        fresh: list[Key] = []
        with closing(_open(self._system)) as db:
            db.execute("begin")
            self._generations |= {name for (name,) in db.execute("select generation from life")}
            rows = db.execute("select key, payload from batch where key > ? order by key", [self._last_key]).fetchall()
            (self.readings,) = db.execute("select value from meta where key = 'taken'").fetchone()
            (self.given_up,) = db.execute("select coalesce(sum(readings), 0) from loss_total").fetchone()
        for key, payload in rows:
            self._last_key = key
            self.batches += 1
            for reading in decode_readings(payload).readings():  # one that breaks the contract is our mistake
                self._taken.setdefault(reading[:3], []).append((reading.value, reading.quality))
                fresh.append(reading[:3])
        return fresh

    def _compare(self, verdict: Verdict, from_ms: int | None = None) -> dict[Key, tuple[int, int]]:
        from_ms = self._from_ms if from_ms is None else from_ms
        with self._system.connect() as connection:
            rows = connection.execute(SELECT_READINGS, [from_ms]).fetchall()
            conflicts = _by_key(connection.execute(SELECT_CONFLICTS).fetchall())
            quarantined = connection.execute(SELECT_QUARANTINED).fetchall()
            gaps = connection.execute(SELECT_GAPS).fetchall()
        count = Counter((meter, obis, at_ms) for meter, obis, at_ms, _, _ in rows)
        for key, times in count.items():
            if times > 1:
                verdict.doubled += times - 1
                verdict.note("doubled", key)
        stored = {(meter, obis, at_ms): (value, quality) for meter, obis, at_ms, value, quality in rows}
        for key, taken in self._taken.items():
            if key[2] < from_ms:
                continue
            if key not in stored:
                verdict.lost += 1
                verdict.note("lost", key)
            elif not is_told(taken, stored[key], conflicts.get(key, [])):
                verdict.altered += 1
                verdict.note("altered", (key, taken, stored[key], conflicts.get(key)))
        for key, (value, quality) in stored.items():
            if key not in self._taken and not quality & NOT_DURABLE:
                verdict.invented += 1
                verdict.note("invented", (key, value, quality))
        self._check_conflicts(verdict, stored, conflicts)
        if quarantined:
            verdict.uncounted += 1
            verdict.note("quarantine", quarantined)
        for generation, first, last in gaps:
            if generation in self._generations:
                verdict.gaps += last - first + 1
                verdict.note("sequences", (generation, first, last))
        return stored

    def _check_conflicts(self, verdict: Verdict, stored: Mapping[Key, Value], conflicts: Conflicts) -> None:
        """Look for conflicts that nobody caused: what was neither taken nor held in memory, or is stored as well."""
        for key, others in conflicts.items():
            taken = {value for value, _ in self._taken.get(key, [])}
            for value, quality in others:
                is_caused = value in taken or quality & NOT_DURABLE
                if not is_caused or (key in stored and stored[key][0] == value):
                    verdict.uncounted += 1
                    verdict.note("conflict", (key, value, quality, taken, stored.get(key)))

    def _compare_counts(self, verdict: Verdict) -> None:
        """Count, for what was removed from the spool can't be compared one by one."""
        with self._system.connect() as connection:
            (stored,) = connection.execute(f"select count(*) from reading where quality & {NOT_DURABLE} = 0").fetchone()
            (told,) = connection.execute("select coalesce(sum(readings), 0) from gateway_loss").fetchone()
            volatile = connection.execute(SELECT_VOLATILE).fetchall()
        stored += sum(key in self._taken for key in volatile)
        doubled = sum(len(each) - 1 for each in self._taken.values())
        missing = self.readings - self.given_up - doubled - stored
        if missing > verdict.lost:
            verdict.note("taken and not stored, by count", missing)
            verdict.lost = missing
        if told != self.given_up:
            verdict.uncounted += 1
            verdict.note("given up by the spool, told to the server", (self.given_up, told))

    def _compare_with_meters(self, verdict: Verdict, fresh: list[Key], offsets_ms: set[int]) -> None:
        """Compare registers with the meters: what is new in the spool, and what came from memory only."""
        believed_ms = [each for each in offsets_ms if abs(each) < UNSET_MS]  # else nothing may be stamped
        said = {(key, value) for key in fresh for value, _ in self._taken[key]} | self._harvest_volatile()
        for key, value in sorted(said):
            meter, obis, at_ms = key
            if obis.split(".")[3] != "8":
                continue
            true = {self._meters[meter].true_wh(obis, at_ms - offset_ms) for offset_ms in believed_ms}
            if value not in true:
                verdict.altered += 1
                verdict.note("not what the meter said", (key, value, true))

    def _harvest_volatile(self) -> set[tuple[Key, int]]:
        """Return what has newly come to the server from memory only: stored, or in conflict with what is."""
        with self._system.connect() as connection:
            rows = [*connection.execute(SELECT_READINGS, [0]), *connection.execute(SELECT_CONFLICTS)]
        volatile = {(each[:3], each[3]) for each in rows if each[4] & NOT_DURABLE}
        fresh, self._volatile = volatile - self._volatile, volatile
        return fresh

    def _find_gaps(
        self, verdict: Verdict, fresh: list[Key], stored: dict[Key, tuple[int, int]], spans: list[tuple[int, int]]
    ) -> None:
        """Look for slots that are missing without a reason; the last must be there, now that all is well."""
        now_ms = gateway_ms(self._system)
        for meter in self._meters:
            times = {at_ms for name, obis, at_ms in [*fresh, *stored] if (name, obis) == (meter, REGISTER)}
            ordered = sorted(times)
            if not any((name, obis) == (meter, REGISTER) for name, obis, _ in fresh):
                verdict.gaps += 1
                verdict.note("nothing read", meter)
            if not ordered or ordered[-1] < now_ms - EVERY_MS:
                verdict.gaps += 1
                verdict.note("no longer read", (meter, ordered[-1:], now_ms))
            for before_ms, after_ms in pairwise(ordered):
                if after_ms - before_ms > EVERY_MS and not any(
                    first - SLACK_MS <= after_ms and before_ms <= last + SLACK_MS for first, last in spans
                ):
                    verdict.gaps += 1
                    verdict.note("slots", (meter, before_ms, after_ms))

    def judge_all(self) -> Verdict:
        """Return the verdict on everything since the beginning, digests by day included."""
        verdict = Verdict()
        self._compare(verdict, 0)
        self._compare_counts(verdict)
        with closing(_open(self._system)) as db:
            days = {day: (count, int(digest, 16)) for day, count, digest in db.execute("select * from day")}
        with self._system.connect() as connection:
            volatile = connection.execute(SELECT_VOLATILE).fetchall()
            totals = {(each.on.toordinal() - 719_163): each[1:] for each in reading_totals(connection, GATEWAY)}
        if days != totals and not volatile:
            verdict.altered += 1
            verdict.note("digests by day", (days, totals))
        return verdict


def is_told(taken: Sequence[Value], stored: Value, others: Sequence[Value]) -> bool:
    """Whether all that was taken is stored or told as a conflict, and what is stored was taken.

    It may have come first from memory, while the disk was full. Then it may also be another reading of the same time,
    if the clock was set back since: which one it was nobody knows after the agent was killed, but the meter does.
    """
    values = {value for value, _ in taken}
    is_taken = any(stored in ((value, quality), (value, quality | NOT_DURABLE)) for value, quality in taken)
    is_from_memory = stored[1] & NOT_DURABLE > 0 and stored[0] not in values
    return (is_taken or is_from_memory) and values <= {stored[0], *(value for value, _ in others)}


def _by_key(rows: Iterable[tuple[str, str, int, int, int]]) -> Conflicts:
    found: Conflicts = {}
    for meter, obis, at_ms, value, quality in rows:
        found.setdefault((meter, obis, at_ms), []).append((value, quality))
    return found


def _open(system: System) -> sqlite3.Connection:
    return sqlite3.connect(f"{system.spool.as_uri()}?mode=ro", uri=True, timeout=10)
