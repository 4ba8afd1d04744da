"""The registry's file into the database: all of it or nothing, and the same file twice changes nothing.

Rows are added or changed, never removed: readings and bills refer to them. What a file can't know alone is checked
here, after its rows are in and before they are committed: references to rows of the database, and periods that overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow

from ingest_server.registry.file import Registry, parse_registry
from ingest_server.registry.set_meters import UPSERT_RESET, UPSERT_SCHEDULE
from protocols.errors import UsageError

CHANGED_CHANNEL = "registry_changed"  # a running ingest listens to it and forgets what it knew of the registry

# Each takes the columns of all its rows at once; a statement a row took a hundred times as long.
UPSERT_GATEWAY = "insert into gateway (gateway_id) select * from unnest(%s::text[]) on conflict do nothing"
UPSERT_METER = """
    insert into meter (meter_id, gateway_id, model, serial, digits, interval_min, feeder)
    select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::smallint[], %s::smallint[], %s::text[])
    on conflict (meter_id) do update
    set gateway_id = excluded.gateway_id, model = excluded.model, serial = excluded.serial, digits = excluded.digits,
        interval_min = excluded.interval_min, feeder = excluded.feeder
    where (meter.gateway_id, meter.model, meter.serial, meter.digits, meter.interval_min, meter.feeder)
        is distinct from (excluded.gateway_id, excluded.model, excluded.serial, excluded.digits, excluded.interval_min,
            excluded.feeder)
"""
UPSERT_CHANNEL = """
    insert into channel (meter_id, obis, unit)
    select * from unnest(%s::text[], %s::text[], %s::text[])
    on conflict do nothing
"""
UPSERT_CUSTOMER = """
    insert into customer (customer_id, name, address)
    select * from unnest(%s::text[], %s::text[], %s::text[])
    on conflict (customer_id) do update set name = excluded.name, address = excluded.address
    where (customer.name, customer.address) is distinct from (excluded.name, excluded.address)
"""
UPSERT_READING_BOOK = """
    insert into reading_book (book_id, unit, reading_day, cycle, reader)
    select * from unnest(%s::text[], %s::text[], %s::smallint[], %s::text[], %s::text[])
    on conflict (book_id) do update
    set unit = excluded.unit, reading_day = excluded.reading_day, cycle = excluded.cycle, reader = excluded.reader
    where (reading_book.unit, reading_book.reading_day, reading_book.cycle, reading_book.reader)
        is distinct from (excluded.unit, excluded.reading_day, excluded.cycle, excluded.reader)
"""
# A point that names no book stays in the one it is in.
UPSERT_METERING_POINT = """
    insert into metering_point (metering_point_id, customer_id, book_id)
    select * from unnest(%s::text[], %s::text[], %s::text[])
    on conflict (metering_point_id) do update
    set customer_id = excluded.customer_id, book_id = coalesce(excluded.book_id, metering_point.book_id)
    where (metering_point.customer_id, metering_point.book_id)
        is distinct from (excluded.customer_id, coalesce(excluded.book_id, metering_point.book_id))
"""
UPSERT_INSTALLATION = """
    insert into installation (metering_point_id, installed_at, meter_id, removed_at, multiplier, role)
    select * from unnest(%s::text[], %s::timestamptz[], %s::text[], %s::timestamptz[], %s::integer[], %s::text[])
    on conflict (metering_point_id, installed_at, role) do update
    set meter_id = excluded.meter_id, removed_at = excluded.removed_at, multiplier = excluded.multiplier
    where (installation.meter_id, installation.removed_at, installation.multiplier)
        is distinct from (excluded.meter_id, excluded.removed_at, excluded.multiplier)
