"""The tariff files: what they say agrees with itself, and what is wrong in one is refused by name."""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from importlib import resources

import pytest

from billing_core.codes import Category, Certainty, Solar, Voltage
from billing_core.tariff_files import (
    RATE_CLASSES,
    RATE_CLASSES_2025,
    SINGLE_CLASSES,
    SINGLE_CLASSES_2025,
    load_tariffs,
    parse_tariffs,
)
from protocols.errors import UsageError

FILES = {
    item.name: item.read_text("utf-8")
    for item in (resources.files("billing_core") / "tariffs").iterdir()
    if item.name.endswith(".toml")
}
ACT = "act_2025_1279.toml"
PERCENT_FROM = date(2017, 12, 1)


def half_up(value: Fraction) -> int:
    return (value + Fraction(1, 2)).__floor__()


def test_all_acts_since_2015_are_there_in_order():
    acts = load_tariffs().acts[:7]  # later ones have golden bills of their own
    assert [(act.name.split()[1].split("/")[0], act.effective_on.isoformat()) for act in acts] == [
        ("2256", "2015-03-16"),
        ("4495", "2017-12-01"),
        ("648", "2019-03-20"),
        ("1062", "2023-05-04"),
        ("2941", "2023-11-09"),
        ("2699", "2024-10-11"),
        ("1279", "2025-05-10"),
    ]
    assert all(act.signed_on <= act.effective_on for act in acts)


@pytest.mark.parametrize(
    "act", [act for act in load_tariffs().acts if act.effective_on >= PERCENT_FROM], ids=lambda act: act.name
)
def test_household_and_business_prices_are_percentages_of_the_average(act):
    """From Decision 4495 on, to the đồng: the structure and the prices were copied from different sources."""
    percent = [item for item in load_tariffs().percentages if item.effective_on <= act.effective_on][-1]
    average = Fraction(act.average)
    assert act.tiers == tuple(half_up(average * share / 100) for share in percent.tiers)
    assert act.prepaid == half_up(average * percent.prepaid / 100)
    for key, shares in percent.rates.items():
        assert act.rates[key] == tuple(half_up(average * share / 100) for share in shares)
    for key, share in percent.single.items():
        assert act.single[key] == half_up(average * share / 100)


@pytest.mark.parametrize("act", load_tariffs().acts, ids=lambda act: act.name)
def test_every_category_and_class_has_its_prices_and_each_a_certainty(act):
    after_2025 = (Category.PRODUCTION, Voltage.LE1) in act.rates
    for category, classes in (RATE_CLASSES_2025 if after_2025 else RATE_CLASSES).items():
        for voltage in classes:
            normal, peak, off_peak = act.rates[category, voltage]
            assert off_peak < normal < peak
            assert act.certainty_of(category, voltage) in Certainty
    for category, classes in (SINGLE_CLASSES_2025 if after_2025 else SINGLE_CLASSES).items():
        lower, higher = sorted(act.single[category, voltage] for voltage in classes)
        assert lower < higher


def test_prices_nobody_has_read_in_the_act_are_marked():
    marked = {
        act.name: act.certainty_of(Category.PRODUCTION, Voltage.KV6_22) is Certainty.UNVERIFIED
        for act in load_tariffs().acts
    }
    assert [name.split()[1].split("/")[0] for name, is_so in marked.items() if is_so] == ["1062", "2941", "2699"]


@pytest.mark.parametrize(
    ("day", "permille"),
    [("2015-07-15", 100), ("2022-12-31", 80), ("2023-06-30", 100), ("2023-07-01", 80), ("2026-12-31", 80)],
)
def test_the_rate_of_tax_has_its_days(day, permille):
    rate = load_tariffs().vat_on(date.fromisoformat(day))
    assert rate is not None
    assert rate.permille == permille


