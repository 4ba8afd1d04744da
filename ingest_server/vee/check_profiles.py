"""Profiles of check meters, laid on the grid of the meters they stand beside: what E0 takes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.rounding import ENERGY_WH_MAX
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.period import instant_of, midnight_of, us_of
from ingest_server.database.binary_rows import Field, fetch_columns
from ingest_server.vee import queries
from protocols.telemetry.reading import Quality

if TYPE_CHECKING:
    from ingest_server.vee.gather import Channel, Profile

DAY_US = 86_400_000_000
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC
LAYOUT = {"channel": Field("i4"), "at": Field("i8"), "value": Field("i8"), "quality": Field("i2")}

SELECT_CHECK_CHANNELS = """
    select k.metering_point_id, c.channel_id, k.multiplier, k.valid_from, k.valid_to
    from (
        select distinct on (metering_point_id, valid_from) * from check_meter
        where metering_point_id = any (%(points)s::text[]) and valid_from <= %(last_on)s
        order by metering_point_id, valid_from, check_meter_id desc
    ) k
    join channel c on c.meter_id = k.meter_id and c.obis = %(total)s
    where k.valid_to is null or k.valid_to >= %(first_on)s
    order by k.valid_from
"""


def check_profile(
    connection: Connection[Any], profile: "Profile"
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Return what check meters counted in each slot, and where they did; none if no point has one.

    Energy has the check meter's multiplier applied. [Wh; channels × slots]
    """
    rows = _totals(profile.channels)
    last_on = profile.first_on + timedelta(days=profile.days)
    asked = {
        "points": sorted({profile.channels[row].point for row in rows}),
        "total": MeterRegister.SG.value,
        "first_on": profile.first_on,
        "last_on": last_on,
    }
    checks = connection.execute(SELECT_CHECK_CHANNELS, asked).fetchall() if rows else []
    if not checks:
        return None
    begin, instants = us_of(midnight_of(profile.first_on)), profile.index_wh.shape[1]
    window = {
        "channels": [row[1] for row in checks],
        "from_at": instant_of(begin),
        "to_at": instant_of(begin + profile.days * DAY_US),
    }
    stored = fetch_columns(connection, queries.SELECT_PROFILE_OF, window, LAYOUT)
    step = DAY_US // profile.slots_per_day
    slot, off = np.divmod(stored["at"] + POSTGRES_EPOCH_US - begin, step)
    believed = (off == 0) & ((stored["quality"] & int(Quality.SUSPECT)) == 0)
    energy = np.zeros((len(profile.channels), instants - 1), dtype=np.int64)
    valid = np.zeros(energy.shape, dtype=np.bool_)
    for point, channel, multiplier, valid_from, valid_to in checks:
        index, read = np.zeros(instants, dtype=np.int64), np.zeros(instants, dtype=np.bool_)
        mine = believed & (stored["channel"] == channel)
        index[slot[mine]], read[slot[mine]] = stored["value"][mine], True
        first = max(0, (valid_from - profile.first_on).days) * profile.slots_per_day
        read[:first] = False
        if valid_to is not None:
            read[max(0, (valid_to - profile.first_on).days + 1) * profile.slots_per_day + 1 :] = False
        counted = np.diff(index)
        known = read[1:] & read[:-1] & (counted >= 0) & (counted <= ENERGY_WH_MAX // multiplier)
        counted = np.where(known, counted, 0) * multiplier
        for row in rows:
            if profile.channels[row].point == point:
                energy[row, known], valid[row] = counted[known], valid[row] | known
    return energy, valid


def _totals(channels: Sequence["Channel"]) -> list[int]:
    return [row for row, each in enumerate(channels) if each.obis == MeterRegister.SG.value and not each.generation]
