"""True-up: readings that were estimated because nothing came, once a reading comes after them.

The energy between the two readings is known now, and the months in between share it by their days. That is a change of
readings like any other, which another person approves; then the issued bills of those months differ, and each gets a
difference in its own month and at its prices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg import Connection

from billing_core.estimation.boundary import spread_by_days
from billing_core.estimation.provenance import Method, Reason
from billing_core.tariff_files import load_tariffs
from billing_core.validation.sum_check import ROLLOVER_TENTHS
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION
from ingest_server.billing.run import Plan, run_billing
from ingest_server.database import connect
from ingest_server.database.connection import translated
from ingest_server.vee.changes import Change, Kind, Version, propose
from ingest_server.vee.gather import check_points
from protocols.telemetry.reading import Quality

# Approved estimates at the beginning of a month, at an end of a bill or at a change of price, that the meter's own
# reading has not come for, and none are proposed.
SELECT_OPEN = f"""
    select c.metering_point_id, o.channel_id, m.digits, o.measured_at, o.value
    from reading_overlay o
    join reading_change c using (change_id)
    join metering_point using (metering_point_id)
    join channel h on h.channel_id = o.channel_id
    join meter m using (meter_id)
    where o.reason = {int(Reason.OPEN_END)} and civil_midnight(o.measured_at)
      and (extract(day from civil_day(o.measured_at)) = 1 or civil_day(o.measured_at) = any (%(price_changes)s::date[])
           or exists (select from bill b where b.metering_point_id = c.metering_point_id
                        and civil_day(o.measured_at) in (b.period_from, b.period_to + 1)))
      and {SELECTION}
      and not exists (select from reading r where r.channel_id = o.channel_id and r.measured_at = o.measured_at)
      and not exists (
            select from reading_version v join reading_change w on w.change_id = v.change_id and w.kind = 'true_up'
            where v.channel_id = o.channel_id and v.measured_at = o.measured_at
              and not exists (select from reading_change_act a where a.change_id = v.change_id))
    order by o.channel_id, o.measured_at
"""  # noqa: S608 - put together from constants
SELECT_AROUND = """
    (select measured_at, value from billing_reading
     where channel_id = %(channel)s and measured_at < %(at)s and quality & 20 = 0 order by measured_at desc limit 1)
    union all
    (select measured_at, value from billing_reading
     where channel_id = %(channel)s and measured_at > %(at)s and quality & 20 = 0 order by measured_at limit 1)
"""
# Months of issued bills that rest on readings trued up after the bill and its differences were made.
SELECT_TO_CORRECT = f"""
    select distinct r.period_from, r.period_to, r.nominal_days, r.closes_year, b.metering_point_id
    from reading_change c
    join reading_change_act a on a.change_id = c.change_id and a.act = 'approve' and c.kind = 'true_up'
    join reading_version v on v.change_id = c.change_id
    join bill b on b.metering_point_id = c.metering_point_id
     and civil_day(v.measured_at) between b.period_from and b.period_to + 1
     and b.period_from between %(first_on)s and %(last_on)s
     and exists (select from ledger_entry e where e.bill_id = b.bill_id)
     and not exists (select from bill_act t where t.bill_id = b.bill_id and t.act = 'cancel')
    join billing_run r on r.run_id = b.run_id
    where c.metering_point_id in (select metering_point_id from metering_point where {SELECTION})
      and not exists (
            select from bill_difference d where d.bill_id = b.bill_id and d.made_at > a.acted_at
              and not exists (select from back_billing k where k.difference_id = d.difference_id))
    order by 1, 2, 3, 4, 5
