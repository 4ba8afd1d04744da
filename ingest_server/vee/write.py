"""Write: judgements with their findings, those that are new."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from ingest_server.billing.period import Period
from ingest_server.vee import queries
from ingest_server.vee.case_scores import score_of_register
from ingest_server.vee.gather import Channel
from ingest_server.vee.judge import Found, Judged

SELECT_WAITING = """
    select measured_at, value, change_id from reading_version v
    where channel_id = %(channel)s
      and not exists (select from reading_change_act a where a.change_id = v.change_id)
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest judgement of a register at a point."""

    version: int
    rule_set: str
    hash: str
    gaps_left: int


def _known(connection: Connection[Any], period: Period, channels: Sequence[Channel]) -> dict[tuple[int, str], _Known]:
    parameters = {"channels": [each.channel_id for each in channels], "first_on": period.first_on}
    return {
        (channel, point): _Known(version, rules, digest.hex(), left)
        for channel, point, version, rules, digest, left in connection.execute(queries.SELECT_JUDGED, parameters)
    }


def left_alone(
    connection: Connection[Any], period: Period, rule_set: str, channels: Sequence[Channel], hashes: Sequence[str]
) -> int | None:
    """Return how many gaps were left, if all of these were judged already by these rules for these readings."""
    known, left = _known(connection, period, channels), 0
    for channel, digest in zip(channels, hashes, strict=True):
        before = known.get((channel.channel_id, channel.point))
        if before is None or (before.rule_set, before.hash) != (rule_set, digest):
            return None
        left += before.gaps_left
    return left


def write_judgements(
    connection: Connection[Any],
    run_id: int,
    period: Period,
    rule_set: str,
    judged: Judged,
    *,
    acts: Mapping[int, int],
) -> set[int]:
    """Write what was not judged so before, for the same readings by the same rules; return those rows.

    ``acts`` is the newest decision on each channel's changes that the readings contain; see
    :mod:`ingest_server.billing.findings`.

    A meter that was moved is a row at each of its points. One that was taken down and hung again at the same point
    within the window is two rows there: a version each.
    """
    channels = judged.channels
    known = _known(connection, period, channels)
    version: dict[tuple[int, str], int] = {key: before.version for key, before in known.items()}
    fresh, versions = [], []
    for row, channel in enumerate(channels):
        key = (channel.channel_id, channel.point)
        before = known.get(key)
        if before is None or (before.rule_set, before.hash) != (rule_set, judged.hashes[row]):
            version[key] = version.get(key, 0) + 1
            fresh.append(row)
            versions.append(version[key])
    if not fresh:
        return set()
    parameters = {
        "run": run_id,
        "first_on": period.first_on,
        "rule_set": rule_set,
        "points": [channels[row].point for row in fresh],
        "channels": [channels[row].channel_id for row in fresh],
        "versions": versions,
        "hashes": [judged.hashes[row] for row in fresh],
        "severities": judged.severity[fresh].tolist(),
        "monthly": judged.monthly_wh[fresh].tolist(),
        "left": judged.gaps_left[fresh].tolist(),
        "scores": _scores(judged, fresh),
        "acts": [acts.get(channels[row].channel_id, 0) for row in fresh],
    }
    made = {tuple(key): number for *key, number in connection.execute(queries.INSERT_JUDGEMENTS, parameters)}
    numbers = {
        row: made[channels[row].channel_id, channels[row].point, each]
        for row, each in zip(fresh, versions, strict=True)
    }
    with connection.cursor().copy(queries.COPY_FINDINGS) as copy:
        for each in judged.found:
            if each.row in numbers:
                evidence = json.dumps(each.evidence)
                copy.write_row((numbers[each.row], each.rule, each.found_on, each.version, each.severity, evidence))
    return set(fresh)


def _scores(judged: Judged, rows: Sequence[int]) -> list[int]:
    """Return what the cases of some rows are worth. [Wh]"""
    told: dict[int, list[Found]] = {}
    for each in judged.found:
        told.setdefault(each.row, []).append(each)
    scores = []
    for row in rows:
        own = sorted(told.get(row, []), key=lambda each: (each.found_on, each.rule))
        grave = [(each.rule, each.severity, each.evidence) for each in own]
        scores.append(score_of_register(int(judged.monthly_wh[row]), grave))
    return scores


def readings_proposed(connection: Connection[Any], channel_id: int) -> dict[datetime, dict[int | None, int]]:
    """Return the readings of a channel that are proposed and not decided: by instant, each value with its change."""
    waiting: dict[datetime, dict[int | None, int]] = {}
    for at, value, change in connection.execute(SELECT_WAITING, {"channel": channel_id}):
        waiting.setdefault(at, {})[value] = change
    return waiting
