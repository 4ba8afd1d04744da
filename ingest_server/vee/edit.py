"""Edit: a reading put in by hand, for one register and instant."""

from datetime import datetime
from typing import Any

from psycopg import Connection

from billing_core.estimation.provenance import Method, Reason
from billing_core.validation.parameters import load_parameters, rule_set_hash
from ingest_server.billing.acts import Actor
from ingest_server.billing.period import civil_text
from ingest_server.vee.changes import Change, Kind, Version, propose
from protocols.errors import UsageError
from protocols.telemetry.reading import Quality

SELECT_REGISTER = """
    select c.channel_id, m.digits
    from installation i
    join meter m using (meter_id)
    join channel c on c.meter_id = m.meter_id and c.obis = %(obis)s
    where i.metering_point_id = %(point)s and i.installed_at <= %(at)s
      and (i.removed_at is null or i.removed_at >= %(at)s)
    order by (i.role = 'supply') desc, i.installed_at desc limit 1
"""


def propose_edit(
    connection: Connection[Any],
    point: str,
    obis: str,
    at: datetime,
    value_wh: int,
    *,
    by_hand: bool,
    agreed: bool = False,
    actor: Actor,
    now: datetime,
) -> int:
    """Propose a reading in the place of what the meter said or did not say; return the change's number.

    Parameters
    ----------
    by_hand
        Whether somebody read the meter (flag MANUAL); otherwise it is a substitute (flag SUBSTITUTED).
    agreed
        Whether customer and company agreed on the substitute (E8): the customer's own reading, a value, or no use.

    Raises
    ------
    UsageError
        If no meter with that register hung there then, the time is to come, or the register has not so many digits.
    """
    row = connection.execute(SELECT_REGISTER, {"obis": obis, "point": point, "at": at}).fetchone()
    if row is None:
        raise UsageError(f"{point}: no meter with register {obis} hung there at {civil_text(at)}; check the registry")
    channel, digits = row
    if at > now:
        raise UsageError(f"--at: {civil_text(at)} is still to come; a reading is of the past")
    if value_wh >= 10**digits * 1_000:
        raise UsageError(f"--value-wh: found {value_wh}; the register has {digits} digits of kWh: give what it shows")
    if by_hand and agreed:
        raise UsageError("found --read-by-hand and --agreed; give one: a reading needs no agreement")
    quality = Quality.MANUAL if by_hand else Quality.SUBSTITUTED
    method, reason = Method.EDITED, Reason.EDITED_BY_HAND
    if agreed:
        method, reason = Method.E8_AGREED, Reason.AGREED_WITH_CUSTOMER
    return propose(
        connection,
        Change(
            point=point,
            channel_id=channel,
            kind=Kind.EDIT,
            made_by=actor.name,
            made_at=now,
            why=actor.note,
            rule_set=rule_set_hash(load_parameters(), now.date()),
            versions=(Version(at, value_wh, int(quality), int(method), int(reason)),),
        ),
    )
