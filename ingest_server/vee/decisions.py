"""Decisions on changes: the effect on bills, computed by the billing run's own code; limits per role; four eyes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from billing_core.control.thresholds import load_thresholds
from billing_core.estimation.versions import Limit
from billing_core.tariff import Tariffs
from billing_core.tariff_files import load_tariffs
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.decide import decide
from ingest_server.billing.gather import REACTIVE_NEVER_KW, Chunk, Frame, Selection, gather, terms_of_run
from ingest_server.billing.limits import refuse_beyond
from ingest_server.billing.period import CIVIL_TIME_ZONE, Period
from ingest_server.vee.changes import LOCK_CHANNEL, LOCK_CLASS, load_change
from protocols.errors import UsageError

LOCK_CHANGE = "select from reading_change where change_id = %(change)s for share"
INSERT_ACT = """
    insert into reading_change_act (change_id, act, actor, role, effect_wh, effect_vnd, note, own)
    values (%(change)s, %(act)s, %(actor)s, %(role)s, %(wh)s, %(vnd)s, %(note)s, %(own)s)
"""
SELECT_OVERTAKEN = """
    select a.change_id from reading_version mine
    join reading_version other on other.channel_id = mine.channel_id and other.measured_at = mine.measured_at
    join reading_change_act a on a.change_id = other.change_id
    where mine.change_id = %(change)s and a.act = 'approve'
      and a.act_id > (select acts_before from reading_change c where c.change_id = mine.change_id)
    order by a.act_id desc limit 1
