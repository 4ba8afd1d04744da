"""What another tariff changes: the sums are those of the bills themselves."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import psycopg
import pytest

from billing_core.codes import Category, Hold, Voltage, codes_of
from billing_core.codes_words import HOLDS
from billing_core.explain_names import Language
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from billing_core.what_if import Population, always, class_names, compare, made_up, summed, with_percent, with_waiting
from deploy.cli import main
from deploy.tariff.simulate_words import WORDS
from ingest_server.database.migrations import migrate
from tests.billing_core.tariffs_of_2025 import files_of_2025, tariffs_of_2025, write_files_of_2025

GUIDE = Path(__file__).parents[2] / "docs/guides/tariff.md"
TARIFFS = tariffs_of_2025()
ACT, STRUCTURE = TARIFFS.acts[-1], TARIFFS.structures[0]  # Decision 1279 and the six tiers
NOW = always(TARIFFS, ACT, STRUCTURE)
MONTHS = tuple(date(2025 + (month > 12), (month - 1) % 12 + 1, 1) for month in range(6, 18))


def households(*kwh: int) -> Population:
    energy = np.zeros((12, len(kwh), 3), dtype=np.int64)
    energy[:, :, 0] = [used * 1000 for used in kwh]
    return Population(
        months=MONTHS,
        category=codes_of([Category.RESIDENTIAL] * len(kwh)),
        voltage=codes_of([Voltage.LT6] * len(kwh)),
        three_rates=np.zeros(len(kwh), dtype=np.bool_),
        households=np.ones(len(kwh), dtype=np.int64),
        energy_wh=energy,
    )


def test_the_bills_of_today_are_the_quotes_of_today():
    found = compare(households(165), NOW, NOW)
    wanted = 0
    for month in MONTHS:
        end_on = (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        request = QuoteRequest(category=Category.RESIDENTIAL, start_on=month, end_on=end_on, energy_wh=165_000)
        wanted += quote(request).total
    assert found.before.tolist() == found.after.tolist() == [wanted]


def test_the_waiting_structure_has_five_prices_at_todays_average():
    five = with_waiting(TARIFFS, ACT, TARIFFS.waiting[0])
    assert five.acts[0].tiers == (1984, 2380, 2998, 3571, 3967)  # as computed from 2,204.0655 đ
    found = compare(households(100, 800), NOW, five)
    # 100 kWh: 50 × 1,984 + 50 × 2,050 = 201,700 becomes 198,400. 800 kWh rise by the dear last tiers.
    assert found.after[0] - found.before[0] == 12 * (round(198_400 * 1.08) - round(201_700 * 1.08))
    assert found.after[1] > found.before[1]


def test_a_percentage_moves_everybody_into_its_class():
    outcome = summed([compare(households(50, 165, 400), NOW, with_percent(TARIFFS, ACT, STRUCTURE, Fraction(7)))])
    assert (outcome.customers, outcome.losers, outcome.winners, outcome.held) == (3, 3, 0, 0)
    assert dict(outcome.classes)["+5 to +10 %"] == 3
    assert outcome.after > outcome.before


def test_every_customer_is_in_one_class_and_the_lots_sum_to_the_whole():
    lots = [made_up(300, MONTHS, np.random.default_rng(seed)) for seed in (1, 2)]
    five = with_waiting(TARIFFS, ACT, TARIFFS.waiting[0])
    differences = [compare(lot, NOW, five) for lot in lots]
    outcome = summed(differences)
    assert sum(count for _, count in outcome.classes) == outcome.customers == 600
    assert [name for name, _ in outcome.classes] == list(class_names())
    assert outcome.before == sum(int(lot.before.sum()) for lot in differences)
    assert sum(customers for customers, _, _ in outcome.by_category.values()) == 600
    assert dict(outcome.classes)["unchanged"] == 600 - outcome.winners - outcome.losers


def test_who_cannot_be_billed_under_one_of_them_is_left_out_of_both():
    population = households(100, 100)
    population.category[1] = Category.WHOLESALE_RURAL.code  # priced in 2015 only
    outcome = summed([compare(population, NOW, always(TARIFFS, TARIFFS.acts[0], STRUCTURE))])
    assert (outcome.customers, outcome.held) == (2, 1)
    assert sum(count for _, count in outcome.classes) == 1
    [left] = outcome.left_out
    assert (left.category, left.before, left.after) == (Category.WHOLESALE_RURAL, Hold.NO_PRICE, Hold.NONE)
    assert (left.customers, left.energy_wh, left.revenue) == (1, 1_200_000, None)
    assert outcome.energy_wh == 2_400_000


def test_what_is_left_out_is_counted_by_category_and_reason_with_its_energy_and_revenue():
    lots = []
    for used in ((165, 200, 100, 400), (50, 60, 70, 80)):
        population = households(*used)
        population.category[1:3] = Category.BUSINESS.code, Category.PRODUCTION.code
        lots.append(population)
    gone = replace(ACT, rates={key: prices for key, prices in ACT.rates.items() if key[0] is not Category.BUSINESS})
    lacking = replace(gone, rates={key: prices for key, prices in gone.rates.items() if key[1] is not Voltage.LT6})
    outcome = summed(compare(lot, NOW, always(TARIFFS, lacking, STRUCTURE)) for lot in lots)
    everybody = summed(compare(lot, NOW, NOW) for lot in lots)
    business, production = outcome.left_out
    assert (business.category, business.after) == (Category.BUSINESS, Hold.NO_PRICE)
    assert (production.category, production.after) == (Category.PRODUCTION, Hold.VOLTAGE_NOT_PRICED)
    assert (business.customers, business.energy_wh, production.energy_wh) == (2, 12 * 260_000, 12 * 170_000)
    assert outcome.before + business.revenue + production.revenue == everybody.before
    assert (outcome.customers, outcome.held, outcome.before) == (8, 4, outcome.after)


@pytest.fixture
def next_years_act(tmp_path: Path) -> Path:
    """The package's files and the act of the guide, whose classes of voltage are those of Decision 14/2025."""
    act, structure = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[:2]
    write_files_of_2025(tmp_path)
    (tmp_path / "structure.toml").write_text(
        files_of_2025()["structure.toml"].partition("[[waiting]]")[0] + structure, "utf-8"
    )
    (tmp_path / "act_2026_9999.toml").write_text(act, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            ("the other tariff has no price at this voltage", "The table above is without", "who are left out are not"),
        ),
        ("vi", ("biểu giá kia không có giá ở cấp điện áp này", "Bảng trên không gồm", "không có trong hình này")),
    ],
)
def test_the_command_says_whom_an_act_with_other_classes_leaves_out(
    next_years_act: Path, language: str, said: tuple[str, ...], capsys, monkeypatch
):
    """Contracts at lt6 have no price there: a change in percent without them is not that of the revenue."""
    monkeypatch.setenv("COLUMNS", "160")
    words = ["tariff", "simulate", "--customers", "2000", "--against", str(next_years_act), "--language", language]
    assert main(words) == 1
    shown = capsys.readouterr().out
    for each in said:
        assert each in shown
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {left["category"] for left in found["left_out"]} == {
        "business",
        "production",
        "hospital_school",
        "lighting_admin",
    }
    assert {(left["before"], left["after"]) for left in found["left_out"]} == {(None, "voltage_not_priced")}
    assert sum(left["customers"] for left in found["left_out"]) == found["held"] > 0
    assert 0.3 < sum(left["revenue_share"] for left in found["left_out"]) < 0.8
    assert set(found["by_category"]) == {"residential"}


