"""Balances of transformers over a month: what one gives less what the meters behind it counted (V43, by days V15).

The loss of a month is told only if the transformer's meter and every meter of its feeder was read at both ends of it,
or at its exchange; how many transformers it can't be told of is. Days are balanced even so, with what is believed of
each meter. Earlier months are those that earlier runs wrote. A balance that a run finds again is not written again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from billing_core.validation import screening
from billing_core.validation.catalogue import RULES
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.vee.case_scores import score_of_transformer
from ingest_server.vee.feeders import REGISTERS_ASKED, SELECT_DELIVERED, SELECT_TRANSFORMERS, Fed
from ingest_server.vee.transformer_days import Suspect, suspects_of

HISTORY_LEAST, HISTORY_MOST = 3, 24  # months; a median of fewer says nothing
TRANSFORMERS_MAX = 1_000_000
POINTS_AT_ONCE = 5_000  # with nine weeks of midnights: 50 MB

SELECT_EARLIER = """
    select transformer_id, supplied_wh, delivered_wh from (
        select distinct on (transformer_id, period_from) *
        from transformer_balance where transformer_id = any (%(transformers)s::text[]) and period_from < %(first_on)s
        order by transformer_id, period_from, version desc
    ) newest where not evidence ? 'unknown' order by transformer_id, period_from
"""
SELECT_WRITTEN = """
    select distinct on (transformer_id) transformer_id, version, supplied_wh, delivered_wh, points, rule_version,
           severity, evidence
    from transformer_balance where transformer_id = any (%(transformers)s::text[]) and period_from = %(first_on)s
    order by transformer_id, version desc
"""
INSERT_BALANCE = """
    insert into transformer_balance (vee_run_id, transformer_id, period_from, version, supplied_wh, delivered_wh,
                                     points, rule_version, severity, evidence, score_wh)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Balance(NamedTuple):
    """A month's balance of a transformer; ``evidence`` has loss, usual loss and their distance in σ, if they are known.

    ``severity`` is that of V43, that of V15 if days contradict a meter (``evidence["meters"]`` says which), that of V05
    if a meter has no register for what it takes, or 0. Where the month is not known as a whole ``evidence["unknown"]``
    says what lacks, and the energies are what is known.
    """

    transformer: str
    supplied_wh: int
    delivered_wh: int
    points: int
    severity: int
    evidence: Mapping[str, Any]


class Delivered(NamedTuple):
    """What a feeder's meters counted in a month; registers that are not known; points; meters without a register."""

    counted_wh: int = 0
    not_read: int = 0
    points: int = 0
    without_register: int = 0


def balance_transformers(
    connection: Connection[Any], run_id: int, period: Period, selection: Selection
) -> tuple[dict[str, int], int]:
    """Compute and write the balances of a month, in one transaction.

    Returns
    -------
    How often a rule minds a new one, and of how many transformers no month's balance can be told.
    """
    with connection.transaction():
        balances = _balances(connection, period, selection)
        names = [each.transformer for each in balances]
        asked = {"transformers": names, "first_on": period.first_on}
        written = {name: told for name, *told in connection.execute(SELECT_WRITTEN, asked)}
        rule, minded, left = RULES["V43"], Counter[str](), 0
        for each in balances:
            unknown = "unknown" in each.evidence
            left += unknown
            if unknown and not each.severity and each.transformer not in written:
                continue
            version, *before = written.get(each.transformer, [0])
            now = [each.supplied_wh, each.delivered_wh, each.points, rule.version, each.severity, each.evidence]
            if before == now:
                continue
            minded["V15"] += len(each.evidence.get("meters", ()))
            minded["V43"] += each.evidence.get("minded", False)
            evidence = json.dumps(each.evidence)
            score = score_of_transformer(each.supplied_wh, each.evidence)
            row = (run_id, each.transformer, period.first_on, version + 1, *now[:-1], evidence, score)
            connection.execute(INSERT_BALANCE, row)
    return {name: count for name, count in minded.items() if count}, left


