"""Which schedule of the three rates each meter runs, from when on; and which it ran in the period of a bill."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection

from billing_core.explain_hours import Programmed
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.period import civil_text, instant_of, midnight_of, us_of
from ingest_server.billing.profile_columns import Schedules

SELECT_SCHEDULES = """
    select meter_id, since_at, schedule from meter_schedule
    where meter_id = any (%(meters)s::text[]) and since_at < %(end_at)s
    order by meter_id, since_at
"""


def programmes_of(connection: Connection[Any], meters: Sequence[str], end_at: datetime) -> dict[str, Schedules]:
    """Return what each meter runs from when on, up to ``end_at``; until it is programmed the oldest schedule."""
    found: dict[str, Schedules] = dict.fromkeys(meters, ((0, load_tariffs().schedules[0].name),))
    for meter, since_at, name in connection.execute(SELECT_SCHEDULES, {"meters": list(meters), "end_at": end_at}):
        found[meter] = (*found[meter], (us_of(since_at), name))
    return found


def schedules_of(
    connection: Connection[Any],
    meters: Sequence[str],
    first_on: date,
    last_on: date,
    kept: Iterable[Mapping[str, Any]] = (),
) -> dict[str, list[tuple[str, str | None]]]:
    """Return by meter the names of the schedules it ran, each with the day since when if that is within the period.

    Parameters
    ----------
    kept
        The load profiles that the bill keeps. A meter that was billed by one was billed by the schedules that stand
        there, whatever has become known of it since.
    """
    end_at = midnight_of(last_on + timedelta(days=1))
    ran = programmes_of(connection, meters, end_at)
    ran |= {
        each["meter_id"]: tuple((us_of(datetime.fromisoformat(at)), name) for at, name in each["schedules"])
        for each in kept
        if each["meter_id"] in ran
    }
    return {meter: _within(own, first_on, us_of(end_at)) for meter, own in ran.items()}


def _within(changes: Schedules, first_on: date, end_us: int) -> list[tuple[str, str | None]]:
    """Return the schedules from the first day on, and the days of those that began after it."""
    found: list[tuple[str, str | None]] = []
    for us, name in changes:
        since_on = civil_text(instant_of(us), "%Y-%m-%d")
        if since_on <= first_on.isoformat():
            found = [(name, None)]
        elif us < end_us:
            found.append((name, since_on))
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
