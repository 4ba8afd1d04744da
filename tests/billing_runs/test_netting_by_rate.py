"""Net metering of a three-rate meter in billing runs: each rate by itself, from month to month and bill to bill."""

from datetime import date, timedelta

import pytest

from billing_core.codes import Category, Solar
from billing_core.explain import Language
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from ingest_server.billing.acts import Actor, Role
from ingest_server.billing.corrections import decide_difference
from ingest_server.billing.explain import explain_bill
from ingest_server.billing.period import Period, midnight_of
from ingest_server.billing.refused import RefusedError
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.stored import load_bill
from tests.billing_runs.district import RATES, Customer, District

SENT = ("1.0.2.8.1", "1.0.2.8.2", "1.0.2.8.3")
MONTHS = [Period.of_month(f"2025-{month}") for month in ("10", "11", "12")]
STANDS = {  # of each register on the first of October, November, December and January [kWh]
    **dict(zip(RATES, ((0, 100, 150, 400), (0, 50, 250, 260), (0, 80, 100, 130)), strict=True)),
    **dict(zip(SENT, ((0, 130, 190, 210), (0, 20, 30, 150), (0, 200, 210, 220)), strict=True)),
}
PLANT = Customer(
    number=1,
    registers={obis: (1000 * kwh[0], 1000 * kwh[1]) for obis, kwh in STANDS.items()},
    category="production",
    voltage="lt6",
    three_rates=True,
    solar_regime="net_2017",
)
MINH = Actor("Minh", Role.HEAD)
SURPLUS = """
    select b.energy_wh, s.energy_wh, s.carried_in_wh, s.carried_out_wh, s.carried_cd_wh, s.carried_td_wh
    from bill b join solar_purchase s using (bill_id) order by b.period_from
"""


def store(district: District, day: date, place: int) -> None:
    for obis, kwh in STANDS.items():
        district.store(PLANT.meter, obis, midnight_of(day), 1000 * kwh[place])


def bill(district: District, period: Period) -> None:
    summary = run_billing(district.dsn, period)
    assert summary.holds == []
    assert [each.why for each in replay(district.connection) if not each.same] == []
    again = run_billing(district.dsn, period)
    assert (again.billed, again.replaced) == (0, 0)


def test_each_rate_keeps_its_surplus_until_the_end_of_the_year(district: District):
    district.add([PLANT], MONTHS[0])
    for place, period in enumerate(MONTHS[1:], start=2):
        store(district, period.last_on + timedelta(days=1), place)
    for period in MONTHS:
        bill(district, period)
    assert district.rows(SURPLUS) == [
        (30_000, 0, 0, 150_000, 0, 120_000),  # 30 left at the normal rate, 120 at night, 30 are billed at peak
        (190_000, 0, 150_000, 150_000, 0, 110_000),  # 50 − 60 − 30; 200 − 10 = 190; 20 − 10 − 120
        (190_000, 200_000, 150_000, 0, 0, 0),  # 250 − 20 − 40 = 190; 120 − 10 and 110 + 10 − 30 are bought
    ]
    kept: int | tuple[int, int, int] = 0
    for place, period in enumerate(MONTHS):
        taken, sent = (
            tuple(1000 * (STANDS[obis][place + 1] - STANDS[obis][place]) for obis in of) for of in (RATES, SENT)
        )
        found = quote(
            QuoteRequest(
                category=Category.PRODUCTION,
                start_on=period.first_on,
                end_on=period.last_on,
                energy_wh=taken,
                solar=Solar.NET_2017,
                export_wh=sent,
                carry_in_wh=kept,
                settle_carry=period.last_on.month == 12,
            )
        )
        [stored] = district.rows("select total from bill where period_from = %s", [period.first_on])
        assert stored == (found.total,)
        kept = found.carry_out_rates_wh or 0
        bought = 0 if found.purchase is None else found.purchase.energy_wh
        assert district.rows(SURPLUS)[place][1] == bought
    told = {
        (number, language): "\n".join(explain_bill(stored_bill, language))
        for number in (2, 3)
        for language in Language
        if (stored_bill := load_bill(district.connection, number)) is not None
    }
    assert "is unverified" in told[2, Language.EN]
    assert "chưa xác minh" in told[2, Language.VI]
    night = "import 20 kWh − export 10 kWh − surplus of the period before 120 kWh"
    assert night in told[2, Language.EN]
    assert "110 kWh is carried to the next period" in told[2, Language.EN]
    assert "the surplus of 110 kWh is bought and none is carried on" in told[3, Language.EN]
    assert "điện dư 90 kWh được mua, không chuyển kỳ sau" in told[3, Language.VI]
    altered = "update solar_purchase set carried_cd_wh = 10000 where bill_id = 1"
    district.connection.execute(altered)
    [other] = [each for each in replay(district.connection) if not each.same]
    assert other.why == "the surplus of peak hours handed on: 0 kWh today, 10 kWh stored"


