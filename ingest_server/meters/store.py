"""What meters are, into the database and out of it: all of a file or nothing, and the same file twice changes nothing.

Rows are added, never changed: of rows with one key the one entered last counts.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

from psycopg import Connection, Cursor

from ingest_server.meters.file import CheckMeter, LogCode, MeterFile, Plate, Row, Transformer
from protocols.errors import UsageError

# Each takes the columns of its rows and who enters them, and passes over a row that counts already.
INSERT_PLATE = """
    insert into meter_plate (meter_id, valid_from, digits, multiplier, interval_min, voltage_v, current_max_a, phases,
                             class_e3, inverter_w, source, entered_by)
    select u.*, %s
    from unnest(%s::text[], %s::date[], %s::smallint[], %s::integer[], %s::smallint[], %s::integer[], %s::integer[],
                %s::smallint[], %s::integer[], %s::integer[], %s::text[])
        as u (meter_id, valid_from, digits, multiplier, interval_min, voltage_v, current_max_a, phases, class_e3,
              inverter_w, source)
    left join lateral (
        select * from meter_plate p where p.meter_id = u.meter_id and p.valid_from = u.valid_from
        order by p.plate_id desc limit 1
    ) now on true
    where (u.digits, u.multiplier, u.interval_min, u.voltage_v, u.current_max_a, u.phases, u.class_e3, u.inverter_w,
           u.source)
        is distinct from (now.digits, now.multiplier, now.interval_min, now.voltage_v, now.current_max_a, now.phases,
                          now.class_e3, now.inverter_w, now.source)
"""
INSERT_LOG_CODE = """
    insert into meter_log_code (model, code, status, source, entered_by)
    select u.*, %s
    from unnest(%s::text[], %s::integer[], %s::text[], %s::text[]) as u (model, code, status, source)
    left join lateral (
        select * from meter_log_code c where c.model = u.model and c.code = u.code order by log_code_id desc limit 1
    ) now on true
    where (u.status, u.source) is distinct from (now.status, now.source)
"""
INSERT_CHECK_METER = """
    insert into check_meter (metering_point_id, meter_id, valid_from, valid_to, multiplier, source, entered_by)
    select u.*, %s
    from unnest(%s::text[], %s::text[], %s::date[], %s::date[], %s::integer[], %s::text[])
        as u (metering_point_id, meter_id, valid_from, valid_to, multiplier, source)
    left join lateral (
        select * from check_meter c where c.metering_point_id = u.metering_point_id and c.valid_from = u.valid_from
        order by check_meter_id desc limit 1
    ) now on true
    where (u.meter_id, u.valid_to, u.multiplier, u.source)
        is distinct from (now.meter_id, now.valid_to, now.multiplier, now.source)
"""
INSERT_TRANSFORMER = """
    insert into transformer (transformer_id, feeder, meter_id, valid_from, valid_to, multiplier, source, entered_by)
    select u.*, %s
    from unnest(%s::text[], %s::text[], %s::text[], %s::date[], %s::date[], %s::integer[], %s::text[])
        as u (transformer_id, feeder, meter_id, valid_from, valid_to, multiplier, source)
    left join lateral (
        select * from transformer t where t.transformer_id = u.transformer_id and t.valid_from = u.valid_from
        order by row_id desc limit 1
    ) now on true
    where (u.feeder, u.meter_id, u.valid_to, u.multiplier, u.source)
        is distinct from (now.feeder, now.meter_id, now.valid_to, now.multiplier, now.source)
"""
SELECT_UNKNOWN: dict[str, LiteralString] = {
    "meter": "select m from unnest(%s::text[]) m where not exists (select from meter where meter_id = m)",
    "metering_point": """
        select p from unnest(%s::text[]) p
        where not exists (select from metering_point where metering_point_id = p)
    """,
}
SELECT_UNKNOWN_FEEDER = """
    select f from unnest(%s::text[]) f where not exists (select from meter where feeder = f)
