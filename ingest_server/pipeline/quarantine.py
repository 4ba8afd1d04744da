"""What of the refused messages is kept, so that a gateway that sends rubbish without end cannot fill the disk.

Messages are kept by group: a gateway and a kind of refusal. All gateways that are not registered are one group, for
their names cost nothing. A group keeps the messages that came first, up to a maximum; of those that come when it is
full only the latest, renewed once a minute at most, beside the maximum. So a clerk sees how it began and how it stands,
and readings that are readmitted begin where they began. What is given up is counted in the group's row, in the same
transaction. When all groups together have reached the total, each still keeps the first message and the latest.

A refusal is receipted whether its message is kept or not: it never holds up its neighbours. Whose batches were given up
is noted (:mod:`.given_up`), so that they are asked for again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from ingest_server.pipeline.message import Message, Refusal, Rejected, headers_of
from protocols.errors import UsageError

GROUP_MIB_DEFAULT = (
    64  # the largest gateway, 2,000 meters with 4 registers, unregistered for a month: 2.6 kB for 500 readings
)
TOTAL_MIB_DEFAULT = 4096  # 64 groups that are full
MIB_MAX = 1 << 30
RENEW_S = 60.0  # a flood then turns over one message a minute and group, and vacuum keeps pace with that
ROW_OCTETS = 512  # what a message takes beside its columns; as quarantine_octets() in sql/0017
STRANGERS = ""  # the group's name of gateways that are not registered

Cursor = psycopg.AsyncCursor[TupleRow]

SELECT_REGISTERED = "select gateway_id from gateway where gateway_id = any(%s)"
# Ordered, so that two processes wait for each other instead of locking each other out.
LOCK_GROUPS = """
    insert into quarantine_group (gateway_id, kind)
    select gateway_id, kind from unnest(%s::text[], %s::text[]) as g (gateway_id, kind) order by gateway_id, kind
    on conflict (gateway_id, kind) do update set kind = excluded.kind
    returning gateway_id, kind, messages, octets
"""
SELECT_TOTAL = "select coalesce(sum(octets), 0)::bigint from quarantine_group"
COUNT_AGAIN = """
    update quarantine q set times = q.times + s.times, last_at = now()
    from unnest(%s::bytea[], %s::bigint[]) as s (fingerprint, times)
    where q.fingerprint = s.fingerprint
    returning q.fingerprint
"""
SELECT_LATEST = """
    select gateway_id, kind, times, quarantine_octets(payload, topic, reason), age_s, topic,
        case when age_s >= %s then payload else '' end
    from quarantine
    join unnest(%s::text[], %s::text[]) as g (gateway_id, kind) using (gateway_id, kind),
        extract(epoch from now() - first_at) as age_s
    where latest
"""
DELETE_LATEST = """
    delete from quarantine q
    using unnest(%s::text[], %s::text[]) as g (gateway_id, kind)
    where q.latest and q.gateway_id = g.gateway_id and q.kind = g.kind
"""
INSERT_KEPT = """
    with put as (
        insert into quarantine (gateway_id, kind, fingerprint, topic, payload, reason, times, latest)
        select * from unnest(%s::text[], %s::text[], %s::bytea[], %s::text[], %s::bytea[], %s::text[], %s::bigint[],
            %s::boolean[])
        on conflict do nothing
        returning gateway_id, kind, latest, quarantine_octets(payload, topic, reason) as octets
    )
    update quarantine_group g set messages = g.messages + p.messages, octets = g.octets + p.octets
    from (
        select gateway_id, kind, count(*) as messages, sum(octets) as octets
        from put
        where not latest
        group by gateway_id, kind
    ) p
    where g.gateway_id = p.gateway_id and g.kind = p.kind
"""
COUNT_GIVEN_UP = """
    update quarantine_group g set given_up = g.given_up + s.given_up, given_up_octets = g.given_up_octets + s.octets,
        first_given_up_at = coalesce(first_given_up_at, now()), last_given_up_at = now()
    from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) as s (gateway_id, kind, given_up, octets)
    where g.gateway_id = s.gateway_id and g.kind = s.kind
