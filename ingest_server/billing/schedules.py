"""Which schedule of the three rates each meter of a bill ran, day by day of its period."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from billing_core.explain_hours import Programmed, schedule_on
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.period import instant_of, midnight_of, us_of

HAS_SCHEDULES = "select to_regclass('meter_schedule') is not null"
SELECT_SCHEDULES = """
    select meter_id, civil_day(since_at), schedule from meter_schedule
    where meter_id = any (%(meters)s) and since_at < %(end_at)s order by meter_id, since_at
"""


def schedules_of(
    connection: Connection[Any], meters: Sequence[str], first_on: date, last_on: date
) -> dict[str, list[tuple[str, str | None]]]:
    """Return by meter the names of the schedules it ran, each with the day since when if that is within the period.

    A meter nobody said anything of ran the one that was in force.
    """
    tariffs = load_tariffs()
    usual = schedule_on(tariffs, last_on)
    found: dict[str, list[tuple[str, str | None]]] = {
        meter: [] if usual is None else [(usual.name, None)] for meter in meters
    }
    row = connection.execute(HAS_SCHEDULES).fetchone()
    if row is None or not row[0]:
        return found
    end_at = instant_of(us_of(midnight_of(last_on + timedelta(days=1))))
    known = {schedule.name for schedule in tariffs.schedules}
    for meter, since_on, name in connection.execute(SELECT_SCHEDULES, {"meters": list(meters), "end_at": end_at}):
        if name not in known:
            continue
        within = since_on > first_on
        found[meter] = [*(found[meter] if within else []), (name, since_on.isoformat() if within else None)]
    return found


def programmed(kept: dict[str, list[tuple[str, str | None]]]) -> list[Programmed]:
    """Return what :func:`schedules_of` found with the schedules themselves."""
    by_name = {schedule.name: schedule for schedule in load_tariffs().schedules}
    return [
        Programmed(by_name[name], meter, None if since is None else date.fromisoformat(since))
        for meter, own in kept.items()
        for name, since in own
        if name in by_name
    ]
