"""Gather: the registers of one chunk of metering points over a window of days, as arrays on a grid of instants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.estimation.provenance import Reason
from ingest_server.billing.approved import PUT_IN
from ingest_server.billing.columns import ENERGIES, REGISTERS
from ingest_server.billing.gather import Chunk, Selection
from ingest_server.billing.period import Period, midnight_of, us_of
from ingest_server.billing.queries import UNKNOWN_POINTS
from ingest_server.database.binary_rows import Field, fetch_columns
from ingest_server.vee import queries
from ingest_server.vee.check_profiles import check_profile
from ingest_server.vee.circumstances import Circumstances, gather_circumstances
from ingest_server.vee.last_year import last_year
from ingest_server.vee.settings import load_settings
from ingest_server.vee.terms_by_day import Setting
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality

STEPS_PER_DAY = (24, 48, 96, 144, 288)  # the coarsest first; see billing_core.validation.series
DAY_US = 86_400_000_000
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC, where PostgreSQL's binary timestamps begin
CHANNELS_SPREAD_MAX = 4  # a range of ids with more than so many others per wanted one is not worth reading through
FOREVER_US = 2**62
HOUR_US, MARK_US, MARKS = 3_600_000_000, 300_000_000, 12  # an hour has twelve marks of five minutes
ON_GRID_PERCENT = 95  # of a channel's readings: a stray one in between does not make a finer grid
PROFILE_PERCENT = 25  # of the instants of a grid: fewer readings are no profile
DAYS_BEFORE, DAYS_AFTER = 28, 7  # around a period: models of estimates and the usual week; what closes a gap at its end
DOUBTED = int(Quality.SUSPECT)


Cells: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


class Channel(NamedTuple):
    """A register of a meter at a point, between two instants, and what is known of its customer."""

    point: str
    channel_id: int
    obis: str
    multiplier: int
    digits: int
    installed_at: datetime
    removed_at: datetime | None
    category: str
    three_rates: bool
    solar: bool
    contracted_kw: int  # 0 where the contract names no power
    generation: bool  # what the panels make, not what is supplied
    last_wh: int  # energy and days of the last bill, 0 where there is none
    last_days: int
    year_wh: int  # of the bill of the same month last year
    year_days: int
    interval_min: int  # how often the registry expects a reading
    terms: str  # JSON: the contracts of the month, each [from, to, category, three rates, solar, contracted kW]


@dataclass(frozen=True, slots=True)
class Profile:
    """Channels that are read on one grid.

    Parameters
    ----------
    channels
        The rows.
    first_on
        The civil day that begins at instant 0.
    slots_per_day
        Of the grid.
    index_wh, quality, read
        What the registers showed, with what flags, and whether there is a reading that is not doubted; approved
        versions included. [channels × instants]
    overridden
        Where what is there was put in by people. [channels × instants]
    around
        What is known beside the readings.
    settings
        Parameters that somebody set.
    check_wh, check_valid
        What check meters counted, and where; none if no point has one. [Wh; channels × slots]
    last_year_wh, last_year_known
        What the registers counted in the same slots a year ago, before the multiplier, and where; none if no row has a
        gap that asks for it. [Wh; channels × slots]
    """

    channels: tuple[Channel, ...]
    first_on: date
    slots_per_day: int
    index_wh: NDArray[np.int64]
    quality: NDArray[np.int16]
    read: NDArray[np.bool_]
    overridden: NDArray[np.bool_]
    around: Circumstances
    settings: tuple[Setting, ...] = ()
    check_wh: NDArray[np.int64] | None = None
    check_valid: NDArray[np.bool_] | None = None
    last_year_wh: NDArray[np.int64] | None = None
    last_year_known: NDArray[np.bool_] | None = None

    @property
    def days(self) -> int:
        """How many days the window has."""
        return int(self.index_wh.shape[1] - 1) // self.slots_per_day

    @property
    def instants_us(self) -> NDArray[np.int64]:
        """The instants of the grid, in microseconds since 1970 UTC."""
        step = DAY_US // self.slots_per_day
        return us_of(midnight_of(self.first_on)) + np.arange(self.index_wh.shape[1], dtype=np.int64) * step

    def at_point(self) -> NDArray[np.bool_]:
        """Say which instants lie within the time that a row's meter hung at its point. [channels × instants]"""
        instants = self.instants_us
        first = np.array([us_of(each.installed_at) for each in self.channels], dtype=np.int64)
        last = [FOREVER_US if each.removed_at is None else us_of(each.removed_at) for each in self.channels]
        after = np.array(last, dtype=np.int64)
        return (instants >= first[:, None]) & (instants <= after[:, None])


