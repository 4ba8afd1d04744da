"""Balances of transformers over a month: what one gives less what the meters behind it counted (V43, by days V15).

A month is told only if the transformer's meter and every meter of its feeder was read at both ends of it, or at its
exchange. Earlier months are those that earlier runs wrote. A balance that a run finds again is not written again.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from billing_core.validation import screening
from billing_core.validation.catalogue import RULES
from ingest_server.billing.columns import MeterRegister
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION
from ingest_server.vee.transformer_days import Fed, Suspect, suspects_of
from protocols.telemetry.reading import Quality

HISTORY_LEAST, HISTORY_MOST = 3, 24  # months; a median of fewer says nothing
TRANSFORMERS_MAX = 100_000

# Transformers that hung on one meter for all of the period, and behind which a point of the selection is.
SELECT_TRANSFORMERS = f"""
    with now as (
        select distinct on (transformer_id) * from transformer
        where valid_from <= %(first_on)s order by transformer_id, valid_from desc, row_id desc
    )
    select t.transformer_id, t.feeder, t.meter_id, t.multiplier, (e.value - s.value) * t.multiplier
    from now t
    join channel c on c.meter_id = t.meter_id and c.obis = %(total)s
    join billing_reading s on s.channel_id = c.channel_id and s.measured_at = %(start_at)s
    join billing_reading e on e.channel_id = c.channel_id and e.measured_at = %(end_at)s
    where (t.valid_to is null or t.valid_to >= %(last_on)s) and e.value >= s.value
      and (s.quality | e.quality) & {int(Quality.SUSPECT)} = 0
      and exists (
          select from meter m join installation i using (meter_id) join metering_point p using (metering_point_id)
          where m.feeder = t.feeder and {SELECTION}
      )
    order by t.transformer_id limit %(rows_max)s
"""  # noqa: S608 - put together from constants
# What each feeder's meters counted, import less export; how many registers of import are not known; how many points.
# An export register that is not read at all is no export.
SELECT_DELIVERED = f"""
    with hung as (
        select m.feeder, i.metering_point_id, i.multiplier, c.channel_id, c.obis,
               greatest(i.installed_at, %(start_at)s) as from_at,
               least(coalesce(i.removed_at, %(end_at)s), %(end_at)s) as to_at
        from meter m
        join installation i using (meter_id)
        join channel c on c.meter_id = m.meter_id and c.obis in (%(total)s, %(export)s)
        where m.feeder = any (%(feeders)s::text[]) and m.meter_id <> all (%(meters)s::text[]) and i.role = 'supply'
          and i.installed_at < %(end_at)s and (i.removed_at is null or i.removed_at > %(start_at)s)
    )
    select h.feeder,
           coalesce(sum((e.value - s.value) * h.multiplier * case h.obis when %(total)s then 1 else -1 end), 0)::bigint,
           count(*) filter (where (h.obis = %(total)s or s.value is not null or e.value is not null)
                            and (s.value is null or e.value is null or e.value < s.value)),
           count(distinct h.metering_point_id)
    from hung h
    left join billing_reading s on s.channel_id = h.channel_id and s.measured_at = h.from_at
      and s.quality & {int(Quality.SUSPECT)} = 0
    left join billing_reading e on e.channel_id = h.channel_id and e.measured_at = h.to_at
      and e.quality & {int(Quality.SUSPECT)} = 0
    group by h.feeder
"""  # noqa: S608 - put together from constants
SELECT_EARLIER = """
    select transformer_id, supplied_wh, delivered_wh from (
        select distinct on (transformer_id, period_from) *
        from transformer_balance where transformer_id = any (%(transformers)s::text[]) and period_from < %(first_on)s
        order by transformer_id, period_from, version desc
    ) newest order by transformer_id, period_from
"""
SELECT_WRITTEN = """
    select distinct on (transformer_id) transformer_id, version, supplied_wh, delivered_wh, points, rule_version,
           severity, evidence
    from transformer_balance where transformer_id = any (%(transformers)s::text[]) and period_from = %(first_on)s
    order by transformer_id, version desc