"""
SELECT_CYCLES = """
    select distinct r.period_from, r.period_to, r.nominal_days, r.closes_year
    from bill b join billing_run r using (run_id)
    where b.metering_point_id = %(point)s and r.nominal_days is not null
      and exists (select from unnest(%(days)s::date[]) as day where day between r.period_from and r.period_to)
      and not exists (select from bill_act a where a.bill_id = b.bill_id and a.act = 'cancel')
    order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Amount:
    """A bill's energy and total with tax, or why there is none. [Wh, đ]"""

    energy_wh: int
    total: int
    held: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the bill of one month, or cycle: what stands now, and what it would be."""

    period: Period
    before: Amount
    after: Amount

    @property
    def energy_wh(self) -> int:
        """Difference in energy. [Wh]"""
        return self.after.energy_wh - self.before.energy_wh

    @property
    def vnd(self) -> int:
        """Difference in money, with tax. [đ]"""
        return self.after.total - self.before.total


def effects_of(connection: Connection[Any], change: Mapping[str, Any]) -> list[Effect]:
    """Return what an undecided change would do to the bills of the months that it touches; nothing stays written.

    The change is approved in a transaction that is taken back, and in it the bills are computed as a run computes them.
    """
    periods = _periods(connection, change)
    point = change["metering_point_id"]
    with connection.transaction(force_rollback=True):
        before = [_standing(connection, period, point) for period in periods]
        connection.execute(INSERT_ACT, _act(change["change_id"], "approve", Actor("dry run", Role.DIRECTOR)))
        after = [_computed(connection, period, point)[0] for period in periods]
    return [Effect(*each) for each in zip(periods, before, after, strict=True)]


def decide_change(
    connection: Connection[Any], change_id: int, act: str, actor: Actor, limits: Mapping[str, Limit]
) -> list[Effect]:
    """Approve (``act`` is ``approve``) or reject a change; return its effects.

    Decisions on one register are made one after another, so that their numbers say which came first.

    Raises
    ------
    UsageError
        If it was decided, the same person made it, another was approved for one of its readings since, or the role may
        not approve an effect of this size.
    """
    with connection.transaction():
        connection.execute(LOCK_CHANGE, {"change": change_id})
        channel = load_change(connection, change_id)["channel_id"]
        connection.execute(LOCK_CHANNEL, {"class": LOCK_CLASS, "channel": channel})
        change = load_change(connection, change_id)
        where = f"change {change_id}: "
        if change["act"] is not None:
            raise UsageError(f"{where}{change['actor']} decided on it already ({change['act']})")
        effects = effects_of(connection, change)
        wh = max((abs(each.energy_wh) for each in effects), default=0)
        vnd = max((abs(each.vnd) for each in effects), default=0)
        if act == "approve":
            if actor.is_named(change["made_by"]):
                raise UsageError(f"{where}{actor.name} made it: another person must approve it (four eyes)")
            overtaken = connection.execute(SELECT_OVERTAKEN, {"change": change_id}).fetchone()
            if overtaken is not None:
                raise UsageError(
                    f"{where}change {overtaken[0]} of the same readings was approved since it was made; reject "
                    "this one and propose anew"
                )
            refuse_beyond(
                "change_beyond_limit", actor.role.value, energy_wh=wh, vnd=vnd, limits=limits, number=change_id
            )
        own = actor.is_named(change["made_by"])
        connection.execute(INSERT_ACT, _act(change_id, act, actor, wh, vnd, own=own))
    return effects


def _act(change_id: int, act: str, actor: Actor, wh: int = 0, vnd: int = 0, *, own: bool = False) -> dict[str, Any]:
    return {
        "change": change_id, "act": act, "actor": actor.name, "role": actor.role.value, "wh": wh, "vnd": vnd,
        "note": actor.note, "own": own,
    }  # fmt: skip


def _periods(connection: Connection[Any], change: Mapping[str, Any]) -> list[Period]:
    """Return the periods whose bills may rest on the readings: a midnight between two belongs to both.

    They are the reading cycles by which the point was billed, and months for days that no cycle was billed of.
    """
    days: set[date] = set()
    for each in change["versions"]:
        at: datetime = each.measured_at
        for instant in (at, at - timedelta(microseconds=1)):
            days.add(instant.astimezone(ZoneInfo(CIVIL_TIME_ZONE)).date())
    rows = connection.execute(SELECT_CYCLES, {"point": change["metering_point_id"], "days": sorted(days)})
    cycles = [Period(*row) for row in rows]
    rest = [day for day in days if not any(each.first_on <= day <= each.last_on for each in cycles)]
    return [*cycles, *(Period.of_month(month) for month in sorted({f"{day:%Y-%m}" for day in rest}))]


def _standing(connection: Connection[Any], period: Period, point: str) -> Amount:
    """Return what an issued bill stands at, else what would be computed now."""
    computed, issued = _computed(connection, period, point)
    return computed if issued is None else issued


def _computed(connection: Connection[Any], period: Period, point: str) -> tuple[Amount, Amount | None]:
    """Return what a run would compute now, and what was issued, if anything."""
    tariffs = _tariffs()
    table = tariffs.power_factor_on(period.last_on)
    reactive_from_kw = REACTIVE_NEVER_KW if table is None else table.from_kw
    terms = terms_of_run(connection, period, reactive_from_kw)
    changes = tariffs.changes_within(period.first_on, period.last_on)
    frame = Frame(period, Selection((point,)), terms, (0,) * len(terms), changes, reactive_from_kw)
    points = gather(connection, frame, Chunk("", point, 1))
    decision = decide(points, tariffs, load_thresholds())
    stands = points.issued.in_ledger
    issued = None
    if stands.any():
        energy, total = points.issued.energy_wh[stands].sum(), points.issued.total[stands].sum()
        issued = Amount(int(energy), int(total), None)
    if decision.holds or not len(decision.computed.places):
        held = decision.holds[0].reason if decision.holds else "nothing to bill"
        return Amount(0, 0, held), issued
    charges, places = decision.computed.charges, decision.computed.places
    return Amount(int(charges.billed_wh[places].sum()), int(charges.total[places].sum()), None), issued


@cache
def _tariffs() -> Tariffs:
    return load_tariffs()
