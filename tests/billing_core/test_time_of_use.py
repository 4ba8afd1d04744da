"""Which rate runs when, by the schedule in force and the one that waits."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from billing_core.codes import RATES
from billing_core.tariff_files import load_tariffs
from billing_core.time_of_use import rate_at

TUESDAY, SUNDAY = "2025-12-02", "2025-12-07"


def rate(day: str, clock: str, name: str = "2014") -> str:
    schedule = next(item for item in load_tariffs().schedules if item.name == name)
    return RATES[rate_at(schedule, np.array([f"{day}T{clock}"], dtype="datetime64[s]"))[0]].value


@pytest.mark.parametrize(
    ("clock", "wanted"),
    [
        ("00:00", "TD"),
        ("03:59:59", "TD"),
        ("04:00", "BT"),
        ("09:29:59", "BT"),
        ("09:30", "CD"),
        ("11:29:59", "CD"),
        ("11:30", "BT"),
        ("17:00", "CD"),
        ("20:00", "BT"),
        ("22:00", "TD"),
        ("23:59:59", "TD"),
    ],
)
def test_a_weekday_has_two_peaks_and_a_night(clock: str, wanted: str):
    assert rate(TUESDAY, clock) == wanted


def test_sunday_has_no_peak_but_a_night():
    assert [rate(SUNDAY, clock) for clock in ("10:00", "18:00", "23:00")] == ["BT", "BT", "TD"]


def test_the_schedule_of_2026_has_one_evening_peak_and_waits():
    assert [rate(TUESDAY, clock, "2026") for clock in ("10:00", "17:30", "22:29", "22:30", "05:59")] == [
        "BT",
        "CD",
        "CD",
        "BT",
        "TD",
    ]
    in_force = load_tariffs().schedule_on(date(2026, 11, 1))
    assert in_force is not None
    assert in_force.name == "2014"


def test_the_schedule_in_force_is_the_newest_in_whatever_order_the_file_has_them():
    tariffs = load_tariffs()
    old, waiting = tariffs.schedules
    newer = replace(waiting, effective_on=date(2027, 1, 1))
    for schedules in ((old, newer), (newer, old)):
        found = replace(tariffs, schedules=schedules)
        assert [found.schedule_on(day) for day in (date(2013, 1, 1), date(2026, 12, 31), newer.effective_on)] == [
            None,
            old,
            newer,
        ]


def test_a_week_has_30_peak_and_42_off_peak_hours():
    schedule = load_tariffs().schedules[0]
    week = np.arange("2025-12-01", "2025-12-08", dtype="datetime64[m]")
    assert (np.bincount(rate_at(schedule, week), minlength=3) / 60).tolist() == [96, 30, 42]
