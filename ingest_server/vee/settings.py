"""Parameters that a company sets for a class, or for one point until a day: one proposes them, another approves.

What holds on a day is in :mod:`ingest_server.vee.terms_by_day`. A run takes what is approved when it begins a chunk; a
point whose parameters changed is judged again by the next run.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from billing_core.validation.parameters import ParameterException
from billing_core.validation.series import METER_CLASSES
from ingest_server.billing.acts import same_person
from ingest_server.billing.period import Period
from ingest_server.vee.parameter_bounds import refuse_crossed_bounds
from ingest_server.vee.terms_by_day import FOREVER, Setting
from protocols.errors import UsageError

if TYPE_CHECKING:
    from ingest_server.vee.gather import Channel

ROWS_MAX = 1_000
LOCK_PARAMETERS = "select pg_advisory_xact_lock(hashtext('vee_parameter'), 0)"  # one after another: they go together

SELECT_IN_FORCE = """
    select p.meter_class, p.metering_point_id, p.name, p.value, p.start_on, p.end_on
    from vee_parameter p join vee_parameter_act a using (parameter_id)
    where a.act = 'approve' and p.start_on <= %(last_on)s and (p.end_on is null or p.end_on >= %(first_on)s)
      and (p.meter_class is not null or p.metering_point_id = any (%(points)s::text[]))
    order by a.act_id
"""
INSERT_PARAMETER = """
    insert into vee_parameter (meter_class, metering_point_id, name, value, start_on, end_on, why, made_by)
    values (%(meter_class)s, %(point)s, %(name)s, %(value)s, %(start_on)s, %(end_on)s, %(why)s, %(made_by)s)
    returning parameter_id
"""
SELECT_POINT = "select 1 from metering_point where metering_point_id = %s"
SELECT_DECIDED = """
    select p.made_by, a.act, a.actor, p.meter_class, p.metering_point_id, p.name, p.value, p.start_on, p.end_on
    from vee_parameter p left join vee_parameter_act a using (parameter_id)
    where p.parameter_id = %s
"""
INSERT_ACT = "insert into vee_parameter_act (parameter_id, act, actor, note) values (%s, %s, %s, %s)"
SELECT_ALL = """
    select p.parameter_id, p.meter_class, p.metering_point_id, p.name, p.value, p.start_on, p.end_on, p.why, p.made_by,
           p.made_at, a.act, a.actor, a.note, a.acted_at
    from vee_parameter p left join vee_parameter_act a using (parameter_id)
    where (%(point)s::text is null or p.metering_point_id = %(point)s)
      and (%(on)s::date is null or (a.act = 'approve' and p.start_on <= %(on)s
                                    and (p.end_on is null or p.end_on >= %(on)s)))
    order by p.parameter_id desc limit %(rows_max)s
"""
COLUMNS = (
    "parameter_id", "meter_class", "metering_point_id", "name", "value", "start_on", "end_on", "why", "made_by",
    "made_at", "act", "actor", "note", "acted_at",
)  # fmt: skip


def load_settings(connection: Connection[Any], channels: Sequence["Channel"], period: Period) -> tuple[Setting, ...]:
    """Return a month's approved parameters for these channels' points and all classes, in the order of approval."""
    asked = {
        "points": sorted({each.point for each in channels}),
        "first_on": period.first_on,
        "last_on": period.last_on,
    }
    return tuple(
        Setting(held_by, point, name, value, start_on, end_on or FOREVER)
        for held_by, point, name, value, start_on, end_on in connection.execute(SELECT_IN_FORCE, asked)
    )


def propose_setting(connection: Connection[Any], setting: Setting, *, why: str, made_by: str) -> int:
    """Enter a parameter that is to hold once another person approves it; return its number.

    Raises
    ------
    UsageError
        If the parameter, its value, the days, the class or the point are not ones that can be set, or a lower bound
        would lie above its upper one.
    """
    if (setting.point is None) == (setting.meter_class is None):
        raise UsageError("found both or none of --point and --class; give one: whom is the parameter for?")
    if setting.meter_class is not None and setting.meter_class not in METER_CLASSES:
        raise UsageError(f"--class: found {setting.meter_class!r}; expected one of {', '.join(METER_CLASSES)}")
    if setting.point is not None and setting.end_on == FOREVER:
        raise UsageError(f"{setting.point}: found no --until; a customer's own parameter ends: give its last day")
    try:
        ParameterException(
            meter=0, name=setting.name, value=setting.value, start_on=setting.start_on, end_on=setting.end_on,
            reason=why, approved_by=made_by,
        )  # fmt: skip
    except UsageError as error:
        whom = setting.point or setting.meter_class
        raise UsageError(f"{setting.name} of {whom}: {str(error).partition(': ')[2]}") from error
    with connection.transaction():
        if setting.point is not None and connection.execute(SELECT_POINT, [setting.point]).fetchone() is None:
            raise UsageError(f"--point: {setting.point!r} is not in the registry; see `congto registry show`")
        refuse_crossed_bounds(connection, setting)
        end_on: date | None = None if setting.end_on == FOREVER else setting.end_on
        columns = setting._asdict() | {"end_on": end_on, "why": why, "made_by": made_by}
        row = connection.execute(INSERT_PARAMETER, columns).fetchone()
    assert row is not None, "an insert returning gives a row"
    return int(row[0])


def decide_setting(connection: Connection[Any], number: int, act: str, actor: str, note: str) -> None:
    """Approve or reject a parameter, by another person than who proposed it.

    Raises
    ------
    UsageError
        If there is none with this number, it is decided, the same person proposed it, or with what was approved
        meanwhile it would put a lower bound above its upper one.
    """
    with connection.transaction():
        connection.execute(LOCK_PARAMETERS)
        row = connection.execute(SELECT_DECIDED, [number]).fetchone()
        if row is None:
            raise UsageError(f"parameter {number}: there is none; see `congto vee parameter list`")
        made_by, decided, by, *told = row
        if decided is not None:
            raise UsageError(f"parameter {number}: {by} decided on it already ({decided}); propose another")
        if same_person(made_by, actor):
            raise UsageError(f"parameter {number}: {actor} proposed it; another person must decide (four eyes)")
        if act == "approve":
            setting = Setting._make(told)
            refuse_crossed_bounds(connection, setting._replace(end_on=setting.end_on or FOREVER))
        connection.execute(INSERT_ACT, [number, act, actor, note])


def list_settings(connection: Connection[Any], point: str | None, on: date | None) -> list[dict[str, Any]]:
    """Return parameters, the newest first: all, a point's, or those that hold on a day."""
    asked = {"point": point, "on": on, "rows_max": ROWS_MAX}
    return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(SELECT_ALL, asked)]
