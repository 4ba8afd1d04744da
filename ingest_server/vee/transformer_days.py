"""Days behind transformers: what each point took and gave, what the transformer gave, and whom V15 suspects.

A day's energy is the difference of its two midnights' registers. Behind any transformer some meter was not read or was
wrong on any day, so each counts with the figure that is believed of it (:mod:`billing_core.validation.believed`): a
midnight that was lost is drawn between the readings around it, several days share what the registers counted over them,
and a day that failed and is far from what is usual counts as the usual one. The day on which a meter was exchanged
counts with the usual day of each, for the part of it that each hung there. A meter that is not read by the day, or that
has no register for what it takes, is not known; of a feeder with such a meter those days take no part.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from billing_core.estimation.profile import RegisterProfile, between, lone_misreadings
from billing_core.rounding import ENERGY_WH_MAX
from billing_core.validation.balance import v15_balance
from billing_core.validation.believed import believed_of_registers
from billing_core.validation.catalogue import RULES, Grain, Severity
from billing_core.validation.finding import Finding
from ingest_server.billing.period import Period, midnight_of, us_of
from ingest_server.database.binary_rows import Field, fetch_columns
from ingest_server.vee.feeders import GIVES, NOTHING, TAKES, Fed, Hung, load_hung
from ingest_server.vee.midnights import POSTGRES_EPOCH_US, READ_PART, load_midnights

DAYS_BEFORE = 28
DAY_US = 86_400_000_000
UNIT_WH = 1_000  # digits of a register count kWh
FAILS_A_DAY = [rule.id for rule in RULES.values() if rule.grain is Grain.DAY and rule.severity >= Severity.WARN]

# Days of the window that newest judgements of its months failed; a rule that warns may fail a day (V22).
SELECT_FAILED = f"""
    select f.channel_id, f.found_on - %(first_on)s::date
    from (
        select distinct on (j.channel_id, j.metering_point_id, j.period_from) j.channel_id, j.judgement_id
        from vee_judgement j
        where j.channel_id = any (%(channels)s::integer[])
          and j.period_from between date_trunc('month', %(first_on)s::date)::date and %(until_on)s
        order by j.channel_id, j.metering_point_id, j.period_from, j.version desc
    ) newest
    cross join lateral (
        select newest.channel_id, found_on from vee_finding
        where judgement_id = newest.judgement_id and severity >= {int(Severity.FAIL)}
          and rule = any (%(rules)s::text[]) and found_on >= %(first_on)s and found_on < %(until_on)s
    ) f
"""  # noqa: S608 - put together from constants


class Suspect(NamedTuple):
    """A point that its transformer contradicts, and on which days of the month; numbers as the rule tells them."""

    point: str
    first_on: date
    last_on: date
    evidence: Mapping[str, float]


class Window(NamedTuple):
    """Civil days in a row."""

    first_on: date
    days: int

    @property
    def until_on(self) -> date:
        """The day after the last."""
        return self.first_on + timedelta(days=self.days)

    @property
    def midnights_us(self) -> NDArray[np.int64]:
        """The midnights from its begin to its end, in microseconds since 2000 UTC. [days + 1]"""
        begin = us_of(midnight_of(self.first_on)) - POSTGRES_EPOCH_US
        return begin + np.arange(self.days + 1, dtype=np.int64) * DAY_US


class Taken(NamedTuple):
    """What each point behind each feeder took and gave a day, and where that is known. [Wh; points × days]"""

    feeder: NDArray[Any]
    point: NDArray[Any]
    taken_wh: NDArray[np.int64]
    given_wh: NDArray[np.int64]
    known: NDArray[np.bool_]


def suspects_of(connection: Connection[Any], fed: Sequence[Fed], period: Period) -> dict[str, list[Suspect]]:
    """Return whom V15 suspects behind each transformer in a month, by the transformer's name."""
    if not fed:
        return {}
    window = Window(period.first_on - timedelta(days=DAYS_BEFORE), DAYS_BEFORE + period.days)
    asked = {
        "feeders": sorted({each.feeder for each in fed}),
        "first_on": period.first_on,
        "last_on": period.last_on,
        "from_at": midnight_of(window.first_on),
        "to_at": midnight_of(window.until_on),
    }
    taken = taken_by_day(connection, load_hung(connection, asked), window)
    supplied_wh, supplied = _supplied(connection, fed, window)
    rows = {each.feeder: row for row, each in enumerate(fed)}
    behind = np.array([rows[feeder] for feeder in taken.feeder.tolist()], dtype=np.int64)
    finding = v15_balance(
        taken.taken_wh, taken.given_wh, taken.known, transformer=behind, supplied_wh=supplied_wh, supplied=supplied
    )
    found: dict[str, list[Suspect]] = {}
    for row, suspect in _suspects(finding, taken, window):
        found.setdefault(fed[behind[row]].transformer, []).append(suspect)
    return found