"""
# One that names no customer keeps its own; a new one is its point's, where that is not whose the point was first.
UPSERT_CONTRACT = """
    insert into contract (metering_point_id, valid_from, valid_to, category, voltage, households, three_rates,
        solar_regime, contracted_kw, tenants, undeclared_rental, refused_three_rates, two_component, uses, rate_plan,
        customer_id)
    select given.metering_point_id, given.valid_from, valid_to, category, voltage, households, three_rates,
        solar_regime, contracted_kw, tenants, undeclared_rental, refused_three_rates, two_component, uses, rate_plan,
        coalesce(given.customer_id, case
            when own.there then own.customer_id
            when p.first_customer_id is not null then p.customer_id
        end)
    from unnest(%s::text[], %s::date[], %s::date[], %s::text[], %s::text[], %s::integer[], %s::boolean[],
        %s::text[], %s::integer[], %s::integer[], %s::boolean[], %s::boolean[], %s::boolean[], %s::jsonb[], %s::text[],
        %s::text[])
        as given (metering_point_id, valid_from, valid_to, category, voltage, households, three_rates, solar_regime,
            contracted_kw, tenants, undeclared_rental, refused_three_rates, two_component, uses, rate_plan,
            customer_id)
    join metering_point p on p.metering_point_id = given.metering_point_id
    left join (select metering_point_id, valid_from, customer_id, true as there from contract) own
        on own.metering_point_id = given.metering_point_id and own.valid_from = given.valid_from
    on conflict (metering_point_id, valid_from) do update
    set valid_to = excluded.valid_to, category = excluded.category, voltage = excluded.voltage,
        households = excluded.households, three_rates = excluded.three_rates, solar_regime = excluded.solar_regime,
        contracted_kw = excluded.contracted_kw, tenants = excluded.tenants,
        undeclared_rental = excluded.undeclared_rental, refused_three_rates = excluded.refused_three_rates,
        two_component = excluded.two_component, uses = excluded.uses, rate_plan = excluded.rate_plan,
        customer_id = excluded.customer_id
    where (contract.valid_to, contract.category, contract.voltage, contract.households, contract.three_rates,
            contract.solar_regime, contract.contracted_kw, contract.tenants, contract.undeclared_rental,
            contract.refused_three_rates, contract.two_component, contract.uses, contract.rate_plan,
            contract.customer_id)
        is distinct from (excluded.valid_to, excluded.category, excluded.voltage, excluded.households,
            excluded.three_rates, excluded.solar_regime, excluded.contracted_kw, excluded.tenants,
            excluded.undeclared_rental, excluded.refused_three_rates, excluded.two_component, excluded.uses,
            excluded.rate_plan, excluded.customer_id)
"""
UPSERT_RATE_PLAN = """
    insert into rate_plan (name, effective_on, figures) select * from unnest(%s::text[], %s::date[], %s::jsonb[])
    on conflict (name, effective_on) do update set figures = excluded.figures
    where rate_plan.figures <> excluded.figures
"""
NOTIFY = f"notify {CHANGED_CHANNEL}"

SELECT_MISSING: dict[str, LiteralString] = {
    "gateway": "select g from unnest(%s::text[]) g where not exists (select from gateway where gateway_id = g)",
    "meter": "select m from unnest(%s::text[]) m where not exists (select from meter where meter_id = m)",
    "customer": "select c from unnest(%s::text[]) c where not exists (select from customer where customer_id = c)",
    "reading_book": "select b from unnest(%s::text[]) b where not exists (select from reading_book where book_id = b)",
    "metering_point": """
        select p from unnest(%s::text[]) p
        where not exists (select from metering_point where metering_point_id = p)
    """,
    "rate_plan": "select n from unnest(%s::text[]) n where not exists (select from rate_plan where name = n)",
}
KEYS = {"reading_book": "book"}  # what a reference to a table is called in the file, where it is not its name
# In the order of their beginnings it is enough to compare each period with the one before: one that reaches over the
# next but one reaches over the next as well. The later of two is the one to correct.
SELECT_OVERLAPPING_INSTALLATIONS = """
    with at_point as (
        select metering_point_id, installed_at, role, lag(metering_point_id) over w as other_point,
            lag(meter_id) over w as other_meter, lag(installed_at) over w as other_at,
            lag(removed_at) over w as other_end
        from installation
        where metering_point_id = any(%(points)s)
        window w as (partition by metering_point_id, role order by installed_at)
    ), of_meter as (
        select metering_point_id, installed_at, role, lag(metering_point_id) over w as other_point,
            lag(meter_id) over w as other_meter, lag(installed_at) over w as other_at,
            lag(removed_at) over w as other_end
        from installation
        where meter_id = any(%(meters)s)
        window w as (partition by meter_id order by installed_at, metering_point_id)
    )
    select * from (select * from at_point union all select * from of_meter) pairs
    where other_at is not null and (other_end is null or other_end > installed_at)
    limit 1