@pytest.mark.parametrize("language", ["en", "vi"])
def test_a_year_nobody_can_be_billed_in_says_why_in_both_languages(language: str, capsys):
    words = ["tariff", "simulate", "--customers", "50", "--from", "2027-02", "--against", "percent=5", "--json"]
    assert main([*words, "--language", language]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["held"] == 50
    why = HOLDS[Language(language)][Hold.NO_VAT_RATE]
    today, other = WORDS[Language(language)]["today"], WORDS[Language(language)]["other"]
    assert {each["reason"] for each in found["left_out"]} == {f"{today}: {why}; {other}: {why}"}


def test_the_command_draws_the_distribution_and_says_the_same_twice(tmp_path: Path, capsys):
    files = ["--files", str(write_files_of_2025(tmp_path))]
    words = ["tariff", "simulate", "--customers", "2000", "--seed", "7", *files]
    assert main([*words, "--json"]) == 0
    first = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert capsys.readouterr().out == first
    assert json.loads(first)["customers"] == 2_000
    assert main([*words, "--language", "en"]) == 0
    shown = capsys.readouterr().out
    assert "█" in shown
    assert "pay less" in shown
    assert "the 2,000 customers compared" in shown
    assert main(words) == 0
    assert "trả ít hơn" in capsys.readouterr().out
    assert main([*words, "--against", "act=2699", "--json"]) == 0
    older = json.loads(capsys.readouterr().out)
    assert (older["winners"], older["losers"]) == (2_000, 0)


def test_where_nothing_waits_the_newest_act_is_what_today_is_compared_with(next_years_act: Path, capsys):
    words = ["tariff", "simulate", "--customers", "500", "--json", "--files", str(next_years_act)]
    assert main(words) == 1  # those at lt6, whose classes it does not have
    assert json.loads(capsys.readouterr().out)["against"] == "act=9999"
    assert main([*words, "--from", "2026-12"]) == 2
    refused = capsys.readouterr().err
    assert "in 2026-12 the newest act, Decision 9999/QĐ-BCT, is in force already" in refused
    assert "percent=5" in refused
    assert main([*words, "--against", "waiting"]) == 2
    assert "no structure waits any more (the newest act is Decision 9999/QĐ-BCT)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "act=1"], "expected the number of one of"),
        (["--against", "percent=x"], "percent=-90 to percent=200"),
        (["--against", "/nowhere"], "expected a folder"),
        (["--from", "2010-01"], "the first act is from"),
        (["--from", "June"], "expected a month"),
        (["--customers", "0", "--against", "percent=5"], "expected 1 to"),
    ],
)
def test_what_cannot_be_simulated_is_refused(words: list[str], message: str, capsys):
    assert main(["tariff", "simulate", *words]) == 2
    assert message in capsys.readouterr().err