def _balances(connection: Connection[Any], period: Period, selection: Selection) -> list[Balance]:
    asked = selection.parameters | REGISTERS_ASKED
    asked |= {
        "first_on": period.first_on,
        "last_on": period.last_on,
        "from_at": period.start_at,
        "to_at": period.end_at,
        "rows_max": TRANSFORMERS_MAX,
    }
    rows = connection.execute(SELECT_TRANSFORMERS, asked).fetchall()
    transformers = [(Fed(*told), supplied) for *told, supplied in rows]
    if not transformers:
        return []
    asked |= {
        "feeders": sorted({fed.feeder for fed, _ in transformers}),
        "transformers": [fed.transformer for fed, _ in transformers],
    }
    delivered = {feeder: Delivered(*told) for feeder, *told in connection.execute(SELECT_DELIVERED, asked)}
    earlier: dict[str, list[tuple[int, int]]] = {}
    for name, supplied, counted in connection.execute(SELECT_EARLIER, asked):
        earlier.setdefault(name, []).append((supplied, counted))
    suspects: dict[str, list[Suspect]] = {}
    for some in _some_at_once([fed for fed, _ in transformers], delivered):
        suspects |= suspects_of(connection, some, period)
    balances, sharing = [], Counter(fed.feeder for fed, _ in transformers)
    for fed, supplied in transformers:
        told = delivered.get(fed.feeder, Delivered())
        unknown = _unknown(fed, told, read=supplied is not None, sharing=sharing[fed.feeder])
        evidence: dict[str, Any] = {"unknown": unknown}
        if not unknown:
            evidence = _against_earlier((supplied, told.counted_wh), earlier.get(fed.transformer, [])[-HISTORY_MOST:])
        severity = int(RULES["V43"].severity) if evidence.get("minded") else 0
        if "meters_without_register" in unknown or "transformer_without_register" in unknown:
            severity = int(RULES["V05"].severity)
        if fed.transformer in suspects:
            severity = int(RULES["V15"].severity)
            evidence["meters"] = [_told(each) for each in suspects[fed.transformer]]
        balances.append(Balance(fed.transformer, supplied or 0, told.counted_wh, told.points, severity, evidence))
    return balances


def _some_at_once(fed: list[Fed], delivered: Mapping[str, Delivered]) -> Iterator[list[Fed]]:
    """Part transformers so that not too many points are looked at by the day at once."""
    some: list[Fed] = []
    points = 0
    for each in fed:
        some.append(each)
        points += delivered.get(each.feeder, Delivered()).points
        if points >= POINTS_AT_ONCE:
            yield some
            some, points = [], 0
    if some:
        yield some


def _unknown(fed: Fed, told: Delivered, *, read: bool, sharing: int) -> dict[str, int]:
    """Return what a month's balance lacks, or what there is too much of: nothing if it is known."""
    lacks = {"registers": told.not_read, "meters_without_register": told.without_register}
    lacks |= {
        "transformer_without_register": int(fed.channel is None),
        "transformer": int(not read),
        "points": int(not told.points),
        "transformers_beside": sharing - 1,
    }
    return {name: count for name, count in lacks.items() if count}


def _against_earlier(now: tuple[int, int], earlier: list[tuple[int, int]]) -> dict[str, Any]:
    """Return what V43 says of a month after others, nothing where they are too few."""
    if len(earlier) < HISTORY_LEAST:
        return {}
    months = np.array([*earlier, now], dtype=np.int64)
    finding = screening.v43_balance(months[None, :, 0], months[None, :, 1])
    return {"minded": bool(finding.mask[0]), **_rounded(finding.at(0))}


def _told(suspect: Suspect) -> dict[str, Any]:
    days = {"from": suspect.first_on.isoformat(), "to": suspect.last_on.isoformat()}
    rule = {"rule_version": RULES["V15"].version}
    return {"metering_point_id": suspect.point, **days, **rule, **_rounded(suspect.evidence)}


def _rounded(evidence: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in evidence.items()}