"""  # noqa: S608 - put together from constants


class Corrected(NamedTuple):
    """A month whose issued bills got differences proposed: how many, and by how much in all. [đ]"""

    period: Period
    proposed: int
    difference: int


@dataclass(frozen=True, slots=True)
class TrueUp:
    """What was proposed: changes of readings that wait for approval, and differences for those approved before.

    ``still_open`` are estimates after which no reading has come yet.
    """

    changes: tuple[int, ...]
    corrected: tuple[Corrected, ...]
    still_open: int


class _Open(NamedTuple):
    point: str
    channel_id: int
    digits: int
    at: datetime
    value: int


def true_up(
    dsn: str,
    selection: Selection,
    *,
    made_by: str,
    why: str,
    now: datetime,
    rule_set: str,
    period: Period | None = None,
) -> TrueUp:
    """Propose what is due: first the readings, and once these are approved the differences of issued bills.

    Parameters
    ----------
    period
        Only estimates at its ends or inside it, and only its bills; None: all months. Estimates of other months between
        the same two readings come along: they share one energy, and one cannot be right without the others.
    """
    about = selection.parameters | {
        "price_changes": [act.effective_on for act in load_tariffs().acts],
        "first_on": date.min if period is None else period.first_on,
        "last_on": date.max if period is None else period.last_on,
    }
    with translated(), connect(dsn) as connection:
        connection.autocommit = True
        check_points(connection, selection)
        found = [_Open(*row) for row in connection.execute(SELECT_OPEN, about)]
        changes, still_open = [], 0
        for _, estimates in groupby(found, key=lambda each: each.channel_id):
            for between in _between(connection, list(estimates)):
                if not _concerns(between, period):
                    continue
                if len(between.around) < 2:
                    still_open += len(between.estimates)
                    continue
                versions = _spread(between)
                first = between.estimates[0]
                change = Change(
                    point=first.point,
                    channel_id=first.channel_id,
                    kind=Kind.TRUE_UP,
                    made_by=made_by,
                    made_at=now,
                    why=why,
                    rule_set=rule_set,
                    versions=versions,
                )
                changes.append(propose(connection, change))
        months = connection.execute(SELECT_TO_CORRECT, about).fetchall()
    corrected = []
    for days, rows in groupby(months, key=itemgetter(0, 1, 2, 3)):
        period = Period(*days)
        points = tuple(str(row[4]) for row in rows)
        summary = run_billing(dsn, period, Plan(selection=Selection(points), correct_as=(made_by, why)))
        corrected.append(Corrected(period, summary.proposed, summary.difference))
    return TrueUp(tuple(changes), tuple(corrected), still_open)


@dataclass(frozen=True, slots=True)
class _Between:
    """Estimates of a channel between the same two readings; one reading if none has come after them yet."""

    around: list[tuple[datetime, int]]
    estimates: list[_Open]


def _concerns(between: _Between, period: Period | None) -> bool:
    return period is None or any(period.start_at <= each.at <= period.end_at for each in between.estimates)


def _between(connection: Connection[Any], estimates: list[_Open]) -> Iterator[_Between]:
    def around(one: _Open) -> list[tuple[datetime, int]]:
        parameters = {"channel": one.channel_id, "at": one.at}
        return connection.execute(SELECT_AROUND, parameters).fetchall()

    for readings, group in groupby(((around(one), one) for one in estimates), key=lambda pair: pair[0]):
        yield _Between(readings, [one for _, one in group])


def _spread(between: _Between) -> tuple[Version, ...]:
    """Share out the energy between the two readings by time, and let the register go through zero if it did."""
    (old_at, old), (new_at, new) = between.around
    whole = 10 ** between.estimates[0].digits * 1_000
    if new < old and old * 10 > whole * ROLLOVER_TENTHS:
        new += whole
    instants = [old_at, *(each.at for each in between.estimates), new_at]
    seconds = [round((later - at).total_seconds()) for at, later in pairwise(instants)]
    values = spread_by_days(old, new, seconds).tolist()
    codes = (int(Quality.ESTIMATED), int(Method.SPREAD_BY_DAYS), int(Reason.TRUED_UP))
    return tuple(
        Version(each.at, value % whole, *codes) for each, value in zip(between.estimates, values, strict=False)
    )
