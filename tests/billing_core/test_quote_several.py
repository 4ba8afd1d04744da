"""What a quote is asked for once for each change of price, and by rate; and what its lines do not claim."""

import json

import pytest

from billing_core.explain import Language, explain_line
from billing_core.quote import quote
from billing_core.request_text import request_from_text
from deploy.cli import main
from protocols.errors import UsageError

LONG = {"category": "business", "from": "2024-10-01", "to": "2025-05-31"}  # Decisions 2699 and 1279 begin within
READ = LONG | {"old_index": "0", "index_at_change": "100,300", "new_index": "500"}
ROOF = {"category": "production", "from": "2025-12-01", "to": "2025-12-31", "rates": "BT=100,CD=50,TD=30"}
NETTED = ROOF | {"solar_regime": "net_2017", "export_rates": "BT=150,CD=10,TD=5"}


def test_an_option_is_given_once_for_each_change_of_price(capsys):
    words = ["quote", "--category", "business", "--from", LONG["from"], "--to", LONG["to"], "--json"]
    readings = ["--old-index", "0", "--index-at-change", "100", "--index-at-change", "300", "--new-index", "500"]
    assert main([*words, *readings]) == 0
    assert [(line["from"], line["kwh"]) for line in json.loads(capsys.readouterr().out)["lines"]] == [
        ("2024-10-01", 100),
        ("2024-10-11", 200),
        ("2025-05-10", 200),
    ]
    three = [word for kwh in ("BT=50,CD=5", "BT=120,CD=5,TD=9") for word in ("--rates-before-change", kwh)]
    assert main([*words, "--rates", "BT=200,CD=60,TD=9", *three]) == 0
    assert [line["kwh"] for line in json.loads(capsys.readouterr().out)["lines"]] == [50, 5, 70, 9, 80, 55]
    dates = ["--price-change-date", "2024-10-11", "--price-change-date", "2025-05-10"]
    assert main([*words, "--kwh", "243", *dates]) == 0
    assert [line["kwh"] for line in json.loads(capsys.readouterr().out)["lines"]] == [10, 211, 22]  # 10, 211, 22 days


def test_each_rate_is_netted_by_itself_and_its_surplus_is_carried_by_rate(capsys):
    found = quote(request_from_text(NETTED | {"carry_in_rates": "CD=35,TD=1"}))
    assert {line.register.value: line.energy_wh for line in found.lines} == {"CD": 5_000, "TD": 24_000}
    assert found.to_json()["carry_out_rates_kwh"] == {"BT": 50, "CD": 0, "TD": 0}
    assert any("unverified" in note for note in found.notes)
    bought = quote(request_from_text(NETTED | {"settle_carry": "true", "solar_price": "2086"}))
    assert (bought.purchase.energy_wh, bought.carry_out_rates_wh) == (50_000, None)
    # What was carried before there were rates comes off the normal one.
    before = quote(request_from_text(NETTED | {"export_rates": "BT=10,CD=10,TD=5", "carry_in_kwh": "20"}))
    assert {line.register.value: line.energy_wh for line in before.lines} == {"BT": 70_000, "CD": 40_000, "TD": 25_000}


def test_a_power_factor_alone_claims_no_reactive_energy(capsys):
    words = {"category": "production", "from": "2025-12-01", "to": "2025-12-31", "kwh": "165", "cosphi": "0.8"}
    [_, reactive] = quote(request_from_text(words)).to_json()["lines"]
    assert ("kvarh" in reactive, reactive["amount"]) == (False, 40_982)
    asked = [word for name, text in words.items() for word in (f"--{name}", text)]
    assert main(["quote", *asked, "--language", "en"]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if "Reactive" in line]
    assert row.replace("│", " ").split() == ["Reactive", "energy", "40,982"]
    measured = quote(request_from_text({**words, "cosphi": None, "reactive_kvarh": "124"})).to_json()["lines"][-1]
    assert measured["kvarh"] == 124


@pytest.mark.parametrize(
    ("regime", "year", "decision"),
    [("separate_2020", "2020", "Decision 13/2020/QĐ-TTg"), ("net_2017", "2020", "Decision 11/2017/QĐ-TTg")],
)
def test_a_purchase_names_its_decision_once(regime: str, year: str, decision: str):
    words = {"category": "residential", "from": f"{year}-12-01", "to": f"{year}-12-31", "kwh": "165"}
    settled = {"settle_carry": "true"} if regime == "net_2017" else {}
    found = quote(request_from_text(words | {"solar_regime": regime, "export_kwh": "190"} | settled))
    assert found.purchase is not None
    assert explain_line(found.purchase, Language.EN).count(decision) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (LONG | {"kwh": "5", "price_change_date": "2025-05-10"}, "expected each change of the period (2024-10-11 and"),
        (READ | {"index_at_change": "300,100"}, "index-at-change: found 300 and 100"),
        (READ | {"index_at_change": "300"}, "more or fewer changes than readings"),
        (READ | {"index_at_change": "1,2,3"}, "more or fewer changes than readings"),
        (LONG | {"rates": "BT=9", "rates_before_change": "BT=5;BT=4"}, "energy is negative"),
        (ROOF | {"export_rates": "BT=1"}, "export-rates: found it, expected it with rates and solar-regime net_2017"),
        (NETTED | {"export_kwh": "1"}, "export-rates: found export-kwh too"),
        (NETTED | {"export_rates": "BT=1;BT=2"}, "expected BT=…,CD=…,TD=… once"),
        (ROOF | {"solar_regime": "net_2017", "export_kwh": "1"}, "asks what was exported at each rate"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_cure(words: dict[str, str], message: str):
    with pytest.raises(UsageError) as refused:
        quote(request_from_text(words))
    assert message in str(refused.value)
