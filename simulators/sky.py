"""The sun over three cities: where it stands, how bright a clear sky is, and what the clouds leave.

Only additions, multiplications and divisions of IEEE doubles are used, whose results the standard fixes, and the
irradiance is rounded to whole W/m² at once; a sine from a processor's library could differ in its last digit.

References
----------
1. P. I. Cooper, "The absorption of radiation in solar stills", Solar Energy 12 (1969) 333-346: declination.
2. J. A. Duffie, W. A. Beckman, "Solar Engineering of Thermal Processes", 4th ed. (2013), 1.5-1.6: equation of time,
   hour angle, elevation.
3. F. Kasten, G. Czeplak, "Solar and terrestrial radiation dependent on the amount and type of cloud", Solar Energy 24
   (1980) 177-189: irradiance under a clear sky, and under N oktas of cloud.
4. World Meteorological Organization, World Weather Information Service, Ho Chi Minh City: sunshine hours per month.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.chance import Int64Array, all_below, key_of
from simulators.vietnam_days import days_of_year, local_days, local_slots_of_day, months

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """A city: where it lies, and by month, in thousandths, how much of its daylight is sunny and how much it cools."""

    name: str
    latitude: float  # degrees north
    longitude: float  # degrees east
    sunny: tuple[int, ...]
    cooling: tuple[int, ...]


# The sunny share of Ho Chi Minh City is [4] divided by the length of its days. Those of Hanoi (grey from January to
# March) and Đà Nẵng (rain from October to December) are constructed to follow their known seasons, as is the cooling.
PLACES: dict[str, Place] = {
    place.name: place
    for place in (
        Place("hanoi", 21.03, 105.85,
              (200, 150, 130, 220, 420, 410, 430, 410, 440, 420, 390, 330),
              (0, 0, 0, 150, 600, 1000, 1000, 900, 650, 250, 50, 0)),
        Place("da_nang", 16.07, 108.22,
              (400, 480, 520, 560, 600, 590, 620, 560, 470, 370, 300, 280),
              (50, 100, 250, 450, 750, 900, 900, 850, 600, 350, 150, 50)),
        Place("ho_chi_minh_city", 10.78, 106.70,
              (683, 757, 733, 631, 507, 452, 464, 454, 445, 496, 579, 626),
              (350, 450, 650, 750, 700, 550, 500, 500, 450, 450, 400, 350)),
    )
}  # fmt: skip

_TURN = 6.283185307179586
# 1 − 0.75 (N/8)^3.4 in thousandths, N = 0 … 8 oktas [3].
_THROUGH_CLOUD = np.array([1000, 999, 993, 973, 929, 848, 718, 524, 250], dtype=np.int64)


def _sine(turns: Float64Array) -> Float64Array:
    """Return the sine of an angle in turns; Taylor's series to the 25th power, exact to 2·10⁻¹⁵."""
    x = (turns - np.floor(turns + 0.5)) * _TURN
    square = x * x
    total = np.zeros_like(x)
    for n in range(12, -1, -1):  # Horner's rule, the smallest term first
        total = total * square * (-1.0 / ((2 * n + 2) * (2 * n + 3))) + 1.0
    return x * total


def _cosine(turns: Float64Array) -> Float64Array:
    return _sine(turns + 0.25)


def sine_of_elevation(place: Place, slots: Int64Array) -> Float64Array:
    """Return the sine of the sun's elevation in the middle of each slot."""
    day = days_of_year(local_days(slots)).astype(np.float64)
    declination = _sine((day + 284.0) / 365.0) * (23.45 / 360.0)  # Eq 1.6.1a in [2]; turns
    season = (day - 81.0) / 364.0
    equation_of_time = 9.87 * _sine(season * 2.0) - 7.53 * _cosine(season) - 1.5 * _sine(season)  # minutes
    clock_hours = local_slots_of_day(slots) * 0.5 + 0.25
    solar_hours = clock_hours + (place.longitude - 105.0) / 15.0 + equation_of_time / 60.0  # 105° E is UTC+7's meridian
    hour_angle = (solar_hours - 12.0) / 24.0
    latitude = np.full_like(day, place.latitude / 360.0)
    return _sine(latitude) * _sine(declination) + _cosine(latitude) * _cosine(declination) * _cosine(hour_angle)


def clear_sky(place: Place, slots: Int64Array) -> Int64Array:
    """Return the global horizontal irradiance of a clear sky in the middle of each slot. [W/m²]"""
    watts = 910.0 * sine_of_elevation(place, slots) - 30.0  # in [3]
    whole: Int64Array = np.floor(watts.clip(0.0) + 0.5).astype(np.int64)
    return whole


def oktas(place: Place, seed: int, slots: Int64Array) -> Int64Array:
    """Return how many eighths of the sky are cloud, 0 to 8.

    A day is sunny or grey with the month's probability, so that the sunny share of daylight is the climate's; around
    the day's level the cloud wanders over knots three hours apart. The process is constructed, its monthly mean is not.
    """
    days = local_days(slots)
    sunny = np.asarray(place.sunny, dtype=np.int64)[months(days)]
    is_sunny = all_below(key_of(seed, place.name, "day"), days, 1000) < sunny
    within = all_below(key_of(seed, place.name, "level"), days, 4)
    level = np.where(is_sunny, within, 5 + within)  # 0…3 or 5…8
    knot, share = slots // 6, slots % 6
    key = key_of(seed, place.name, "wander")
    wander = all_below(key, knot, 5) * (6 - share) + all_below(key, knot + 1, 5) * share  # 0…24
    cloud: Int64Array = (level + (wander - 10) // 6).clip(0, 8)  # two oktas around the level
    return cloud


def irradiance(place: Place, seed: int, slots: Int64Array) -> Int64Array:
    """Return the global horizontal irradiance under that day's clouds in the middle of each slot. [W/m²]"""
    return clear_sky(place, slots) * _THROUGH_CLOUD[oktas(place, seed, slots)] // 1000
