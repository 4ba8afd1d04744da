"""Vietnamese days and the sun above them."""

from datetime import date, timedelta
from math import radians, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.sky import PLACES, clear_sky, irradiance, oktas, sine_of_elevation
from simulators.vietnam_days import (
    DAY_MS,
    NORMAL,
    OFF_PEAK,
    PEAK,
    SLOT_MS,
    TET,
    days_from_tet,
    local_date,
    local_midnight_ms,
    rates,
)


def new_moon_ms(k: int) -> float:
    """The k-th new moon since 2000, by J. Meeus, Astronomical Algorithms, 2nd ed., chapter 49, good to a minute."""
    t = k / 1236.85
    e = 1 - 0.002516 * t
    m = radians(2.5534 + 29.10535670 * k - 0.0000014 * t * t)
    moon = radians(201.5643 + 385.81693528 * k + 0.0107582 * t * t)
    f = radians(160.7108 + 390.67050284 * k - 0.0016118 * t * t)
    node = radians(124.7746 - 1.56375588 * k)
    day = 2451550.09766 + 29.530588861 * k + 0.00015437 * t * t
    day += -0.40720 * sin(moon) + 0.17241 * e * sin(m) + 0.01608 * sin(2 * moon) + 0.01039 * sin(2 * f)
    day += 0.00739 * e * sin(moon - m) - 0.00514 * e * sin(moon + m) + 0.00208 * e * e * sin(2 * m)
    day += -0.00111 * sin(moon - 2 * f) - 0.00057 * sin(moon + 2 * f) + 0.00056 * e * sin(2 * moon + m)
    day += -0.00042 * sin(3 * moon) + 0.00042 * e * sin(m + 2 * f) + 0.00038 * e * sin(m - 2 * f)
    day += -0.00024 * e * sin(2 * moon - m) - 0.00017 * sin(node)
    terrestrial_minus_universal_s = 70
    return (day - 2440587.5) * DAY_MS - terrestrial_minus_universal_s * 1000


def test_tet_is_the_new_moon_between_21_january_and_19_february_by_vietnamese_time():
    moons = {local_date(int(new_moon_ms(k))) for k in range(240, 505)}
    found = [day for day in sorted(moons) if date(day.year, 1, 21) <= day <= date(day.year, 2, 19)]
    assert [day for day in found if 2020 <= day.year <= 2040] == list(TET)


@given(st.integers(min_value=0, max_value=20_000))
def test_each_day_has_nine_peak_slots_or_none_on_sundays_and_twelve_off_peak_slots(day):
    first = local_midnight_ms(date(1970, 1, 1) + timedelta(days=day))
    slots = np.arange(first // SLOT_MS, first // SLOT_MS + 48)
    kinds = rates(slots)
    assert (kinds == PEAK).sum() == (0 if (date(1970, 1, 1) + timedelta(days=day)).weekday() == 6 else 10)
    assert (kinds == OFF_PEAK).sum() == 12


@pytest.mark.parametrize(
    ("time", "rate"),
    [("03:30", OFF_PEAK), ("04:00", NORMAL), ("09:00", NORMAL), ("09:30", PEAK), ("11:00", PEAK), ("11:30", NORMAL),
     ("16:30", NORMAL), ("17:00", PEAK), ("19:30", PEAK), ("20:00", NORMAL), ("21:30", NORMAL), ("22:00", OFF_PEAK)],
)  # fmt: skip
def test_the_rates_of_a_working_day_are_those_of_circular_16_of_2014(time, rate):
    monday = local_midnight_ms(date(2026, 10, 5))
    hours, minutes = map(int, time.split(":"))
    assert rates(np.array([(monday + (hours * 60 + minutes) * 60_000) // SLOT_MS]))[0] == rate


def test_midnights_and_dates_are_vietnamese():
    assert local_midnight_ms(date(2026, 10, 1)) == 1_790_787_600_000  # 2026-09-30T17:00Z
    assert local_date(1_790_787_600_000) == date(2026, 10, 1)
    assert local_date(1_790_787_599_999) == date(2026, 9, 30)


def test_the_days_around_tet_are_counted_from_its_first_day():
    days = np.array([(date(2026, 2, 17) - date(1970, 1, 1)).days + offset for offset in (-10, 0, 3, 200)])
    assert list(days_from_tet(days))[:3] == [-10, 0, 3]


def day_of(place, day):
    first = local_midnight_ms(day) // SLOT_MS
    return PLACES[place], np.arange(first, first + 48)


def test_the_sun_stands_where_geometry_puts_it_at_noon():
    """The elevation at noon is 90° − |latitude − declination|; the declination is ±23.45° at the solstices."""
    for place, day, declination in (("hanoi", date(2026, 12, 21), -23.45), ("hanoi", date(2026, 6, 21), 23.45),
                                    ("ho_chi_minh_city", date(2026, 6, 21), 23.45)):  # fmt: skip
        where, slots = day_of(place, day)
        highest = sine_of_elevation(where, slots).max()
        assert highest == pytest.approx(sin(radians(90 - abs(where.latitude - declination))), abs=0.005)


def test_days_are_as_long_as_almanacs_say():
    """Hanoi: 10 h 54 min at the winter, 13 h 21 min at the summer solstice without refraction, in whole half-hours."""
    for day, half_hours in ((date(2026, 12, 21), 22), (date(2026, 6, 21), 26)):
        assert abs((sine_of_elevation(*day_of("hanoi", day)) > 0).sum() - half_hours) <= 1


@given(st.integers(min_value=0, max_value=2**63), st.sampled_from(sorted(PLACES)), st.integers(14_000, 24_000))
def test_clouds_only_take_light_away(seed, place, day):
    slots = np.arange(day * 48, day * 48 + 48)
    bright, seen = clear_sky(PLACES[place], slots), irradiance(PLACES[place], seed, slots)
    assert (seen <= bright).all()
    assert (seen >= bright // 5).all()
    assert bright.max() < 900
    assert set(oktas(PLACES[place], seed, slots)) <= set(range(9))


def test_the_year_has_its_sunny_share_of_days():
    """Over twenty years the share of days with less than half the sky clouded follows the table of the place."""
    for place in PLACES.values():
        slots = np.arange(18_000 * 48 + 10, 18_000 * 48 + 10 + 365 * 20 * 48, 48)
        share = (oktas(place, 7, slots) <= 4).mean() * 1000
        assert abs(share - np.mean(place.sunny)) < 60