def test_a_plant_whose_export_was_not_read_by_rate_is_held(district: District):
    district.add([PLANT], MONTHS[0])
    district.forget(PLANT.meter, SENT[2], MONTHS[0].end_at)
    [hold] = run_billing(district.dsn, MONTHS[0]).holds
    assert (hold.reason, SENT[2] in hold.detail) == ("missing_register_reading", True)


def test_a_late_reading_corrects_the_surplus_of_its_rate(district: District):
    """The difference that was approved is what the next month brings in, at the rate it is of."""
    district.add([PLANT], MONTHS[0])
    run_billing(district.dsn, MONTHS[0], Plan(issue_as="An"))
    district.forget(PLANT.meter, SENT[2], MONTHS[0].end_at)
    district.store(PLANT.meter, SENT[2], MONTHS[0].end_at, 190_000)
    assert run_billing(district.dsn, MONTHS[0], Plan(correct_as=("Lan", "chỉ số đến muộn"))).proposed == 1
    [found] = district.rows("select difference_id, carried_out_wh, carried_cd_wh, carried_td_wh from bill_difference")
    assert found[1:] == (-10_000, 0, -10_000)
    decide_difference(district.connection, found[0], "approve", MINH)
    store(district, MONTHS[1].last_on + timedelta(days=1), 2)
    bill(district, MONTHS[1])
    assert district.rows(SURPLUS)[1] == (190_000, 0, 140_000, 150_000, 0, 110_000)  # 20 − 20 − 110 at night
    assert run_billing(district.dsn, MONTHS[0]).differing == 0


def test_a_difference_from_before_surpluses_were_kept_by_rate_is_proposed_anew_and_is_not_approved(district: District):
    """Its database was brought up to date since: all of the surplus counts as of the normal rate there."""
    district.add([PLANT], MONTHS[0])
    run_billing(district.dsn, MONTHS[0], Plan(issue_as="An"))
    district.forget(PLANT.meter, SENT[2], MONTHS[0].end_at)
    district.store(PLANT.meter, SENT[2], MONTHS[0].end_at, 190_000)
    correct = Plan(correct_as=("Lan", "chỉ số đến muộn"))
    assert [run_billing(district.dsn, MONTHS[0], correct).proposed for _ in range(2)] == [1, 0]
    for statement in (
        "alter table bill_difference disable trigger bill_difference_stays",
        "update bill_difference set carried_td_wh = 0",
        "alter table bill_difference enable trigger bill_difference_stays",
    ):
        district.connection.execute(statement)
    with pytest.raises(RefusedError, match="do not come to it any more"):
        decide_difference(district.connection, 1, "approve", MINH)
    assert run_billing(district.dsn, MONTHS[0], correct).proposed == 1
    decide_difference(district.connection, 2, "approve", MINH)
    assert run_billing(district.dsn, MONTHS[0]).differing == 0
