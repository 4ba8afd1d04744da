"""The case queue of a month: what failed, what is suspected, what waits for a decision; the largest stake first."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from psycopg import Connection

from billing_core.validation.cases import CERTAINTY_PERCENT, WIRING_PERCENT
from billing_core.validation.catalogue import Severity
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION

CASES_MAX = 1_000
FAILED_PERCENT = 90  # a failed reading is wrong, but for a few
FINDINGS_MAX = 100_000
NO_CHANNEL = 0  # of a transformer

SELECT_FINDINGS = f"""
    select j.metering_point_id, j.channel_id, h.obis, h.meter_id, j.monthly_wh, f.rule, f.found_on, f.severity,
           f.evidence
    from (select distinct on (channel_id, metering_point_id) * from vee_judgement where period_from = %(first_on)s
          order by channel_id, metering_point_id, version desc) j
    join metering_point using (metering_point_id)
    join vee_finding f using (judgement_id)
    join channel h on h.channel_id = j.channel_id
    where f.severity >= %(least)s and {SELECTION}
    order by j.monthly_wh desc, j.channel_id, f.found_on, f.rule limit %(rows_max)s
"""  # noqa: S608 - put together from constants
# Newest balances of the month that V43 minds, of transformers behind which a point of the selection is.
SELECT_BALANCES = f"""
    with newest as (
        select distinct on (transformer_id) * from transformer_balance where period_from = %(first_on)s
        order by transformer_id, version desc
    ), hung as (
        select distinct on (transformer_id) transformer_id, feeder, meter_id from transformer
        where valid_from <= %(first_on)s order by transformer_id, valid_from desc, row_id desc
    )
    select b.transformer_id, h.meter_id, b.supplied_wh, b.delivered_wh, b.points, b.evidence
    from newest b join hung h using (transformer_id)
    where b.severity >= %(least)s and exists (
        select from meter m join installation i using (meter_id) join metering_point p using (metering_point_id)
        where m.feeder = h.feeder and {SELECTION}
    )
    order by b.supplied_wh desc, b.transformer_id limit %(rows_max)s
"""  # noqa: S608 - put together from constants
SELECT_WAITING = f"""
    select c.metering_point_id, c.channel_id, h.obis, h.meter_id, c.change_id, c.kind, c.made_by, c.why
    from reading_change c
    join metering_point using (metering_point_id)
    join channel h using (channel_id)
    where not exists (select from reading_change_act a where a.change_id = c.change_id) and {SELECTION}
      and exists (select from reading_version v where v.change_id = c.change_id
                  and v.measured_at between %(start_at)s and %(end_at)s)
    order by c.change_id
"""  # noqa: S608 - put together from constants


@dataclass(slots=True)
class Case:
    """What somebody must look at: the stake in Wh a month, why, and which changes wait.

    It is a register of a point; or a transformer with its own meter, then ``obis`` is empty and ``point`` its name.
    """

    point: str
    channel_id: int
    obis: str
    meter: str
    score_wh: int = 0
    reasons: list[tuple[str, date, dict[str, Any]]] = field(default_factory=list)
    waiting: list[tuple[int, str, str, str]] = field(default_factory=list)


def cases_of(connection: Connection[Any], period: Period, selection: Selection) -> list[Case]:
    """Return the cases of a month, the riskiest first; those with nothing but a change that waits come last.

    Transformers whose balance is off stand among the registers by what is off there.
    """
    parameters = selection.parameters | {
        "first_on": period.first_on,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "least": int(Severity.CASE),
        "rows_max": FINDINGS_MAX,
    }
    cases: dict[int, Case] = {}
    doubt: dict[int, float] = {}
    monthly: dict[int, int] = {}
    for point, channel, obis, meter, stake, rule, day, severity, evidence in connection.execute(
        SELECT_FINDINGS, parameters
    ):
        case = cases.setdefault(channel, Case(point, channel, obis, meter))
        if all(reason[0] != rule for reason in case.reasons):  # the second day of one rule makes nobody surer
            doubt[channel] = doubt.get(channel, 1.0) * (1 - _certainty(rule, severity, evidence) / 100)
        case.reasons.append((rule, day, evidence))
        monthly[channel] = stake
    for point, channel, obis, meter, *change in connection.execute(SELECT_WAITING, parameters):
        cases.setdefault(channel, Case(point, channel, obis, meter)).waiting.append(tuple(change))
    for channel, share in doubt.items():
        cases[channel].score_wh = round((1 - share) * monthly[channel])
    balances = [_of_transformer(period, row) for row in connection.execute(SELECT_BALANCES, parameters)]
    ranked = sorted([*cases.values(), *balances], key=lambda case: (-case.score_wh, case.point, case.obis))
    return ranked[:CASES_MAX]


def _of_transformer(period: Period, row: tuple[Any, ...]) -> Case:
    """Return the case of a balance.

    Its stake is the energy by which the loss is off what is usual, or what days show to be missed of meters, whichever
    is more.
    """
    name, meter, supplied_wh, delivered_wh, points, evidence = row
    suspected = evidence.pop("meters", [])
    stake, reasons = 0.0, []
    if evidence.pop("minded", False):
        told = {**evidence, "supplied_wh": supplied_wh, "delivered_wh": delivered_wh, "points": points}
        reasons.append(("V43", period.first_on, told))
        stake = abs(evidence["loss"] - evidence["usual"]) * supplied_wh * CERTAINTY_PERCENT["V43"] / 100
    reasons.extend(("V15", date.fromisoformat(each["from"]), each) for each in suspected)
    missed = sum(abs(each["unaccounted_wh"]) for each in suspected) * FAILED_PERCENT / 100
    return Case(name, NO_CHANNEL, "", meter, round(max(stake, missed)), reasons)


def _certainty(rule: str, severity: int, evidence: dict[str, Any]) -> int:
    if severity > int(Severity.CASE):
        return FAILED_PERCENT
    return WIRING_PERCENT if evidence.get("wiring") else CERTAINTY_PERCENT.get(rule, 10)
