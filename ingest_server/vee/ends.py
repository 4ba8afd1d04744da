"""Propose the registers that are missing at the ends of a month, of a chunk's channels or of all points asked for."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from psycopg import Connection

from ingest_server.billing.gather import Selection, chunks_of_run
from ingest_server.billing.period import Period, civil_text
from ingest_server.database import connect
from ingest_server.database.connection import translated
from ingest_server.vee.boundary import estimates_of, missing_at_ends
from ingest_server.vee.changes import Change, Kind, propose
from ingest_server.vee.gather import Channel, channels_of, check_points

POINTS_PER_CHUNK = 5_000


class Ends(NamedTuple):
    """What was proposed: the changes' numbers, how many readings; for how many nothing is known to lean on."""

    changes: list[int]
    values: int
    left: int


def propose_ends(dsn: str, period: Period, selection: Selection, *, actor: str, now: datetime, rule_set: str) -> Ends:
    """Propose what is missing at both ends of a month."""
    made: list[int] = []
    values = left = 0
    with translated(), connect(dsn) as connection:
        connection.autocommit = True
        check_points(connection, selection)
        for chunk in chunks_of_run(connection, selection, POINTS_PER_CHUNK):
            with connection.transaction():
                channels = channels_of(connection, period, selection, chunk)
                ends = ends_of(connection, period, channels, actor=actor, now=now, rule_set=rule_set)
            made += ends.changes
            values, left = values + ends.values, left + ends.left
    return Ends(made, values, left)


def ends_of(
    connection: Connection[Any],
    period: Period,
    channels: Iterable[Channel],
    *,
    actor: str,
    now: datetime,
    rule_set: str,
) -> Ends:
    """Propose what is missing of these channels, a change each."""
    missing = sorted(missing_at_ends(connection, period, channels), key=lambda each: each.channel.channel_id)
    made: list[int] = []
    values = left = 0
    estimates = zip(missing, estimates_of(connection, missing), strict=True)
    for _, group in groupby(estimates, key=lambda each: each[0].channel.channel_id):
        mine = list(group)
        versions = [version for _, version in mine if version is not None]
        left += len(mine) - len(versions)
        if not versions:
            continue
        channel = mine[0][0].channel
        days = ", ".join(f"{civil_text(each.measured_at):.10}" for each in versions)
        change = Change(
            point=channel.point,
            channel_id=channel.channel_id,
            kind=Kind.ESTIMATE,
            made_by=actor,
            made_at=now,
            why=f"register {channel.obis} of {period} not read at midnight of {days}",
            rule_set=rule_set,
            versions=tuple(versions),
        )
        made.append(propose(connection, change))
        values += len(versions)
    return Ends(made, values, left)