"""
SELECT_OVERLAPPING_CONTRACTS = """
    select * from (
        select metering_point_id, valid_from, lag(valid_from) over w as other_from, lag(valid_to) over w as other_to
        from contract
        where metering_point_id = any(%s)
        window w as (partition by metering_point_id order by valid_from)
    ) pairs
    where other_from is not null and (other_to is null or other_to >= valid_from)
    limit 1
"""
# Who is at a point now has its newest contract; else somebody moved in, and his bills would go on to who was before.
SELECT_CONTRACT_OF_ANOTHER = """
    select p.metering_point_id, p.customer_id, c.valid_from, whose.customer_id
    from metering_point p
    cross join lateral (
        select * from contract where contract.metering_point_id = p.metering_point_id order by valid_from desc limit 1
    ) c
    cross join lateral (select coalesce(c.customer_id, p.first_customer_id, p.customer_id)) whose (customer_id)
    where p.metering_point_id = any(%s) and whose.customer_id <> p.customer_id
    limit 1
"""


@dataclass(frozen=True, slots=True)
class RegistrySummary:
    """How many rows of each table a file held, and how many of them were new or changed."""

    given: dict[str, int]
    changed: dict[str, int]


def load_registry(connection: psycopg.Connection[TupleRow], text: str, name: str) -> RegistrySummary:
    """Store the registry written in ``text``, all or nothing, and commit; ``name`` is the file's name, for errors.

    Raises
    ------
    UsageError
        Naming file, key and cure, if the file is wrong in itself or does not fit what the database holds.
    """
    registry = parse_registry(text, name)
    tables: dict[str, tuple[LiteralString, Sequence[tuple[Any, ...]]]] = {
        "gateway": (UPSERT_GATEWAY, registry.gateways),
        "meter": (UPSERT_METER, registry.meters),
        "channel": (UPSERT_CHANNEL, registry.channels),
        "customer": (UPSERT_CUSTOMER, registry.customers),
        "reading_book": (UPSERT_READING_BOOK, registry.reading_books),
        "metering_point": (UPSERT_METERING_POINT, registry.metering_points),
        "installation": (UPSERT_INSTALLATION, registry.installations),
        "rate_plan": (UPSERT_RATE_PLAN, registry.rate_plans),
        "contract": (UPSERT_CONTRACT, registry.contracts),
        "register_reset": (UPSERT_RESET, registry.register_resets),
        "meter_schedule": (UPSERT_SCHEDULE, registry.meter_schedules),
    }
    changed = {}
    with connection.transaction(), connection.cursor() as cursor:
        for table, (upsert, rows) in tables.items():
            _check_references(cursor, registry, table)
            if rows:
                cursor.execute(upsert, [list(column) for column in zip(*rows, strict=True)])
            changed[table] = cursor.rowcount if rows else 0
        _check_overlaps(cursor, registry)
        _check_customers(cursor, registry)
        if any(changed.values()):
            cursor.execute(NOTIFY)
    connection.commit()
    return RegistrySummary({table: len(rows) for table, (_, rows) in tables.items()}, changed)


def _check_references(cursor: psycopg.Cursor[TupleRow], registry: Registry, table: str) -> None:
    """Refuse a row of ``table`` that refers to something neither in the file nor in the database."""
    references: dict[str, Sequence[tuple[str, str, tuple[object, ...]]]] = {
        "meter": [("gateway", each.gateway_id, ("meter", each.meter_id)) for each in registry.meters],
        "metering_point": [
            (target, identifier, ("metering_point", each.metering_point_id))
            for each in registry.metering_points
            for target, identifier in (("customer", each.customer_id), ("reading_book", each.book_id))
            if identifier is not None
        ],
        "installation": [
            reference
            for each in registry.installations
            for reference in (
                ("metering_point", each.metering_point_id, each.key),
                ("meter", each.meter_id, each.key),
            )
        ],
        "contract": [
            (target, identifier, ("contract", *each[:2]))
            for each in registry.contracts
            for target, identifier in (
                ("metering_point", each.metering_point_id),
                ("customer", each.customer_id),
                ("rate_plan", each.rate_plan),
            )
            if identifier is not None
        ],
        "register_reset": [
            ("meter", each.meter_id, ("register_reset", *each[:2])) for each in registry.register_resets
        ],
        "meter_schedule": [
            ("meter", each.meter_id, ("meter_schedule", *each[:2])) for each in registry.meter_schedules
        ],
    }
    for target, select in SELECT_MISSING.items():
        wanted = [reference for reference in references.get(table, ()) if reference[0] == target]
        if not wanted:
            continue
        missing = {row[0] for row in cursor.execute(select, [[identifier for _, identifier, _ in wanted]])}
        for _, identifier, holder in wanted:
            if identifier in missing:
                raise UsageError(
                    f"{registry.places[holder]}.{KEYS.get(target, target)}: {identifier!r} is neither in this file nor "
                    f"in the database; correct it or add a [[{target}]]"
                )


def _check_overlaps(cursor: psycopg.Cursor[TupleRow], registry: Registry) -> None:
    installed = {
        "points": list({each.metering_point_id for each in registry.installations}),
        "meters": list({each.meter_id for each in registry.installations}),
    }
    overlap = cursor.execute(SELECT_OVERLAPPING_INSTALLATIONS, installed).fetchone()
    if overlap:
        point, installed_at, role, other_point, meter, other_installed_at, other_removed_at = overlap
        place = registry.places.get(
            ("installation", point, installed_at, role), f"{registry.name}: installation of {point}"
        )
        raise UsageError(
            f"{place}.installed_at: {installed_at} lies within the installation of {meter} at {other_point} from "
            f"{other_installed_at} to {other_removed_at or 'now'}; give that one its removed_at first"
        )
    points = list({each.metering_point_id for each in registry.contracts})
    overlap = cursor.execute(SELECT_OVERLAPPING_CONTRACTS, [points]).fetchone()
    if overlap:
        point, valid_from, other_from, other_to = overlap
        place = registry.places.get(("contract", point, valid_from), f"{registry.name}: contract of {point}")
        raise UsageError(
            f"{place}.valid_from: {valid_from} lies within the contract from {other_from} to {other_to or 'now'}; "
            "give that one its valid_to first"
        )


def _check_customers(cursor: psycopg.Cursor[TupleRow], registry: Registry) -> None:
    """Refuse a point whose newest contract is another customer's than its own."""
    points = {each.metering_point_id for each in registry.metering_points}
    points |= {each.metering_point_id for each in registry.contracts}
    found = cursor.execute(SELECT_CONTRACT_OF_ANOTHER, [list(points)]).fetchone()
    if found:
        point, customer, valid_from, other = found
        keys = (("contract", point, valid_from), ("metering_point", point))
        place = next((registry.places[key] for key in keys if key in registry.places), f"{registry.name}: {point}")
        raise UsageError(
            f"{place}.customer: {point} is {customer}'s, but its newest contract, from {valid_from}, is {other}'s; end "
            f"that one with valid_to and add {customer}'s own, or name the right customer at both"
        )