@dataclass(frozen=True, slots=True)
class Gathered:
    """All channels of a chunk, and those among them that have a profile, by grid; how many rows were read.

    ``alone`` are those without a profile, and ``around`` what is known of them. ``settings`` are parameters that
    somebody set. ``acts`` is the newest decision on each channel's changes that the readings contain, 0 without one.
    """

    channels: tuple[Channel, ...]
    profiles: tuple[Profile, ...]
    rows: int
    alone: tuple[Channel, ...]
    around: Circumstances | None
    settings: tuple[Setting, ...] = ()
    acts: Mapping[int, int] = field(default_factory=dict)


def check_points(connection: Connection[Any], selection: Selection) -> None:
    """Refuse points that are not there: whoever mistypes one would be told that it has no case."""
    unknown = connection.execute(UNKNOWN_POINTS, selection.parameters).fetchall() if selection.points else []
    if unknown:
        names = ", ".join(repr(row[0]) for row in unknown)
        raise UsageError(f"--point: there is no metering point {names}; check the registry (congto registry show)")


def channels_of(connection: Connection[Any], period: Period, selection: Selection, chunk: Chunk) -> list[Channel]:
    """Return the billing registers of a chunk's meters, cut to the period."""
    parameters = selection.parameters | {
        "after": chunk.after,
        "upto": chunk.upto,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "first_on": period.first_on,
        "last_on": period.last_on,
        "obis": [each.value for each in REGISTERS[ENERGIES]],
    }
    return [Channel(*row) for row in connection.execute(queries.SELECT_CHANNELS, parameters)]


def gather(connection: Connection[Any], period: Period, selection: Selection, chunk: Chunk) -> Gathered:
    """Return a chunk's channels with their profiles over the period and the days around it.

    ``connection`` is in a repeatable read transaction: what is read and what was decided of it belong together.
    """
    channels = channels_of(connection, period, selection, chunk)
    if not channels:
        return Gathered((), (), 0, (), None)
    first_on = period.first_on - timedelta(days=DAYS_BEFORE)
    days = DAYS_BEFORE + period.days + DAYS_AFTER
    window = {"from_at": midnight_of(first_on), "to_at": midnight_of(first_on + timedelta(days=days))}
    ids = np.unique([each.channel_id for each in channels])
    stored = _rows(connection, ids, window)
    overlay = _overlay(connection, ids, window)
    around = gather_circumstances(connection, channels, period, first_on, days)
    settings = load_settings(connection, channels, period)
    profiles = tuple(
        _with_more(connection, replace(each, settings=settings))
        for each in _profiles(channels, stored, overlay, (first_on, days), around)
    )
    profiled = {each for profile in profiles for each in profile.channels}
    alone = [row for row, each in enumerate(channels) if each not in profiled]
    return Gathered(
        tuple(channels),
        profiles,
        len(stored["channel"]),
        tuple(channels[row] for row in alone),
        around.chosen(alone),
        settings,
        dict(connection.execute(queries.SELECT_ACTS, {"channels": ids.tolist()}).fetchall()),
    )


def _with_more(connection: Connection[Any], profile: Profile) -> Profile:
    """Add what estimates may lean on beside the profile: check meters, and the year before."""
    checks, before = check_profile(connection, profile), last_year(connection, profile)
    if checks is not None:
        profile = replace(profile, check_wh=checks[0], check_valid=checks[1])
    if before is not None:
        profile = replace(profile, last_year_wh=before[0], last_year_known=before[1])
    return profile


_LAYOUT = {"channel": Field("i4"), "at": Field("i8"), "value": Field("i8"), "quality": Field("i2")}


def _rows(connection: Connection[Any], ids: NDArray[np.int64], window: dict[str, Any]) -> dict[str, Any]:
    lowest, highest = int(ids[0]), int(ids[-1])
    if highest - lowest < CHANNELS_SPREAD_MAX * ids.size:
        parameters = window | {"lowest": lowest, "highest": highest}
        return fetch_columns(connection, queries.SELECT_PROFILE, parameters, _LAYOUT)
    return fetch_columns(connection, queries.SELECT_PROFILE_OF, window | {"channels": ids.tolist()}, _LAYOUT)


