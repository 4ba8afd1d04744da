"""What is said of a month's bills, where bills of a reading cycle begin in the month before."""

from datetime import date

import pytest

from ingest_server.billing import acts
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.doubted import doubted_bills
from tests.billing_runs.district import IMPORT, OCTOBER, Customer, District
from tests.billing_runs.test_cycles import ALL, SEPTEMBER, bill_cycle, book, people, read

pytestmark = pytest.mark.integration
HOA = Actor("Hoa", Role.HEAD, "đúng")
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
