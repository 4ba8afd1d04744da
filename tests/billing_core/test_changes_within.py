"""Whatever changes inside a period: what the parts come to, and that a change to the same changes nothing."""

from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.back_billing import correct_bills
from billing_core.batch import batch_of
from billing_core.codes import Category, Hold
from billing_core.engine import charge
from billing_core.quote import QuoteRequest, quote
from billing_core.tariff_files import load_tariffs

TARIFFS = load_tariffs()
FIRST_ON, LAST_ON = date(2026, 10, 1), date(2026, 10, 31)
HOUSEHOLDS = st.builds(Fraction, st.integers(1, 30), st.sampled_from((1, 2, 3, 4, 8)))


def changes() -> st.SearchStrategy[tuple[tuple[date, Fraction], ...]]:
    days = st.lists(st.integers(1, 30), min_size=1, max_size=8, unique=True).map(sorted)
    return days.flatmap(
        lambda found: st.lists(HOUSEHOLDS, min_size=len(found), max_size=len(found)).map(
            lambda numbers: tuple(
                (FIRST_ON + timedelta(days=day), own) for day, own in zip(found, numbers, strict=True)
            )
        )
    )


def home(energy_wh: int, **more: object) -> QuoteRequest:
    given = {"category": Category.RESIDENTIAL, "start_on": FIRST_ON, "end_on": LAST_ON, "energy_wh": energy_wh}
    return QuoteRequest(**{**given, **more})  # type: ignore[arg-type]


@settings(max_examples=100)
@given(HOUSEHOLDS, changes(), st.integers(0, 5_000_000))
def test_households_that_change_often_count_each_day_with_those_of_that_day(first, found, energy_wh):
    of_day = []
    for number in range(31):
        day = FIRST_ON + timedelta(days=number)
        of_day.append(([first] + [own for changed_on, own in found if changed_on <= day])[-1])
    by_changes = quote(home(energy_wh, households=first, households_changes=found))
    by_average = quote(home(energy_wh, households=sum(of_day, Fraction(0)) / 31))
    assert [line.quota_wh for line in by_changes.lines] == [line.quota_wh for line in by_average.lines]
    assert (by_changes.subtotal, by_changes.total) == (by_average.subtotal, by_average.total)
    assert sum(line.energy_wh for line in by_changes.lines) == energy_wh
    assert {line.households for line in by_changes.lines} <= {sum(of_day, Fraction(0)) / 31}


@pytest.mark.parametrize(
    ("days", "numbers", "parts"),
    [
        (("2026-10-20", "2026-10-10"), (2, 3), (1, 1)),  # out of order
        (("2026-10-10", "2026-10-10"), (2, 3), (1, 1)),  # twice on one day
        (("NaT", "2026-10-10"), (2, 3), (1, 1)),  # none before the second
        (("2026-10-10", "2026-11-01"), (2, 3), (1, 1)),  # behind the end
        (("2026-10-10", "2026-10-20"), (2, 0), (1, 1)),  # nobody
        (("2026-10-10", "2026-10-20"), (2, 3), (99_991, 99_989)),  # denominators that no number of 64 bits holds
    ],
)
def test_changes_of_households_that_cannot_be_computed_with_are_held(days, numbers, parts):
    batch = batch_of(
        energy_wh=[165_000],
        start_on=FIRST_ON,
        end_on=LAST_ON,
        category=Category.RESIDENTIAL.code,
        households_changed_on=np.array([days], dtype="datetime64[D]"),
        households_after=[numbers],
        households_after_parts=[parts],
    )
    assert charge(batch, TARIFFS).hold.tolist() == [Hold.HOUSEHOLDS_INVALID.code]


def test_back_billing_from_a_day_on_begins_with_the_households_of_that_day():
    moves = (("2026-10-05", 2), ("2026-10-11", 3), ("2026-10-21", 4))
    batch = batch_of(
        energy_wh=[900_000],
        start_on=FIRST_ON,
        end_on=LAST_ON,
        category=Category.BUSINESS.code,
        households_changed_on=np.array([[day for day, _ in moves]], dtype="datetime64[D]"),
        households_after=[[number for _, number in moves]],
        households_after_parts=1,
    )
    found = correct_bills(
        batch, {"category": Category.RESIDENTIAL.code}, TARIFFS, found_on=date(2026, 11, 5), since_on=date(2026, 10, 11)
    )
    assert found.hold.tolist() == [0]
    # 10 days of three households and 11 of four are 74 of 31 days: 50 kWh × 74/31 = 119.35…
    assert found.right.lines().quota_wh.tolist()[:3] == [119_000, 119_000, 239_000]
