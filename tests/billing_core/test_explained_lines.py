"""Quotes of every kind in words: the same in both languages as the golden files, and every equation comes out."""

from dataclasses import replace
from pathlib import Path

import pytest

from billing_core.explain import Language, format_number
from billing_core.explain_quote import quote_texts
from billing_core.quote import Quote, quote
from billing_core.rate_plan import rate_plans_of
from billing_core.request_plan import with_plan
from billing_core.request_text import request_from_text
from billing_core.tariff_files import load_tariffs
from tests.billing_core.explained import english_in, equations_in, holds

GOLDEN = Path(__file__).parent.parent / "golden" / "explained"
PLAN_SOURCE = "invented for tests"  # a plan's source is in its own company's words
PLANS = Path(__file__).parent / "utility_elsewhere.toml"
KINDS = sorted(GOLDEN.glob("*.txt"))
assert KINDS, "no golden files"


def words_of(kind: Path) -> dict[str, str]:
    """Return the words a quote was asked with: the first line of its golden file."""
    first = kind.read_text(encoding="utf-8").partition("\n")[0]
    return dict(each.split("=", 1) for each in first.removeprefix("# ").split(" "))


def quoted(words: dict[str, str]) -> Quote:
    given = dict(words)
    name, before = given.pop("plan_name", None), given.pop("demand_before_kw", None)
    request = request_from_text(given)
    if name is not None:
        request = with_plan(request, rate_plans_of(PLANS.read_text(encoding="utf-8"), PLANS.name), name, before)
    return quote(request)


def told(words: dict[str, str], language: Language) -> list[str]:
    answer = quoted(words)
    return [*quote_texts(answer, language, words), *(f"* {note}" for note in answer.notes_in(language))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stem)
def test_a_quote_says_in_both_languages_what_its_golden_file_says(kind: Path):
    words = words_of(kind)
    said = [*told(words, Language.VI), "", *told(words, Language.EN)]
    assert kind.read_text(encoding="utf-8").splitlines()[1:] == said


@pytest.mark.parametrize(
    ("language", "name"), [(Language.VI, "net_by_rate_source_vi"), (Language.EN, "net_by_rate_source")]
)
def test_why_rates_are_netted_each_by_itself_is_said_as_the_tariff_files_say_it(language: Language, name: str):
    tariffs = load_tariffs()
    why = "bởi vì / because"
    changed = tuple(replace(rule, **{name: why}) if rule.method == "net" else rule for rule in tariffs.solar)
    request = request_from_text(words_of(GOLDEN / "net_by_rate.txt"))
    found = quote(request, replace(tariffs, solar=changed)).notes_in(language)
    assert [note.endswith(f": {why}") for note in found] == [True]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stem)
def test_every_equation_in_words_comes_out_and_each_line_ends_in_its_amount(kind: Path, language: Language):
    words = words_of(kind)
    answer = quoted(words)
    found = [each for text in quote_texts(answer, language, words) for each in equations_in(text, language)]
    for value, said, percent in found:
        assert holds(value, said, percent=percent), (kind.stem, float(value), float(said))
    outcomes = {said for _, said, _ in found}
    for line in answer.all_lines():
        assert (line.price is None and not line.amount) or line.amount in outcomes, format_number(line.amount, language)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stem)
def test_a_vietnamese_explanation_has_no_english_words(kind: Path):
    words = words_of(kind)
    vietnamese, english = (" ".join(told(words, language)) for language in (Language.VI, Language.EN))
    own = {words["plan_name"], *PLAN_SOURCE.split()} if "plan_name" in words else set()
    assert english_in(vietnamese, english) - own == set()


def test_an_equation_that_does_not_come_out_is_found():
    [(value, said, percent)] = equations_in("Bậc 1: 50 kWh × 1.984 đ/kWh = 99.201 đ, làm tròn đến đồng.", Language.VI)
    assert (value, said) == (99_200, 99_201)
    assert not holds(value, said, percent=percent)
