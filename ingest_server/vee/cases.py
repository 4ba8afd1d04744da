"""The case queue of a month: what failed, what is suspected, what waits for a decision; the largest stake first.

The queue is read page by page: each kind of case comes from an index in the queue's order, and only of those on the
page are findings, registers and changes looked up. A case stands in it until somebody accepts it, or decides on changes
of the readings that it minds (:mod:`ingest_server.billing.findings`); those who want to see those too ask for every
case.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import Connection

from billing_core.validation.catalogue import RULES, Severity
from ingest_server.billing.findings import DECIDED, NEWEST, OF_MONTHS
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.queries import SELECTION
from ingest_server.vee.feeders import REGISTERS_ASKED, SELECT_WITHOUT

CASES_MAX = 1_000
RANKS_MAX = 100_000  # of a month; those beyond are not counted
LACKS_MAX = 100_000  # meters without a register behind the transformers of a page
NO_CHANNEL = 0  # of a transformer
OPEN = ("open", "waiting")  # states of cases that somebody must look at
GRAVE = int(Severity.CASE)

OF_SELECTION = f"""
    exists (select from metering_point p where p.metering_point_id = {{point}} and {SELECTION})
"""
# A judgement ``j`` has a finding that is grave and that nobody has decided on.
UNDECIDED = f"""
    exists (select from vee_finding f where f.judgement_id = j.judgement_id and f.severity >= {GRAVE} and not {DECIDED})
"""
# Registers, in the queue's order, after a place in it. The severity is written out for the planner to see that the
# index of grave judgements will do.
SELECT_JUDGED = f"""
    select j.score_wh, j.metering_point_id, j.channel_id, j.judgement_id, undecided,
           a.actor, a.role, a.note, a.acted_at
    from vee_judgement j
    join vee_run r using (vee_run_id)
    left join vee_acceptance a using (judgement_id)
    cross join lateral (select {UNDECIDED} as undecided offset 0) own
    where j.period_from = %(first_on)s and j.severity >= {GRAVE}
      and (-j.score_wh, j.metering_point_id collate "C", j.channel_id) > (%(stake)s, %(name)s, %(channel)s)
      and (%(wanted)s::text[] is null or j.metering_point_id = any (%(wanted)s))
      and {OF_SELECTION.format(point="j.metering_point_id")} and {NEWEST}
      and (%(every)s or (a.judgement_id is null and undecided))
    order by -j.score_wh, j.metering_point_id collate "C", j.channel_id limit %(rows_max)s
"""  # noqa: S608 - put together from constants
# Transformers behind which a point of the selection is: newest balances that V43, V15 or V05 mind.
SELECT_BALANCES = f"""
    select b.score_wh, b.transformer_id, h.meter_id, b.supplied_wh, b.delivered_wh, b.points, b.rule_version, b.evidence
    from transformer_balance b
    cross join lateral (
        select feeder, meter_id from transformer t
        where t.transformer_id = b.transformer_id and t.valid_from <= %(first_on)s
        order by t.valid_from desc, t.row_id desc limit 1
    ) h
    where b.period_from = %(first_on)s and b.severity >= {GRAVE}
      and (-b.score_wh, b.transformer_id collate "C") > (%(stake)s, %(name)s)
      and not exists (
          select from transformer_balance newer
          where newer.transformer_id = b.transformer_id and newer.period_from = b.period_from
            and newer.version > b.version)
      and exists (
          select from meter m join installation i using (meter_id) join metering_point p using (metering_point_id)
          where m.feeder = h.feeder and {SELECTION})
    order by -b.score_wh, b.transformer_id collate "C" limit %(rows_max)s
