"""The case queue of a month: what failed, what is suspected, what waits for a decision; the largest stake first."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from psycopg import Connection

from billing_core.validation.cases import CERTAINTY_PERCENT, WIRING_PERCENT
from billing_core.validation.catalogue import RULES, Severity
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION
from ingest_server.vee.feeders import REGISTERS_ASKED, SELECT_WITHOUT

CASES_MAX = 1_000
FAILED_PERCENT = 90  # a failed reading is wrong, but for a few
FINDINGS_MAX = 100_000
NO_CHANNEL = 0  # of a transformer

# Of the newest judgements, those with something grave; most months have nothing, and are not sorted for it.
SELECT_FINDINGS = f"""
    select j.metering_point_id, j.channel_id, h.obis, h.meter_id, j.monthly_wh, f.rule, f.rule_version, f.found_on,
           f.severity, f.evidence
    from vee_judgement j
    join metering_point using (metering_point_id)
    join vee_finding f using (judgement_id)
    join channel h on h.channel_id = j.channel_id
    where j.period_from = %(first_on)s and j.severity >= %(least)s and f.severity >= %(least)s and {SELECTION}
      and not exists (
          select from vee_judgement newer
          where newer.channel_id = j.channel_id and newer.metering_point_id = j.metering_point_id
            and newer.period_from = j.period_from and newer.version > j.version
      )
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
    select b.transformer_id, h.meter_id, b.supplied_wh, b.delivered_wh, b.points, b.rule_version, b.evidence
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
    ``rules`` has the version and the gravest severity of each rule among the reasons.
    """

    point: str
    channel_id: int
    obis: str
    meter: str
    score_wh: int = 0
    reasons: list[tuple[str, date, dict[str, Any]]] = field(default_factory=list)
    waiting: list[tuple[int, str, str, str]] = field(default_factory=list)
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[int, str, str, str]:
        """Where it stands in the queue: no two are alike, though a point may have had two meters in the month."""
        return -self.score_wh, self.point, self.obis, self.meter

    def add(self, rule: str, version: int, severity: int, day: date, evidence: dict[str, Any]) -> None:
        """Add a reason."""
        self.reasons.append((rule, day, evidence))
        self.rules[rule] = (version, max(severity, self.rules.get(rule, (0, 0))[1]))


class Queue(NamedTuple):
    """The riskiest cases of a month, and how many more there are at least."""

    cases: list[Case]
    more: int


def cases_of(connection: Connection[Any], period: Period, selection: Selection) -> list[Case]:
    """Return the riskiest cases of a month, in order."""
    return queue_of(connection, period, selection).cases


def queue_of(connection: Connection[Any], period: Period, selection: Selection, most: int = CASES_MAX) -> Queue:
    """Return the cases of a month, the riskiest first; those with nothing but a change that waits come last.

    Transformers whose balance is off stand among the registers by what is off there. One behind which a meter has no
    register for what it takes has that meter among its reasons (V05): its feeder cannot be balanced.
    """
    parameters = selection.parameters | {
        "first_on": period.first_on,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "from_at": period.start_at,
        "to_at": period.end_at,
        "last_on": period.last_on,
        "least": int(Severity.CASE),
        "rows_max": FINDINGS_MAX,
        **REGISTERS_ASKED,
    }
    cases: dict[tuple[int, str], Case] = {}  # a meter that was moved is a case at each of its points
    doubt: dict[tuple[int, str], float] = {}
    monthly: dict[tuple[int, str], int] = {}
    for point, channel, obis, meter, stake, *told in connection.execute(SELECT_FINDINGS, parameters):
        rule, version, day, severity, evidence = told
        key = channel, point
        case = cases.setdefault(key, Case(point, channel, obis, meter))
        if rule not in case.rules:  # the second day of one rule makes nobody surer
            doubt[key] = doubt.get(key, 1.0) * (1 - _certainty(rule, severity, evidence) / 100)
        case.add(rule, version, severity, day, evidence)
        monthly[key] = stake
    for point, channel, obis, meter, *change in connection.execute(SELECT_WAITING, parameters):
        cases.setdefault((channel, point), Case(point, channel, obis, meter)).waiting.append(tuple(change))
    for key, share in doubt.items():
        cases[key].score_wh = round((1 - share) * monthly[key])
    balances = {row[0]: _of_transformer(period, row) for row in connection.execute(SELECT_BALANCES, parameters)}
    for name, meter, point, without in connection.execute(SELECT_WITHOUT, parameters):
        lack = RULES["V05"]
        lacks = {"meter_id": without} | ({} if point is None else {"metering_point_id": point})
        case = balances.setdefault(name, Case(name, NO_CHANNEL, "", meter))
        case.add(lack.id, lack.version, int(lack.severity), period.first_on, lacks)
    ranked = sorted([*cases.values(), *balances.values()], key=lambda case: case.rank)
    return Queue(ranked[:most], max(0, len(ranked) - most))


def _of_transformer(period: Period, row: tuple[Any, ...]) -> Case:
    """Return the case of a balance.

    Its stake is the energy by which the loss is off what is usual, or what days show to be missed of meters, whichever
    is more.
    """
    name, meter, supplied_wh, delivered_wh, points, version, evidence = row
    suspected = evidence.pop("meters", [])
    case, stake = Case(name, NO_CHANNEL, "", meter), 0.0
    if evidence.pop("minded", False):
        told = {**evidence, "supplied_wh": supplied_wh, "delivered_wh": delivered_wh, "points": points}
        case.add("V43", version, int(RULES["V43"].severity), period.first_on, told)
        stake = abs(evidence["loss"] - evidence["usual"]) * supplied_wh * CERTAINTY_PERCENT["V43"] / 100
    for each in suspected:
        version = each.pop("rule_version", 1)
        case.add("V15", version, int(RULES["V15"].severity), date.fromisoformat(each["from"]), each)
    missed = sum(abs(each["unaccounted_wh"]) for each in suspected) * FAILED_PERCENT / 100
    case.score_wh = round(max(stake, missed))
    return case


def _certainty(rule: str, severity: int, evidence: dict[str, Any]) -> int:
    if severity > int(Severity.CASE):
        return FAILED_PERCENT
    return WIRING_PERCENT if evidence.get("wiring") else CERTAINTY_PERCENT.get(rule, 10)
