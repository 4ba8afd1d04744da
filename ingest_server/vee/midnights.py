"""Registers at civil midnights, of many channels as arrays: as they were read there, or drawn between readings near by.

A midnight that was lost alone costs nothing: the half hours before and after it hold it between them. Such a figure
serves comparisons, and becomes nobody's reading.
"""

from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.rounding import ENERGY_WH_MAX
from ingest_server.billing.period import midnight_of, us_of
from ingest_server.database.binary_rows import Field, fetch_columns
from protocols.telemetry.reading import Quality

NEAR = timedelta(hours=6)  # on either side: a household takes little between eighteen and six that is not even
READ_PART = 2  # of the midnights that are wanted: a meter that is read less often is not read by the day
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC
SECOND_US = 1_000_000

SELECT_MIDNIGHTS = """
    select channel_id, taken_on - %(first_on)s::date, value from vee_midnight
    where channel_id = any (%(channels)s::integer[]) and taken_on between %(first_on)s and %(until_on)s
"""
SELECT_NEAR = f"""
    select channel_id, measured_at, value from reading
    where channel_id = any (%(channels)s::integer[]) and measured_at between %(from_at)s and %(to_at)s
      and quality & {int(Quality.SUSPECT)} = 0
"""  # noqa: S608 - put together from constants


class Midnights(NamedTuple):
    """What each channel showed at each midnight, and whether that is known. [Wh; channels × (days + 1)]"""

    index_wh: NDArray[np.int64]
    known: NDArray[np.bool_]


def load_midnights(
    connection: Connection[Any], channels: NDArray[np.int64], first_on: date, wanted: NDArray[np.bool_]
) -> Midnights:
    """Return the registers of channels at midnights from ``first_on`` on.

    Parameters
    ----------
    channels
        Ascending, each once.
    wanted
        At which midnights each is asked for. [channels × (days + 1)]
    """
    index = np.zeros(wanted.shape, dtype=np.int64)
    known = np.zeros(wanted.shape, dtype=np.bool_)
    if not channels.size:
        return Midnights(index, known)
    until_on = first_on + timedelta(days=wanted.shape[1] - 1)
    asked = {"channels": channels.tolist(), "first_on": first_on, "until_on": until_on}
    layout = {"channel": Field("i4"), "day": Field("i4"), "value": Field("i8")}
    rows = fetch_columns(connection, SELECT_MIDNIGHTS, asked, layout)
    cells = np.searchsorted(channels, rows["channel"]), rows["day"]
    index[cells], known[cells] = rows["value"], True
    known &= wanted
    daily = known.sum(axis=1) * READ_PART >= wanted.sum(axis=1)
    lost = wanted & ~known & daily[:, None]
    for day in np.flatnonzero(lost.any(axis=0)).tolist():
        places = np.flatnonzero(lost[:, day])
        drawn, there = _drawn(connection, channels[places], first_on + timedelta(days=day))
        index[places[there], day], known[places[there], day] = drawn[there], True
    return Midnights(index, known)


def _drawn(
    connection: Connection[Any], channels: NDArray[np.int64], day: date
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what a straight line between the nearest readings gives at a midnight, and where there are both. [Wh]"""
    at = midnight_of(day)
    asked = {"channels": channels.tolist(), "from_at": at - NEAR, "to_at": at + NEAR}
    layout = {"channel": Field("i4"), "at": Field("i8"), "value": Field("i8")}
    rows = fetch_columns(connection, SELECT_NEAR, asked, layout)
    value, there = np.zeros(channels.size, dtype=np.int64), np.zeros(channels.size, dtype=np.bool_)
    if not rows["channel"].size:
        return value, there
    order = np.lexsort((rows["at"], rows["channel"]))
    shown = rows["value"][order]
    seconds = (rows["at"][order] + POSTGRES_EPOCH_US - us_of(at)) // SECOND_US
    place = np.searchsorted(channels, rows["channel"][order])
    begin, end = np.searchsorted(place, np.arange(channels.size)), np.searchsorted(place, np.arange(channels.size) + 1)
    earlier = np.concatenate([[0], np.cumsum(seconds < 0)])
    after = begin + earlier[end] - earlier[begin]  # the first reading after the midnight
    there = (after > begin) & (after < end)
    old, new = (after - 1).clip(0), after.clip(max=seconds.size - 1)
    energy, span = shown[new] - shown[old], seconds[new] - seconds[old]
    there &= (energy >= 0) & (energy <= ENERGY_WH_MAX) & (span > 0)
    value = shown[old] + energy.clip(0, ENERGY_WH_MAX) * -seconds[old] // np.maximum(span, 1)
    return np.where(there, value, 0), there
