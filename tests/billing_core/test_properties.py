"""What must hold for every bill, whoever gets it."""

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.batch import batch_of
from billing_core.charges import Charges
from billing_core.codes import Category, Hold, LineKind, Solar, Voltage
from billing_core.engine import charge
from billing_core.rounding import ENERGY_WH_MAX, PRICE_MAX, divide_half_up
from billing_core.tariff_files import load_tariffs

FIRST_DAY, LAST_DAY = date(2015, 3, 16), date(2026, 10, 1)

FEWER = settings(max_examples=40)  # each example bills whole batches

energies = st.integers(0, 10**9) | st.integers(0, 700).map(lambda kwh: kwh * 1000)
days_of_start = st.dates(FIRST_DAY, LAST_DAY)
lengths = st.integers(1, 91)
fractions = st.fractions(Fraction(1, 8), 40, max_denominator=120)


@st.composite
def customers(draw):
    start_on = draw(days_of_start)
    households = draw(fractions)
    return {
        "energy_wh": [draw(energies), draw(energies), draw(energies)],
        "start_on": start_on,
        "end_on": start_on + timedelta(days=draw(lengths) - 1),
        "category": draw(st.sampled_from(Category)).code,
        "voltage": draw(st.sampled_from(Voltage)).code,
        "three_rates": draw(st.booleans()),
        "households": households.numerator,
        "households_parts": households.denominator,
        "export_wh": draw(energies),
        "generation_wh": draw(st.just(-1) | energies),
        "carry_in_wh": draw(energies),
        "solar": draw(st.sampled_from(Solar)).code,
        "reactive_varh": draw(st.just(-1) | energies),
    }


def billed(rows: list[dict]) -> Charges:
    return charge(batch_of(**{name: [row[name] for row in rows] for name in rows[0]}), load_tariffs())


@FEWER
@given(st.lists(customers(), min_size=1, max_size=8))
def test_lines_sum_to_the_bill_and_their_energy_to_what_is_billed(rows):
    charges = billed(rows)
    lines = charges.lines()
    amounts, energy = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    np.add.at(amounts, lines.bill, lines.amount)
    active = lines.kind == LineKind.ENERGY.code
    np.add.at(energy, lines.bill[active], lines.energy_wh[active])
    assert (amounts == charges.subtotal).all()
    assert (energy == charges.billed_wh).all()
    assert (charges.total == charges.subtotal + charges.vat).all()


@FEWER
@given(st.lists(customers(), min_size=2, max_size=8))
def test_a_bill_is_the_same_alone_and_among_others(rows):
    together = billed(rows)
    lines = together.lines()
    for row, customer in enumerate(rows):
        alone = billed([customer])
        assert alone.total[0] == together.total[row]
        assert alone.hold[0] == together.hold[row]
        assert alone.purchase.amount[0] == together.purchase.amount[row]
        own = alone.lines()
        mine = lines.bill == row
        assert own.amount.tolist() == lines.amount[mine].tolist()
        assert own.quota_wh.tolist() == lines.quota_wh[mine].tolist()


