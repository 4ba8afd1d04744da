"""Registers at the ends of a month, and at a change of price inside it, that nobody has read: proposals.

They come from the readings around them. An estimate at a change of price parts the month's energy in two that add up to
it to the Wh, for both are differences of the same register. A household that a person reads gets none there: billing
shares its energy by days (:mod:`ingest_server.billing.charging`), as the rules for it say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from psycopg import Connection

from billing_core.estimation.boundary import carried_on, spread_by_days
from billing_core.estimation.provenance import Method, Reason
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.columns import RATES, REGISTERS, TOTAL, MeterRegister
from ingest_server.billing.period import Period, midnight_of
from ingest_server.vee import queries
from ingest_server.vee.changes import Version
from ingest_server.vee.gather import Channel
from ingest_server.vee.terms_by_day import on_day, stretches_of
from protocols.telemetry.reading import Quality

LOOK_BACK_DAYS, LOOK_AHEAD_DAYS = 400, 62

# Which of the wanted registers count for billing at an instant already, or are proposed and not decided yet.
SELECT_THERE = """
    select channel_id, measured_at from billing_reading
    where channel_id = any (%(channels)s::integer[]) and measured_at = any (%(instants)s) and quality & 4 = 0
    union
    select v.channel_id, v.measured_at
    from reading_version v
    where v.channel_id = any (%(channels)s::integer[]) and v.measured_at = any (%(instants)s)
      and not exists (select from reading_change_act a where a.change_id = v.change_id)
"""
SELECT_READ_BY_HAND = f"""
    select channel_id from billing_reading
    where channel_id = any (%(channels)s::integer[]) and measured_at = %(end_at)s
      and quality & {int(Quality.MANUAL)} <> 0
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, slots=True)
class Missing:
    """A register that a bill needs at a midnight, and does not have."""

    channel: Channel
    day: date

    @property
    def at(self) -> datetime:
        """The midnight that begins the day."""
        return midnight_of(self.day)


def needed(channel: Channel) -> bool:
    """Return whether a bill rests on the register."""
    register = MeterRegister(channel.obis)
    if channel.generation:
        return register is MeterRegister.SG and channel.solar
    if register is MeterRegister.EXPORT:
        return channel.solar
    if register is MeterRegister.VC:
        return channel.contracted_kw > 0
    return (register in REGISTERS[RATES]) == channel.three_rates if channel.category else register is REGISTERS[TOTAL]


def _held(channel: Channel, period: Period) -> list[Channel]:
    """Return the channel with the terms of each stretch of the month."""
    return [each.channel for each in stretches_of(channel, (), period)]


def _held_at(channel: Channel, day: date, period: Period) -> list[Channel]:
    """Return the channel with the terms before a midnight of the month and after it."""
    around = (day - timedelta(days=1), day)
    return [on_day(channel, each)[0] for each in around if period.first_on <= each <= period.last_on]


@cache
def _tariffs() -> Tariffs:
    return load_tariffs()


def missing_at_ends(connection: Connection[Any], period: Period, channels: Iterable[Channel]) -> list[Missing]:
    """Return the registers that are missing or doubted where a bill needs them and their meter hung there.

    That is at both ends of the month, and at changes of price inside it.
    """
    changes = _tariffs().changes_within(period.first_on, period.last_on)
    billed = [channel for channel in channels if any(needed(each) for each in _held(channel, period))]
    by_hand: set[int] = set()
    if changes:
        parameters = {"channels": [each.channel_id for each in billed], "end_at": period.end_at}
        by_hand = {row[0] for row in connection.execute(SELECT_READ_BY_HAND, parameters)}
    wanted = [
        Missing(channel, day)
        for channel in billed
        for day in (period.first_on, *changes, period.last_on + timedelta(days=1))
        if channel.installed_at <= midnight_of(day)
        and (channel.removed_at is None or channel.removed_at >= midnight_of(day))
        and any(needed(each) for each in _held_at(channel, day, period))
        and not (day in changes and channel.category == "residential" and channel.channel_id in by_hand)
    ]
    ids = sorted({each.channel.channel_id for each in wanted})
    parameters = {"channels": ids, "instants": sorted({each.at for each in wanted})}
    there = set(connection.execute(SELECT_THERE, parameters).fetchall()) if ids else set()
    return [each for each in wanted if (each.channel.channel_id, each.at) not in there]


def estimates_of(connection: Connection[Any], missing: Sequence[Missing]) -> list[Version | None]:
    """Return an estimated reading of each register, none if nothing is known to lean on.

    Between two readings the energy is spread by days; after the last one a day takes what it took in the same days a
    year ago (E4), else in the three months before (E6), else in the last bill (E6).
    """
    if not missing:
        return []
    back, ahead = timedelta(days=LOOK_BACK_DAYS), timedelta(days=LOOK_AHEAD_DAYS)
    parameters = {
        "channels": [each.channel.channel_id for each in missing],
        "days": [each.day for each in missing],
        "not_before": [max(each.day - back, _installed_on(each.channel)) for each in missing],
        "not_after": [each.day + ahead for each in missing],
    }
    around = connection.execute(queries.SELECT_AROUND, parameters).fetchall()
    return [_estimate(each, row) for each, row in zip(missing, around, strict=True)]


def _estimate(missing: Missing, around: Sequence[Any]) -> Version | None:
    last_on, last, next_on, after, earlier_on, earlier, year_on, year, season_on, season = around
    if last_on is None:
        return None
    if next_on is not None and after >= last:
        value = spread_by_days(last, after, [(missing.day - last_on).days, (next_on - missing.day).days])[0]
        return _version(missing, int(value), Method.SPREAD_BY_DAYS, Reason.GAP)
    taken = []
    if season_on is not None:
        taken.append((Method.E4_LAST_YEAR, season - year, (season_on - year_on).days))
    if earlier_on is not None:
        taken.append((Method.E6_AVERAGE_DAY, last - earlier, (last_on - earlier_on).days))
    if missing.channel.obis == MeterRegister.SG.value:
        own = missing.channel.last_wh // missing.channel.multiplier
        taken.append((Method.E6_AVERAGE_DAY, own, missing.channel.last_days))
    made = carried_on(last, (missing.day - last_on).days, taken)
    return None if made is None else _version(missing, *made, Reason.OPEN_END)


def _installed_on(channel: Channel) -> date:
    return (channel.installed_at + timedelta(days=1)).date()


def _version(missing: Missing, value: int, method: Method, reason: Reason) -> Version:
    limit = 10**missing.channel.digits * 1_000
    return Version(missing.at, value % limit, int(Quality.ESTIMATED), int(method), int(reason))