"""

Group = tuple[str, str]  # gateway, kind of refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: of a group, and of all groups together; the latest is renewed after ``renew_s``. [octets, s]"""

    group_octets: int = GROUP_MIB_DEFAULT << 20
    total_octets: int = TOTAL_MIB_DEFAULT << 20
    renew_s: float = RENEW_S

    @classmethod
    def of_mib(cls, group_mib: int, total_mib: int) -> "Limits":
        """Return the limits that a command was given; raise :class:`UsageError` if they can't be."""
        if not 1 <= group_mib <= total_mib <= MIB_MAX:
            raise UsageError(
                f"--quarantine-mib {group_mib} --quarantine-total-mib {total_mib}: expected 1 or more, and the total "
                "no less than that of one gateway"
            )
        return cls(group_mib << 20, total_mib << 20)


UNLIMITED = Limits(1 << 62, 1 << 62)  # for what lies in the quarantine already and only changes its form


@dataclass(slots=True)
class Lot:
    """A message for the quarantine, and how often it came in one transaction."""

    rejected: Rejected
    times: int = 1

    @property
    def octets(self) -> int:
        """What it takes on the disk."""
        said = self.rejected
        return len(said.payload) + len(said.topic.encode()) + len(said.reason.encode()) + ROW_OCTETS


class Latest(NamedTuple):
    """The message that is the latest of a full group: how often it came, its size, and since when it lies there.

    ``payload`` is empty where it stays.
    """

    times: int
    octets: int
    age_s: float
    topic: str
    payload: bytes

    def rejected(self, kind: str) -> Rejected:
        """Return it as it was refused; its reason is not needed any more."""
        header, told = headers_of(Message(self.topic, self.payload))
        return Rejected(self.topic, self.payload, "", header, told, Refusal(kind))


@dataclass(slots=True)
class Sorted:
    """What a transaction changes: messages that stay, groups that lose their latest, and what is given up of each."""

    kept: list[tuple[Group, bytes, Lot, bool]] = field(default_factory=list)
    replaced: list[Group] = field(default_factory=list)
    given_up: dict[Group, tuple[int, int]] = field(default_factory=dict)  # messages, octets
    gone: list[Rejected] = field(default_factory=list)  # the messages that are given up, each once


class GivenUp(NamedTuple):
    """How many messages were given up, and each of them once."""

    messages: int = 0
    rejected: Sequence[Rejected] = ()


def how_many_fit(sizes: Sequence[int], room: int, *, empty: bool) -> int:
    """Return how many of new messages of these ``sizes``, in their order, stay where there is ``room``. [octets]

    ``empty`` says that nothing lies in their group yet: the first stays then, whatever the room.
    """
    kept = 0
    for size in sizes:
        if size > room and not (empty and kept == 0):
            break
        room -= size
        kept += 1
    return kept


async def keep(cursor: Cursor, rejected: Sequence[Rejected], limits: Limits) -> GivenUp:
    """Put ``rejected`` into the quarantine within ``limits``, in a transaction under way; return what is given up.

    A message that lies there already only raises its count.
    """
    if not rejected:
        return GivenUp()
    lots = await _lots(cursor, rejected)
    groups = list(lots)
    await cursor.execute(LOCK_GROUPS, _columns(groups))
    filled: dict[Group, tuple[int, int]] = {(row[0], row[1]): (row[2], row[3]) for row in await cursor.fetchall()}
    everything = [(fingerprint, lot.times) for each in lots.values() for fingerprint, lot in each.items()]
    await cursor.execute(COUNT_AGAIN, [list(column) for column in zip(*everything, strict=True)])
    known = {bytes(fingerprint) for (fingerprint,) in await cursor.fetchall()}
    await cursor.execute(SELECT_TOTAL)
    (total,) = await cursor.fetchone() or (0,)
    new = {group: [each for each in lots[group].items() if each[0] not in known] for group in groups}
    kept: dict[Group, int] = {}
    for group, those in new.items():
        messages, octets = filled[group]
        room = min(limits.group_octets - octets, limits.total_octets - total)
        sizes = [lot.octets for _, lot in those]
        kept[group] = how_many_fit(sizes, room, empty=messages == 0)
        total += sum(sizes[: kept[group]])
    full = [group for group, those in new.items() if kept[group] < len(those)]
    latest: dict[Group, Latest] = {}
    if full:
        await cursor.execute(SELECT_LATEST, [limits.renew_s, *_columns(full)])
        latest = {(row[0], row[1]): Latest(*row[2:]) for row in await cursor.fetchall()}
    done = _sort(new, kept, latest, limits.renew_s)
    await _write(cursor, done)
    return GivenUp(sum(messages for messages, _ in done.given_up.values()), done.gone)


