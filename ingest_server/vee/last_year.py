"""The same slots a year ago, of registers with a gap that is too long for like days: what E4 takes.

A year is 52 weeks, so that weekdays meet. The season's ratio is what the register took this year in the days around the
gap over what it took in the same days a year ago.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.estimation.like_days import LIKE_GAP_DAYS_MAX
from billing_core.estimation.profile import RegisterProfile, between, lone_misreadings
from billing_core.rounding import ENERGY_WH_MAX
from ingest_server.billing.period import instant_of, us_of
from ingest_server.database.binary_rows import Field, fetch_columns
from ingest_server.vee import queries
from protocols.telemetry.reading import Quality

if TYPE_CHECKING:
    from ingest_server.vee.gather import Profile

YEAR = timedelta(weeks=52)
RATIO_DAYS_LEAST = 7  # known in both years: of fewer the ratio is one party
RATIO_MOST_PERMILLE = 5_000  # a household that takes five times as much lives otherwise: last year is no model
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC
DAY_US = 86_400_000_000
LAYOUT = {"channel": Field("i4"), "at": Field("i8"), "value": Field("i8"), "quality": Field("i2")}


def last_year(connection: Connection[Any], profile: "Profile") -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Return what the registers counted a year ago, before the multiplier, and where that is known.

    None if no row has a long gap, or nothing was read then. A reading out of line with its neighbours does not count.
    [Wh; rows × slots]
    """
    rows = np.flatnonzero(_longest_gap(profile) > LIKE_GAP_DAYS_MAX * profile.slots_per_day)
    if not rows.size:
        return None
    begin = us_of(instant_of(int(profile.instants_us[0])) - YEAR)
    count, step = profile.index_wh.shape[1], DAY_US // profile.slots_per_day
    ids = np.unique([profile.channels[row].channel_id for row in rows.tolist()])
    window = {
        "channels": ids.tolist(),
        "from_at": instant_of(begin),
        "to_at": instant_of(begin + (count - 1) * step),
    }
    stored = fetch_columns(connection, queries.SELECT_PROFILE_OF, window, LAYOUT)
    slot, off = np.divmod(stored["at"] + POSTGRES_EPOCH_US - begin, step)
    kept = (off == 0) & ((stored["quality"] & int(Quality.SUSPECT)) == 0)
    if not kept.any():
        return None
    index, read = np.zeros((ids.size, count), dtype=np.int64), np.zeros((ids.size, count), dtype=np.bool_)
    cells = np.searchsorted(ids, stored["channel"][kept]), slot[kept]
    index[cells], read[cells] = stored["value"][kept], True
    digits = {each.channel_id: each.digits for each in profile.channels}
    range_wh = 10 ** np.array([digits[each] for each in ids.tolist()], dtype=np.int64) * 1_000
    read &= ~lone_misreadings(index, read)
    energy, missing = between(RegisterProfile(index, read, range_wh))
    usable = (energy >= 0) & (energy <= ENERGY_WH_MAX)
    shape = (len(profile.channels), count - 1)
    taken, known = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    place = np.searchsorted(ids, [profile.channels[row].channel_id for row in rows.tolist()])
    taken[rows], known[rows] = energy[place].clip(0, ENERGY_WH_MAX), (usable & ~missing)[place]
    return taken, known


def season_permille(
    now_wh: NDArray[np.int64],
    now_known: NDArray[np.bool_],
    then_wh: NDArray[np.int64],
    then_known: NDArray[np.bool_],
    slots_per_day: int,
) -> NDArray[np.int64]:
    """Return by what last year's energy is multiplied, −1 where too little is known of both years. [rows]"""
    both = now_known & then_known
    now, then = np.where(both, now_wh, 0).sum(axis=1), np.where(both, then_wh, 0).sum(axis=1)
    permille = now * 1_000 // np.maximum(then, 1)
    tells = (both.sum(axis=1) >= RATIO_DAYS_LEAST * slots_per_day) & (then > 0) & (permille <= RATIO_MOST_PERMILLE)
    return np.where(tells, permille, -1)


def _longest_gap(profile: "Profile") -> NDArray[np.int64]:
    """Return how many instants in a row each register was not read while its meter hung there. [rows]"""
    place = np.arange(profile.index_wh.shape[1], dtype=np.int64)
    latest = np.maximum.accumulate(np.where(profile.read | ~profile.at_point(), place, -1), axis=1)
    return np.asarray((place - latest).max(axis=1))