"""
# Check meters that are the point's own.
SELECT_OWN = """
    select u.point, u.meter from unnest(%s::text[], %s::text[]) u (point, meter)
    join installation i on i.metering_point_id = u.point and i.meter_id = u.meter and i.removed_at is null
"""
# Two that look at the rows of others while they write their own would both find nothing.
LOCK_TRANSFORMERS = "lock table transformer in share row exclusive mode"
# Transformers with a feeder or a meter of another at the same time. A row holds until its last day, or until the next
# row of the same transformer begins.
SELECT_SHARED = """
    with newest as (
        select distinct on (transformer_id, valid_from) transformer_id, feeder, meter_id, valid_from, valid_to
        from transformer order by transformer_id, valid_from, row_id desc
    ), held as (
        select transformer_id, feeder, meter_id, valid_from,
               least(coalesce(valid_to, 'infinity'),
                     coalesce(lead(valid_from) over (partition by transformer_id order by valid_from) - 1, 'infinity')
               ) as until
        from newest
    )
    select mine.transformer_id, mine.valid_from, shared.what, shared.which,
           other.transformer_id, other.valid_from, nullif(other.until, 'infinity')
    from held mine
    cross join lateral (values ('feeder', mine.feeder), ('meter', mine.meter_id)) shared (what, which)
    join (
        select 'feeder' as what, feeder as which, held.* from held union all select 'meter', meter_id, held.* from held
    ) other using (what, which)
    where mine.transformer_id = any (%s::text[]) and other.transformer_id <> mine.transformer_id
      and other.valid_from <= mine.until and mine.valid_from <= other.until
    order by 1, 2, 5, 3 limit 1
"""
SELECT_PLATES = """
    select distinct on (meter_id, valid_from) meter_id, valid_from, digits, multiplier, interval_min, voltage_v,
           current_max_a, phases, class_e3, inverter_w, source, entered_by, entered_at
    from meter_plate where %(meter)s::text is null or meter_id = %(meter)s
    order by meter_id, valid_from, plate_id desc limit %(rows_max)s
"""
SELECT_LOG_CODES = """
    select distinct on (model, code) model, code, status, source, entered_by, entered_at
    from meter_log_code order by model, code, log_code_id desc limit %(rows_max)s
"""
SELECT_CHECK_METERS = """
    select distinct on (metering_point_id, valid_from) metering_point_id, meter_id, valid_from, valid_to, multiplier,
           source, entered_by, entered_at
    from check_meter where %(meter)s::text is null or meter_id = %(meter)s
    order by metering_point_id, valid_from, check_meter_id desc limit %(rows_max)s
"""
SELECT_TRANSFORMERS = """
    select distinct on (transformer_id, valid_from) transformer_id, feeder, meter_id, valid_from, valid_to, multiplier,
           source, entered_by, entered_at
    from transformer where %(meter)s::text is null or meter_id = %(meter)s
    order by transformer_id, valid_from, row_id desc limit %(rows_max)s
