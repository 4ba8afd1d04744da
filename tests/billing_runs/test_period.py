"""Civil months and instants."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.billing.period import Period, instant_of, us_of
from protocols.errors import UsageError

MONTHS = st.builds(lambda year, month: f"{year:04d}-{month:02d}", st.integers(2000, 2100), st.integers(1, 12))


def test_october_begins_at_five_in_the_afternoon_utc():
    october = Period.of_month("2026-10")
    assert (october.first_on, october.last_on, october.days) == (date(2026, 10, 1), date(2026, 10, 31), 31)
    assert october.start_at == datetime(2026, 9, 30, 17, tzinfo=UTC)
    assert october.end_at == datetime(2026, 10, 31, 17, tzinfo=UTC)


@given(MONTHS)
def test_months_follow_one_another_without_gap_and_last_their_days(text: str):
    month = Period.of_month(text)
    following = Period.of_month(f"{month.last_on + timedelta(days=1):%Y-%m}") if text != "2100-12" else None
    assert str(month) == text
    assert month.end_at - month.start_at == timedelta(days=month.days)
    assert following is None or following.start_at == month.end_at


@given(st.text(max_size=9))
def test_whatever_is_no_month_is_refused(text: str):
    try:
        month = Period.of_month(text)
    except UsageError as refused:
        assert repr(text) in str(refused)  # noqa: PT017 - both outcomes are right, for different texts
    else:
        assert str(month) == text


@pytest.mark.parametrize(
    "text", ["2026-00", "2026-13", "1999-12", "2101-01", "26-10", "2026-1", "2026-10 ", "２０２６-10"]
)
def test_impossible_months_are_refused(text: str):
    with pytest.raises(UsageError, match="YYYY-MM"):
        Period.of_month(text)


@given(MONTHS, st.timedeltas(timedelta(microseconds=1), timedelta(days=400)))
def test_a_month_can_be_billed_from_the_instant_it_ends_and_not_before(text: str, before: timedelta):
    month = Period.of_month(text)
    month.check_ended(month.end_at)
    month.check_ended(month.end_at + before)
    with pytest.raises(UsageError, match=rf"period {text}: it ends in the future"):
        month.check_ended(month.end_at - before)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis takes them naive
def test_an_instant_survives_being_a_number(instant: datetime):
    assert instant_of(us_of(instant)) == instant
