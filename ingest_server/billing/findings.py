"""Findings of validation that fail and that nobody has decided on: what is billed by their registers is held.

A finding is open in the newest judgement of its register, until

- a change of readings of its day (of a finding about the month: of a reading at one of its ends) that the judged
  readings did not contain yet was approved, and not undone since; or rejected by a controller or higher who did not
  make it, so that the meter's own readings stand; or
- somebody accepted it (``congto vee accept``).

A judgement says which decisions it was made with (``acts_before``): decisions on one register are made one after
another, so whatever has a later number is not among them, whenever the run began.

The next validation of other readings is another judgement, and its findings are open again.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from billing_core.validation.catalogue import RULES, Grain
from ingest_server.billing.columns import RATES, REGISTERS, TOTAL, BoolArray, Points, day_of
from ingest_server.billing.documents import HoldReason
from ingest_server.billing.holds import Holds
from ingest_server.billing.sentences import Sentence

FINDINGS_TOLD_MAX = 6  # of one register; the case has them all
OF_MONTHS = frozenset(rule.id for rule in RULES.values() if rule.grain in (Grain.PERIOD, Grain.METER))
OF_ENDS = frozenset({"V37", "V38"})  # about the register at the month's end: a slip there, estimates up to there

# The newest judgement of a register's month.
NEWEST = """
    not exists (
        select from vee_judgement newer
        where newer.channel_id = j.channel_id and newer.metering_point_id = j.metering_point_id
          and newer.period_from = j.period_from and newer.version > j.version)
"""
# A finding ``f`` of a judgement ``j`` was decided on by a change that the judged readings didn't contain. Judgements of
# older versions don't say which they contained: there it is what was decided before the run ``r`` began.
DECIDED = """
    exists (
        select from reading_change c
        join reading_change_act a using (change_id)
        join reading_version v using (change_id)
        where c.metering_point_id = j.metering_point_id and c.channel_id = j.channel_id and c.kind <> 'undo'
          and case when j.acts_before is null then a.acted_at > r.started_at else a.act_id > j.acts_before end
          and (a.act = 'approve' or (a.role <> 'biller' and not a.own and a.actor <> c.made_by))
          and case when f.rule = any (%(of_months)s::text[])
                   then v.measured_at in (
                       j.period_from::timestamp at time zone 'Asia/Ho_Chi_Minh',
                       (j.period_from + interval '1 month') at time zone 'Asia/Ho_Chi_Minh')
                   else v.measured_at between (f.found_on::timestamp at time zone 'Asia/Ho_Chi_Minh')
                                          and ((f.found_on + 1)::timestamp at time zone 'Asia/Ho_Chi_Minh') end
          and not exists (
              select from reading_change u
              where u.undoes = c.change_id and exists (
                  select from reading_change_act ua where ua.change_id = u.change_id and ua.act = 'approve')))
"""
# The severity is written out for the planner to see that the index of what is grave has all it needs.
SELECT_OPEN = f"""
    select j.metering_point_id, j.channel_id, j.judgement_id, f.rule, f.found_on
    from vee_judgement j
    join vee_finding f using (judgement_id)
    join vee_run r using (vee_run_id)
    where j.severity >= 4 and f.severity >= 4
      and j.metering_point_id > %(after)s and j.metering_point_id <= %(upto)s
      and (%(wanted)s::text[] is null or j.metering_point_id = any (%(wanted)s))
      and j.period_from between date_trunc('month', %(first_on)s::date)::date and %(last_on)s
      and {NEWEST}
      and not exists (select from vee_acceptance a where a.judgement_id = j.judgement_id)
      and not {DECIDED}
    order by 1, 2, f.found_on, f.rule
"""  # noqa: S608 - put together from constants


class OpenFinding(NamedTuple):
    """A rule that fails a register's day, or its month (then ``found_on`` is its first day), undecided."""

    point: str
    channel_id: int
    judgement_id: int
    rule: str
    found_on: date

    def concerns(self, first_on: date, last_on: date) -> bool:
        """Say whether a bill of these days rests on what was found.

        A finding about a day is on one of them. One about the month holds all bills of days in it, but where it is
        about the register at the month's end alone (``OF_ENDS``): a bill that ended before has an end of its own.
        """
        month_end = (self.found_on.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        if self.rule in OF_ENDS:
            return first_on <= month_end <= last_on
        if self.rule in OF_MONTHS:
            return first_on <= month_end and self.found_on.replace(day=1) <= last_on
        return first_on <= self.found_on <= last_on

    @property
    def told(self) -> str:
        """The rule and its day, or its month."""
        return f"{self.rule} {self.found_on:{'%m/%Y' if self.rule in OF_MONTHS else '%d/%m/%Y'}}"


def told_of(findings: Sequence[OpenFinding]) -> str:
    """Return rules and days of findings in a line, the first of them where there are many."""
    more = len(findings) - FINDINGS_TOLD_MAX
    return ", ".join(each.told for each in findings[:FINDINGS_TOLD_MAX]) + (f" (+{more})" if more > 0 else "")


def open_findings(connection: Connection[Any], parameters: dict[str, Any]) -> list[OpenFinding]:
    """Return the open findings of a chunk; ``parameters`` are the frame's with the chunk's bounds."""
    return [OpenFinding(*row) for row in connection.execute(SELECT_OPEN, parameters | {"of_months": sorted(OF_MONTHS)})]


def hold_findings(
    points: Points, asked: BoolArray, findings: list[OpenFinding], holds: Holds, *, correcting: bool = False
) -> None:
    """Hold rows that are billed by a register with an open finding on one of their days, or about their month.

    An issued bill is not held any more: it stands until it is corrected, and its correction waits for the decision.

    Parameters
    ----------
    correcting
        Whether differences of issued bills are computed.
    asked
        Which registers of each part the bills rest on; the total stands for its rates too, for it is where their sum is
        found wrong (V31). [parts × registers]
    """
    if not findings:
        return
    parts = points.parts
    billed = asked.copy()
    billed[:, TOTAL] |= asked[:, RATES].any(axis=1)
    names = dict.fromkeys(each.point for each in findings)
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(points.metering_point_id):
        if name in names:
            rows_of.setdefault(name, []).append(row)
    found: dict[int, dict[tuple[int, str, str], list[OpenFinding]]] = {}
    for each in findings:
        for row in rows_of.get(each.point, []):
            if points.issued.bill_id[row] and points.issued.in_ledger[row] and not correcting:
                continue
            if not each.concerns(day_of(int(points.first_day[row])), day_of(int(points.last_day[row]))):
                continue
            first, after = np.searchsorted(parts.point, [row, row + 1]).tolist()
            hit = np.argwhere((parts.channel[first:after] == each.channel_id) & billed[first:after])
            if hit.size:
                part, register = hit[0].tolist()
                key = each.judgement_id, parts.meter_id[first + part], REGISTERS[register].value
                found.setdefault(row, {}).setdefault(key, []).append(each)
    for row, registers in sorted(found.items()):
        holds.add(row, HoldReason.OPEN_FINDING.value, *(_sentence(key, own) for key, own in registers.items()))


def _sentence(key: tuple[int, str, str], findings: list[OpenFinding]) -> Sentence:
    case, meter, register = key
    return {
        "say": "open_finding",
        "case": case,
        "meter": meter,
        "register": register,
        "found": told_of(findings),
        "month": f"{findings[0].found_on:%Y-%m}",
    }