"""  # noqa: S608 - put together from constants
# Registers with nothing but a change of one of the month's readings that nobody has decided on. Nothing is at stake, so
# that they come in order of point and channel, in which an index begins at a place among them.
SELECT_WAITING_ALONE = f"""
    select distinct c.metering_point_id collate "C", c.channel_id from reading_change c
    where (c.metering_point_id collate "C", c.channel_id) > (%(name)s, %(channel)s)
      and not exists (select from reading_change_act a where a.change_id = c.change_id)
      and (%(wanted)s::text[] is null or c.metering_point_id = any (%(wanted)s))
      and {OF_SELECTION.format(point="c.metering_point_id")}
      and exists (select from reading_version v where v.change_id = c.change_id
                  and v.measured_at between %(start_at)s and %(end_at)s)
      and not exists (
          select from vee_judgement j
          join vee_run r using (vee_run_id)
          left join vee_acceptance a using (judgement_id)
          where j.metering_point_id = c.metering_point_id and j.channel_id = c.channel_id
            and j.period_from = %(first_on)s and j.severity >= {GRAVE} and {NEWEST}
            and (%(every)s or (a.judgement_id is null and {UNDECIDED})))
    order by 1, 2 limit %(rows_max)s
"""  # noqa: S608 - put together from constants
SELECT_FINDINGS = """
    select judgement_id, rule, rule_version, severity, found_on, evidence from vee_finding
    where judgement_id = any (%(judgements)s::bigint[]) and severity >= %(least)s
    order by judgement_id, found_on, rule
"""
SELECT_CHANNELS = "select channel_id, obis, meter_id from channel where channel_id = any (%(channels)s::integer[])"
SELECT_WAITING = """
    select c.channel_id, c.metering_point_id, c.change_id, c.kind, c.made_by, c.why
    from reading_change c
    where c.channel_id = any (%(channels)s::integer[])
      and not exists (select from reading_change_act a where a.change_id = c.change_id)
      and exists (select from reading_version v where v.change_id = c.change_id
                  and v.measured_at between %(start_at)s and %(end_at)s)
    order by c.change_id