def _sort(
    new: dict[Group, list[tuple[bytes, Lot]]], kept: dict[Group, int], latest: dict[Group, Latest], renew_s: float
) -> Sorted:
    """Return what to write: of each group the first so many of ``new`` are ``kept``, the last may become the latest."""
    done = Sorted()
    for group, those in new.items():
        done.kept += [(group, *each, False) for each in those[: kept[group]]]
        gone = those[kept[group] :]
        if not gone:
            continue
        before = latest.get(group)
        messages = octets = 0
        if before is None or before.age_s >= renew_s:
            done.kept.append((group, *gone.pop(), True))
            if before is not None:
                done.replaced.append(group)
                messages, octets = before.times, before.octets
                done.gone.append(before.rejected(group[1]))
        done.gone += [lot.rejected for _, lot in gone]
        messages += sum(lot.times for _, lot in gone)
        if messages:
            done.given_up[group] = (messages, octets + sum(lot.octets for _, lot in gone))
    return done


async def _write(cursor: Cursor, done: Sorted) -> None:
    if done.replaced:
        await cursor.execute(DELETE_LATEST, _columns(done.replaced))
    if done.kept:
        rows = [
            (*group, fingerprint, lot.rejected.topic, lot.rejected.payload, lot.rejected.reason, lot.times, latest)
            for group, fingerprint, lot, latest in done.kept
        ]
        await cursor.execute(INSERT_KEPT, [list(column) for column in zip(*rows, strict=True)])
    if done.given_up:
        counts = [(*group, *lost) for group, lost in done.given_up.items()]
        await cursor.execute(COUNT_GIVEN_UP, [list(column) for column in zip(*counts, strict=True)])


async def _lots(cursor: Cursor, rejected: Iterable[Rejected]) -> dict[Group, dict[bytes, Lot]]:
    """Return the messages by group, in order of groups, each once with how often it came."""
    named = [(each, _gateway_of(each.topic)) for each in rejected]
    await cursor.execute(SELECT_REGISTERED, [sorted({gateway for _, gateway in named})])
    registered = {gateway for (gateway,) in await cursor.fetchall()}
    found: dict[Group, dict[bytes, Lot]] = {}
    for each, gateway in named:
        lots = found.setdefault((gateway if gateway in registered else STRANGERS, each.kind.value), {})
        fingerprint = _fingerprint(each)
        if fingerprint in lots:
            lots[fingerprint].times += 1
        else:
            lots[fingerprint] = Lot(each)
    return dict(sorted(found.items()))


def _gateway_of(topic: str) -> str:
    """Return the gateway that a topic names, whoever that may be."""
    levels = topic.split("/", 3)
    return levels[2] if len(levels) > 2 else ""


def _fingerprint(rejected: Rejected) -> bytes:
    fingerprint = sha256(b"\0".join((rejected.topic.encode(), rejected.reason.encode(), b"")))
    fingerprint.update(rejected.payload)
    return fingerprint.digest()


def _columns(groups: Sequence[Group]) -> list[list[str]]:
    return [[gateway for gateway, _ in groups], [kind for _, kind in groups]]
