"""Energy by civil day from the registers at midnight, as the database keeps it in step with the readings.

A day is known if its register was read at both of its midnights, whatever is missing between them; so late, changed
and withdrawn readings show at once. A day on which the register went back (rolled over, exchanged, reset) has no
energy here: billing decides what that was.
"""

from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from ingest_server.api.chart import DRAWN
from ingest_server.api.queries import quality_names
from protocols.telemetry.reading import Quality

DAYS_MAX = 400  # a year and a month, to compare with the same month of the year before
COUNTS_SINCE_EVER = "8"  # value group D of registers, as in the trigger that keeps daily_register

SELECT_DAILY = """
    select channel_id, used_on, energy, quality
    from daily_energy
    where channel_id = any (%(channels)s) and used_on between %(first_on)s and %(last_on)s
"""


def load_daily(
    connection: Connection[Any], meter: str, channels: dict[str, dict[str, Any]], *, first_on: date, last_on: date
) -> dict[str, Any]:
    """Return the energy of each register and civil day, both days included."""
    registers = {obis: row for obis, row in channels.items() if obis.split(".")[3:4] == [COUNTS_SINCE_EVER]}
    ids = [row["channel_id"] for row in registers.values()]
    rows = connection.execute(SELECT_DAILY, {"channels": ids, "first_on": first_on, "last_on": last_on})
    found = {(channel, used_on): (energy, quality) for channel, used_on, energy, quality in rows}
    days = [first_on + timedelta(days=number) for number in range((last_on - first_on).days + 1)]
    return {
        "meter_id": meter,
        "from": first_on.isoformat(),
        "to": last_on.isoformat(),
        "quality_names": {str(flag.value): quality_names(flag)[0] for flag in Quality if flag.value},
        "series": [
            _series(obis, row["unit"], days, [found.get((row["channel_id"], day)) for day in days])
            for obis, row in registers.items()
        ],
    }


def _series(obis: str, unit: str, days: list[date], known: list[tuple[int | None, int] | None]) -> dict[str, Any]:
    energy = [None if each is None else each[0] for each in known]
    fell = [day for day, each in zip(days, known, strict=True) if each is not None and each[0] is None]
    return {
        "obis": obis,
        "direction": DRAWN.get(obis),
        "unit": unit,
        "energy": energy,
        "quality": [0 if each is None else each[1] for each in known],
        "went_back": [day.isoformat() for day in fell],
        "known_energy": sum(each for each in energy if each is not None),
    }
