"""What the API reads about meters, readings and gateways. Every query is bounded by a page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from psycopg import Connection
from psycopg.rows import dict_row

from ingest_server.billing.documents import instant_text
from protocols.telemetry.reading import Quality

Row: TypeAlias = dict[str, Any]

MISSING_RANGES_MAX = 50  # of one spool generation; more would only say again that the link is bad
IMPORT = "1.0.1.8.0"  # the total import register, the one reading a list of meters shows

# The latest installation says where a meter hangs; a meter in the store has one with removed_at, or none.
SELECT_METERS = """
    select m.meter_id, m.gateway_id, m.model, m.serial, m.digits,
           i.metering_point_id, i.installed_at, i.removed_at, i.multiplier, c.customer_id, c.name as customer_name,
           ch.obis, ch.unit, r.measured_at, r.value, r.quality
    from meter m
    left join lateral (
        select * from installation where meter_id = m.meter_id order by installed_at desc limit 1
    ) i on true
    left join metering_point p on p.metering_point_id = i.metering_point_id
    left join customer c on c.customer_id = p.customer_id
    left join channel ch on ch.meter_id = m.meter_id and ch.obis = %(obis)s
    left join lateral (
        select measured_at, value, quality from reading
        where channel_id = ch.channel_id order by measured_at desc limit 1
    ) r on true
    where m.meter_id > %(after)s
      and (%(gateway)s::text is null or m.gateway_id = %(gateway)s)
      and (%(meter)s::text is null or m.meter_id = %(meter)s)
    order by m.meter_id
    limit %(rows_max)s
"""

SELECT_CHANNELS = """
    select ch.channel_id, ch.obis, ch.unit, r.measured_at, r.value, r.quality
    from channel ch
    left join lateral (
        select measured_at, value, quality from reading
        where channel_id = ch.channel_id order by measured_at desc limit 1
    ) r on true
    where ch.meter_id = %(meter)s
    order by ch.obis
"""

SELECT_INSTALLATIONS = """
    select metering_point_id, installed_at, removed_at, multiplier
    from installation where meter_id = %(meter)s order by installed_at
"""

# In the order of the primary key, so a page costs what it holds, however long the history is.
SELECT_READINGS = """
    select r.channel_id, r.measured_at, r.value, r.quality
    from reading r
    where r.channel_id = %(channel)s
      and r.measured_at >= %(from_at)s and r.measured_at < %(to_at)s and r.measured_at > %(after_at)s
    order by r.measured_at
    limit %(rows_max)s
"""

SELECT_GATEWAYS = """
    select g.gateway_id, g.registered_at, g.state, g.last_contact_at, g.status,
           (select count(*) from meter m where m.gateway_id = g.gateway_id) as meters
    from gateway g
    where g.gateway_id > %(after)s and (%(gateway)s::text is null or g.gateway_id = %(gateway)s)
    order by g.gateway_id
    limit %(rows_max)s
"""

# Batches are numbered from 1 without gaps: what lies between 1 and the newest and was not received is missing.
SELECT_SEQUENCES = """
    select s.gateway_id, s.generation, upper(s.received) - 1 as newest, s.updated_at,
           array(select array[lower(r), upper(r) - 1]
                 from unnest(int8multirange(int8range(1, upper(s.received))) - s.received) as r
                 limit %(ranges_max)s) as missing,
           (select coalesce(sum(upper(r) - lower(r)), 0)::bigint
            from unnest(int8multirange(int8range(1, upper(s.received))) - s.received) as r) as missing_count
    from gateway_sequence s
    where s.gateway_id = any (%(gateways)s) and not isempty(s.received)
    order by s.gateway_id, s.updated_at