def _overlay(connection: Connection[Any], ids: NDArray[np.int64], window: dict[str, Any]) -> dict[str, Any]:
    layout = _LAYOUT | {"reason": Field("i2")}
    return fetch_columns(connection, queries.SELECT_OVERLAY, window | {"channels": ids.tolist()}, layout)


def _profiles(
    channels: Sequence[Channel],
    stored: dict[str, Any],
    overlay: dict[str, Any],
    window: tuple[date, int],
    around: Circumstances,
) -> list[Profile]:
    """Lay the readings on grids. A channel that hangs at two points in the window is two rows."""
    first_on, days = window
    ids = np.unique([each.channel_id for each in channels])
    start = us_of(midnight_of(first_on)) - POSTGRES_EPOCH_US
    place, known = _place_of(ids, stored["channel"])
    since = stored["at"] - start
    steps = _steps(ids.size, place[known], since[known], days)
    found = []
    for per_day in STEPS_PER_DAY:
        rows = [row for row, each in enumerate(channels) if steps[np.searchsorted(ids, each.channel_id)] == per_day]
        if not rows:
            continue
        mine = [channels[row] for row in rows]
        shape = (ids.size, days * per_day + 1)
        index = np.zeros(shape, dtype=np.int64)
        quality = np.zeros(shape, dtype=np.int16)
        read = np.zeros(shape, dtype=np.bool_)
        put_in = np.zeros(shape, dtype=np.bool_)
        step = DAY_US // per_day
        for source, over in ((stored, False), (overlay, True)):
            at_row, own = _place_of(ids, source["channel"])
            slot, off = np.divmod(source["at"] - start, step)
            keep = own & (off == 0) & (steps[at_row] == per_day)
            if over:  # an estimate gives way to the meter's own reading
                there = read[at_row.clip(max=ids.size - 1), slot.clip(0, shape[1] - 1)]
                keep &= ((source["quality"] & PUT_IN) != 0) | ~there
            cells = at_row[keep], slot[keep]
            index[cells], quality[cells] = source["value"][keep], source["quality"][keep]
            read[cells] = (source["quality"][keep] & DOUBTED) == 0
            put_in[cells] = over
            if over:
                _reopen(read, source["reason"][keep] == Reason.OPEN_END, cells)
        which = np.searchsorted(ids, [each.channel_id for each in mine])
        profile = Profile(
            tuple(mine),
            first_on,
            per_day,
            index[which],
            quality[which],
            read[which],
            put_in[which],
            around.chosen(rows),
        )
        found.append(profile)
    return found


def _reopen(read: NDArray[np.bool_], open_end: NDArray[np.bool_], cells: Cells) -> None:
    """Believe an estimate after the last reading no more, once there is a reading after it."""
    row, slot = (each[open_end] for each in cells)
    read[row, slot] = False
    last = read.shape[1] - 1 - read[:, ::-1].argmax(axis=1)
    read[row, slot] = last[row] < slot


def _place_of(ids: NDArray[np.int64], channel: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    place = np.searchsorted(ids, channel).clip(max=ids.size - 1)
    return place, ids[place] == channel


def _steps(count: int, place: NDArray[np.int64], since: NDArray[np.int64], days: int) -> NDArray[np.int64]:
    """Return the coarsest grid that nearly all readings of each channel lie on, 0 where they make no profile."""
    mark, off = np.divmod(since % HOUR_US, MARK_US)
    mark[off != 0] = MARKS
    counted = np.bincount(place * (MARKS + 1) + mark, minlength=count * (MARKS + 1)).reshape(count, MARKS + 1)
    total = counted.sum(axis=1)
    steps = np.zeros(count, dtype=np.int64)
    for per_day in reversed(STEPS_PER_DAY):
        on_grid = counted[:, : MARKS : MARKS * 24 // per_day].sum(axis=1)
        enough = on_grid * 100 >= PROFILE_PERCENT * days * per_day // 2
        steps = np.where((on_grid * 100 >= ON_GRID_PERCENT * total) & enough & (total > 0), per_day, steps)
    return steps
