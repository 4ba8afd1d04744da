"""A day of a class: what meters of one class and register take on a day, and how it is spread over the hours (E7).

It is made of the complete and sound days of meters that a run draws from the whole registry
(:mod:`ingest_server.vee.class_sample`). No database, no clock.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from billing_core.validation.catalogue import Severity
from billing_core.validation.series import Intervals
from billing_core.validation.validate import Validation
from ingest_server.vee.gather import Channel, Profile
from ingest_server.vee.month_rules import own_total, usual_daily_wh
from ingest_server.vee.terms_by_day import class_of

PEERS_LEAST = 5  # of fewer the mean is one household's habits
WEIGHT = 1_000_000  # of a meter's whole day


class Kind(NamedTuple):
    """Registers that share a day: those of one class, code and grid."""

    meter_class: int
    obis: str
    generation: bool
    slots_per_day: int


class ClassDay(NamedTuple):
    """Of how many meters it is, the middle one's usual day before bills [Wh], and the weights of the slots of a day."""

    meters: int
    daily_wh: int
    weights: tuple[int, ...]


Classes = Callable[[], Mapping[Kind, ClassDay]]  # what gives the days of classes; it is called where a row needs one


class ClassDays(NamedTuple):
    """Weights of the slots of a day, the energy of a day before the multiplier, and for which rows they are known.

    [rows × slots of a day; Wh, rows; rows]
    """

    weights: NDArray[np.int64]
    daily_wh: NDArray[np.int64]
    known: NDArray[np.bool_]


def kind_of(channel: Channel, slots_per_day: int) -> Kind:
    """Return with which registers a channel shares a day."""
    return Kind(class_of(channel.category), channel.obis, channel.generation, slots_per_day)


def days_of_classes(profile: Profile, intervals: Intervals, result: Validation) -> dict[Kind, ClassDay]:
    """Return the days of the classes of a profile's rows, from those that have a complete and sound day."""
    kinds = [kind_of(each, profile.slots_per_day) for each in profile.channels]
    sound = (result.scan.missing == 0) & (result.verdict.severity < int(Severity.FAIL))
    days = sound.sum(axis=1)
    found = {}
    for kind in dict.fromkeys(kinds):
        peers = np.array([row for row, each in enumerate(kinds) if each == kind and days[row]], dtype=np.int64)
        if not peers.size:
            continue
        energy = intervals.energy_wh[peers].reshape(peers.size, intervals.days, -1)
        mean = np.einsum("md,mdh->mh", sound[peers].astype(np.int64), energy) / days[peers, None]
        whole = mean.sum(axis=1)
        used = whole > 0
        spread = (mean[used] / whole[used, None]).mean(axis=0) if used.any() else np.zeros(profile.slots_per_day)
        weights = np.rint(spread * WEIGHT).astype(np.int64)
        found[kind] = ClassDay(int(peers.size), int(np.median(whole)), tuple(weights.tolist()))
    return found


def class_days(profile: Profile, rows: NDArray[np.int64], classes: Mapping[Kind, ClassDay]) -> ClassDays:
    """Return a day of the class of each of some rows; its energy is the customer's own where bills tell it."""
    channels = [profile.channels[row] for row in rows.tolist()]
    billed = np.where(own_total(channels), usual_daily_wh(channels), 0)
    weights = np.zeros((rows.size, profile.slots_per_day), dtype=np.int64)
    daily, known = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size, dtype=np.bool_)
    for place, channel in enumerate(channels):
        day = classes.get(kind_of(channel, profile.slots_per_day))
        if day is None or day.meters < PEERS_LEAST:
            continue
        weights[place] = day.weights
        daily[place] = (int(billed[place]) or day.daily_wh) // channel.multiplier
        known[place] = True
    return ClassDays(weights, daily, known)
