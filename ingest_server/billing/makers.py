"""Who made what a bill rests on: those people don't let it pass, for who made something never checks it.

A bill keeps the instants and values that it was computed from, those of load profiles too
(:mod:`ingest_server.billing.resting`). A change of readings that was approved is behind one of them if it set that very
value there, or if, as the newest before the bill, it gave the meter its word back. A difference keeps no intervals: the
newest change before it is behind each of those that its bill has. A change's maker is who edited, agreed, estimated or
trued up; who approved it looked at it already as another person, and may look again. Who cancelled a bill made the one
in its place, whichever run computed that.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.resting import READINGS

_SELECT_MAKERS = """
    select distinct on (c.change_id) c.change_id, c.made_by
    from ({documents}) document (metered, more, made_at, is_bill)
    cross join lateral ({readings}) read
    join reading_version v on v.channel_id = read.channel_id
     and v.measured_at = timestamptz 'epoch' + read.us * interval '1 microsecond'
    join reading_change_act a on a.change_id = v.change_id and a.act = 'approve'
    join reading_change c on c.change_id = v.change_id
    cross join lateral (select document.is_bill or read.quality is not null as is_kept) reading
    where (reading.is_kept and v.value = read.value and v.quality = coalesce(read.quality, v.quality))
       or ((v.value is null or not reading.is_kept) and a.acted_at <= document.made_at and not exists (
            select from reading_version newer
            join reading_change_act n on n.change_id = newer.change_id and n.act = 'approve'
            where newer.channel_id = v.channel_id and newer.measured_at = v.measured_at
              and n.acted_at <= document.made_at and n.act_id > a.act_id))
    order by c.change_id
""".replace("{readings}", READINGS)
SELECT_MAKERS_OF_BILL = _SELECT_MAKERS.replace(
    "{documents}", "select metered, more, created_at, true from bill where bill_id = %(document)s"
)
SELECT_MAKERS_OF_DIFFERENCE = _SELECT_MAKERS.replace(
    "{documents}",
    "select f.metered, b.more, f.made_at, false from bill_difference f join bill b using (bill_id)"
    " where f.difference_id = %(document)s",
)

# Who cancelled bills in whose place others stand, and nobody else has released these since.
SELECT_CANCELLERS = """
    select distinct b.bill_id, a.actor
    from bill_act a
    join bill old on old.bill_id = a.bill_id
    join bill b on b.metering_point_id = old.metering_point_id and b.bill_id > old.bill_id
     and b.period_from <= old.period_to and b.period_to >= old.period_from
    join bill_state s on s.bill_id = b.bill_id and s.state in ('ready', 'held')
    where a.act = 'cancel'
      and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and (%(bill)s::bigint is null or b.bill_id = %(bill)s)
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
      and (%(books)s::text[] is null or exists (
            select from metering_point p
            where p.metering_point_id = b.metering_point_id and p.book_id = any (%(books)s)))
      and not exists (select from bill_act r where r.bill_id = b.bill_id and r.act = 'release')
    order by b.bill_id
"""
SELECT_CANCELLERS_AT = """
    select distinct old.metering_point_id, a.actor
    from bill_act a
    join bill old using (bill_id)
    where a.act = 'cancel' and old.period_from <= %(last_on)s and old.period_to >= %(first_on)s
      and old.metering_point_id = any (%(points)s)
"""


class Maker(NamedTuple):
    """A change of readings that a document rests on, and who made it."""

    change_id: int
    name: str


def makers_of_bill(connection: Connection[Any], bill_id: int) -> tuple[Maker, ...]:
    """Return the changes behind the readings of a bill, in order."""
    return _makers(connection, SELECT_MAKERS_OF_BILL, bill_id)


def makers_of_difference(connection: Connection[Any], difference_id: int) -> tuple[Maker, ...]:
    """Return the changes behind the readings of a bill as it should have been, in order."""
    return _makers(connection, SELECT_MAKERS_OF_DIFFERENCE, difference_id)


def cancellers(
    connection: Connection[Any], period: Period, selection: Selection, bill_id: int | None = None
) -> list[tuple[int, str]]:
    """Return a period's bills that stand in the place of cancelled ones, unreleased, and who cancelled these."""
    about = selection.parameters | period.bounds | {"bill": bill_id}
    return connection.execute(SELECT_CANCELLERS, about).fetchall()


def cancellers_at(connection: Connection[Any], period: Period, points: Sequence[str]) -> list[tuple[str, str]]:
    """Return points whose bills of a period were cancelled, each with who did."""
    span = {"first_on": period.first_on, "last_on": period.last_on}
    return connection.execute(SELECT_CANCELLERS_AT, span | {"points": list(points)}).fetchall()


def _makers(connection: Connection[Any], query: Any, document: int) -> tuple[Maker, ...]:
    return tuple(Maker(*row) for row in connection.execute(query, {"document": document}))
