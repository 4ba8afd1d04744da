"""Computed bills that must not go out as they are, and issued ones that are in doubt: what was found out after them.

A bill is computed from readings as they were. Before it is issued two things may happen to them: validation finds that
a register fails on one of the bill's days, or a change of a reading that the bill rests on is approved. The first waits
for a decision (:mod:`ingest_server.billing.findings`), the second for the next run, which makes a newer version. Once
issued a bill stands whatever is found; then a clerk has to correct it, if the readings turn out wrong.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from billing_core.ledger import Entries
from ingest_server.billing.columns import RATES, REGISTERS, MeterRegister
from ingest_server.billing.findings import OpenFinding, open_findings, told_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.resting import READINGS

LAST_BILL = 2**63 - 1

# Bills of points with an open finding, and the channels they rest on: those of meters of supply whose readings they
# have, and beside rates their meter's total. Every ninth of ``metered`` is a channel.
SELECT_RESTING = """
    select b.bill_id, b.metering_point_id, s.state, r.period_from, r.period_to, b.period_from, b.period_to,
           array(select distinct t.channel_id
                 from generate_series(1, cardinality(b.metered), 9) as place (n)
                 join channel c on c.channel_id = b.metered[place.n]
                 join channel t on t.meter_id = c.meter_id
                  and (t.channel_id = c.channel_id or (t.obis = %(total)s and c.obis = any (%(rates)s::text[])))
                 where exists (select from installation i
                               where i.metering_point_id = b.metering_point_id and i.meter_id = c.meter_id
                                 and i.role = 'supply'))
    from bill b join bill_state s using (bill_id) join billing_run r using (run_id)
    where b.metering_point_id = any (%(points)s::text[]) and s.state = any (%(states)s::text[])
      and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and b.bill_id between %(first_bill)s and %(last_bill)s
    order by b.bill_id
"""
# Ready bills of points with an approved change that rest on another reading than the one that counts now.
SELECT_OUTDATED = """
    select b.bill_id, b.metering_point_id, s.state, r.period_from, r.period_to
    from bill b join bill_state s using (bill_id) join billing_run r using (run_id)
    where b.metering_point_id in (
        select c.metering_point_id from reading_change c join reading_change_act a using (change_id)
        where a.act = 'approve'
          and c.metering_point_id > %(after)s and c.metering_point_id <= %(upto)s)
      and s.state = 'ready' and b.period_to between %(first_on)s and %(last_on)s and b.period_from >= %(begins_on)s
      and b.bill_id between %(first_bill)s and %(last_bill)s
      and (%(wanted)s::text[] is null or b.metering_point_id = any (%(wanted)s))
      and (%(unit)s::text is null or left(b.metering_point_id, 6) = %(unit)s)
      and (%(book)s::text is null or exists (
            select from metering_point p where p.metering_point_id = b.metering_point_id and p.book_id = %(book)s))
      and (%(books)s::text[] is null or exists (
            select from metering_point p
            where p.metering_point_id = b.metering_point_id and p.book_id = any (%(books)s)))
      and exists (
        select from ({readings}) told
        join reading_version v on v.channel_id = told.channel_id
         and v.measured_at = timestamptz 'epoch' + told.us * interval '1 microsecond'
        join reading_change_act a on a.change_id = v.change_id and a.act = 'approve'
        left join lateral (
            select own.value from billing_reading own
            where own.channel_id = v.channel_id and own.measured_at = v.measured_at limit 1) r on true
        where r.value is distinct from told.value)
    order by b.bill_id
""".replace("{readings}", READINGS)
SELECT_BOUNDS = """
    select min(metering_point_id), max(metering_point_id), min(period_from), max(period_to) from bill
    where bill_id between %(first_bill)s and %(last_bill)s
"""
# Where the bills of a period begin at the earliest: those of a reading cycle in the month before. A bill's days are its
# run's.
SELECT_EARLIEST = """
    select least(min(period_from), %(first_on)s) from billing_run
    where period_to >= %(first_on)s and period_from between %(begins_on)s and %(last_on)s
