"""Every feature of a quote, each with a bill computed by hand."""

import json
from fractions import Fraction

import pytest

from billing_core.codes import LineKind
from billing_core.explain import Language, explain_line
from billing_core.line import BillLine
from billing_core.quote import quote
from billing_core.request_text import request_from_text
from deploy.cli import main
from protocols.errors import UsageError

HOUSE = {"category": "residential", "kwh": "200", "from": "2025-12-01", "to": "2025-12-31"}
FACTORY = {"category": "production", "from": "2025-12-01", "to": "2025-12-31"}
CHANGE = {"category": "residential", "from": "2024-09-20", "to": "2024-10-19"}  # a new price on 11 October


def lines(words: dict[str, str]) -> list[tuple[Fraction, int | None, int]]:
    return [(Fraction(line.energy_wh, 1000), line.price, line.amount) for line in quote(request_from_text(words)).lines]


def test_tenants_who_were_not_declared_pay_the_third_tier_for_all():
    assert lines(HOUSE | {"undeclared_rental": "true"}) == [(200, 2380, 476_000)]


def test_who_refuses_a_three_rate_meter_pays_the_peak_price_for_all():
    assert lines(FACTORY | {"kwh": "100", "refused_three_rates": "true"}) == [(100, 3640, 364_000)]


def test_a_power_factor_may_be_given_instead_of_the_reactive_energy():
    """0.9 / 0.80 − 1 = 12.50 % of 360,000 kWh × 1,572 đ."""
    factory = FACTORY | {"kwh": "360000", "from": "2018-06-01", "to": "2018-06-30", "cosphi": "0.80"}
    assert lines(factory) == [(360_000, 1572, 565_920_000), (0, None, 70_740_000)]
    said = explain_line(quote(request_from_text(factory)).lines[1], Language.EN)
    assert "power factor 0.80 is under" in said


def test_a_quote_says_which_use_pays_no_surcharge_for_reactive_energy():
    found = quote(request_from_text(HOUSE | {"uses": "business=40", "cosphi": "0.80"}))
    assert [line.amount for line in found.lines if line.kind is LineKind.REACTIVE] == [31_520]
    assert "no surcharge for reactive energy on residential use: Circular 15/2014/TT-BCT exempts it" in found.notes


def test_the_pilot_prices_the_highest_half_hour_and_energy_by_rate():
    """100.5 kW × 286,153 đ = 28,758,376.5 đ, half up."""
    found = quote(request_from_text(FACTORY | {"rates": "BT=1000,CD=200,TD=300", "demand_kw": "100.5"}))
    assert [(line.price, line.amount) for line in found.lines] == [
        (1332, 1_332_000),
        (2251, 450_200),
        (904, 271_200),
        (286_153, 28_758_377),
    ]
    assert found.subtotal == 1_332_000 + 450_200 + 271_200 + 28_758_377
    assert any("pilot" in note for note in found.notes)


def test_a_mixed_use_shares_its_energy_and_is_taxed_once():
    """60 % of 201 kWh is 120.6, so 121 kWh for living; the shop has the rest, 80 kWh at 3,152 đ."""
    found = quote(request_from_text(HOUSE | {"kwh": "201", "uses": "business=40"}))
    assert [(line.energy_wh, line.price) for line in found.lines] == [
        (50_000, 1984),
        (50_000, 2050),
        (21_000, 2380),
        (80_000, 3152),
    ]
    assert found.subtotal == 99_200 + 102_500 + 49_980 + 252_160
    assert found.vat == 40_307  # 503,840 × 8 % = 40,307.2


def test_a_meter_read_at_a_change_of_price_is_billed_by_its_readings():
    """Old part 21 of 30 days: tiers 35, 35, 70, …; new part 9 days: 15, 15, 30, …"""
    registers = {"old_index": "100", "index_at_change": "160", "new_index": "200"}
    assert lines(CHANGE | registers) == [
        (35, 1806, 63_210),
        (25, 1866, 46_650),
        (15, 1893, 28_395),
        (15, 1956, 29_340),
        (10, 2271, 22_710),
    ]


def test_a_shop_read_at_a_change_of_price_needs_no_estimate():
    shop = {"category": "business", "rates": "CD=30,BT=10", "from": "2025-05-01", "to": "2025-05-31"}
    found = quote(request_from_text(shop | {"rates_before_change": "CD=10,BT=10"}))
    assert [(line.energy_wh, line.price) for line in found.lines] == [(10_000, 3007), (10_000, 5174), (20_000, 5422)]
    assert not any("estimate" in note for note in found.notes)


def test_another_number_of_households_counts_from_its_day_on():
    """14 of 31 days one household, 17 days two: h = 48/31, and the first tier 77.4 kWh, so 77."""
    found = quote(request_from_text(HOUSE | {"households_change": "2025-12-15=2"}))
    assert [line.quota_wh for line in found.lines][:2] == [77_000, 77_000]
    assert found.lines[0].households == Fraction(48, 31)


def test_wholesale_is_priced_as_far_as_the_acts_are_known():
    village = {"category": "wholesale_rural", "kwh": "1500", "from": "2016-03-01", "to": "2016-03-31"}
    assert lines(village | {"households": "20"}) == [(1_000, 1230, 1_230_000), (500, 1279, 639_500)]
    other = village | {"category": "wholesale_complex_other", "rates": "BT=1,CD=1,TD=1"}
    del other["kwh"]
    assert [price for _, price, _ in lines(other)] == [2192, 3771, 1334]
    with pytest.raises(UsageError, match="no act in the tariff files has a price for this category"):
        quote(request_from_text(village | {"from": "2025-12-01", "to": "2025-12-31"}))


