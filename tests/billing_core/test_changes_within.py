"""Whatever changes inside a period: what the parts come to, and that a change to the same changes nothing."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.back_billing import correct_bills
from billing_core.batch import batch_of
from billing_core.codes import HOLD_TEXTS, Category, Hold, Solar, Voltage
from billing_core.engine import charge
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from billing_core.request_text import request_from_text
from billing_core.tariff_files import load_tariffs
from protocols.errors import UsageError

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


ENERGY = st.integers(0, 2_000_000)
USES = ((Category.BUSINESS, Voltage.LT6, 3333), (Category.LIGHTING_ADMIN, Voltage.LT6, 1))


@settings(max_examples=100)
@given(st.tuples(ENERGY, ENERGY), st.tuples(ENERGY, ENERGY), ENERGY)
def test_net_metering_read_at_a_change_of_price_bills_what_is_left_of_the_cycle(taken, sent, carried):
    found = quote(
        home(
            sum(taken),
            start_on=date(2025, 5, 1),
            end_on=date(2025, 5, 31),
            export_wh=sum(sent),
            carry_in_wh=carried,
            solar=Solar.NET_2017,
            before_changes_wh=(taken[0],),
            export_before_changes_wh=(sent[0],),
        )
    )
    own = (taken[0] - sent[0] - carried, taken[1] - sent[1])
    of_part = [
        sum(line.energy_wh for line in found.lines if line.start_on == day)
        for day in (date(2025, 5, 1), date(2025, 5, 10))
    ]
    assert sum(of_part) == found.billed_wh == max(sum(own), 0)
    assert found.carry_out_wh == max(-sum(own), 0)
    if min(own) >= 0:
        assert of_part == list(own)
    else:
        assert min(of_part) == 0


@settings(max_examples=100)
@given(st.tuples(ENERGY, ENERGY))
def test_uses_of_a_meter_read_at_a_change_of_price_sum_to_the_meter_in_each_part(taken):
    days = {"start_on": date(2025, 5, 1), "end_on": date(2025, 5, 31)}
    found = quote(home(sum(taken), before_changes_wh=(taken[0],), uses=USES, **days))
    of_part = [
        sum(line.energy_wh for line in found.lines if line.start_on == day)
        for day in (date(2025, 5, 1), date(2025, 5, 10))
    ]
    assert of_part == list(taken)
    assert sum(line.amount for line in found.lines) == found.subtotal


def test_the_words_of_a_quote_say_what_was_exported_up_to_the_change_of_price():
    words = {"category": "residential", "from": "2025-05-01", "to": "2025-05-31", "old_index": "0", "new_index": "400"}
    words |= {"index_at_change": "150", "export_kwh": "150", "solar_regime": "net_2017"}
    with pytest.raises(UsageError, match=HOLD_TEXTS[Hold.CHANGE_READING_UNUSABLE][:40]):
        quote(request_from_text(words))
    found = quote(request_from_text(words | {"export_before_change_kwh": "50"}))
    assert [line.energy_wh for line in found.lines if line.start_on == date(2025, 5, 10)][:1] == [35_000]
    assert found.billed_wh == 250_000
    with pytest.raises(UsageError, match="energy is negative"):
        quote(request_from_text(words | {"export_before_change_kwh": "151"}))


ROOF_IN_MAY = {"category": "residential", "from": "2025-05-01", "to": "2025-05-31", "export_kwh": "150"}
ROOF_IN_MAY |= {"solar_regime": "net_2017", "old_index": "0", "new_index": "400"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({"export_before_change_kwh": "50"}, "export-before-change-kwh: found 1 of them with 0 of index-at-change"),
        (
            {"index_at_change": "150", "export_before_change_kwh": "50,60"},
            "export-before-change-kwh: found 2 of them with 1 of index-at-change",
        ),
        (
            {"old_index": None, "new_index": None, "category": "business", "rates": "BT=9", "export_kwh": None}
            | {"export_rates": "BT=3", "export_rates_before_change": "BT=1"},
            "export-rates-before-change: found 1 of them with 0 of rates-before-change",
        ),
    ],
)
def test_an_export_at_a_change_without_an_index_there_is_refused(words: dict[str, str], found: str):
    with pytest.raises(UsageError, match=found):
        request_from_text(ROOF_IN_MAY | words)


@pytest.mark.parametrize(("before", "exported"), [((), (50_000,)), ((150_000,), (50_000, 60_000))])
def test_an_export_at_a_change_without_an_index_there_holds_the_bill(
    before: tuple[int, ...], exported: tuple[int, ...]
):
    days = {"start_on": date(2025, 5, 1), "end_on": date(2025, 5, 31)}
    request = home(400_000, export_wh=150_000, solar=Solar.NET_2017, before_changes_wh=before, **days)
    with pytest.raises(UsageError, match=HOLD_TEXTS[Hold.CHANGE_READING_UNUSABLE][:40]):
        quote(replace(request, export_before_changes_wh=exported))


@settings(max_examples=100)
@given(
    st.sampled_from((Category.BUSINESS, Category.PRODUCTION, Category.LIGHTING_ADMIN, Category.PREPAID)),
    st.lists(st.tuples(ENERGY, ENERGY, ENERGY), min_size=2, max_size=6),
    st.booleans(),
)
def test_parts_of_a_period_without_tiers_come_to_what_the_whole_does(category, parts, three_rates):
    """But for half a đồng that each line of a part is rounded by."""
    parts = [part if three_rates else (sum(part), 0, 0) for part in parts]
    days = [FIRST_ON + timedelta(days=5 * number) for number in range(len(parts))]
    ends = [day - timedelta(days=1) for day in days[1:]]
    spans = [(FIRST_ON, LAST_ON), *zip(days, [*ends, LAST_ON], strict=True)]
    energies = [tuple(map(sum, zip(*parts, strict=True))), *parts]
    batch = batch_of(
        energy_wh=energies,
        start_on=[start for start, _ in spans],
        end_on=[end for _, end in spans],
        category=category.code,
        three_rates=three_rates,
    )
    charges = charge(batch, TARIFFS)
    assert not charges.hold.any()
    lines = int((charges.lines().bill > 0).sum())
    assert abs(int(charges.subtotal[0]) - int(charges.subtotal[1:].sum())) <= (lines + 3) / 2
    assert charges.billed_wh[0] == charges.billed_wh[1:].sum()
