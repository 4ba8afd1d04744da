"""Reading days: whatever the day, the cycle and the year, cycles tile the calendar."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.billing.period import Period
from ingest_server.billing.reading_days import cycle_before, cycle_in, period_after

READING_DAYS = st.integers(1, 31)
CYCLES = st.sampled_from(["monthly", "twice", "three_times"])
MONTHS = st.dates(date(2000, 2, 1), date(2099, 12, 31)).map(lambda day: day.replace(day=1))
DAY = timedelta(days=1)


def months_from(month_on: date, count: int) -> list[date]:
    found = [month_on]
    for _ in range(count - 1):
        found.append((found[-1] + 31 * DAY).replace(day=1))
    return found


@given(READING_DAYS, CYCLES, MONTHS)
def test_consecutive_cycles_tile_the_calendar(reading_day: int, cycle: str, month_on: date):
    parts = [part for month in months_from(month_on, 26) for part in cycle_in(month, reading_day, cycle)]
    for before, after in pairwise(parts):
        assert after.first_on == before.last_on + DAY
        assert cycle_before(after, reading_day, cycle) == before
    assert sum(part.days for part in parts) == (parts[-1].last_on - parts[0].first_on).days + 1
    assert all(part.days >= 8 for part in parts)


@given(READING_DAYS, CYCLES, MONTHS)
def test_the_parts_of_a_cycle_share_its_days(reading_day: int, cycle: str, month_on: date):
    parts = cycle_in(month_on, reading_day, cycle)
    assert {part.nominal_days for part in parts} == {sum(part.days for part in parts)}
    assert parts[-1].last_on.month == month_on.month


@given(MONTHS)
def test_a_book_of_the_31st_has_calendar_months(month_on: date):
    [cycle] = cycle_in(month_on, 31, "monthly")
    month = Period.of_month(f"{month_on:%Y-%m}")
    assert (cycle.first_on, cycle.last_on, cycle.nominal_days) == (month.first_on, month.last_on, month.days)


@given(st.lists(st.tuples(READING_DAYS, CYCLES), min_size=12, max_size=30), MONTHS)
def test_however_often_the_reading_day_is_changed_no_day_is_billed_twice_or_left_out(
    agreed: list[tuple[int, str]], month_on: date
):
    billed_to: date | None = None
    months = months_from(month_on, len(agreed) + 1)
    for number, (reading_day, cycle) in enumerate(agreed):
        # All cycles that have ended are run in order, the month before's too: the new day may have left some of it.
        for nominal in (part for month in months[number : number + 2] for part in cycle_in(month, reading_day, cycle)):
            if billed_to is not None and nominal.last_on - billed_to <= 2 * DAY:
                continue  # it is billed as far already, or all but two days: those are in the next bill
            own = period_after(nominal, cycle_before(nominal, reading_day, cycle), billed_to)
            assert billed_to is None or own.first_on == billed_to + DAY
            assert own.last_on == nominal.last_on
            billed_to = own.last_on


def test_a_cycle_that_nobody_billed_is_not_swallowed_by_the_next():
    [october] = cycle_in(date(2026, 10, 1), 16, "monthly")
    before = cycle_before(october, 16, "monthly")
    assert (
        period_after(october, before, date(2026, 8, 16)) == october == Period(date(2026, 9, 17), date(2026, 10, 16), 30)
    )