EXAMPLES = [
    FACTORY | {"kwh": "100", "refused_three_rates": "true"},
    HOUSE | {"undeclared_rental": "true"},
    FACTORY | {"kwh": "360000", "cosphi": "0.55"},
    FACTORY | {"kwh": "3600", "demand_kw": "12.125"},
    HOUSE | {"uses": "business@6_22=12.5,lighting_admin=1"},
    HOUSE | {"households_change": "2025-12-15=9/4"},
]


@pytest.mark.parametrize("words", EXAMPLES)
def test_each_line_is_explained_in_both_languages_and_survives_being_stored(words: dict[str, str]):
    for line in quote(request_from_text(words)).all_lines():
        stored = BillLine.from_json(json.loads(json.dumps(line.to_json())))
        assert stored == line
        for language in Language:
            said = explain_line(stored, language)
            assert "{" not in said
            assert "–" not in said
            assert said == explain_line(line, language)


@pytest.mark.parametrize("words", EXAMPLES)
def test_each_is_a_command_and_a_table(words: dict[str, str], capsys):
    flags = [name for name in words if words[name] == "true"]
    given = [word for name in words if name not in flags for word in (f"--{name.replace('_', '-')}", words[name])]
    assert main(["quote", *given, *(f"--{name.replace('_', '-')}" for name in flags), "--explain"]) == 0
    assert "Tổng cộng" in capsys.readouterr().out


WRONG = [
    (
        HOUSE | {"solar_regime": "separate_2020", "export_kwh": "9", "carry_in_kwh": "30"},
        "carry-in: found it with separate_2020, expected it with solar-regime net_2017",
    ),
    (HOUSE | {"carry_in_kwh": "30"}, "carry-in: found it with separate_2020"),
    (
        HOUSE | {"settle_carry": "true"},
        "settle-carry: found it with no solar-regime, expected it with solar-regime net",
    ),
    (
        HOUSE | {"generation_kwh": "90"},
        "generation-kwh: found it with separate_2020, expected it with solar-regime surp",
    ),
    (
        HOUSE | {"solar_regime": "net_2017", "export_kwh": "9", "generation_kwh": "90"},
        "generation-kwh: found it with net_2017, expected it with solar-regime surplus_2024 or surplus_2026",
    ),
    (HOUSE | {"solar_price": "700"}, "solar-price: found it with no solar-regime"),
    (
        HOUSE | {"solar_regime": "surplus_2026", "export_kwh": "9", "generation_kwh": "90"},
        "solar-regime: found surplus_2026 in a period up to 2025-12-31, expected one in force by then: Decree 243/2026",
    ),
    (HOUSE | {"cosphi": "1.5"}, "cosφ|a power factor is 0 to 1.00"),
    (HOUSE | {"cosphi": "0"}, "cosphi: found '0', expected a power factor from 0.01"),
    (HOUSE | {"cosphi": "0.9", "reactive_kvarh": "5"}, "cosphi: found reactive-kvarh too"),
    (FACTORY | {"kwh": "5", "undeclared_rental": "true"}, "residential use"),
    (HOUSE | {"refused_three_rates": "true"}, "refused-three-rates: found it"),
    (HOUSE | {"undeclared_rental": "yes"}, "undeclared-rental: found 'yes'"),
    (FACTORY | {"kwh": "5", "demand_kw": "x"}, "demand-kw: found 'x'"),
    (FACTORY | {"kwh": "5", "demand_kw": "20000000"}, "over 10 GW"),
    (FACTORY | {"kwh": "5", "demand_kw": "5", "to": "2025-12-30"}, "priced per month"),
    (HOUSE | {"demand_kw": "5"}, "demand-kw: found it with residential, expected production"),
    (
        FACTORY | {"kwh": "5", "demand_kw": "5", "from": "2020-12-01", "to": "2020-12-31"},
        "demand-kw: found a period from",
    ),
    (HOUSE | {"uses": "business"}, "uses: found 'business'"),
    (HOUSE | {"uses": "residential=10"}, "which has the rest"),
    (HOUSE | {"uses": "business=100"}, "less than 100 %"),
    (HOUSE | {"uses": "business=0"}, "percent like 40"),
    (HOUSE | {"uses": "business@9=5"}, "uses: found '9'"),
    (HOUSE | {"uses": "business=5", "undeclared_rental": "true"}, "shares of a mixed use"),
    (HOUSE | {"households_change": "2025-12-15"}, "expected DAY=H"),
    (HOUSE | {"households_change": "2025-12-01=2"}, "households must be more than 0"),
    (FACTORY | {"kwh": "5", "households_change": "2025-12-15=2"}, "no tiers that households widen"),
    (HOUSE | {"index_at_change": "5"}, "without old-index and new-index"),
    (HOUSE | {"rates_before_change": "BT=5"}, "rates-before-change with rates"),
    (CHANGE | {"old_index": "100", "index_at_change": "90", "new_index": "200"}, "index-at-change: found"),
    (
        CHANGE | {"old_index": "100", "index_at_change": "150", "new_index": "200", "to": "2024-10-10"},
        "there are more or fewer changes than readings",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_priced_is_refused_with_its_cure(words: dict[str, str], message: str):
    with pytest.raises(UsageError, match=message):
        quote(request_from_text(words))