def _suspects(finding: Finding, taken: Taken, window: Window) -> Iterator[tuple[int, Suspect]]:
    for row in np.flatnonzero(finding.mask[:, DAYS_BEFORE:].any(axis=1)).tolist():
        days = DAYS_BEFORE + np.flatnonzero(finding.mask[row, DAYS_BEFORE:])
        first, last = int(days[0]), int(days[-1])
        missed = int(finding.evidence["unaccounted_wh"][row, days].sum())
        evidence = finding.at(row, first) | {"unaccounted_wh": missed}
        span = [window.first_on + timedelta(days=day) for day in (first, last)]
        yield row, Suspect(str(taken.point[row]), span[0], span[1], evidence)


def taken_by_day(connection: Connection[Any], hung: Hung, window: Window) -> Taken:
    """Return what each point took and gave on each day, as far as it is believed."""
    midnights = window.midnights_us
    reads = hung.counts != NOTHING
    hangs = (hung.installed[:, None] <= midnights) & (hung.removed[:, None] >= midnights) & reads[:, None]
    begin = np.maximum(hung.installed[:, None], midnights[:-1])
    share = (np.minimum(hung.removed[:, None], midnights[1:]) - begin).clip(0) / DAY_US
    channels, place = np.unique(hung.channel, return_inverse=True)
    wanted = np.zeros((channels.size, midnights.size), dtype=np.bool_)
    np.logical_or.at(wanted, place, hangs)
    shown = load_midnights(connection, channels, window.first_on, wanted)
    index, read = shown.index_wh[place], shown.known[place] & hangs
    read &= ~lone_misreadings(index, read)
    failed = _failed(connection, channels, window)[place]
    figure, told = believed_of_registers(index, read, 10**hung.digits * UNIT_WH, failed)
    whole_days = (share == 1).sum(axis=1)
    told &= (read[:, 1:] & read[:, :-1]).sum(axis=1) * READ_PART >= whole_days
    told &= (figure <= ENERGY_WH_MAX // hung.multiplier[:, None]).all(axis=1)
    energy = np.where(told[:, None], np.rint(figure * share).astype(np.int64) * hung.multiplier[:, None], 0)
    names = np.array(
        [f"{feeder}\n{point}" for feeder, point in zip(hung.feeder, hung.point, strict=True)], dtype=object
    )
    points, row = np.unique(names, return_inverse=True)
    taken, given = np.zeros((2, points.size, window.days), dtype=np.int64)
    dark = np.zeros(taken.shape, dtype=np.bool_)
    for counts, into in ((TAKES, taken), (GIVES, given)):
        mine = hung.counts == counts
        np.add.at(into, row[mine], energy[mine])
    dead = ~told & ((hung.counts != GIVES) | read.any(axis=1))  # an export register that is never read is no export
    np.logical_or.at(dark, row[dead], share[dead] > 0)
    parts = [name.split("\n") for name in points.tolist()]
    feeder, point = (np.array([part[side] for part in parts], dtype=object) for side in (0, 1))
    return Taken(feeder, point, taken, given, ~dark)


def _failed(connection: Connection[Any], channels: NDArray[np.int64], window: Window) -> NDArray[np.bool_]:
    """Return the days that validation failed, of the months that are judged. [channels × days]"""
    failed = np.zeros((channels.size, window.days), dtype=np.bool_)
    asked = {
        "channels": channels.tolist(),
        "first_on": window.first_on,
        "until_on": window.until_on,
        "rules": FAILS_A_DAY,
    }
    rows = fetch_columns(connection, SELECT_FAILED, asked, {"channel": Field("i4"), "day": Field("i4")})
    failed[np.searchsorted(channels, rows["channel"]), rows["day"]] = True
    return failed


def _supplied(
    connection: Connection[Any], fed: Sequence[Fed], window: Window
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what transformers gave a day, and where both midnights are known. [Wh; transformers × days]"""
    own = np.array([0 if each.channel is None else each.channel for each in fed], dtype=np.int64)
    channels, place = np.unique(own, return_inverse=True)
    wanted = np.broadcast_to((channels > 0)[:, None], (channels.size, window.days + 1))
    shown = load_midnights(connection, channels, window.first_on, wanted)
    index, read = shown.index_wh[place], shown.known[place]
    read &= ~lone_misreadings(index, read)
    digits = np.array([each.digits for each in fed], dtype=np.int64)
    multiplier = np.array([each.multiplier for each in fed], dtype=np.int64)
    energy, missing = between(RegisterProfile(index, read, 10**digits * UNIT_WH))
    known = ~missing & (energy >= 0) & (energy <= ENERGY_WH_MAX // multiplier[:, None])
    return np.where(known, energy * multiplier[:, None], 0), known
