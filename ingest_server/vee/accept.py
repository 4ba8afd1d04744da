"""Accept a case: somebody looked at what validation found in a register's month, and its readings stand as they are."""

from typing import Any

from psycopg import Connection

from ingest_server.billing.acts import Actor, Role, need_note
from protocols.errors import UsageError

SELECT_CASE = """
    select j.metering_point_id, r.actor, a.actor,
           exists (select from vee_judgement newer
                   where newer.channel_id = j.channel_id and newer.metering_point_id = j.metering_point_id
                     and newer.period_from = j.period_from and newer.version > j.version)
    from vee_judgement j
    join vee_run r using (vee_run_id)
    left join vee_acceptance a using (judgement_id)
    where judgement_id = %(case)s and j.severity >= 3
"""
INSERT_ACCEPTANCE = """
    insert into vee_acceptance (judgement_id, actor, role, note) values (%(case)s, %(actor)s, %(role)s, %(note)s)
    on conflict do nothing returning judgement_id
"""


def accept(connection: Connection[Any], case: int, actor: Actor) -> str:
    """Accept the findings of a judgement, by its number in the queue or in a hold's reason; return its metering point.

    Raises
    ------
    UsageError
        If there is none of that number in the queue, it was accepted or judged again for other readings, the same
        person had the month validated, or the role may not.
    """
    need_note(actor, "why the readings are right")
    with connection.transaction():
        row = connection.execute(SELECT_CASE, {"case": case}).fetchone()
        if row is None:
            raise UsageError(f"there is no case {case}; `congto vee cases` shows their numbers, and so does a hold")
        point, judged_by, accepted_by, overtaken = row
        if overtaken:
            raise UsageError(f"case {case}: {point} was judged anew since; `congto vee cases` shows the newest case")
        if actor.role.code < Role.CONTROLLER.code:
            raise UsageError(f"case {case}: {actor.name} is a {actor.role.value}; a controller or higher accepts")
        if actor.is_named(judged_by):
            raise UsageError(f"case {case}: {actor.name} had it validated: another person must accept it (four eyes)")
        values = {"case": case, "actor": actor.name, "role": actor.role.value, "note": actor.note}
        if accepted_by is not None or connection.execute(INSERT_ACCEPTANCE, values).fetchone() is None:
            raise UsageError(f"case {case}: it was accepted already; run the month again")
    return str(point)