"""
SELECT_LAST = "select coalesce(max(metering_point_id), '') from metering_point"
SELECT_IN_BOOK = (
    "select metering_point_id from metering_point where metering_point_id = any (%s) and book_id = any (%s)"
)


class DoubtedBill(NamedTuple):
    """A bill, and the open findings of registers it rests on; none where its readings were changed since."""

    bill_id: int
    point: str
    state: str
    period: Period
    findings: tuple[OpenFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as ``congto bill status --json`` tells it."""
        return {
            "bill_id": self.bill_id,
            "metering_point_id": self.point,
            "asked": self.period.asked,
            "why": "open_validation_finding" if self.findings else "readings_changed",
            "cases": sorted({each.judgement_id for each in self.findings}),
            "found": told_of(self.findings),
        }


def doubted_bills(
    connection: Connection[Any], period: Period, selection: Selection, states: Sequence[str]
) -> list[DoubtedBill]:
    """Return the bills of a period in these states that are in doubt, in order of their ids."""
    last = connection.execute(SELECT_LAST).fetchone()
    assert last is not None, "an aggregate gives a row"
    asked = selection.parameters | period.bounds
    asked |= {"first_bill": 0, "last_bill": LAST_BILL, "after": "", "upto": last[0]}
    earliest = connection.execute(SELECT_EARLIEST, period.bounds).fetchone()
    assert earliest is not None, "an aggregate gives a row"
    findings = open_findings(connection, asked | {"first_on": earliest[0]})
    if selection.unit is not None:
        findings = [each for each in findings if each.point.startswith(selection.unit)]
    for books in (None if selection.book is None else (selection.book,), selection.books):
        if books is not None:
            named = sorted({each.point for each in findings})
            own = {row[0] for row in connection.execute(SELECT_IN_BOOK, [named, list(books)])}
            findings = [each for each in findings if each.point in own]
    return _doubted(connection, asked, findings, states)


def without_doubted(connection: Connection[Any], made: Entries) -> Entries:
    """Return entries of ready bills without those of bills in doubt."""
    if not len(made):
        return made
    bills = {"first_bill": int(made.document.min()), "last_bill": int(made.document.max())}
    row = connection.execute(SELECT_BOUNDS, bills).fetchone()
    assert row is not None, "a query of aggregates gives a row"
    first, upto, first_on, last_on = row
    asked = {**Selection().parameters, **bills, "first_on": first_on, "last_on": last_on, "begins_on": first_on}
    asked |= {"after": first[:-1], "upto": upto}  # what is cut short sorts before the whole
    findings = open_findings(connection, asked)
    kept = [each.bill_id for each in _doubted(connection, asked, findings, ("ready",))]
    sent = ~np.isin(made.document, kept)
    return Entries(posting=made.posting[sent], document=made.document[sent], amount=made.amount[sent])


def _doubted(
    connection: Connection[Any], asked: dict[str, Any], findings: Sequence[OpenFinding], states: Sequence[str]
) -> list[DoubtedBill]:
    found: dict[int, DoubtedBill] = {}
    by_point: dict[str, list[OpenFinding]] = {}
    for each in findings:
        by_point.setdefault(each.point, []).append(each)
    if by_point:
        resting = asked | {
            "points": list(by_point),
            "states": list(states),
            "total": MeterRegister.SG.value,
            "rates": [each.value for each in REGISTERS[RATES]],
        }
        for bill, point, state, first_on, last_on, *days, channels in connection.execute(SELECT_RESTING, resting):
            own = tuple(each for each in by_point[point] if _rests(each, days, channels))
            if own:
                found[bill] = DoubtedBill(bill, point, state, Period(first_on, last_on), own)
    if "ready" in states:
        for bill, point, state, first_on, last_on in connection.execute(SELECT_OUTDATED, asked):
            found.setdefault(bill, DoubtedBill(bill, point, state, Period(first_on, last_on), ()))
    return [found[bill] for bill in sorted(found)]


def _rests(finding: OpenFinding, days: Sequence[date], channels: Sequence[int]) -> bool:
    return finding.channel_id in channels and finding.concerns(*days)
