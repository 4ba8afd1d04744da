"""Gather: what one chunk of metering points needs to be billed, read from one snapshot.

Chunks follow the order of the ids, so a run needs no list of a million points. Registers are looked up by channel and
instant, one query for each distinct instant (two for most chunks; each meter exchange adds its own), and come as binary
COPY straight into arrays. The text columns come as rows; that is no arithmetic, and good for some 100,000 points a
second.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from ingest_server.billing.columns import (
    MISSING,
    REGISTERS,
    Contract,
    Int64Array,
    IssuedBill,
    Parts,
    Points,
    PreviousBill,
    empty_registers,
)
from ingest_server.billing.documents import Amounts
from ingest_server.billing.period import Period, instant_of, midnight_of, us_of

# A point is billed if it has a contract on a day of the period, and looked at if only a meter hangs there: energy
# without a contract must be seen.
SELECT_POINTS = """
    select metering_point_id
    from metering_point p
    where metering_point_id > %(after)s
      and (%(wanted)s::text[] is null or metering_point_id = any (%(wanted)s))
      and (%(wanted)s::text[] is not null
           or exists (select from contract c
                      where c.metering_point_id = p.metering_point_id
                        and c.valid_from <= %(last_on)s and (c.valid_to is null or c.valid_to >= %(first_on)s))
           or exists (select from installation i
                      where i.metering_point_id = p.metering_point_id
                        and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)))
    order by metering_point_id
    limit %(points_max)s
"""

SELECT_CONTRACTS = """
    select metering_point_id, valid_from, valid_to, category, voltage, households, three_rates, solar_regime
    from contract
    where metering_point_id = any (%(points)s)
      and valid_from <= %(last_on)s and (valid_to is null or valid_to >= %(first_on)s)
    order by metering_point_id, valid_from
"""

SELECT_PARTS = """
    select p.row - 1, i.meter_id,
           (extract(epoch from greatest(i.installed_at, p.start_at)) * 1000000)::bigint,
           (extract(epoch from least(i.removed_at, p.end_at)) * 1000000)::bigint,
           i.multiplier, m.digits,
           coalesce(c.sg, -1), coalesce(c.bt, -1), coalesce(c.cd, -1), coalesce(c.td, -1), coalesce(c.export, -1)
    from unnest(%(points)s::text[], %(start_at)s::timestamptz[], %(end_at)s::timestamptz[])
         with ordinality as p (metering_point_id, start_at, end_at, row)
    join installation i
      on i.metering_point_id = p.metering_point_id
     and i.installed_at < p.end_at and (i.removed_at is null or i.removed_at > p.start_at)
    join meter m on m.meter_id = i.meter_id
    left join lateral (
        select max(channel_id) filter (where obis = '1.0.1.8.0') as sg,
               max(channel_id) filter (where obis = '1.0.1.8.1') as bt,
               max(channel_id) filter (where obis = '1.0.1.8.2') as cd,
               max(channel_id) filter (where obis = '1.0.1.8.3') as td,
               max(channel_id) filter (where obis = '1.0.2.8.0') as export
        from channel where channel.meter_id = i.meter_id
    ) c on true
    order by p.row, i.installed_at
"""

COPY_READINGS = """
    copy (select channel_id, value, quality from reading
          where measured_at = %(at)s and channel_id = any (%(channels)s::integer[]))
    to stdout (format binary)
"""

SELECT_CONFLICTS = """
    select c.channel_id, c.measured_at
    from reading_conflict c
    join reading r on r.channel_id = c.channel_id and r.measured_at = c.measured_at and r.value <> c.value
    where c.channel_id = any (%(channels)s) and c.measured_at = any (%(instants)s)
      and r.measured_at between %(first_at)s and %(last_at)s