"""
INSERT_BALANCE = """
    insert into transformer_balance (vee_run_id, transformer_id, period_from, version, supplied_wh, delivered_wh,
                                     points, rule_version, severity, evidence)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Balance(NamedTuple):
    """A month's balance of a transformer; ``evidence`` has loss, usual loss and their distance in σ, if they are known.

    ``severity`` is that of V43, that of V15 if days contradict a meter (``evidence["meters"]`` says which), or 0.
    """

    transformer: str
    supplied_wh: int
    delivered_wh: int
    points: int
    severity: int
    evidence: Mapping[str, Any]


def balance_transformers(
    connection: Connection[Any], run_id: int, period: Period, selection: Selection
) -> dict[str, int]:
    """Compute and write the balances of a month, in one transaction; return how often a rule minds a new one."""
    with connection.transaction():
        balances = _balances(connection, period, selection)
        names = [each.transformer for each in balances]
        asked = {"transformers": names, "first_on": period.first_on}
        written = {name: told for name, *told in connection.execute(SELECT_WRITTEN, asked)}
        rule, minded = RULES["V43"], Counter[str]()
        for each in balances:
            version, *before = written.get(each.transformer, [0])
            now = [each.supplied_wh, each.delivered_wh, each.points, rule.version, each.severity, each.evidence]
            if before == now:
                continue
            minded["V15"] += len(each.evidence.get("meters", ()))
            minded["V43"] += each.evidence.get("minded", False)
            evidence = json.dumps(each.evidence)
            row = (run_id, each.transformer, period.first_on, version + 1, *now[:-1], evidence)
            connection.execute(INSERT_BALANCE, row)
    return {name: count for name, count in minded.items() if count}


def _balances(connection: Connection[Any], period: Period, selection: Selection) -> list[Balance]:
    asked = selection.parameters | {
        "first_on": period.first_on,
        "last_on": period.last_on,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "total": MeterRegister.SG.value,
        "export": MeterRegister.EXPORT.value,
        "rows_max": TRANSFORMERS_MAX,
    }
    transformers = connection.execute(SELECT_TRANSFORMERS, asked).fetchall()
    if not transformers:
        return []
    asked |= {
        "feeders": sorted({row[1] for row in transformers}),
        "meters": sorted({row[2] for row in transformers}),
        "transformers": [row[0] for row in transformers],
    }
    delivered = {feeder: told for feeder, *told in connection.execute(SELECT_DELIVERED, asked)}
    earlier: dict[str, list[tuple[int, int]]] = {}
    for name, supplied, counted in connection.execute(SELECT_EARLIER, asked):
        earlier.setdefault(name, []).append((supplied, counted))
    balances = []
    whole = [row for row in transformers if not delivered.get(row[1], (0, 1, 0))[1]]
    suspects = suspects_of(connection, [Fed(*row[:-1]) for row in whole], period)
    for name, feeder, _, _, supplied in whole:
        counted, _, points = delivered[feeder]
        evidence = _against_earlier((supplied, counted), earlier.get(name, [])[-HISTORY_MOST:])
        severity = int(RULES["V43"].severity) if evidence.get("minded") else 0
        if name in suspects:
            severity = int(RULES["V15"].severity)
            evidence["meters"] = [_told(each) for each in suspects[name]]
        balances.append(Balance(name, supplied, counted, points, severity, evidence))
    return balances


def _against_earlier(now: tuple[int, int], earlier: list[tuple[int, int]]) -> dict[str, Any]:
    """Return what V43 says of a month after others, nothing where they are too few."""
    if len(earlier) < HISTORY_LEAST:
        return {}
    months = np.array([*earlier, now], dtype=np.int64)
    finding = screening.v43_balance(months[None, :, 0], months[None, :, 1])
    return {"minded": bool(finding.mask[0]), **_rounded(finding.at(0))}


def _told(suspect: Suspect) -> dict[str, Any]:
    days = {"from": suspect.first_on.isoformat(), "to": suspect.last_on.isoformat()}
    return {"metering_point_id": suspect.point, **days, **_rounded(suspect.evidence)}


def _rounded(evidence: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in evidence.items()}