@FEWER
@given(st.lists(customers(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, chance):
    order = list(range(len(rows)))
    chance.shuffle(order)
    shuffled = billed([rows[place] for place in order])
    assert shuffled.total.tolist() == billed(rows).total[order].tolist()


@FEWER
@given(customers(), st.integers(0, 10**9))
def test_more_energy_never_costs_less(customer, more):
    """Within one act; where the price changes inside, a shared-out kWh may move to the cheaper part by rounding."""
    if load_tariffs().changes_within(customer["start_on"], customer["end_on"]):
        customer["end_on"] = customer["start_on"]
    customer |= {"solar": Solar.NONE.code, "reactive_varh": -1}
    normal, peak, off_peak = customer["energy_wh"]
    greater = customer | {"energy_wh": [normal + more, peak, off_peak]}
    charges = billed([customer, greater])
    assert charges.total[1] >= charges.total[0]


@FEWER
@given(customers())
def test_twice_the_households_never_cost_more(customer):
    charges = billed([customer, customer | {"households": 2 * customer["households"]}])
    assert charges.total[1] <= charges.total[0]


@FEWER
@given(customers(), st.sampled_from(["energy_wh", "export_wh", "carry_in_wh", "households", "end_on", "category"]))
def test_a_row_that_cannot_be_billed_is_held_and_the_others_go_on(customer, what):
    broken = dict(customer)
    wrong = {
        "energy_wh": [-1, 0, 0],
        "end_on": customer["start_on"] - timedelta(days=1),
        "households": 0,
        "category": 99,
    }
    broken[what] = wrong.get(what, -5)
    charges = billed([customer, broken, customer])
    assert charges.hold[1] != Hold.NONE.code
    assert (charges.subtotal[1], charges.vat[1], charges.total[1], charges.purchase.amount[1]) == (0, 0, 0, 0)
    assert charges.purchase.hold[1] == charges.hold[1]
    assert 1 not in charges.lines().bill
    alone = billed([customer])
    assert charges.total[0] == charges.total[2] == alone.total[0]


BROKEN = [
    {"power_factor_percent": 101},
    {"power_factor_percent": -2},
    {"undeclared_rental": True, "category": Category.BUSINESS.code},
    {"two_component": True, "category": Category.PRODUCTION.code, "demand_w": -1},
    {"two_component": True, "category": Category.PRODUCTION.code, "demand_w": 2**60},
    {"two_component": True},
    {"two_component": True, "category": Category.PRODUCTION.code, "voltage": Voltage.LE1.code, "demand_w": 1},
    {"category": Category.PRODUCTION.code, "voltage": Voltage.LE1.code},
    {"before_change_wh": [0, 0, 0]},
    {"before_change_wh": [2**62, 0, 0]},
    {"before_change_wh": [0, -5, 0]},
    {"before_change_wh": [0, 0, 0], "solar": Solar.NET_2017.code},
    {"households_changed_on": np.datetime64("2025-12-01")},
    {"households_changed_on": np.datetime64("2026-01-01")},
    {"households_changed_on": np.datetime64("2025-12-15"), "households_after": 0},
    {"households_changed_on": np.datetime64("2025-12-15"), "households_after": 2**62},
    {"households_changed_on": np.datetime64("2025-12-15"), "households_after_parts": -3},
    {"category": Category.TOURISM.code},
    {"category": Category.WHOLESALE_RURAL.code},
    {"solar": 99},
    {"voltage": -1},
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_what_cannot_be_holds_its_row_and_no_other(broken):
    plain = {
        "energy_wh": [100_000, 0, 0],
        "start_on": date(2025, 12, 1),
        "end_on": date(2025, 12, 31),
        "category": Category.RESIDENTIAL.code,
        "voltage": 0,
        "solar": 0,
        "power_factor_percent": -1,
        "undeclared_rental": False,
        "two_component": False,
        "demand_w": -1,
        "before_change_wh": [-1, -1, -1],
        "households_changed_on": np.datetime64("NaT", "D"),
        "households_after": 1,
        "households_after_parts": 1,
    }
    charges = billed([plain, plain | broken, plain])
    assert charges.hold[1] != Hold.NONE.code
    assert charges.hold[[0, 2]].tolist() == [0, 0]
    assert charges.total.tolist() == [217_836, 0, 217_836]  # 99,200 + 102,500 đ and 8 %
    lines = charges.lines()
    assert 1 not in lines.bill


def test_days_no_calendar_of_ours_has_are_held():
    row = {
        "energy_wh": [1, 0, 0],
        "category": 0,
        "start_on": np.datetime64("2025-12-01"),
        "end_on": np.datetime64("2025-12-31"),
    }
    strange = [
        row | {name: np.datetime64(day, "D")}
        for name, day in (("start_on", "NaT"), ("end_on", "NaT"), ("end_on", "12025-12-31"))
    ]
    charges = billed([row, *strange])
    assert charges.hold.tolist() == [0, *[Hold.PERIOD_INVALID.code] * 3]


def test_the_largest_bill_that_is_taken_does_not_leave_64_bits():
    most = ENERGY_WH_MAX // 3
    row = {
        "energy_wh": [most, most, most],
        "start_on": date(2025, 1, 1),
        "end_on": date(2025, 12, 31),
        "category": Category.RESIDENTIAL.code,
        "households": 10**6,
        "reactive_varh": ENERGY_WH_MAX,
        "share_by_days": True,
    }
    charges = billed(
        [
            row,
            row | {"category": Category.LIGHTING_ADMIN.code},
            row | {"energy_wh": [most + 1, 0, 0]},
        ]
    )
    assert charges.hold.tolist() == [0, 0, Hold.ENERGY_TOO_LARGE.code]
    assert (charges.total[:2] > 10**13).all()
    assert ENERGY_WH_MAX * PRICE_MAX < 2**62  # twice it fits in 64 bits with its sign


@given(st.integers(0, 2**61), st.integers(1, 2**60))
def test_division_rounds_half_up_as_fractions_do(numerator, denominator):
    wanted = (Fraction(numerator, denominator) + Fraction(1, 2)).__floor__()
    assert divide_half_up(np.array([numerator]), denominator)[0] == wanted
    assert divide_half_up(np.array([numerator]), np.array([denominator]))[0] == wanted


@FEWER
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_a_reading_at_a_change_of_price_that_says_what_the_days_say_costs_the_same(kwh, before):
    """A new price on 11 October 2024; the household used the same every day."""
    start_on = date(2024, 10, 11) - timedelta(days=before)
    row = {
        "energy_wh": [kwh * 1000, 0, 0],
        "start_on": start_on,
        "end_on": start_on + timedelta(days=before + 8),
        "category": Category.RESIDENTIAL.code,
    }
    shared = (Fraction(kwh * before, before + 9) + Fraction(1, 2)).__floor__()
    charges = billed([row | {"before_change_wh": [-1, -1, -1]}, row | {"before_change_wh": [shared * 1000, 0, 0]}])
    assert charges.hold.tolist() == [0, 0]
    assert charges.total[0] == charges.total[1]
    assert charges.lines().amount[charges.lines().bill == 0].tolist() == (
        charges.lines().amount[charges.lines().bill == 1].tolist()
    )


@FEWER
@given(customers(), st.integers(1, 10**4))
def test_a_household_change_to_the_same_number_changes_nothing(customer, day):
    days = (customer["end_on"] - customer["start_on"]).days
    if days == 0:
        return
    same = {"households_after": customer["households"], "households_after_parts": customer["households_parts"]}
    moved = same | {"households_changed_on": np.datetime64(customer["start_on"]) + np.timedelta64(1 + day % days, "D")}
    charges = billed([customer | same | {"households_changed_on": np.datetime64("NaT", "D")}, customer | moved])
    assert charges.total[0] == charges.total[1]
