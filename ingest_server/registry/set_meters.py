"""What people did to a meter that hangs: they set its registers back, or programmed other hours of its three rates."""

from datetime import datetime
from functools import cache
from typing import LiteralString, NamedTuple

from billing_core.tariff_files import load_tariffs
from protocols.errors import UsageError
from protocols.obis import Obis
from protocols.strict_toml import Table

VALUE_MAX = 10**15  # of a register, in its base unit: twelve digits of kWh
SOURCE_CHARACTERS_MAX = 500


class RegisterReset(NamedTuple):
    """What one register of a meter showed just before and just after it was set. [base unit of the OBIS code]"""

    meter_id: str
    reset_at: datetime
    obis: str
    before: int
    after: int
    source: str


class MeterSchedule(NamedTuple):
    """From when on a meter runs a schedule of the three rates."""

    meter_id: str
    since_at: datetime
    schedule: str
    source: str


UPSERT_RESET: LiteralString = """
    insert into register_reset (meter_id, reset_at, obis, before, after, source)
    select * from unnest(%s::text[], %s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::text[])
    on conflict (meter_id, reset_at, obis) do update
    set before = excluded.before, after = excluded.after, source = excluded.source, entered_at = clock_timestamp()
    where (register_reset.before, register_reset.after, register_reset.source)
        is distinct from (excluded.before, excluded.after, excluded.source)
"""
UPSERT_SCHEDULE: LiteralString = """
    insert into meter_schedule (meter_id, since_at, schedule, source)
    select * from unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[])
    on conflict (meter_id, since_at) do update
    set schedule = excluded.schedule, source = excluded.source, entered_at = clock_timestamp()
    where (meter_schedule.schedule, meter_schedule.source) is distinct from (excluded.schedule, excluded.source)
"""


def parse_resets(table: Table, meter_id: str, reset_at: datetime) -> list[RegisterReset]:
    """Return what ``[[register_reset]]`` says of each register; raise UsageError where it is wrong."""
    source = _source(table)
    before, after = table.table("before"), table.table("after", required=False)
    if not before.names():
        raise table.error("before", 'names no register; expected what each showed, like "1.0.1.8.0" = 51_234_000')
    for name in after.names():
        if name not in before:
            raise after.error(name, "is not among the registers of before; say there too what it showed")
    found = []
    for name in before.names():
        obis = _obis(before, name)
        was = before.integer(name, 0, VALUE_MAX)
        found.append(RegisterReset(meter_id, reset_at, obis, was, after.integer(name, 0, VALUE_MAX, default=0), source))
    return found


def parse_schedule(table: Table, meter_id: str, since_at: datetime) -> MeterSchedule:
    """Return what ``[[meter_schedule]]`` says; raise UsageError where it is wrong."""
    return MeterSchedule(meter_id, since_at, table.take("schedule", str, choices=_schedules()), _source(table))


def _source(table: Table) -> str:
    found = table.take("source", str).strip()
    if not found or len(found) > SOURCE_CHARACTERS_MAX:
        raise table.error(
            "source", f"expected 1 to {SOURCE_CHARACTERS_MAX} characters: the record of the work, its date"
        )
    return found


def _obis(table: Table, name: str) -> str:
    try:
        return str(Obis.parse(name))
    except UsageError as error:
        raise table.error(name, str(error)) from error


@cache
def _schedules() -> list[str]:
    return [each.name for each in load_tariffs().schedules]