"""

SELECT_ISSUED = """
    select distinct on (b.metering_point_id) b.metering_point_id, b.bill_id, b.inputs_hash, s.bill_id is not null,
           b.energy_wh, b.subtotal, b.vat, b.total, coalesce(s.energy_wh, 0), coalesce(s.amount, 0)
    from bill b left join solar_purchase s on s.bill_id = b.bill_id
    where b.metering_point_id = any (%(points)s) and b.period_from <= %(last_on)s and b.period_to >= %(first_on)s
    order by b.metering_point_id, b.version desc, b.period_to desc
"""

SELECT_PREVIOUS = """
    select distinct on (b.metering_point_id) b.metering_point_id, b.period_to, coalesce(s.carried_out_wh, 0)
    from bill b left join solar_purchase s on s.bill_id = b.bill_id
    where b.metering_point_id = any (%(points)s) and b.period_to < %(first_on)s
    order by b.metering_point_id, b.period_to desc, b.version desc
"""

# A row of COPY's binary format: a count of fields, then each field's length and octets, all big-endian (PostgreSQL
# documentation, COPY, "Binary Format"). The columns are not null and of fixed length, so all rows are alike.
READING_ROW = np.dtype(
    [
        *(("fields", ">i2"), ("length_1", ">i4"), ("channel", ">i4"), ("length_2", ">i4"), ("value", ">i8")),
        *(("length_3", ">i4"), ("quality", ">i2")),
    ]
)
COPY_HEADER_OCTETS, COPY_TRAILER_OCTETS = 19, 2


ONE_DAY = timedelta(days=1)


def gather(
    connection: Connection[Any], period: Period, *, after: str, wanted: Sequence[str] | None, points_max: int
) -> Points | None:
    """Return the next at most ``points_max`` points after the id ``after``, or none when there are no more.

    Parameters
    ----------
    connection
        In a repeatable read transaction, which makes all chunks of a run one picture.
    wanted
        Only these points; none means all that have a contract or a meter in the period.
    """
    span = {"first_on": period.first_on, "last_on": period.last_on}
    ids = [
        row[0]
        for row in connection.execute(
            SELECT_POINTS,
            {
                **span,
                "start_at": period.start_at,
                "end_at": period.end_at,
                "after": after,
                "wanted": None if wanted is None else list(wanted),
                "points_max": points_max,
            },
        )
    ]
    if not ids:
        return None
    contracts: dict[str, list[Contract]] = defaultdict(list)
    for point, *fields in connection.execute(SELECT_CONTRACTS, {**span, "points": ids}):
        contracts[point].append(Contract(**dict(zip(Contract.__slots__, fields, strict=True))))
    days = [_billed_days(period, contracts[point]) for point in ids]
    midnights = {day: midnight_of(day) for span in days for day in (span[0], span[1] + ONE_DAY)}
    starts = [midnights[first_on] for first_on, _ in days]
    ends = [midnights[last_on + ONE_DAY] for _, last_on in days]
    issued = {
        point: IssuedBill(
            bill_id=bill_id,
            inputs_hash=inputs_hash,
            purchase_made=purchase_made,
            amounts=Amounts(**dict(zip(Amounts.__slots__, amounts, strict=True))),
        )
        for point, bill_id, inputs_hash, purchase_made, *amounts in connection.execute(
            SELECT_ISSUED, {**span, "points": ids}
        )
    }
    previous = {
        point: PreviousBill(period_to=period_to, carried_out_wh=carried)
        for point, period_to, carried in connection.execute(SELECT_PREVIOUS, {**span, "points": ids})
    }
    return Points(
        metering_point_id=tuple(ids),
        contracts=tuple(tuple(contracts[point]) for point in ids),
        first_on=tuple(first_on for first_on, _ in days),
        last_on=tuple(last_on for _, last_on in days),
        start_us=np.array([us_of(at) for at in starts], dtype=np.int64),
        end_us=np.array([us_of(at) for at in ends], dtype=np.int64),
        issued=tuple(issued.get(point) for point in ids),
        previous=tuple(previous.get(point) for point in ids),
        parts=_gather_parts(connection, ids, starts, ends),
    )


def _billed_days(period: Period, contracts: Sequence[Contract]) -> tuple[date, date]:
    """Return the days one bill covers: the period, cut to its contract; several contracts will be held anyway."""
    if len(contracts) != 1:
        return period.first_on, period.last_on
    [contract] = contracts
    return max(period.first_on, contract.valid_from), min(period.last_on, contract.valid_to or period.last_on)


def _gather_parts(
    connection: Connection[Any], ids: list[str], starts: Sequence[datetime], ends: Sequence[datetime]
) -> Parts:
    rows = connection.execute(SELECT_PARTS, {"points": ids, "start_at": list(starts), "end_at": list(ends)}).fetchall()
    point, meter_id, *numbers = zip(*rows, strict=True) if rows else [()] * (6 + len(REGISTERS))
    start_us, end_us, multiplier, digits, *channels = (np.array(column, dtype=np.int64) for column in numbers)
    channel = np.stack(channels, axis=1)
    value, quality = _gather_readings(connection, channel, start_us, end_us)
    return Parts(
        point=np.array(point, dtype=np.int64),
        meter_id=tuple(meter_id),
        start_us=start_us,
        end_us=end_us,
        multiplier=multiplier,
        digits=digits,
        channel=channel,
        value=value,
        quality=quality,
        conflict=_gather_conflicts(connection, channel, start_us, end_us),
    )


def _gather_readings(
    connection: Connection[Any], channel: Int64Array, start_us: Int64Array, end_us: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return what the registers said at both ends of each part, and with what quality. [parts, registers, 2]"""
    value = empty_registers(len(channel), 2)
    quality = empty_registers(len(channel), 2, fill=MISSING)
    for side, us in enumerate((start_us, end_us)):
        instants, which = np.unique(us, return_inverse=True)
        for place, instant in enumerate(instants.tolist()):
            rows = np.flatnonzero(which == place)
            wanted = channel[rows]
            stored = _copy_readings(connection, instant_of(instant), np.unique(wanted[wanted != MISSING]))
            if not stored.size:
                continue
            order = np.argsort(stored["channel"])
            known = stored["channel"][order].astype(np.int64)
            found = np.minimum(np.searchsorted(known, wanted), stored.size - 1)
            hit = known[found] == wanted
            value[rows, :, side] = np.where(hit, stored["value"][order][found], 0)
            quality[rows, :, side] = np.where(hit, stored["quality"][order][found], MISSING)
    return value, quality


