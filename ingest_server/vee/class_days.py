"""A day of a class: what meters of one class and register take on a day, and how it is spread over the hours (E7).

It is made of the complete and sound days of the meters that are read beside the one that has none of its own. No
database, no clock.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.catalogue import Severity
from billing_core.validation.series import Intervals
from billing_core.validation.validate import Validation
from ingest_server.vee.gather import Profile
from ingest_server.vee.month_rules import own_total, usual_daily_wh
from ingest_server.vee.terms_by_day import class_of

PEERS_LEAST = 5  # of fewer the mean is one household's habits
WEIGHT = 1_000_000  # of a meter's whole day


class ClassDays(NamedTuple):
    """Weights of the slots of a day, the energy of a day before the multiplier, and for which rows they are known.

    [rows × slots of a day; Wh, rows; rows]
    """

    weights: NDArray[np.int64]
    daily_wh: NDArray[np.int64]
    known: NDArray[np.bool_]


def class_days(profile: Profile, intervals: Intervals, result: Validation, rows: NDArray[np.int64]) -> ClassDays:
    """Return a day of the class of each of some rows; its energy is the customer's own where bills tell it."""
    channels = profile.channels
    keys = [(class_of(each.category), each.obis, each.generation) for each in channels]
    sound = (result.scan.missing == 0) & (result.verdict.severity < int(Severity.FAIL))
    days = sound.sum(axis=1)
    multiplier = np.array([each.multiplier for each in channels], dtype=np.int64)
    billed = np.where(own_total(channels), usual_daily_wh(channels), 0)
    shape = (rows.size, intervals.slots_per_day)
    weights, daily = np.zeros(shape, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
    known = np.zeros(rows.size, dtype=np.bool_)
    for key in {keys[row] for row in rows.tolist()}:
        mine = np.array([place for place, row in enumerate(rows.tolist()) if keys[row] == key])
        peers = np.array([row for row, each in enumerate(keys) if each == key and days[row]], dtype=np.int64)
        if peers.size < PEERS_LEAST:
            continue
        energy = intervals.energy_wh[peers].reshape(peers.size, intervals.days, -1)
        mean = np.einsum("md,mdh->mh", sound[peers].astype(np.int64), energy) / days[peers, None]
        whole = mean.sum(axis=1)
        spread = (mean[whole > 0] / whole[whole > 0, None]).mean(axis=0) if (whole > 0).any() else np.zeros(shape[1])
        weights[mine] = np.rint(spread * WEIGHT).astype(np.int64)
        usual = np.where(billed[rows[mine]] > 0, billed[rows[mine]], int(np.median(whole)))
        daily[mine] = usual // multiplier[rows[mine]]
        known[mine] = True
    return ClassDays(weights, daily, known)
