"""Moving in and out, the final bill, and the settlement at the end of the year."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.codes import Category
from billing_core.occupancy import Tenure, bill_periods, settles_year
from billing_core.quote import quote
from billing_core.quote_request import QuoteRequest
from protocols.errors import UsageError

FIRST, LAST = date(2025, 8, 1), date(2025, 8, 31)


def test_one_holder_from_before_to_after_has_the_whole_cycle():
    [found] = bill_periods(FIRST, LAST, [Tenure(holder="An", start_on=date(2020, 1, 1))])
    assert (found.start_on, found.end_on, found.nominal_days) == (FIRST, LAST, 31)
    assert (found.first, found.final, found.settle_carry) == (False, False, False)


def test_who_moves_out_has_a_final_bill_and_who_moves_in_a_first_one_each_with_tiers_for_his_days():
    out, into = bill_periods(
        FIRST,
        LAST,
        [
            Tenure(holder="Bình", start_on=date(2025, 8, 15)),
            Tenure(holder="An", start_on=date(2020, 1, 1), end_on=date(2025, 8, 10)),
        ],
    )
    assert (out.holder, out.start_on, out.end_on, out.final, out.settle_carry) == (
        "An",
        FIRST,
        date(2025, 8, 10),
        True,
        True,
    )
    assert (into.holder, into.start_on, into.end_on, into.first) == ("Bình", date(2025, 8, 15), LAST, True)
    widths = [
        line.quota_wh
        for line in quote(
            QuoteRequest(
                category=Category.RESIDENTIAL,
                start_on=out.start_on,
                end_on=out.end_on,
                nominal_days=out.nominal_days,
                energy_wh=100_000,
            )
        ).lines
    ]
    assert widths[:3] == [16_000, 16_000, 32_000]  # 50 and 100 kWh × 10/31, half up


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True), st.integers(1, 40))
def test_every_day_with_a_holder_is_billed_once_and_to_him(offsets, length):
    starts = [FIRST - timedelta(days=5) + timedelta(days=offset) for offset in sorted(offsets)]
    ends = [*(later - timedelta(days=1) for later in starts[1:]), None]
    tenures = [Tenure(holder=str(n), start_on=a, end_on=b) for n, (a, b) in enumerate(zip(starts, ends, strict=True))]
    end_on = FIRST + timedelta(days=length - 1)
    billed = {}
    for period in bill_periods(FIRST, end_on, tenures):
        day = period.start_on
        while day <= period.end_on:
            assert day not in billed
            billed[day] = period.holder
            day += timedelta(days=1)
    for offset in range(length):
        day = FIRST + timedelta(days=offset)
        holder = next((t.holder for t in tenures if t.start_on <= day <= (t.end_on or date.max)), None)
        assert billed.get(day) == holder


@pytest.mark.parametrize(
    ("start_on", "end_on", "settles"),
    [
        (date(2025, 12, 1), date(2025, 12, 31), True),
        (date(2025, 12, 15), date(2026, 1, 14), True),
        (date(2026, 1, 1), date(2026, 1, 31), False),
        (date(2025, 11, 15), date(2025, 12, 14), False),
    ],
)
def test_the_surplus_of_a_year_is_bought_in_the_period_that_holds_its_last_day(start_on, end_on, settles: bool):
    assert settles_year(start_on, end_on) == settles


@pytest.mark.parametrize(
    ("cycle", "tenures", "message"),
    [
        ((LAST, FIRST), [], "expected its first day first"),
        ((FIRST, LAST), [Tenure(holder="An", start_on=LAST, end_on=FIRST)], "expected the first day first"),
        (
            (FIRST, LAST),
            [Tenure(holder="An", start_on=FIRST), Tenure(holder="Bình", start_on=LAST)],
            "expected one holder a day",
        ),
    ],
)
def test_what_cannot_be_is_refused(cycle, tenures, message: str):
    with pytest.raises(UsageError, match=message):
        bill_periods(*cycle, tenures)
