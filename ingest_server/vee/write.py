"""Write: judgements with their findings, those that are new."""

import json
from datetime import datetime
from typing import Any

from psycopg import Connection

from ingest_server.billing.period import Period
from ingest_server.vee import queries
from ingest_server.vee.judge import Judged

SELECT_WAITING = """
    select measured_at, value from reading_version v
    where channel_id = %(channel)s
      and not exists (select from reading_change_act a where a.change_id = v.change_id)
"""


def write_judgements(
    connection: Connection[Any], run_id: int, period: Period, rule_set: str, judged: Judged
) -> set[int]:
    """Write what was not judged so before, for the same readings by the same rules; return those rows."""
    channels = [each.channel_id for each in judged.channels]
    known = {
        channel: (version, rules, digest.hex())
        for channel, version, rules, digest in connection.execute(
            queries.SELECT_JUDGED, {"channels": channels, "first_on": period.first_on}
        )
    }
    fresh = [
        row
        for row, channel in enumerate(channels)
        if channel not in known or known[channel][1:] != (rule_set, judged.hashes[row])
    ]
    if not fresh:
        return set()
    parameters = {
        "run": run_id,
        "first_on": period.first_on,
        "rule_set": rule_set,
        "points": [judged.channels[row].point for row in fresh],
        "channels": [channels[row] for row in fresh],
        "versions": [known[channels[row]][0] + 1 if channels[row] in known else 1 for row in fresh],
        "hashes": [judged.hashes[row] for row in fresh],
        "severities": judged.severity[fresh].tolist(),
        "monthly": judged.monthly_wh[fresh].tolist(),
    }
    numbers = dict(connection.execute(queries.INSERT_JUDGEMENTS, parameters).fetchall())
    written = set(fresh)
    with connection.cursor().copy(queries.COPY_FINDINGS) as copy:
        for each in judged.found:
            if each.row in written:
                number = numbers[channels[each.row]]
                evidence = json.dumps(each.evidence)
                copy.write_row((number, each.rule, each.found_on, each.version, each.severity, evidence))
    return written


def instants_proposed(connection: Connection[Any], channel_id: int) -> set[tuple[datetime, int | None]]:
    """Return the readings of a channel that are proposed and not decided."""
    return set(connection.execute(SELECT_WAITING, {"channel": channel_id}).fetchall())