def test_before_and_after_what_is_known_there_is_nothing():
    tariffs = load_tariffs()
    assert tariffs.act_on(date(2015, 3, 15)) is None
    assert tariffs.vat_on(tariffs.vat[-1].end_on + timedelta(days=1)) is None
    assert tariffs.structure_on(date(2010, 1, 1)) is None


def test_a_structure_that_waits_is_not_in_force():
    tariffs = load_tariffs()
    assert {structure.name for structure in tariffs.structures}.isdisjoint(item.name for item in tariffs.waiting)


def test_there_is_a_rule_for_every_solar_regime():
    assert {load_tariffs().solar_rule(regime).regime for regime in Solar if regime is not Solar.NONE} | {
        Solar.NONE
    } == set(Solar)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


WAITING_WRONG = """
[[waiting]]
name = "two tiers"
signed_on = 2026-01-01
waits_for = "an act"
widths = [100]
percent = [108, 90]
source = "invented"
certainty = "unverified"
"""
WRONG = [
    (ACT, replaced("prepaid = 2909", "prepayed = 2909"), "residential.prepaid: missing"),
    (ACT, replaced("prepaid = 2909", "prepaid = 2909\nfoo = 1"), "residential.foo: unknown key"),
    (ACT, replaced("source = ", "# source = \nnote = "), "source: missing"),
    (ACT, replaced("BT = 1987", "BT = -1987"), "production.lt6.BT: found -1987"),
    (ACT, replaced("BT = 1987", 'BT = "1987"'), "production.lt6.BT: expected an integer"),
    (ACT, replaced("BT = 1987", "BT = 1987.5"), "production.lt6.BT: expected an integer"),
    (ACT, replaced("[1984,", "[9984,"), "residential.tiers: found"),
    (ACT, replaced(", 3460]", "]"), "residential.tiers: found 5 prices"),
    (ACT, replaced('"2204.0655"', '"many"'), "average: found 'many'"),
    (ACT, replaced("2025-05-10", "2024-10-11"), "effective_on: found 2024-10-11, as in act_2024_2699.toml"),
    (ACT, replaced("effective_on = 2025-05-10", 'effective_on = "soon"'), "effective_on: expected a date"),
    (ACT, replaced('average = "published"', 'average = "sure"'), "certainty.average: found 'sure'"),
    (ACT, replaced("[production.lt6]", "[production.lt7]"), "production.lt6: missing"),
    (ACT, replaced("act =", "act"), "not TOML"),
    (ACT, replaced("CD = 3640", "CD = 1987"), "production.lt6.BT: found BT 1987, CD 1987, TD 1300; expected TD"),
    (ACT, replaced("TD = 1609", "TD = 5026"), "business.ge22.BT: found BT 2887, CD 5025, TD 5026; expected TD"),
    (ACT, replaced("signed_on = 2025-05-09", "signed_on = 2025-05-11"), "signed_on: found 2025-05-11, after effective"),
    (ACT, replaced("1279/QĐ-BCT", "2699/QĐ-BCT"), "act: found 'Decision 2699/QĐ-BCT', as in act_2024_2699.toml"),
    ("structure.toml", replaced("CD = 228, TD = 73", "CD = 28, TD = 73"), "percent[1].business.ge22.BT: found BT 131"),
    ("vat.toml", replaced("start_on = 2022-02-01", "start_on = 2022-02-02"), "rate[2].start_on: found 2022-02-02"),
    ("vat.toml", replaced("start_on = 2022-02-01", "start_on = 2022-01-31"), "neither overlap nor leave a gap"),
    ("vat.toml", replaced("end_on = 2026-12-31", "end_on = 2024-12-31"), "rate[5].end_on"),
    ("vat.toml", replaced("permille = 100", "permille = 1001"), "rate[1].permille: found 1001"),
    ("vat.toml", replaced('source = "Resolution', 'sauce = "Resolution'), "source: missing"),
    ("structure.toml", replaced("business.ge22", "business.ge23"), "percent[1].business.ge22: missing"),
    ("power_factor.toml", replaced("from_kw = 40", "from_kw = true"), "table[1].from_kw"),
    ("solar.toml", replaced('code = "net_2017"', 'code = "separate_2019"'), "each regime once"),
    ("solar.toml", replaced('method = "net"', 'method = "gross"'), "method: found 'gross'"),
    ("solar.toml", replaced("cap_percent = 20\n", ""), "cap_percent"),
    ("solar.toml", replaced("year = 2019", "year = 2018"), "exchange_rate[2].year: found 2018"),
    ("structure.toml", lambda text: text + WAITING_WRONG, "percent: found [108, 90]"),
    ("structure.toml", replaced("undeclared_tier = 3", "undeclared_tier = 7"), "tiers[1].undeclared_tier: found 7"),
    ("holidays.toml", replaced("month = 4\nday = 30", "month = 4\nday = 31"), "yearly[2].day: found 31"),
    ("holidays.toml", replaced("2024-02-10,", '"2024-02-10",'), "lunar[1].days: found"),
    ("two_component.toml", replaced("[pilot.lt6]", "[pilot.lt7]"), "pilot[1].lt6: missing"),
    ("two_component.toml", replaced("source = ", "sauce = "), "source: missing"),
    ("act_2015_2256.toml", replaced("rural_other = 1322", "rural_othr = 1322"), "wholesale.rural_other: missing"),
    ("act_2015_2256.toml", replaced(", 2028]", "]"), "wholesale.rural: found 5 prices"),
    ("time_of_use.toml", replaced("09:30-11:30", "9h30-11h30"), "schedule[1].peak: found '9h30-11h30'"),
    ("time_of_use.toml", replaced("09:30-11:30", "09:30-25:30"), "expected a window"),
]


