"""What is said of a month's bills, where bills of a reading cycle begin in the month before."""

from datetime import date

import pytest

from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.doubted import doubted_bills
from ingest_server.billing.rebill import rebill
from ingest_server.billing.refused import RefusedError
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District
from tests.billing_runs.test_cycles import ALL, SEPTEMBER, bill_cycle, book, issue_all, people, read

pytestmark = pytest.mark.integration
DIRECTOR, HOA = Actor("Minh", Role.DIRECTOR, "sai"), Actor("Hoa", Role.HEAD, "đúng")
NEWEST = "select max(bill_id) from bill"
INSERT_FINDING = """
    with run as (insert into vee_run (period_from, period_to, rule_set, actor)
                 values ('2026-09-01', '2026-09-30', 'x', 'Lan') returning vee_run_id),
    judged as (
        insert into vee_judgement (vee_run_id, metering_point_id, channel_id, period_from, version, rule_set,
                                   inputs_hash, severity, monthly_wh, acts_before)
        select vee_run_id, %s, channel_id, '2026-09-01', 1, 'x', 'x', 4, 1, 0 from run, channel
        where meter_id = %s and obis = %s returning judgement_id)
    insert into vee_finding select judgement_id, 'V06', %s, 1, 4, '{}' from judged
"""


def two_cycles(district: District) -> Customer:
    """Compute bills of 17/08–16/09 and of 17/09–16/10."""
    [customer] = people(district)
    book(district, "S16", 16, points=[customer])
    read(district, [customer], date(2026, 8, 17), date(2026, 9, 17), date(2026, 10, 17))
    assert [run.billed for month in (SEPTEMBER, OCTOBER) for run in bill_cycle(district, month)] == [1, 1]
    return customer


@pytest.mark.parametrize(("day", "doubted"), [(16, [SEPTEMBER]), (17, [OCTOBER]), (30, [OCTOBER])])
def test_a_day_of_last_month_that_fails_since_doubts_the_bill_whose_cycle_has_it(
    district: District, day: int, doubted: list[object]
) -> None:
    customer = two_cycles(district)
    found_on = date(2026, 9, day)
    district.connection.execute(INSERT_FINDING, [customer.point, customer.meter, IMPORT, found_on])
    named = [month for month in (SEPTEMBER, OCTOBER) if doubted_bills(district.connection, month, ALL, ("ready",))]
    assert named == doubted
    assert acts.issue(district.connection, SEPTEMBER, ALL, HOA) == (SEPTEMBER not in doubted)
    assert acts.issue(district.connection, OCTOBER, ALL, HOA) == (OCTOBER not in doubted)


def test_only_bills_of_the_period_are_told_as_left_to_others_not_those_of_the_next_cycle(district: District) -> None:
    two_cycles(district)
    assert issue_all(district) == 2
    new = [rebill(district.dsn, old, DIRECTOR)[0] for (old,) in district.rows("select bill_id from bill order by 1")]
    for month, bill_id in zip((SEPTEMBER, OCTOBER), new, strict=True):
        assert acts.left_to_others(district.connection, month, ALL, DIRECTOR) == [bill_id]
        assert acts.issue(district.connection, month, ALL, DIRECTOR) == 0


def test_who_cancelled_the_bill_of_a_cycle_does_not_release_the_one_in_its_place(district: District) -> None:
    two_cycles(district)
    issue_all(district)
    acts.cancel(district.connection, district.value(NEWEST), DIRECTOR)
    bill_cycle(district, OCTOBER)
    bill_id = district.value(NEWEST)
    acts.hold(district.connection, bill_id, HOA)
    with pytest.raises(RefusedError, match="cancelled the bill in whose place it stands"):
        acts.release(district.connection, bill_id, DIRECTOR)
    acts.release(district.connection, bill_id, Actor("Thu", Role.HEAD, "đúng"))
    assert acts.issue(district.connection, OCTOBER, ALL, DIRECTOR) == 1
