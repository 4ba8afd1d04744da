"""``congto quote``, as people call it and as they get it wrong."""

import json
import subprocess
import sys
from datetime import date
from fractions import Fraction

import pytest

from billing_core.codes import Category
from billing_core.explain import Language, explain_line
from billing_core.line import BillLine
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from billing_core.request_text import request_from_text
from deploy.cli import main
from protocols.errors import UsageError

DECEMBER = {"from": "2025-12-01", "to": "2025-12-31"}
HOUSE = DECEMBER | {"category": "residential", "kwh": "165"}
SHOP = DECEMBER | {"category": "business"}


def words(request: dict[str, str]) -> list[str]:
    return [word for name, text in request.items() for word in (f"--{name.replace('_', '-')}", text)]


def test_the_command_prints_a_bill_as_json_in_a_process_of_its_own():
    command = [sys.executable, "-m", "deploy.cli", "quote", *words(HOUSE), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert (found["subtotal"], found["vat"], found["total"]) == (356_400, 28_512, 384_912)
    assert [(line["kind"], line["tier"], line["kwh"], line["price"], line["amount"]) for line in found["lines"]] == [
        ("energy", 1, 50, 1984, 99_200),
        ("energy", 2, 50, 2050, 102_500),
        ("energy", 3, 65, 2380, 154_700),
    ]


@pytest.mark.parametrize(("language", "total"), [("vi", "384.912"), ("en", "384,912")])
def test_the_table_writes_numbers_as_the_language_does(language: str, total: str, capsys):
    assert main(["quote", *words(HOUSE), "--language", language, "--explain"]) == 0
    assert total in capsys.readouterr().out


WRONG = [
    (HOUSE | {"kwh": "-5"}, "kwh: found -5"),
    (HOUSE | {"kwh": "1.2345"}, "kwh: found 1.2345, expected at most three decimals"),
    (HOUSE | {"kwh": "1e3"}, "kwh: found '1e3'"),
    (HOUSE | {"kwh": "nan"}, "kwh: found 'nan'"),
    (HOUSE | {"kwh": "٥"}, "kwh: found '٥'"),
    (HOUSE | {"kwh": "9" * 18}, "check digits and multiplier"),
    (HOUSE | {"from": "2025-12-31", "to": "2025-12-01"}, "expected the first day first"),
    (HOUSE | {"from": "2025-02-30"}, "from: found '2025-02-30', expected a day of the calendar"),
    (HOUSE | {"to": "20251231"}, "to: found '20251231'"),
    (HOUSE | {"category": "castle"}, "category: found 'castle'"),
    (HOUSE | {"from": "2012-12-01", "to": "2012-12-31"}, "the first is Decision 2256/QĐ-BCT, in force from 2015-03-16"),
    (HOUSE | {"from": "2027-12-01", "to": "2027-12-31"}, "no VAT rate is known"),
    (HOUSE | {"from": "2000-01-01", "to": "2025-12-31"}, "it or its nominal cycle exceeds ten years"),
    (HOUSE | {"from": "9999-12-01", "to": "9999-12-31"}, "ends before it begins"),
    (HOUSE | {"voltage": "lt7"}, "voltage: found 'lt7'"),
    (HOUSE | {"voltage": "ge110"}, "no price at this voltage"),
    (SHOP | {"kwh": "5", "voltage": "ge6"}, "no price at this voltage"),
    (SHOP | {"kwh": "5", "category": "production", "voltage": "ge22"}, "no price at this voltage"),
    (SHOP | {"kwh": "5", "voltage": "le1"}, "one at lt6, 6_22, 22_110, ge110, ge22"),
    (SHOP | {"kwh": "5", "category": "charging"}, "none for charging, at any voltage"),
    (SHOP | {"kwh": "5", "category": "charging", "voltage": "le1"}, "none for charging, at any voltage): correct"),
    (HOUSE | {"uses": "charging=10"}, "Decision 1279/QĐ-BCT: none for charging"),
    (HOUSE | {"uses": "business@gt1=10"}, "business has no price at this voltage, gt1;"),
    (HOUSE | {"households": "0"}, "households: found '0'"),
    (HOUSE | {"households": "1/0"}, "households: found '1/0'"),
    (HOUSE | {"households": "-1"}, "households: found '-1'"),
    (HOUSE | {"tenants": "0"}, "tenants: found '0'"),
    (HOUSE | {"tenants": "4", "households": "1"}, "found tenants too"),
    (SHOP | {"kwh": "5", "households": "2"}, "business has no tiers"),
    (HOUSE | {"nominal_days": "0"}, "nominal-days: found '0'"),
    (HOUSE | {"rates": "BT=1"}, "residential has no prices by time of use"),
    (SHOP, "give kwh"),
    (SHOP | {"rates": "BT=1,BT=2"}, "rates: found 'BT=2'"),
    (SHOP | {"rates": "BT:1"}, "rates: found 'BT:1'"),
    (SHOP | {"rates": "XX=1"}, "rates: found 'XX'"),
    (SHOP | {"rates": "SG=1"}, "rates: found 'SG=1'"),
    (SHOP | {"rates": "BT=-1"}, "rates, BT: found -1"),
    (SHOP | {"rates": "BT=1,CD=2", "kwh": "4"}, "kwh: found 4, but the rates sum to 3 kWh"),
    (HOUSE | {"price_change_date": "2025-12-10"}, "the price change: found 2025-12-10"),
    (SHOP | {"kwh": "5", "from": "2025-05-01", "to": "2025-05-31"}, "it changes on 2025-05-10"),
    (HOUSE | {"households": "1.2345678"}, "households: found '1.2345678'"),
    (HOUSE | {"new_index": "5"}, "found one of them; give both"),
    (HOUSE | {"old_index": "5", "new_index": "7"}, "kwh: found 165, but the register says 2 kWh"),
    (SHOP | {"old_index": "5", "new_index": "4"}, "stands lower than before"),
    (SHOP | {"old_index": "5", "new_index": "4", "digits": "x"}, "digits: found 'x'"),
    (SHOP | {"rates": "BT=1", "old_index": "5"}, "rates: found an index too"),
    (HOUSE | {"export_kwh": "-1"}, "export-kwh: found -1"),
    (HOUSE | {"solar_regime": "sunny"}, "solar-regime: found 'sunny'"),
    (HOUSE | {"solar_price": "0"}, "solar-price: found '0'"),
    (HOUSE | {"quota_rounding": "mwh"}, "quota-rounding: found 'mwh'"),
    (HOUSE | {"reactive_kvarh": "x"}, "reactive-kvarh: found 'x'"),
]


@pytest.mark.parametrize(("request_words", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_priced_ends_with_status_2_and_a_sentence(request_words, message: str, capsys):
    assert main(["quote", *(f"{a}={b}" for a, b in zip(*[iter(words(request_words))] * 2, strict=True)), "--json"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("congto: ")
    assert printed.out == ""


def test_a_word_that_is_missing_is_named():
    with pytest.raises(UsageError, match="from: found nothing"):
        request_from_text({"category": "residential", "to": "2025-12-31", "kwh": "5"})


def test_energy_is_taken_to_the_wh():
    assert request_from_text(HOUSE | {"kwh": "165.125"}).energy_wh == 165_125
    assert request_from_text(SHOP | {"rates": "CD=0.001"}).energy_wh == (0, 1, 0)


@pytest.mark.parametrize(
    ("way", "text", "households"),
    [
        ("households", "2", "2"),
        ("households", "1.25", "5/4"),
        ("households", "5/4", "5/4"),
        ("tenants", "5", "5/4"),
        ("tenants", "1", "1/4"),
        ("person_days", "93", "3/4"),
    ],
)
def test_households_are_exact_fractions(way: str, text: str, households: str):
    assert request_from_text(HOUSE | {way: text}).households == Fraction(households)


def test_two_readings_and_a_multiplier_are_energy_too():
    registers = {"old_index": "99850", "new_index": "120.5", "digits": "5", "multiplier": "20"}
    assert request_from_text(SHOP | registers).energy_wh == 270_500 * 20


def test_75_person_days_of_30_days_are_five_eighths_of_a_household():
    """A published contest case: two tenants for 30 days and one for 15."""
    request = HOUSE | {"from": "2025-11-01", "to": "2025-11-30", "person_days": "75"}
    assert request_from_text(request).households == Fraction(5, 8)


def test_the_day_of_the_price_change_may_be_said_and_changes_nothing_for_a_household():
    request = HOUSE | {"from": "2024-09-20", "to": "2024-10-19"}
    silent, said = (request_from_text(request | more) for more in ({}, {"price_change_date": "2024-10-11"}))
    assert quote(silent).total == quote(said).total


def test_a_shop_is_shared_out_by_days_only_on_request_and_the_notes_say_so():
    request = SHOP | {"kwh": "310", "from": "2025-05-01", "to": "2025-05-31", "price_change_date": "2025-05-10"}
    found = quote(request_from_text(request))
    assert [(line.energy_wh, line.price) for line in found.lines] == [(90_000, 3007), (220_000, 3152)]
    assert any("an estimate" in note for note in found.notes)


def test_what_nobody_verified_is_in_the_notes():
    old = {"category": "production", "kwh": "10", "from": "2024-11-01", "to": "2024-11-30"}
    assert any("unverified" in note for note in quote(request_from_text(old)).notes)
    assert quote(request_from_text(HOUSE)).notes == ()


def test_export_without_a_regime_is_settled_as_most_contracts_are():
    found = quote(request_from_text(HOUSE | {"export_kwh": "100"}))
    assert found.total == 384_912
    assert found.purchase is not None
    assert found.purchase.amount == 100 * 2_039
    assert found.to_json()["purchase"]["amount"] == 203_900


def test_the_surplus_carried_over_is_said(capsys):
    request = HOUSE | {"export_kwh": "200", "solar_regime": "net_2017"}
    assert quote(request_from_text(request)).to_json()["carry_out_kwh"] == 35
    assert main(["quote", *words(request), "--language", "en"]) == 0
    assert "Carried to the next cycle: 35 kWh" in capsys.readouterr().out


REQUESTS = [
    HOUSE,
    HOUSE | {"from": "2024-09-20", "to": "2024-10-19", "households": "5/4", "kwh": "1000.5"},
    SHOP | {"rates": "BT=10.5,CD=1,TD=2", "reactive_kvarh": "12.125"},
    HOUSE | {"export_kwh": "12.5"},
    DECEMBER | {"category": "hospital_school", "kwh": "5", "voltage": "22_110"},
    DECEMBER | {"category": "prepaid", "kwh": "5"},
]


@pytest.mark.parametrize("request_words", REQUESTS)
def test_a_line_stored_as_json_is_the_same_line_and_explains_itself_the_same(request_words):
    for line in quote(request_from_text(request_words)).all_lines():
        stored = BillLine.from_json(json.loads(json.dumps(line.to_json())))
        assert stored == line
        for language in Language:
            assert explain_line(stored, language) == explain_line(line, language)


@pytest.mark.parametrize("request_words", REQUESTS)
def test_an_explanation_carries_the_figures_of_its_line(request_words):
    for line in quote(request_from_text(request_words)).all_lines():
        said = explain_line(line, Language.EN)
        assert f"{line.amount:,} đ" in said
        if line.price is not None:
            assert f"{line.price:,} đ/kWh" in said
        assert "{" not in said
        assert "–" not in said


def test_a_request_of_values_needs_no_words():
    request = QuoteRequest(
        category=Category.RESIDENTIAL, start_on=date(2025, 12, 1), end_on=date(2025, 12, 31), energy_wh=165_000
    )
    assert request == request_from_text(HOUSE)
    assert quote(request).total == 384_912