INSERT_BILLS = """
    insert into customer values ('PA01AB0000001', 'Trần Thị An'), ('PA01AB0000002', 'Lê Văn Bình');
    insert into metering_point (metering_point_id, customer_id)
    values ('PA01AB0000001001', 'PA01AB0000001'), ('PA01AB0000002001', 'PA01AB0000002');
    insert into billing_run (period_from, period_to, code_version) values ('2025-06-01', '2025-06-30', 'test');
    insert into bill_terms (category, voltage, households, three_rates)
    values ('residential', null, 1, false), ('business', 'lt6', 1, true);
    insert into bill_slot (slot) values ('{"kind": "energy", "register": "CD", "price": 5422}');
    insert into bill (run_id, metering_point_id, period_from, period_to, version, energy_wh, subtotal, vat, total,
                      inputs_hash, terms_id, metered, line_slot, line_wh, line_amount, line_extra)
    select (select max(run_id) from billing_run), point, first_on, (first_on + interval '1 month - 1 day')::date,
           version, energy_wh, 0, 0, 0, sha256(''), case category when 'business' then 2 else 1 end, '{}',
           case category when 'business' then array[1] else '{}' end,
           case category when 'business' then array[40000] else '{}' end,
           case category when 'business' then array[216880] else '{}' end,
           case category when 'business' then array[-1] else '{}' end
    from (values ('PA01AB0000001001', date '2025-06-01', 1, 999000, 'residential'),
                 ('PA01AB0000001001', date '2025-06-01', 2, 165000, 'residential'),
                 ('PA01AB0000001001', date '2026-05-10', 1, 165000, 'residential'),
                 ('PA01AB0000002001', date '2025-06-01', 1, 100000, 'business'))
         as given (point, first_on, version, energy_wh, category);
"""


@pytest.mark.integration
def test_the_customers_of_the_database_are_billed_by_their_newest_bills(database: str, capsys, monkeypatch):
    monkeypatch.setenv("CONGTO_DSN", database)
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(INSERT_BILLS)
    assert main(["tariff", "simulate", "--database", "--against", "act=2699", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["customers"], found["held"], found["winners"]) == (2, 0, 2)
    assert found["by_category"]["residential"]["before"] == 2 * 384_912  # two months of 165 kWh
    assert found["by_category"]["business"]["before"] == round((60 * 3152 + 40 * 5422) * 1.08)
    assert main(["tariff", "simulate", "--database", "--from", "2016-01"]) == 2
    assert "found no bills" in capsys.readouterr().err
