"""Late readings: an issued bill stands, its difference is proposed by one person and approved by another."""

import json
from typing import Any

import pytest

from billing_core.explain import Language
from deploy.cli import main
from ingest_server.billing.acts import Actor, Role, cancel
from ingest_server.billing.corrections import correction_lines, decide_difference, differences_of
from ingest_server.billing.difference_words import signed
from ingest_server.billing.gather import Selection
from ingest_server.billing.period import Period
from ingest_server.billing.rebill import rebill
from ingest_server.billing.replay import replay
from ingest_server.billing.run import Plan, run_billing
from ingest_server.billing.standing import ledger_of
from protocols.errors import UsageError
from tests.billing_runs.district import EXPORT, IMPORT, NOVEMBER, OCTOBER, Customer, District, household
from tests.billing_runs.test_runs import quoted

pytestmark = pytest.mark.integration
ALL = Selection()
SUNNY = Period.of_month("2025-10")  # of 2026 no price of solar energy is known yet
CORRECT = Plan(correct_as=("Lan", "chỉ số đến muộn"))
MINH, LAN = Actor("Minh", Role.CONTROLLER, "đúng"), Actor("Lan", Role.HEAD, "đúng")


def corrected(district: District, energy_wh: int = 200_000) -> None:
    """Issue three bills of 165 kWh; then the second's reading at the end becomes another."""
    customers = [household(number) for number in (1, 2, 3)]
    district.add(customers)
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    read_again(district, energy_wh)


def read_again(district: District, energy_wh: int) -> None:
    meter = household(2).meter
    district.forget(meter, IMPORT, OCTOBER.end_at)
    district.store(meter, IMPORT, OCTOBER.end_at, 1_000_000 + energy_wh)


def test_a_difference_is_what_the_bill_should_have_been_less_what_it_was_and_enters_the_ledger_once_approved(
    district: District,
) -> None:
    corrected(district)
    bills = district.rows("select * from bill order by bill_id")
    summary = run_billing(district.dsn, OCTOBER, CORRECT)
    assert (summary.proposed, summary.differing, summary.billed, summary.unchanged) == (1, 1, 0, 2)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    was, should = quoted(household(2)), quoted(household(2, 200_000))
    assert (found["energy_wh"], found["total"]) == (35_000, should[3] - was[3])
    owed = ledger_of(district.connection)["accounts"]["receivable"]
    assert decide_difference(district.connection, found["difference_id"], "approve", MINH) == found["bill_id"]
    ledger = ledger_of(district.connection)
    assert ledger["accounts"]["receivable"] - owed == should[3] - was[3]
    assert ledger["accounts"]["adjustment"] == -(should[1] - was[1])
    assert (ledger["sum"], ledger["broken_at_block"]) == (0, None)
    assert district.rows("select * from bill order by bill_id") == bills