"""


def select_meters(
    connection: Connection[Any],
    *,
    after: str = "",
    gateway: str | None = None,
    meter: str | None = None,
    rows_max: int = 1,
) -> list[Row]:
    """Return meters in order of their ids after ``after``, each with where it hangs and its last import reading."""
    parameters = {"after": after, "gateway": gateway, "meter": meter, "rows_max": rows_max, "obis": IMPORT}
    return [
        {
            **{name: row[name] for name in ("meter_id", "gateway_id", "model", "serial", "digits")},
            "installation": _installation(row),
            "customer": None
            if row["customer_id"] is None
            else {"customer_id": row["customer_id"], "name": row["customer_name"]},
            "last_reading": _last_reading(row),
        }
        for row in _rows(connection, SELECT_METERS, parameters)
    ]


def select_meter(connection: Connection[Any], meter: str) -> Row | None:
    """Return one meter with its channels and all its installations; none if there is no such meter."""
    found = select_meters(connection, meter=meter)
    if not found:
        return None
    channels = [
        {"obis": row["obis"], "unit": row["unit"], "last_reading": _last_reading(row)}
        for row in _rows(connection, SELECT_CHANNELS, {"meter": meter})
    ]
    installations = [_installation(row) for row in _rows(connection, SELECT_INSTALLATIONS, {"meter": meter})]
    return {**found[0], "channels": channels, "installations": installations}


def select_channels(connection: Connection[Any], meter: str) -> dict[str, Row]:
    """Return the channels of ``meter`` by OBIS code, in order of it; none at all if there is no such meter.

    The order is that of Python's texts, by which a cursor is compared, whatever the database's collation.
    """
    rows = _rows(connection, SELECT_CHANNELS, {"meter": meter})
    return {row["obis"]: row for row in sorted(rows, key=lambda row: str(row["obis"]))}


def select_readings(
    connection: Connection[Any],
    channel: Row,
    *,
    from_at: datetime,
    to_at: datetime,
    after_at: datetime,
    rows_max: int,
) -> list[Row]:
    """Return readings of one channel, of ``from_at`` <= instant < ``to_at``, after ``after_at``."""
    parameters = {
        "channel": channel["channel_id"],
        "from_at": from_at,
        "to_at": to_at,
        "after_at": after_at,
        "rows_max": rows_max,
    }
    return [
        {
            "obis": channel["obis"],
            "unit": channel["unit"],
            "measured_at": instant_text(row["measured_at"]),
            "value": row["value"],
            "quality": quality_names(row["quality"]),
        }
        for row in _rows(connection, SELECT_READINGS, parameters)
    ]


def select_gateways(
    connection: Connection[Any], *, after: str = "", gateway: str | None = None, rows_max: int = 1
) -> list[Row]:
    """Return gateways in order of their ids, with what is received and missing of each spool generation."""
    found = _rows(connection, SELECT_GATEWAYS, {"after": after, "gateway": gateway, "rows_max": rows_max})
    parameters = {"gateways": [row["gateway_id"] for row in found], "ranges_max": MISSING_RANGES_MAX}
    sequences: dict[str, list[Row]] = {}
    for row in _rows(connection, SELECT_SEQUENCES, parameters):
        missing = [{"first": first, "last": last} for first, last in row["missing"]]
        row = {**row, "missing": missing, "updated_at": instant_text(row["updated_at"])}  # noqa: PLW2901 - the same row
        sequences.setdefault(row.pop("gateway_id"), []).append(row)
    return [
        {
            **row,
            "registered_at": instant_text(row["registered_at"]),
            "last_contact_at": None if row["last_contact_at"] is None else instant_text(row["last_contact_at"]),
            "sequences": sequences.get(row["gateway_id"], []),
        }
        for row in found
    ]


def quality_names(quality: int) -> list[str]:
    """Return the names of the flags in ``quality``; none for an actual reading."""
    return [flag.name for flag in Quality if flag.name is not None and flag & quality]


def _installation(row: Row) -> Row | None:
    if row["metering_point_id"] is None:
        return None
    return {
        "metering_point_id": row["metering_point_id"],
        "installed_at": instant_text(row["installed_at"]),
        "removed_at": None if row["removed_at"] is None else instant_text(row["removed_at"]),
        "multiplier": row["multiplier"],
    }


def _last_reading(row: Row) -> Row | None:
    if row["measured_at"] is None:
        return None
    return {
        "obis": row["obis"],
        "unit": row["unit"],
        "measured_at": instant_text(row["measured_at"]),
        "value": row["value"],
        "quality": quality_names(row["quality"]),
    }


def _rows(connection: Connection[Any], query: Any, parameters: dict[str, Any]) -> Sequence[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()
