"""Three months are estimated and billed; then one reading comes, across a change of price."""

from datetime import UTC, datetime

import pytest

from ingest_server.billing.acts import Actor, Role, issue
from ingest_server.billing.corrections import decide_difference, differences_of
from ingest_server.billing.gather import Selection
from ingest_server.billing.limits import limits_from
from ingest_server.billing.period import Period
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from ingest_server.vee.decisions import decide_change
from ingest_server.vee.run import run_vee
from ingest_server.vee.true_up import true_up
from tests.billing_runs.district import IMPORT, District, household

pytestmark = pytest.mark.integration
# Decision 4495 came into force on 1/12/2017.
MONTHS = [Period.of_month(text) for text in ("2017-10", "2017-11", "2017-12", "2018-01")]
MINH = Actor("Minh", Role.DIRECTOR, "đúng")
LAN = {"actor": "Lan", "now": datetime(2018, 3, 1, tzinfo=UTC)}
TIERS = (50, 50, 100, 100, 100, None)
OLD = (1484, 1533, 1786, 2242, 2503, 2587)  # Decision 2256/2015, đ/kWh
NEW = (1549, 1600, 1858, 2340, 2615, 2701)  # Decision 4495/2017


def bill_of(energy_wh: int, prices: tuple[int, ...]) -> int:
    """Return what a household's month costs with ten per cent of tax, computed apart from the engine. [đ]"""
    left, subtotal = energy_wh, 0
    for wide, price in zip(TIERS, prices, strict=True):
        taken = left if wide is None else min(left, wide * 1000)
        subtotal += (taken * price + 500) // 1000
        left -= taken
    return subtotal + (subtotal + 5) // 10


def estimated(district: District) -> None:
    """Bill October from readings, then estimate the three months after it, each approved and issued."""
    one = household(1, energy_wh=310_000)
    district.add([one], MONTHS[0])
    district.connection.execute("update contract set valid_from = '2015-07-01'")
    district.connection.execute("update installation set installed_at = '2015-07-01'")
    assert run_billing(district.dsn, MONTHS[0], Plan(issue_as="Lan")).issued == 1
    for month in MONTHS[1:]:
        outcome = run_vee(district.dsn, month, **LAN)
        assert (outcome.proposed, outcome.values, outcome.ends_left) == (1, 1, 0)
        [change] = [row[0] for row in district.rows("select max(change_id) from reading_change")]
        decide_change(district.connection, change, "approve", MINH, limits_from(None))
        assert run_billing(district.dsn, month, Plan(issue_as="Lan")).held == 0
        district.connection.execute(
            "insert into bill_act (bill_id, act, actor, role, note)"
            " select bill_id, 'release', 'Minh', 'director', 'x' from bill_state where state = 'held'"
        )
        issue(district.connection, month, Selection(), MINH)


def test_three_estimated_months_and_one_reading_are_trued_up_by_days_at_each_months_prices(district: District) -> None:
    estimated(district)
    start = 1_310_000
    bills = district.rows("select period_from, energy_wh, total from bill order by period_from")[1:]
    assert [row[1] for row in bills] == [300_000, 310_000, 310_000]
    district.store("M-0001", IMPORT, MONTHS[-1].end_at, start + 1_000_003)
    outcome = true_up(district.dsn, Selection(), made_by="Lan", why="đã có chỉ số", now=LAN["now"], rule_set="x")
    assert (len(outcome.changes), outcome.corrected, outcome.still_open) == (1, (), 0)
    effects = decide_change(district.connection, outcome.changes[0], "approve", MINH, limits_from(None))
    again = true_up(district.dsn, Selection(), made_by="Lan", why="đã có chỉ số", now=LAN["now"], rule_set="x")
    assert (again.changes, [each.proposed for each in again.corrected]) == ((), [1, 1, 1])
    # 1,000,003 Wh over 30 + 31 + 31 days: 326,087.93, 336,957.53, 336,957.53; the largest remainders get the last 2 Wh.
    shares = [326_088, 336_958, 336_957]
    for month, (_, billed, was), energy, prices in zip(MONTHS[1:], bills, shares, (OLD, NEW, NEW), strict=True):
        [found] = differences_of(district.connection, month, Selection())
        assert found["energy_wh"] + billed == energy
        assert (was + found["total"], was) == (bill_of(energy, prices), bill_of(billed, prices))
        decide_difference(district.connection, found["difference_id"], "approve", MINH)
    assert [each.energy_wh for each in effects] == [26_088, 26_958, 26_957]
    last = true_up(district.dsn, Selection(), made_by="Lan", why="đã có chỉ số", now=LAN["now"], rule_set="x")
    assert (last.changes, last.corrected) == ((), ())
    ledger = ledger_of(district.connection)
    assert (ledger["sum"], ledger["broken_at_block"]) == (0, None)
    prices = (OLD, OLD, NEW, NEW)
    assert ledger["accounts"]["receivable"] == sum(map(bill_of, [310_000, *shares], prices))


def test_an_estimate_gives_way_to_the_meters_own_reading_when_it_comes(district: District) -> None:
    estimated(district)
    at = MONTHS[1].end_at
    [[value, quality]] = district.rows("select value, quality from billing_reading where measured_at = %s", [at])
    assert (value, quality) == (1_610_000, 16)
    district.store("M-0001", IMPORT, at, 1_600_000)
    assert district.rows("select value, quality from billing_reading where measured_at = %s", [at]) == [(1_600_000, 0)]
    assert run_billing(district.dsn, MONTHS[1], Plan(dry_run=True)).differing == 1


def test_nothing_is_trued_up_while_no_reading_has_come(district: District) -> None:
    estimated(district)
    outcome = true_up(district.dsn, Selection(), made_by="Lan", why="x", now=LAN["now"], rule_set="x")
    assert (outcome.changes, outcome.corrected, outcome.still_open) == ((), (), 3)


def test_a_true_up_of_one_month_corrects_no_other_months_bills(district: District) -> None:
    estimated(district)
    district.store("M-0001", IMPORT, MONTHS[-1].end_at, 2_310_003)
    common = {"made_by": "Lan", "why": "đã có chỉ số", "now": LAN["now"], "rule_set": "x"}
    before = Period.of_month("2017-09")
    assert true_up(district.dsn, Selection(), period=before, **common).changes == ()
    outcome = true_up(district.dsn, Selection(), period=MONTHS[1], **common)
    [change] = outcome.changes
    assert district.value("select count(*) from reading_version where change_id = %s", [change]) == 2
    decide_change(district.connection, change, "approve", MINH, limits_from(None))
    again = true_up(district.dsn, Selection(), period=MONTHS[1], **common)
    assert [str(each.period) for each in again.corrected] == ["2017-11"]
    rest = true_up(district.dsn, Selection(), **common)
    assert [str(each.period) for each in rest.corrected] == ["2017-12", "2018-01"]
