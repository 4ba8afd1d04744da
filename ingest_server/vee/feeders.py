"""Meters behind transformers, as the balances ask for them: what hung on which feeder, and by which registers.

A meter counts what it takes by its total, or by its three rates where it has no total. One that has neither hangs there
all the same: its feeder cannot be balanced, and that is told.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.rounding import ENERGY_WH_MAX
from ingest_server.billing.columns import RATES, REGISTERS, MeterRegister
from ingest_server.billing.queries import SELECTION
from ingest_server.database.binary_rows import Field, fetch_columns
from protocols.telemetry.reading import Quality

TAKES, GIVES, NOTHING = 0, 1, 2  # what a register of a meter counts; nothing: the meter has no register for it
REGISTERS_ASKED = {
    "total": MeterRegister.SG.value,
    "export": MeterRegister.EXPORT.value,
    "rates": [each.value for each in REGISTERS[RATES]],
}

# What was known of each transformer when a month began.
IN_FORCE = """
    select distinct on (transformer_id) * from transformer
    where valid_from <= %(first_on)s order by transformer_id, valid_from desc, row_id desc
"""


def _hung(feeders: str) -> str:
    """Return what asks for the meters that hung at points of some feeders in a span of time, but for those that were a
    transformer's own in the month, and for the registers by which they say what they took.
    """
    return f"""
    select m.meter_id, m.feeder, m.digits, i.metering_point_id, i.multiplier, i.installed_at, i.removed_at,
           case when k.obis @> array[%(total)s] then array[%(total)s]
                when k.obis @> %(rates)s::text[] then %(rates)s::text[] else '{{}}'::text[] end as takes
    from meter m
    join installation i using (meter_id)
    cross join lateral (
        select coalesce(array_agg(obis), '{{}}') as obis from channel c where c.meter_id = m.meter_id
    ) k
    where m.feeder = any ({feeders}) and i.role = 'supply'
      and i.installed_at < %(to_at)s and (i.removed_at is null or i.removed_at > %(from_at)s)
      and not exists (select from ({IN_FORCE}) own
                      where own.meter_id = m.meter_id and (own.valid_to is null or own.valid_to >= %(last_on)s))
"""  # noqa: S608 - put together from constants


HUNG = _hung("%(feeders)s::text[]")
SELECT_HUNG = f"""
    with hung as ({HUNG})
    select h.feeder, h.metering_point_id, coalesce(c.channel_id, 0),
           (case when c.channel_id is null then {NOTHING} when c.obis = %(export)s then {GIVES} else {TAKES} end)
               ::smallint,
           h.multiplier::integer, h.digits::smallint, h.installed_at, coalesce(h.removed_at, 'infinity')
    from hung h
    left join channel c on c.meter_id = h.meter_id and (c.obis = any (h.takes) or c.obis = %(export)s)
    union all
    select h.feeder, h.metering_point_id, 0, {NOTHING}::smallint, h.multiplier::integer, h.digits::smallint,
           h.installed_at, coalesce(h.removed_at, 'infinity')
    from hung h where h.takes = '{{}}'
    order by 1, 2
"""  # noqa: S608 - put together from constants
LAYOUT = {
    "feeder": Field("T"), "point": Field("T"), "channel": Field("i4"), "counts": Field("i2"),
    "multiplier": Field("i4"), "digits": Field("i2"), "installed": Field("i8"), "removed": Field("i8"),
}  # fmt: skip
# Energy between two readings, through zero from the last tenth of a register's range; null if it fell otherwise, and
# where it is more than can be.
COUNTED = f"""
    case when least(s.value, e.value) < 0 then null
         when e.value >= s.value
         then case when e.value - s.value <= {ENERGY_WH_MAX} / multiplier then e.value - s.value end
         when s.value > 900 * (10::numeric ^ h.digits)::bigint
          and e.value - s.value + 1000 * (10::numeric ^ h.digits)::bigint <= {ENERGY_WH_MAX} / multiplier
         then e.value - s.value + 1000 * (10::numeric ^ h.digits)::bigint end