def _copy_readings(connection: Connection[Any], at: datetime, channels: Int64Array) -> NDArray[Any]:
    """Return what is stored for ``channels`` at exactly ``at``, as rows of :data:`READING_ROW`."""
    if not channels.size:
        return np.empty(0, READING_ROW)
    with connection.cursor().copy(COPY_READINGS, {"at": at, "channels": channels.tolist()}) as copy:
        octets = b"".join(copy)
    return np.frombuffer(octets[COPY_HEADER_OCTETS:-COPY_TRAILER_OCTETS], READING_ROW)


def _gather_conflicts(
    connection: Connection[Any], channel: Int64Array, start_us: Int64Array, end_us: Int64Array
) -> NDArray[np.bool_]:
    """Say of each reading whether another value was received for it too. [parts, registers, 2]"""
    conflict = empty_registers(len(channel), 2, fill=False, dtype=np.bool_)
    if not len(channel):
        return conflict
    instants = [instant_of(us) for us in np.unique(np.concatenate([start_us, end_us])).tolist()]
    parameters = {
        "channels": np.unique(channel).tolist(),
        "instants": instants,
        "first_at": instants[0],
        "last_at": instants[-1],
    }
    for channel_id, at in connection.execute(SELECT_CONFLICTS, parameters):
        for side, us in enumerate((start_us, end_us)):
            conflict[..., side] |= (channel == channel_id) & (us == us_of(at))[:, np.newaxis]
    return conflict