@pytest.mark.parametrize(("file", "change", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_a_wrong_entry_is_refused_with_file_and_key(file: str, change: Callable[[str], str], message: str):
    with pytest.raises(UsageError) as refused:
        parse_tariffs(FILES | {file: change(FILES[file])})
    assert message in str(refused.value)
    assert str(refused.value).startswith(file)


def test_an_act_without_a_tier_structure_is_refused():
    structure = FILES["structure.toml"].replace("2014-06-01", "2016-01-01")
    with pytest.raises(
        UsageError, match=r"act_2015_2256\.toml: residential\.tiers: .* expected a tier structure in force"
    ):
        parse_tariffs(FILES | {"structure.toml": structure})


BETWEEN = """
[[tiers]]
name = "six others"
effective_on = 2018-01-01
widths = [40, 60, 100, 100, 100]
undeclared_tier = 3
source = "invented"
certainty = "unverified"
"""


def test_a_structure_that_begins_between_two_acts_is_refused():
    with pytest.raises(
        UsageError, match=r"structure\.toml: six others: found effective_on 2018-01-01, expected the first"
    ):
        parse_tariffs(FILES | {"structure.toml": FILES["structure.toml"] + BETWEEN})


def test_a_missing_or_strange_file_is_refused():
    with pytest.raises(UsageError, match=r"vat\.toml: found no such file"):
        parse_tariffs({name: text for name, text in FILES.items() if name != "vat.toml"})
    with pytest.raises(UsageError, match=r"prices\.toml: found a file of unknown kind"):
        parse_tariffs(FILES | {"prices.toml": ""})


def test_next_years_act_is_one_new_file():
    text = FILES[ACT].replace("1279", "7777").replace("2025-05-10", "2026-01-15").replace("2025-05-09", "2026-01-14")
    tariffs = parse_tariffs(FILES | {"act_2026_0115.toml": text})
    act = tariffs.act_on(date(2026, 1, 15))
    assert act is not None
    assert act.name == "Decision 7777/QĐ-BCT"
    assert tariffs.changes_within(date(2026, 1, 1), date(2026, 1, 31)) == (date(2026, 1, 15),)
