"""Bill control: each rule, whose signature counts, and how many wrong bills it holds among honest ones."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.control.expectation import UNKNOWN
from billing_core.control.judge import Controlled, ControlRule, judge
from billing_core.control.thresholds import Signer, Step, load_thresholds, parse_thresholds
from protocols.errors import UsageError
from tests.billing_core.control.figures import figures
from tests.billing_core.control.population import district, to_judge, with_slips

THRESHOLDS = load_thresholds()
QUIET = replace(THRESHOLDS, score_percent=10**9, growth=(), amount=(), last_year_percent=(0, 10**5))


def one(**given: Any) -> Controlled:
    """Return one bill of 200 kWh after three of 200 kWh, but for what is given."""
    columns: dict[str, Any] = {
        "energy_wh": 200_000, "days": 30, "total": 400_000, "last_year_wh": UNKNOWN, "last_year_days": UNKNOWN,
        "peers": 0, "estimated": False, "first": False, "solar_new": False, "terms_changed": False,
        "history_wh": [200_000] * 3, "history_days": [30] * 3,
    } | given  # fmt: skip
    return Controlled(**{name: np.array([value]) for name, value in columns.items()})


def test_an_ordinary_bill_needs_nobody() -> None:
    found = judge(one(), THRESHOLDS)
    assert (found.rules.tolist(), found.signer.tolist()) == ([0], [Signer.NOBODY.code])
    assert found.before_wh.tolist() == [200_000]


@pytest.mark.parametrize(
    ("times", "signer"), [(3, Signer.NOBODY), (4, Signer.CONTROLLER), (7, Signer.HEAD), (10, Signer.DIRECTOR)]
)
def test_growth_is_signed_by_a_higher_person_the_steeper_it_is(times: int, signer: Signer) -> None:
    thresholds = replace(QUIET, growth=THRESHOLDS.growth)
    assert judge(one(energy_wh=200_000 * times), thresholds).signer.tolist() == [signer.code]


def test_growth_is_measured_by_days_so_that_a_long_period_does_not_look_steep() -> None:
    thresholds = replace(QUIET, growth=(Step(2, Signer.HEAD),), growth_floor_wh=0)
    assert judge(one(energy_wh=400_000, days=60), thresholds).signer.tolist() == [0]
    assert judge(one(energy_wh=400_000, days=30), thresholds).signer.tolist() == [Signer.HEAD.code]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"energy_wh": 0, "total": 0}, ControlRule.ZERO),
        ({"total": -1}, ControlRule.NEGATIVE),
        ({"solar_new": True}, ControlRule.SOLAR_NEW),
        ({"terms_changed": True}, ControlRule.TERMS_CHANGED),
        ({"total": 10**8}, ControlRule.AMOUNT),
        ({"last_year_wh": 10_000_000, "last_year_days": 31}, ControlRule.LAST_YEAR),
    ],
)
def test_each_rule_speaks_of_what_it_is_for_and_of_nothing_else(given: dict[str, Any], rule: ControlRule) -> None:
    thresholds = replace(THRESHOLDS, score_percent=10**9)
    found = judge(one(**given), thresholds)
    assert found.reasons(0) == (rule,)
    assert found.spoke(rule).tolist() == [True]
    assert found.signer[0] > 0


@pytest.mark.parametrize("rule", ["estimated", "first"])
def test_a_company_may_have_estimated_and_first_bills_signed(rule: str) -> None:
    bill = one(**{rule: True})
    assert judge(bill, THRESHOLDS).signer.tolist() == [0]
    stricter: dict[str, Any] = {rule: Signer.HEAD}
    found = judge(bill, replace(THRESHOLDS, **stricter))
    assert (found.reasons(0), found.signer.tolist()) == ((ControlRule(rule),), [Signer.HEAD.code])


def test_a_bill_without_history_is_judged_by_what_needs_none() -> None:
    nothing = one(history_wh=[UNKNOWN] * 3, history_days=[UNKNOWN] * 3, energy_wh=10**9, total=10**9)
    found = judge(nothing, THRESHOLDS)
    assert (found.reasons(0), found.expected_wh.tolist()) == ((ControlRule.AMOUNT,), [UNKNOWN])


def test_a_point_that_never_had_a_period_at_all_is_judged_too() -> None:
    found = judge(one(history_wh=[], history_days=[]), THRESHOLDS)
    assert (found.signer.tolist(), found.before_wh.tolist()) == ([0], [UNKNOWN])


@given(st.floats(0.3, 4.0))
def test_a_season_that_everybody_feels_alike_holds_nobody(season: float) -> None:
    level = np.linspace(100, 900, 41)
    history = np.rint(level[:, None] * np.array([1.0, 0.9, 1.1, 1.0])).astype(np.int64) * 1000
    n = len(level)
    no = np.zeros(n, dtype=np.bool_)
    bills = Controlled(
        energy_wh=np.rint(level * season).astype(np.int64) * 1000,
        days=np.full(n, 30), total=np.full(n, 1), history_wh=history, history_days=np.full(history.shape, 30),
        last_year_wh=np.full(n, UNKNOWN), last_year_days=np.full(n, UNKNOWN), peers=np.zeros(n, dtype=np.int64),
        estimated=no, first=no, solar_new=no, terms_changed=no,
    )  # fmt: skip
    assert not judge(bills, THRESHOLDS).spoke(ControlRule.HISTORY).any()


def test_the_order_of_bills_changes_no_judgement() -> None:
    chance = np.random.default_rng(5)
    found = district(chance, 2000)
    bills = to_judge(found, with_slips(chance, found, 0.05)[0])
    order = chance.permutation(2000)
    shuffled = Controlled(**{each.name: getattr(bills, each.name)[order] for each in fields(bills)})
    straight, moved = judge(bills, THRESHOLDS), judge(shuffled, THRESHOLDS)
    assert straight.rules[order].tolist() == moved.rules.tolist()
    assert straight.expected_wh[order].tolist() == moved.expected_wh.tolist()


def test_bills_wrong_by_twofold_are_held_while_one_honest_bill_in_a_hundred_is() -> None:
    found = figures(seed=20261124, customers=60_000)  # docs/domain/bill-control.md: another seed, more customers
    assert found.honest_held <= 0.011
    assert found.held_by_factor[2.0] >= 0.94
    assert found.held_by_factor[3.0] >= 0.99
    assert found.held_by_slip["no advance"] == 1.0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[growth]", "[grwth]", "growth: missing"),
        ('signer = "head" },\n    { times = 10', 'signer = "nobody" },\n    { times = 10', "signers may not sink"),
        ("times = 7", "times = 4", "steps must rise"),
        ("low_percent = 5", "low_percent = 101", "found 101; expected 0 to 100"),
        ('negative = "head"', 'negative = "boss"', "found 'boss'; expected one of nobody, controller, head, director"),
        ("score_percent = 382", "score_percent = 382\nfloor = 1", "history.floor: unknown key"),
        ('source = "congto', 'source = ""\nx = "congto', "source"),
    ],
)
def test_a_mistake_in_a_file_of_thresholds_is_told_with_its_place(old: str, new: str, told: str) -> None:
    from importlib import resources

    text = (resources.files("billing_core.control") / "thresholds.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(UsageError, match=told):
        parse_thresholds(text.replace(old, new, 1))