"""


class Rank(NamedTuple):
    """Where a case stands in the queue: no two are alike, though a point may have had two meters in the month."""

    stake: int  # the score below zero, so that the largest comes first [Wh]
    name: str  # of the point or the transformer
    channel: int


FIRST = Rank(-(2**63), "", 0)  # before every case
FIRST_WITHOUT_STAKE = Rank(0, "", 0)


class Accepted(NamedTuple):
    """Who said that the readings stand as they are, and why."""

    actor: str
    role: str
    note: str
    acted_at: datetime


@dataclass(slots=True)
class Case:
    """What somebody must look at: the stake in Wh a month, why, and which changes wait.

    It is a register of a point; or a transformer with its own meter, then ``obis`` is empty and ``point`` its name.
    ``rules`` has the version and the gravest severity of each rule among the reasons. ``number`` is that of the
    judgement, by which it is accepted; none where a change waits and nothing was found, and of a transformer.
    ``decided`` says that changes of all the readings that it minds were decided on.
    """

    point: str
    channel_id: int
    obis: str
    meter: str
    score_wh: int = 0
    number: int | None = None
    decided: bool = False
    accepted: Accepted | None = None
    reasons: list[tuple[str, date, dict[str, Any]]] = field(default_factory=list)
    waiting: list[tuple[int, str, str, str]] = field(default_factory=list)
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def rank(self) -> Rank:
        """Where it stands in the queue."""
        return Rank(-self.score_wh, self.point, self.channel_id)

    @property
    def state(self) -> str:
        """``open``, ``waiting`` where nothing but a change waits, ``accepted``, or ``decided``."""
        if self.accepted is not None:
            return "accepted"
        if self.decided:
            return "decided"
        return "waiting" if self.number is None and self.channel_id != NO_CHANNEL else "open"

    def add(self, rule: str, version: int, severity: int, day: date, evidence: dict[str, Any]) -> None:
        """Add a reason."""
        self.reasons.append((rule, day, evidence))
        self.rules[rule] = (version, max(severity, self.rules.get(rule, (0, 0))[1]))


class Queue(NamedTuple):
    """The riskiest cases of a month, and how many more there are at least."""

    cases: list[Case]
    more: int


def queue_of(
    connection: Connection[Any], period: Period, selection: Selection, most: int = CASES_MAX, *, every: bool = False
) -> Queue:
    """Return the cases of a month, the riskiest first; those with nothing but a change that waits come last.

    Transformers whose balance is off stand among the registers by what is off there. One behind which a meter has no
    register for what it takes has that meter among its reasons (V05): its feeder cannot be balanced.

    Parameters
    ----------
    every
        Also those that were accepted or decided on.
    """
    asked = _asked(period, selection, every=every)
    ranked = _ranked(connection, period, asked, FIRST, RANKS_MAX)
    _look_up(connection, period, asked, ranked[:most])
    return Queue(ranked[:most], max(0, len(ranked) - most))


def page_of(
    connection: Connection[Any], period: Period, selection: Selection, after: Rank, limit: int, *, every: bool = False
) -> list[Case]:
    """Return at most ``limit`` cases of the queue that come after a place in it."""
    asked = _asked(period, selection, every=every)
    ranked = _ranked(connection, period, asked, after, limit)
    _look_up(connection, period, asked, ranked)
    return ranked


def _asked(period: Period, selection: Selection, *, every: bool) -> dict[str, Any]:
    return selection.parameters | {
        "first_on": period.first_on,
        "last_on": period.last_on,
        "start_at": period.start_at,
        "end_at": period.end_at,
        "of_months": sorted(OF_MONTHS),
        "every": every,
    }


def _ranked(connection: Connection[Any], period: Period, asked: dict[str, Any], after: Rank, limit: int) -> list[Case]:
    """Return the next cases in order, without what is looked up of each; registers have no meter yet."""
    parameters = asked | after._asdict() | {"rows_max": limit}
    found = []
    for score, point, channel, number, undecided, *accepted in connection.execute(SELECT_JUDGED, parameters):
        case = Case(point, channel, "", "", score, number, not undecided)
        case.accepted = None if accepted[0] is None else Accepted(*accepted)
        found.append(case)
    found += [_of_transformer(period, *row) for row in connection.execute(SELECT_BALANCES, parameters)]
    if sum(case.score_wh > 0 for case in found) < limit and after.stake <= 0:
        parameters |= max(after, FIRST_WITHOUT_STAKE)._asdict()
        found += [
            Case(point, channel, "", "") for point, channel in connection.execute(SELECT_WAITING_ALONE, parameters)
        ]
    return sorted(found, key=lambda case: case.rank)[:limit]


def _of_transformer(period: Period, score: int, name: str, meter: str, *balance: Any) -> Case:
    """Return the case of a balance."""
    supplied_wh, delivered_wh, points, version, evidence = balance
    suspected = evidence.pop("meters", [])
    case = Case(name, NO_CHANNEL, "", meter, score)
    if evidence.pop("minded", False):
        told = {**evidence, "supplied_wh": supplied_wh, "delivered_wh": delivered_wh, "points": points}
        case.add("V43", version, int(RULES["V43"].severity), period.first_on, told)
    for each in suspected:
        version = each.pop("rule_version", 1)
        case.add("V15", version, int(RULES["V15"].severity), date.fromisoformat(each["from"]), each)
    return case


def _look_up(connection: Connection[Any], period: Period, asked: dict[str, Any], cases: list[Case]) -> None:
    """Fill in what the cases say of their registers, findings and changes."""
    registers = {(case.channel_id, case.point): case for case in cases if case.channel_id != NO_CHANNEL}
    by_number = {case.number: case for case in cases if case.number is not None}
    channels = sorted({channel for channel, _ in registers})
    known = {channel: told for channel, *told in connection.execute(SELECT_CHANNELS, {"channels": channels})}
    for (channel, _), case in registers.items():
        case.obis, case.meter = known[channel]
    numbers = {"judgements": sorted(by_number), "least": GRAVE}
    for number, rule, version, severity, *told in connection.execute(SELECT_FINDINGS, numbers):
        by_number[number].add(rule, version, severity, *told)
    for channel, point, *change in connection.execute(SELECT_WAITING, asked | {"channels": channels}):
        if (channel, point) in registers:
            registers[channel, point].waiting.append(tuple(change))
    transformers = {case.point: case for case in cases if case.channel_id == NO_CHANNEL}
    if not transformers:
        return
    wanted = asked | REGISTERS_ASKED | {"transformers": list(transformers), "rows_max": LACKS_MAX}
    wanted |= {"from_at": period.start_at, "to_at": period.end_at}
    lack = RULES["V05"]
    for name, _, point, without in connection.execute(SELECT_WITHOUT, wanted):
        lacks = {"meter_id": without} | ({} if point is None else {"metering_point_id": point})
        transformers[name].add(lack.id, lack.version, int(lack.severity), period.first_on, lacks)
