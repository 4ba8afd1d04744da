"""Which meters a class's day is made of (E7), and the days that a run made: once, and kept with the run.

Points are drawn by a hash of their names from all contracts of the month, class by class, those with three rates and
with panels apart. So the days depend neither on what the run is about nor on how it is cut into chunks.
"""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.period import Period
from ingest_server.database import connect
from ingest_server.vee.class_days import ClassDay, Kind, days_of_classes
from ingest_server.vee.gather import gather
from ingest_server.vee.terms_by_day import CLASSES, HOUSEHOLD, SHOP
from ingest_server.vee.validated import validated

DRAWN = 40  # points of a class, with or without three rates, with or without panels; with nine weeks each: 20 MB
CANDIDATES = 1_000  # of which so many have a profile, if one meter in twenty-five is read by the half hour
MIDDLE = timedelta(days=15, hours=12)  # of the month: a reading there is one of a profile
SNAPSHOT = "set transaction isolation level repeatable read, read only"
LOCK_CLASS = 0x76656563  # "veec": the first key of the lock of a run's days; the second is the run
LOCK_RUN = "select pg_advisory_xact_lock(%(class)s, %(run)s)"
# Candidates are drawn first, and of them those that have a profile: a reading in the middle of a day.
SELECT_DRAWN = """
    with held as (
        select distinct on (metering_point_id) metering_point_id, three_rates, solar_regime is not null as solar,
               case when category = any (%(household)s::text[]) then 0
                    when category = any (%(shop)s::text[]) then 1 else 2 end as class
        from contract
        where valid_from <= %(last_on)s and (valid_to is null or valid_to >= %(first_on)s)
        order by metering_point_id, valid_from desc
    ), candidate as (
        select *, row_number() over (
                      partition by class, three_rates, solar
                      order by md5(metering_point_id), metering_point_id) as place
        from held
    ), profiled as (
        select metering_point_id, row_number() over (partition by class, three_rates, solar order by place) as place
        from candidate where place <= %(candidates)s and exists (
            select from installation i join channel c using (meter_id)
            join reading r on r.channel_id = c.channel_id and r.measured_at = %(noon)s
            where i.metering_point_id = candidate.metering_point_id and i.installed_at < %(noon)s
              and (i.removed_at is null or i.removed_at > %(noon)s))
    )
    select metering_point_id, max(metering_point_id) over () from profiled where place <= %(drawn)s
"""
SELECT_DAYS = """
    select meter_class, obis, generation, slots_per_day, meters, daily_wh, weights from vee_class_day
    where vee_run_id = %(run)s
"""
SELECT_MADE = "select class_days_at is not null from vee_run where vee_run_id = %(run)s"
UPDATE_MADE = "update vee_run set class_days_at = clock_timestamp() where vee_run_id = %(run)s"
INSERT_DAY = "insert into vee_class_day values (%s, %s, %s, %s, %s, %s, %s, %s)"


def classes_of_run(dsn: str, run_id: int, period: Period) -> dict[Kind, ClassDay]:
    """Return the days of classes of a run; the first that asks makes them, others wait. None may be what was made."""
    asked = {"run": run_id}
    with connect(dsn) as connection:
        connection.execute(LOCK_RUN, {"class": LOCK_CLASS, "run": run_id % 2**31})
        if connection.execute(SELECT_MADE, asked).fetchone() == (True,):
            return {
                Kind(*row[:4]): ClassDay(row[4], row[5], tuple(row[6]))
                for row in connection.execute(SELECT_DAYS, asked)
            }
        with connect(dsn) as reader:
            reader.execute(SNAPSHOT)
            found = made_of_drawn(reader, period)
        for kind, day in found.items():
            connection.execute(INSERT_DAY, (run_id, *kind, day.meters, day.daily_wh, list(day.weights)))
        connection.execute(UPDATE_MADE, asked)
        connection.commit()
    return found


def made_of_drawn(connection: Connection[Any], period: Period) -> dict[Kind, ClassDay]:
    """Return the days of classes of a month, from the points that are drawn."""
    asked = {
        "first_on": period.first_on,
        "last_on": period.last_on,
        "noon": period.start_at + MIDDLE,
        "household": [name for name, code in CLASSES.items() if code == HOUSEHOLD],
        "shop": [name for name, code in CLASSES.items() if code == SHOP],
        "candidates": CANDIDATES,
        "drawn": DRAWN,
    }
    drawn = connection.execute(SELECT_DRAWN, asked).fetchall()
    if not drawn:
        return {}
    points = tuple(sorted(row[0] for row in drawn))
    gathered = gather(connection, period, Selection(points), Chunk("", drawn[0][1], len(points)))
    found: dict[Kind, ClassDay] = {}
    for profile in gathered.profiles:
        checked = validated(profile, period)
        found |= days_of_classes(checked.profile, checked.data.intervals, checked.result)
    return found