def test_what_is_proposed_is_not_proposed_again_and_what_is_approved_is_no_difference_any_more(
    district: District,
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    again = run_billing(district.dsn, OCTOBER, CORRECT)
    assert (again.proposed, again.differing) == (0, 1)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    decide_difference(district.connection, found["difference_id"], "approve", MINH)
    assert run_billing(district.dsn, OCTOBER).unchanged == 3


def test_a_second_correction_is_the_difference_to_the_first_and_a_reading_taken_back_makes_a_credit(
    district: District,
) -> None:
    corrected(district)
    for energy in (200_000, 165_000, 200_000, 150_000):
        read_again(district, energy)
        assert run_billing(district.dsn, OCTOBER, CORRECT).proposed == 1
        newest = differences_of(district.connection, OCTOBER, ALL)[0]
        decide_difference(district.connection, newest["difference_id"], "approve", MINH)
    total = district.value("select sum(receivable)::bigint from ledger_entry where bill_id = 2")
    assert total == quoted(household(2, 150_000))[3]


def test_the_one_who_proposed_it_cannot_approve_it_nor_a_biller_and_nobody_decides_twice(district: District) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    [found] = differences_of(district.connection, OCTOBER, ALL)
    number = found["difference_id"]
    for actor, told in ((LAN, "four eyes"), (Actor("Hoa", Role.BILLER, "x"), "a controller or higher decides")):
        with pytest.raises(UsageError, match=told):
            decide_difference(district.connection, number, "approve", actor)
    decide_difference(district.connection, number, "reject", MINH)
    with pytest.raises(UsageError, match=r"Minh decided on it already \(reject\)"):
        decide_difference(district.connection, number, "approve", MINH)
    with pytest.raises(UsageError, match="there is no difference 99"):
        decide_difference(district.connection, 99, "approve", MINH)


def test_a_difference_that_another_has_overtaken_or_whose_bill_was_cancelled_is_not_approved(
    district: District,
) -> None:
    corrected(district)
    run_billing(district.dsn, OCTOBER, CORRECT)
    read_again(district, 210_000)
    run_billing(district.dsn, OCTOBER, CORRECT)
    second, first = differences_of(district.connection, OCTOBER, ALL)
    decide_difference(district.connection, second["difference_id"], "approve", MINH)
    with pytest.raises(UsageError, match="another was approved since"):
        decide_difference(district.connection, first["difference_id"], "approve", MINH)
    read_again(district, 220_000)
    run_billing(district.dsn, OCTOBER, CORRECT)
    rebill(district.dsn, 2, MINH)
    newest = differences_of(district.connection, OCTOBER, ALL)[0]
    with pytest.raises(UsageError, match="its bill 2 was cancelled"):
        decide_difference(district.connection, newest["difference_id"], "approve", MINH)
    assert district.value("select sum(receivable)::bigint from ledger_entry where bill_id = 2") == 0


def test_the_commands_propose_list_and_decide(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corrected(district)
    monkeypatch.setenv("CONGTO_DSN", district.dsn)

    def say(*words: str, status: int = 0) -> str:
        assert main(["bill", *words]) == status
        said = capsys.readouterr()
        return said.out + said.err

    october = ("--period", "2026-10")
    english = ("--language", "en")
    assert "no differences of 2026-10" in say("differences", *october, *english)
    assert "2026-10 không có điều chỉnh nào" in say("differences", *october)
    lan = ("--as", "Lan", "--note", "đến muộn")
    assert "1 differences of 2026-10 proposed by Lan" in say("correct", *october, *lan, *english)
    assert "Lan đã đề nghị 0 điều chỉnh của 2026-10; 1 hóa đơn đã phát hành lẽ ra phải khác" in (
        say("correct", *october, *lan)
    )
    assert "+35 kWh" in say("differences", *october)
    assert "chờ duyệt" in say("differences", *october)
    assert json.loads(say("differences", *october, "--json"))[0]["act"] == "propose"
    words = ("--as", "Minh", "--role", "head", "--note", "đúng")
    assert "điều chỉnh 1 của hóa đơn 2 đã được Minh duyệt" in say("approve", "1", *words)
    assert "approved by Minh" in say("differences", *october, *english)
    assert "--note: missing" in say("correct", *october, "--as", "Lan", "--note", " ", status=2)
    district.forget(household(1).meter, IMPORT, OCTOBER.end_at)
    assert "held PD01000000001001: missing_register_reading" in say("correct", *october, *lan, *english)
    assert "BILL_ID" in say("approve", "x", *words, status=2)


def roof(regime: str, exported_wh: int) -> Customer:
    return Customer(number=2, registers={IMPORT: (0, 100_000), EXPORT: (0, exported_wh)}, solar_regime=regime)


def exported_again(district: District, exported_wh: int, period: Period = OCTOBER) -> None:
    district.forget(roof("", 0).meter, EXPORT, period.end_at)
    district.store(roof("", 0).meter, EXPORT, period.end_at, exported_wh)


def approved(district: District, period: Period = OCTOBER) -> dict[str, Any]:
    assert run_billing(district.dsn, period, CORRECT).proposed == 1
    found = differences_of(district.connection, period, ALL)[0]
    decide_difference(district.connection, found["difference_id"], "approve", MINH)
    return found


def test_the_lines_of_a_difference_are_dated_in_its_own_period_and_sum_to_it(district: District) -> None:
    """165 kWh are tiers of 50, 50 and 65; 260 of 50, 50, 100 and 60; the second correction is to the first."""
    corrected(district, 260_000)
    for energy, wanted in (
        (260_000, [("Tier 3", 35, 35 * 2380), ("Tier 4", 60, 60 * 2998)]),
        (200_000, [("Tier 4", -60, -60 * 2998)]),
    ):
        read_again(district, energy)
        found = approved(district)
        lines = correction_lines(district.connection, [found["difference_id"]], Language.EN)[found["difference_id"]]
        assert [(line["name"], line["kwh"], line["amount"]) for line in lines[:-1]] == wanted
        assert (lines[-1]["name"], lines[-1]["amount"]) == ("VAT", found["vat"])
        assert sum(line["amount"] for line in lines) == found["total"]
        assert {(line["from"], line["to"]) for line in lines} == {("2026-10-01", "2026-10-31")}
    listed = [1, 2, 9]
    assert list(correction_lines(district.connection, listed, Language.EN)) == [1, 2]


def test_a_late_reading_of_export_corrects_the_purchase_and_not_the_bill(district: District) -> None:
    district.add([roof("separate_2019", 80_000)], SUNNY)
    run_billing(district.dsn, SUNNY, Plan(issue_as="Lan"))
    [(price, amount)] = district.rows("select price, amount from solar_purchase")
    exported_again(district, 90_000, SUNNY)
    found = approved(district, SUNNY)
    assert (found["total"], found["purchased_wh"]) == (0, 10_000)
    assert amount + found["purchased"] == 90 * price
    ledger = ledger_of(district.connection)
    assert (ledger["accounts"]["solar_purchase"], ledger["sum"]) == (90 * price, 0)
    assert ledger["accounts"]["receivable"] == run_billing(district.dsn, SUNNY).total - 90 * price
    again = run_billing(district.dsn, SUNNY)
    assert (again.unchanged, again.purchased, again.purchased_wh) == (1, 90 * price, 90_000)
    exported_again(district, 80_000, SUNNY)
    assert approved(district, SUNNY)["purchased"] == -found["purchased"]
    cancel(district.connection, 1, MINH)
    ledger = ledger_of(district.connection)
    assert set(ledger["accounts"].values()) == {0}


def test_a_surplus_that_comes_late_is_carried_on_and_the_bill_that_took_it_over_is_corrected_too(
    district: District,
) -> None:
    own = roof("net_2017", 150_000)
    district.add([own])
    for obis, value in ((IMPORT, 300_000), (EXPORT, 200_000)):
        district.store(own.meter, obis, NOVEMBER.end_at, value)
    for period in (OCTOBER, NOVEMBER):
        run_billing(district.dsn, period, Plan(issue_as="Lan"))
    assert district.rows("select energy_wh from bill order by bill_id") == [(0,), (100_000,)]  # 200 − 50 − 50 carried
    exported_again(district, 170_000)
    found = approved(district)
    assert (found["energy_wh"], found["carried_out_wh"]) == (0, 20_000)
    # November takes 70 over, and its own export is 30 and not 50: 200 − 30 − 70.
    november = approved(district, NOVEMBER)
    assert november["energy_wh"] == 0
    assert [run_billing(district.dsn, period).unchanged for period in (OCTOBER, NOVEMBER)] == [1, 1]


def test_a_purchase_that_waits_is_made_once_after_its_bill_was_corrected(district: District) -> None:
    own = roof("surplus_2024", 80_000)
    district.add([own])
    run_billing(district.dsn, OCTOBER, Plan(issue_as="Lan"))
    assert district.rows("select * from solar_purchase") == []
    exported_again(district, 90_000)
    assert approved(district)["purchased"] == 0


def test_the_command_lists_lines_and_the_purchase(
    district: District, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    district.add([roof("separate_2019", 80_000)], SUNNY)
    run_billing(district.dsn, SUNNY, Plan(issue_as="Lan"))
    exported_again(district, 90_000, SUNNY)
    district.forget(roof("", 0).meter, IMPORT, SUNNY.end_at)
    district.store(roof("", 0).meter, IMPORT, SUNNY.end_at, 120_000)
    run_billing(district.dsn, SUNNY, CORRECT)
    monkeypatch.setenv("CONGTO_DSN", district.dsn)
    assert main(["bill", "differences", "--period", "2025-10", "--lines", "--language", "en"]) == 0
    told = capsys.readouterr().out
    assert "  purchase of solar energy +10 kWh, +" in told
    assert "  Tier 3, 2025-10-01 – 2025-10-31: +20 kWh × 2,380 đ, +47,600 đ (Decision 1279/QĐ-BCT" in told
    assert "  VAT, 2025-10-01 – 2025-10-31: +3,808 đ" in told
    assert main(["bill", "differences", "--period", "2025-10", "--lines"]) == 0
    told = capsys.readouterr().out
    assert "  mua điện mặt trời +10 kWh, +" in told
    assert "  Bậc 3, 2025-10-01 – 2025-10-31: +20 kWh × 2.380 đ, +47.600 đ (Quyết định 1279/QĐ-BCT" in told
    assert signed(1_234_567.8, Language.EN) == "+1,234,567.8"


def bought_at_another_rate(district: District) -> tuple[int, int]:
    """Issue a bill with a purchase of 80 kWh, whose price was one of another exchange rate; return price and amount."""
    district.add([roof("separate_2020", 80_000)], SUNNY)
    run_billing(district.dsn, SUNNY, Plan(issue_as="Lan"))
    [(price, amount)] = district.rows("select price, amount from solar_purchase")
    district.connection.execute("update solar_purchase set price = price - 9, amount = amount - 80 * 9")
    return price, amount


def test_a_purchase_at_another_price_than_todays_is_no_identical_replay_and_says_so_in_both_languages(
    district: District,
) -> None:
    price, amount = bought_at_another_rate(district)
    [found] = replay(district.connection, period=SUNNY)
    assert not found.same
    assert found.stored_total == found.computed_total
    assert f"price of solar energy bought: {price:,} đ/kWh today, {price - 9:,} đ/kWh stored" in found.why
    assert f"the amount of solar energy bought: {amount:,} đ today" in found.told(Language.EN)
    told = found.told(Language.VI)
    assert f"giá mua điện mặt trời tính lại là {price:,}".replace(",", ".") in told
    assert "solar" not in told
    district.connection.execute("update solar_purchase set price = price + 9, amount = amount + 80 * 9")
    assert [each.same for each in replay(district.connection, period=SUNNY)] == [True]


def test_a_purchase_at_another_price_is_corrected_once_and_proposed_anew_when_its_price_changes_again(
    district: District,
) -> None:
    """The bill itself rests on the same inputs throughout: only what is bought beside it differs."""
    price, _ = bought_at_another_rate(district)
    found = run_billing(district.dsn, SUNNY, CORRECT)
    assert (found.proposed, found.differing, found.difference) == (1, 1, 0)
    assert run_billing(district.dsn, SUNNY, CORRECT).proposed == 0
    [first] = differences_of(district.connection, SUNNY, ALL)
    assert (first["total"], first["purchased_wh"], first["purchased"]) == (0, 0, 80 * 9)
    decide_difference(district.connection, first["difference_id"], "reject", MINH)
    assert run_billing(district.dsn, SUNNY, CORRECT).proposed == 0
    district.connection.execute("update solar_purchase set price = price - 1, amount = amount - 80")
    assert approved(district, SUNNY)["purchased"] == 80 * 10
    again = run_billing(district.dsn, SUNNY)
    assert (again.unchanged, again.differing, again.purchased) == (1, 0, 80 * price)
    ledger = ledger_of(district.connection)
    assert ledger["accounts"]["solar_purchase"] == 80 * price + 80 * 10  # the ledger had the right amount all along


def test_a_bill_that_was_not_issued_is_made_anew_when_the_price_of_its_purchase_changes(district: District) -> None:
    district.add([roof("separate_2020", 80_000)], SUNNY)
    run_billing(district.dsn, SUNNY)
    district.connection.execute("update solar_purchase set price = price - 9, amount = amount - 80 * 9")
    assert run_billing(district.dsn, SUNNY).replaced == 1
    assert len(district.rows("select distinct price from solar_purchase")) == 2
    assert run_billing(district.dsn, SUNNY).unchanged == 1