"""
# What each feeder's meters counted, import less export; how many registers are not known; how many points; how many
# meters have no register of import. An export register that is not read at all is no export.
SELECT_DELIVERED = f"""
    with hung as ({HUNG}),
    counted as (
        select h.feeder, h.metering_point_id, h.meter_id, h.multiplier, h.takes = '{{}}' as without,
               c.obis = %(export)s as export, s.value is not null or e.value is not null as read,
               {COUNTED} as energy
        from hung h
        left join channel c on c.meter_id = h.meter_id and (c.obis = any (h.takes) or c.obis = %(export)s)
        left join billing_reading s on s.channel_id = c.channel_id
          and s.measured_at = greatest(h.installed_at, %(from_at)s) and s.quality & {int(Quality.SUSPECT)} = 0
        left join billing_reading e on e.channel_id = c.channel_id
          and e.measured_at = least(coalesce(h.removed_at, %(to_at)s), %(to_at)s)
          and e.quality & {int(Quality.SUSPECT)} = 0
    )
    select feeder, coalesce(sum(energy * multiplier * case when export then -1 else 1 end), 0)::bigint,
           count(*) filter (where energy is null and (read or not export)),
           count(distinct metering_point_id), count(distinct meter_id) filter (where without)
    from counted group by feeder
"""  # noqa: S608 - put together from constants
# Transformers behind which a point of the selection is, with what they gave where it is known.
BEHIND = f"""
    exists (select from meter m join installation i using (meter_id) join metering_point p using (metering_point_id)
            where m.feeder = t.feeder and {SELECTION})
"""
SELECT_TRANSFORMERS = f"""
    with now as ({IN_FORCE})
    select t.transformer_id, t.feeder, t.meter_id, t.multiplier, c.channel_id, h.digits, {COUNTED} * t.multiplier
    from now t
    join meter h on h.meter_id = t.meter_id
    left join channel c on c.meter_id = t.meter_id and c.obis = %(total)s
    left join billing_reading s on s.channel_id = c.channel_id and s.measured_at = %(from_at)s
      and s.quality & {int(Quality.SUSPECT)} = 0
    left join billing_reading e on e.channel_id = c.channel_id and e.measured_at = %(to_at)s
      and e.quality & {int(Quality.SUSPECT)} = 0
    where (t.valid_to is null or t.valid_to >= %(last_on)s) and {BEHIND}
    order by t.transformer_id limit %(rows_max)s
"""  # noqa: S608 - put together from constants
# Of some transformers the meters without a register of import, the transformer's own among them.
SELECT_WITHOUT = f"""
    with now as (select * from ({IN_FORCE}) each where transformer_id = any (%(transformers)s::text[])),
    hung as ({_hung("array(select feeder from now)")})
    select t.transformer_id, t.meter_id, h.metering_point_id, h.meter_id
    from now t join hung h using (feeder) where h.takes = '{{}}'
    union
    select t.transformer_id, t.meter_id, null, t.meter_id from now t
    where not exists (select from channel c where c.meter_id = t.meter_id and c.obis = %(total)s)
    order by 1, 3 nulls first, 4 limit %(rows_max)s
"""  # noqa: S608 - put together from constants


class Fed(NamedTuple):
    """A transformer, the feeder that hangs on it, and its meter; ``channel`` is that meter's total, if it has one."""

    transformer: str
    feeder: str
    meter: str
    multiplier: int
    channel: int | None
    digits: int


class Hung(NamedTuple):
    """Registers of meters behind transformers, equally long columns; instants in microseconds since 2000 UTC."""

    feeder: NDArray[Any]
    point: NDArray[Any]
    channel: NDArray[np.int64]
    counts: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    digits: NDArray[np.int64]
    installed: NDArray[np.int64]
    removed: NDArray[np.int64]


def load_hung(connection: Connection[Any], asked: dict[str, Any]) -> Hung:
    """Return the registers of the meters that hung at these feeders' points from ``from_at`` to ``to_at``.

    A meter that was a transformer's own from ``first_on`` to ``last_on`` is none of them.
    """
    return Hung(**fetch_columns(connection, SELECT_HUNG, asked | REGISTERS_ASKED, LAYOUT))
