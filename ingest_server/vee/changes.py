"""Changes: readings put beside a meter's own, as links of a chain, proposed by one person and decided by another."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import dict_row

from billing_core.estimation.provenance import Reason
from protocols.errors import UsageError

WHY_MAX = 500
LOCK_CHANNEL = "select pg_advisory_xact_lock(%(class)s, %(channel)s)"
LOCK_CLASS = 0x76656520  # "vee ": the first key of the lock of a channel's chain; the second is the channel
SELECT_LAST = "select hash from reading_change where channel_id = %(channel)s order by change_id desc limit 1"
INSERT_CHANGE = """
    insert into reading_change (metering_point_id, channel_id, kind, made_by, made_at, why, rule_set, undoes,
                                acts_before, parent_hash, hash)
    values (%(point)s, %(channel)s, %(kind)s, %(made_by)s, %(made_at)s, %(why)s, %(rule_set)s, %(undoes)s,
            (select coalesce(max(act_id), 0) from reading_change_act), %(parent)s, %(hash)s)
    returning change_id
"""
COPY_VERSIONS = "copy reading_version (change_id, channel_id, measured_at, value, quality, method, reason) from stdin"
SELECT_CHANGE = """
    select c.change_id, c.metering_point_id, c.channel_id, h.meter_id, h.obis, c.kind, c.made_by, c.made_at, c.why,
           c.rule_set, c.undoes, c.parent_hash, c.hash, a.act, a.actor, a.role, a.effect_wh, a.effect_vnd, a.note,
           a.acted_at
    from reading_change c
    join channel h using (channel_id)
    left join reading_change_act a using (change_id)
    where c.change_id = %(change)s
"""
SELECT_VERSIONS = """
    select measured_at, value, quality, method, reason from reading_version where change_id = %(change)s
    order by measured_at
"""
SELECT_CHAIN = """
    select change_id, parent_hash, hash from reading_change where channel_id = %(channel)s order by change_id
"""


class Kind(Enum):
    """What a change is."""

    ESTIMATE = "estimate"
    EDIT = "edit"
    UNDO = "undo"
    TRUE_UP = "true_up"


class Version(NamedTuple):
    """One reading of a change; without a value, what the meter said stands again. [Wh]"""

    measured_at: datetime
    value: int | None
    quality: int
    method: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody proposes for one channel: readings in order of time."""

    point: str
    channel_id: int
    kind: Kind
    made_by: str
    made_at: datetime
    why: str
    rule_set: str
    versions: tuple[Version, ...]
    undoes: int | None = None

    def hash_after(self, parent: bytes) -> bytes:
        """Return the hash of this link after ``parent``: of everything that is said here and before."""
        head = (self.point, self.channel_id, self.kind.value, self.made_by, _utc(self.made_at), self.why)
        body = (self.rule_set, self.undoes, [(_utc(each[0]), *each[1:]) for each in self.versions])
        return hashlib.sha256(parent + repr((*head, *body)).encode()).digest()


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()


def propose(connection: Connection[Any], change: Change) -> int:
    """Append a change to its channel's chain; return its number. It has no effect until it is approved.

    Raises
    ------
    UsageError
        If there is no maker, no reason or no reading in it.
    """
    if not change.made_by.strip() or not change.why.strip() or len(change.why) > WHY_MAX:
        raise UsageError(f"a change needs who makes it, and why in at most {WHY_MAX} characters (--as, --note)")
    if not change.versions:
        raise UsageError(f"{change.point}: found no reading to change")
    with connection.transaction():
        connection.execute(LOCK_CHANNEL, {"class": LOCK_CLASS, "channel": change.channel_id})
        row = connection.execute(SELECT_LAST, {"channel": change.channel_id}).fetchone()
        parent = b"" if row is None else row[0]
        parameters = {
            "point": change.point, "channel": change.channel_id, "kind": change.kind.value, "made_by": change.made_by,
            "made_at": change.made_at, "why": change.why, "rule_set": change.rule_set, "undoes": change.undoes,
            "parent": parent, "hash": change.hash_after(parent),
        }  # fmt: skip
        made = connection.execute(INSERT_CHANGE, parameters).fetchone()
        assert made is not None, "an insert returning gives a row"
        with connection.cursor().copy(COPY_VERSIONS) as copy:
            for each in change.versions:
                copy.write_row((made[0], change.channel_id, *each))
    return int(made[0])


def load_change(connection: Connection[Any], change_id: int) -> dict[str, Any]:
    """Return a change with its versions under ``versions``, and how it was decided (``act`` is none if it was not)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SELECT_CHANGE, {"change": change_id}).fetchone()
    if row is None:
        raise UsageError(f"there is no change {change_id}; `congto vee cases` shows their numbers")
    versions = connection.execute(SELECT_VERSIONS, {"change": change_id})
    return {**row, "versions": [Version(*each) for each in versions]}


def undo(connection: Connection[Any], change_id: int, *, made_by: str, made_at: datetime, why: str) -> int:
    """Propose what stood before a change was approved; return the new change's number."""
    change = load_change(connection, change_id)
    if change["act"] != "approve":
        raise UsageError(
            f"change {change_id}: found it {'rejected' if change['act'] else 'undecided'}; only an approved one has "
            "anything to undo"
        )
    versions = [_restored(connection, change["channel_id"], change_id, each.measured_at) for each in change["versions"]]
    return propose(
        connection,
        Change(
            point=change["metering_point_id"],
            channel_id=change["channel_id"],
            kind=Kind.UNDO,
            made_by=made_by,
            made_at=made_at,
            why=why,
            rule_set=change["rule_set"],
            versions=tuple(versions),
            undoes=change_id,
        ),
    )


SELECT_BEFORE = """
    select o.value, o.quality, o.method
    from reading_version o join reading_change_act oa using (change_id)
    where o.channel_id = %(channel)s and o.measured_at = %(at)s and oa.act = 'approve'
      and oa.act_id < (select act_id from reading_change_act where change_id = %(change)s)
    order by oa.act_id desc limit 1
"""


def _restored(connection: Connection[Any], channel: int, change_id: int, at: datetime) -> Version:
    parameters = {"channel": channel, "at": at, "change": change_id}
    row = connection.execute(SELECT_BEFORE, parameters).fetchone()
    value, quality, method = (None, 0, 0) if row is None else row
    return Version(at, value, quality, method, int(Reason.UNDONE))


def broken_link(connection: Connection[Any], channel_id: int) -> int | None:
    """Return the first change of a channel that is not what was written or does not follow the one before it."""
    parent = b""
    for change_id, parent_hash, own in connection.execute(SELECT_CHAIN, {"channel": channel_id}).fetchall():
        row = load_change(connection, change_id)
        change = Change(
            point=row["metering_point_id"], channel_id=channel_id, kind=Kind(row["kind"]), made_by=row["made_by"],
            made_at=row["made_at"], why=row["why"], rule_set=row["rule_set"], undoes=row["undoes"],
            versions=tuple(row["versions"]),
        )  # fmt: skip
        if parent_hash != parent or change.hash_after(parent) != own:
            return int(change_id)
        parent = own
    return None
