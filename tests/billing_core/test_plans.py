"""Rate plans of utilities elsewhere: fixed and minimum charges, demand with its ratchet, their own prices and tax."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.batch import Batch, batch_of
from billing_core.charges import Charges
from billing_core.codes import Category, Hold, LineKind, Register, Voltage
from billing_core.engine import charge
from billing_core.explain import Language, explain_line
from billing_core.line import BillLine, bill_lines, vat_line
from billing_core.rate_plan import Ratchet, RatePlan, plan_in_force, rate_plan_from_json, rate_plans_of
from billing_core.tariff_files import load_tariffs
from deploy.cli import main
from protocols.errors import UsageError

TARIFFS = load_tariffs()
FILE = Path(__file__).with_name("utility_elsewhere.toml")
HOME, LATER_HOME, WORKSHOP, MINIMUM, PRESS = rate_plans_of(FILE.read_text(), FILE.name)
OCTOBER = {"start_on": date(2026, 10, 1), "end_on": date(2026, 10, 31)}


def billed(plan: RatePlan, energy_wh: Any, **columns: Any) -> tuple[Batch, Charges]:
    given = {**OCTOBER, "category": Category.RESIDENTIAL.code, "rate_plan": 0, **columns}
    batch = batch_of(energy_wh=energy_wh, **given)
    return batch, charge(batch, TARIFFS, plans=[plan])


def lines(batch: Batch, charges: Charges) -> tuple[BillLine, ...]:
    assert charges.hold.tolist() == [0]
    return bill_lines(batch, charges, 0)


def test_tiers_a_fixed_charge_and_the_plans_own_tax():
    """200 kWh: 25 × 400 + 125 × 600 + 50 × 1,100 = 140,000; with 5,000 fixed 145,000; 10 % tax."""
    batch, charges = billed(HOME, [200_000])
    found = [(line.kind.value, line.energy_wh, line.amount) for line in lines(batch, charges)]
    assert found == [
        ("energy", 25_000, 10_000),
        ("energy", 125_000, 75_000),
        ("energy", 50_000, 55_000),
        ("fixed", 0, 5_000),
    ]
    assert (charges.subtotal[0], charges.vat[0], charges.vat_permille[0]) == (145_000, 14_500, 100)
    tax = vat_line(batch, charges, 0, TARIFFS, plans=[HOME])
    assert (tax.act, tax.amount) == ("home", 14_500)


def test_a_minimum_charges_what_is_missing_to_it_and_nothing_where_nothing_is():
    """10 kWh are 4,000 and 5,000 fixed: 16,000 are missing to 25,000."""
    batch, charges = billed(HOME, [10_000])
    last = lines(batch, charges)[-1]
    assert (last.kind, last.base_amount, last.least, last.amount) == (LineKind.MINIMUM, 9_000, 25_000, 16_000)
    assert charges.subtotal.tolist() == [25_000]
    assert [line.kind for line in lines(*billed(HOME, [100_000]))][-1] is LineKind.FIXED
    assert [line.amount for line in lines(*billed(HOME, [0]))] == [5_000, 20_000]


@pytest.mark.parametrize(
    ("drawn_w", "before_w", "billed_w"),
    [
        (50_000, -1, 50_000),
        (50_000, 60_000, 50_000),
        (50_000, 70_001, 56_001),  # 80 % of 70.001 kW are 56.0008
        (5_000, 10_000, 20_000),  # the floor
        (0, -1, 20_000),
    ],
)
def test_demand_is_what_was_drawn_or_a_share_of_the_months_before_or_the_floor(drawn_w, before_w, billed_w):
    batch, charges = billed(
        WORKSHOP,
        [[1_000_000, 200_000, 300_000]],
        category=Category.BUSINESS.code,
        three_rates=True,
        demand_w=drawn_w,
        demand_before_w=before_w,
    )
    energy = 900_000 + 280_000 + 180_000
    demand = next(line for line in lines(batch, charges) if line.kind is LineKind.DEMAND)
    assert (demand.energy_wh, demand.amount, demand.drawn_w) == (billed_w, billed_w * 30, drawn_w)
    assert charges.subtotal.tolist() == [energy + billed_w * 30 + 40_000]
    assert demand.register is Register.PMAX


def test_what_a_plan_has_no_price_for_is_priced_and_taxed_by_the_acts():
    batch, charges = billed(MINIMUM, [100_000])
    plain = charge(replace(batch, rate_plan=np.array([-1])), TARIFFS)
    assert plain.subtotal[0] < 500_000
    assert (charges.subtotal[0], charges.vat_permille[0]) == (500_000, plain.vat_permille[0])
    assert [line.amount for line in lines(batch, charges)][:-1] == [line.amount for line in bill_lines(batch, plain, 0)]
    many = billed(MINIMUM, [1_000_000])[1]
    assert (
        many.subtotal
        == charge(replace(batch, rate_plan=np.array([-1]), energy_wh=batch.energy_wh * 10), TARIFFS).subtotal
    )


def test_a_line_of_a_plan_is_stored_and_read_the_same_and_told_in_both_languages():
    """A clerk reads where the figure comes from."""
    texts: dict[Language, list[str]] = {Language.VI: [], Language.EN: []}
    part = {"start_on": date(2026, 10, 1), "end_on": date(2026, 10, 10), "nominal_days": 31}
    for plan, more in ((HOME, {}), (WORKSHOP, {"demand_w": 5_000, "demand_before_w": 100_000})):
        for line in lines(*billed(plan, [1_000], **part, **more)):
            assert BillLine.from_json(line.to_json()) == line
            for language, found in texts.items():
                found.append(explain_line(line, language))
    told = "\n".join(texts[Language.EN])
    assert (
        "Fixed charge: 5,000 đ a month ÷ 31 days × 10 days = 1,613 đ, rounded to the đồng. By home, fixed charge."
        in told
    )
    assert (
        "25,000 đ a month ÷ 31 days × 10 days = 8,065 đ, rounded to the đồng; "
        "8,065 đ − 2,013 đ charged already = 6,052 đ" in told
    )
    assert "80 % of the highest of the 3 months before, 100 kW; the floor of 20 kW. 80 kW × 30,000 đ/kW" in told
    told = "\n".join(texts[Language.VI])
    assert (
        "Phí cố định: 5.000 đ/tháng ÷ 31 ngày × 10 ngày = 1.613 đ, làm tròn đến đồng. Căn cứ: home, phí cố định."
        in told
    )
    assert "80 % của mức cao nhất 3 tháng trước, 100 kW; mức tối thiểu 20 kW. 80 kW × 30.000 đ/kW" in told
    assert "thu thêm 6.052 đ" in told


def plans() -> st.SearchStrategy[RatePlan]:
    tiers = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5_000)), min_size=1, max_size=5)
    prices = st.one_of(
        st.builds(lambda price: {"single": price}, st.integers(0, 5_000)),
        st.builds(lambda found: {"rates": found}, st.tuples(*[st.integers(0, 5_000)] * 3)),
        tiers.map(
            lambda found: {
                "tiers": tuple(price for _, price in found),
                "widths_kwh": tuple(width for width, _ in found[:-1]),
            }
        ),
        st.just({}),
    )
    charges = st.fixed_dictionaries(
        {name: st.integers(0, 10**6) for name in ("fixed_monthly", "minimum_monthly", "demand")}
    )
    ratchets = st.none() | st.builds(
        Ratchet,
        percent=st.integers(1, 100),
        months=st.just(3),
        least_w=st.integers(0, 10**6),
    )
    return st.builds(
        lambda own, more, ratchet, tax: replace(
            MINIMUM, **own, **more, ratchet=ratchet if more["demand"] else None, tax_permille=tax
        ),
        prices,
        charges,
        ratchets,
        st.none() | st.integers(0, 300),
    )


@settings(max_examples=200)
@given(
    plans(),
    st.lists(st.integers(0, 3_000_000), min_size=3, max_size=3),
    st.booleans(),
    st.tuples(st.integers(0, 10**6), st.integers(-1, 10**6)),
    st.integers(1, 62),
)
def test_lines_sum_to_the_bill_tiers_to_the_energy_and_no_bill_is_under_its_minimum(
    plan: RatePlan, energy: Sequence[int], three_rates: bool, demands: tuple[int, int], days: int
):
    if not three_rates:
        energy = [sum(energy), 0, 0]
    batch, charges = billed(
        plan,
        [energy],
        end_on=date(2026, 10, 1) + timedelta(days=days - 1),
        three_rates=three_rates,
        category=Category.BUSINESS.code,
        voltage=Voltage.LT6.code,
        demand_w=demands[0],
        demand_before_w=demands[1],
    )
    found = lines(batch, charges)
    assert sum(line.energy_wh for line in found if line.kind is LineKind.ENERGY) == sum(energy)
    assert sum(line.amount for line in found) == charges.subtotal[0]
    assert charges.total[0] == charges.subtotal[0] + charges.vat[0]
    assert 2 * 31 * (charges.subtotal[0] + 1) > 2 * plan.minimum_monthly * days
    flat = charges.lines()
    assert int(flat.amount.sum()) == charges.subtotal[0]
    assert rate_plan_from_json(plan.to_json()) == plan
    for line in found:
        assert BillLine.from_json(line.to_json()) == line
        assert explain_line(line) != explain_line(line, Language.EN)
    more = charge(replace(batch, energy_wh=batch.energy_wh + 1_000), TARIFFS, plans=[plan])
    assert more.total[0] >= charges.total[0]


@settings(max_examples=100)
@given(plans(), st.integers(1, 30), st.integers(0, 10**6))
def test_what_is_charged_by_the_month_costs_in_two_parts_what_the_whole_does(plan: RatePlan, days: int, drawn: int):
    """But for half a unit that each part may be rounded by."""
    plan = replace(plan, single=0, rates=None, tiers=(), widths_kwh=(), minimum_monthly=0)
    cut = date(2026, 10, 1) + timedelta(days=days)
    whole, first, second = (
        billed(plan, [0], start_on=start, end_on=end, nominal_days=31, demand_w=drawn)[1].subtotal[0]
        for start, end in (
            (OCTOBER["start_on"], OCTOBER["end_on"]),
            (OCTOBER["start_on"], cut - timedelta(days=1)),
            (cut, OCTOBER["end_on"]),
        )
    )
    assert abs(int(whole) - int(first) - int(second)) <= 2


@pytest.mark.parametrize(
    ("columns", "hold"),
    [
        ({"rate_plan": 1}, Hold.CODE_UNKNOWN),
        ({"rate_plan": -2}, Hold.CODE_UNKNOWN),
        ({"demand_w": -1}, Hold.DEMAND_INVALID),
        ({"demand_w": 10**11}, Hold.DEMAND_INVALID),
        ({"end_on": date(2026, 12, 2)}, Hold.NOT_ONE_MONTH),
    ],
)
def test_what_a_plan_cannot_bill_is_held(columns, hold):
    assert billed(WORKSHOP, [1_000], **{"demand_w": 1_000, **columns})[1].hold.tolist() == [hold.code]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("effective_on = 2026-01-01", "effective_on = 2026-01-02"), "expected the first day of a month"),
        (('source = "invented for tests"', 'source = ""'), "source"),
        (("fixed_monthly = 5_000", "fixed_monthly = -1"), "fixed_monthly"),
        (("tax_permille = 100", "tax_permille = 100\nenergy = 5"), "found energy and tier; expected one of"),
        (("upto_kwh = 150", "upto_kwh = 25"), "expected at most 12 tiers whose ends rise"),
        (("demand = 30_000", "demand = 0"), "found it without a price of demand"),
        (("minimum_monthly = 500_000", ""), "charges nothing"),
        (("least_kw = 20", "least_kw = 20\nlest = 1"), "lest: unknown key"),
        (('name = "home"', f'name = "{"x" * 65}"'), "expected at most 64"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_its_place(change: tuple[str, str], told: str):
    text = FILE.read_text()
    assert change[0] in text
    with pytest.raises(UsageError, match=told) as caught:
        rate_plans_of(text.replace(*change, 1), FILE.name)
    assert "utility_elsewhere.toml" in str(caught.value)


QUOTE = ("quote", "--from", "2026-10-01", "--to", "2026-10-31", "--language", "en", "--rate-plan", str(FILE))


def test_a_quote_by_a_plan_is_what_the_engine_charges(capsys: pytest.CaptureFixture[str]):
    assert main([*QUOTE, "--plan-name", "home", "--category", "residential", "--kwh", "10"]) == 0
    told = capsys.readouterr().out
    assert "Fixed charge" in told
    assert "Minimum charge" in told
    assert "27,500" in told
    shop = ("--category", "business", "--rates", "BT=1000,CD=200,TD=300", "--demand-kw", "30")
    assert main([*QUOTE, "--plan-name", "workshop", *shop, "--demand-before-kw", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["subtotal"], found["vat"]) == (3_800_000, 266_000)


def test_the_plan_of_the_first_day_is_the_newest_up_to_then():
    assert plan_in_force([LATER_HOME, HOME], "home", date(2026, 10, 31)) == HOME
    assert plan_in_force([LATER_HOME, HOME], "home", date(2026, 11, 1)) == LATER_HOME
    assert plan_in_force([PRESS], "press", date(2026, 1, 1)) == PRESS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--plan-name", "palace"), "found 'palace' and no such plan on 2026-10-01; there are home from 2026-01-01"),
        ((), "expected plan-name with it"),
        (("--plan-name", "home", "--uses", "business=40"), "a plan is for one use"),
        (("--plan-name", "workshop"), "highest demand is missing"),
        (("--plan-name", "home", "--rate-plan", "nowhere.toml"), "nowhere.toml can't be read"),
    ],
)
def test_a_quote_by_a_plan_that_cannot_be_is_refused(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*QUOTE, "--category", "residential", "--kwh", "10", *words]) == 2
    assert told in capsys.readouterr().err
