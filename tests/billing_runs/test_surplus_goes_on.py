"""Net metering whose contract is changed, not ended: the surplus goes on with the customer, into the next bill."""

from datetime import date, timedelta

from billing_core.codes import Category, Solar
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.replay import replay
from ingest_server.billing.run import run_billing
from tests.billing_runs.district import EXPORT, IMPORT, Customer, District

SEPTEMBER, OCTOBER, NOVEMBER = (Period.of_month(f"2025-{month}") for month in ("09", "10", "11"))
DECEMBER = Period.of_month("2025-12")
ROOF = Customer(number=1, registers={IMPORT: (0, 10_000), EXPORT: (0, 110_000)}, solar_regime="net_2017")
END = "update contract set valid_to = %s where metering_point_id = %s and valid_to is null"
GO_ON = """
    insert into contract (metering_point_id, valid_from, category, voltage, solar_regime) values (%s, %s, %s, 'lt6', %s)
"""
SURPLUS = """
    select b.period_from, b.energy_wh, s.energy_wh, s.carried_in_wh, s.carried_out_wh
    from bill b join solar_purchase s using (bill_id) order by 1
"""


def change(district: District, day: date, category: str, regime: str = "net_2017") -> None:
    district.connection.execute(END, [day - timedelta(days=1), ROOF.point])
    district.connection.execute(GO_ON, [ROOF.point, day, category, regime])


def store(district: District, day: date, taken: int, sent: int) -> None:
    for obis, value in ((IMPORT, taken), (EXPORT, sent)):
        district.store(ROOF.meter, obis, midnight_of(day), value)


def bill(district: District, period: Period) -> None:
    summary = run_billing(district.dsn, period)
    assert summary.holds == []
    assert [each.why for each in replay(district.connection) if not each.same] == []
    assert run_billing(district.dsn, period).billed == 0


def test_a_surplus_goes_into_the_next_bill_of_the_month_where_the_terms_change(district: District):
    """100 kWh are left of September; 30 used and 70 sent up to the 10th make 140, which the shop uses from the 11th."""
    district.add([ROOF], SEPTEMBER)
    bill(district, SEPTEMBER)
    change(district, date(2025, 10, 11), "business")
    change(district, date(2025, 10, 21), "residential")
    for day, taken, sent in ((11, 40_000, 180_000), (21, 140_000, 190_000)):
        store(district, date(2025, 10, day), taken, sent)
    store(district, NOVEMBER.first_on, 440_000, 200_000)
    bill(district, OCTOBER)
    assert district.rows(SURPLUS)[1:] == [
        (date(2025, 10, 1), 0, 0, 100_000, 140_000),
        (date(2025, 10, 11), 0, 0, 140_000, 50_000),  # 100 used, 10 sent
        (date(2025, 10, 21), 240_000, 0, 50_000, 0),  # 300 used, 10 sent
    ]
    last = QuoteRequest(
        category=Category.RESIDENTIAL,
        start_on=date(2025, 10, 21),
        end_on=OCTOBER.last_on,
        energy_wh=300_000,
        nominal_days=31,
        solar=Solar.NET_2017,
        export_wh=10_000,
        carry_in_wh=50_000,
    )
    [(total,)] = district.rows("select total from bill where period_from = '2025-10-21'")
    assert total == quote(last).total


def test_a_surplus_goes_into_the_next_month_where_the_terms_change_on_its_first_day(district: District):
    district.add([ROOF], SEPTEMBER)
    change(district, OCTOBER.first_on, "business")
    bill(district, SEPTEMBER)
    store(district, NOVEMBER.first_on, 40_000, 180_000)
    bill(district, OCTOBER)
    assert district.rows(SURPLUS) == [
        (SEPTEMBER.first_on, 0, 0, 0, 100_000),
        (OCTOBER.first_on, 0, 0, 100_000, 140_000),
    ]


def test_a_surplus_is_bought_where_net_metering_ends_whatever_follows(district: District):
    district.add([ROOF], SEPTEMBER)
    change(district, date(2025, 9, 11), "residential", "separate_2019")
    store(district, date(2025, 9, 11), 5_000, 65_000)
    bill(district, SEPTEMBER)
    [first, second] = district.rows(SURPLUS)
    assert first[1:] == (0, 60_000, 0, 0)
    assert (second[0], second[2]) == (date(2025, 9, 11), 45_000)


def test_a_surplus_is_bought_at_the_end_of_the_year_though_the_terms_change_on_the_next_day(district: District):
    district.add([ROOF], DECEMBER)
    change(district, date(2026, 1, 1), "business")
    bill(district, DECEMBER)
    assert [row[1:] for row in district.rows(SURPLUS)] == [(0, 100_000, 0, 0)]