"""
ROWS_MAX = 1_000
COLUMNS: dict[str, tuple[str, ...]] = {
    "plate": (*Plate._fields, "entered_by", "entered_at"),
    "log_code": (*LogCode._fields, "entered_by", "entered_at"),
    "check_meter": (*CheckMeter._fields, "entered_by", "entered_at"),
    "transformer": (*Transformer._fields, "entered_by", "entered_at"),
}


def store_meters(connection: Connection[Any], file: MeterFile, actor: str) -> dict[str, tuple[int, int]]:
    """Store a file's rows; return per kind how many it gives and how many of them say something new.

    Raises
    ------
    UsageError
        If a row names a meter, point or feeder that is not registered, a check meter is the point's own, or two
        transformers have one feeder or one meter at the same time; then nothing is stored.
    """
    kinds: dict[str, tuple[LiteralString, Sequence[Row]]] = {
        "plate": (INSERT_PLATE, file.plates),
        "log_code": (INSERT_LOG_CODE, file.log_codes),
        "check_meter": (INSERT_CHECK_METER, file.check_meters),
        "transformer": (INSERT_TRANSFORMER, file.transformers),
    }
    stored = {}
    with connection.transaction(), connection.cursor() as cursor:
        for field, query in SELECT_UNKNOWN.items():
            named = {row: getattr(row, f"{field}_id") for row in file.places if hasattr(row, f"{field}_id")}
            unknown = {each[0] for each in cursor.execute(query, [list(named.values())])}
            for row, identifier in named.items():
                if identifier in unknown:
                    raise UsageError(
                        f"{file.places[row]}.{field}: {identifier!r} is not in the registry; correct it or load it "
                        "first with `congto registry load`"
                    )
        _refuse_own_as_check(cursor, file)
        if file.transformers:
            cursor.execute(LOCK_TRANSFORMERS)
        for kind, (query, rows) in kinds.items():
            if rows:
                cursor.execute(query, [actor, *(list(column) for column in zip(*rows, strict=True))])
            stored[kind] = (len(rows), cursor.rowcount if rows else 0)
        _refuse_shared(cursor, file)
    return stored


def _refuse_own_as_check(cursor: Cursor[Any], file: MeterFile) -> None:
    """Refuse a check meter that is the point's own: it would agree with itself."""
    named = {(row.metering_point_id, row.meter_id): row for row in file.check_meters}
    for point, meter in cursor.execute(SELECT_OWN, [[key[0] for key in named], [key[1] for key in named]]):
        raise UsageError(
            f"{file.places[named[point, meter]]}.meter: {meter!r} is the meter that {point} is billed by; expected a "
            "second one beside it: correct one of them"
        )


def _refuse_shared(cursor: Cursor[Any], file: MeterFile) -> None:
    """Refuse transformers of one feeder, or with one meter, at the same time: neither could be balanced."""
    feeders = {row.feeder: row for row in file.transformers}
    for (feeder,) in cursor.execute(SELECT_UNKNOWN_FEEDER, [list(feeders)]):
        raise UsageError(
            f"{file.places[feeders[feeder]]}.feeder: {feeder!r} is no meter's feeder in the registry; correct it, or "
            "load the meters that hang on it first with `congto registry load`"
        )
    found = cursor.execute(SELECT_SHARED, [[row.transformer_id for row in file.transformers]]).fetchone()
    if found is None:
        return
    name, valid_from, what, which, other, since, until = found
    mine = [row for row in file.transformers if row.transformer_id == name]
    row = next((each for each in mine if each.valid_from == valid_from), mine[0])
    span = f"from {since} on" if until is None else f"from {since} to {until}"
    raise UsageError(
        f"{file.places[row]}.{what}: {which!r} is that of transformer {other!r} {span}; expected one transformer a "
        f"{what}: give the other's last day (valid_to) or its own {what}, or enter both as one transformer"
    )


def check_meter_known(connection: Connection[Any], meter: str | None) -> None:
    """Refuse a meter that is not registered."""
    if meter is not None and connection.execute(SELECT_UNKNOWN["meter"], [[meter]]).fetchone() is not None:
        raise UsageError(f"METER: {meter!r} is not in the registry; see `congto registry show`")


def load_meters(connection: Connection[Any], meter: str | None) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that count, by kind; those of one meter if it is given (log codes are all told)."""
    queries: dict[str, LiteralString] = {
        "plate": SELECT_PLATES,
        "log_code": SELECT_LOG_CODES,
        "check_meter": SELECT_CHECK_METERS,
        "transformer": SELECT_TRANSFORMERS,
    }
    asked = {"meter": meter, "rows_max": ROWS_MAX}
    return {
        kind: [dict(zip(COLUMNS[kind], row, strict=True)) for row in connection.execute(query, asked)]
        for kind, query in queries.items()
    }


def plain(value: object) -> object:
    """Return a value as JSON has it."""
    return value.isoformat() if isinstance(value, date) else value
